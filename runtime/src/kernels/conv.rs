//! Convolution, grouped or not: `y[o] = requant(b[o] + Σ (w[o,t] - z_w) · x[t])`.
//!
//! # Shapes
//! `x`: `[n, h, w, c]`, weights `[m][kh][kw][c/groups]`, `y`: `[n, oh, ow, m]`.
//!
//! # Padding
//! A tap outside of the input reads `z_x`, because the bias holds `-z_x · Σ (w - z_w)` over all taps. Where the
//! window leaves the input, the kernel therefore adds `z_x · (Σ all w - Σ inside w)`.
//!
//! # Weight zero point
//! `Σ (w - z_w) · x = Σ w·x - z_w · Σ x`: one activation sum per position and group, shared by all outputs.

use super::Requant;
use super::dot::{dot, sum};
use super::pieces::{pieces, pieces_mut};
use super::window::{Taps, Window};
use crate::format::QuantRow;

pub(crate) struct Conv<'a> {
    pub window: Window,
    /// Input channels of a group.
    pub cg: usize,
    /// Outputs of a group.
    pub mg: usize,
    /// Weights of an output: `kh * kw * cg`.
    pub k: usize,
    pub weights: &'a [i8],
    pub w_zero: i32,
    pub z_x: i32,
    pub quant: &'a [QuantRow],
    pub rq: Requant,
}

impl Conv<'_> {
    pub fn run(&self, x: &[i8], y: &mut [i8]) {
        self.window
            .positions(x, y, self.quant.len(), |image, rows, cols, out| {
                self.position(image, rows, cols, out);
            });
    }

    /// All outputs of one position.
    #[inline]
    fn position(&self, image: &[i8], rows: &Taps, cols: &Taps, out: &mut [i8]) {
        let weights = pieces(self.weights, self.mg * self.k);
        let groups = pieces_mut(out, self.mg)
            .zip(weights)
            .zip(pieces(self.quant, self.mg));
        let full = self.window.is_full(rows, cols);
        for (g, ((out, weights), quant)) in groups.enumerate() {
            let patch = Patch {
                conv: self,
                image,
                rows,
                cols,
                channel: g * self.cg,
            };
            let offset = patch.offset();
            for ((out, w), q) in out.iter_mut().zip(pieces(weights, self.k)).zip(quant) {
                let mut acc = q.bias.get().wrapping_add(offset);
                if full {
                    patch.runs(|at, x| acc = acc.wrapping_add(dot(x, tail(w, at))));
                } else {
                    let mut outside = sum(w);
                    patch.runs(|at, x| {
                        let w = tail(w, at);
                        acc = acc.wrapping_add(dot(x, w));
                        outside = outside.wrapping_sub(sum(w.get(..x.len()).unwrap_or_default()));
                    });
                    acc = acc.wrapping_add(self.z_x.wrapping_mul(outside));
                }
                *out = self.rq.apply(acc, q.mult.get());
            }
        }
    }
}

#[inline(always)]
fn tail(w: &[i8], at: usize) -> &[i8] {
    w.get(at..).unwrap_or_default()
}

/// The part of the input under the window, for one group.
struct Patch<'p> {
    conv: &'p Conv<'p>,
    image: &'p [i8],
    rows: &'p Taps,
    cols: &'p Taps,
    /// First channel of the group.
    channel: usize,
}

impl Patch<'_> {
    /// Call `f` with weight offset and input for every contiguous run: a kernel row where the window has neither
    /// gaps nor groups, one tap otherwise.
    #[inline(always)]
    fn runs(&self, mut f: impl FnMut(usize, &[i8])) {
        let (Window { v, h, c }, cg) = (&self.conv.window, self.conv.cg);
        let whole_rows = cg == *c && h.dilation == 1;
        let cols = self.cols.range.clone();
        for (i, ky) in self.rows.range.clone().enumerate() {
            let line = (self.rows.from + i * v.dilation) * h.input + self.cols.from;
            if whole_rows {
                let (at, len) = (line * c, cols.len() * c);
                f(
                    (ky * h.kernel + cols.start) * cg,
                    self.image.get(at..at + len).unwrap_or_default(),
                );
                continue;
            }
            for (j, kx) in cols.clone().enumerate() {
                let at = (line + j * h.dilation) * c + self.channel;
                f(
                    (ky * h.kernel + kx) * cg,
                    self.image.get(at..at + cg).unwrap_or_default(),
                );
            }
        }
    }

    /// What the weight zero point adds to every output of the group.
    #[inline(always)]
    fn offset(&self) -> i32 {
        let conv = self.conv;
        if conv.w_zero == 0 {
            return 0;
        }
        let (mut inside, mut outside) = (0i32, conv.k as i32);
        self.runs(|_, x| {
            inside = inside.wrapping_add(sum(x));
            outside = outside.wrapping_sub(x.len() as i32);
        });
        let total = inside.wrapping_add(outside.wrapping_mul(conv.z_x));
        total.wrapping_mul(conv.w_zero).wrapping_neg()
    }
}
