//! Dense layers: weights from where they are, rows two and two.

use super::ops::{high, low, requant, smlad, sxtb16, sxtb16_odd};
use super::tile;
use crate::kernels::conv::Conv;
use crate::kernels::dense::Dense;
use crate::kernels::dot::dot;
use crate::kernels::matrix;
use crate::kernels::pieces::{pieces, pieces_mut};
use crate::kernels::weights::{Order, Values};
use crate::kernels::window::{Axis, Window};
use core::arch::global_asm;
use zerocopy::IntoBytes;

/// Two sums, the first in the lower half.
type Sums = u64;

/// Words of a pair of rows whose sums cannot overflow: the second is `256 * Σ w · x` with fewer than 512 products.
const PIECE: usize = 248;

unsafe extern "C" {
    /// For `words` words, two weights of each of two rows in [`crate::format::ORDER_PAIRS`]: `Σ bytes · x` of the even
    /// row, and the same plus `256 * Σ w · x` of the odd row.
    ///
    /// # Safety
    /// `w` and `x` have as many words, word aligned.
    fn elastiq_dsp_pairs(w: *const u32, x: *const u32, words: usize) -> Sums;

    /// `Σ w · x` of two rows, `4 * fours` weights from each. The words of `x` are codes 0 and 2, codes 1 and 3.
    ///
    /// # Safety
    /// `w0` and `w1` have as many codes, `x` two words for each four, word aligned. `fours > 0`.
    fn elastiq_dsp_rows(w0: *const i8, w1: *const i8, x: *const u32, fours: usize) -> Sums;
}

global_asm!(
    ".pushsection .text.elastiq_dsp_pairs,\"ax\",%progbits",
    ".syntax unified",
    ".thumb",
    ".p2align 2",
    ".global elastiq_dsp_pairs",
    ".thumb_func",
    "elastiq_dsp_pairs:",
    "and r3, r2, #3",
    "push {{r3-r11, lr}}",
    "mov r12, #0",
    "mov lr, #0",
    "lsrs r2, r2, #2",
    "beq 2f",
    // Enter the unrolled loop where the number of its steps, of 56 bytes each, fits.
    "rsb r3, r2, #0",
    "and r3, r3, #3",
    "adds r2, #3",
    "lsrs r2, r2, #2",
    "movs r4, #56",
    "mul r3, r3, r4",
    "adr.w r4, 1f",
    "add r3, r3, r4",
    "orr r3, r3, #1",
    "bx r3",
    ".p2align 2",
    "1:",
    ".rept 4",
    "ldm.w r0!, {{r3-r6}}",
    "ldm.w r1!, {{r7-r10}}",
    "uxtb16 r11, r3",
    "smlad lr, r3, r7, lr",
    "smlad r12, r11, r7, r12",
    "uxtb16 r11, r4",
    "smlad lr, r4, r8, lr",
    "smlad r12, r11, r8, r12",
    "uxtb16 r11, r5",
    "smlad lr, r5, r9, lr",
    "smlad r12, r11, r9, r12",
    "uxtb16 r11, r6",
    "smlad lr, r6, r10, lr",
    "smlad r12, r11, r10, r12",
    ".endr",
    "subs r2, #1",
    "bne 1b",
    "2:",
    "pop {{r2}}",
    "cbz r2, 4f",
    "3:",
    "ldr r3, [r0], #4",
    "ldr r7, [r1], #4",
    "uxtb16 r11, r3",
    "smlad lr, r3, r7, lr",
    "smlad r12, r11, r7, r12",
    "subs r2, #1",
    "bne 3b",
    "4:",
    "mov r0, r12",
    "mov r1, lr",
    "pop {{r4-r11, pc}}",
    ".popsection",
);

/// Four weights of each of two rows.
macro_rules! row_step {
    () => {
        "ldm r2!, {{r4, r5}}
        ldr r7, [r0], #4
        ldr r9, [r1], #4
        sxtb16 r6, r7
        sxtb16 r7, r7, ror #8
        sxtb16 r8, r9
        sxtb16 r9, r9, ror #8
        smlad r12, r6, r4, r12
        smlad lr, r8, r4, lr
        smlad r12, r7, r5, r12
        smlad lr, r9, r5, lr"
    };
}

global_asm!(
    ".pushsection .text.elastiq_dsp_rows,\"ax\",%progbits",
    ".syntax unified",
    ".thumb",
    ".p2align 2",
    ".global elastiq_dsp_rows",
    ".thumb_func",
    "elastiq_dsp_rows:",
    "push {{r4-r11, lr}}",
    "mov r12, #0",
    "mov lr, #0",
    "adds r3, #1",
    "lsrs r3, r3, #1",
    "bcc 2f",
    "1:",
    row_step!(),
    "2:",
    row_step!(),
    "subs r3, #1",
    "bne 1b",
    "mov r0, r12",
    "mov r1, lr",
    "pop {{r4-r11, pc}}",
    ".popsection",
);

/// Run `dense`; `false` if scratch is too small.
pub(super) fn dense<const OPS: u32>(
    dense: &Dense,
    x: &[i8],
    y: &mut [i8],
    scratch: &mut [u32],
) -> bool {
    let (k, m, weights) = (dense.k, dense.quant.len(), &dense.weights);
    let positions = x.len().checked_div(k).unwrap_or(0);
    let linear = weights.bits == 8 && !matches!(weights.values, Values::Codebook(_));
    let aligned = k % 2 == 0 && weights.bytes.as_ptr().addr() % 4 == 0;
    let kind = match weights.order {
        Order::Pairs if linear && aligned => Kind::Pairs,
        Order::Rows if linear && positions < 4 => Kind::Rows,
        _ => return as_conv::<OPS>(dense, positions, x, y, scratch),
    };
    let Some(wide) = scratch.get_mut(..k.div_ceil(4).wrapping_mul(2)) else {
        return false;
    };
    for (x, y) in pieces(x, k).zip(pieces_mut(y, m)) {
        let total = widen(kind, x, wide);
        let mut row = 0;
        for y in y.chunks_mut(2) {
            let sums = match kind {
                Kind::Pairs => pairs(dense, row, wide, total),
                Kind::Rows => rows(dense, row, x, wide),
            };
            for (y, sum) in y.iter_mut().zip(sums) {
                let Some(q) = dense.quant.get(row) else {
                    break;
                };
                let zeros = i32::from(weights.zero(row)).wrapping_mul(total);
                let acc = q.bias.get().wrapping_add(sum).wrapping_sub(zeros);
                *y = requant(&dense.rq, acc, q.mult.get());
                row = row.wrapping_add(1);
            }
        }
    }
    true
}

/// How weights lie.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Pairs,
    Rows,
}

/// Widen `x` in the order that the loop for `kind` wants; the sum of its codes.
#[inline(always)]
fn widen(kind: Kind, x: &[i8], wide: &mut [u32]) -> i32 {
    let (fours, rest) = x.as_bytes().as_chunks();
    let mut last = [0; 4];
    last.iter_mut().zip(rest).for_each(|(to, x)| *to = *x);
    let mut sum = 0;
    for (wide, four) in pieces_mut(wide, 2).zip(fours.iter().chain([&last])) {
        let four = u32::from_le_bytes(*four);
        let (even, odd) = (sxtb16(four), sxtb16_odd(four));
        sum = smlad(smlad(sum, even, 0x1_0001), odd, 0x1_0001);
        if let [a, b] = wide {
            (*a, *b) = match kind {
                Kind::Pairs => (low(even, odd), high(even, odd)),
                Kind::Rows => (even, odd),
            };
        }
    }
    sum as i32
}

/// Sums of codes times `x` of rows `row` and `row + 1`, `row` even; `total` is the sum of `x`.
#[inline(always)]
fn pairs(dense: &Dense, row: usize, wide: &[u32], total: i32) -> [i32; 2] {
    let words = dense.k / 2;
    let start = row.wrapping_mul(dense.k);
    let end = start.wrapping_add(dense.k.wrapping_mul(2));
    let (Some(mut w), Some(mut x)) = (dense.weights.bytes.get(start..end), wide.get(..words))
    else {
        return [0; 2];
    };
    let (mut even, mut odd) = (total.wrapping_mul(-128), 0i32);
    while !x.is_empty() {
        let n = x.len().min(PIECE);
        // SAFETY: `w` has 4 bytes for each word of `x`: `2 * k` for `k / 2` before the first piece. Weights begin word
        // aligned, as checked before, and so does every pair of rows of even length; `x` has words.
        let sums = unsafe { elastiq_dsp_pairs(w.as_ptr().cast(), x.as_ptr(), n) };
        let (bytes, both) = (sums as i32, (sums >> 32) as i32);
        even = even.wrapping_add(bytes);
        odd = odd.wrapping_add(both.wrapping_sub(bytes) >> 8);
        w = w.get(n.wrapping_mul(4)..).unwrap_or_default();
        x = x.get(n..).unwrap_or_default();
    }
    [even, odd]
}

/// Sums of codes times `x` of rows `row` and `row + 1`.
#[inline(always)]
fn rows(dense: &Dense, row: usize, x: &[i8], wide: &[u32]) -> [i32; 2] {
    let code_row = |row: usize| {
        let start = row.wrapping_mul(dense.k);
        dense.weights.bytes.get(start..start.wrapping_add(dense.k))
    };
    let Some(w0) = code_row(row) else {
        return [0; 2];
    };
    // The last row alone is multiplied twice.
    let w1 = code_row(row.wrapping_add(1)).unwrap_or(w0);
    let fours = dense.k / 4;
    let mut sums = [0; 2];
    if fours > 0 && wide.len() >= fours * 2 {
        // SAFETY: `w0` and `w1` have `k` codes, `wide` two words for every four of them.
        let both = unsafe { elastiq_dsp_rows(w0.as_ptr(), w1.as_ptr(), wide.as_ptr(), fours) };
        sums = [both as i32, (both >> 32) as i32];
    }
    let rest = fours.wrapping_mul(4);
    let x = x.get(rest..).unwrap_or_default();
    for (sum, w) in sums.iter_mut().zip([w0, w1]) {
        *sum = sum.wrapping_add(dot(x, w.get(rest..).unwrap_or_default()));
    }
    sums
}

/// A convolution with one tap at positions in a line.
#[inline(always)]
fn as_conv<const OPS: u32>(
    dense: &Dense,
    positions: usize,
    x: &[i8],
    y: &mut [i8],
    scratch: &mut [u32],
) -> bool {
    let (Some(v), Some(h)) = (
        Axis::new(1, 1, 1, 1, 1, 0),
        Axis::new(positions, positions, 1, 1, 1, 0),
    ) else {
        return false;
    };
    let conv = Conv {
        window: Window { v, h, c: dense.k },
        cg: dense.k,
        mg: dense.quant.len(),
        k: dense.k,
        weights: dense.weights,
        z_x: 0,
        quant: dense.quant,
        rq: dense.rq,
    };
    matrix::conv::<tile::Dsp, OPS>(&conv, x, y, scratch)
}
