//! Sections that operators point into; equal contents are stored once.

use super::span;
use crate::Error;
use elastiq::format::{QuantRow, Span};
use std::collections::HashMap;

/// Aligned byte strings behind each other.
pub struct Blobs {
    align: usize,
    bytes: Vec<u8>,
    seen: HashMap<Vec<u8>, usize>,
}

impl Blobs {
    pub fn new(align: usize) -> Self {
        Blobs {
            align,
            bytes: Vec::new(),
            seen: HashMap::new(),
        }
    }

    /// Span of `blob`, appended unless the same bytes are already there.
    pub fn add(&mut self, blob: &[u8]) -> Result<Span, Error> {
        if blob.is_empty() {
            return span(0, 0);
        }
        if let Some(&off) = self.seen.get(blob) {
            return span(off, blob.len());
        }
        let off = self.bytes.len().next_multiple_of(self.align);
        self.bytes.resize(off, 0);
        self.bytes.extend(blob);
        self.seen.insert(blob.to_vec(), off);
        span(off, blob.len())
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// Requantization rows behind each other; equal ones of a whole operator are stored once.
#[derive(Default)]
pub struct Rows {
    rows: Vec<QuantRow>,
    seen: HashMap<Vec<(i32, i32)>, usize>,
}

impl Rows {
    /// Span of `rows` (bias, mult), appended unless an operator has the same already.
    pub fn add(&mut self, rows: &[(i32, i32)]) -> Result<Span, Error> {
        if rows.is_empty() {
            return span(0, 0);
        }
        if let Some(&off) = self.seen.get(rows) {
            return span(off, rows.len());
        }
        let off = self.rows.len();
        self.seen.insert(rows.to_vec(), off);
        self.rows.extend(rows.iter().map(|&(bias, mult)| QuantRow {
            bias: bias.into(),
            mult: mult.into(),
        }));
        span(off, rows.len())
    }

    pub fn rows(&self) -> &[QuantRow] {
        &self.rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_blobs_are_stored_once_and_aligned() {
        let mut blobs = Blobs::new(16);
        let a = blobs.add(&[1, 2, 3]).unwrap();
        let b = blobs.add(&[4; 20]).unwrap();
        let again = blobs.add(&[1, 2, 3]).unwrap();
        assert_eq!((a.off.get(), b.off.get(), again.off.get()), (0, 16, 0));
        assert_eq!(blobs.bytes().len(), 36);
    }
}
