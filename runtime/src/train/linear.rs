//! The last dense layer, trained by stochastic gradient descent on the cross-entropy.

use super::Rows;
use super::scores::{best, errors};

/// Bits behind the point of a weight, beside those of the feature codes.
const POINT: u32 = 20;
/// Weights stay within these bounds, so that no sum leaves 64 bits.
const MOST: i32 = 1 << 26;

/// `N` classes on `D` features: `4 * N * (D + 1)` bytes.
#[derive(Clone, Debug)]
pub struct LinearHead<const D: usize, const N: usize> {
    weights: [[i32; D]; N],
    bias: [i32; N],
    /// Code that stands for 0.
    zero: i8,
    /// The learning rate is `2^-rate`.
    rate: u32,
}

impl<const D: usize, const N: usize> LinearHead<D, N> {
    /// A head that knows nothing, for features whose zero point is `zero`, with a learning rate of `2^-rate`
    /// (0 to 15; a step of 2^-12 suits some tens of active features).
    pub const fn new(zero: i8, rate: u32) -> Self {
        LinearHead {
            weights: [[0; D]; N],
            bias: [0; N],
            zero,
            rate: if rate < 15 { rate } else { 15 },
        }
    }

    fn feature(&self, code: u8) -> i32 {
        i32::from(code as i8) - i32::from(self.zero)
    }

    /// Score of every class, in sixteenths of a nat; `features` has `D` codes, more are not looked at.
    pub fn scores(&self, features: &[u8]) -> [i32; N] {
        let mut scores = [0; N];
        let classes = self.weights.iter().zip(&self.bias);
        for (score, (weights, bias)) in scores.iter_mut().zip(classes) {
            let products = weights.iter().zip(features);
            let sum: i64 = products
                .map(|(w, x)| i64::from(*w) * i64::from(self.feature(*x)))
                .sum();
            let sum = (sum + (i64::from(*bias) << 8)) >> POINT;
            *score = sum.clamp(i32::MIN.into(), i32::MAX.into()) as i32;
        }
        scores
    }

    /// Class with the highest score.
    pub fn classify(&self, features: &[u8]) -> usize {
        best(&self.scores(features))
    }

    /// One step of descent with a sample of class `label`.
    pub fn learn(&mut self, features: &[u8], label: usize) {
        let errors = errors(&self.scores(features), label);
        let zero = i32::from(self.zero);
        let half = (1 << self.rate) >> 1;
        let step = |by: i32| (by + half) >> self.rate;
        let classes = self.weights.iter_mut().zip(&mut self.bias);
        for (error, (weights, bias)) in errors.iter().zip(classes) {
            for (weight, code) in weights.iter_mut().zip(features) {
                let x = i32::from(*code as i8) - zero;
                *weight = (*weight + step(error * x)).clamp(-MOST, MOST);
            }
            *bias = (*bias + step(error << 8)).clamp(-MOST, MOST);
        }
    }
}

/// A class is a row: its weights, then its bias.
impl<const D: usize, const N: usize> Rows for LinearHead<D, N> {
    fn rows(&self) -> usize {
        N
    }

    fn row_len(&self) -> usize {
        4 * (D + 1)
    }

    fn get(&self, row: usize, to: &mut [u8]) {
        let weights = self.weights.get(row).into_iter().flatten();
        let values = weights.chain(self.bias.get(row));
        for (to, value) in to.as_chunks_mut::<4>().0.iter_mut().zip(values) {
            *to = value.to_le_bytes();
        }
    }

    fn set(&mut self, row: usize, from: &[u8]) {
        let weights = self.weights.get_mut(row).into_iter().flatten();
        let values = weights.chain(self.bias.get_mut(row));
        for (from, value) in from.as_chunks::<4>().0.iter().zip(values) {
            *value = i32::from_le_bytes(*from).clamp(-MOST, MOST);
        }
    }
}
