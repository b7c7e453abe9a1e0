//! Batch normalization in a supernet: one scale and shift per channel for all sub-networks, statistics of each its own.
//!
//! In training, the output of a normalized layer is `y = g (x - mean) / sigma + b` with the statistics of the mini-batch
//! (Ioffe and Szegedy, 2015). For a sub-network that is used, the statistics are those of one execution over many samples
//! at once, exact for the samples given, and disappear in the layer:
//! ```text
//! a = g / sigma,   weights: a w,   bias: (bias - mean) a + b
//! ```
//! `g` is learned as its logarithm: it stays positive, so that `a` only changes the step of a channel.

use super::bank::Leaves;
use crate::train::Var;
use crate::train::var::host;
use burn::tensor::Tensor;

/// Added to variances, so that channels that are constant can be divided.
const EPSILON: f32 = 1e-5;

/// Where the parameters of a normalized layer are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Norm {
    /// Index of the logarithms of the scales.
    pub scale: usize,
    /// Index of the shifts.
    pub shift: usize,
}

/// Mean and deviation per channel.
#[derive(Clone, Debug, PartialEq)]
pub struct Statistics {
    pub mean: Vec<f32>,
    pub sigma: Vec<f32>,
}

/// What normalization does to a layer: factor of its weights and new bias, per channel.
#[derive(Clone, Debug, PartialEq)]
pub struct Fold {
    pub factor: Vec<f32>,
    pub bias: Vec<f32>,
}

/// `x` with its last axis as channels: mean and deviation `[1, c]`, and `x` without its mean `[rows, c]`.
fn centered(x: &Var) -> [Tensor<2>; 3] {
    let c = x.shape.last().copied().unwrap_or(1);
    let rows = x.flat.clone().reshape([x.lead * x.size() / c, c]);
    let mean = rows.clone().mean_dim(0);
    let off = rows - mean.clone();
    let sigma = off.clone().square().mean_dim(0).add_scalar(EPSILON).sqrt();
    [mean, sigma, off]
}

impl Statistics {
    /// Of all elements of `x`.
    pub fn of(x: &Var) -> Statistics {
        let [mean, sigma, _] = centered(x);
        Statistics {
            mean: host(mean),
            sigma: host(sigma),
        }
    }

    /// What they do to a layer with this bias and these parameters.
    pub fn fold(&self, bias: &[f32], scale: &[f32], shift: &[f32]) -> Fold {
        let factor = |(log, sigma): (&f32, &f32)| log.exp() / sigma;
        let factor: Vec<f32> = scale.iter().zip(&self.sigma).map(factor).collect();
        let of = |c: usize| (bias[c] - self.mean[c]) * factor[c] + shift[c];
        Fold {
            bias: (0..factor.len()).map(of).collect(),
            factor,
        }
    }
}

impl Norm {
    /// `x` normalized by its own statistics, and those.
    pub fn apply(&self, x: &Var, leaves: Leaves) -> (Var, Statistics) {
        let [mean, sigma, off] = centered(x);
        let seen = Statistics {
            mean: host(mean.inner()),
            sigma: host(sigma.clone().inner()),
        };
        let c = seen.mean.len();
        let scale = leaves(self.scale).exp().reshape([1, c]);
        let shift = leaves(self.shift).reshape([1, c]);
        let y = off / sigma * scale + shift;
        (Var::of(y, x.lead, &x.shape), seen)
    }
}
