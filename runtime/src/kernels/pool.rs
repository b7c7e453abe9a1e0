//! Pooling over H and W, channel by channel.
//!
//! # Shapes
//! `x`: `[n, h, w, c]`, `y`: `[n, oh, ow, c]`.

use super::window::Window;
use super::{Requant, arch};
use crate::Backend;
use crate::format::QuantRow;
use crate::spec::clamp;

/// Channels accumulated side by side.
const BLOCK: usize = 8;

/// Maximum of the codes inside the input; -128 where there are none.
pub(crate) struct MaxPool {
    pub window: Window,
    pub lo: i8,
    pub hi: i8,
}

impl MaxPool {
    pub fn run(&self, x: &[i8], y: &mut [i8], backend: Backend) {
        self.window
            .positions(x, y, self.window.c, |image, rows, cols, out| {
                out.fill(i8::MIN);
                self.window.cells(image, rows, cols, |_, cell| {
                    if arch::max(backend, cell, out) {
                        return;
                    }
                    for (out, x) in out.iter_mut().zip(cell) {
                        *out = (*out).max(*x);
                    }
                });
                for out in out {
                    *out = clamp(i32::from(*out), self.lo, self.hi);
                }
            });
    }
}

/// `acc[i] += x[i]` over the shorter of the two.
#[inline(always)]
fn add(acc: &mut [i32; BLOCK], x: &[i8]) {
    for (acc, x) in acc.iter_mut().zip(x) {
        *acc = acc.wrapping_add(i32::from(*x));
    }
}

/// Mean: `requant(b + Σ x)`.
///
/// With one row, padding counts as `z_x` and every window has `kh * kw` elements; otherwise row `n - 1` serves
/// windows with `n` elements inside the input, and a window without any gives `z_y`.
pub(crate) struct AvgPool<'a> {
    pub window: Window,
    pub z_x: i32,
    pub quant: &'a [QuantRow],
    pub rq: Requant,
}

impl AvgPool<'_> {
    pub fn run(&self, x: &[i8], y: &mut [i8]) {
        let (c, taps) = (self.window.c, self.window.taps());
        self.window.positions(x, y, c, |image, rows, cols, out| {
            let inside = rows.range.len() * cols.range.len();
            let (row, padding) = match self.quant {
                [row] => (
                    Some(row),
                    (taps.wrapping_sub(inside) as i32).wrapping_mul(self.z_x),
                ),
                rows => (rows.get(inside.wrapping_sub(1)), 0),
            };
            let (bias, mult) = row.map_or((0, 0), |row| (row.bias.get(), row.mult.get()));
            for (i, out) in out.chunks_mut(BLOCK).enumerate() {
                let mut acc = [bias.wrapping_add(padding); BLOCK];
                self.window.cells(image, rows, cols, |_, cell| {
                    let cell = cell.get(i * BLOCK..).unwrap_or_default();
                    // A whole block needs no counting.
                    match cell.first_chunk::<BLOCK>() {
                        Some(block) => add(&mut acc, block),
                        None => add(&mut acc, cell),
                    }
                });
                for (out, acc) in out.iter_mut().zip(acc) {
                    *out = self.rq.apply(acc, mult);
                }
            }
        });
    }
}
