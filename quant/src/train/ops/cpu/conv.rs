//! Convolution: windows gathered into rows, then matrix products. Depthwise convolution: sums channel by channel.

use super::Kernel;
use crate::ir::Window;
use ndarray::linalg::general_mat_mul;
use ndarray::{ArrayView2, ArrayViewMut2, s};
use rayon::prelude::*;

/// Operands: pictures `[h, w, c]` one after the other, weights `[m, kh, kw, c / groups]`.
#[derive(Clone, Debug)]
pub struct Conv {
    pub window: Window,
    pub groups: usize,
    /// Height, width, channels.
    pub input: [usize; 3],
    pub output: [usize; 3],
}

impl Conv {
    fn pixels(&self) -> usize {
        self.output[0] * self.output[1]
    }

    /// Length of a gathered window of one group.
    fn row(&self) -> usize {
        let [kh, kw] = self.window.kernel;
        kh * kw * self.input[2] / self.groups
    }

    fn depthwise(&self) -> bool {
        self.groups == self.input[2] && self.groups == self.output[2]
    }

    /// Call `f(output pixel, tap, input pixel)` for every tap that falls on the input.
    fn taps(&self, mut f: impl FnMut(usize, usize, usize)) {
        let w = &self.window;
        for oy in 0..self.output[0] {
            for ox in 0..self.output[1] {
                for ky in 0..w.kernel[0] {
                    let y = (oy * w.stride[0] + ky * w.dilation[0]).wrapping_sub(w.pads[0]);
                    if y >= self.input[0] {
                        continue;
                    }
                    for kx in 0..w.kernel[1] {
                        let x = (ox * w.stride[1] + kx * w.dilation[1]).wrapping_sub(w.pads[1]);
                        if x < self.input[1] {
                            let (out, tap) = (oy * self.output[1] + ox, ky * w.kernel[1] + kx);
                            f(out, tap, y * self.input[1] + x);
                        }
                    }
                }
            }
        }
    }

    /// Windows of `group` as rows; padding stays zero, as `rows` is on entry.
    fn gather(&self, x: &[f32], group: usize, rows: &mut [f32]) {
        let (c, k) = (self.input[2], self.row());
        let cg = c / self.groups;
        self.taps(|out, tap, at| {
            let from = &x[at * c + group * cg..][..cg];
            rows[out * k + tap * cg..][..cg].copy_from_slice(from);
        });
    }

    /// The reverse of [`Conv::gather`]: rows are added where they came from.
    fn scatter(&self, rows: &[f32], group: usize, x: &mut [f32]) {
        let (c, k) = (self.input[2], self.row());
        let cg = c / self.groups;
        self.taps(|out, tap, at| {
            let from = &rows[out * k + tap * cg..][..cg];
            let to = &mut x[at * c + group * cg..][..cg];
            to.iter_mut().zip(from).for_each(|(to, v)| *to += v);
        });
    }

    fn weights<'a>(&self, w: &'a [f32], group: usize) -> ArrayView2<'a, f32> {
        let (mg, k) = (self.output[2] / self.groups, self.row());
        matrix(&w[group * mg * k..][..mg * k], mg)
    }

    fn forward_one(&self, x: &[f32], w: &[f32], y: &mut [f32]) {
        let (pixels, m) = (self.pixels(), self.output[2]);
        if self.depthwise() {
            let by_tap = turned(w, m);
            return self.taps(|out, tap, at| {
                let (y, w) = (&mut y[out * m..][..m], &by_tap[tap * m..][..m]);
                let x = &x[at * m..][..m];
                y.iter_mut()
                    .zip(x)
                    .zip(w)
                    .for_each(|((y, x), w)| *y += x * w);
            });
        }
        let mg = m / self.groups;
        let mut rows = vec![0.0; pixels * self.row()];
        let mut y = ArrayViewMut2::from_shape((pixels, m), y).expect("output of one picture");
        for g in 0..self.groups {
            self.gather(x, g, &mut rows);
            let mut part = y.slice_mut(s![.., g * mg..(g + 1) * mg]);
            let w = self.weights(w, g);
            general_mat_mul(1.0, &matrix(&rows, pixels), &w.t(), 0.0, &mut part);
        }
    }

    /// Gradients of one picture: of itself, and its part of those of the weights.
    fn backward_one(&self, x: &[f32], w: &[f32], dy: &[f32], wanted: [bool; 2]) -> [Vec<f32>; 2] {
        let (pixels, m, k) = (self.pixels(), self.output[2], self.row());
        let mut dx = vec![0.0; if wanted[0] { x.len() } else { 0 }];
        let mut dw = vec![0.0; if wanted[1] { w.len() } else { 0 }];
        if self.depthwise() {
            let by_tap = turned(w, m);
            let mut dw_by_tap = vec![0.0; dw.len()];
            self.taps(|out, tap, at| {
                let dy = &dy[out * m..][..m];
                if wanted[0] {
                    let (dx, w) = (&mut dx[at * m..][..m], &by_tap[tap * m..][..m]);
                    dx.iter_mut()
                        .zip(dy)
                        .zip(w)
                        .for_each(|((d, y), w)| *d += y * w);
                }
                if wanted[1] {
                    let (dw, x) = (&mut dw_by_tap[tap * m..][..m], &x[at * m..][..m]);
                    dw.iter_mut()
                        .zip(dy)
                        .zip(x)
                        .for_each(|((d, y), x)| *d += y * x);
                }
            });
            if wanted[1] {
                dw = turned(&dw_by_tap, k);
            }
            return [dx, dw];
        }
        let mg = m / self.groups;
        let mut rows = vec![0.0; pixels * k];
        let dy = matrix(dy, pixels);
        for g in 0..self.groups {
            let dy = dy.slice(s![.., g * mg..(g + 1) * mg]);
            if wanted[1] {
                self.gather(x, g, &mut rows);
                let part = &mut dw[g * mg * k..][..mg * k];
                let mut part = ArrayViewMut2::from_shape((mg, k), part).expect("one group");
                general_mat_mul(1.0, &dy.t(), &matrix(&rows, pixels), 0.0, &mut part);
            }
            if wanted[0] {
                let mut drows = vec![0.0; pixels * k];
                let mut view =
                    ArrayViewMut2::from_shape((pixels, k), &mut drows[..]).expect("rows");
                general_mat_mul(1.0, &dy, &self.weights(w, g), 0.0, &mut view);
                self.scatter(&drows, g, &mut dx);
            }
        }
        [dx, dw]
    }
}

/// `values` as a matrix of `rows` rows.
fn matrix(values: &[f32], rows: usize) -> ArrayView2<'_, f32> {
    ArrayView2::from_shape((rows, values.len() / rows), values).expect("whole rows")
}

/// A matrix of `rows` rows, transposed.
fn turned(values: &[f32], rows: usize) -> Vec<f32> {
    matrix(values, rows).t().iter().copied().collect()
}

impl Kernel<2> for Conv {
    fn forward(&self, [x, w]: [&[f32]; 2]) -> Vec<f32> {
        let (size, out) = (self.input.iter().product(), self.pixels() * self.output[2]);
        let mut y = vec![0.0; x.len() / size * out];
        let pairs = x.par_chunks_exact(size).zip(y.par_chunks_exact_mut(out));
        pairs.for_each(|(x, y)| self.forward_one(x, w, y));
        y
    }

    fn backward(
        &self,
        [x, w]: [&[f32]; 2],
        dy: &[f32],
        wanted: [bool; 2],
    ) -> [Option<Vec<f32>>; 2] {
        let (size, out) = (self.input.iter().product(), self.pixels() * self.output[2]);
        let pairs = x.par_chunks_exact(size).zip(dy.par_chunks_exact(out));
        let parts: Vec<[Vec<f32>; 2]> = pairs
            .map(|(x, dy)| self.backward_one(x, w, dy, wanted))
            .collect();
        let dx = wanted[0].then(|| parts.iter().flat_map(|[dx, _]| dx).copied().collect());
        let dw = wanted[1].then(|| {
            let mut sum = vec![0.0; w.len()];
            for [_, dw] in &parts {
                sum.iter_mut().zip(dw).for_each(|(s, d)| *s += d);
            }
            sum
        });
        [dx, dw]
    }
}
