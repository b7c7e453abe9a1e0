//! Two rows of weights times two columns.
//!
//! Rows and columns are 16-bit in scratch, two and two interleaved by fours: codes 0 and 2, codes 1 and 3 of the
//! first, then those of the second. One load brings 16 bytes of each, for 16 multiplications.

use super::ops::{function, low, sxtb16, sxtb16_odd};
use crate::Backend;
use crate::OpSet;
use crate::format::QuantRow;
use crate::kernels::conv::{Conv, Runs};
use crate::kernels::matrix::{self, Block, Tile};
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

    const INNER: bool = true;

    #[inline(never)]
    fn inner<const OPS: u32>(
        block: &Block,
        image: &[i8],
        step: usize,
        n: usize,
        runs: &Runs,
        staging: &mut [u32],
        wide: &mut [u32],
        out: &mut [i8],
        stride: usize,
    ) {
        let padded = const { Backend::Dsp.layout() }.padded(block.k);
        let rows = block.quant.len();
        let (last, last_run) = (n.wrapping_sub(1), runs.count.wrapping_sub(1));
        let direct = runs.len.is_multiple_of(4);
        let reach = |n: usize, step: usize, len: usize| n.saturating_mul(step).saturating_add(len);
        let len = reach(last_run, runs.to_step, runs.len);
        let from = reach(last, step, reach(last_run, runs.from_step, runs.len));
        let Some(image) = image.get(runs.start..).filter(|x| x.len() >= from) else {
            return;
        };
        if rows == 0
            || padded == 0
            || len != block.k && len != padded
            || runs.to_step != runs.len
            || wide.len() < padded
            || !direct && staging.len() < padded / 2
            || block.decoded.len() < padded.saturating_mul(rows.div_ceil(2))
            || out.len() < reach(last, stride, rows)
        {
            return;
        }
        let quant = block.quant.as_ptr();
        let mut job = Job {
            out: [out.as_mut_ptr(); 2],
            quant,
            quant_end: quant.wrapping_add(rows & !1),
            z_y: block.rq.z_y.into(),
            shift: block.rq.shift.into(),
            columns: wide.as_ptr(),
            entry: 0,
            columns_end: wide.as_ptr().wrapping_add(padded),
            weights: block.decoded.as_ptr(),
        };
        let skipped = (padded / 4).wrapping_neg() % 8;
        let (wide, staging) = (wide.as_mut_ptr(), staging.as_mut_ptr().cast::<i8>());
        let (mut x, [mut y, _]) = (image.as_ptr(), job.out);
        let mut left = n;
        while left > 0 {
            // The last position of an odd number is computed twice.
            let (to_x, to_y) = if left > 1 { (step, stride) } else { (0, 0) };
            let (x1, y1) = (x.wrapping_add(to_x), y.wrapping_add(to_y));
            job.out = [y, y1];
            // SAFETY: `image` has all runs of the last position, `out` its outputs. The runs are columns without gaps, of
            // whole words, or not longer than what `staging` holds for each; `wide` has the words of both, `padded > 0`,
            // and so have `quant` and `decoded` of all pairs of rows, of which there is one. All lengths: see above.
            unsafe {
                if direct {
                    let fours = runs.len / 4;
                    elastiq_dsp_widen(x, x1, wide, fours, runs.count, runs.from_step, 0);
                } else {
                    let (len, from_step, to_step) = (runs.len, runs.from_step, runs.to_step);
                    let next = staging.add(padded);
                    elastiq_dsp_gather(x, staging, len, runs.count, from_step, to_step);
                    elastiq_dsp_gather(x1, next, len, runs.count, from_step, to_step);
                    elastiq_dsp_widen(staging, next, wide, padded / 4, 1, 0, 0);
                }
                if rows > 1 {
                    elastiq_dsp_tile(&job, skipped);
                }
            }
            if OPS & OpSet::RAGGED != 0
                && rows % 2 == 1
                && let Some(q) = block.quant.last()
            {
                let [first, other] = odd(&job, *q, skipped, padded.wrapping_mul(rows / 2));
                // SAFETY: `rows` outputs of both positions.
                unsafe {
                    *y1.add(rows - 1) = other;
                    *y.add(rows - 1) = first;
                }
            }
            x = x.wrapping_add(step.wrapping_mul(2));
            y = y.wrapping_add(stride.wrapping_mul(2));
            left = left.saturating_sub(2);
        }
    }
}

/// The outputs of a last row without another, whose weights are `at` words behind those of `job`.
#[inline(never)]
fn odd(job: &Job, quant: QuantRow, skipped: usize, at: usize) -> [i8; 2] {
    let (quant, mut codes) = ([quant; 2], [[0i8; 2]; 2]);
    let [first, other] = &mut codes;
    let range = quant.as_ptr_range();
    let job = Job {
        out: [first.as_mut_ptr(), other.as_mut_ptr()],
        quant: range.start,
        quant_end: range.end,
        weights: job.weights.wrapping_add(at),
        ..*job
    };
    // SAFETY: as for `job`, and the words of a pair of rows are at `weights`; 2 rows of `quant` and 2 bytes for each
    // column.
    unsafe { elastiq_dsp_tile(&job, skipped) };
    let [[first, _], [other, _]] = codes;
    [first, other]
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
    if weights.is_nested::<OPS>() {
        job.mask &= twice(weights.mask.into());
    }
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

/// The bytes behind the last whole word, then zeros.
#[inline(always)]
fn last_four(bytes: &[i8]) -> u32 {
    let (_, rest) = bytes.as_chunks::<4>();
    let byte = |i: usize| rest.get(i).map_or(0, |b| u32::from(*b as u8));
    byte(0) | byte(1) << 8 | byte(2) << 16
}
