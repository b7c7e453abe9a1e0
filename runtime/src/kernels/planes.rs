//! Depthwise convolution channel by channel, from scratch that holds each channel on its own.
//!
//! The input is spread a few channels at a time: a line of the input becomes one line of codes per channel, with
//! `z_x` where it is padding, so that windows at the border are like all others. Lines lie along the longer axis of
//! the output. Scratch holds as many lines as fit; those that the next outputs need as well are moved to its start.

use super::Requant;
use super::depthwise::Depthwise;
use super::pieces::{every, pieces, pieces_mut};
use crate::format::QuantRow;
use crate::{Backend, OpSet, PLANE_CHANNELS};
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// What a backend does.
pub(crate) trait Lines {
    /// Whose [`crate::Layout`] scratch has.
    const BACKEND: Backend;

    /// A code in scratch: the signed integer of [`crate::Layout::plane`] bytes.
    type Code: Copy + From<i8> + FromBytes + IntoBytes + Immutable;

    /// `to[j * line + i] = x[i * step + j]` for `channels` channels `j` and `n` positions `i`.
    #[inline(always)]
    fn spread(
        x: &[i8],
        step: usize,
        n: usize,
        channels: usize,
        to: &mut [Self::Code],
        line: usize,
    ) {
        spread(x, step, n, channels, to, line);
    }

    /// [`Lines::spread`] for `lines` lines, `steps[0]` codes apart in `x` and `pitch` in `to`; `steps[1]` is that between
    /// positions.
    #[inline(always)]
    #[allow(clippy::too_many_arguments, reason = "two grids")]
    fn spread_lines<const OPS: u32>(
        x: &[i8],
        steps: [usize; 2],
        lines: usize,
        n: usize,
        channels: usize,
        to: &mut [Self::Code],
        pitch: usize,
        line: usize,
    ) {
        for l in 0..lines {
            let x = x.get(l.wrapping_mul(steps[0])..).unwrap_or_default();
            let to = to.get_mut(l.wrapping_mul(pitch)..).unwrap_or_default();
            Self::spread(x, steps[1], n, channels, to, line);
        }
    }

    /// All outputs of one channel:
    /// `y[l * next + i * step] = requant(bias + Σ_a Σ_t taps[a * row + t] · codes[(l * stride[0] + a) * pitch +
    /// i * stride[1] + t])`.
    fn outputs<const OPS: u32>(plane: &Plane<Self::Code>, y: &mut [i8]);
}

/// [`Lines::spread`] for all.
#[inline]
pub(crate) fn spread<C: Copy + From<i8>>(
    x: &[i8],
    step: usize,
    n: usize,
    channels: usize,
    to: &mut [C],
    line: usize,
) {
    for j in 0..channels {
        let to = to.get_mut(j.wrapping_mul(line)..).unwrap_or_default();
        let x = every(x.get(j..).unwrap_or_default(), step);
        for (to, x) in to.iter_mut().take(n).zip(x) {
            *to = C::from(*x);
        }
    }
}

/// One channel in scratch.
pub(crate) struct Plane<'p, C> {
    /// Word aligned.
    pub codes: &'p [C],
    /// Codes from one line to the next, a multiple of 4.
    pub pitch: usize,
    /// Word aligned; behind the `kernel[1]` taps of a line are zeros up to a multiple of 4. Over these, `codes` may be
    /// read behind its last window: [`crate::PLANE_SLACK`] is for that.
    pub taps: &'p [i16],
    /// Taps from one line to the next.
    pub row: usize,
    /// Taps across and along the lines.
    pub kernel: [usize; 2],
    /// Inputs from one output to the next, across and along the lines.
    pub stride: [usize; 2],
    /// Outputs across and along the lines.
    pub outputs: [usize; 2],
    /// Codes of `y` from one line of outputs to the next.
    pub next: usize,
    /// Codes of `y` from one output of a line to the next.
    pub step: usize,
    pub quant: &'p QuantRow,
    pub rq: Requant,
}

/// Run `d` on a backend; `false` if it is of a kind that planes are not for, or scratch is too small.
#[inline(always)]
pub(crate) fn depthwise<T: Lines, const OPS: u32>(
    d: &Depthwise,
    x: &[i8],
    y: &mut [i8],
    scratch: &mut [u32],
) -> bool {
    let layout = const { T::BACKEND.layout() };
    let (v, h, c) = (&d.window.v, &d.window.h, d.window.c);
    if (d.multiplier, v.dilation, h.dilation) != (1, 1, 1) {
        return false;
    }
    let kernel = [v.kernel, h.kernel];
    let stride = [v.stride(), h.stride()];
    let Some(planes) = layout.planes(kernel, stride, [v.output, h.output]) else {
        return false;
    };
    let Some((taps, codes)) = scratch.split_at_mut_checked(planes.taps_len() / 4) else {
        return false;
    };
    let (Ok(taps), Ok(codes)) = (
        <[i16]>::mut_from_bytes(taps.as_mut_bytes()),
        <[T::Code]>::mut_from_bytes(codes.as_mut_bytes()),
    ) else {
        return false;
    };
    let pitch = planes.line.wrapping_mul(PLANE_CHANNELS);
    let fit = codes.len().checked_div(pitch).unwrap_or(0);
    if fit < planes.across {
        return false;
    }
    let (cell, line) = (c, h.input.wrapping_mul(c));
    let (out, out_line) = (d.m, h.output.wrapping_mul(d.m));
    let run = match planes.vertical {
        true => Run {
            d,
            across: Side::new(h, cell, out),
            along: Side::new(v, line, out_line),
            tap: [1, planes.row],
            line: planes.line,
            row: planes.row,
            fit,
        },
        false => Run {
            d,
            across: Side::new(v, line, out_line),
            along: Side::new(h, cell, out),
            tap: [planes.row, 1],
            line: planes.line,
            row: planes.row,
            fit,
        },
    };
    codes.fill(run.padding::<T>());
    taps.fill(0);
    let image = v.input.wrapping_mul(line);
    for (x, y) in pieces(x, image).zip(pieces_mut(y, v.output.wrapping_mul(out_line))) {
        let mut first = 0;
        while first < c {
            // The last channels are taken together with some before them that are already done.
            let channels = PLANE_CHANNELS.min(c);
            let channel = first.min(c.wrapping_sub(channels));
            for j in 0..channels {
                run.taps::<OPS>(channel.wrapping_add(j), j, taps);
            }
            run.channels::<T, OPS>(channel, channels, x, y, taps, codes);
            first = first.wrapping_add(PLANE_CHANNELS);
        }
    }
    true
}

/// An axis of input and output.
struct Side {
    input: usize,
    output: usize,
    kernel: usize,
    stride: usize,
    pad: usize,
    /// Codes between neighbours of the input.
    x: usize,
    /// Codes between neighbours of the output.
    y: usize,
}

impl Side {
    #[inline(always)]
    fn new(axis: &super::window::Axis, x: usize, y: usize) -> Side {
        Side {
            input: axis.input,
            output: axis.output,
            kernel: axis.kernel,
            stride: axis.stride(),
            pad: axis.pad(),
            x,
            y,
        }
    }
}

struct Run<'r> {
    d: &'r Depthwise<'r>,
    across: Side,
    along: Side,
    /// Where taps go: distances between vertical and between horizontal neighbours.
    tap: [usize; 2],
    /// Codes of a channel in a line.
    line: usize,
    /// Taps of a line.
    row: usize,
    /// Lines in scratch.
    fit: usize,
}

impl Run<'_> {
    #[inline(always)]
    fn padding<T: Lines>(&self) -> T::Code {
        T::Code::from(self.d.z_x as i8)
    }

    /// Taps of a channel.
    #[inline(always)]
    fn taps_len(&self) -> usize {
        self.row.wrapping_mul(self.across.kernel)
    }

    /// Decode the taps of `channel` to place `j`.
    #[inline]
    fn taps<const OPS: u32>(&self, channel: usize, j: usize, taps: &mut [i16]) {
        let ([dy, dx], width) = (self.tap, self.d.window.h.kernel);
        let start = j.wrapping_mul(self.taps_len());
        let taps = taps.get_mut(start..).unwrap_or_default();
        let (mut x, mut line) = (0usize, 0usize);
        let mut put = |w: i16| {
            if let Some(to) = taps.get_mut(line.wrapping_add(x.wrapping_mul(dx))) {
                *to = w;
            }
            x = x.wrapping_add(1);
            if x == width {
                (x, line) = (0, line.wrapping_add(dy));
            }
        };
        match self.d.weights.plain() {
            Some(w) => every(w.get(channel..).unwrap_or_default(), self.d.m)
                .for_each(|w| put(i16::from(*w))),
            None if OPS & OpSet::CODED_DEPTHWISE == 0 => {}
            None => (0..self.d.window.taps()).for_each(|t| put(self.d.weights.at(t, channel))),
        }
    }

    /// The outputs of `n` channels of an image.
    #[inline(always)]
    fn channels<T: Lines, const OPS: u32>(
        &self,
        channel: usize,
        n: usize,
        x: &[i8],
        y: &mut [i8],
        taps: &[i16],
        codes: &mut [T::Code],
    ) {
        let (across, along) = (&self.across, &self.along);
        let pitch = self.line.wrapping_mul(PLANE_CHANNELS);
        // Lines of outputs from one filling of scratch.
        let most = self
            .fit
            .wrapping_sub(across.kernel)
            .checked_div(across.stride)
            .unwrap_or(0)
            .wrapping_add(1);
        // Lines in scratch that the next outputs need as well.
        let mut kept = 0;
        let mut done = 0;
        while done < across.output {
            let lines = most.min(across.output.wrapping_sub(done));
            let start = done.wrapping_mul(across.stride);
            let end = lines
                .wrapping_sub(1)
                .wrapping_mul(across.stride)
                .wrapping_add(across.kernel);
            // Lines that are not padding.
            let first = across.pad.saturating_sub(start).max(kept).min(end);
            let behind = (across.input.wrapping_add(across.pad)).saturating_sub(start);
            let behind = behind.max(first).min(end);
            for l in (kept..first).chain(behind..end) {
                let to = codes.get_mut(l.wrapping_mul(pitch)..).unwrap_or_default();
                let to = to.get_mut(..pitch).unwrap_or_default();
                to.fill(self.padding::<T>());
            }
            if first < behind {
                let at = start.wrapping_add(first).wrapping_sub(across.pad);
                let to = codes.get_mut(first.wrapping_mul(pitch)..);
                let to = to.and_then(|to| to.get_mut(along.pad..));
                let x = x.get(at.wrapping_mul(across.x).wrapping_add(channel)..);
                T::spread_lines::<OPS>(
                    x.unwrap_or_default(),
                    [across.x, along.x],
                    behind.wrapping_sub(first),
                    along.input.min(self.line.saturating_sub(along.pad)),
                    n,
                    to.unwrap_or_default(),
                    pitch,
                    self.line,
                );
            }
            for j in 0..n {
                let first = j.wrapping_mul(self.taps_len());
                let at = channel.wrapping_add(j);
                let Some(quant) = self.d.quant.get(at) else {
                    return;
                };
                let plane = Plane {
                    codes: codes.get(j.wrapping_mul(self.line)..).unwrap_or_default(),
                    pitch,
                    taps: taps
                        .get(first..first.wrapping_add(self.taps_len()))
                        .unwrap_or_default(),
                    row: self.row,
                    kernel: [across.kernel, along.kernel],
                    stride: [across.stride, along.stride],
                    outputs: [lines, along.output],
                    next: across.y,
                    step: along.y,
                    quant,
                    rq: self.d.rq,
                };
                let at = done.wrapping_mul(across.y).wrapping_add(at);
                T::outputs::<OPS>(&plane, y.get_mut(at..).unwrap_or_default());
            }
            done = done.wrapping_add(lines);
            let used = lines.wrapping_mul(across.stride);
            kept = end.saturating_sub(used);
            if done < across.output && kept > 0 {
                for l in 0..kept {
                    let from = used.wrapping_add(l).wrapping_mul(pitch);
                    let (to, from) = codes.split_at_mut_checked(from).unwrap_or_default();
                    let to = to.get_mut(l.wrapping_mul(pitch)..).unwrap_or_default();
                    to.iter_mut()
                        .zip(from.iter().take(pitch))
                        .for_each(|(to, from)| *to = *from);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::weights::{Order, Values, Weights};
    use crate::kernels::window::{Axis, Window};

    struct Plain;

    impl Lines for Plain {
        const BACKEND: Backend = Backend::Dsp;
        type Code = i16;

        fn outputs<const OPS: u32>(p: &Plane<i16>, y: &mut [i8]) {
            for l in 0..p.outputs[0] {
                for i in 0..p.outputs[1] {
                    let mut acc = p.quant.bias.get();
                    for a in 0..p.kernel[0] {
                        for t in 0..p.row {
                            let at = (l * p.stride[0] + a) * p.pitch + i * p.stride[1] + t;
                            acc += i32::from(p.taps[a * p.row + t]) * i32::from(p.codes[at]);
                        }
                    }
                    y[l * p.next + i * p.step] = p.rq.apply(acc, p.quant.mult.get());
                }
            }
        }
    }

    #[test]
    fn like_the_portable_kernel() {
        let mut state = 1u64;
        let mut draw = |n: usize| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1);
            (state >> 33) as usize % n
        };
        for _ in 0..3000 {
            let mut axis = || {
                let (input, kernel, stride) = (1 + draw(9), 1 + draw(5), 1 + draw(3));
                Axis::new(input, 1 + draw(9), kernel, stride, 1, draw(6)).unwrap()
            };
            let (v, h) = (axis(), axis());
            let (n, c) = (1 + draw(2), 1 + draw(9));
            let taps = v.kernel * h.kernel;
            let mut codes = |n: usize| (0..n).map(|_| draw(256) as i8).collect::<Vec<_>>();
            let (x, w) = (codes(n * v.input * h.input * c), codes(taps * c));
            let quant: Vec<_> = (0..c)
                .map(|i| QuantRow {
                    bias: (i as i32 * 100 - 300).into(),
                    mult: (1 << 24).into(),
                })
                .collect();
            let d = Depthwise {
                window: Window { v, h, c },
                m: c,
                multiplier: 1,
                weights: Weights {
                    bytes: &w,
                    len: c,
                    bits: 8,
                    mask: 0xff,
                    order: Order::Rows,
                    values: Values::Linear(draw(2) as i16),
                },
                z_x: draw(256) as i32 - 128,
                quant: &quant,
                rq: Requant {
                    shift: 0,
                    z_y: 3,
                    lo: -100,
                    hi: 100,
                },
            };
            let planes = Backend::Dsp
                .layout()
                .planes(
                    [v.kernel, h.kernel],
                    [v.stride(), h.stride()],
                    [v.output, h.output],
                )
                .unwrap();
            let len = n * v.output * h.output * c;
            let mut want = vec![0; len];
            d.run::<{ u32::MAX }>(&x, &mut want, &mut [], Backend::Portable);
            let span = planes.full() - planes.least();
            let mut scratch = vec![!0u32; (planes.least() + draw(span + 9)) / 4];
            let mut have = vec![0; len];
            assert!(depthwise::<Plain, { OpSet::ALL }>(
                &d,
                &x,
                &mut have,
                &mut scratch
            ));
            assert_eq!(have, want);
            scratch.truncate(planes.least() / 4 - 1);
            assert!(!depthwise::<Plain, { OpSet::ALL }>(
                &d,
                &x,
                &mut have,
                &mut scratch
            ));
        }
    }
}
