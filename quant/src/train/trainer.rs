//! The training loop.

use super::checkpoint::{Best, Checkpoint, EpochReport, Header};
use super::compute::Compute;
use super::config::Config;
use super::data::{Data, draw_mix, shuffled};
use super::device::Place;
use super::network::Network;
use super::objective::{Objective, Task};
use super::optimizer::Optimizer;
use super::score::Scorer;
use super::var::{host, vector};
use crate::ir::Graph;
use crate::{Error, Samples};
use burn::tensor::Tensor;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use std::path::PathBuf;

/// Where a training runs and keeps its state.
#[derive(Clone, Debug, Default)]
pub struct Run {
    pub place: Place,
    /// Folder of checkpoints, one after every epoch.
    pub checkpoint: Option<PathBuf>,
    /// Go on from the checkpoint.
    pub resume: bool,
}

/// What a training reports while it runs.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// After each mini-batch: batches done in this epoch of all in an epoch, samples seen in it, mean loss and share
    /// of correct samples so far.
    Step {
        epoch: usize,
        batch: usize,
        batches: usize,
        seen: usize,
        loss: f32,
        accuracy: Option<f32>,
    },
    /// After each epoch, and before the first.
    Epoch(&'a EpochReport),
}

/// Answer to an [`Event`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    Continue,
    /// Save a checkpoint and return.
    Stop,
}

/// Result of a training.
#[derive(Clone, Debug)]
pub struct Trained {
    /// The network with the best parameters.
    pub graph: Graph,
    pub history: Vec<EpochReport>,
    pub best: Best,
    /// False after [`Control::Stop`].
    pub finished: bool,
}

/// Train `network` on `train`; the parameters whose 8-bit network does best on `val` are kept.
///
/// # Errors
/// Data, choices or a checkpoint that do not fit; a node that cannot be lowered to integers; a loss or gradient that is
/// not finite, with the first layer where it is not.
pub fn train(
    network: &Network,
    train: &Samples,
    val: &Samples,
    config: &Config,
    run: &Run,
    watch: &mut dyn FnMut(Event) -> Control,
) -> Result<Trained, Error> {
    config.check()?;
    let data = Data::new(network.graph(), train).map_err(|e| e.within("training"))?;
    let val_data = Data::new(network.graph(), val).map_err(|e| e.within("validation"))?;
    let task = Task::new(
        network,
        &data,
        config.objective,
        &config.class_weights,
        config.label_smoothing,
    )?;
    if config.objective == Objective::Classify {
        val_data
            .check_labels(task.classes)
            .map_err(|e| e.within("validation"))?;
    }
    let device = run.place.device()?;
    let initial = network.initial();
    let params: Vec<Tensor<1>> = initial.into_iter().map(|v| vector(v, &device)).collect();
    let optimizer = Optimizer::new(config.optimizer, config.weight_decay, config.clip, &params);
    let checksums = [data.checksum(), val_data.checksum()];
    let mut trainer = Trainer {
        scorer: Scorer::new(train, val, &val_data, config.objective),
        header: Header::new(config.clone(), checksums, network.params()),
        best_params: Vec::new(),
        compute: Compute::new(network, task, device),
        config,
        run,
        data: &data,
        val: &val_data,
        params,
        optimizer,
    };
    trainer.run(watch)
}

struct Trainer<'a> {
    config: &'a Config,
    run: &'a Run,
    data: &'a Data,
    val: &'a Data,
    compute: Compute<'a>,
    scorer: Scorer<'a>,
    params: Vec<Tensor<1>>,
    optimizer: Optimizer,
    header: Header,
    best_params: Vec<Vec<f32>>,
}

impl Trainer<'_> {
    fn run(&mut self, watch: &mut dyn FnMut(Event) -> Control) -> Result<Trained, Error> {
        match (&self.run.checkpoint, self.run.resume) {
            (Some(_), true) => self.resume()?,
            (None, true) => {
                return Err(Error::input("to resume, name the folder of the checkpoint"));
            }
            (_, false) => {
                self.finish_epoch(0, None)?;
                let first = &self.header.history[0];
                if let Some(text) = &first.int_error {
                    return Err(Error::input(text.clone()));
                }
                if watch(Event::Epoch(first)) == Control::Stop {
                    self.save()?;
                    return self.result(false);
                }
            }
        }
        while self.header.position.epoch < self.config.epochs {
            if self.epoch(watch)? == Control::Stop {
                return self.result(false);
            }
        }
        self.result(true)
    }

    /// The rest of the epoch that the position is in.
    fn epoch(&mut self, watch: &mut dyn FnMut(Event) -> Control) -> Result<Control, Error> {
        let epoch = self.header.position.epoch;
        let mut rng = ChaCha8Rng::seed_from_u64(self.config.seed);
        rng.set_stream(epoch as u64 + 1);
        let order = shuffled(self.data.len(), &mut rng);
        if self.header.position.batch > 0 {
            rng.set_word_pos(u128::from(self.header.position.word));
        }
        let batches = order.len().div_ceil(self.config.batch);
        for (b, picks) in order.chunks(self.config.batch).enumerate() {
            if b < self.header.position.batch {
                continue;
            }
            self.step(picks, b, batches, &mut rng)?;
            let at = &mut self.header.position;
            at.batch = b + 1;
            at.word = rng.get_word_pos() as u64;
            let event = Event::Step {
                epoch: epoch + 1,
                batch: b + 1,
                batches,
                seen: at.seen,
                loss: (f64::from_bits(at.loss_bits) / at.seen as f64) as f32,
                accuracy: self.compute.accuracy(at.correct, at.seen),
            };
            if watch(event) == Control::Stop && b + 1 < batches {
                self.save()?;
                return Ok(Control::Stop);
            }
        }
        let at = self.header.position;
        let loss = f64::from_bits(at.loss_bits) / at.seen.max(1) as f64;
        let seen = (loss as f32, self.compute.accuracy(at.correct, at.seen));
        self.header.position = Default::default();
        self.header.position.epoch = epoch + 1;
        self.finish_epoch(epoch + 1, Some(seen))?;
        self.save()?;
        let last = self.header.history.last().expect("just added");
        Ok(watch(Event::Epoch(last)))
    }

    /// One mini-batch forward, backward, and a step of the optimizer.
    fn step(
        &mut self,
        picks: &[usize],
        batch: usize,
        batches: usize,
        rng: &mut ChaCha8Rng,
    ) -> Result<(), Error> {
        let drawn = (self.config.mixup > 0.0).then(|| draw_mix(picks, self.config.mixup, rng));
        let mix = drawn
            .as_ref()
            .map(|(share, others)| (*share, others.as_slice()));
        let epoch = self.header.position.epoch;
        let step = self
            .compute
            .step(&self.params, self.data, picks, mix)
            .map_err(|e| e.within(format!("epoch {}, batch {}", epoch + 1, batch + 1)))?;
        let per_epoch = batches as u64;
        let done = epoch as u64 * per_epoch + batch as u64;
        let total = self.config.epochs as u64 * per_epoch;
        let lr = self.config.lr * self.config.schedule.share(done, total, per_epoch);
        let network = self.compute.network;
        self.optimizer.step(
            network.params(),
            &mut self.params,
            step.grads,
            step.norm,
            lr,
        );
        let at = &mut self.header.position;
        let sum = f64::from_bits(at.loss_bits) + f64::from(step.loss) * picks.len() as f64;
        at.loss_bits = sum.to_bits();
        at.seen += picks.len();
        at.correct += step.correct;
        Ok(())
    }

    /// Score the network after epoch `epoch` and keep it if none was better.
    fn finish_epoch(
        &mut self,
        epoch: usize,
        seen: Option<(f32, Option<f32>)>,
    ) -> Result<(), Error> {
        let params: Vec<Vec<f32>> = self.params.iter().map(|p| host(p.clone())).collect();
        let (val_loss, val_accuracy) = self.compute.evaluate(&self.params, self.val);
        let (int_score, int_error) = match self.scorer.score(self.compute.network, &params) {
            Ok(score) => (Some(score as f32), None),
            Err(e) => (None, Some(e.to_string())),
        };
        let better = |score: f32| {
            self.header
                .best
                .is_none_or(|b| score > b.score || (score == b.score && val_loss < b.val_loss))
        };
        let best = int_score.is_some_and(better);
        if let (true, Some(score)) = (best, int_score) {
            self.header.best = Some(Best {
                epoch,
                score,
                val_loss,
            });
            self.best_params = params;
        }
        self.header.history.push(EpochReport {
            epoch,
            loss: seen.map(|(loss, _)| loss),
            accuracy: seen.and_then(|(_, accuracy)| accuracy),
            val_loss,
            val_accuracy,
            int_score,
            int_error,
            best,
        });
        Ok(())
    }

    fn save(&mut self) -> Result<(), Error> {
        let Some(folder) = &self.run.checkpoint else {
            return Ok(());
        };
        let (steps, slots) = self.optimizer.state();
        self.header.steps = steps;
        let checkpoint = Checkpoint {
            header: self.header.clone(),
            params: self.params.iter().map(|p| host(p.clone())).collect(),
            slots,
            best_params: self.best_params.clone(),
        };
        checkpoint.save(folder)
    }

    fn resume(&mut self) -> Result<(), Error> {
        let Some(folder) = &self.run.checkpoint else {
            return Ok(());
        };
        let saved = Checkpoint::load(folder)?;
        saved.check(
            folder,
            self.config,
            self.header.data,
            self.compute.network.params(),
        )?;
        let fits = self
            .optimizer
            .restore(saved.header.steps, saved.slots, &self.compute.device);
        if !fits {
            let text = "holds an optimizer of other parameters";
            return Err(Error::file(&Checkpoint::file(folder), text));
        }
        self.params = saved
            .params
            .into_iter()
            .map(|v| vector(v, &self.compute.device))
            .collect();
        self.best_params = saved.best_params;
        self.header = saved.header;
        Ok(())
    }

    fn result(&self, finished: bool) -> Result<Trained, Error> {
        let best = self.header.best;
        let best = best.ok_or_else(|| Error::input("no epoch could be lowered to integers"))?;
        Ok(Trained {
            graph: self.compute.network.with_params(&self.best_params),
            history: self.header.history.clone(),
            best,
            finished,
        })
    }
}
