//! Artifacts without what only host tools read.

use super::frame::{Section, write};
use crate::Error;
use elastiq::Model;
use elastiq::format::{Header, SECTION_MANDATORY, SectionKind, SectionRow};
use zerocopy::FromBytes;

/// The artifact `bytes` without its META section: what firmware embeds. Operators, weights and the self-test are the
/// same; names of layers and layouts of the original inputs are gone.
///
/// # Errors
/// An artifact that the reader refuses.
pub fn without_meta(bytes: &[u8]) -> Result<Vec<u8>, Error> {
    let model = Model::parse(bytes).map_err(|e| Error::input(e.to_string()))?;
    let mut header: Header = *model.header();
    let table = bytes.get(size_of::<Header>()..).unwrap_or_default();
    let rows = <[SectionRow]>::ref_from_prefix_with_elems(table, header.sections.into());
    let rows = rows.map_or(&[][..], |(rows, _)| rows);
    let section = |row: &SectionRow| {
        let kind = SectionKind::from_u16(row.kind.get());
        let (off, len) = (row.off.get() as usize, row.len.get() as usize);
        Some(Section {
            kind: kind.filter(|kind| *kind != SectionKind::Meta)?,
            mandatory: row.flags.get() & SECTION_MANDATORY != 0,
            bytes: bytes.get(off..off + len)?.to_vec(),
        })
    };
    let sections: Vec<Section> = rows.iter().filter_map(section).collect();
    header.header_crc = 0.into();
    write(header, &sections)
}
