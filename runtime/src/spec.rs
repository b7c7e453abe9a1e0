//! `arith = 1`: the only definition of the integer arithmetic.
//!
//! Every function is total: it has a result for every input, computed modulo 2^32 where a sum leaves
//! `i32`, so that a hostile artifact gives deterministic nonsense and never a trap. For artifacts written
//! by `elastiq-quant` no intermediate leaves `i32` (proven per output channel when lowering), therefore
//! integer addition is order-free and a kernel may sum in any order, unrolled or in vector lanes.
//!
//! Codes: real = scale * (code - zero). Activations and weights are `i8`, accumulators `i32`.

/// Version of the arithmetic, stored in the artifact header.
pub const ARITH: u8 = 1;

/// Smallest and largest accumulator shift an artifact may ask for.
pub const SHIFT_RANGE: core::ops::RangeInclusive<i8> = -16..=15;

/// Multiply-accumulate of one weight and one activation, modulo 2^32.
#[inline(always)]
pub const fn mac(acc: i32, w: i8, x: i8) -> i32 {
    acc.wrapping_add(w as i32 * x as i32)
}

/// Scale an accumulator: `(((acc << l) * m + 2^31) >> 32)`, a negative `l` shifts right first.
///
/// `m` is even and `0 < m < 2^31`, so that real multiplier = m * 2^(l - 32). `l` is 0 unless the real
/// multiplier is 1/2 or more (then positive) or below 2^-21 (then negative, which keeps `m` precise).
/// One instruction where `l` is 0: SMMULR (Cortex-M DSP), VRMULH (Helium), SQRDMULH by m/2 (NEON),
/// VSMUL by m/2 (RVV), MULH and a carry (RV32M).
#[inline(always)]
pub const fn scale(acc: i32, m: i32, l: i8) -> i32 {
    let shifted = if l >= 0 {
        acc.wrapping_shl(l as u32)
    } else {
        acc.wrapping_shr(l.unsigned_abs() as u32)
    };
    ((shifted as i64 * m as i64 + (1 << 31)) >> 32) as i32
}

/// Clamp to the activation bounds. Total: with `lo > hi` the result is `hi`.
#[inline(always)]
pub const fn clamp(v: i32, lo: i8, hi: i8) -> i8 {
    let (lo, hi) = (lo as i32, hi as i32);
    let v = if v < lo { lo } else { v };
    (if v > hi { hi } else { v }) as i8
}

/// Requantize an accumulator to an `i8` code: `clamp(scale(acc, m, l) + z_y, lo, hi)`.
#[inline(always)]
pub const fn requant(acc: i32, m: i32, l: i8, z_y: i8, lo: i8, hi: i8) -> i8 {
    clamp(scale(acc, m, l).wrapping_add(z_y as i32), lo, hi)
}

/// Residual add: `clamp((a*x1 + b*x2 + c) >> s, lo, hi)`, zero points and rounding folded into `c`.
///
/// `a`, `b` are the two scale ratios in units of 2^-s, the larger of them in `[2^14, 2^15)` in magnitude
/// (negative for subtraction), `s <= 23`. On Cortex-M: one SMLAD and one SSAT.
#[inline(always)]
#[allow(clippy::too_many_arguments, reason = "a formula with its constants")]
pub const fn add(x1: i8, x2: i8, a: i16, b: i16, c: i32, s: u8, lo: i8, hi: i8) -> i8 {
    let sum = (a as i32 * x1 as i32)
        .wrapping_add(b as i32 * x2 as i32)
        .wrapping_add(c);
    clamp(sum.wrapping_shr(s as u32), lo, hi)
}

/// Elementwise product of two activations: `requant((x1 - z1) * (x2 - z2))`.
#[inline(always)]
#[allow(clippy::too_many_arguments, reason = "a formula with its constants")]
pub const fn mul(x1: i8, z1: i8, x2: i8, z2: i8, m: i32, l: i8, z_y: i8, lo: i8, hi: i8) -> i8 {
    let p = (x1 as i32 - z1 as i32) * (x2 as i32 - z2 as i32);
    requant(p, m, l, z_y, lo, hi)
}

/// Entry of a 256-entry table for code `x`: index 0 belongs to code -128.
#[inline(always)]
pub const fn lut_index(x: i8) -> usize {
    (x as i32 + 128) as usize
}

/// Softmax numerator to code: `clamp(z_y + round(e * inv / sum), lo, hi)`.
///
/// `e` is the table entry of `max - x` (`u16`, entry 0 is the largest), `sum` the sum of all entries of the
/// row, `inv` = round(1 / scale_y), at most 65,535; rounding is half up. `sum == 0` gives `lo`.
#[inline(always)]
pub const fn softmax_code(e: u16, inv: u16, sum: u32, z_y: i8, lo: i8, hi: i8) -> i8 {
    let num = (e as u32 * inv as u32).wrapping_add(sum / 2);
    match num.checked_div(sum) {
        Some(q) => clamp((q as i32).wrapping_add(z_y as i32), lo, hi),
        None => lo,
    }
}
