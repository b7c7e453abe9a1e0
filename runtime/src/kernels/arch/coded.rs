//! Dense layers with weights that are not plain, for the scalar backends: decoded four at a time, used at once.

use crate::kernels::dense::Dense;
use crate::kernels::pieces::{pieces, pieces_mut};

/// The whole layer.
#[inline(always)]
pub(super) fn dense<const OPS: u32>(dense: &Dense, x: &[i8], y: &mut [i8]) {
    for (x, y) in pieces(x, dense.k).zip(pieces_mut(y, dense.quant.len())) {
        for (row, (y, q)) in y.iter_mut().zip(dense.quant).enumerate() {
            let mut acc = q.bias.get();
            let mut x = x.iter();
            dense.weights.fours::<OPS>(row, |_, w| {
                for (w, x) in w.iter().zip(x.by_ref().take(4)) {
                    acc = acc.wrapping_add(i32::from(*w).wrapping_mul(i32::from(*x)));
                }
            });
            *y = dense.rq.apply(acc, q.mult.get());
        }
    }
}
