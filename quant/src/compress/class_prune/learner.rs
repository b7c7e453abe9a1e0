//! Training of one round: masked gradients, the loss of class-dependent pruning, the epoch with the best ranking kept.

use super::critical::Critical;
use super::figures::rounded;
use super::loss::Loss;
use super::mask::{Mask, Units, clear};
use super::settings::{Score, Settings};
use super::split::{Train, Val};
use super::{Control, Event, Watch};
use crate::metrics::auc;
use crate::train::compute::Compute;
use crate::train::data::{Data, shuffled};
use crate::train::objective::Task;
use crate::train::optimizer::Optimizer;
use crate::train::var::{host, vector};
use crate::train::{ClassWeights, Clip, Network, Objective, Place};
use crate::{Error, ir::Graph};
use burn::tensor::{Device, Tensor, TensorData};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// Share of a round after which a ramp has reached its end, and mask updates on the way.
const RAMP_END: f64 = 0.7;
const RAMP_UPDATES: usize = 50;

/// What is trained, and on what.
pub struct Learner<'a> {
    compute: Compute<'a>,
    pub units: Units,
    pub critical: &'a Critical,
    pub settings: &'a Settings,
    train: &'a Train,
    val: &'a Val,
    /// Nothing decays: pruning decides what goes.
    decays: Vec<bool>,
}

/// How one round is trained.
#[derive(Clone, Debug)]
pub struct Lesson {
    pub loss: Loss,
    pub epochs: usize,
    /// Tells apart the orders of samples of different rounds.
    pub stream: u64,
    /// Units per layer at the beginning and at the end, where the round prunes while it trains.
    pub ramp: Option<[Vec<usize>; 2]>,
    pub score: Score,
}

/// Epoch of a round with the best ranking on validation samples.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct BestEpoch {
    /// From 1.
    pub epoch: usize,
    pub auc: f64,
}

/// A round that is under way.
pub struct Progress {
    pub params: Vec<Tensor<1>>,
    pub optimizer: Optimizer,
    pub mask: Mask,
    /// 1 and 0 per element of parameters that are pruned.
    gates: Vec<Option<Tensor<1>>>,
    /// Epochs that are done.
    pub epoch: usize,
    pub best: Option<BestEpoch>,
    pub best_params: Vec<Vec<f32>>,
}

impl<'a> Learner<'a> {
    /// # Errors
    /// Data that the network cannot be trained with; a network in which nothing can be pruned.
    pub fn new(
        network: &'a Network,
        critical: &'a Critical,
        settings: &'a Settings,
        place: Place,
        train: &'a Train,
        val: &'a Val,
    ) -> Result<Learner<'a>, Error> {
        let weights = ClassWeights::None;
        let task = Task::new(network, &train.data, Objective::Classify, &weights, 0.0)?;
        Ok(Learner {
            units: Units::new(network, settings.structure)?,
            compute: Compute::new(network, task, place.device()?),
            critical,
            settings,
            train,
            val,
            decays: vec![false; network.params().len()],
        })
    }

    pub fn network(&self) -> &Network {
        self.compute.network
    }

    pub fn device(&self) -> &Device {
        &self.compute.device
    }

    /// Training samples per class.
    pub fn class_counts(&self) -> Vec<usize> {
        let mut counts = vec![0; self.critical.total()];
        self.train.data.labels.iter().for_each(|&l| counts[l] += 1);
        counts
    }

    /// A round that starts from `start`, with what `mask` does not keep set to zero.
    pub fn begin(&self, mut start: Vec<Vec<f32>>, mask: Mask) -> Progress {
        clear(&mut start, &self.elements(&mask));
        let params: Vec<Tensor<1>> = start
            .into_iter()
            .map(|v| vector(v, &self.compute.device))
            .collect();
        let rule = self.settings.optimizer;
        Progress {
            optimizer: Optimizer::new(rule, 0.0, Clip::None, &params),
            gates: self.gates(&mask),
            params,
            mask,
            epoch: 0,
            best: None,
            best_params: Vec::new(),
        }
    }

    pub fn elements(&self, mask: &Mask) -> Vec<Option<Vec<bool>>> {
        self.units.elements(mask, self.network().params().len())
    }

    pub fn gates(&self, mask: &Mask) -> Vec<Option<Tensor<1>>> {
        let gate = |kept: Vec<bool>| {
            let values = kept.into_iter().map(|k| f32::from(u8::from(k))).collect();
            vector(values, &self.compute.device)
        };
        self.elements(mask)
            .into_iter()
            .map(|kept| kept.map(gate))
            .collect()
    }

    /// One epoch. On [`Control::Stop`] the round is as far as some mini-batch of the epoch.
    ///
    /// # Errors
    /// A loss or gradient that is not finite.
    pub fn epoch(
        &self,
        lesson: &Lesson,
        start: &[Vec<f32>],
        at: &mut Progress,
        watch: &mut dyn Watch,
    ) -> Result<Control, Error> {
        let data = &self.train.data;
        let mut rng = ChaCha8Rng::seed_from_u64(self.settings.seed);
        rng.set_stream((lesson.stream << 32) | (at.epoch as u64 + 1));
        let order = shuffled(data.len(), &mut rng);
        let batches = order.len().div_ceil(self.settings.batch);
        let total = lesson.epochs * batches;
        let mut sum = 0.0;
        for (b, picks) in order.chunks(self.settings.batch).enumerate() {
            let done = at.epoch * batches + b;
            self.ramp(lesson, start, at, done, total);
            let labels: Vec<usize> = picks.iter().map(|&i| data.labels[i]).collect();
            let step = self
                .compute
                .step_with(&at.params, data, picks, None, |out| {
                    self.surrogate(&lesson.loss, &labels, out)
                })?;
            let gated = step.grads.into_iter().zip(&at.gates);
            let grads = gated.map(|(g, gate)| match gate {
                Some(gate) => g.map(|g| g * gate.clone()),
                None => g,
            });
            let (done, per_epoch) = (done as u64, batches as u64);
            let rate = self.settings.rates.share(done, total as u64, per_epoch);
            at.optimizer.step(
                &self.decays,
                &mut at.params,
                grads.collect(),
                step.norm,
                self.settings.lr * rate,
            );
            sum += f64::from(step.loss);
            let event = Event::Step {
                epoch: at.epoch + 1,
                epochs: lesson.epochs,
                batch: b + 1,
                batches,
                loss: sum / (b + 1) as f64,
            };
            if watch.event(&event) == Control::Stop {
                return Ok(Control::Stop);
            }
        }
        at.epoch += 1;
        if lesson.ramp.is_none() || at.epoch * batches > ramp_end(total) {
            self.keep_best(at);
        }
        Ok(Control::Continue)
    }

    /// A scalar whose gradient by the scores is that of the loss, and whose value is the loss.
    fn surrogate(&self, loss: &Loss, labels: &[usize], out: Tensor<2>) -> Tensor<1> {
        let shape = out.dims();
        let scores = host(out.clone().inner());
        let (value, grad) = loss.of(self.critical, &scores, labels);
        let pairs = scores.iter().zip(&grad);
        let dot: f64 = pairs.map(|(s, g)| f64::from(*s) * f64::from(*g)).sum();
        let grad = Tensor::<2>::from_data(TensorData::new(grad, shape), &self.compute.device);
        (out * grad).sum().add_scalar((value - dot) as f32)
    }

    fn keep_best(&self, at: &mut Progress) {
        let scores = self.compute.outputs(&at.params, &self.val.data);
        let verdicts = self.critical.verdicts(&scores);
        let scores: Vec<f64> = verdicts.iter().map(|v| v.score).collect();
        let labels = self.val.labels().iter();
        let positive: Vec<bool> = labels.map(|&l| self.critical.has(l)).collect();
        let found = auc(&scores, &positive).map(rounded);
        // Without both kinds of samples there is nothing to rank, and the last epoch is kept.
        let better = found.is_none_or(|auc| at.best.is_none_or(|b| auc > b.auc));
        if better {
            at.best = Some(BestEpoch {
                epoch: at.epoch,
                auc: found.unwrap_or(0.0),
            });
            at.best_params = at.params.iter().map(|p| host(p.clone())).collect();
        }
    }

    /// Prune where step `done` of `total` is one of the updates of a ramp: the cubic schedule, by count of units.
    fn ramp(
        &self,
        lesson: &Lesson,
        start: &[Vec<f32>],
        at: &mut Progress,
        done: usize,
        total: usize,
    ) {
        let Some([from, to]) = &lesson.ramp else {
            return;
        };
        let last = ramp_end(total);
        let every = (last / RAMP_UPDATES).max(1);
        if done > last || (!done.is_multiple_of(every) && done != last) {
            return;
        }
        let targets = cubic(from, to, done as f64 / last.max(1) as f64);
        if at.mask.counts() == targets {
            return;
        }
        let mut params: Vec<Vec<f32>> = at.params.iter().map(|p| host(p.clone())).collect();
        let scores = self.units.scores(start, &params, lesson.score.of());
        at.mask = at.mask.keep(&scores, &targets);
        let elements = self.elements(&at.mask);
        clear(&mut params, &elements);
        let device = &self.compute.device;
        at.params = params.into_iter().map(|v| vector(v, device)).collect();
        // Momenta would go on to move what is gone.
        let (steps, mut slots) = at.optimizer.state();
        for (slots, kept) in slots.iter_mut().zip(&elements) {
            for slot in slots {
                clear(std::slice::from_mut(slot), std::slice::from_ref(kept));
            }
        }
        let fits = at.optimizer.restore((steps, slots), device);
        debug_assert!(fits, "the state is of the same optimizer");
        at.gates = self.gates(&at.mask);
    }

    /// Scores of every sample, `[samples, width]`.
    pub fn outputs(&self, params: &[Tensor<1>], data: &Data) -> Vec<f32> {
        self.compute.outputs(params, data)
    }

    /// Graph with parameters `params`.
    pub fn graph(&self, params: &[Vec<f32>]) -> Graph {
        self.network().with_params(params)
    }
}

impl Score {
    /// Worth of one weight by its first and last value.
    pub fn of(self) -> fn(f32, f32) -> f32 {
        match self {
            Score::Increase => |start, end| end.abs() - start.abs(),
            Score::Magnitude => |_, end| end.abs(),
        }
    }
}

/// Step of `total` at which a ramp has reached its end.
fn ramp_end(total: usize) -> usize {
    (RAMP_END * total as f64) as usize
}

/// Units that remain at the share `done` of a ramp: `s = s_f + (s_i - s_f) (1 - done)³` for the share `s` that is gone.
fn cubic(from: &[usize], to: &[usize], done: f64) -> Vec<usize> {
    let left = (1.0 - done).max(0.0).powi(3);
    let one = |(&from, &to): (&usize, &usize)| {
        to + (from.saturating_sub(to) as f64 * left).ceil() as usize
    };
    from.iter().zip(to).map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ramps_fall_all_the_way_and_never_rise() {
        let mut before = 1000;
        for i in 0..=100 {
            let now = cubic(&[1000], &[100], f64::from(i) / 100.0)[0];
            assert!(now <= before);
            before = now;
        }
        assert_eq!(before, 100);
        assert_eq!(
            [0.0, 0.5, 1.0].map(|x| cubic(&[1000, 7], &[100, 7], x)),
            [vec![1000, 7], vec![213, 7], vec![100, 7]]
        );
    }
}
