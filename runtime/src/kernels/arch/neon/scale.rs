//! Accumulators to codes.

use crate::format::QuantRow;
use crate::kernels::Requant;
use core::arch::aarch64::*;

/// [`Requant`] in lanes.
#[derive(Clone, Copy)]
pub(super) struct Scale {
    shift: int32x4_t,
    z_y: int32x4_t,
    lo: int8x8_t,
    hi: int8x8_t,
}

impl Scale {
    #[inline(always)]
    pub fn new(rq: &Requant) -> Self {
        // SAFETY: Advanced SIMD is part of the target.
        unsafe {
            Scale {
                shift: vdupq_n_s32(rq.shift.into()),
                z_y: vdupq_n_s32(rq.z_y.into()),
                lo: vdup_n_s8(rq.lo),
                hi: vdup_n_s8(rq.hi),
            }
        }
    }

    /// Codes of eight accumulators; `mult` is half the multipliers.
    #[inline(always)]
    pub fn codes(&self, acc: [int32x4_t; 2], mult: [int32x4_t; 2]) -> int8x8_t {
        // SAFETY: Advanced SIMD is part of the target.
        unsafe {
            let scale =
                |acc, mult| vaddq_s32(vqrdmulhq_s32(vshlq_s32(acc, self.shift), mult), self.z_y);
            let ([a, b], [m, n]) = (acc, mult);
            let wide = vcombine_s16(vqmovn_s32(scale(a, m)), vqmovn_s32(scale(b, n)));
            vmin_s8(vmax_s8(vqmovn_s16(wide), self.lo), self.hi)
        }
    }
}

/// Biases and half the multipliers of the first eight rows, 0 behind the last.
#[inline(always)]
pub(super) fn parameters(quant: &[QuantRow]) -> ([int32x4_t; 2], [int32x4_t; 2]) {
    let mut rows = [0i32; 16];
    let from = match quant.first_chunk::<8>() {
        Some(quant) => quant.as_ptr().cast::<i32>(),
        None => {
            for (to, q) in rows.as_chunks_mut::<2>().0.iter_mut().zip(quant) {
                *to = [q.bias.get(), q.mult.get()];
            }
            rows.as_ptr()
        }
    };
    // SAFETY: reads 16 values of 32 bits, of eight rows or of the array; these loads need no alignment.
    unsafe {
        let (a, b) = (vld2q_s32(from), vld2q_s32(from.add(8)));
        ([a.0, b.0], [vshrq_n_s32::<1>(a.1), vshrq_n_s32::<1>(b.1)])
    }
}

/// Write the first codes of `codes`, as many as `y` has room for.
#[inline(always)]
pub(super) fn store(codes: int8x8_t, y: &mut [i8]) {
    match y.first_chunk_mut::<8>() {
        // SAFETY: writes eight codes.
        Some(y) => unsafe { vst1_s8(y.as_mut_ptr(), codes) },
        None => {
            let mut all = [0; 8];
            // SAFETY: writes eight codes.
            unsafe { vst1_s8(all.as_mut_ptr(), codes) };
            y.iter_mut().zip(all).for_each(|(y, code)| *y = code);
        }
    }
}
