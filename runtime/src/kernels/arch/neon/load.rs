//! Loads of fewer codes than a vector has, short copies, dot products.

use core::arch::aarch64::*;

/// The first `N` codes, 0 for those behind the end.
#[inline(always)]
pub(super) fn codes<const N: usize>(x: &[i8]) -> [i8; N] {
    match x.first_chunk::<N>() {
        Some(x) => *x,
        None => {
            let mut codes = [0; N];
            codes.iter_mut().zip(x).for_each(|(to, x)| *to = *x);
            codes
        }
    }
}

/// The first 16 codes, 0 for those behind the end.
#[inline(always)]
pub(super) fn sixteen(x: &[i8]) -> int8x16_t {
    let x = codes::<16>(x);
    // SAFETY: reads 16 codes.
    unsafe { vld1q_s8(x.as_ptr()) }
}

/// The first 4 codes in every lane of 32 bits, 0 for those behind the end.
#[inline(always)]
pub(super) fn four(x: &[i8]) -> int8x16_t {
    let x = codes::<4>(x).map(|x| x as u8);
    // SAFETY: Advanced SIMD is part of the target.
    unsafe { vreinterpretq_s8_u32(vdupq_n_u32(u32::from_le_bytes(x))) }
}

/// Copy one slice to another as long. The last codes are copied along with some before them.
#[inline(always)]
pub(super) fn copy(from: &[i8], to: &mut [i8]) {
    let n = from.len().min(to.len());
    let (from, to) = (from.as_ptr(), to.as_mut_ptr());
    let mut at = 0;
    // SAFETY: every access is inside of the first `n` codes of both.
    unsafe {
        if n >= 16 {
            while at < n {
                let here = at.min(n - 16);
                vst1q_s8(to.add(here), vld1q_s8(from.add(here)));
                at += 16;
            }
        } else if n >= 8 {
            let (first, last) = (vld1_s8(from), vld1_s8(from.add(n - 8)));
            vst1_s8(to, first);
            vst1_s8(to.add(n - 8), last);
        } else if n >= 4 {
            let (from, to) = (from.cast::<u32>(), to.cast::<u32>());
            let last = from.byte_add(n - 4).read_unaligned();
            to.write_unaligned(from.read_unaligned());
            to.byte_add(n - 4).write_unaligned(last);
        } else {
            while at < n {
                to.add(at).write(from.add(at).read());
                at += 1;
            }
        }
    }
}

/// Sixteen products, summed in fours: lane `i` of `acc` gets `Σ w[4 * i + j] · x[4 * LANE + j]`.
///
/// # Safety
/// The core has the dot product extension.
#[inline]
#[target_feature(enable = "dotprod")]
pub(super) unsafe fn dot_lane<const LANE: u32>(
    acc: int32x4_t,
    w: int8x16_t,
    x: int8x16_t,
) -> int32x4_t {
    let mut sum = acc;
    // SAFETY: changes `sum` only.
    unsafe {
        core::arch::asm!(
            "sdot {sum:v}.4s, {w:v}.16b, {x:v}.4b[{lane}]",
            sum = inout(vreg) sum, w = in(vreg) w, x = in(vreg) x, lane = const LANE,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sum
}

/// Sixteen products, summed in fours: lane `i` of `acc` gets `Σ w[4 * i + j] · x[4 * i + j]`.
///
/// # Safety
/// The core has the dot product extension.
#[inline]
#[target_feature(enable = "dotprod")]
pub(super) unsafe fn dot(acc: int32x4_t, w: int8x16_t, x: int8x16_t) -> int32x4_t {
    let mut sum = acc;
    // SAFETY: changes `sum` only.
    unsafe {
        core::arch::asm!(
            "sdot {sum:v}.4s, {w:v}.16b, {x:v}.16b",
            sum = inout(vreg) sum, w = in(vreg) w, x = in(vreg) x,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sum
}
