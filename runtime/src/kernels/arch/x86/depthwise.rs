//! Depthwise convolution with channels in lanes.
//!
//! Lines of the input under a line of outputs are interleaved on the stack, [`Lanes::PER`] of them in the 32 bits of a
//! step: a step takes that many taps of a kernel column. All columns of the kernel read the same interleaved lines.

use super::lanes::{Lanes, Scale, Vector};
use super::rows::decode;
use super::work::{INPUTS, WEIGHTS, Work};
use crate::kernels::depthwise::Depthwise;

/// Bytes at the end of the weights for a line of padding.
const PADDING: usize = INPUTS / 4;

/// Sizes of what is on the stack.
struct Plan {
    /// Groups of [`Lanes::PER`] kernel rows.
    groups: usize,
    /// Steps of a sum: kernel columns times groups.
    terms: usize,
    /// Output positions whose lines are interleaved together.
    outputs: usize,
    /// Words from group to group.
    pitch: usize,
    /// Neighbouring positions in a vector: more than 1 where there are few channels.
    shared: usize,
    /// Lanes of a position, or of positions that share a vector, in whole vectors.
    lanes: usize,
}

impl Plan {
    /// `None` where not even one position fits.
    #[inline(always)]
    fn new<L: Lanes>(kernel: &Depthwise) -> Option<Plan> {
        let (v, h, m) = (&kernel.window.v, &kernel.window.h, kernel.m);
        let groups = v.kernel.div_ceil(L::PER);
        let terms = groups.checked_mul(h.kernel)?;
        let shared = match h.stride() == 1 && L::N.checked_rem(m) == Some(0) {
            true => L::N / m,
            false => 1,
        };
        let lanes = (m * shared).next_multiple_of(L::N);
        if (terms + 2).checked_mul(4 * lanes)? > WEIGHTS - PADDING || m > PADDING / 4 {
            return None;
        }
        let pitch = INPUTS.checked_div(4 * groups)?;
        let reach = (h.kernel - 1) * h.dilation + 1;
        let most = (pitch / m).checked_sub(reach)?.checked_div(h.stride())? + 1;
        Some(Plan {
            groups,
            terms,
            outputs: most.min(h.output),
            pitch,
            shared,
            lanes,
        })
    }
}

/// Run `kernel`; `false` if its window or its weights are too large.
///
/// # Safety
/// The features of `L`.
#[inline(always)]
pub(super) unsafe fn depthwise<L: Lanes>(
    kernel: &Depthwise,
    x: &[i8],
    y: &mut [i8],
    work: &mut Work,
) -> bool {
    let (v, h, m) = (&kernel.window.v, &kernel.window.h, kernel.m);
    if v.output == 0 || h.output == 0 || m == 0 {
        return false;
    }
    let Some(plan) = Plan::new::<L>(kernel) else {
        return false;
    };
    // SAFETY: features as promised; the weights fit because there is a plan.
    unsafe { pack::<L>(kernel, &plan, work) };
    let scale = Scale::new(&kernel.rq);
    let image_x = v.input * h.input * kernel.window.c;
    let line = h.output * m;
    for (image, y) in x
        .chunks_exact(image_x)
        .zip(y.chunks_exact_mut(line * v.output))
    {
        for (oy, y) in y.chunks_exact_mut(line).enumerate() {
            for (i, y) in y.chunks_mut(plan.outputs * m).enumerate() {
                // SAFETY: features as promised. The weights are packed; the lines under `plan.outputs` positions fit
                // the inputs, and are interleaved before they are read.
                unsafe {
                    interleave::<L>(
                        kernel,
                        &plan,
                        image,
                        [oy, i * plan.outputs],
                        y.len() / m,
                        work,
                    );
                    let job = Job {
                        x: work.inputs().cast(),
                        x_step: h.stride() * m * plan.shared,
                        x_column: h.dilation * m,
                        columns: h.kernel,
                        plan: &plan,
                        weights: work.weights().cast(),
                        y_step: m * plan.shared,
                        scale,
                    };
                    match plan.terms {
                        3 => job.run::<L, 3>(y),
                        6 => job.run::<L, 6>(y),
                        _ => job.run::<L, 0>(y),
                    }
                }
            }
        }
    }
    true
}

/// Pack starts, multipliers and weights, each `plan.lanes` long: for every kernel column, for every group of rows.
/// Behind them a line of padding.
///
/// # Safety
/// The features of `L`.
#[inline(always)]
unsafe fn pack<L: Lanes>(kernel: &Depthwise, plan: &Plan, work: &mut Work) {
    let (v, h, m, lanes) = (&kernel.window.v, &kernel.window.h, kernel.m, plan.lanes);
    let pitch = m.next_multiple_of(16);
    // SAFETY: `terms + 2` rows of `lanes` words and the padding fit the weights. Five rows of at most `PADDING / 4`
    // decoded weights fit the inputs.
    unsafe {
        let bias = work.weights().cast::<i32>();
        let mult = bias.add(lanes);
        let weights = mult.add(lanes).cast::<u32>();
        let mut q = kernel.quant.iter().cycle();
        for i in 0..lanes {
            let (b, m) = q.next().map_or((0, 0), |q| (q.bias.get(), q.mult.get()));
            bias.add(i).write(b);
            mult.add(i).write(m);
        }
        let staging = work.inputs().cast::<L::Weight>();
        // No weights, where a group has fewer rows.
        let none = staging.add(4 * pitch);
        for i in 0..m {
            none.add(i).write(L::weight(0));
        }
        let mut to = weights;
        for kx in 0..h.kernel {
            for group in 0..plan.groups {
                let mut rows = [none.cast_const(); 4];
                for (j, row) in rows.iter_mut().enumerate().take(L::PER) {
                    let ky = group * L::PER + j;
                    if ky < v.kernel {
                        let to = staging.add(j * pitch);
                        decode::<L>(&kernel.weights, ky * h.kernel + kx, to);
                        *row = to;
                    }
                }
                L::weights(rows, m, to);
                // The same for positions that share a vector, or nothing.
                for i in m..lanes {
                    let w = match plan.shared > 1 {
                        true => to.add(i - m).read(),
                        false => 0,
                    };
                    to.add(i).write(w);
                }
                to = to.add(lanes);
            }
        }
        for lane in (0..lanes).step_by(L::N) {
            let mut ones = L::V::zero();
            for term in 0..plan.terms {
                let w = L::V::load(weights.add(term * lanes + lane).cast());
                ones = L::dp(ones, L::one(), w);
            }
            let bias = bias.add(lane);
            L::V::save(L::start(L::V::load(bias), ones), bias);
        }
        // As long as a line can be.
        let padding = work.weights().add(WEIGHTS - PADDING);
        let line = h.input.saturating_mul(kernel.window.c);
        padding.write_bytes(kernel.z_x as u8, line.min(PADDING));
    }
}

/// Interleave the lines under `outputs` positions from `[oy, ox]` on.
///
/// # Safety
/// They fit, and the padding is behind the weights; the features of `L`.
#[inline(always)]
unsafe fn interleave<L: Lanes>(
    kernel: &Depthwise,
    plan: &Plan,
    image: &[i8],
    [oy, ox]: [usize; 2],
    outputs: usize,
    work: &mut Work,
) {
    let (v, h, c) = (&kernel.window.v, &kernel.window.h, kernel.window.c);
    let (from_y, from_x) = (oy * v.stride(), ox * h.stride());
    let wide = (outputs - 1) * h.stride() + (h.kernel - 1) * h.dilation + 1;
    let left = h.pad().saturating_sub(from_x).min(wide);
    let first = (from_x + left).saturating_sub(h.pad());
    let inside = h.input.saturating_sub(first).min(wide - left);
    let z = L::step(kernel.z_x as i8);
    for group in 0..plan.groups {
        // SAFETY: a line has `wide * m` words, at most `pitch`, and a vector behind it, which the next group or
        // nobody overwrites. Lines of the image have `inside * c` codes from `first` on; those of the padding have
        // as many, because they are a quarter of the bytes of the inputs.
        unsafe {
            let padding = work
                .weights()
                .add(WEIGHTS - PADDING)
                .cast::<i8>()
                .cast_const();
            let mut lines = [padding; 4];
            for (j, line) in lines.iter_mut().enumerate() {
                let ky = group * L::PER + j;
                let y = (from_y + ky * v.dilation).checked_sub(v.pad());
                let run = y.filter(|y| *y < v.input && ky < v.kernel).and_then(|y| {
                    let at = (y * h.input + first) * c;
                    image.get(at..at + inside * c)
                });
                if let Some(run) = run {
                    *line = run.as_ptr();
                }
            }
            let mut to = work.inputs().cast::<u32>().add(group * plan.pitch);
            let pad = |to: *mut u32, n: usize| {
                for i in 0..n {
                    to.add(i).write(z);
                }
                to.add(n)
            };
            to = pad(to, left * kernel.m);
            match kernel.multiplier {
                1 => {
                    L::inputs(lines, inside * c, to);
                    to = to.add(inside * c);
                }
                multiplier => {
                    for i in 0..inside * c {
                        let mut word = [0; 17];
                        L::inputs(lines.map(|line| line.add(i)), 1, word.as_mut_ptr());
                        let [word, ..] = word;
                        for _ in 0..multiplier {
                            to.write(word);
                            to = to.add(1);
                        }
                    }
                }
            }
            pad(to, (wide - left - inside) * kernel.m + L::N);
        }
    }
}

/// Interleaved lines and the outputs of a line.
struct Job<'p> {
    plan: &'p Plan,
    x: *const i32,
    /// Words from vector to vector of positions, and from kernel column to column.
    x_step: usize,
    x_column: usize,
    columns: usize,
    /// Codes from vector to vector of positions.
    y_step: usize,
    weights: *const i32,
    scale: Scale,
}

impl Job<'_> {
    /// All outputs of the line. `T` steps of a sum, or 0 if that number is not known.
    ///
    /// # Safety
    /// What the fields say is there; the features of `L`.
    #[inline(always)]
    unsafe fn run<L: Lanes, const T: usize>(&self, y: &mut [i8]) {
        let (plan, lanes) = (self.plan, self.plan.lanes);
        let offset = |term: usize| {
            let column = term.checked_div(plan.groups).unwrap_or(0);
            let group = term - column * plan.groups;
            group * plan.pitch + column * self.x_column
        };
        let mut offsets = [0; T];
        for (term, at) in offsets.iter_mut().enumerate() {
            *at = offset(term);
        }
        for lane in (0..lanes).step_by(L::N) {
            let n = L::N.min(self.y_step.saturating_sub(lane));
            // SAFETY: rows of `lanes` words are packed: starts, multipliers, `terms` of weights. Every position reads
            // vectors inside of the interleaved lines or at most one vector behind them. An output at `at` has
            // `n` codes of its own there, less at the end of the line.
            unsafe {
                let bias = L::V::load(self.weights.add(lane));
                let mult = self.weights.add(lanes + lane);
                let weights = mult.add(lanes);
                let mut w = [L::V::zero(); T];
                for (term, w) in w.iter_mut().enumerate() {
                    *w = L::V::load(weights.add(term * lanes));
                }
                let (mut x, mut at) = (self.x.add(lane), lane);
                while at < y.len() {
                    let mut acc = bias;
                    for (offset, w) in offsets.iter().zip(&w) {
                        acc = L::dp(acc, L::V::load(x.add(*offset)), *w);
                    }
                    if T == 0 {
                        let mut weights = weights;
                        for column in 0..self.columns {
                            let mut x = x.add(column * self.x_column);
                            for _ in 0..plan.groups {
                                acc = L::dp(acc, L::V::load(x), L::V::load(weights));
                                x = x.add(plan.pitch);
                                weights = weights.add(lanes);
                            }
                        }
                    }
                    let n = n.min(y.len() - at);
                    L::store(acc, mult, &self.scale, y.as_mut_ptr().add(at), n);
                    x = x.wrapping_add(self.x_step);
                    at += self.y_step;
                }
            }
        }
    }
}
