//! Depthwise convolution: `y[o] = requant(b[o] + Σ_t (w[t,o] - z_w) · x[t, o / multiplier])`.
//!
//! # Shapes
//! `x`: `[n, h, w, c]`, weights `[kh][kw][m]`, `y`: `[n, oh, ow, m]`, `m = c * multiplier`. Taps outside of the
//! input read `z_x`.

use super::weights::Weights;
use super::window::{Taps, Window};
use super::{Requant, arch};
use crate::Backend;
use crate::OpSet;
use crate::format::QuantRow;

/// Outputs accumulated side by side.
const BLOCK: usize = 16;

pub(crate) struct Depthwise<'a> {
    pub window: Window,
    pub m: usize,
    pub multiplier: usize,
    pub weights: Weights<'a>,
    pub z_x: i32,
    pub quant: &'a [QuantRow],
    pub rq: Requant,
}

impl Depthwise<'_> {
    /// `None` where the backend does not take the shape or scratch and the portable kernel is not in `OPS`.
    pub fn run<const OPS: u32>(
        &self,
        x: &[i8],
        y: &mut [i8],
        scratch: &mut [u32],
        backend: Backend,
    ) -> Option<()> {
        if arch::depthwise::<OPS>(backend, self, x, y, scratch) {
            return Some(());
        }
        if OPS & OpSet::PORTABLE_DEPTHWISE == 0 {
            return None;
        }
        self.window
            .positions(x, y, self.m, |image, rows, cols, out| {
                for (i, out) in out.chunks_mut(BLOCK).enumerate() {
                    let quant = self.quant.get(i * BLOCK..).unwrap_or_default();
                    self.block(image, rows, cols, i * BLOCK, out, quant);
                }
            });
        Some(())
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
            if self.multiplier == 1 {
                let cell = cell.get(first..).unwrap_or_default();
                self.add(&mut acc, tap, first, cell.iter().map(|x| i32::from(*x)));
            } else {
                let channel = |o: usize| o.checked_div(self.multiplier).unwrap_or(0);
                let at = |i: usize| cell.get(channel(first + i)).map_or(0, |x| i32::from(*x));
                self.add(&mut acc, tap, first, (0..BLOCK).map(at));
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
                let tap = ky * self.window.h.kernel + kx;
                self.add(acc, tap, first, core::iter::repeat(self.z_x));
            }
        }
    }

    /// Add the products of one tap with `x`, from output `first` on.
    #[inline(always)]
    fn add(&self, acc: &mut [i32; BLOCK], tap: usize, first: usize, x: impl Iterator<Item = i32>) {
        let outputs = acc.iter_mut().zip(x);
        match self.weights.plain() {
            Some(w) => {
                let row = tap * self.m;
                let w = w.get(row + first..row + self.m).unwrap_or_default();
                for ((acc, x), w) in outputs.zip(w) {
                    *acc = acc.wrapping_add(i32::from(*w).wrapping_mul(x));
                }
            }
            None => {
                for (i, (acc, x)) in outputs.take(self.m.saturating_sub(first)).enumerate() {
                    let w = i32::from(self.weights.at(tap, first + i));
                    *acc = acc.wrapping_add(w.wrapping_mul(x));
                }
            }
        }
    }
}
