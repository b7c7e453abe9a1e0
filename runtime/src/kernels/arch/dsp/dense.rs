//! Dense layers: weights from where they are, rows two and two.

use super::ops::{function, high, low, requant, smlad, sxtb16, sxtb16_odd, uxtb16};
use super::tile;
use crate::OpSet;
use crate::format::{PAIRS_MOST, QuantRow};
use crate::kernels::conv::Conv;
use crate::kernels::dense::Dense;
use crate::kernels::dot::dot;
use crate::kernels::pieces::{pieces, pieces_mut};
use crate::kernels::weights::{Order, Values};
use crate::kernels::window::{Axis, Window};
use zerocopy::{FromBytes, FromZeros, IntoBytes};

/// Steps of 4 words in a piece of a pair of rows.
const PIECE: usize = 48;
// 15 pieces, and fewer than 64 words behind them.
const _: () = assert!(PAIRS_MOST == 15 * 8 * PIECE);

/// Two sums, the first in the lower half.
type Sums = u64;

/// Parameters of the loop over pairs of rows, in the order in which it loads them.
#[repr(C)]
struct Job {
    /// Two codes in a word.
    x: *const u32,
    /// Turns of the unrolled loop over a piece of a row.
    turns: usize,
    /// Filled in by the loop: where its unrolled steps are entered.
    entry: usize,
    /// Pieces of a row.
    pieces: usize,
    /// Words behind the last piece.
    rest: usize,
    /// Two rows for each pair of rows.
    quant: *const QuantRow,
    quant_end: *const QuantRow,
    /// Added to the sums of even and odd rows.
    add: [i32; 2],
    z_y: i32,
    shift: i32,
    out: *mut i8,
    w: *const u32,
}

unsafe extern "C" {
    /// Dense layer with weights in [`crate::format::ORDER_PAIRS`]. Of the four steps of 4 words that are unrolled, the
    /// first `skipped` are left out at first.
    ///
    /// A word of weights holds two of an even row (plus 128, in bytes 0 and 2) and two of an odd row. Its halves times
    /// `x` sum up to 256 times the odd row plus the even row, its bytes 0 and 2 to the even row alone.
    ///
    /// # Safety
    /// Words at `x`, and in `w` for each pair of rows: `4 * (4 * turns - skipped) * pieces + rest`. At least one pair of
    /// rows in `quant`, as many bytes at `out`. `x` and `w` are word aligned.
    fn elastiq_dsp_pairs(job: *const Job, skipped: usize);

    /// `Σ w · x` of two rows, `4 * fours` weights from each. The words of `x` are codes 0 and 2, codes 1 and 3.
    ///
    /// # Safety
    /// `w0` and `w1` have as many codes, `x` two words for each four, word aligned. `fours > 0`.
    fn elastiq_dsp_rows(w0: *const i8, w1: *const i8, x: *const u32, fours: usize) -> Sums;
}

/// Two weights of each of two rows, times two codes.
macro_rules! pair_step {
    ($w:literal, $x:literal) => {
        concat!(
            "uxtb16 r11, ",
            $w,
            "\n",
            "smlad lr, ",
            $w,
            ", ",
            $x,
            ", lr\n",
            "smlad r12, r11, ",
            $x,
            ", r12",
        )
    };
}

function! {
    "elastiq_dsp_pairs", frame 96,
    "push {{r4-r11, lr}}",
    "sub sp, sp, #60",
    "ldm r0!, {{r2-r12}}",
    // A step is 56 bytes.
    "lsls r1, r1, #3",
    "rsb r1, r1, r1, lsl #3",
    "adr.w r4, 3f",
    "add r4, r4, r1",
    "orr r4, r4, #1",
    "stm sp, {{r2-r12}}",
    "ldrd r1, r0, [r0]",
    "str r1, [sp, #44]",
    "mov r10, r7",
    // A pair of rows: its sums are at 48.
    "1:",
    "ldr r3, [r10]",
    "ldr r4, [r10, #8]",
    "ldrd r5, r6, [sp, #28]",
    "add r3, r3, r5",
    "add r4, r4, r6",
    "strd r3, r4, [sp, #48]",
    "ldr r1, [sp]",
    "ldr r7, [sp, #12]",
    "str r7, [sp, #56]",
    // A piece.
    "2:",
    "ldrd r2, r3, [sp, #4]",
    "mov r12, #0",
    "mov lr, #0",
    "bx r3",
    ".p2align 2",
    "3:",
    ".rept 4",
    "ldm.w r0!, {{r3-r6}}",
    "ldm.w r1!, {{r7-r10}}",
    pair_step!("r3", "r7"),
    pair_step!("r4", "r8"),
    pair_step!("r5", "r9"),
    pair_step!("r6", "r10"),
    ".endr",
    "subs r2, #1",
    "bne 3b",
    "ldr r2, [sp, #56]",
    "subs r2, #1",
    "beq 4f",
    "str r2, [sp, #56]",
    "ldrd r3, r4, [sp, #48]",
    "add r3, r3, r12",
    "sub lr, lr, r12",
    "add r4, r4, lr, asr #8",
    "strd r3, r4, [sp, #48]",
    "b 2b",
    "4:",
    "ldr r2, [sp, #16]",
    "cbz r2, 6f",
    "5:",
    "ldr r3, [r0], #4",
    "ldr r7, [r1], #4",
    pair_step!("r3", "r7"),
    "subs r2, #1",
    "bne 5b",
    "6:",
    "ldrd r3, r4, [sp, #48]",
    "add r3, r3, r12",
    "sub lr, lr, r12",
    "add r4, r4, lr, asr #8",
    "add r2, sp, #36",
    "ldm r2, {{r5-r7}}",
    "ldrd r10, r11, [sp, #20]",
    "cbnz r6, 8f",
    "7:",
    "ldr r8, [r10, #4]",
    "ldr r9, [r10, #12]",
    "smmlar r3, r3, r8, r5",
    "smmlar r4, r4, r9, r5",
    "ssat r3, #8, r3",
    "ssat r4, #8, r4",
    "strb r3, [r7], #1",
    "strb r4, [r7], #1",
    "add r10, r10, #16",
    "str r7, [sp, #44]",
    "str r10, [sp, #20]",
    "cmp r10, r11",
    "bne 1b",
    "add sp, sp, #60",
    "pop {{r4-r11, pc}}",
    // A shift before the multiplication, left or right.
    "8:",
    "cmp r6, #0",
    "blt 9f",
    "lsls r3, r6",
    "lsls r4, r6",
    "b 7b",
    "9:",
    "rsbs r6, r6, #0",
    "asrs r3, r6",
    "asrs r4, r6",
    "b 7b",
}

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

function! {
    "elastiq_dsp_rows", frame 36,
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
}

/// Run `dense`; `false` if scratch is too small.
pub(super) fn dense<const OPS: u32>(
    dense: &Dense,
    x: &[i8],
    y: &mut [i8],
    scratch: &mut [u32],
) -> bool {
    let (k, m, weights) = (dense.k, dense.quant.len(), &dense.weights);
    let positions = x.len().checked_div(k).unwrap_or(0);
    let has = |part| OPS & part != 0;
    let linear = weights.bits == 8 && !matches!(weights.values, Values::Codebook(_));
    let nested = weights.is_nested::<OPS>();
    let aligned = k % 2 == 0 && weights.bytes.as_ptr().addr() % 4 == 0;
    let kind = match weights.order {
        Order::Pairs if linear && aligned && k <= PAIRS_MOST && has(OpSet::DENSE_PAIRS) => {
            Kind::Pairs
        }
        Order::Rows if linear && !nested && positions < 4 && has(OpSet::DENSE_ROWS) => Kind::Rows,
        _ if has(OpSet::DENSE_BLOCKS) => return as_conv::<OPS>(dense, positions, x, y, scratch),
        _ => return false,
    };
    let Some(wide) = scratch.get_mut(..k.div_ceil(4).wrapping_mul(2)) else {
        return false;
    };
    for (x, y) in pieces(x, k).zip(pieces_mut(y, m)) {
        let total = widen(kind, x, wide);
        match kind {
            Kind::Pairs if nested => nested_pairs(dense, wide, total, y),
            Kind::Pairs if has(OpSet::DENSE_PAIRS) => pairs(dense, wide, total, y),
            Kind::Rows if has(OpSet::DENSE_ROWS) => rows(dense, x, wide, total, y),
            _ => {}
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

/// All rows in [`Order::Pairs`], `total` the sum of the codes that `wide` holds.
fn pairs(dense: &Dense, wide: &[u32], total: i32, y: &mut [i8]) {
    let (words, rows) = (dense.k / 2, dense.quant.len());
    // A piece and what is behind the last have fewer than 512 codes, so that 256 times their sum fits 32 bits.
    let pieces = (words / 4).div_ceil(PIECE).max(1);
    let steps = (words / 4).checked_div(pieces).unwrap_or(0);
    let turns = steps.div_ceil(4).max(1);
    let stored = rows.wrapping_add(rows & 1);
    let bytes = stored.saturating_mul(dense.k);
    if dense.k > PAIRS_MOST || wide.len() < words || dense.weights.bytes.len() < bytes {
        return;
    }
    let mut job = Job {
        x: wide.as_ptr(),
        turns,
        entry: 0,
        pieces,
        rest: words - 4 * steps * pieces,
        quant: dense.quant.as_ptr(),
        quant_end: dense.quant.as_ptr(),
        add: [0; 2],
        z_y: dense.rq.z_y.into(),
        shift: dense.rq.shift.into(),
        out: y.as_mut_ptr(),
        w: dense.weights.bytes.as_ptr().cast(),
    };
    // Rows with one zero point are done at once.
    let at_once = match dense.weights.values {
        Values::Linear(_) => (rows & !1).max(2),
        _ => 2,
    };
    let mut row = 0;
    while row < rows.min(y.len()) {
        let add = |row: usize, offset: i32| {
            let zero = i32::from(dense.weights.zero(row)).wrapping_add(offset);
            zero.wrapping_mul(total).wrapping_neg()
        };
        job.add = [add(row, 128), add(row.wrapping_add(1), 0)];
        let end = row.wrapping_add(at_once);
        let here = dense.quant.get(row..end).zip(y.get_mut(row..end));
        let alone = dense
            .quant
            .get(row)
            .map_or([QuantRow::new_zeroed(); 2], |q| [*q; 2]);
        let mut codes = [0i8; 2];
        let (quant, out) = here.map_or((&alone[..], &mut codes[..]), |both| both);
        let range = quant.as_ptr_range();
        (job.quant, job.quant_end, job.out) = (range.start, range.end, out.as_mut_ptr());
        // SAFETY: there are `words` words in `wide` and in `w` for each pair of rows from `row` on, since `bytes` were
        // there for all pairs of the layer, 4 bytes for each word. Weights are word aligned, see `dense`, and so are
        // pairs of rows of even length. `quant` and `out` have the same even number of rows, at least 2.
        unsafe {
            job.w = dense.weights.bytes.as_ptr().add(row * dense.k).cast();
            elastiq_dsp_pairs(&job, 4 * turns - steps);
        }
        if row.wrapping_add(1) == rows
            && let Some(y) = y.get_mut(row)
        {
            [*y, _] = codes;
        }
        row = end;
    }
}

/// [`pairs`] for codes whose lower bits do not count.
#[inline(never)]
fn nested_pairs(dense: &Dense, wide: &[u32], total: i32, y: &mut [i8]) {
    let weights = &dense.weights;
    let Ok(mut rest) = <[u32]>::ref_from_bytes(weights.bytes.as_bytes()) else {
        return;
    };
    let mask = u32::from_ne_bytes([weights.mask; 4]);
    let add = |sum: u32, offset: i32| {
        let zero = i32::from(weights.zero(0)).wrapping_add(offset);
        (sum as i32).wrapping_sub(zero.wrapping_mul(total))
    };
    for (y, quant) in y.chunks_mut(2).zip(dense.quant.chunks(2)) {
        let Some((pair, tail)) = rest.split_at_checked(dense.k / 2) else {
            return;
        };
        rest = tail;
        let (mut even, mut odd) = (0u32, 0u32);
        for (w, x) in pair.chunks(4 * PIECE).zip(wide.chunks(4 * PIECE)) {
            // The even row, and 256 times the odd row plus the even row.
            let (mut low, mut both) = (0, 0);
            let mut step = |w: u32, x: u32| {
                let w = w & mask;
                both = smlad(both, w, x);
                low = smlad(low, uxtb16(w), x);
            };
            let ((w, w_rest), (x, x_rest)) = (w.as_chunks::<4>(), x.as_chunks::<4>());
            for ([w0, w1, w2, w3], [x0, x1, x2, x3]) in w.iter().zip(x) {
                step(*w0, *x0);
                step(*w1, *x1);
                step(*w2, *x2);
                step(*w3, *x3);
            }
            w_rest.iter().zip(x_rest).for_each(|(w, x)| step(*w, *x));
            even = even.wrapping_add(low);
            odd = odd.wrapping_add((both.wrapping_sub(low) as i32 >> 8) as u32);
        }
        for ((y, q), sum) in y.iter_mut().zip(quant).zip([add(even, 128), add(odd, 0)]) {
            *y = requant(&dense.rq, q.bias.get().wrapping_add(sum), q.mult.get());
        }
    }
}

/// All rows in [`Order::Rows`], `total` the sum of `x`, which `wide` holds.
fn rows(dense: &Dense, x: &[i8], wide: &[u32], total: i32, y: &mut [i8]) {
    let (k, fours) = (dense.k, dense.k / 4);
    let tail = x.get(fours * 4..).unwrap_or_default();
    let mut weights = dense.weights.bytes;
    let mut row = 0;
    for y in y.chunks_mut(2) {
        let Some((w0, rest)) = weights.split_at_checked(k) else {
            return;
        };
        // The last row alone is multiplied twice.
        let (w1, rest) = rest.split_at_checked(k).unwrap_or((w0, rest));
        weights = rest;
        let mut sums = [0; 2];
        if fours > 0 && wide.len() >= fours * 2 {
            // SAFETY: `w0` and `w1` have `k` codes, `wide` two words for every four of them.
            let both = unsafe { elastiq_dsp_rows(w0.as_ptr(), w1.as_ptr(), wide.as_ptr(), fours) };
            sums = [both as i32, (both >> 32) as i32];
        }
        for ((y, sum), w) in y.iter_mut().zip(sums).zip([w0, w1]) {
            let Some(q) = dense.quant.get(row) else {
                return;
            };
            let sum = sum.wrapping_add(dot(tail, w.get(fours * 4..).unwrap_or_default()));
            let zeros = i32::from(dense.weights.zero(row)).wrapping_mul(total);
            let acc = q.bias.get().wrapping_add(sum).wrapping_sub(zeros);
            *y = requant(&dense.rq, acc, q.mult.get());
            row = row.wrapping_add(1);
        }
    }
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
    tile::conv::<OPS>(&conv, x, y, scratch)
}
