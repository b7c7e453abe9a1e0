//! Header, section table, checksums.

use super::long;
use crate::Error;
use elastiq::format::crc::{Crc, crc32c};
use elastiq::format::{ALIGN, BLOCK, Header, SECTION_MANDATORY, SectionKind, SectionRow};
use zerocopy::IntoBytes;

/// A section and whether a reader must know it.
pub struct Section {
    pub kind: SectionKind,
    pub mandatory: bool,
    pub bytes: Vec<u8>,
}

/// Lay out `sections` behind `header`, whose lengths and checksum are filled in. Empty sections are left out.
pub fn write(mut header: Header, sections: &[Section]) -> Result<Vec<u8>, Error> {
    let sections: Vec<&Section> = sections.iter().filter(|s| !s.bytes.is_empty()).collect();
    let lens: Vec<usize> = sections.iter().map(|s| s.bytes.len()).collect();
    let mut body = Vec::new();
    let mut starts = Vec::new();
    for section in &sections {
        body.resize(body.len().next_multiple_of(ALIGN), 0);
        starts.push(body.len());
        body.extend(&section.bytes);
    }
    body.resize(body.len().next_multiple_of(ALIGN), 0);
    let body_off = body_off(&lens, body.len());
    header.sections = sections.len() as u8;
    header.total_len = long(body_off + body.len())?.into();
    header.body_off = long(body_off)?.into();

    let mut head = header.as_bytes().to_vec();
    for (section, start) in sections.iter().zip(starts) {
        let row = SectionRow {
            kind: (section.kind as u16).into(),
            flags: if section.mandatory {
                SECTION_MANDATORY
            } else {
                0
            }
            .into(),
            off: long(body_off + start)?.into(),
            len: long(section.bytes.len())?.into(),
        };
        head.extend(row.as_bytes());
    }
    body.chunks(BLOCK)
        .for_each(|block| head.extend(crc32c(block).to_le_bytes()));
    head.resize(body_off, 0);
    header.header_crc = Crc::new().update(&head).finish().into();
    head[..size_of::<Header>()].copy_from_slice(header.as_bytes());
    head.extend(body);
    Ok(head)
}

/// Bytes of an artifact with sections of these lengths.
pub fn total_len(sections: &[usize]) -> usize {
    let lens: Vec<usize> = sections.iter().copied().filter(|&len| len > 0).collect();
    let body = lens.iter().map(|len| len.next_multiple_of(ALIGN)).sum();
    body_off(&lens, body) + body
}

/// Bytes in front of a body of `body` bytes: header, section table, a checksum per block.
fn body_off(sections: &[usize], body: usize) -> usize {
    let checksums = body.div_ceil(BLOCK) * 4;
    let tables = size_of::<Header>() + sections.len() * size_of::<SectionRow>() + checksums;
    tables.next_multiple_of(ALIGN)
}
