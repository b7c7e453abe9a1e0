//! Two rows of weights times two columns.
//!
//! Rows and columns are 16-bit in scratch, two and two interleaved by fours: codes 0 and 2, codes 1 and 3 of the
//! first, then those of the second. One load brings 16 bytes of each, for 16 multiplications.

use super::ops::{function, low, sxtb16, sxtb16_odd};
use crate::Backend;
use crate::OpSet;
use crate::format::QuantRow;
use crate::kernels::conv::{Conv, Runs};
use crate::kernels::matrix::{self, Block, Columns, Tile};
use crate::kernels::pieces::pieces_mut;
use crate::kernels::weights::{Order, Values, Weights};

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
    /// Multiply pairs of rows with one pair of columns. Of the eight steps that are unrolled, the first `skipped` are
    /// left out at first: what the number of steps lacks to a multiple of 8.
    ///
    /// # Safety
    /// Memory behind the parameters is there: from `columns` to `columns_end` whole steps of 4 words, at least one;
    /// as many of `weights` for each pair of rows; two rows of `quant` for each pair up to `quant_end`, at least one
    /// pair; as many bytes from both of `out`. `columns` and `weights` are word aligned.
    fn elastiq_dsp_tile(job: *const Job, skipped: usize);
}

function! {
    "elastiq_dsp_tile", frame 72,
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
    ".rept 8",
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
}

unsafe extern "C" {
    /// Widen `runs` runs of `fours` words, `step` bytes apart, of each of two columns to `to`; there, `gap` bytes are
    /// left out between runs.
    ///
    /// # Safety
    /// The words can be read, at any alignment; 4 words can be written for each, word aligned. There is at least one
    /// word.
    fn elastiq_dsp_widen(
        x0: *const i8,
        x1: *const i8,
        to: *mut u32,
        fours: usize,
        runs: usize,
        step: usize,
        gap: usize,
    );

    /// Copy `runs` runs of `len` bytes, which are `from_step` and `to_step` apart.
    ///
    /// # Safety
    /// The bytes can be read and written. `runs > 0`.
    fn elastiq_dsp_gather(
        from: *const i8,
        to: *mut i8,
        len: usize,
        runs: usize,
        from_step: usize,
        to_step: usize,
    );

    /// Widen `fours` words of a row of weights, leaving room for those of another row behind each.
    ///
    /// # Safety
    /// The words can be read, at any alignment; 4 words can be written for each but the last, which has 2, word
    /// aligned. `fours > 0`.
    fn elastiq_dsp_load(w: *const i8, to: *mut u32, fours: usize);
}

/// How codes of some bits become weights: constants of the loops, in the order in which they load them.
#[repr(C)]
struct Codes {
    bits: u32,
    /// Left shift of the third and fourth code of four to the upper half of a word.
    lift: u32,
    /// A code in each half.
    mask: u32,
    /// The top bits of four codes.
    flip: u32,
    /// Subtracted from codes with flipped top bit, in each half.
    zero: u32,
    /// Bytes and bits from the first four codes to the second.
    second: u32,
    shift: u32,
}

unsafe extern "C" {
    /// Decode `eights` times 8 codes, leaving room for those of another row behind each four.
    ///
    /// # Safety
    /// For each eight codes, which have `bits` bytes, words can be read at its start and `second` bytes behind. 8 words can
    /// be written for each but the last, which has 6, word aligned. `eights > 0`.
    fn elastiq_dsp_codes(w: *const i8, to: *mut u32, eights: usize, codes: *const Codes);

    /// The same, codes being indices of `book`.
    ///
    /// # Safety
    /// The same, and `book` has an entry for each code.
    fn elastiq_dsp_book(
        w: *const i8,
        to: *mut u32,
        eights: usize,
        codes: *const Codes,
        book: *const i16,
    );
}

/// Four codes in `$v`: codes 0 and 2 to r12, codes 1 and 3 to `$v`.
macro_rules! fields {
    ($v:literal) => {
        concat!(
            "lsl r12, ",
            $v,
            ", r4\n",
            "pkhbt ",
            $v,
            ", ",
            $v,
            ", r12\n",
            "and r12, ",
            $v,
            ", r5\n",
            "lsr ",
            $v,
            ", ",
            $v,
            ", r3\n",
            "and ",
            $v,
            ", ",
            $v,
            ", r5",
        )
    };
}

/// Four weights from the codes in `$v`.
macro_rules! linear {
    ($v:literal) => {
        concat!(
            "ssub16 r12, r12, r7\n",
            "ssub16 ",
            $v,
            ", ",
            $v,
            ", r7\n",
            "strd r12, ",
            $v,
            ", [r1], #16",
        )
    };
}

function! {
    "elastiq_dsp_codes", frame 36,
    "push {{r4-r11, lr}}",
    "ldm r3, {{r3-r9}}",
    "1:",
    "ldr r10, [r0]",
    "ldr r11, [r0, r8]",
    "add r0, r0, r3",
    "lsr r11, r11, r9",
    "eor r10, r10, r6",
    "eor r11, r11, r6",
    fields!("r10"),
    linear!("r10"),
    fields!("r11"),
    linear!("r11"),
    "subs r2, #1",
    "bne 1b",
    "pop {{r4-r11, pc}}",
}

/// The entries of the codes in both halves of `$v`.
macro_rules! entries {
    ($v:literal) => {
        concat!(
            "uxth r7, ",
            $v,
            "\n",
            "lsr ",
            $v,
            ", ",
            $v,
            ", #16\n",
            "ldrh r7, [r6, r7, lsl #1]\n",
            "ldrh ",
            $v,
            ", [r6, ",
            $v,
            ", lsl #1]\n",
            "pkhbt ",
            $v,
            ", r7, ",
            $v,
            ", lsl #16",
        )
    };
}

function! {
    "elastiq_dsp_book", frame 36,
    "push {{r4-r11, lr}}",
    "ldm r3, {{r3-r9}}",
    "ldr r6, [sp, #36]",
    "1:",
    "ldr r10, [r0]",
    "ldr r11, [r0, r8]",
    "add r0, r0, r3",
    "lsr r11, r11, r9",
    fields!("r10"),
    entries!("r12"),
    entries!("r10"),
    "strd r12, r10, [r1], #16",
    fields!("r11"),
    entries!("r12"),
    entries!("r11"),
    "strd r12, r11, [r1], #16",
    "subs r2, #1",
    "bne 1b",
    "pop {{r4-r11, pc}}",
}

/// Four codes of each of two columns.
macro_rules! widen {
    () => {
        "ldr r5, [r0], #4
        ldr r7, [r1], #4
        sxtb16 r4, r5
        sxtb16 r5, r5, ror #8
        sxtb16 r6, r7
        sxtb16 r7, r7, ror #8
        stm r2!, {{r4-r7}}"
    };
}

function! {
    "elastiq_dsp_widen", frame 32,
    "push {{r4-r10, lr}}",
    "ldrd r8, r9, [sp, #32]",
    "ldr r10, [sp, #40]",
    // From the end of a run to the next.
    "sub r9, r9, r3, lsl #2",
    "1:",
    "adds r12, r3, #1",
    "lsrs r12, r12, #1",
    "bcc 3f",
    "2:",
    widen!(),
    "3:",
    widen!(),
    "subs r12, #1",
    "bne 2b",
    "add r0, r0, r9",
    "add r1, r1, r9",
    "add r2, r2, r10",
    "subs r8, #1",
    "bne 1b",
    "pop {{r4-r10, pc}}",
}

function! {
    "elastiq_dsp_gather", frame 24,
    "push {{r4-r8, lr}}",
    "ldrd r4, r5, [sp, #24]",
    "1:",
    "mov r6, r0",
    "mov r7, r1",
    "lsrs r12, r2, #2",
    "beq 3f",
    "2:",
    "ldr r8, [r6], #4",
    "str r8, [r7], #4",
    "subs r12, #1",
    "bne 2b",
    "3:",
    // Bit 1 of the length to C, bit 0 to N.
    "lsls r12, r2, #31",
    "bcc 4f",
    "ldrh r8, [r6], #2",
    "strh r8, [r7], #2",
    "4:",
    "bpl 5f",
    "ldrb r8, [r6]",
    "strb r8, [r7]",
    "5:",
    "add r0, r0, r4",
    "add r1, r1, r5",
    "subs r3, #1",
    "bne 1b",
    "pop {{r4-r8, pc}}",
}

function! {
    "elastiq_dsp_load", frame 0,
    "1:",
    "ldr r3, [r0], #4",
    "sxtb16 r12, r3",
    "sxtb16 r3, r3, ror #8",
    "strd r12, r3, [r1], #16",
    "subs r2, #1",
    "bne 1b",
    "bx lr",
}

/// Convolution, and dense layers as one.
#[inline(never)]
pub(super) fn conv<const OPS: u32>(
    conv: &Conv,
    x: &[i8],
    y: &mut [i8],
    scratch: &mut [u32],
) -> bool {
    matrix::conv::<Dsp, OPS>(conv, x, y, scratch)
}

impl Tile for Dsp {
    const BACKEND: Backend = Backend::Dsp;

    #[inline]
    fn load<const OPS: u32>(weights: &Weights, first: usize, n: usize, to: &mut [u32]) {
        let padded = const { Backend::Dsp.layout() }.padded(weights.len);
        let pairs = pieces_mut(to, padded).take(n.div_ceil(2));
        for (i, to) in pairs.enumerate() {
            let row = first.wrapping_add(i.wrapping_mul(2));
            for j in 0..2usize.min(n.wrapping_sub(i.wrapping_mul(2))) {
                let to = to.get_mut(j.wrapping_mul(2)..).unwrap_or_default();
                load_row::<OPS>(weights, row.wrapping_add(j), to);
            }
        }
    }

    #[inline(always)]
    fn widen<const OPS: u32>(x: &Columns, at: usize, to: &mut [u32]) {
        let runs = Runs {
            at,
            start: 0,
            len: x.len & !3,
            count: 1,
            from_step: 0,
            to_step: 0,
        };
        Self::widen_runs::<OPS>(x.bytes, x.stride, x.n, &runs, to);
        if OPS & OpSet::RAGGED != 0 && x.len % 4 != 0 {
            let at = at.wrapping_add(runs.len);
            tail(x, to.get_mut(at..).unwrap_or_default());
        }
    }

    #[inline]
    fn widen_runs<const OPS: u32>(
        image: &[i8],
        step: usize,
        n: usize,
        runs: &Runs,
        to: &mut [u32],
    ) {
        let second = match n {
            1 => 0,
            _ => step,
        };
        let last = runs.count.saturating_sub(1);
        let reach = |step: usize| last.saturating_mul(step).saturating_add(runs.len);
        let (from, to) = (image.get(runs.start..), to.get_mut(runs.at..));
        let (from, to) = (from.unwrap_or_default(), to.unwrap_or_default());
        if from.len() < second.saturating_add(reach(runs.from_step))
            || to.len() < reach(runs.to_step)
            || runs.count.min(runs.len) == 0
            || !runs.len.is_multiple_of(4)
        {
            return;
        }
        let gap = runs.to_step.wrapping_sub(runs.len).wrapping_mul(4);
        let from = from.as_ptr();
        // SAFETY: `from` has all runs of both columns, `to` a word for each of their codes, see above.
        unsafe {
            elastiq_dsp_widen(
                from,
                from.add(second),
                to.as_mut_ptr(),
                runs.len / 4,
                runs.count,
                runs.from_step,
                gap,
            );
        }
    }

    #[inline]
    fn gather_runs(image: &[i8], step: usize, n: usize, runs: &Runs, to: &mut [i8], stride: usize) {
        let last = runs.count.wrapping_sub(1);
        for j in 0..n {
            let reach = |step: usize| last.saturating_mul(step).saturating_add(runs.len);
            let start = runs.start.saturating_add(j.saturating_mul(step));
            let at = runs.at.saturating_add(j.saturating_mul(stride));
            let (Some(from), Some(to)) = (
                image
                    .get(start..)
                    .filter(|x| x.len() >= reach(runs.from_step)),
                to.get_mut(at..)
                    .filter(|to| to.len() >= reach(runs.to_step)),
            ) else {
                return;
            };
            if runs.count > 0 {
                let (from, to) = (from.as_ptr(), to.as_mut_ptr());
                // SAFETY: all runs are inside of `from` and `to`.
                unsafe {
                    elastiq_dsp_gather(
                        from,
                        to,
                        runs.len,
                        runs.count,
                        runs.from_step,
                        runs.to_step,
                    );
                }
            }
        }
    }

    #[inline(always)]
    fn multiply<const OPS: u32>(
        block: &Block,
        x: &Columns,
        wide: &[u32],
        out: &mut [i8],
        stride: usize,
    ) {
        // A column that is missing at the end of a line is a copy of the other, with the same outputs.
        let second = match x.n {
            1 => 0,
            _ => stride,
        };
        columns::<OPS>(block, wide, out, second);
    }
}

/// One call for each pair of columns.
#[inline(never)]
fn columns<const OPS: u32>(block: &Block, wide: &[u32], out: &mut [i8], second: usize) {
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
    let skipped = (padded / 4).wrapping_neg() % 8;
    if pairs > 0 {
        // SAFETY: `padded > 0` is a multiple of 4 and `wide` has that many words, `block.decoded` as many for each
        // pair of rows. There are `2 * pairs` rows of `quant`, and as many bytes at either of `out`, see above.
        unsafe { elastiq_dsp_tile(&job, skipped) };
    }
    if OPS & OpSet::RAGGED != 0
        && let (1, Some(q)) = (rows % 2, block.quant.get(last))
    {
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
        let bytes = bytes.unwrap_or_default();
        let fours = bytes.len() / 4;
        if fours > 0 && to.len() >= fours * 4 - 2 {
            // SAFETY: `bytes` has `fours` words and `to` four times as many but for the last two.
            unsafe { elastiq_dsp_load(bytes.as_ptr(), to.as_mut_ptr(), fours) };
        }
        if OPS & OpSet::RAGGED == 0 {
            return;
        }
        let to = to.get_mut(fours * 4..).unwrap_or_default();
        let four = last_four(bytes);
        if let ([a, b, ..], false) = (to, bytes.len().is_multiple_of(4)) {
            (*a, *b) = (sxtb16(four), sxtb16_odd(four));
        }
        return;
    }
    if OPS & OpSet::CODED_CONV == 0 {
        return;
    }
    let done = eights::<OPS>(weights, row, to);
    weights.slowly(row, done, &mut |i, [w0, w1, w2, w3]| {
        let pair = |a: i16, b: i16| low(a as u32, b as u32);
        if let Some([a, b]) = to.get_mut(i..).and_then(|to| to.first_chunk_mut()) {
            (*a, *b) = (pair(w0, w2), pair(w1, w3));
        }
    });
}

/// Decode as many eights of weights as there are whole words of codes for; how many weights that are.
#[inline(never)]
fn eights<const OPS: u32>(weights: &Weights, row: usize, to: &mut [u32]) -> usize {
    let bits = usize::from(weights.bits);
    let start = row.saturating_mul(weights.row_bytes());
    let bytes = weights.bytes.get(start..).unwrap_or_default();
    // The second word of an eight is read `bits / 2` bytes behind its start.
    let whole = (bytes.len().checked_sub(4 + bits / 2)).and_then(|n| n.checked_div(bits));
    let n = (weights.len / 8).min(whole.map_or(0, |n| n + 1));
    if n == 0 || n * 8 - 2 > to.len() || weights.order != Order::Rows {
        return 0;
    }
    let twice = |half: u32| half & 0xffff | half << 16;
    let half = 1u32.wrapping_shl(u32::from(weights.bits) - 1);
    let mut job = Codes {
        bits: bits as u32,
        lift: 16u32.wrapping_sub(2 * bits as u32),
        mask: twice(half.wrapping_mul(2).wrapping_sub(1)),
        flip: 0,
        zero: 0,
        second: bits as u32 / 2,
        shift: bits as u32 % 2 * 4,
    };
    match weights.values {
        Values::Codebook(book) => {
            if OPS & OpSet::CODEBOOK == 0 || book.len() < 1 << bits {
                return 0;
            }
            // SAFETY: words of codes and room for `n` eights, see above; every code is an index of `book`.
            unsafe {
                let book = book.as_ptr().cast();
                elastiq_dsp_book(bytes.as_ptr(), to.as_mut_ptr(), n, &job, book);
            }
        }
        _ => {
            let four = |i: u32| half.wrapping_shl(i.wrapping_mul(bits as u32));
            job.flip = four(0) | four(1) | four(2) | four(3);
            job.zero = twice(half.wrapping_add(weights.zero(row) as u32));
            // SAFETY: words of codes and room for `n` eights, see above.
            unsafe { elastiq_dsp_codes(bytes.as_ptr(), to.as_mut_ptr(), n, &job) };
        }
    }
    n * 8
}

/// The last, incomplete word of a column each.
#[inline(never)]
fn tail(x: &Columns, to: &mut [u32]) {
    let column = |j: usize| {
        let start = j.wrapping_mul(x.stride);
        last_four(
            x.bytes
                .get(start..start.wrapping_add(x.len))
                .unwrap_or_default(),
        )
    };
    let (x0, x1) = (column(0), column(x.n.wrapping_sub(1).min(1)));
    if let [a, b, c, d, ..] = to {
        (*a, *b) = (sxtb16(x0), sxtb16_odd(x0));
        (*c, *d) = (sxtb16(x1), sxtb16_odd(x1));
    }
}

/// The bytes behind the last whole word, then zeros.
#[inline(always)]
fn last_four(bytes: &[i8]) -> u32 {
    let (_, rest) = bytes.as_chunks::<4>();
    let byte = |i: usize| rest.get(i).map_or(0, |b| u32::from(*b as u8));
    byte(0) | byte(1) << 8 | byte(2) << 16
}
