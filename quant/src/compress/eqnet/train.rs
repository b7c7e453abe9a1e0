//! Training of a supernet.
//!
//! EQ-Net, section 3.3: each mini-batch runs through three sub-networks, and one step of the optimizer follows the sum of
//! their losses ("sandwich" with group progressive guidance):
//! ```text
//! H  highest widths, formats drawn per layer       L_H = CE(H, y)
//! R  widths and formats drawn per layer            L_R = g KL(H -> R) + (1 - g) CE(R, y)
//! L  lowest widths, formats drawn per layer        L_L = g KL(R -> L) + (1 - g) CE(L, y)
//! ```
//! Teachers learn nothing from their students.

use super::space::{Format, Space, SpaceOptions, SubnetConfig};
use super::supernet::{Frame, Supernet, remember};
use crate::train::checkpoint::choices;
use crate::train::compute::{Compute, Grads, Step};
use crate::train::data::{Data, draw_mix};
use crate::train::job::{Job, Scores, Slot};
use crate::train::score::Scorer;
use crate::train::trainer::{prepare, run_job};
use crate::train::var::host;
use crate::train::{Best, Config, Control, EpochReport, Event, Network, Place, Run, Wdr};
use crate::{Error, Samples};
use burn::tensor::{Device, Tensor};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use std::cell::RefCell;

/// Choices of the training of a supernet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Options {
    #[serde(flatten)]
    pub train: Config,
    pub space: SpaceOptions,
    /// Share of the teacher in the loss of R and L.
    pub guidance: f32,
    /// Train this configuration alone, with labels only: quantization-aware training.
    pub only: Option<SubnetConfig>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            train: Config {
                epochs: 10,
                batch: 64,
                wdr: Some(Wdr::default()),
                ..Config::default()
            },
            space: SpaceOptions::default(),
            guidance: 0.5,
            only: None,
        }
    }
}

impl Options {
    /// Check every choice against the network.
    ///
    /// # Errors
    /// Names the choice and its bounds.
    pub fn check(&self, network: &Network) -> Result<(), Error> {
        if !(0.0..=1.0).contains(&self.guidance) {
            return Err(Error::input("guidance must be from 0 to 1"));
        }
        self.train.check()?;
        let space = Space::new(network, &self.space)?;
        self.only.as_ref().map_or(Ok(()), |only| space.check(only))
    }
}

/// Result of a training.
#[derive(Clone, Debug)]
pub struct TrainedSupernet {
    pub supernet: Supernet,
    pub history: Vec<EpochReport>,
    pub best: Best,
    /// False after [`Control::Stop`].
    pub finished: bool,
}

/// Train a supernet that starts from the weights of `network`; the epoch is kept whose integer networks do best on `val`,
/// in the mean of [`scored`].
///
/// # Errors
/// As [`crate::train::train()`], and as [`Space::new`].
pub fn train(
    network: &Network,
    train: &Samples,
    val: &Samples,
    options: &Options,
    run: &Run,
    watch: &mut dyn FnMut(Event) -> Control,
) -> Result<TrainedSupernet, Error> {
    options.check(network)?;
    if run.place != Place::Cpu {
        return Err(Error::input(
            "device: supernets are trained on the processor",
        ));
    }
    let config = &options.train;
    let (data, val_data, task) = prepare(network, train, val, config)?;
    let (frame, initial) = Frame::start(network.clone(), &options.space, train)?;
    let mut choices = choices(options);
    remember(&mut choices, &frame);
    let checksums = [data.checksum(), val_data.checksum()];
    let mut job = SupernetJob {
        scorer: Scorer::new(train, val, &val_data, config.objective),
        compute: Compute::new(&frame.network, task, run.place.device()?),
        slots: frame.slots(),
        scored: match &options.only {
            Some(only) => vec![("only".into(), only.clone())],
            None => scored(&frame.space),
        },
        frame: &frame,
        options,
        data: &data,
        val: &val_data,
    };
    let done = run_job(&mut job, initial, config, choices, checksums, run, watch)?;
    Ok(TrainedSupernet {
        supernet: Supernet {
            frame: frame.clone(),
            params: done.params,
            statistics: None,
        },
        history: done.history,
        best: done.best,
        finished: done.finished,
    })
}

/// Configurations that are scored after every epoch: uniform, of the lowest, the middle and the highest width.
pub fn scored(space: &Space) -> Vec<(String, SubnetConfig)> {
    let bits = &space.options.bits;
    let mut widths = vec![bits[0], bits[bits.len() / 2], bits[bits.len() - 1]];
    widths.dedup();
    let uniform = |b: u8| (b.to_string(), space.uniform(b, b, Format::DEFAULT));
    widths.into_iter().map(uniform).collect()
}

struct SupernetJob<'a> {
    options: &'a Options,
    frame: &'a Frame,
    compute: Compute<'a>,
    data: &'a Data,
    val: &'a Data,
    scorer: Scorer<'a>,
    slots: Vec<Slot>,
    scored: Vec<(String, SubnetConfig)>,
}

impl SupernetJob<'_> {
    /// Configurations of one mini-batch, teachers first.
    fn draw(&self, rng: &mut ChaCha8Rng) -> Vec<SubnetConfig> {
        if let Some(only) = &self.options.only {
            return vec![only.clone()];
        }
        let space = &self.frame.space;
        let bits = &space.options.bits;
        let ends = [bits.last().copied(), None, bits.first().copied()];
        ends.map(|bits| space.random(rng, bits)).into()
    }

    /// The error that the gradient of parameter `i` is not finite.
    fn not_finite(&self, i: usize) -> Error {
        match i.checked_sub(self.frame.network.params().len()) {
            None => self.compute.not_finite(i),
            Some(i) => Error::input(format!(
                "the gradient of quantizer `{}` is not finite",
                self.frame.bank.slots()[i].name
            )),
        }
    }

    /// Why the loss of one of `configs` is not finite.
    fn blame(
        &self,
        params: &[Tensor<1>],
        configs: &[SubnetConfig],
        inputs: &[Tensor<1>],
        lead: usize,
    ) -> Error {
        let bad = |p: &Tensor<1>| host(p.clone()).iter().any(|v| !v.is_finite());
        let base = self.frame.network.params().len();
        if let Some(i) = params[base..].iter().position(bad) {
            let name = &self.frame.bank.slots()[i].name;
            return Error::input(format!("quantizer `{name}` is not finite"));
        }
        let leaves = |i: usize| params[i].clone();
        let whole = |c: &&SubnetConfig| {
            let out = self
                .frame
                .forward(&self.compute, c, &leaves, None, inputs, lead);
            host(out).iter().any(|v| !v.is_finite())
        };
        let config = configs.iter().find(whole).unwrap_or(&configs[0]);
        let hooks = self.frame.hooks(config, &leaves, None);
        self.compute.blame(&params[..base], inputs, lead, hooks)
    }
}

impl Job for SupernetJob<'_> {
    fn slots(&self) -> &[Slot] {
        &self.slots
    }

    fn samples(&self) -> usize {
        self.data.len()
    }

    fn device(&self) -> &Device {
        &self.compute.device
    }

    fn step(
        &mut self,
        params: &[Tensor<1>],
        picks: &[usize],
        rng: &mut ChaCha8Rng,
    ) -> Result<Step, Error> {
        let configs = self.draw(rng);
        let mixup = self.options.train.mixup;
        let drawn = (mixup > 0.0).then(|| draw_mix(picks, mixup, rng));
        let mix = drawn
            .as_ref()
            .map(|(share, others)| (*share, others.as_slice()));
        let inputs = self.compute.inputs(self.data, picks, mix);
        // Parameters that no sub-network reads get no gradient.
        let leaves: RefCell<Vec<Option<Tensor<1>>>> = RefCell::new(vec![None; params.len()]);
        let leaf = |i: usize| {
            let made = || params[i].clone().autodiff().require_grad();
            leaves.borrow_mut()[i].get_or_insert_with(made).clone()
        };
        let g = self.options.guidance;
        let (mut total, mut teacher, mut correct) = (None::<Tensor<1>>, None::<Tensor<2>>, 0);
        for config in &configs {
            let out = self
                .frame
                .forward(&self.compute, config, &leaf, None, &inputs, picks.len());
            let labels = self.compute.loss(out.clone(), self.data, picks, mix);
            let loss = match teacher.take() {
                None => {
                    correct = self.compute.correct(out.clone().inner(), self.data, picks);
                    labels
                }
                Some(teacher) => {
                    let distance = self.compute.task.distill(out.clone(), teacher);
                    distance.mul_scalar(g) + labels.mul_scalar(1.0 - g)
                }
            };
            total = Some(match total {
                Some(sum) => sum + loss,
                None => loss,
            });
            teacher = Some(out);
        }
        let loss = total.expect("at least one configuration");
        let network = &params[..self.frame.network.params().len()];
        let (shape_loss, extra) = self.compute.shape(self.options.train.wdr.as_ref(), network);
        let value = host(loss.clone().inner())[0] / configs.len() as f32 + shape_loss;
        if !value.is_finite() {
            return Err(self.blame(params, &configs, &inputs, picks.len()));
        }
        let grads =
            Grads::of(&loss, &leaves.into_inner(), extra).map_err(|i| self.not_finite(i))?;
        Ok(Step {
            loss: value,
            correct,
            grads: grads.list,
            norm: grads.norm,
        })
    }

    fn accuracy(&self, correct: usize, seen: usize) -> Option<f32> {
        self.compute.accuracy(correct, seen)
    }

    fn score(&mut self, params: &[Tensor<1>]) -> Result<Scores, Error> {
        let leaves = |i: usize| params[i].clone();
        let supernet = Supernet {
            frame: self.frame.clone(),
            params: params.iter().map(|p| host(p.clone())).collect(),
            statistics: None,
        };
        let head = self.frame.network.head();
        let calibration = Data::new(self.frame.network.graph(), self.scorer.calibration())?;
        let count = self.scored.len() as f32;
        let (mut loss, mut accuracy, mut configurations) = (0.0, None, Vec::new());
        let mut failed = None;
        for (name, config) in &self.scored {
            let frame = self.frame;
            let folds = frame.folds(config, &leaves, &calibration)?;
            let (l, a) = self.compute.evaluate_with(self.val, &mut |inputs, lead| {
                frame.forward(&self.compute, config, &leaves, folds.as_ref(), inputs, lead)
            });
            loss += l / count;
            accuracy = a.map(|a| accuracy.unwrap_or(0.0) + a / count);
            let made = supernet.quantized(config, self.scorer.calibration());
            let score =
                made.and_then(|(graph, given)| self.scorer.score_given(&graph, head, &given));
            match score {
                Ok(score) => configurations.push((name.clone(), score as f32)),
                Err(e) => failed = Some(format!("configuration {name}: {e}")),
            }
        }
        let mean = configurations.iter().map(|(_, s)| s).sum::<f32>() / count;
        Ok(Scores {
            val_loss: loss,
            val_accuracy: accuracy,
            int: failed.map_or(Ok(mean), Err),
            configurations,
        })
    }
}
