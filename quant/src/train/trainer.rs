//! The training loop.

use super::checkpoint::{Best, Checkpoint, Choices, EpochReport, Header, choices};
use super::compute::{Compute, Step};
use super::config::Config;
use super::data::{Data, draw_mix, shuffled};
use super::device::Place;
use super::job::{Job, Scores, Slot};
use super::network::Network;
use super::objective::{Objective, Task};
use super::optimizer::Optimizer;
use super::score::Scorer;
use super::var::{host, vector};
use crate::ir::Graph;
use crate::{Error, Samples};
use burn::tensor::{Device, Tensor};
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
    let (data, val_data, task) = prepare(network, train, val, config)?;
    let checksums = [data.checksum(), val_data.checksum()];
    let mut job = FloatJob {
        scorer: Scorer::new(train, val, &val_data, config.objective),
        compute: Compute::new(network, task, run.place.device()?),
        slots: network.params().iter().map(Slot::from).collect(),
        config,
        data: &data,
        val: &val_data,
    };
    let done = run_job(
        &mut job,
        network.initial(),
        config,
        choices(config),
        checksums,
        run,
        watch,
    )?;
    Ok(Trained {
        graph: network.with_params(&done.params),
        history: done.history,
        best: done.best,
        finished: done.finished,
    })
}

/// Mean loss of a float network on `samples`, and share of correct samples where there are classes; objective and its
/// weights are those of `config`.
///
/// # Errors
/// Samples that do not fit the network or the objective.
pub fn evaluate(
    network: &Network,
    samples: &Samples,
    config: &Config,
) -> Result<(f32, Option<f32>), Error> {
    let (data, _, task) = prepare(network, samples, samples, config)?;
    let device = Place::Cpu.device()?;
    let initial = network.initial().into_iter();
    let params: Vec<Tensor<1>> = initial.map(|v| vector(v, &device)).collect();
    Ok(Compute::new(network, task, device).evaluate(&params, &data))
}

/// Check choices and data of a training; gives training data, validation data and the objective.
///
/// # Errors
/// Names what does not fit.
pub fn prepare(
    network: &Network,
    train: &Samples,
    val: &Samples,
    config: &Config,
) -> Result<(Data, Data, Task), Error> {
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
    Ok((data, val_data, task))
}

/// Training of a float network.
struct FloatJob<'a> {
    config: &'a Config,
    data: &'a Data,
    val: &'a Data,
    compute: Compute<'a>,
    scorer: Scorer<'a>,
    slots: Vec<Slot>,
}

impl Job for FloatJob<'_> {
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
        let drawn = (self.config.mixup > 0.0).then(|| draw_mix(picks, self.config.mixup, rng));
        let mix = drawn
            .as_ref()
            .map(|(share, others)| (*share, others.as_slice()));
        let wdr = self.config.wdr.as_ref();
        self.compute.step(params, self.data, picks, mix, wdr)
    }

    fn accuracy(&self, correct: usize, seen: usize) -> Option<f32> {
        self.compute.accuracy(correct, seen)
    }

    fn score(&mut self, params: &[Tensor<1>]) -> Result<Scores, Error> {
        let (val_loss, val_accuracy) = self.compute.evaluate(params, self.val);
        let values: Vec<Vec<f32>> = params.iter().map(|p| host(p.clone())).collect();
        let int = self.scorer.score(self.compute.network, &values);
        Ok(Scores {
            val_loss,
            val_accuracy,
            int: int.map(|s| s as f32).map_err(|e| e.to_string()),
            configurations: Vec::new(),
        })
    }
}

/// Result of a loop.
pub struct Done {
    /// Parameters of the best epoch.
    pub params: Vec<Vec<f32>>,
    pub history: Vec<EpochReport>,
    pub best: Best,
    pub finished: bool,
}

/// Run `job` from `initial`, or from its checkpoint. `choices` and `checksums` (of training and validation data) tell
/// checkpoints of different trainings apart.
///
/// # Errors
/// Of the job; checkpoints that do not fit.
pub fn run_job(
    job: &mut dyn Job,
    initial: Vec<Vec<f32>>,
    config: &Config,
    choices: Choices,
    checksums: [u32; 2],
    run: &Run,
    watch: &mut dyn FnMut(Event) -> Control,
) -> Result<Done, Error> {
    let device = job.device().clone();
    let params: Vec<Tensor<1>> = initial.into_iter().map(|v| vector(v, &device)).collect();
    let mut trainer = Trainer {
        optimizer: Optimizer::new(config.optimizer, config.weight_decay, config.clip, &params),
        header: Header::new(choices, checksums, job.slots()),
        decays: job.slots().iter().map(|s| s.decays).collect(),
        best_params: Vec::new(),
        job,
        config,
        run,
        params,
    };
    trainer.run(watch)
}

struct Trainer<'a> {
    config: &'a Config,
    run: &'a Run,
    job: &'a mut dyn Job,
    params: Vec<Tensor<1>>,
    decays: Vec<bool>,
    optimizer: Optimizer,
    header: Header,
    best_params: Vec<Vec<f32>>,
}

impl Trainer<'_> {
    fn run(&mut self, watch: &mut dyn FnMut(Event) -> Control) -> Result<Done, Error> {
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
        let order = shuffled(self.job.samples(), &mut rng);
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
                accuracy: self.job.accuracy(at.correct, at.seen),
            };
            if watch(event) == Control::Stop && b + 1 < batches {
                self.save()?;
                return Ok(Control::Stop);
            }
        }
        let at = self.header.position;
        let loss = f64::from_bits(at.loss_bits) / at.seen.max(1) as f64;
        let seen = (loss as f32, self.job.accuracy(at.correct, at.seen));
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
        let epoch = self.header.position.epoch;
        let step = self
            .job
            .step(&self.params, picks, rng)
            .map_err(|e| e.within(format!("epoch {}, batch {}", epoch + 1, batch + 1)))?;
        let per_epoch = batches as u64;
        let done = epoch as u64 * per_epoch + batch as u64;
        let total = self.config.epochs as u64 * per_epoch;
        let lr = self.config.lr * self.config.schedule.share(done, total, per_epoch);
        let (params, decays) = (&mut self.params, &self.decays);
        self.optimizer
            .step(decays, params, step.grads, step.norm, lr);
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
        let scores = self.job.score(&self.params)?;
        let val_loss = scores.val_loss;
        let (int_score, int_error) = match scores.int {
            Ok(score) => (Some(score), None),
            Err(text) => (None, Some(text)),
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
            self.best_params = self.params.iter().map(|p| host(p.clone())).collect();
        }
        self.header.history.push(EpochReport {
            epoch,
            loss: seen.map(|(loss, _)| loss),
            accuracy: seen.and_then(|(_, accuracy)| accuracy),
            val_loss,
            val_accuracy: scores.val_accuracy,
            int_score,
            int_error,
            configurations: scores.configurations,
            best,
        });
        Ok(())
    }

    fn save(&mut self) -> Result<(), Error> {
        let Some(folder) = &self.run.checkpoint else {
            return Ok(());
        };
        let checkpoint = Checkpoint {
            header: self.header.clone(),
            params: self.params.iter().map(|p| host(p.clone())).collect(),
            optimizer: self.optimizer.state(),
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
            &self.header.config,
            self.header.data,
            self.job.slots(),
        )?;
        let device = self.job.device();
        let fits = self.optimizer.restore(saved.optimizer, device);
        if !fits {
            let text = "holds an optimizer of other parameters";
            return Err(Error::file(&Checkpoint::file(folder), text));
        }
        self.params = saved
            .params
            .into_iter()
            .map(|v| vector(v, device))
            .collect();
        self.best_params = saved.best_params;
        self.header = saved.header;
        Ok(())
    }

    fn result(&self, finished: bool) -> Result<Done, Error> {
        let best = self.header.best;
        let best = best.ok_or_else(|| Error::input("no epoch could be lowered to integers"))?;
        Ok(Done {
            params: self.best_params.clone(),
            history: self.header.history.clone(),
            best,
            finished,
        })
    }
}
