//! Single instructions. `x[0]`, `x[1]` are the lower and the upper half of a word.

use crate::kernels::Requant;
use core::arch::asm;

/// A function in assembly, in a section of its own: its name, the bytes of stack that it uses (fewer than 128), and
/// its lines.
macro_rules! function {
    ($name:expr, frame $frame:literal, $($line:expr),+ $(,)?) => {
        core::arch::global_asm!(
            concat!(".pushsection .text.", $name, ",\"ax\",%progbits"),
            ".syntax unified",
            // An assembler that is told only the target, as in link-time optimization for Cortex-M33, knows no DSP
            // instructions.
            ".arch armv7e-m",
            ".thumb",
            ".p2align 2",
            concat!(".global ", $name),
            ".thumb_func",
            concat!($name, ":"),
            $($line,)+
            concat!(".size ", $name, ", . - ", $name),
            // What the compiler writes for its own functions.
            concat!(".section .stack_sizes,\"o\",%progbits,", $name),
            concat!(".long ", $name),
            concat!(".byte ", $frame),
            ".popsection",
        );
    };
}
pub(super) use function;

macro_rules! instruction {
    ($(#[$doc:meta])* $name:ident($($in:ident),+) = $text:literal) => {
        $(#[$doc])*
        #[inline(always)]
        pub(super) fn $name($($in: u32),+) -> u32 {
            let out: u32;
            // SAFETY: computes in registers; it may set the Q flag, which nothing reads.
            unsafe {
                asm!($text, out = lateout(reg) out, $($in = in(reg) $in),+, options(pure, nomem, nostack, preserves_flags));
            }
            out
        }
    };
}

instruction! {
    /// `acc + a[0] * b[0] + a[1] * b[1]`, modulo 2^32.
    smlad(acc, a, b) = "smlad {out}, {a}, {b}, {acc}"
}
instruction! {
    /// Bytes 0 and 2, sign-extended.
    sxtb16(x) = "sxtb16 {out}, {x}"
}
instruction! {
    /// Bytes 0 and 2, zero-extended.
    uxtb16(x) = "uxtb16 {out}, {x}"
}
instruction! {
    /// Bytes 1 and 3, sign-extended.
    sxtb16_odd(x) = "sxtb16 {out}, {x}, ror #8"
}
instruction! {
    /// `add + ((a * b + 2^31) >> 32)`, modulo 2^32.
    smmlar(a, b, add) = "smmlar {out}, {a}, {b}, {add}"
}
instruction! {
    /// `x` clamped to a code.
    ssat8(x) = "ssat {out}, #8, {x}"
}

/// Lower halves of `a` and `b`.
#[inline(always)]
pub(super) fn low(a: u32, b: u32) -> u32 {
    a & 0xffff | b << 16
}

/// Upper halves of `a` and `b`.
#[inline(always)]
pub(super) fn high(a: u32, b: u32) -> u32 {
    a >> 16 | b & 0xffff_0000
}

/// [`Requant::apply`] but for the bounds `lo` and `hi`.
#[inline(always)]
pub(super) fn requant(rq: &Requant, acc: i32, mult: i32) -> i8 {
    let acc = match rq.shift {
        0 => acc,
        l if l > 0 => acc.wrapping_shl(l as u32),
        l => acc.wrapping_shr(l.unsigned_abs().into()),
    };
    let z_y = i32::from(rq.z_y) as u32;
    ssat8(smmlar(acc as u32, mult as u32, z_y)) as i8
}
