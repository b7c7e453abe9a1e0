//! Two rows of weights times two columns.
//!
//! Rows and columns are 16-bit in scratch, two and two interleaved by fours: codes 0 and 2, codes 1 and 3 of the
//! first, then those of the second. One load brings 16 bytes of each, for 16 multiplications.

use super::ops::{low, sxtb16, sxtb16_odd};
use crate::Backend;
use crate::format::QuantRow;
use crate::kernels::matrix::{Block, Columns, Tile};
use crate::kernels::pieces::pieces_mut;
use crate::kernels::weights::Weights;
use core::arch::global_asm;
use zerocopy::IntoBytes;

pub(super) struct Dsp;

/// Parameters of the tile loop, in the order in which it loads them.
#[repr(C)]
struct Job {
    /// Outputs of the two columns, which may be the same.
    out: [*mut i8; 2],
    /// Two rows for every pair of weight rows.
    quant: *const QuantRow,
    quant_end: *const QuantRow,
    z_y: i32,
    shift: i32,
    columns: *const u32,
    /// Filled in by the loop: where its unrolled steps are entered.
    entry: usize,
    columns_end: *const u32,
    weights: *const u32,
}

unsafe extern "C" {
    /// Multiply pairs of rows with one pair of columns. Of the four steps that are unrolled, the first `skipped` are
    /// left out at first: what the number of steps lacks to a multiple of 4.
    ///
    /// # Safety
    /// Memory behind the parameters is there: from `columns` to `columns_end` whole steps of 4 words, at least one;
    /// as many of `weights` for each pair of rows; two rows of `quant` for each pair up to `quant_end`, at least one
    /// pair; as many bytes from both of `out`. `columns` and `weights` are word aligned.
    fn elastiq_dsp_tile(job: *const Job, skipped: usize);
}

global_asm!(
    ".pushsection .text.elastiq_dsp_tile,\"ax\",%progbits",
    ".syntax unified",
    ".thumb",
    ".p2align 2",
    ".global elastiq_dsp_tile",
    ".thumb_func",
    "elastiq_dsp_tile:",
    "push {{r4-r11, lr}}",
    "sub sp, sp, #36",
    "ldm r0!, {{r4-r12}}",
    "adr.w r11, 2f",
    // A step is 40 bytes.
    "add r2, r1, r1, lsl #2",
    "add r11, r11, r2, lsl #3",
    "orr r11, r11, #1",
    "stm sp, {{r4-r12}}",
    "mov r3, r6",
    "mov r9, r10",
    "ldr r0, [r0]",
    // A pair of rows: the bias is where the accumulators begin.
    "1:",
    "ldr r10, [r3]",
    "ldr r12, [r3, #8]",
    "mov r11, r10",
    "mov lr, r12",
    "ldr pc, [sp, #28]",
    ".p2align 2",
    "2:",
    ".rept 4",
    "ldm.w r0!, {{r1-r4}}",
    "ldm.w r9!, {{r5-r8}}",
    "smlad r10, r1, r5, r10",
    "smlad r11, r1, r7, r11",
    "smlad r12, r3, r5, r12",
    "smlad lr, r3, r7, lr",
    "smlad r10, r2, r6, r10",
    "smlad r11, r2, r8, r11",
    "smlad r12, r4, r6, r12",
    "smlad lr, r4, r8, lr",
    ".endr",
    "ldr r1, [sp, #32]",
    "cmp r9, r1",
    "bne 2b",
    "ldm sp, {{r1-r6, r9}}",
    "cbnz r6, 4f",
    "3:",
    "ldr r7, [r3, #4]",
    "ldr r8, [r3, #12]",
    "smmlar r10, r10, r7, r5",
    "smmlar r11, r11, r7, r5",
    "smmlar r12, r12, r8, r5",
    "smmlar lr, lr, r8, r5",
    "ssat r10, #8, r10",
    "ssat r11, #8, r11",
    "ssat r12, #8, r12",
    "ssat lr, #8, lr",
    "strb r10, [r1], #1",
    "strb r12, [r1], #1",
    "strb r11, [r2], #1",
    "strb lr, [r2], #1",
    "adds r3, #16",
    "cmp r3, r4",
    "stm sp, {{r1-r3}}",
    "bne 1b",
    "add sp, sp, #36",
    "pop {{r4-r11, pc}}",
    // A shift before the multiplication, left or right.
    "4:",
    "cmp r6, #0",
    "blt 5f",
    "lsl r10, r10, r6",
    "lsl r11, r11, r6",
    "lsl r12, r12, r6",
    "lsl lr, lr, r6",
    "b 3b",
    "5:",
    "rsbs r6, r6, #0",
    "asr r10, r10, r6",
    "asr r11, r11, r6",
    "asr r12, r12, r6",
    "asr lr, lr, r6",
    "b 3b",
    ".popsection",
);

unsafe extern "C" {
    /// Widen `fours` words of each of two columns to `to`.
    ///
    /// # Safety
    /// The words can be read, at any alignment; 4 words can be written for each, word aligned. `fours > 0`.
    fn elastiq_dsp_widen(x0: *const i8, x1: *const i8, to: *mut u32, fours: usize);
}

global_asm!(
    ".pushsection .text.elastiq_dsp_widen,\"ax\",%progbits",
    ".syntax unified",
    ".thumb",
    ".p2align 2",
    ".global elastiq_dsp_widen",
    ".thumb_func",
    "elastiq_dsp_widen:",
    "push {{r4-r7, lr}}",
    "adds r3, #1",
    "lsrs r3, r3, #1",
    "bcc 2f",
    "1:",
    "ldr r5, [r0], #4",
    "ldr r7, [r1], #4",
    "sxtb16 r4, r5",
    "sxtb16 r5, r5, ror #8",
    "sxtb16 r6, r7",
    "sxtb16 r7, r7, ror #8",
    "stm r2!, {{r4-r7}}",
    "2:",
    "ldr r5, [r0], #4",
    "ldr r7, [r1], #4",
    "sxtb16 r4, r5",
    "sxtb16 r5, r5, ror #8",
    "sxtb16 r6, r7",
    "sxtb16 r7, r7, ror #8",
    "stm r2!, {{r4-r7}}",
    "subs r3, #1",
    "bne 1b",
    "pop {{r4-r7, pc}}",
    ".popsection",
);

impl Tile for Dsp {
    const BACKEND: Backend = Backend::Dsp;

    #[inline]
    fn load<const OPS: u32>(weights: &Weights, first: usize, n: usize, to: &mut [u32]) {
        let padded = const { Backend::Dsp.layout() }.padded(weights.len);
        let pairs = pieces_mut(to, padded).take(n.div_ceil(2));
        for (i, to) in pairs.enumerate() {
            to.fill(0);
            let row = first.wrapping_add(i.wrapping_mul(2));
            for j in 0..2usize.min(n.wrapping_sub(i.wrapping_mul(2))) {
                let to = to.get_mut(j.wrapping_mul(2)..).unwrap_or_default();
                load_row::<OPS>(weights, row.wrapping_add(j), to);
            }
        }
    }

    #[inline(always)]
    fn widen(x: &Columns, at: usize, to: &mut [u32]) {
        let second = match x.n {
            1 => 0,
            _ => x.stride,
        };
        let fours = x.len / 4;
        let (Some(x0), Some(x1), Some(to)) = (
            x.bytes.get(..x.len),
            x.bytes.get(second..second.wrapping_add(x.len)),
            to.get_mut(at..at.wrapping_add(x.len.next_multiple_of(4))),
        ) else {
            return;
        };
        if fours > 0 {
            // SAFETY: `x0` and `x1` have `x.len >= 4 * fours` bytes, `to` has at least as many words.
            unsafe {
                elastiq_dsp_widen(x0.as_ptr(), x1.as_ptr(), to.as_mut_ptr(), fours);
            }
        }
        if let Some([a, b, c, d]) = to.get_mut(fours.wrapping_mul(4)..) {
            let tail = |x: &[i8]| {
                let mut four = [0; 4];
                let rest = x.get(fours.wrapping_mul(4)..).unwrap_or_default();
                four.iter_mut().zip(rest).for_each(|(to, x)| *to = *x as u8);
                u32::from_le_bytes(four)
            };
            let (x0, x1) = (tail(x0), tail(x1));
            (*a, *b) = (sxtb16(x0), sxtb16_odd(x0));
            (*c, *d) = (sxtb16(x1), sxtb16_odd(x1));
        }
    }

    #[inline(always)]
    fn multiply(block: &Block, x: &Columns, wide: &[u32], out: &mut [i8], stride: usize) {
        // A column that is missing at the end of a line is a copy of the other, with the same outputs.
        let second = match x.n {
            1 => 0,
            _ => stride,
        };
        columns(block, wide, out, second);
    }
}

/// One call for each pair of columns.
#[inline(never)]
fn columns(block: &Block, wide: &[u32], out: &mut [i8], second: usize) {
    let padded = const { Backend::Dsp.layout() }.padded(block.k);
    let rows = block.quant.len();
    let Some(wide) = wide.get(..padded) else {
        return;
    };
    let (pairs, last) = (rows / 2, rows.wrapping_sub(1));
    let decoded = padded.wrapping_mul(rows.div_ceil(2));
    if block.decoded.len() < decoded || out.len() < second.saturating_add(rows) {
        return;
    }
    let out = out.as_mut_ptr();
    let quant = block.quant.as_ptr_range();
    let mut job = Job {
        // SAFETY: `second` is inside of `out`.
        out: [out, unsafe { out.add(second) }],
        quant: quant.start,
        // SAFETY: `2 * pairs <= rows`.
        quant_end: unsafe { quant.start.add(2 * pairs) },
        z_y: block.rq.z_y.into(),
        shift: block.rq.shift.into(),
        columns: wide.as_ptr(),
        entry: 0,
        columns_end: wide.as_ptr_range().end,
        weights: block.decoded.as_ptr(),
    };
    let skipped = (padded / 4).wrapping_neg() % 4;
    if pairs > 0 {
        // SAFETY: `padded > 0` is a multiple of 4 and `wide` has that many words, `block.decoded` as many for each
        // pair of rows. There are `2 * pairs` rows of `quant`, and as many bytes at either of `out`, see above.
        unsafe { elastiq_dsp_tile(&job, skipped) };
    }
    if let (1, Some(q)) = (rows % 2, block.quant.get(last)) {
        let (quant, mut codes) = ([*q, *q], [[0i8; 2]; 2]);
        let [first, other] = &mut codes;
        let range = quant.as_ptr_range();
        (job.quant, job.quant_end) = (range.start, range.end);
        job.out = [first.as_mut_ptr(), other.as_mut_ptr()];
        // SAFETY: the words for `pairs` pairs are followed by those of one more.
        job.weights = unsafe { job.weights.add(pairs.wrapping_mul(padded)) };
        // SAFETY: as above for one pair of rows; 2 rows of `quant` and 2 bytes for each column. `out` has `rows`
        // bytes from 0 and from `second` on.
        unsafe {
            elastiq_dsp_tile(&job, skipped);
            let [[first, _], [other, _]] = codes;
            *out.add(second.wrapping_add(last)) = other;
            *out.add(last) = first;
        }
    }
}

/// Decode a row: two words for every four weights, those of the other row of its pair between them.
#[inline(always)]
fn load_row<const OPS: u32>(weights: &Weights, row: usize, to: &mut [u32]) {
    if let Some(bytes) = weights.plain() {
        let first = row.wrapping_mul(weights.len);
        let bytes = bytes.get(first..first.wrapping_add(weights.len));
        let (fours, rest) = bytes.unwrap_or_default().as_bytes().as_chunks();
        let mut last = [0; 4];
        last.iter_mut().zip(rest).for_each(|(to, w)| *to = *w);
        let last = (!rest.is_empty()).then_some(&last);
        let (to, end) = to.as_chunks_mut::<4>();
        let to = to.iter_mut().map(|to| to.as_mut_slice()).chain([end]);
        for (to, four) in to.zip(fours.iter().chain(last)) {
            let four = u32::from_le_bytes(*four);
            if let [a, b, ..] = to {
                (*a, *b) = (sxtb16(four), sxtb16_odd(four));
            }
        }
        return;
    }
    weights.fours::<OPS>(row, |i, [w0, w1, w2, w3]| {
        let pair = |a: i16, b: i16| low(a as u32, b as u32);
        if let Some([a, b]) = to.get_mut(i..).and_then(|to| to.first_chunk_mut()) {
            (*a, *b) = (pair(w0, w2), pair(w1, w3));
        }
    });
}
