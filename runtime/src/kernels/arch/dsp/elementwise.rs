//! Four codes at a time.

use super::ops::function;
use crate::Backend;
use crate::kernels::add::Add;
use crate::spec;
use core::arch::asm;

/// Constants of the addition loop.
#[repr(C)]
struct Sum {
    /// `a` in the lower and `b` in the upper half.
    factors: u32,
    c: i32,
    s: u32,
}

unsafe extern "C" {
    /// `y[i] = ((a * y[i] + b * x[i] + c) >> s)` clamped to 0 ..= 255, minus 128, for 16 codes at a time up to `end`.
    ///
    /// # Safety
    /// There are whole sixteens of codes from `y` to `end`, at least one, and as many at `x`.
    fn elastiq_dsp_add(y: *mut i8, x: *const i8, end: *const i8, sum: *const Sum);
}

function! {
    "elastiq_dsp_add", frame 32,
    "push {{r4-r10, lr}}",
    "ldm r3, {{r3-r5}}",
    "mov.w r10, #0x80808080",
    "1:",
    ".rept 4",
    "ldr r6, [r1], #4",
    "ldr r7, [r0]",
    "pkhbt r8, r7, r6, lsl #16",
    "pkhtb r6, r6, r7, asr #16",
    "sxtb16 r7, r8",
    "sxtb16 r8, r8, ror #8",
    "sxtb16 r9, r6",
    "sxtb16 r6, r6, ror #8",
    "smlad r7, r7, r3, r4",
    "smlad r8, r8, r3, r4",
    "smlad r9, r9, r3, r4",
    "smlad r6, r6, r3, r4",
    "asrs r7, r5",
    "asr r8, r8, r5",
    "asr r9, r9, r5",
    "asrs r6, r5",
    "pkhbt r7, r7, r9, lsl #16",
    "pkhbt r8, r8, r6, lsl #16",
    "usat16 r7, #8, r7",
    "usat16 r8, #8, r8",
    "orr r7, r7, r8, lsl #8",
    "eor r7, r7, r10",
    "str r7, [r0], #4",
    ".endr",
    "cmp r0, r2",
    "bne 1b",
    "pop {{r4-r10, pc}}",
}

/// Sum of two tensors of one shape; `y` holds the first.
#[inline(always)]
pub(crate) fn add(backend: Backend, add: &Add, x2: &[i8], y: &mut [i8]) -> bool {
    backend == Backend::Dsp && sum(add, x2, y)
}

fn sum(add: &Add, x2: &[i8], y: &mut [i8]) -> bool {
    // Two sums share a register after the shift: what is shifted has to fit 16 + s bits.
    let factors = u32::from(add.a.unsigned_abs()).wrapping_add(add.b.unsigned_abs().into());
    let zero = 128u32.wrapping_shl(add.s.into());
    let reach = (factors.wrapping_mul(128))
        .saturating_add(add.c.unsigned_abs())
        .saturating_add(zero);
    if add.s > 15 && reach > i32::MAX as u32 || add.s <= 15 && reach >> add.s >= 1 << 15 {
        return false;
    }
    let sum = Sum {
        factors: u32::from(add.a as u16) | u32::from(add.b as u16) << 16,
        c: add.c.wrapping_add(zero as i32),
        s: add.s.into(),
    };
    let len = y.len().min(x2.len()) & !15;
    let (Some((y, y_rest)), Some((x, x_rest))) =
        (y.split_at_mut_checked(len), x2.split_at_checked(len))
    else {
        return false;
    };
    if len > 0 {
        let y = y.as_mut_ptr_range();
        // SAFETY: `x` and `y` have `len` codes, a multiple of 16.
        unsafe { elastiq_dsp_add(y.start, x.as_ptr(), y.end, &sum) };
    }
    if (add.lo, add.hi) != (i8::MIN, i8::MAX) {
        clamp(y, add.lo, add.hi);
    }
    for (y, x) in y_rest.iter_mut().zip(x_rest) {
        *y = spec::add(*y, *x, add.a, add.b, add.c, add.s, add.lo, add.hi);
    }
    true
}

/// The larger of each two bytes of `a` and `b`.
#[inline(always)]
fn larger(a: u32, b: u32) -> u32 {
    let out: u32;
    // SAFETY: computes in registers and sets flags.
    unsafe {
        asm!("ssub8 {out}, {a}, {b}", "sel {out}, {a}, {b}", out = out(reg) out, a = in(reg) a, b = in(reg) b,
            options(pure, nomem, nostack));
    }
    out
}

/// The smaller of each two bytes of `a` and `b`.
#[inline(always)]
fn smaller(a: u32, b: u32) -> u32 {
    let out: u32;
    // SAFETY: computes in registers and sets flags.
    unsafe {
        asm!("ssub8 {out}, {a}, {b}", "sel {out}, {b}, {a}", out = out(reg) out, a = in(reg) a, b = in(reg) b,
            options(pure, nomem, nostack));
    }
    out
}

/// `y[i] = max(y[i], x[i])`.
#[inline(always)]
pub(crate) fn max(backend: Backend, x: &[i8], y: &mut [i8]) -> bool {
    if backend != Backend::Dsp {
        return false;
    }
    let ((x_fours, x), (y_fours, y)) = (x.as_chunks(), y.as_chunks_mut());
    for (y, x) in y_fours.iter_mut().zip(x_fours) {
        *y = codes(larger(word(*x), word(*y)));
    }
    y.iter_mut().zip(x).for_each(|(y, x)| *y = (*y).max(*x));
    true
}

/// `y[i] = min(max(y[i], lo), hi)`.
#[inline(never)]
pub(super) fn clamp(y: &mut [i8], lo: i8, hi: i8) {
    let (lows, highs) = (word([lo; 4]), word([hi; 4]));
    let (fours, rest) = y.as_chunks_mut();
    for y in fours {
        *y = codes(smaller(larger(word(*y), lows), highs));
    }
    for y in rest {
        *y = spec::clamp((*y).into(), lo, hi);
    }
}

#[inline(always)]
fn word(codes: [i8; 4]) -> u32 {
    u32::from_le_bytes(codes.map(|code| code as u8))
}

#[inline(always)]
fn codes(word: u32) -> [i8; 4] {
    word.to_le_bytes().map(|byte| byte as i8)
}
