//! A small network that learns the loss of configurations.
//!
//! Seven hidden layers of 200 with ReLU, a linear output without bias, smooth L1 loss, Adam at 4e-4 with weight decay
//! 1e-5, 100 epochs, four fifths of the pairs for training: the conditional accuracy predictor of Xu et al., "EQ-Net",
//! ICCV 2023, section 3.4. It learns losses in units of their spread instead of accuracies in shares, as the configurations
//! of a small network differ by less than a hundredth.

use super::rank::{kendall, pearson};
use crate::train::optimizer::{Clip, Optimizer, Rule};
use crate::train::var::{host, vector};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

const HIDDEN: usize = 7;
const WIDTH: usize = 200;
const RATE: f32 = 4e-4;
const DECAY: f32 = 1e-5;
const BATCH: usize = 32;
/// One of so many pairs is held out.
const HELD_OUT: usize = 5;

/// How well a predictor orders pairs that it has not learned from.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Agreement {
    /// Pairs it learned from.
    pub train: usize,
    /// Pairs held out.
    pub held_out: usize,
    /// Rank correlation of predicted and true losses.
    pub kendall: f64,
    pub pearson: f64,
}

/// A trained predictor.
pub struct Predictor {
    params: Vec<Tensor<1>>,
    /// Inputs of every layer, then 1.
    widths: Vec<usize>,
    mean: f32,
    spread: f32,
    device: Device,
}

impl Predictor {
    /// Learn the losses `y` of configurations with features `x`. `watch` is called after every epoch with the number of
    /// those done.
    ///
    /// # Errors
    /// What `watch` says.
    ///
    /// # Panics
    /// Where there are fewer than two pairs, or rows of different lengths.
    pub fn learn<E>(
        x: &[Vec<f32>],
        y: &[f64],
        epochs: usize,
        seed: u64,
        mut watch: impl FnMut(usize) -> Result<(), E>,
    ) -> Result<(Predictor, Agreement), E> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut order: Vec<usize> = (0..x.len()).collect();
        order.shuffle(&mut rng);
        let (held_out, train) = order.split_at((x.len() / HELD_OUT).max(1));
        let n = train.len() as f64;
        let mean = train.iter().map(|&i| y[i]).sum::<f64>() / n;
        let square = train.iter().map(|&i| (y[i] - mean).powi(2)).sum::<f64>() / n;
        let spread = square.sqrt().max(1e-12);

        let device = Device::flex();
        let mut widths = vec![x[0].len()];
        widths.extend([WIDTH; HIDDEN]);
        widths.push(1);
        let (params, decays) = fresh(&widths, &mut rng, &device);
        let mut predictor = Predictor {
            params,
            widths,
            mean: mean as f32,
            spread: spread as f32,
            device,
        };
        let mut optimizer = Optimizer::new(Rule::ADAM, DECAY, Clip::None, &predictor.params);
        let mut train = train.to_vec();
        for epoch in 0..epochs {
            train.shuffle(&mut rng);
            for picks in train.chunks(BATCH) {
                let targets = picks.iter().map(|&i| ((y[i] - mean) / spread) as f32);
                predictor.step(x, picks, targets.collect(), &decays, &mut optimizer);
            }
            watch(epoch + 1)?;
        }
        let seen: Vec<Vec<f32>> = held_out.iter().map(|&i| x[i].clone()).collect();
        let guess = predictor.predict(&seen);
        let truth: Vec<f64> = held_out.iter().map(|&i| y[i]).collect();
        let agreement = Agreement {
            train: train.len(),
            held_out: held_out.len(),
            kendall: kendall(&guess, &truth),
            pearson: pearson(&guess, &truth),
        };
        Ok((predictor, agreement))
    }

    /// Losses of configurations with features `x`.
    pub fn predict(&self, x: &[Vec<f32>]) -> Vec<f64> {
        if x.is_empty() {
            return Vec::new();
        }
        let rows: Vec<f32> = x.iter().flatten().copied().collect();
        let out = host(self.forward(&self.params, rows, x.len()));
        let scale = |v: f32| f64::from(v) * f64::from(self.spread) + f64::from(self.mean);
        out.into_iter().map(scale).collect()
    }

    /// `[lead, features]` to `[lead]`.
    fn forward(&self, params: &[Tensor<1>], rows: Vec<f32>, lead: usize) -> Tensor<1> {
        let layers = self.widths.len() - 1;
        let mut at = vector(rows, &self.device).reshape([lead, self.widths[0]]);
        for layer in 0..layers {
            let [from, to] = [self.widths[layer], self.widths[layer + 1]];
            at = at.matmul(params[2 * layer].clone().reshape([from, to]));
            if layer + 1 < layers {
                let bias = params[2 * layer + 1].clone().reshape([1, to]);
                at = relu(at + bias);
            }
        }
        at.reshape([lead])
    }

    /// One mini-batch.
    fn step(
        &mut self,
        x: &[Vec<f32>],
        picks: &[usize],
        targets: Vec<f32>,
        decays: &[bool],
        optimizer: &mut Optimizer,
    ) {
        let rows = picks.iter().flat_map(|&i| x[i].iter().copied()).collect();
        let leaves: Vec<Tensor<1>> = self
            .params
            .iter()
            .map(|p| p.clone().autodiff().require_grad())
            .collect();
        let out = self.forward(&leaves, rows, picks.len());
        let miss = (out - vector(targets, &self.device)).abs();
        // Smooth L1: half the square below 1, linear above.
        let near = miss.clone().clamp_max(1.0);
        let loss = (near.clone().square().mul_scalar(0.5) + (miss - near)).mean();
        let mut found = loss.backward();
        let grads = leaves
            .iter()
            .map(|leaf| leaf.grad_remove(&mut found))
            .collect();
        optimizer.step(decays, &mut self.params, grads, 0.0, RATE);
    }
}

/// Weights and biases of every layer, the last one without bias: uniform, variance 2 / inputs (He et al., 2015). And which
/// of them decay.
fn fresh(widths: &[usize], rng: &mut ChaCha8Rng, device: &Device) -> (Vec<Tensor<1>>, Vec<bool>) {
    let (mut params, mut decays) = (Vec::new(), Vec::new());
    let layers = widths.len() - 1;
    for layer in 0..layers {
        let [from, to] = [widths[layer], widths[layer + 1]];
        let most = (6.0 / from as f32).sqrt();
        let weights = (0..from * to)
            .map(|_| rng.random_range(-most..most))
            .collect();
        params.push(vector(weights, device));
        decays.push(true);
        if layer + 1 < layers {
            params.push(vector(vec![0.0; to], device));
            decays.push(false);
        }
    }
    (params, decays)
}
