//! Depthwise convolution with one output per channel, for backends with many lanes.
//!
//! Weights are decoded once per block of lanes, into a buffer on the stack, and used for all positions. A lane holds
//! a channel; where the channels are few and there is no stride, the lanes hold the channels of several neighbouring
//! positions, which lie side by side in input and output.

use crate::kernels::Requant;
use crate::kernels::depthwise::Depthwise;
use crate::kernels::pieces::{pieces, pieces_mut};
use crate::kernels::weights::Weights;
use crate::kernels::window::Taps;

/// What a backend does.
pub(super) trait Lanes {
    /// Lanes to use at once, at least 8 and a power of two.
    fn lanes() -> usize;

    /// Weights of `tap` from channel `first`, a multiple of 8, on, as many as `to` has room for. `false`
    /// if they are not there.
    fn decode(weights: &Weights, tap: usize, first: usize, to: &mut [i16]) -> bool;

    /// Outputs of `cell`; with `PADDED`, `z_x` is subtracted from its inputs.
    ///
    /// # Safety
    /// `rows` times `cols` taps are in bounds for `lanes`, and so are the parameters and `y`.
    unsafe fn outputs<const PADDED: bool>(cell: &Cell, rq: &Requant, z_x: i32);
}

/// Most lanes in use.
const LANES: usize = 64;
/// Room for weights: 9 taps in 32 lanes, or more taps in fewer.
const WEIGHTS: usize = 320;

/// Parameters of some lanes.
struct Block {
    /// `[taps][lanes]`
    weights: [i16; WEIGHTS],
    bias: [i32; LANES],
    /// Bias with all taps at the zero point of the input.
    base: [i32; LANES],
    /// Half the multipliers.
    mult: [i32; LANES],
    lanes: usize,
}

pub(super) fn run<L: Lanes>(d: &Depthwise, x: &[i8], y: &mut [i8]) -> bool {
    let (window, c) = (&d.window, d.m);
    let taps = window.taps();
    // Whole groups of eight, so that a block of packed codes starts with a whole byte.
    let most = LANES
        .min(L::lanes())
        .min(WEIGHTS.checked_div(taps).unwrap_or(0))
        & !7;
    if d.multiplier != 1 || window.c != c || c == 0 || most == 0 || d.quant.len() != c {
        return false;
    }
    let mut block = Block {
        weights: [0; WEIGHTS],
        bias: [0; LANES],
        base: [0; LANES],
        mult: [0; LANES],
        lanes: 0,
    };
    let mut first = 0;
    while first < c {
        let n = most.min(c - first);
        let copies = match is_dense(d, n) {
            true => most.checked_div(c).unwrap_or(1).max(1),
            false => 1,
        };
        if !block.fill::<L>(d, first, n, copies) {
            return false;
        }
        positions::<L>(d, &block, first, n, x, y);
        first += n;
    }
    true
}

/// Whether `n` channels of neighbouring positions lie side by side in input and output.
#[inline(always)]
fn is_dense(d: &Depthwise, n: usize) -> bool {
    n == d.m && d.window.h.stride() == 1
}

impl Block {
    /// Lanes for channels `first .. first + n`, `copies` times.
    fn fill<L: Lanes>(&mut self, d: &Depthwise, first: usize, n: usize, copies: usize) -> bool {
        let lanes = n.wrapping_mul(copies);
        let taps = d.window.taps();
        if lanes == 0 || lanes > LANES || taps.checked_mul(lanes).is_none_or(|len| len > WEIGHTS) {
            return false;
        }
        self.lanes = lanes;
        for (tap, line) in pieces_mut(&mut self.weights, lanes).take(taps).enumerate() {
            let Some(channels) = line.get_mut(..n) else {
                return false;
            };
            if !L::decode(&d.weights, tap, first, channels) {
                return false;
            }
            repeat(line, n);
        }
        let quant = d.quant.get(first..).unwrap_or_default();
        for ((bias, mult), q) in self.bias.iter_mut().zip(&mut self.mult).zip(quant).take(n) {
            *bias = q.bias.get();
            *mult = q.mult.get() >> 1;
        }
        let mut sums = [0i32; LANES];
        for line in pieces(&self.weights, lanes).take(taps) {
            for (sum, w) in sums.iter_mut().zip(line) {
                *sum = sum.wrapping_add(i32::from(*w));
            }
        }
        for ((base, bias), sum) in self.base.iter_mut().zip(&self.bias).zip(sums) {
            *base = bias.wrapping_add(sum.wrapping_mul(d.z_x));
        }
        for lanes in [&mut self.bias, &mut self.base, &mut self.mult] {
            repeat(lanes, n);
        }
        true
    }
}

/// Repeat the first `n` values up to the end.
fn repeat<T: Copy>(values: &mut [T], n: usize) {
    let (first, rest) = values.split_at_mut_checked(n).unwrap_or_default();
    for copy in rest.chunks_mut(n.max(1)) {
        copy.iter_mut()
            .zip(&*first)
            .for_each(|(to, from)| *to = *from);
    }
}

/// Outputs `first .. first + n` of all positions.
#[inline(always)]
fn positions<L: Lanes>(
    d: &Depthwise,
    block: &Block,
    first: usize,
    n: usize,
    x: &[i8],
    y: &mut [i8],
) {
    let (v, h, c) = (&d.window.v, &d.window.h, d.m);
    let line = h.output.wrapping_mul(c);
    // Positions `inner` see no padding at the sides.
    let is_inner = |ox: &usize| h.taps(*ox).range.len() == h.kernel;
    let start = (0..h.output).find(is_inner).unwrap_or(h.output);
    let end = (start..h.output).rfind(is_inner).map_or(start, |ox| ox + 1);
    let images = pieces(x, v.input.wrapping_mul(h.input).wrapping_mul(c));
    for (image, y) in images.zip(pieces_mut(y, line.wrapping_mul(v.output))) {
        for (oy, y) in pieces_mut(y, line).enumerate() {
            let rows = v.taps(oy);
            let full = rows.range.len() == v.kernel;
            let mut ox = 0;
            while ox < h.output {
                let count = match ox == start && end > start {
                    true => end - start,
                    false => 1,
                };
                let run = Run {
                    d,
                    block,
                    rows: &rows,
                    cols: &h.taps(ox),
                    padded: !full || ox < start || ox >= end,
                };
                let out = y.get_mut(ox.wrapping_mul(c).wrapping_add(first)..);
                run.outputs::<L>(image, first, out.unwrap_or_default(), n, count);
                ox += count;
            }
        }
    }
}

/// Neighbouring positions with the same taps inside of the input.
struct Run<'r> {
    d: &'r Depthwise<'r>,
    block: &'r Block,
    rows: &'r Taps,
    cols: &'r Taps,
    /// Some taps are outside.
    padded: bool,
}

impl Run<'_> {
    /// `n` outputs of each of `count` positions.
    #[inline(always)]
    fn outputs<L: Lanes>(&self, image: &[i8], first: usize, y: &mut [i8], n: usize, count: usize) {
        let Run {
            d,
            block,
            rows,
            cols,
            ..
        } = self;
        let (v, h, c) = (&d.window.v, &d.window.h, d.m);
        let line = h.input.wrapping_mul(c);
        let step = h.dilation.wrapping_mul(c);
        let pitch = v.dilation.wrapping_mul(line);
        let at = (rows.from.wrapping_mul(h.input).wrapping_add(cols.from))
            .wrapping_mul(c)
            .wrapping_add(first);
        // Codes from the first tap's first to the last tap's last.
        let span = |n: usize, step: usize| n.saturating_sub(1).wrapping_mul(step);
        let reach = span(rows.range.len(), pitch).wrapping_add(span(cols.range.len(), step));
        // As many positions as fit side by side, or one.
        let (advance, out_advance) = match is_dense(d, n) {
            true => (block.lanes, block.lanes),
            false => (h.stride().wrapping_mul(c), c),
        };
        let mut left = count.wrapping_mul(n);
        let (mut x, mut y) = (image.get(at..).unwrap_or_default(), y);
        let tap = rows
            .range
            .start
            .wrapping_mul(h.kernel)
            .wrapping_add(cols.range.start);
        let weights = block.weights.get(tap.wrapping_mul(block.lanes)..);
        let empty = rows.range.is_empty() || cols.range.is_empty();
        while left > 0 {
            let lanes = block.lanes.min(left);
            if (!empty && x.len() < reach.wrapping_add(lanes)) || y.len() < lanes {
                return;
            }
            let cell = Cell {
                x: x.as_ptr(),
                step,
                jump: pitch.wrapping_sub(step.wrapping_mul(cols.range.len())),
                weights: weights.unwrap_or_default().as_ptr(),
                weights_step: block.lanes.wrapping_mul(2),
                weights_jump: block
                    .lanes
                    .wrapping_mul(h.kernel.wrapping_sub(cols.range.len()))
                    .wrapping_mul(2),
                rows: if empty { 0 } else { rows.range.len() },
                cols: cols.range.len(),
                lanes,
                bias: if self.padded {
                    block.base.as_ptr()
                } else {
                    block.bias.as_ptr()
                },
                mult: block.mult.as_ptr(),
                y: y.as_mut_ptr(),
            };
            // SAFETY: the taps inside reach from `x` to `reach` and `lanes` further, which `x` holds; their weights lie
            // in the block, whose parameters have `lanes` values; `y` has room for `lanes`.
            unsafe {
                match self.padded {
                    true => L::outputs::<true>(&cell, &d.rq, d.z_x),
                    false => L::outputs::<false>(&cell, &d.rq, d.z_x),
                }
            }
            left = left.wrapping_sub(lanes);
            x = x.get(advance..).unwrap_or_default();
            y = y.get_mut(out_advance..).unwrap_or_default();
        }
    }
}

/// Lanes of one position, or of neighbours. Steps and jumps in bytes: from tap to tap, and from the end of a row of
/// taps to the next.
pub(super) struct Cell {
    pub x: *const i8,
    pub step: usize,
    pub jump: usize,
    pub weights: *const i16,
    pub weights_step: usize,
    pub weights_jump: usize,
    pub rows: usize,
    pub cols: usize,
    pub lanes: usize,
    pub bias: *const i32,
    pub mult: *const i32,
    pub y: *mut i8,
}
