//! Weights as they lie in the artifact, of any width, coding and order.

use super::dot::{dot, sum};
use crate::info::OpSet;
use zerocopy::IntoBytes;
use zerocopy::byteorder::little_endian::I16;

/// Which axis of a weight matrix is the output channel.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Channels {
    /// Conv and Dense: `[m][k]`.
    Rows,
    /// Depthwise: `[taps][m]`.
    Columns,
}

/// Where code `i` of row `r` is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// [`crate::format::ORDER_ROWS`].
    Rows,
    /// [`crate::format::ORDER_PAIRS`].
    Pairs,
}

/// From code to weight.
#[derive(Clone, Copy)]
pub(crate) enum Values<'a> {
    /// Weight = code - zero point.
    Linear(i16),
    /// The same with one zero point per channel.
    Zeros(Channels, &'a [I16]),
    /// Weight = entry of the code.
    Codebook(&'a [I16]),
}

/// A matrix of weights.
#[derive(Clone, Copy)]
pub(crate) struct Weights<'a> {
    pub bytes: &'a [i8],
    /// Codes of a row.
    pub len: usize,
    /// Bits of a code.
    pub bits: u8,
    /// Those that count. Not all of them in [`crate::format::CODING_NESTED`], where the middle of the values that
    /// the others tell apart is a zero point.
    pub mask: u8,
    pub order: Order,
    pub values: Values<'a>,
}

/// Weights `(code & mask) - zero`.
#[derive(Clone, Copy)]
pub(crate) struct Nested<'a> {
    pub bytes: &'a [i8],
    pub mask: u8,
    pub zero: i16,
}

impl<'a> Weights<'a> {
    /// The weights themselves, if they are stored as such: 8 bits, symmetric, row by row.
    #[inline(always)]
    pub fn plain(&self) -> Option<&'a [i8]> {
        match (self.bits, self.order, self.values) {
            (8, Order::Rows, Values::Linear(0)) => Some(self.bytes),
            _ => None,
        }
    }

    /// Whether the lower bits of the codes do not count.
    #[inline(always)]
    pub fn is_nested<const OPS: u32>(&self) -> bool {
        OPS & OpSet::ELASTIC != 0 && self.mask != 0xff
    }

    /// Codes row by row whose lower bits do not count, `None` for all other weights.
    #[inline(always)]
    #[allow(dead_code, reason = "backends without it decode")]
    pub fn nested<const OPS: u32>(&self) -> Option<Nested<'a>> {
        let is = self.is_nested::<OPS>() && self.order == Order::Rows;
        is.then_some(Nested {
            bytes: self.bytes,
            mask: self.mask,
            zero: self.zero(0),
        })
    }

    /// Bytes of a row in [`Order::Rows`].
    #[inline(always)]
    pub fn row_bytes(&self) -> usize {
        self.len.wrapping_mul(usize::from(self.bits)).div_ceil(8)
    }

    #[inline(always)]
    pub fn row(&self, row: usize) -> &'a [i8] {
        let n = self.row_bytes();
        let at = row.wrapping_mul(n);
        self.bytes.get(at..at.wrapping_add(n)).unwrap_or_default()
    }

    /// Code `i` of `row`, not sign-extended.
    #[inline(always)]
    fn code(&self, row: usize, i: usize) -> u8 {
        if self.order == Order::Pairs {
            let at = (row & !1)
                .wrapping_mul(self.len)
                .wrapping_add(i * 2 + (row & 1));
            let flip = if row & 1 == 0 { 0x80 } else { 0 };
            return self.bytes.get(at).map_or(0, |b| *b as u8 ^ flip) & self.mask;
        }
        let bytes = self.row(row);
        let bit = i.wrapping_mul(usize::from(self.bits));
        let byte = |at: usize| bytes.get(at).map_or(0, |b| u16::from(*b as u8));
        let window = byte(bit >> 3) | byte((bit >> 3).wrapping_add(1)) << 8;
        (window >> (bit & 7)) as u8 & mask(self.bits) & self.mask
    }

    /// From code to weight, `row` and `i` for the zero point.
    #[inline(always)]
    fn value(&self, code: u8, row: usize, i: usize) -> i16 {
        let above = 8u8.wrapping_sub(self.bits);
        let signed = i16::from((code.wrapping_shl(above.into()) as i8).wrapping_shr(above.into()));
        match self.values {
            Values::Linear(zero) => signed.wrapping_sub(zero),
            Values::Zeros(Channels::Rows, zeros) => signed.wrapping_sub(entry(zeros, row)),
            Values::Zeros(Channels::Columns, zeros) => signed.wrapping_sub(entry(zeros, i)),
            Values::Codebook(book) => entry(book, usize::from(code)),
        }
    }

    /// Weight `i` of `row`.
    #[inline]
    pub fn at(&self, row: usize, i: usize) -> i16 {
        self.value(self.code(row, i), row, i)
    }

    /// Zero point of `row`.
    #[inline(always)]
    pub fn zero(&self, row: usize) -> i16 {
        match self.values {
            Values::Linear(zero) => zero,
            Values::Zeros(Channels::Rows, zeros) => entry(zeros, row),
            _ => 0,
        }
    }

    /// `Σ w[row, at + i] · x[i]`.
    #[inline]
    pub fn dot(&self, row: usize, at: usize, x: &[i8]) -> i32 {
        match self.plain() {
            Some(bytes) => {
                let start = row.wrapping_mul(self.len).wrapping_add(at);
                dot(x, bytes.get(start..).unwrap_or_default())
            }
            None => x.iter().enumerate().fold(0i32, |acc, (i, x)| {
                let w = i32::from(self.at(row, at.wrapping_add(i)));
                acc.wrapping_add(w.wrapping_mul(i32::from(*x)))
            }),
        }
    }

    /// `Σ w[row, at + i]` for `i` below `n`.
    #[inline]
    pub fn sum(&self, row: usize, at: usize, n: usize) -> i32 {
        match self.plain() {
            Some(bytes) => {
                let start = row.wrapping_mul(self.len).wrapping_add(at);
                sum(bytes.get(start..start.wrapping_add(n)).unwrap_or_default())
            }
            None => (at..at.wrapping_add(n))
                .fold(0i32, |acc, i| acc.wrapping_add(i32::from(self.at(row, i)))),
        }
    }

    /// Whether every zero point is a code: what decoding to 16 bits, and for widths below 8 to 8 bits, relies on.
    pub fn zeros_in_range(&self) -> bool {
        let half = 1i16 << self.bits.wrapping_sub(1).min(7);
        let range = -half..half;
        match self.values {
            Values::Linear(zero) => range.contains(&zero),
            Values::Zeros(_, zeros) => zeros.iter().all(|zero| range.contains(&zero.get())),
            Values::Codebook(_) => true,
        }
    }

    /// Whether every weight fits `i8` after subtraction of its zero point.
    pub fn fits_i8<const OPS: u32>(&self) -> bool {
        match self.values {
            Values::Linear(0) => true,
            Values::Codebook(_) => false,
            _ => self.bits < 8 || self.is_nested::<OPS>(),
        }
    }

    /// Call `f` with index and weights for every four weights of `row`; missing ones at its end are 0.
    ///
    /// Codings outside of `OPS` cost no code.
    #[inline(always)]
    pub fn fours<const OPS: u32>(&self, row: usize, mut f: impl FnMut(usize, [i16; 4])) {
        let zero = match self.values {
            Values::Linear(zero) => zero,
            Values::Zeros(Channels::Rows, zeros) => entry(zeros, row),
            Values::Codebook(book) if OPS & OpSet::CODEBOOK != 0 && self.order == Order::Rows => {
                let look = |code: u32, _: i32| entry(book, code as usize);
                return self.by_width::<OPS>(row, look, &mut f);
            }
            _ => return self.slowly(row, 0, &mut f),
        };
        if self.order != Order::Rows {
            return self.slowly(row, 0, &mut f);
        }
        if self.is_nested::<OPS>() {
            let mask = i16::from(self.mask as i8);
            let value = |_, signed| (signed as i16 & mask).wrapping_sub(zero);
            return self.eights::<8>(row, value, &mut f);
        }
        self.by_width::<OPS>(row, |_, signed| (signed as i16).wrapping_sub(zero), &mut f);
    }

    #[inline(always)]
    fn by_width<const OPS: u32>(
        &self,
        row: usize,
        value: impl Fn(u32, i32) -> i16,
        f: &mut impl FnMut(usize, [i16; 4]),
    ) {
        let low = OPS & (OpSet::LOW_BITS | OpSet::CODEBOOK) != 0;
        match self.bits {
            8 => self.eights::<8>(row, value, f),
            2 if low => self.eights::<2>(row, value, f),
            3 if low => self.eights::<3>(row, value, f),
            4 if low => self.eights::<4>(row, value, f),
            5 if low => self.eights::<5>(row, value, f),
            6 if low => self.eights::<6>(row, value, f),
            7 if low => self.eights::<7>(row, value, f),
            _ => {}
        }
    }

    /// Eight codes of `B` bits are `B` bytes.
    #[inline(always)]
    fn eights<const B: usize>(
        &self,
        row: usize,
        value: impl Fn(u32, i32) -> i16,
        f: &mut impl FnMut(usize, [i16; 4]),
    ) {
        let mut rest: &[u8] = self.row(row).as_bytes();
        let mut i = 0;
        while i + 8 <= self.len {
            let Some((group, tail)) = rest.split_first_chunk::<B>() else {
                return;
            };
            rest = tail;
            let [a, b, c, d, e, g, h, j] = fields::<B>(group);
            let value = |(code, signed)| value(code, signed);
            f(i, [value(a), value(b), value(c), value(d)]);
            f(i + 4, [value(e), value(g), value(h), value(j)]);
            i += 8;
        }
        self.slowly(row, i, f);
    }

    /// [`Weights::fours`] from weight `from` on, one weight at a time.
    #[inline(never)]
    pub fn slowly(&self, row: usize, from: usize, f: &mut impl FnMut(usize, [i16; 4])) {
        let mut i = from;
        while i < self.len {
            let mut four = [0; 4];
            for (j, w) in four.iter_mut().enumerate() {
                if i + j < self.len {
                    *w = self.at(row, i + j);
                }
            }
            f(i, four);
            i += 4;
        }
    }
}

/// The eight fields of `B` bits, as they are and sign-extended.
#[inline(always)]
fn fields<const B: usize>(bytes: &[u8; B]) -> [(u32, i32); 8] {
    let byte = |at: usize| bytes.get(at).map_or(0, |byte| u32::from(*byte));
    let word = |at: usize| byte(at) | byte(at + 1) << 8 | byte(at + 2) << 16 | byte(at + 3) << 24;
    let (lo, hi) = (word(0), word(4));
    let above = 32 - B as u32;
    let field = |i: u32| {
        let bit = i * B as u32;
        let top = if bit + B as u32 <= 32 {
            lo << (above - bit)
        } else if bit >= 32 {
            hi << (above + 32 - bit)
        } else {
            (lo >> bit | hi << (32 - bit)) << above
        };
        (top >> above, top as i32 >> above)
    };
    // `map` on arrays is a loop where it is not inlined.
    [
        field(0),
        field(1),
        field(2),
        field(3),
        field(4),
        field(5),
        field(6),
        field(7),
    ]
}

#[inline(always)]
fn mask(bits: u8) -> u8 {
    0xffu8.wrapping_shr(8u8.wrapping_sub(bits).into())
}

#[inline(always)]
fn entry(table: &[I16], i: usize) -> i16 {
    table.get(i).map_or(0, |v| v.get())
}
