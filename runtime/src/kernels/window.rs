//! Geometry of a window that slides over H and W.

use super::pieces::{pieces, pieces_mut};
use core::ops::Range;

/// One axis: output `o`, tap `t` reads input `o * stride + t * dilation - pad`.
#[derive(Clone, Copy)]
pub(crate) struct Axis {
    pub input: usize,
    pub output: usize,
    pub kernel: usize,
    stride: usize,
    pub dilation: usize,
    pad: usize,
}

/// The taps of one output that lie inside the input.
#[derive(Clone)]
pub(crate) struct Taps {
    pub range: Range<usize>,
    /// Input index that tap `range.start` reads; 0 if there is none.
    pub from: usize,
}

impl Axis {
    /// `None` if a step is 0 or a coordinate could leave `i32`.
    pub fn new(
        input: usize,
        output: usize,
        kernel: usize,
        stride: usize,
        dilation: usize,
        pad: usize,
    ) -> Option<Axis> {
        if kernel == 0 || stride == 0 || dilation == 0 {
            return None;
        }
        let span = |n: usize, step: usize| (n as u64).saturating_sub(1).checked_mul(step as u64);
        let reach = span(output, stride)?.checked_add(span(kernel, dilation)?)?;
        let reach = reach.checked_add(input as u64)?.checked_add(pad as u64)?;
        if reach > i32::MAX as u64 {
            return None;
        }
        Some(Axis {
            input,
            output,
            kernel,
            stride,
            dilation,
            pad,
        })
    }

    /// Inputs from one output to the next.
    #[inline(always)]
    pub fn stride(&self) -> usize {
        self.stride
    }

    /// Padding before the first input.
    #[inline(always)]
    pub fn pad(&self) -> usize {
        self.pad
    }

    /// Outputs whose taps are all inside the input.
    pub fn inner(&self) -> Range<usize> {
        let first = self.pad.div_ceil(self.stride.max(1));
        let span = (self.kernel.saturating_sub(1)).saturating_mul(self.dilation);
        let end = match (self.input + self.pad).checked_sub(span.saturating_add(1)) {
            Some(last) => last.checked_div(self.stride).unwrap_or(0) + 1,
            None => 0,
        };
        first..end.min(self.output)
    }

    /// Taps of output `o` inside the input.
    #[inline]
    pub fn taps(&self, o: usize) -> Taps {
        let start = o * self.stride;
        let first = self.taps_within(self.pad.saturating_sub(start));
        let end = self
            .taps_within((self.input + self.pad).saturating_sub(start))
            .min(self.kernel);
        if first >= end {
            return Taps {
                range: 0..0,
                from: 0,
            };
        }
        let from = (start + first * self.dilation).wrapping_sub(self.pad);
        Taps {
            range: first..end,
            from,
        }
    }

    /// Taps in the first `len` positions of the window.
    #[inline]
    fn taps_within(&self, len: usize) -> usize {
        if self.dilation == 1 {
            return len;
        }
        (len + self.dilation)
            .wrapping_sub(1)
            .checked_div(self.dilation)
            .unwrap_or(0)
    }
}

/// Both axes and the number of input channels.
#[derive(Clone, Copy)]
pub(crate) struct Window {
    pub v: Axis,
    pub h: Axis,
    pub c: usize,
}

impl Window {
    /// Taps of the whole window. Does not overflow: both kernels are 16-bit values.
    pub fn taps(&self) -> usize {
        self.v.kernel.wrapping_mul(self.h.kernel)
    }

    /// Whether output position and input position are the same: one tap, no stride, no padding.
    #[inline(always)]
    pub fn is_point(&self) -> bool {
        let point = |a: &Axis| a.kernel == 1 && a.stride == 1 && a.pad == 0 && a.output == a.input;
        point(&self.v) && point(&self.h)
    }

    /// Call `f` with image, vertical taps, horizontal taps and the `m` outputs, for every position of every image.
    #[inline(always)]
    pub fn positions(
        &self,
        x: &[i8],
        y: &mut [i8],
        m: usize,
        mut f: impl FnMut(&[i8], &Taps, &Taps, &mut [i8]),
    ) {
        let row = self.h.output * m;
        let image = self.v.input * self.h.input * self.c;

        for (x, y) in pieces(x, image).zip(pieces_mut(y, row * self.v.output)) {
            for (oy, y) in pieces_mut(y, row).enumerate() {
                let rows = self.v.taps(oy);
                for (ox, y) in pieces_mut(y, m).enumerate() {
                    f(x, &rows, &self.h.taps(ox), y);
                }
            }
        }
    }

    /// Whether no tap is padding.
    #[inline(always)]
    pub fn is_full(&self, rows: &Taps, cols: &Taps) -> bool {
        rows.range.len() == self.v.kernel && cols.range.len() == self.h.kernel
    }

    /// Call `f` with tap index and the channels of every cell of the window inside `image`.
    #[inline(always)]
    pub fn cells<'x>(
        &self,
        image: &'x [i8],
        rows: &Taps,
        cols: &Taps,
        mut f: impl FnMut(usize, &'x [i8]),
    ) {
        for (i, ky) in rows.range.clone().enumerate() {
            let line = (rows.from + i * self.v.dilation) * self.h.input + cols.from;
            for (j, kx) in cols.range.clone().enumerate() {
                let at = (line + j * self.h.dilation) * self.c;
                if let Some(cell) = image.get(at..at + self.c) {
                    f(ky * self.h.kernel + kx, cell);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Axis;

    #[test]
    fn taps_match_the_definition() {
        for bits in 0..3usize.pow(6) {
            let digit = |i: u32| bits / 3usize.pow(i) % 3;
            let (input, kernel, stride) = (1 + digit(0) * 2, 1 + digit(1), 1 + digit(2));
            let (dilation, pad, output) = (1 + digit(3), digit(4) * 3, 1 + digit(5) * 4);
            let axis = Axis::new(input, output, kernel, stride, dilation, pad).unwrap();
            for o in 0..output {
                let at = |t: usize| (o * stride + t * dilation) as isize - pad as isize;
                let inside = |t: &usize| (0..input as isize).contains(&at(*t));
                let want: Vec<usize> = (0..kernel).filter(inside).collect();
                let taps = axis.taps(o);
                assert_eq!(axis.inner().contains(&o), want.len() == kernel);
                assert_eq!(taps.range.clone().collect::<Vec<_>>(), want);
                if let Some(first) = want.first() {
                    assert_eq!(taps.from as isize, at(*first));
                }
            }
        }
    }

    #[test]
    fn refuses_zero_steps_and_far_reaches() {
        assert!(Axis::new(1, 1, 0, 1, 1, 0).is_none());
        assert!(Axis::new(1, 1, 1, 0, 1, 0).is_none());
        assert!(Axis::new(1, 1, 1, 1, 0, 0).is_none());
        assert!(Axis::new(1, 1 << 20, 1, 1 << 12, 1, 0).is_none());
    }
}
