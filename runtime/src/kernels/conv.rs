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
use crate::OpSet;
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
    /// `None` where the backend does not take the shape or scratch and the portable kernel is not in `OPS`.
    pub fn run<const OPS: u32>(
        &self,
        x: &[i8],
        y: &mut [i8],
        scratch: &mut [u32],
        backend: Backend,
    ) -> Option<()> {
        if arch::conv::<OPS>(backend, self, x, y, scratch) {
            return Some(());
        }
        if OPS & OpSet::PORTABLE_CONV == 0 {
            return None;
        }
        self.window
            .positions(x, y, self.quant.len(), |image, rows, cols, out| {
                self.position(image, rows, cols, out);
            });
        Some(())
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
        self.blocks::<{ OpSet::ALL }>(|runs| {
            for i in 0..runs.count {
                f(
                    runs.at + i * runs.to_step,
                    runs.start + i * runs.from_step,
                    runs.len,
                );
            }
        });
    }

    /// The same for as many runs at once as are evenly spaced. Windows outside of `OPS` cost no code.
    #[inline(always)]
    pub fn blocks<const OPS: u32>(&self, mut f: impl FnMut(&Runs)) {
        let (Window { v, h, c }, cg) = (&self.conv.window, self.conv.cg);
        let whole_rows = OPS & OpSet::BROKEN_WINDOWS == 0 || cg == *c && h.dilation == 1;
        let (rows, cols) = (self.rows.range.clone(), self.cols.range.clone());
        let start = (self.rows.from * h.input + self.cols.from) * c + self.channel;
        let line = Runs {
            at: (rows.start * h.kernel + cols.start) * cg,
            start,
            len: cols.len() * cg,
            count: rows.len(),
            from_step: v.dilation * h.input * c,
            to_step: h.kernel * cg,
        };
        if whole_rows {
            return f(&line);
        }
        for j in 0..cols.len() {
            f(&Runs {
                at: line.at + j * cg,
                start: start + j * h.dilation * c,
                len: cg,
                ..line
            });
        }
    }
}

/// Runs of codes from the input to a column.
pub(crate) struct Runs {
    /// Where the first goes in the column.
    pub at: usize,
    /// Where the first is in the image.
    pub start: usize,
    /// Codes of each.
    pub len: usize,
    pub count: usize,
    /// From one to the next in the image.
    pub from_step: usize,
    /// From one to the next in the column.
    pub to_step: usize,
}
