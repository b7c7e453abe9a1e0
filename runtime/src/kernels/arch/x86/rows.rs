//! From weights in the artifact to rows in lanes.

use super::lanes::Lanes;
use crate::OpSet;
use crate::format::QuantRow;
use crate::kernels::weights::{Values, Weights};
use core::arch::x86_64::*;

/// Whether every weight fits `i8`.
#[inline(always)]
pub(super) fn narrow(weights: &Weights) -> bool {
    match weights.values {
        Values::Codebook(book) => book.iter().all(|w| i8::try_from(w.get()).is_ok()),
        _ => weights.fits_i8(),
    }
}

/// Decode `row`; room for its weights, their number rounded up to 8, is at `to`.
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
    weights.fours::<{ OpSet::ALL }>(row, |i, four| {
        // SAFETY: `i` is a multiple of 4 below the length of the row.
        let to = unsafe { to.add(i) };
        for (j, w) in four.iter().enumerate() {
            // SAFETY: `i + j` is below that length rounded up to 4.
            unsafe { to.add(j).write(L::weight(*w)) };
        }
    });
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
