//! From weights in the artifact to rows in lanes.

use super::lanes::Lanes;
use crate::OpSet;
use crate::format::QuantRow;
use crate::kernels::weights::{Channels, Order, Values, Weights};
use core::arch::x86_64::*;
use zerocopy::IntoBytes;
use zerocopy::byteorder::little_endian::I16;

/// Whether every weight fits `i8`.
#[inline(always)]
pub(super) fn narrow(weights: &Weights) -> bool {
    match weights.values {
        Values::Codebook(book) => book.iter().all(|w| i8::try_from(w.get()).is_ok()),
        _ => weights.fits_i8::<{ OpSet::ALL }>(),
    }
}

/// Codes that are unpacked together.
const CHUNK: usize = 256;

/// Decode `row`; room for its weights, their number rounded up to 16, is at `to`.
///
/// # Safety
/// That room, and the features of `L`.
#[inline(always)]
pub(super) unsafe fn decode<L: Lanes>(weights: &Weights, row: usize, to: *mut L::Weight) {
    if let Some(plain) = weights.plain() {
        let at = row.wrapping_mul(weights.len);
        let row = plain.get(at..at.wrapping_add(weights.len));
        for (i, w) in row.unwrap_or_default().iter().enumerate() {
            // SAFETY: `i` is below the length of the row.
            unsafe { to.add(i).write(L::weight((*w).into())) };
        }
        return;
    }
    let book: &[I16] = match weights.values {
        _ if weights.order != Order::Rows => &[],
        Values::Codebook(book) => book,
        Values::Linear(zero) => {
            // SAFETY: as promised by the caller.
            return unsafe { linear::<L>(weights, row, zero, to) };
        }
        Values::Zeros(Channels::Rows, zeros) => {
            let zero = zeros.get(row).map_or(0, |zero| zero.get());
            // SAFETY: as promised by the caller.
            return unsafe { linear::<L>(weights, row, zero, to) };
        }
        Values::Zeros(Channels::Columns, _) => &[],
    };
    if !book.is_empty() {
        // SAFETY: as promised by the caller.
        return unsafe { coded::<L>(weights, row, book, to) };
    }
    weights.fours::<{ OpSet::ALL }>(row, |i, four| {
        for (j, w) in four.iter().enumerate() {
            // SAFETY: `i + j` is below the length of the row rounded up to 4.
            unsafe { to.add(i + j).write(L::weight(*w)) };
        }
    });
}

/// Call `f` with index, codes and their number for every chunk of a row; behind the codes are zeros, up to a multiple
/// of 16 at least.
///
/// # Safety
/// BMI2.
#[inline(always)]
unsafe fn chunks(weights: &Weights, row: usize, mut f: impl FnMut(usize, &[u8; CHUNK], usize)) {
    let bits = usize::from(weights.bits);
    let mask = u64::MAX / 255 * (u64::from(u8::MAX) >> (8 - bits));
    let mut rest: &[u8] = weights.row(row).as_bytes();
    let mut at = 0;
    while at < weights.len {
        let n = (weights.len - at).min(CHUNK);
        let mut codes = [0; CHUNK];
        for eight in codes.chunks_exact_mut(8).take(n.div_ceil(8)) {
            let word = match rest.first_chunk::<8>() {
                Some(word) => u64::from_le_bytes(*word),
                None => {
                    let mut word = [0; 8];
                    word.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
                    u64::from_le_bytes(word)
                }
            };
            // SAFETY: BMI2 as promised.
            let word = unsafe { _pdep_u64(word, mask) };
            eight.copy_from_slice(&word.to_le_bytes());
            rest = rest.get(bits..).unwrap_or_default();
        }
        f(at, &codes, n);
        at += n;
    }
}

/// Weights that are codes minus `zero`.
///
/// # Safety
/// As [`decode`].
#[inline(always)]
unsafe fn linear<L: Lanes>(weights: &Weights, row: usize, zero: i16, to: *mut L::Weight) {
    // With its top bit flipped, a code is its signed value + `half`.
    let half = 1u8 << (weights.bits - 1);
    let zero = zero.wrapping_add(half.into());
    // SAFETY: BMI2 as promised.
    unsafe {
        chunks(weights, row, |at, codes, n| {
            let to = to.add(at);
            for (i, code) in codes.iter().enumerate().take(n) {
                let w = i16::from((*code & weights.mask) ^ half).wrapping_sub(zero);
                // SAFETY: `at + i` is below the length of the row.
                to.add(i).write(L::weight(w));
            }
        });
    }
}

/// Weights that are entries of `book`.
///
/// # Safety
/// As [`decode`].
#[inline(always)]
unsafe fn coded<L: Lanes>(weights: &Weights, row: usize, book: &[I16], to: *mut L::Weight) {
    // Lower and upper bytes of the first entries.
    let (mut lower, mut upper) = ([0u8; 16], [0u8; 16]);
    for ((lower, upper), w) in lower.iter_mut().zip(&mut upper).zip(book) {
        [*lower, *upper] = w.get().to_le_bytes();
    }
    // SAFETY: BMI2 and SSSE3 as promised; room for whole vectors of 16 weights.
    unsafe {
        let lower = _mm_loadu_si128(lower.as_ptr().cast());
        let upper = _mm_loadu_si128(upper.as_ptr().cast());
        chunks(weights, row, |at, codes, n| {
            let to = to.add(at);
            if book.len() > 16 {
                for (i, code) in codes.iter().enumerate().take(n) {
                    let w = book.get(usize::from(*code)).map_or(0, |w| w.get());
                    to.add(i).write(L::weight(w));
                }
                return;
            }
            for (i, codes) in codes.chunks_exact(16).enumerate().take(n.div_ceil(16)) {
                let codes = _mm_loadu_si128(codes.as_ptr().cast());
                let low = _mm_shuffle_epi8(lower, codes);
                let to = to.add(16 * i).cast::<__m128i>();
                if size_of::<L::Weight>() == 1 {
                    _mm_storeu_si128(to, low);
                } else {
                    let high = _mm_shuffle_epi8(upper, codes);
                    _mm_storeu_si128(to, _mm_unpacklo_epi8(low, high));
                    _mm_storeu_si128(to.add(1), _mm_unpackhi_epi8(low, high));
                }
            }
        });
    }
}

/// Write `n` quant rows (`0 < n <= lanes`) to `lanes` biases and `lanes` multipliers at `to`; the last row stands for
/// missing ones.
///
/// # Safety
/// `2 * lanes` values fit.
#[inline(always)]
pub(super) unsafe fn quant(rows: &[QuantRow], lanes: usize, to: *mut i32) {
    if let Some(rows) = rows.get(..lanes) {
        for (i, q) in rows.iter().enumerate() {
            // SAFETY: `i < lanes`.
            unsafe {
                to.add(i).write(q.bias.get());
                to.add(lanes + i).write(q.mult.get());
            }
        }
        return;
    }
    let mut rest = rows.iter();
    let (mut bias, mut mult) = (0, 0);
    for i in 0..lanes {
        if let Some(q) = rest.next() {
            (bias, mult) = (q.bias.get(), q.mult.get());
        }
        // SAFETY: `i < lanes`.
        unsafe {
            to.add(i).write(bias);
            to.add(lanes + i).write(mult);
        }
    }
}

/// Four rows of 32-bit steps to four neighbouring lanes: `to[i * pitch + j] = rows[j][i]`.
///
/// # Safety
/// `steps` words in each row, and room for what is written.
#[inline(always)]
pub(super) unsafe fn turn(rows: [*const u8; 4], steps: usize, to: *mut u32, pitch: usize) {
    let mut i = 0;
    let [a, b, c, d] = rows;
    while i + 4 <= steps {
        // SAFETY: words `i .. i + 4` exist; SSE2 is part of x86-64.
        unsafe {
            let load = |row: *const u8| _mm_loadu_si128(row.add(4 * i).cast());
            let (a, b, c, d) = (load(a), load(b), load(c), load(d));
            let (ab, cd) = (_mm_unpacklo_epi32(a, b), _mm_unpacklo_epi32(c, d));
            let (ef, gh) = (_mm_unpackhi_epi32(a, b), _mm_unpackhi_epi32(c, d));
            let to = to.add(i * pitch);
            _mm_storeu_si128(to.cast(), _mm_unpacklo_epi64(ab, cd));
            _mm_storeu_si128(to.add(pitch).cast(), _mm_unpackhi_epi64(ab, cd));
            _mm_storeu_si128(to.add(2 * pitch).cast(), _mm_unpacklo_epi64(ef, gh));
            _mm_storeu_si128(to.add(3 * pitch).cast(), _mm_unpackhi_epi64(ef, gh));
        }
        i += 4;
    }
    while i < steps {
        for (j, row) in rows.iter().enumerate() {
            // SAFETY: word `i` exists.
            unsafe {
                let word = row.add(4 * i).cast::<u32>().read_unaligned();
                to.add(i * pitch + j).write(word);
            }
        }
        i += 1;
    }
}
