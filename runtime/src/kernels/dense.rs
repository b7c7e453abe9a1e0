//! Dense layer: `y[o] = requant(b[o] + Σ_i (w[o,i] - z_w) · x[i])` for every row of `x`.
//!
//! # Shapes
//! `x`: `[.., k]`, weights `[m][k]`, `y`: `[.., m]`.

use super::pieces::{pieces, pieces_mut};
use super::weights::Weights;
use super::{Requant, arch};
use crate::Backend;
use crate::OpSet;
use crate::format::QuantRow;

pub(crate) struct Dense<'a> {
    pub k: usize,
    pub weights: Weights<'a>,
    pub quant: &'a [QuantRow],
    pub rq: Requant,
}

impl Dense<'_> {
    /// `None` where the backend does not take the shape or scratch and the portable kernel is not in `OPS`.
    pub fn run<const OPS: u32>(
        &self,
        x: &[i8],
        y: &mut [i8],
        scratch: &mut [u32],
        backend: Backend,
    ) -> Option<()> {
        if arch::dense::<OPS>(backend, self, x, y, scratch) {
            return Some(());
        }
        if OPS & OpSet::PORTABLE_DENSE == 0 {
            return None;
        }
        for (x, y) in pieces(x, self.k).zip(pieces_mut(y, self.quant.len())) {
            for (o, (y, q)) in y.iter_mut().zip(self.quant).enumerate() {
                let acc = q.bias.get().wrapping_add(self.weights.dot(o, 0, x));
                *y = self.rq.apply(acc, q.mult.get());
            }
        }
        Some(())
    }
}
