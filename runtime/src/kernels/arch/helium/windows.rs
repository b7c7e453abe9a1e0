//! Depthwise convolution with windows of up to 16 taps.
//!
//! The input is spread: of every channel, the lines under the window lie in scratch interleaved code by code, so
//! that a window is one vector and an output one VMLADAV. A new line takes the place of the oldest one; the taps are
//! therefore stored once for each line that may be the first. Lines lie along the longer axis of the output. Padding
//! is `z_x` in scratch.

use super::decode;
use super::matrix::aligned;
use crate::Windows;
use crate::format::QuantRow;
use crate::kernels::depthwise::Depthwise;
use crate::kernels::pieces::{every_mut, pieces, pieces_mut};
use crate::kernels::weights::Values;
use crate::kernels::window::Axis;
use zerocopy::{FromBytes, IntoBytes};

/// Channels spread together.
const GROUP: usize = 8;
/// Channels with outputs computed together.
const QUAD: usize = 4;

/// Codes of neighbouring channels at `n` positions, each channel on its own.
#[repr(C)]
struct Spread {
    from: *const i8,
    /// From one position to the next.
    step: usize,
    /// From one group of channels to the next.
    group: usize,
    n: usize,
    channels: usize,
    to: *mut i8,
    /// From one position to the next.
    to_step: usize,
    /// From one group of channels to the next.
    to_group: usize,
    /// Where each channel of a group is.
    offsets: [u16; GROUP],
}

/// A line of outputs.
#[repr(C)]
struct Line {
    /// First window of the first channel.
    windows: *const i8,
    /// From one channel to the next.
    pitch: usize,
    /// From one window to the next.
    step: usize,
    /// One vector per channel.
    taps: *const i8,
    quant: *const i32,
    /// Channels / 4.
    quads: usize,
    y: *mut i8,
    /// From one output to the next.
    y_step: usize,
    n: usize,
    z: i32,
    shift: i32,
    /// Clamp bounds in every lane.
    lo: [i32; 4],
    hi: [i32; 4],
    /// High bytes of 16-bit taps.
    high: *const i8,
}

unsafe extern "C" {
    fn elastiq_mve_spread(spread: *const Spread);
    /// `step == 3`, no shift, bounds -128 and 127.
    fn elastiq_mve_line_3(line: *mut Line);
    /// `step == 6`, no shift, bounds -128 and 127.
    fn elastiq_mve_line_6(line: *mut Line);
    fn elastiq_mve_line(line: *mut Line);
    /// 16-bit taps: low bytes, as signed numbers, in `taps`, the rest in `high`.
    fn elastiq_mve_line_wide(line: *mut Line);
}

// What `windows.s` takes for granted.
const _: () = {
    use core::mem::offset_of;
    assert!(offset_of!(Spread, step) == 4 && offset_of!(Spread, group) == 8);
    assert!(offset_of!(Spread, n) == 12 && offset_of!(Spread, channels) == 16);
    assert!(offset_of!(Spread, to) == 20 && offset_of!(Spread, to_step) == 24);
    assert!(offset_of!(Spread, to_group) == 28 && offset_of!(Spread, offsets) == 32);
    assert!(offset_of!(Line, pitch) == 4 && offset_of!(Line, step) == 8);
    assert!(offset_of!(Line, taps) == 12 && offset_of!(Line, quant) == 16);
    assert!(offset_of!(Line, quads) == 20 && offset_of!(Line, y) == 24);
    assert!(offset_of!(Line, y_step) == 28 && offset_of!(Line, n) == 32);
    assert!(offset_of!(Line, z) == 36 && offset_of!(Line, shift) == 40);
    assert!(offset_of!(Line, lo) == 44 && offset_of!(Line, hi) == 60);
    assert!(offset_of!(Line, high) == 76);
};

/// An axis of input and output.
#[derive(Clone, Copy)]
struct Side {
    input: usize,
    output: usize,
    kernel: usize,
    stride: usize,
    pad: usize,
    /// Codes from one input to the next.
    x: usize,
    /// Codes from one output to the next.
    y: usize,
    /// Taps from one to the next.
    tap: usize,
}

/// Run `d`; `false` if it is of another kind or scratch is too small.
pub(super) fn depthwise<const OPS: u32>(
    d: &Depthwise,
    x: &[i8],
    y: &mut [i8],
    scratch: &mut [u32],
) -> bool {
    let (v, h, c) = (d.window.v, d.window.h, d.window.c);
    if (d.multiplier, v.dilation, h.dilation) != (1, 1, 1) || c < QUAD {
        return false;
    }
    let Some(w) = Windows::new(
        [v.kernel, h.kernel],
        [v.stride(), h.stride()],
        [v.output, h.output],
        !d.weights.fits_i8::<OPS>(),
    ) else {
        return false;
    };
    // The high byte of a tap is an `i8`.
    if let Values::Codebook(book) = d.weights.values
        && book.iter().any(|w| w.get() > i16::MAX - 0x80)
    {
        return false;
    }
    let (in_line, out_line) = (h.input.wrapping_mul(c), h.output.wrapping_mul(c));
    let side = |axis: &Axis, x, y, tap| Side {
        input: axis.input,
        output: axis.output,
        kernel: axis.kernel,
        stride: axis.stride(),
        pad: axis.pad(),
        x,
        y,
        tap,
    };
    let (vertical, horizontal) = (side(&v, in_line, out_line, h.kernel), side(&h, c, c, 1));
    let (across, along) = match w.vertical {
        true => (horizontal, vertical),
        false => (vertical, horizontal),
    };
    let Ok(scratch) = <[i8]>::mut_from_bytes(scratch.as_mut_bytes()) else {
        return false;
    };
    let fit = scratch.len().checked_div(w.len(1)).unwrap_or(0);
    let block = if fit >= c { c } else { fit & !(GROUP - 1) };
    // Offsets of the channels of a group have 16 bits; the asserted lengths are those of a checked model.
    let images = v.input.wrapping_mul(in_line);
    let outputs = v.output.wrapping_mul(out_line);
    // Decoded taps of all channels pass through the lines.
    let need = match (d.weights.plain(), w.wide) {
        (Some(_), _) => 0,
        (None, false) => c,
        (None, true) => c.wrapping_mul(2),
    };
    if block < QUAD
        || block.wrapping_mul(w.pitch) < need
        || w.pitch > usize::from(u16::MAX) / GROUP
        || !aligned(d.quant)
        || d.quant.len() != c
        || outputs == 0
    {
        return false;
    }
    let run = Run {
        d,
        across,
        along,
        w,
    };
    for (x, y) in pieces(x, images).zip(pieces_mut(y, outputs)) {
        let mut first = 0;
        while first < c {
            // Less than four channels at the end are taken together with some before them, which are done.
            let channel = first.min(c.wrapping_sub(QUAD));
            let n = block.min(c.wrapping_sub(channel));
            run.block::<OPS>(channel, n, x, y, scratch);
            first = channel.wrapping_add(n);
        }
    }
    true
}

struct Run<'r> {
    d: &'r Depthwise<'r>,
    across: Side,
    along: Side,
    w: Windows,
}

impl Run<'_> {
    /// Outputs of channels `channel .. channel + n` of an image. Scratch holds [`Windows::len`] bytes of `n` channels.
    fn block<const OPS: u32>(
        &self,
        channel: usize,
        n: usize,
        x: &[i8],
        y: &mut [i8],
        scratch: &mut [i8],
    ) {
        let (across, along) = (&self.across, &self.along);
        let turn = n.wrapping_mul(Windows::VECTOR);
        let taps_len = n.wrapping_mul(self.w.taps_len());
        let Some((taps, lines)) = scratch.split_at_mut_checked(taps_len) else {
            return;
        };
        self.taps::<OPS>(channel, n, taps, lines);
        let z_x = self.d.z_x as i8;
        let Some(lines) = lines.get_mut(..n.wrapping_mul(self.w.pitch)) else {
            return;
        };
        lines.fill(z_x);
        let padding = [z_x; GROUP];
        // Inputs of a line that some window reads.
        let reach = along
            .output
            .wrapping_sub(1)
            .wrapping_mul(along.stride)
            .wrapping_add(along.kernel);
        let inputs = along.input.min(reach.saturating_sub(along.pad));
        // The next line to be spread, padding included, and where it goes.
        let (mut next, mut slot) = (0usize, 0usize);
        for o in 0..across.output {
            let start = o.wrapping_mul(across.stride);
            while next < start.wrapping_add(across.kernel) {
                if next >= start {
                    let at = next.wrapping_sub(across.pad);
                    let inside = at < across.input;
                    let from = match inside {
                        true => x.get(at.wrapping_mul(across.x).wrapping_add(channel)..),
                        false => Some(&padding[..]),
                    };
                    let to =
                        lines.get_mut(along.pad.wrapping_mul(across.kernel).wrapping_add(slot)..);
                    if let (Some(from), Some(to)) = (from, to) {
                        spread(
                            from,
                            if inside { [along.x, GROUP] } else { [0, 0] },
                            [inputs, n],
                            to,
                            across.kernel,
                            self.w.pitch,
                        );
                    }
                }
                next = next.wrapping_add(1);
                slot = if slot.wrapping_add(1) == across.kernel {
                    0
                } else {
                    slot.wrapping_add(1)
                };
            }
            // The slot after the newest line holds the oldest.
            let at = o.wrapping_mul(across.y).wrapping_add(channel);
            let quant = self.d.quant.get(channel..).unwrap_or_default();
            let first = slot.wrapping_mul(turn);
            let high = match self.w.wide {
                true => turn.wrapping_mul(across.kernel).wrapping_add(first),
                false => first,
            };
            let taps = [first, high].map(|at| taps.get(at..).unwrap_or_default());
            let y = y.get_mut(at..).unwrap_or_default();
            self.outputs(n, taps, lines, quant, y);
        }
    }

    /// Taps of channels `channel .. channel + n`: for every line that may be first, a vector per channel; behind them
    /// the high bytes. What `spare` holds does not matter.
    fn taps<const OPS: u32>(&self, channel: usize, n: usize, to: &mut [i8], spare: &mut [i8]) {
        to.fill(0);
        let low_len = n
            .wrapping_mul(self.across.kernel)
            .wrapping_mul(Windows::VECTOR);
        let (to, high) = to.split_at_mut_checked(low_len).unwrap_or_default();
        let (across, along, m) = (&self.across, &self.along, self.d.m);
        for a in 0..across.kernel {
            let tap = a.wrapping_mul(across.tap);
            if let Some(w) = self.d.weights.plain() {
                let from = tap.wrapping_mul(m).wrapping_add(channel);
                let from = w.get(from..).unwrap_or_default();
                self.tap(from, along.tap.wrapping_mul(m), along.kernel, a, 0, n, to);
                continue;
            }
            for t in 0..along.kernel {
                let tap = tap.wrapping_add(t.wrapping_mul(along.tap));
                decode::row::<OPS>(&self.d.weights, tap, spare);
                if self.w.wide {
                    let from = spare.get(channel.wrapping_mul(2)..).unwrap_or_default();
                    self.halves(from, a, t, n, to, high);
                    continue;
                }
                let from = spare.get(channel..).unwrap_or_default();
                self.tap(from, 0, 1, a, t, n, to);
            }
        }
    }

    /// [`Run::tap`] for one tap of 16 bits.
    fn halves(&self, from: &[i8], a: usize, t: usize, n: usize, to: &mut [i8], high: &mut [i8]) {
        let kernel = self.across.kernel;
        for first in 0..kernel {
            let at = first.wrapping_add(a);
            let at = if at < kernel {
                at
            } else {
                at.wrapping_sub(kernel)
            };
            let at = at.wrapping_add(t.wrapping_mul(kernel));
            let turn = first.wrapping_mul(n).wrapping_mul(Windows::VECTOR);
            let at = turn.wrapping_add(at);
            let low = every_mut(to.get_mut(at..).unwrap_or_default(), Windows::VECTOR);
            let high = every_mut(high.get_mut(at..).unwrap_or_default(), Windows::VECTOR);
            for ((low, high), w) in low.zip(high).zip(pieces(from, 2)).take(n) {
                if let [l, h] = w {
                    *low = *l;
                    // What is left of the weight less the signed low byte.
                    *high = h.wrapping_add(i8::from(*l < 0));
                }
            }
        }
    }

    /// Put `count` taps of line `a`, from tap `t` of the line on, where they belong in each turn.
    #[allow(clippy::too_many_arguments, reason = "places on both sides")]
    fn tap(
        &self,
        from: &[i8],
        step: usize,
        count: usize,
        a: usize,
        t: usize,
        n: usize,
        to: &mut [i8],
    ) {
        let kernel = self.across.kernel;
        for (first, to) in pieces_mut(to, n.wrapping_mul(Windows::VECTOR)).enumerate() {
            let at = first.wrapping_add(a);
            let at = if at < kernel {
                at
            } else {
                at.wrapping_sub(kernel)
            };
            let at = at.wrapping_add(t.wrapping_mul(kernel));
            let to = to.get_mut(at..).unwrap_or_default();
            spread(from, [step, GROUP], [count, n], to, kernel, Windows::VECTOR);
        }
    }

    /// A line of outputs of `n` channels, at least four, with their taps and high bytes of taps.
    fn outputs(
        &self,
        n: usize,
        [taps, high]: [&[i8]; 2],
        lines: &[i8],
        quant: &[QuantRow],
        y: &mut [i8],
    ) {
        let (along, rq) = (&self.along, &self.d.rq);
        let step = along.stride.wrapping_mul(self.across.kernel);
        let last = along.output.wrapping_sub(1);
        let fits = last.wrapping_mul(step).wrapping_add(Windows::VECTOR) <= self.w.pitch
            && lines.len() >= n.wrapping_mul(self.w.pitch)
            && taps.len() >= n.wrapping_mul(Windows::VECTOR)
            && high.len() >= n.wrapping_mul(Windows::VECTOR)
            && quant.len() >= n
            && y.len() >= last.wrapping_mul(along.y).wrapping_add(n)
            && n >= QUAD
            && along.output > 0;
        if !fits {
            return;
        }
        let mut job = Line {
            windows: lines.as_ptr(),
            pitch: self.w.pitch,
            step,
            taps: taps.as_ptr(),
            quant: quant.as_ptr().cast(),
            quads: n / QUAD,
            y: y.as_mut_ptr(),
            y_step: along.y,
            n: along.output,
            z: rq.z_y.into(),
            shift: rq.shift.into(),
            lo: [rq.lo.into(); 4],
            hi: [rq.hi.into(); 4],
            high: high.as_ptr(),
        };
        let all = (rq.shift, rq.lo, rq.hi) == (0, i8::MIN, i8::MAX);
        let run = match (all, step) {
            _ if self.w.wide => elastiq_mve_line_wide,
            (true, 3) => elastiq_mve_line_3,
            (true, 6) => elastiq_mve_line_6,
            _ => elastiq_mve_line,
        };
        // SAFETY: `n` channels have `pitch` codes each in `lines`, a vector in `taps` and a row in `quant`, which is
        // aligned; the last window is a vector inside of `pitch` codes, and so is the last output inside of `y`. The
        // second call takes the last four of the same channels.
        unsafe {
            run(&mut job);
            if n % QUAD > 0 {
                let skip = n.wrapping_sub(QUAD);
                job.windows = lines.as_ptr().wrapping_add(skip.wrapping_mul(self.w.pitch));
                job.taps = taps
                    .as_ptr()
                    .wrapping_add(skip.wrapping_mul(Windows::VECTOR));
                job.high = high
                    .as_ptr()
                    .wrapping_add(skip.wrapping_mul(Windows::VECTOR));
                job.quant = quant.as_ptr().wrapping_add(skip).cast();
                job.quads = 1;
                job.y = y.as_mut_ptr().wrapping_add(skip);
                run(&mut job);
            }
        }
    }
}

/// `to[j * pitch + i * to_step] = from[i * step + j]` for `n` positions `i` and `channels` channels `j`; `step` is
/// from one position to the next, `group` from eight channels to the next.
fn spread(
    from: &[i8],
    [step, group]: [usize; 2],
    [n, channels]: [usize; 2],
    to: &mut [i8],
    to_step: usize,
    pitch: usize,
) {
    let (Some(last), Some(end)) = (n.checked_sub(1), channels.checked_sub(1)) else {
        return;
    };
    let groups = end / GROUP;
    let rest = if groups > 0 { GROUP - 1 } else { end };
    let read = match group {
        0 => rest,
        _ => end,
    };
    let read = last.wrapping_mul(step).wrapping_add(read);
    let written = last
        .wrapping_mul(to_step)
        .wrapping_add(end.wrapping_mul(pitch));
    let offsets = pitch.wrapping_mul(GROUP - 1).wrapping_add(to_step);
    if read >= from.len() || written >= to.len() || offsets > usize::from(u16::MAX) {
        return;
    }
    let mut lane = 0u16;
    let job = Spread {
        from: from.as_ptr(),
        step,
        group,
        n,
        channels,
        to: to.as_mut_ptr(),
        to_step,
        to_group: pitch.wrapping_mul(GROUP),
        offsets: [(); GROUP].map(|()| {
            let at = lane;
            lane = lane.wrapping_add(pitch as u16);
            at
        }),
    };
    // SAFETY: the last code read and the last one written are inside; offsets in a group fit 16 bits.
    unsafe { elastiq_mve_spread(&job) }
}
