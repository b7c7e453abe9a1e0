//! Weights of every width, coding and order.

use super::super::Builder;
use super::super::rng::Rng;
use super::Codes;
use elastiq::format::*;
use proptest::prelude::*;

/// From code to weight.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Values {
    Symmetric,
    /// One zero point, of the weights' width.
    Zero,
    /// One zero point per output channel.
    Zeros,
    Codebook,
    /// The upper bits of 8-bit codes; as [`Values::Symmetric`] where those are all.
    Nested,
}

/// Which axis of a weight matrix is the output channel.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Channels {
    Rows,
    Columns,
}

#[derive(Clone, Copy, Debug)]
pub struct Coding {
    pub bits: u8,
    pub values: Values,
    /// [`ORDER_PAIRS`].
    pub pairs: bool,
    /// The bits that pad rows, and the row that pads pairs, are not zero: nothing may depend on them.
    pub stray: bool,
    pub codes: Codes,
}

/// What an operator row holds, and the weights themselves.
pub struct Coded {
    pub weights: Span,
    pub lut: Option<Span>,
    pub flags: u8,
    pub coding: u8,
    pub bits: u8,
    pub order: u8,
    pub w_zero: i16,
    /// Row-major.
    pub values: Vec<i64>,
}

impl Coding {
    /// `rows` rows of `len` random codes.
    pub fn append(
        &self,
        b: &mut Builder,
        rng: &mut Rng,
        shape: [usize; 2],
        channels: Channels,
    ) -> Coded {
        let [rows, len] = shape;
        let nested = self.values == Values::Nested && self.bits < 8;
        let stored = if nested { 8 } else { self.bits };
        let half = 1i16 << (stored - 1);
        let codes: Vec<i16> = (0..rows * len)
            .map(|_| self.codes.next(rng, half))
            .collect();
        let zero = |rng: &mut Rng| self.codes.next(rng, half);
        let (mut w_zero, mut zeros, mut book) = (0, vec![], vec![]);
        match self.values {
            Values::Symmetric | Values::Nested => {}
            Values::Zero => w_zero = zero(rng),
            Values::Zeros => {
                let n = if channels == Channels::Rows {
                    rows
                } else {
                    len
                };
                zeros.extend((0..n).map(|_| zero(rng)));
            }
            // Backends may take a codebook of 8-bit entries another way.
            Values::Codebook if rng.below(2) == 0 => {
                book.extend((0..2 * half).map(|_| i16::from(rng.code())));
            }
            Values::Codebook => book.extend((0..2 * half).map(|_| rng.entry())),
        }
        let channel = |i: usize| {
            if channels == Channels::Rows {
                i / len
            } else {
                i % len
            }
        };
        let value = |(i, code): (usize, &i16)| -> i64 {
            match self.values {
                Values::Codebook => book[(code & (2 * half - 1)) as usize].into(),
                // The middle of the codes with the same upper bits, rounded up.
                Values::Nested if nested => {
                    let step = 1 << (8 - self.bits);
                    i64::from(code.div_euclid(step) * step + step / 2)
                }
                Values::Zeros => i64::from(*code) - i64::from(zeros[channel(i)]),
                _ => i64::from(*code) - i64::from(w_zero),
            }
        };
        let values = codes.iter().enumerate().map(value).collect();
        let pairs = self.pairs && stored == 8 && channels == Channels::Rows;
        let bytes = if pairs {
            self.paired(&codes, len, rng)
        } else {
            self.packed(&codes, len, stored, rng)
        };
        if self.stray {
            b.luts.push(0);
        }
        let table: Vec<u8> = zeros
            .iter()
            .chain(&book)
            .flat_map(|v: &i16| v.to_le_bytes())
            .collect();
        Coded {
            weights: b.weights(&bytes),
            lut: (!table.is_empty()).then(|| b.lut(&table)),
            flags: if self.values == Values::Zeros {
                FLAG_ZEROS
            } else {
                0
            },
            coding: match self.values {
                Values::Codebook => CODING_CODEBOOK,
                Values::Nested if nested => CODING_NESTED,
                _ => CODING_LINEAR,
            },
            bits: self.bits,
            order: if pairs { ORDER_PAIRS } else { ORDER_ROWS },
            w_zero,
            values,
        }
    }

    /// Rows as strings of bits, whole bytes each.
    fn packed(&self, codes: &[i16], len: usize, width: u8, rng: &mut Rng) -> Vec<i8> {
        let mut bytes = vec![];
        for row in codes.chunks(len) {
            let mut bits: Vec<bool> = row
                .iter()
                .flat_map(|code| (0..width).map(move |bit| code >> bit & 1 == 1))
                .collect();
            while !bits.len().is_multiple_of(8) {
                bits.push(self.stray && rng.below(2) == 1);
            }
            let byte = |bits: &[bool]| {
                bits.iter()
                    .rev()
                    .fold(0u8, |byte, bit| byte << 1 | u8::from(*bit))
            };
            bytes.extend(bits.chunks(8).map(|bits| byte(bits) as i8));
        }
        bytes
    }

    /// Two rows interleaved, the codes of the even one plus 128.
    fn paired(&self, codes: &[i16], len: usize, rng: &mut Rng) -> Vec<i8> {
        let rows: Vec<&[i16]> = codes.chunks(len).collect();
        let mut bytes = vec![];
        for pair in rows.chunks(2) {
            for i in 0..len {
                bytes.push((pair[0][i] + 128) as u8 as i8);
                bytes.push(match pair.get(1) {
                    Some(odd) => odd[i] as i8,
                    None if self.stray => rng.code(),
                    None => 0,
                });
            }
        }
        bytes
    }
}

impl Coded {
    pub fn set(&self, op: &mut OpRow) {
        op.weights = self.weights;
        if let Some(lut) = self.lut {
            op.lut = lut;
        }
        op.flags |= self.flags;
        (op.coding, op.bits, op.order) = (self.coding, self.bits, self.order);
        op.w_zero.set(self.w_zero);
    }
}

/// All codings, plain 8 bits most often.
pub fn coding() -> impl Strategy<Value = Coding> {
    let values = prop_oneof![
        3 => Just(Values::Symmetric),
        1 => Just(Values::Zero),
        2 => Just(Values::Zeros),
        2 => Just(Values::Codebook),
        2 => Just(Values::Nested),
    ];
    let bits = prop_oneof![1 => Just(8u8), 1 => Just(4u8), 2 => 2..=8u8];
    let stray = prop_oneof![3 => Just(false), 1 => Just(true)];
    (bits, values, any::<bool>(), stray, super::codes()).prop_map(
        |(bits, values, pairs, stray, codes)| Coding {
            bits,
            values,
            pairs,
            stray,
            codes,
        },
    )
}
