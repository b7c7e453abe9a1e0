//! The artifact `.eqm`: flat little-endian rows, read in place.
//!
//! ```text
//! Header (64 B) | SectionRow x n | block CRC table (u32 x blocks) | pad to 16 | body: sections, each 16-byte aligned
//! ```
//! `header_crc` is CRC-32C of everything before the body with its own four bytes as zero; the block table
//! holds CRC-32C of each 4 KiB block of the body (the last one short), so that a slow loader can check a block
//! at a time. Offsets in rows are relative to the start of the section they point into, unless said otherwise.

pub(crate) mod check;
pub mod crc;
pub(crate) mod decode;
pub(crate) mod model;
pub mod rows;

pub use rows::*;
