//! Convolution, grouped or not: `y[o] = requant(b[o] + Σ (w[o,t] - z_w) · x[t])`.
//!
//! # Shapes
//! `x`: `[n, h, w, c]`, weights `[m][kh][kw][c/groups]`, `y`: `[n, oh, ow, m]`.
//!
//! # Padding
//! A tap outside of the input reads `z_x`, because the bias holds `-z_x · Σ (w - z_w)` over all taps. Where the
//! window leaves the input, the kernel therefore adds `z_x · (Σ all w - Σ inside w)`.
//!

use super::pieces::pieces_mut;
use super::weights::Weights;
use super::window::{Taps, Window};
use super::{Requant, arch};
use crate::Backend;
use crate::format::QuantRow;

pub(crate) struct Conv<'a> {
    pub window: Window,
    /// Input channels of a group.
    pub cg: usize,
    /// Outputs of a group.
    pub mg: usize,
    /// Weights of an output: `kh * kw * cg`.
    pub k: usize,
    pub weights: Weights<'a>,
    pub z_x: i32,
    pub quant: &'a [QuantRow],
    pub rq: Requant,
}

impl Conv<'_> {
    pub fn run<const OPS: u32>(
        &self,
        x: &[i8],
        y: &mut [i8],
        scratch: &mut [u32],
        backend: Backend,
    ) {
        if arch::conv::<OPS>(backend, self, x, y, scratch) {
            return;
        }
        self.window
            .positions(x, y, self.quant.len(), |image, rows, cols, out| {
                self.position(image, rows, cols, out);
            });
    }

    /// All outputs of one position.
    #[inline]
    fn position(&self, image: &[i8], rows: &Taps, cols: &Taps, out: &mut [i8]) {
        let full = self.window.is_full(rows, cols);
        let mut o = 0;
        for (g, out) in pieces_mut(out, self.mg).enumerate() {
            let patch = Patch {
                conv: self,
                image,
                rows,
                cols,
                channel: g * self.cg,
            };
            for (out, q) in out.iter_mut().zip(self.quant.get(o..).unwrap_or_default()) {
                let mut acc = q.bias.get();
                let mut outside = if full {
                    0
                } else {
                    self.weights.sum(o, 0, self.k)
                };
                patch.runs(|at, x| {
                    acc = acc.wrapping_add(self.weights.dot(o, at, x));
                    if !full {
                        outside = outside.wrapping_sub(self.weights.sum(o, at, x.len()));
                    }
                });
                acc = acc.wrapping_add(self.z_x.wrapping_mul(outside));
                *out = self.rq.apply(acc, q.mult.get());
                o += 1;
            }
        }
    }
}

/// The part of the input under the window, for one group.
pub(crate) struct Patch<'p> {
    pub conv: &'p Conv<'p>,
    pub image: &'p [i8],
    pub rows: &'p Taps,
    pub cols: &'p Taps,
    /// First channel of the group.
    pub channel: usize,
}

impl Patch<'_> {
    /// Call `f` with weight offset and input for every contiguous run: a kernel row where the window has neither
    /// gaps nor groups, one tap otherwise.
    #[inline(always)]
    pub fn runs(&self, mut f: impl FnMut(usize, &[i8])) {
        self.offsets(|at, start, len| {
            f(at, self.image.get(start..start + len).unwrap_or_default());
        });
    }

    /// The same with offset in the image and length instead of the input.
    #[inline(always)]
    pub fn offsets(&self, mut f: impl FnMut(usize, usize, usize)) {
        let (Window { v, h, c }, cg) = (&self.conv.window, self.conv.cg);
        let whole_rows = cg == *c && h.dilation == 1;
        let cols = self.cols.range.clone();
        for (i, ky) in self.rows.range.clone().enumerate() {
            let line = (self.rows.from + i * v.dilation) * h.input + self.cols.from;
            if whole_rows {
                f((ky * h.kernel + cols.start) * cg, line * c, cols.len() * c);
                continue;
            }
            for (j, kx) in cols.clone().enumerate() {
                let at = (line + j * h.dilation) * c + self.channel;
                f((ky * h.kernel + kx) * cg, at, cg);
            }
        }
    }
}
