//! Depthwise convolution: `y[o] = requant(b[o] + Σ_t (w[t,o] - z_w) · x[t, o / multiplier])`.
//!
//! # Shapes
//! `x`: `[n, h, w, c]`, weights `[kh][kw][m]`, `y`: `[n, oh, ow, m]`, `m = c * multiplier`. Taps outside of the
//! input read `z_x`.

use super::Requant;
use super::window::{Taps, Window};
use crate::format::QuantRow;

/// Outputs accumulated side by side.
const BLOCK: usize = 16;

pub(crate) struct Depthwise<'a> {
    pub window: Window,
    pub m: usize,
    pub multiplier: usize,
    pub weights: &'a [i8],
    pub w_zero: i32,
    pub z_x: i32,
    pub quant: &'a [QuantRow],
    pub rq: Requant,
}

impl Depthwise<'_> {
    pub fn run(&self, x: &[i8], y: &mut [i8]) {
        self.window
            .positions(x, y, self.m, |image, rows, cols, out| {
                for (i, out) in out.chunks_mut(BLOCK).enumerate() {
                    let quant = self.quant.get(i * BLOCK..).unwrap_or_default();
                    self.block(image, rows, cols, i * BLOCK, out, quant);
                }
            });
    }

    /// Outputs `first ..` of one position.
    #[inline]
    fn block(
        &self,
        image: &[i8],
        rows: &Taps,
        cols: &Taps,
        first: usize,
        out: &mut [i8],
        quant: &[QuantRow],
    ) {
        let mut acc = [0i32; BLOCK];
        for (acc, q) in acc.iter_mut().zip(quant) {
            *acc = q.bias.get();
        }
        if !self.window.is_full(rows, cols) {
            self.padding(&mut acc, rows, cols, first);
        }
        self.window.cells(image, rows, cols, |tap, cell| {
            let w = self.weights_of(tap, first);
            if self.multiplier == 1 {
                let cell = cell.get(first..).unwrap_or_default();
                for ((acc, w), x) in acc.iter_mut().zip(w).zip(cell) {
                    *acc =
                        acc.wrapping_add((i32::from(*w) - self.w_zero).wrapping_mul(i32::from(*x)));
                }
            } else {
                for (i, (acc, w)) in acc.iter_mut().zip(w).enumerate() {
                    let channel = (first + i).checked_div(self.multiplier).unwrap_or(0);
                    let x = cell.get(channel).copied().unwrap_or(0);
                    *acc =
                        acc.wrapping_add((i32::from(*w) - self.w_zero).wrapping_mul(i32::from(x)));
                }
            }
        });
        for ((out, acc), q) in out.iter_mut().zip(&acc).zip(quant) {
            *out = self.rq.apply(*acc, q.mult.get());
        }
    }

    /// Add the taps outside of the input.
    fn padding(&self, acc: &mut [i32; BLOCK], rows: &Taps, cols: &Taps, first: usize) {
        for ky in 0..self.window.v.kernel {
            for kx in 0..self.window.h.kernel {
                if rows.range.contains(&ky) && cols.range.contains(&kx) {
                    continue;
                }
                let w = self.weights_of(ky * self.window.h.kernel + kx, first);
                for (acc, w) in acc.iter_mut().zip(w) {
                    *acc = acc.wrapping_add((i32::from(*w) - self.w_zero).wrapping_mul(self.z_x));
                }
            }
        }
    }

    /// Weights of one tap from output `first` on.
    #[inline(always)]
    fn weights_of(&self, tap: usize, first: usize) -> &[i8] {
        let row = tap * self.m;
        self.weights
            .get(row + first..row + self.m)
            .unwrap_or_default()
    }
}
