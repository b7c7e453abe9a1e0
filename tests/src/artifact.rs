//! Changing artifacts on purpose, with checksums made right again.

use elastiq::format::crc::crc32c;
use elastiq::format::{BLOCK, Header, SectionKind, SectionRow};
use std::mem::{offset_of, size_of};

fn u32_at(bytes: &[u8], at: usize) -> usize {
    let four = bytes.get(at..at + 4).and_then(|b| b.try_into().ok());
    four.map_or(0, |b| u32::from_le_bytes(b) as usize)
}

/// Offset and length of a section, from the section table.
pub fn section(bytes: &[u8], kind: SectionKind) -> Option<(usize, usize)> {
    let count = usize::from(bytes[offset_of!(Header, sections)]);
    let rows = (0..count).map(|i| size_of::<Header>() + i * size_of::<SectionRow>());
    rows.into_iter().find_map(|at| {
        let found = u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        (found == kind as u16).then(|| (u32_at(bytes, at + 4), u32_at(bytes, at + 8)))
    })
}

/// Recompute the block table and the header checksum. Leaves bytes alone that are too short for that.
pub fn fix_checksums(bytes: &mut [u8]) {
    let body = u32_at(bytes, offset_of!(Header, body_off));
    let Some(&sections) = bytes.get(offset_of!(Header, sections)) else {
        return;
    };
    let table = size_of::<Header>() + usize::from(sections) * size_of::<SectionRow>();
    if bytes.len() < body || body < table {
        return;
    }
    let sums: Vec<u32> = bytes[body..].chunks(BLOCK).map(crc32c).collect();
    for (slot, sum) in bytes[table..body].chunks_exact_mut(4).zip(sums) {
        slot.copy_from_slice(&sum.to_le_bytes());
    }
    let at = offset_of!(Header, header_crc);
    bytes[at..at + 4].fill(0);
    let sum = crc32c(&bytes[..body]);
    bytes[at..at + 4].copy_from_slice(&sum.to_le_bytes());
}

/// A copy with one bit of one weight turned, valid in every other respect.
pub fn flip_weight(bytes: &[u8], index: usize) -> Option<Vec<u8>> {
    let (off, len) = section(bytes, SectionKind::Weights)?;
    let mut changed = bytes.to_vec();
    *changed.get_mut(off + index.checked_rem(len)?)? ^= 0x40;
    fix_checksums(&mut changed);
    Some(changed)
}
