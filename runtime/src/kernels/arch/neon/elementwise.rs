//! Sum and maximum of two tensors.

use super::is_neon;
use crate::kernels::add::Add;
use crate::{Backend, spec};
use core::arch::aarch64::*;

/// Sum of two tensors of one shape; `y` holds the first.
#[inline(always)]
pub(crate) fn add(backend: Backend, add: &Add, x2: &[i8], y: &mut [i8]) -> bool {
    if !is_neon(backend) || x2.len() != y.len() || add.s > 31 {
        return false;
    }
    let (ys, y_rest) = y.as_chunks_mut::<16>();
    let (xs, x_rest) = x2.as_chunks::<16>();
    // SAFETY: reads and writes sixteen codes at a time. The sum is taken modulo 2^32; narrowing saturates, which the
    // clamp that follows does not see.
    unsafe {
        let shift = vdupq_n_s32(-i32::from(add.s));
        let c = vdupq_n_s32(add.c);
        let (lo, hi) = (vdupq_n_s8(add.lo), vdupq_n_s8(add.hi));
        let four = |x1, x2| {
            let sum = vmlal_n_s16(vmlal_n_s16(c, x1, add.a), x2, add.b);
            vqmovn_s32(vshlq_s32(sum, shift))
        };
        let eight = |x1: int16x8_t, x2: int16x8_t| {
            let low = four(vget_low_s16(x1), vget_low_s16(x2));
            vqmovn_s16(vcombine_s16(
                low,
                four(vget_high_s16(x1), vget_high_s16(x2)),
            ))
        };
        for (y, x) in ys.iter_mut().zip(xs) {
            let (a, b) = (vld1q_s8(y.as_ptr()), vld1q_s8(x.as_ptr()));
            let low = eight(vmovl_s8(vget_low_s8(a)), vmovl_s8(vget_low_s8(b)));
            let sum = vcombine_s8(low, eight(vmovl_high_s8(a), vmovl_high_s8(b)));
            vst1q_s8(y.as_mut_ptr(), vminq_s8(vmaxq_s8(sum, lo), hi));
        }
    }
    for (y, x) in y_rest.iter_mut().zip(x_rest) {
        *y = spec::add(*y, *x, add.a, add.b, add.c, add.s, add.lo, add.hi);
    }
    true
}

/// `y[i] = max(y[i], x[i])`.
#[inline(always)]
pub(crate) fn max(backend: Backend, x: &[i8], y: &mut [i8]) -> bool {
    if !is_neon(backend) {
        return false;
    }
    let n = x.len().min(y.len());
    let (Some(x), Some(y)) = (x.get(..n), y.get_mut(..n)) else {
        return false;
    };
    let (ys, y_rest) = y.as_chunks_mut::<16>();
    let (xs, x_rest) = x.as_chunks::<16>();
    for (y, x) in ys.iter_mut().zip(xs) {
        // SAFETY: reads and writes sixteen codes.
        unsafe {
            vst1q_s8(
                y.as_mut_ptr(),
                vmaxq_s8(vld1q_s8(y.as_ptr()), vld1q_s8(x.as_ptr())),
            )
        };
    }
    for (y, x) in y_rest.iter_mut().zip(x_rest) {
        *y = (*y).max(*x);
    }
    true
}
