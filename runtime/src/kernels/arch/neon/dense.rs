//! Dense layer: sums across lanes, weights straight from the artifact.

use super::load::{dot, four, sixteen};
use super::scale::{Scale, parameters, store};
use crate::kernels::dense::Dense;
use crate::kernels::pieces::{pieces, pieces_mut};
use core::arch::aarch64::*;

/// Rows requantized together.
const ROWS: usize = 8;

pub(super) fn run<const OPS: u32>(dense: &Dense, x: &[i8], y: &mut [i8], has_dot: bool) -> bool {
    let k = dense.k;
    if k == 0 {
        return false;
    }
    let plain = dense.weights.plain();
    let scale = Scale::new(&dense.rq);
    for (x, y) in pieces(x, k).zip(pieces_mut(y, dense.quant.len())) {
        for (i, (y, quant)) in y.chunks_mut(ROWS).zip(dense.quant.chunks(ROWS)).enumerate() {
            let first = i.wrapping_mul(ROWS);
            let mut sums = [0; ROWS];
            for (j, sums) in sums.as_chunks_mut::<4>().0.iter_mut().enumerate() {
                let first = first.wrapping_add(j * 4);
                if first >= dense.quant.len() {
                    break;
                }
                *sums = match plain {
                    Some(w) => plain_rows(
                        x,
                        w.get(first.wrapping_mul(k)..).unwrap_or_default(),
                        has_dot,
                    ),
                    None => {
                        core::array::from_fn(|r| coded_row::<OPS>(dense, x, first.wrapping_add(r)))
                    }
                };
            }
            let (bias, mult) = parameters(quant);
            // SAFETY: reads eight sums.
            let acc = unsafe {
                let (a, b) = (vld1q_s32(sums.as_ptr()), vld1q_s32(sums.as_ptr().add(4)));
                [vaddq_s32(a, bias[0]), vaddq_s32(b, bias[1])]
            };
            store(scale.codes(acc, mult), y);
        }
    }
    true
}

/// `Σ_i w[r, i] · x[i]` for the first four rows of `w`; any value for those behind the last.
#[inline(always)]
fn plain_rows(x: &[i8], w: &[i8], has_dot: bool) -> [i32; 4] {
    let mut rows = pieces(w, x.len());
    let Some(first) = rows.next() else {
        return [0; 4];
    };
    let mut next = || rows.next().unwrap_or(first);
    let rows = [first, next(), next(), next()];
    match has_dot {
        // SAFETY: the core has the extension, and the rows are as long as `x`.
        true => unsafe { four_dots(x, rows) },
        // SAFETY: the rows are as long as `x`.
        false => unsafe { four_sums(x, rows) },
    }
}

/// A function that sums four rows with `add`, which takes sixteen codes of a row and the input.
macro_rules! four_rows {
    ($name:ident, $add:ident $(, $feature:meta)?) => {
        /// `Σ_i w[i] · x[i]` for four rows.
        ///
        /// # Safety
        /// The rows are as long as `x`, and the core has the instructions.
        #[inline]
        $(#[$feature])?
        unsafe fn $name(x: &[i8], rows: [&[i8]; 4]) -> [i32; 4] {
            // SAFETY: whole sixteens of codes that `x` and the rows have; the array takes four sums.
            unsafe {
                let mut acc = [vdupq_n_s32(0); 4];
                let mut at = 0;
                while at + 16 <= x.len() {
                    let x = vld1q_s8(x.as_ptr().add(at));
                    for (acc, row) in acc.iter_mut().zip(rows) {
                        *acc = $add(*acc, vld1q_s8(row.as_ptr().add(at)), x);
                    }
                    at += 16;
                }
                if at < x.len() {
                    let rest = |x: &[i8]| sixteen(x.get(at..).unwrap_or_default());
                    let x = rest(x);
                    for (acc, row) in acc.iter_mut().zip(rows) {
                        *acc = $add(*acc, rest(row), x);
                    }
                }
                let [a, b, c, d] = acc;
                let mut sums = [0; 4];
                vst1q_s32(sums.as_mut_ptr(), vpaddq_s32(vpaddq_s32(a, b), vpaddq_s32(c, d)));
                sums
            }
        }
    };
}

four_rows!(four_dots, dot, target_feature(enable = "dotprod"));
four_rows!(four_sums, add_products);

/// Add sixteen products to four sums.
#[inline(always)]
fn add_products(acc: int32x4_t, w: int8x16_t, x: int8x16_t) -> int32x4_t {
    // SAFETY: Advanced SIMD is part of the target.
    unsafe {
        let acc = vpadalq_s16(acc, vmull_s8(vget_low_s8(w), vget_low_s8(x)));
        vpadalq_s16(acc, vmull_high_s8(w, x))
    }
}

/// `Σ_i w[row, i] · x[i]` for weights of any coding.
#[inline(never)]
fn coded_row<const OPS: u32>(dense: &Dense, x: &[i8], row: usize) -> i32 {
    if row >= dense.quant.len() {
        return 0;
    }
    // SAFETY: Advanced SIMD is part of the target; reads four weights.
    unsafe {
        let mut acc = vdupq_n_s32(0);
        dense.weights.fours::<OPS>(row, |i, w| {
            let x = vmovl_s8(vget_low_s8(four(x.get(i..).unwrap_or_default())));
            acc = vmlal_s16(acc, vld1_s16(w.as_ptr()), vget_low_s16(x));
        });
        vaddvq_s32(acc)
    }
}
