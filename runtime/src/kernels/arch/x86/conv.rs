//! Convolution as a product of weight rows and windows.
//!
//! Weights of some output channels are packed, one channel per lane, and meet all positions. A part of the input,
//! padding included, is copied to the stack in the coding of the lanes; there the codes under a window are a few runs
//! (one per kernel row where the window has neither gaps nor groups, else one per tap), at the same distances for
//! every window, so that no window is gathered.

use super::lanes::{Lanes, Scale, Vector};
use super::rows::{decode, quant, turn};
use super::work::{INPUTS, WEIGHTS, Work};
use crate::kernels::conv::Conv;
use crate::kernels::window::Axis;
use core::mem::MaybeUninit;
use core::slice;

/// Output channels whose weights are packed together: `vectors` vectors of lanes.
#[derive(Clone, Copy, Default)]
struct Tile {
    /// First output channel.
    row: usize,
    /// Output channels.
    n: usize,
    vectors: usize,
    /// First input channel of the group.
    channel: usize,
    /// Bytes from the start of the packed weights.
    at: usize,
}

/// Tiles packed at once, at most.
const TILES: usize = 32;

/// Steps of a sum, at most: as many as fit with one vector of weights each.
const STEPS: usize = WEIGHTS / 32;

/// What is under a window: `a` times `b` runs of `len` codes.
#[derive(Clone, Copy)]
struct Runs {
    a: usize,
    b: usize,
    /// Codes from run to run.
    a_step: usize,
    b_step: usize,
    len: usize,
    /// Steps of a run.
    steps: usize,
}

impl Runs {
    /// Where each step begins, in codes; `None` if there are too many.
    #[inline(always)]
    fn offsets<'o, L: Lanes>(&self, offsets: &'o mut [MaybeUninit<u32>]) -> Option<&'o [u32]> {
        let mut n = 0;
        for a in 0..self.a {
            for b in 0..self.b {
                let start = a * self.a_step + b * self.b_step;
                for i in 0..self.steps {
                    offsets.get_mut(n)?.write((start + i * L::PER) as u32);
                    n += 1;
                }
            }
        }
        // SAFETY: the first `n` were written.
        Some(unsafe { slice::from_raw_parts(offsets.as_ptr().cast(), n) })
    }
}

/// Outputs along one axis that are computed together, and the inputs under their windows.
#[derive(Clone, Copy)]
struct Span {
    outputs: usize,
    inputs: usize,
}

impl Span {
    #[inline(always)]
    fn new(axis: &Axis, outputs: usize) -> Span {
        let reach = (axis.kernel - 1) * axis.dilation;
        Span {
            outputs,
            inputs: (outputs - 1) * axis.stride() + reach + 1,
        }
    }
}

/// The largest part of the output whose inputs fit, as nearly equal parts; `None` if not even one position does.
#[inline(always)]
fn part<L: Lanes>(v: &Axis, h: &Axis, c: usize) -> Option<(Span, Span)> {
    let most = INPUTS / size_of::<L::Code>();
    let line = Span::new(v, 1);
    let codes = |span: &Span| line.inputs.checked_mul(span.inputs)?.checked_mul(c);
    let mut cols = Span::new(h, h.output);
    while codes(&cols).is_none_or(|n| n > most) {
        if cols.outputs == 1 {
            return None;
        }
        cols = Span::new(h, cols.outputs.div_ceil(2));
    }
    let lines = most.checked_div(cols.inputs * c)?;
    let rows = (lines - line.inputs).checked_div(v.stride())? + 1;
    let parts = v.output.div_ceil(rows);
    Some((Span::new(v, v.output.div_ceil(parts)), cols))
}

/// Run `conv`; `false` if its window or the weights of an output are too large.
///
/// # Safety
/// The features of `L`.
#[inline(always)]
pub(super) unsafe fn conv<L: Lanes>(conv: &Conv, x: &[i8], y: &mut [i8], work: &mut Work) -> bool {
    let (mut v, mut h) = (conv.window.v, conv.window.h);
    let (c, m) = (conv.window.c, conv.quant.len());
    if conv.window.is_point() {
        // One line, whatever the shape: outputs are where inputs are.
        let positions = y.len().checked_div(m).unwrap_or(0);
        let axis = |n| Axis::new(n, n, 1, 1, 1, 0);
        let (Some(one), Some(line)) = (axis(1), axis(positions)) else {
            return false;
        };
        (v, h) = (one, line);
    }
    if v.output == 0 || h.output == 0 || conv.mg == 0 || conv.cg == 0 {
        return false;
    }
    let Some((rows, cols)) = part::<L>(&v, &h, c) else {
        return false;
    };
    let line = cols.inputs * c;
    let (b, len) = match conv.cg == c && h.dilation == 1 {
        true => (1, h.kernel * c),
        false => (h.kernel, conv.cg),
    };
    let runs = Runs {
        a: v.kernel,
        b,
        a_step: v.dilation * line,
        b_step: h.dilation * c,
        len,
        steps: len.div_ceil(L::PER),
    };
    let mut offsets = [const { MaybeUninit::uninit() }; STEPS];
    let Some(offsets) = runs.offsets::<L>(&mut offsets) else {
        return false;
    };
    let scale = Scale::new(&conv.rq);
    let (image_x, image_y) = (v.input * h.input * c, v.output * h.output * m);
    let mut row = 0;
    while row < m {
        let mut tiles = [Tile::default(); TILES];
        // SAFETY: features as promised.
        let (count, next) = unsafe { pack::<L>(conv, &runs, row, work, &mut tiles) };
        if count == 0 {
            return false;
        }
        row = next;
        for (image, y) in x.chunks_exact(image_x).zip(y.chunks_exact_mut(image_y)) {
            for oy in (0..v.output).step_by(rows.outputs) {
                let tall = Span::new(&v, rows.outputs.min(v.output - oy));
                for ox in (0..h.output).step_by(cols.outputs) {
                    let wide = Span::new(&h, cols.outputs.min(h.output - ox));
                    let inputs = work.inputs().cast::<L::Code>();
                    let (from_y, from_x) = (oy * v.stride(), ox * h.stride());
                    let part = [(&v, from_y, tall.inputs), (&h, from_x, wide.inputs)];
                    // SAFETY: `part` chose sizes whose inputs fit.
                    unsafe { fill::<L>(image, c, conv.z_x as i8, part, line, inputs) };
                    let y = y.get_mut((oy * h.output + ox) * m..).unwrap_or_default();
                    for tile in tiles.iter().take(count) {
                        // SAFETY: the weights of the tile were packed and the inputs under all windows of the part
                        // copied; `y` holds `m` codes for every position of the part, lines `h.output` apart.
                        unsafe {
                            let job = Job::<L> {
                                offsets,
                                size: [tall.outputs, wide.outputs],
                                x: inputs.add(tile.channel),
                                x_steps: [v.stride() * line, h.stride() * c],
                                y: y.as_mut_ptr().wrapping_add(tile.row),
                                y_steps: [h.output * m, m],
                                weights: work.weights().add(tile.at).cast(),
                                n: tile.n,
                                scale,
                            };
                            match (tile.vectors, L::ROWS) {
                                (1, _) => job.run::<1, 8>(),
                                (2, 2) => job.run::<2, 4>(),
                                (2, 3..) => job.run::<2, 8>(),
                                (3, 3..) => job.run::<3, 8>(),
                                (_, 3..) => job.run::<4, 6>(),
                                _ => return false,
                            }
                        }
                    }
                }
            }
        }
    }
    true
}

/// Copy a part of `image` to lines of `line` codes: for V and H the axis, the first input (padding counts), and how
/// many.
///
/// # Safety
/// Room for these lines and for 4 more codes; the features of `L`.
#[inline(always)]
unsafe fn fill<L: Lanes>(
    image: &[i8],
    c: usize,
    z_x: i8,
    [(v, from_y, tall), (h, from_x, wide)]: [(&Axis, usize, usize); 2],
    line: usize,
    to: *mut L::Code,
) {
    let left = h.pad().saturating_sub(from_x).min(wide);
    let first = (from_x + left).saturating_sub(h.pad());
    let inside = h.input.saturating_sub(first).min(wide - left);
    for i in 0..tall {
        let y = (from_y + i).checked_sub(v.pad());
        let run = y.filter(|y| *y < v.input).and_then(|y| {
            let at = (y * h.input + first) * c;
            image.get(at..at + inside * c)
        });
        // SAFETY: a line has `left + inside <= wide` positions, and `wide * c <= line`. The 4 codes behind it are
        // in the next line, which is written later, or behind all lines.
        unsafe {
            let to = to.add(i * line);
            let pad = |from: usize, to_end: usize| {
                for i in from..to_end {
                    to.add(i).write(L::code(z_x));
                }
            };
            match run {
                None => pad(0, wide * c + 4),
                Some(run) => {
                    pad(0, left * c);
                    let to = to.add(left * c);
                    for (i, x) in run.iter().enumerate() {
                        to.add(i).write(L::code(*x));
                    }
                    pad((left + inside) * c, wide * c + 4);
                }
            }
        }
    }
}

/// Pack the weights of output channels from `row` on, as many as fit: tiles, their number, and the next channel.
///
/// A tile is `vectors` times [`Lanes::N`] accumulator starts, as many multipliers, and for every step as many groups
/// of weights.
///
/// # Safety
/// The features of `L`.
#[inline(always)]
unsafe fn pack<L: Lanes>(
    conv: &Conv,
    runs: &Runs,
    mut row: usize,
    work: &mut Work,
    tiles: &mut [Tile; TILES],
) -> (usize, usize) {
    let steps = runs.a * runs.b * runs.steps;
    let unit = steps.saturating_add(2).saturating_mul(4 * L::N);
    let (mut at, mut count) = (0, 0);
    for tile in tiles {
        let Some(group) = row.checked_div(conv.mg) else {
            break;
        };
        let end = ((group + 1) * conv.mg).min(conv.quant.len());
        if row >= end {
            break;
        }
        let left = (end - row).div_ceil(L::N);
        let mut vectors = left.div_ceil(left.div_ceil(L::ROWS));
        let fit = (WEIGHTS - at).checked_div(unit).unwrap_or(0);
        if vectors > fit && count > 0 || fit == 0 {
            break;
        }
        vectors = vectors.min(fit);
        *tile = Tile {
            row,
            n: (end - row).min(vectors * L::N),
            vectors,
            channel: group * conv.cg,
            at,
        };
        // SAFETY: `vectors * unit` bytes are left from `at` on.
        unsafe {
            let to = work.weights().add(at).cast();
            if !pack_tile::<L>(conv, runs, tile, to, work.inputs()) {
                break;
            }
        }
        at += vectors * unit;
        row += tile.n;
        count += 1;
    }
    (count, row)
}

/// Pack the weights of one tile; `false` if its rows are too long.
///
/// # Safety
/// Room for the tile at `to`, [`INPUTS`] bytes at `staging`, the features of `L`.
#[inline(always)]
unsafe fn pack_tile<L: Lanes>(
    conv: &Conv,
    runs: &Runs,
    tile: &Tile,
    to: *mut i32,
    staging: *mut u8,
) -> bool {
    let count = runs.a * runs.b;
    let (steps, lanes) = (count * runs.steps, tile.vectors * L::N);
    let rows = conv.quant.get(tile.row..tile.row + tile.n);
    let plain = conv
        .weights
        .plain()
        .filter(|_| size_of::<L::Weight>() == 1 && runs.len.is_multiple_of(L::PER))
        .and_then(|w| w.get(tile.row * conv.k..(tile.row + tile.n) * conv.k));
    let pitch = (steps * 4).next_multiple_of(16);
    if plain.is_none() && pitch > INPUTS / 4 {
        return false;
    }
    // SAFETY: the tile has room for `2 * lanes` values and `steps * lanes` groups of weights. Rows of plain weights
    // are `4 * steps` bytes long, because `runs.len` is a multiple of 4; decoded ones are written to `pitch` bytes,
    // four of which fit. Rows behind the last are copies of it.
    unsafe {
        quant(rows.unwrap_or_default(), lanes, to);
        let weights = to.add(2 * lanes).cast::<u32>();
        for lane in (0..lanes).step_by(4) {
            let mut quad = [staging.cast_const(); 4];
            for (j, row) in quad.iter_mut().enumerate() {
                let r = (lane + j).min(tile.n - 1);
                *row = match plain {
                    Some(plain) => plain.as_ptr().add(r * conv.k).cast(),
                    None => {
                        let to = staging.add(j * pitch);
                        decode::<L>(&conv.weights, tile.row + r, to.cast());
                        spread::<L>(to.cast(), count, runs.len, runs.steps * L::PER);
                        to
                    }
                };
            }
            turn(quad, steps, weights.add(lane), lanes);
        }
        for r in 0..tile.vectors {
            let (bias, mut w) = (to.add(r * L::N), weights.add(r * L::N).cast());
            let mut ones = L::V::zero();
            for _ in 0..steps {
                ones = L::dp(ones, L::one(), L::V::load(w));
                w = w.wrapping_add(lanes);
            }
            L::V::save(L::start(L::V::load(bias), ones), bias);
        }
    }
    true
}

/// Move `count` runs of `len` weights apart to every `to_len`, zeros between.
///
/// # Safety
/// Room for `count * to_len` weights at `row`.
#[inline(always)]
unsafe fn spread<L: Lanes>(row: *mut L::Weight, count: usize, len: usize, to_len: usize) {
    if len == to_len {
        return;
    }
    for i in (0..count).rev() {
        // SAFETY: a run moves up or stays, to where only runs were that have moved.
        unsafe {
            row.add(i * to_len).copy_from(row.add(i * len), len);
            for i in i * to_len + len..(i + 1) * to_len {
                row.add(i).write(L::weight(0));
            }
        }
    }
}

/// One tile of weights and the windows it meets.
struct Job<'j, L: Lanes> {
    /// Where each step of a window begins, in codes.
    offsets: &'j [u32],
    /// Lines and columns of windows.
    size: [usize; 2],
    /// The first window, and codes to the next line and column of windows.
    x: *const L::Code,
    x_steps: [usize; 2],
    /// The first output, and codes to those of the next line and column.
    y: *mut i8,
    y_steps: [usize; 2],
    weights: *const i32,
    /// Output channels.
    n: usize,
    scale: Scale,
}

impl<L: Lanes> Job<'_, L> {
    /// All windows, `C` at a time, for `R` vectors of output channels.
    ///
    /// # Safety
    /// What the fields say is there; the features of `L`.
    #[inline(always)]
    unsafe fn run<const R: usize, const C: usize>(&self) {
        let [height, width] = self.size;
        let ([x_line, x_col], [y_line, y_col]) = (self.x_steps, self.y_steps);
        let (mut i, mut j) = (0, 0);
        let mut left = height * width;
        while left > 0 {
            // Columns that are not wanted are those of the first window.
            let (mut x, mut y) = ([self.x; C], [self.y; C]);
            let n = left.min(C);
            for (x, y) in x.iter_mut().zip(&mut y).take(n) {
                *x = self.x.wrapping_add(i * x_line + j * x_col);
                *y = self.y.wrapping_add(i * y_line + j * y_col);
                j += 1;
                if j == width {
                    (i, j) = (i + 1, 0);
                }
            }
            left -= n;
            // SAFETY: all of them are windows and outputs of the job.
            unsafe { self.tile::<R, C>(&x, &y, n) };
        }
    }

    /// `C` windows, of which the outputs of the first `n` are stored.
    #[inline(always)]
    unsafe fn tile<const R: usize, const C: usize>(
        &self,
        x: &[*const L::Code; C],
        y: &[*mut i8; C],
        n: usize,
    ) {
        // SAFETY: packed weights are `R` vectors for each step, behind `R` vectors each of starts and multipliers;
        // a run reads `steps * PER` codes, at most `PER - 1` behind its end, which were written with the inputs.
        // Vector `r` of a position has outputs `r * N .. self.n`.
        unsafe {
            let mult = self.weights.add(R * L::N);
            let mut weights = mult.add(R * L::N);
            let mut bias = [L::V::zero(); R];
            for (r, bias) in bias.iter_mut().enumerate() {
                *bias = L::V::load(self.weights.add(r * L::N));
            }
            let mut acc = [bias; C];
            for at in self.offsets {
                let mut w = [L::V::zero(); R];
                for (r, w) in w.iter_mut().enumerate() {
                    *w = L::V::load(weights.add(r * L::N));
                }
                for (acc, x) in acc.iter_mut().zip(x) {
                    let x = L::V::splat(x.add(*at as usize).cast());
                    for (acc, w) in acc.iter_mut().zip(&w) {
                        *acc = L::dp(*acc, x, *w);
                    }
                }
                weights = weights.add(R * L::N);
            }
            // A copy in memory, to be walked through; the sums above stay in registers.
            let sums = acc;
            for (acc, y) in sums.iter().zip(y).take(n) {
                for (r, acc) in acc.iter().enumerate() {
                    let (at, n) = (r * L::N, self.n - r * L::N);
                    L::store(*acc, mult.add(at), &self.scale, y.add(at), n.min(L::N));
                }
            }
        }
    }
}
