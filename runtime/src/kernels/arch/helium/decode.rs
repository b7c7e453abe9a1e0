//! Weights of all codings to `i8` or `i16`, eight at a time.

use crate::info::OpSet;
use crate::kernels::weights::{Channels, Order, Values, Weights};
use core::arch::asm;
use zerocopy::IntoBytes;

/// Codes decoded at once; they take as many bytes as a code has bits.
const GROUP: usize = 8;

/// Decode `row` to the start of `to`: `i8` if all weights fit that, else `i16`. Nothing if `to` is too short.
pub(super) fn row<const OPS: u32>(weights: &Weights, row: usize, to: &mut [i8]) {
    let narrow = weights.fits_i8::<OPS>();
    let (zero, book) = match weights.values {
        Values::Linear(zero) => (zero, None),
        Values::Zeros(Channels::Rows, zeros) => (zeros.get(row).map_or(0, |zero| zero.get()), None),
        Values::Codebook(book) if OPS & OpSet::CODEBOOK != 0 => (0, Some(book)),
        // Subtracted below.
        Values::Zeros(Channels::Columns, _) if narrow => (0, None),
        _ => return slowly::<OPS>(weights, row, to),
    };
    let (k, bits) = (weights.len, usize::from(weights.bits));
    let len = k.wrapping_mul(bits).div_ceil(8);
    let at = row.wrapping_mul(len);
    let codes = weights.bytes.get(at..at.wrapping_add(len));
    let size = if narrow { 1 } else { 2 };
    let even = |p: *const u8| p.addr().is_multiple_of(2);
    let fits = to.len() >= k.wrapping_mul(size)
        && k > 0
        && (2..=8).contains(&bits)
        && weights.order == Order::Rows
        && (narrow || even(to.as_ptr().cast()))
        && book.is_none_or(|book| book.len() >= 1 << bits && even(book.as_bytes().as_ptr()));
    let (Some(codes), true) = (codes, fits) else {
        return slowly::<OPS>(weights, row, to);
    };
    // Bits that do not count.
    let below = match weights.is_nested::<OPS>() {
        true => weights.mask.trailing_zeros() as usize,
        false => 0,
    };
    let mut tables = [[0u16; GROUP]; 3];
    let [first, last, left] = &mut tables;
    let lanes = first.iter_mut().zip(last).zip(left);
    let mut bit = 0usize;
    for ((first, last), left) in lanes {
        // First and last byte of the code; shift to the top of the halfword made of both.
        *first = (bit / 8) as u16;
        *last = (bit.wrapping_add(bits).wrapping_sub(1) / 8) as u16;
        *left = 16usize.wrapping_sub(bits).wrapping_sub(bit % 8) as u16;
        bit = bit.wrapping_add(bits);
    }
    macro_rules! decode {
        ($($value:literal),*; $store:literal; $($operand:tt)*) => {
            asm!(
                "vldrh.u16 q4, [{tables}]",
                "vldrh.u16 q5, [{tables}, #16]",
                "vldrh.u16 q6, [{tables}, #32]",
                "dlstp.16 lr, {k}",
                "2:",
                "vldrb.u16 q0, [{codes}, q4]",
                "vldrb.u16 q1, [{codes}, q5]",
                "add {codes}, {codes}, {bits}",
                "vsli.16 q0, q1, #8",
                "vshl.u16 q0, q0, q6",
                $($value,)*
                $store,
                "letp lr, 2b",
                tables = in(reg) tables.as_ptr(),
                k = in(reg) k,
                codes = inout(reg) codes.as_ptr() => _,
                bits = in(reg) bits,
                // A register that narrowing stores take.
                inout("r0") to.as_mut_ptr() => _,
                down = in(reg) bits.wrapping_sub(below).wrapping_sub(16),
                $($operand)*
                out("lr") _, out("d0") _, out("d1") _, out("d2") _, out("d3") _, out("d8") _,
                out("d9") _, out("d10") _, out("d11") _, out("d12") _, out("d13") _,
                options(nostack),
            )
        };
    }
    // SAFETY: codes `i < k` have their bits in the `len` bytes of the row, and lanes behind them are not loaded; `to`
    // holds `k` weights, at an even address if they have 16 bits; a codebook has an entry for every code.
    unsafe {
        match (book, narrow) {
            (None, true) if below > 0 => decode!(
                "vshl.s16 q0, {down}", "vshl.s16 q0, {up}", "vsub.i16 q0, q0, {zero}"; "vstrb.16 q0, [r0], #8";
                zero = in(reg) i32::from(zero),
                up = in(reg) below,
            ),
            (None, true) => decode!(
                "vshl.s16 q0, {down}", "vsub.i16 q0, q0, {zero}"; "vstrb.16 q0, [r0], #8";
                zero = in(reg) i32::from(zero),
            ),
            (None, false) => decode!(
                "vshl.s16 q0, {down}", "vsub.i16 q0, q0, {zero}"; "vstrh.16 q0, [r0], #16";
                zero = in(reg) i32::from(zero),
            ),
            (Some(book), _) => decode!(
                "vshl.u16 q0, {down}", "vldrh.u16 q1, [{book}, q0, uxtw #1]"; "vstrh.16 q1, [r0], #16";
                book = in(reg) book.as_ptr(),
            ),
        }
    }
    if let Values::Zeros(Channels::Columns, zeros) = weights.values {
        for (to, zero) in to.iter_mut().zip(zeros) {
            *to = to.wrapping_sub(zero.get() as i8);
        }
    }
}

/// [`row`] weight by weight.
#[inline(never)]
fn slowly<const OPS: u32>(weights: &Weights, row: usize, to: &mut [i8]) {
    let narrow = weights.fits_i8::<OPS>();
    for i in 0..weights.len {
        let w = weights.at(row, i);
        let [low, high] = w.to_le_bytes().map(|byte| byte as i8);
        match narrow {
            true => put(to, i, low),
            false => {
                put(to, i.wrapping_mul(2), low);
                put(to, i.wrapping_mul(2).wrapping_add(1), high);
            }
        }
    }
}

fn put(to: &mut [i8], at: usize, w: i8) {
    if let Some(to) = to.get_mut(at) {
        *to = w;
    }
}
