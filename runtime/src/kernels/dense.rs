//! Dense layer: `y[o] = requant(b[o] + Σ_i (w[o,i] - z_w) · x[i])` for every row of `x`.
//!
//! # Shapes
//! `x`: `[.., k]`, weights `[m][k]`, `y`: `[.., m]`.

use super::Requant;
use super::dot::{dot, sum};
use super::pieces::{pieces, pieces_mut};
use crate::format::QuantRow;

pub(crate) struct Dense<'a> {
    pub k: usize,
    pub weights: &'a [i8],
    pub w_zero: i32,
    pub quant: &'a [QuantRow],
    pub rq: Requant,
}

impl Dense<'_> {
    pub fn run(&self, x: &[i8], y: &mut [i8]) {
        for (x, y) in pieces(x, self.k).zip(pieces_mut(y, self.quant.len())) {
            let offset = if self.w_zero == 0 {
                0
            } else {
                sum(x).wrapping_mul(self.w_zero)
            };
            for ((y, w), q) in y
                .iter_mut()
                .zip(pieces(self.weights, self.k))
                .zip(self.quant)
            {
                let acc = q.bias.get().wrapping_add(dot(x, w)).wrapping_sub(offset);
                *y = self.rq.apply(acc, q.mult.get());
            }
        }
    }
}
