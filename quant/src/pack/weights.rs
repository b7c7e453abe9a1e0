//! Weight codes as bytes: widths, orders, and the table that goes with them.

use crate::lower::{LOp, Lowered};
use elastiq::Backend;
use elastiq::format::{
    CODING_CODEBOOK, CODING_LINEAR, CODING_NESTED, FLAG_ZEROS, ORDER_PAIRS, ORDER_ROWS, OpKind,
    PAIRS_MOST,
};

/// The weight fields of an operator row.
pub struct Packed {
    pub bytes: Vec<u8>,
    /// Codebook or zero points.
    pub lut: Vec<u8>,
    pub flags: u8,
    pub coding: u8,
    pub bits: u8,
    pub order: u8,
    pub w_zero: i16,
}

/// Pack the weights of `op` for the kernels of `backend`.
pub fn pack(net: &Lowered, op: &LOp, backend: Backend) -> Packed {
    let w = &op.weights;
    let one_position = net.tensors[op.out].len() == op.quant.len();
    let k = net.tensors[op.in0].dims[3] as usize;
    let pairs = op.kind == OpKind::Dense
        && backend == Backend::Dsp
        && (w.is_plain() || w.nested)
        && one_position
        && k.is_multiple_of(2)
        && k <= PAIRS_MOST;
    let rows = match op.kind {
        OpKind::Depthwise => w.codes.len() / op.quant.len().max(1),
        _ => op.quant.len(),
    };
    let len = w.codes.len() / rows.max(1);
    let table = |values: &[i16]| values.iter().flat_map(|v| v.to_le_bytes()).collect();
    let (lut, flags) = match (w.book.is_empty(), w.zeros.len()) {
        (false, _) => (table(&w.book), 0),
        (true, 0 | 1) => (Vec::new(), 0),
        (true, _) => (table(&w.zeros), FLAG_ZEROS),
    };
    Packed {
        bytes: match pairs {
            true => in_pairs(&w.codes, len),
            false => in_rows(&w.codes, len, if w.nested { 8 } else { w.bits }),
        },
        coding: match (w.nested, w.book.is_empty()) {
            (true, _) => CODING_NESTED,
            (_, true) => CODING_LINEAR,
            (_, false) => CODING_CODEBOOK,
        },
        w_zero: match w.zeros[..] {
            [zero] => zero,
            _ => 0,
        },
        order: if pairs { ORDER_PAIRS } else { ORDER_ROWS },
        bits: w.bits,
        lut,
        flags,
    }
}

/// [`ORDER_ROWS`]: every row a string of `bits`-bit codes, least significant bit first.
fn in_rows(codes: &[i8], len: usize, bits: u8) -> Vec<u8> {
    let mut bytes = Vec::new();
    for row in codes.chunks(len.max(1)) {
        let (mut buffer, mut used) = (0u32, 0);
        for code in row {
            buffer |= (u32::from(*code as u8) & ((1 << bits) - 1)) << used;
            used += bits;
            while used >= 8 {
                bytes.push(buffer as u8);
                (buffer, used) = (buffer >> 8, used - 8);
            }
        }
        if used > 0 {
            bytes.push(buffer as u8);
        }
    }
    bytes
}

/// [`ORDER_PAIRS`]: rows 2r and 2r + 1 interleaved, the even row's codes + 128.
fn in_pairs(codes: &[i8], len: usize) -> Vec<u8> {
    let rows: Vec<&[i8]> = codes.chunks(len.max(1)).collect();
    let pair = |pair: &[&[i8]]| -> Vec<u8> {
        let odd = |i: usize| pair.get(1).map_or(0, |row| row[i] as u8);
        let both = |i: usize| [pair[0][i] as u8 ^ 0x80, odd(i)];
        (0..len).flat_map(both).collect()
    };
    rows.chunks(2).flat_map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_bit_strings_that_end_with_a_byte() {
        assert_eq!(in_rows(&[1, -1, 2, -4], 4, 4), [0xf1, 0xc2]);
        assert_eq!(in_rows(&[1, -1, 1], 3, 2), [0b01_1101]);
        assert_eq!(
            in_rows(&[3, -1, 3, 0, -1], 5, 3),
            [0b1111_1011, 0b0111_0000]
        );
        assert_eq!(in_rows(&[1, 2], 1, 3), [1, 2]);
        assert_eq!(in_rows(&[-128, 127], 2, 8), [0x80, 0x7f]);
    }

    #[test]
    fn pairs_are_interleaved() {
        assert_eq!(
            in_pairs(&[1, 2, 3, 4, -1, -2], 2),
            [0x81, 3, 0x82, 4, 0x7f, 0, 0x7e, 0]
        );
    }
}
