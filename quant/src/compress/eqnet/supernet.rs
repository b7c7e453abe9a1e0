//! A trained supernet: weights, the quantizers of all widths and formats, and any of its sub-networks.

use super::bank::{Bank, Leaves};
use super::forward::{Folds, Quantized};
use super::norm::Statistics;
use super::space::{Space, SpaceOptions, SubnetConfig};
use super::start::Counts;
use crate::import;
use crate::ir::Graph;
use crate::lower::given::Given;
use crate::train::checkpoint::{Checkpoint, Choices};
use crate::train::compute::Compute;
use crate::train::data::Data;
use crate::train::job::Slot;
use crate::train::objective::{Task, class_of};
use crate::train::score::Scorer;
use crate::train::var::{host, vector};
use crate::train::{Config, Hooks, Network, Objective, Place, Var};
use crate::{Error, Samples};
use burn::tensor::{Device, Tensor};
use ndarray::{ArrayD, Axis};
use serde::Serialize;
use std::path::Path;

/// Training samples that first steps come from.
const START_SAMPLES: usize = 256;
/// Samples that statistics of normalization come from, at most.
const STATISTICS_SAMPLES: usize = 1024;
/// Values below this are rounding of 0: the tensor is still called unsigned.
const NEGATIVE: f32 = -1e-9;
/// File of the float network in the folder of a supernet.
pub const NETWORK_FILE: &str = "network.onnx";

/// A network, its space and its quantizers, without values.
#[derive(Clone, Debug)]
pub struct Frame {
    pub network: Network,
    pub space: Space,
    pub bank: Bank,
    /// Per tensor: never negative.
    pub unsigned: Vec<bool>,
}

impl Frame {
    fn new(network: Network, space: Space, unsigned: Vec<bool>) -> Frame {
        let bank = Bank::new(&space, &unsigned, network.params().len());
        Frame {
            network,
            space,
            bank,
            unsigned,
        }
    }

    /// A frame for `network`, and first values: its weights, and steps from the first samples of `train`.
    ///
    /// # Errors
    /// As [`Space::new`]; samples that do not fit.
    pub fn start(
        network: Network,
        options: &SpaceOptions,
        train: &Samples,
    ) -> Result<(Frame, Vec<Vec<f32>>), Error> {
        let space = Space::new(&network, options)?;
        let (values, outputs) = observed(&network, &space, train)?;
        let unsigned = values.iter().map(|v| v.iter().all(|&v| v >= NEGATIVE));
        let unsigned: Vec<bool> = unsigned.collect();
        let sites: Vec<Counts> = values.iter().map(|v| Counts::of_many(v)).collect();
        let frame = Frame::new(network, space, unsigned);
        let mut params = frame.network.initial();
        let weights: Vec<Vec<f32>> = frame.weight_params().map(|i| params[i].clone()).collect();
        params.extend(frame.bank.start(&frame.space, &weights, &sites, &outputs));
        Ok((frame, params))
    }

    /// Per layer the parameter that its weights are.
    pub fn weight_params(&self) -> impl Iterator<Item = usize> + '_ {
        let of = |node| self.network.weights_of(node);
        let layers = self.space.layers.iter();
        layers.map(move |l| of(l.node).expect("weights of layers are learned"))
    }

    /// Execute `config` on a mini-batch, with the parameters that `leaves` gives; normalization is that of the batch
    /// where `folds` does not say what it has become.
    pub fn forward(
        &self,
        compute: &Compute,
        config: &SubnetConfig,
        leaves: Leaves,
        folds: Option<&Folds>,
        inputs: &[Tensor<1>],
        lead: usize,
    ) -> Tensor<2> {
        let params: Vec<Tensor<1>> = (0..self.network.params().len()).map(leaves).collect();
        compute.forward(
            &params,
            inputs,
            lead,
            &mut self.hooks(config, leaves, folds),
        )
    }

    /// Hooks that quantize what layers read.
    pub fn hooks<'a>(
        &'a self,
        config: &'a SubnetConfig,
        leaves: Leaves<'a>,
        folds: Option<&'a Folds>,
    ) -> Quantized<'a> {
        let mut hooks = Quantized::new(&self.network, &self.space, &self.bank, config, leaves);
        hooks.folds = folds;
        hooks
    }

    /// What normalization becomes in `config`, with the statistics of the first samples of `data`; `None` for networks
    /// without.
    ///
    /// # Errors
    /// A device that is missing.
    pub fn folds(
        &self,
        config: &SubnetConfig,
        leaves: Leaves,
        data: &Data,
    ) -> Result<Option<Folds>, Error> {
        if self.space.options.batch_norm.is_empty() {
            return Ok(None);
        }
        let mut hooks = self.hooks(config, leaves, None);
        let n = data.len().min(STATISTICS_SAMPLES);
        listen(&self.network, data, n, leaves, &mut hooks)?;
        let one = |(at, seen): (usize, &Option<Statistics>)| {
            let (norm, seen) = (self.bank.norm(at)?, seen.as_ref()?);
            let bias = self.network.bias_of(self.space.layers[at].node)?;
            let values = |i: usize| host(leaves(i));
            Some(seen.fold(&values(bias), &values(norm.scale), &values(norm.shift)))
        };
        let seen = hooks.statistics.iter().enumerate();
        Ok(Some(seen.map(one).collect()))
    }

    /// What is learned: parameters of the network, then of the quantizers.
    pub fn slots(&self) -> Vec<Slot> {
        let own = self.network.params().iter().map(Slot::from);
        own.chain(self.bank.slots().iter().cloned()).collect()
    }
}

/// What the layers of the float network read, per tensor, and the spread of what normalized layers give.
type Observed = (Vec<Vec<f32>>, Vec<Option<Statistics>>);

fn observed(network: &Network, space: &Space, train: &Samples) -> Result<Observed, Error> {
    struct Listener<'a> {
        space: &'a Space,
        values: Vec<Vec<f32>>,
        heard: Vec<bool>,
        outputs: Vec<Option<Statistics>>,
    }
    impl Hooks for Listener<'_> {
        fn operand(&mut self, node: usize, index: usize, x: Var) -> Var {
            let layer = self.space.layers.iter().find(|l| l.node == node);
            if let Some(l) = layer.filter(|l| index == 0 && !self.heard[l.site]) {
                self.values[l.site].extend(x.to_vec());
                self.heard[l.site] = true;
            }
            x
        }

        fn output(&mut self, node: usize, x: &Var) {
            let at = self.space.layers.iter().position(|l| l.node == node);
            if let Some(at) = at.filter(|&at| self.space.layers[at].norm) {
                self.outputs[at] = Some(Statistics::of(x));
            }
        }
    }
    let n = train.len().min(START_SAMPLES);
    let head = |x: &ArrayD<f32>| x.slice_axis(Axis(0), (0..n).into()).to_owned();
    let head = Samples::new(train.inputs.iter().map(head).collect());
    let device = Place::Cpu.device()?;
    let initial = network.initial().into_iter();
    let params: Vec<Tensor<1>> = initial.map(|v| vector(v, &device)).collect();
    let mut listener = Listener {
        space,
        values: vec![Vec::new(); space.sites.len()],
        heard: vec![false; space.sites.len()],
        outputs: vec![None; space.layers.len()],
    };
    let data = Data::new(network.graph(), &head)?;
    listen(network, &data, n, &|i| params[i].clone(), &mut listener)?;
    Ok((listener.values, listener.outputs))
}

/// Run the first `n` samples of `data` at once, for what `hooks` see.
pub fn listen(
    network: &Network,
    data: &Data,
    n: usize,
    leaves: Leaves,
    hooks: &mut dyn Hooks,
) -> Result<(), Error> {
    let device = Place::Cpu.device()?;
    let params: Vec<Tensor<1>> = (0..network.params().len()).map(leaves).collect();
    let picks: Vec<usize> = (0..n).collect();
    let batch = data.batch(&picks, None).into_iter();
    let inputs: Vec<Tensor<1>> = batch.map(|v| vector(v, &device)).collect();
    network.forward(&params, &network.constants(&device), &inputs, n, hooks);
    Ok(())
}

/// A supernet with its values.
#[derive(Clone, Debug)]
pub struct Supernet {
    pub(super) frame: Frame,
    pub(super) params: Vec<Vec<f32>>,
    /// Samples for statistics of normalization.
    pub(super) statistics: Option<Samples>,
}

/// How well a configuration does.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Score {
    /// Mean loss of the training's objective.
    pub loss: f32,
    /// Share of samples whose highest score is the label; `None` without classes.
    pub accuracy: Option<f32>,
}

/// Choices of the training that are needed to read its result again.
const SPACE: &str = "space";
const UNSIGNED: &str = "unsigned";

/// Keep with the choices of a training what only its data tells.
pub fn remember(choices: &mut Choices, frame: &Frame) {
    choices.insert(UNSIGNED.into(), frame.unsigned.clone().into());
}

impl Supernet {
    /// A supernet without training: the weights of `network`, and the steps with the least error of them and of what the
    /// first samples of `train` give.
    ///
    /// # Errors
    /// As [`Space::new`]; samples that do not fit.
    pub fn untrained(
        network: &Network,
        options: &SpaceOptions,
        train: &Samples,
    ) -> Result<Supernet, Error> {
        let (frame, params) = Frame::start(network.clone(), options, train)?;
        Ok(Supernet {
            frame,
            params,
            statistics: None,
        })
    }

    /// The supernet that a training has left in `folder`; the best so far where it has not finished.
    ///
    /// # Errors
    /// Names the file that is missing, damaged, or of something else.
    pub fn load(folder: &Path) -> Result<(Supernet, Config), Error> {
        let model = folder.join(NETWORK_FILE);
        let graph = import::load(&model)?;
        let network = Network::new(graph).map_err(|e| Error::file(&model, e.to_string()))?;
        let saved = Checkpoint::load(folder)?;
        let fail = |text: &str| Error::file(&Checkpoint::file(folder), text);
        let read = |name: &str| saved.header.config.get(name).cloned();
        let config = serde_json::Value::Object(saved.header.config.clone());
        let options = read(SPACE).and_then(|v| serde_json::from_value::<SpaceOptions>(v).ok());
        let unsigned = read(UNSIGNED).and_then(|v| serde_json::from_value::<Vec<bool>>(v).ok());
        let (Some(options), Some(unsigned)) = (options, unsigned) else {
            return Err(fail(
                "is the checkpoint of another training, not of a supernet",
            ));
        };
        let config: Config = serde_json::from_value(config)
            .map_err(|e| fail(&format!("is of another version: {e}")))?;
        let space = Space::new(&network, &options)?;
        if unsigned.len() != space.sites.len() {
            return Err(fail("belongs to another network"));
        }
        let frame = Frame::new(network, space, unsigned);
        saved.check_slots(folder, &frame.slots())?;
        match saved.best_params.is_empty() {
            true => Err(fail(
                "holds no network yet that could be lowered to integers",
            )),
            false => Ok((
                Supernet {
                    frame,
                    params: saved.best_params,
                    statistics: None,
                },
                config,
            )),
        }
    }

    /// Take the statistics of normalization from `samples`, in place of those that configurations are scored on.
    #[must_use]
    pub fn with_statistics(mut self, samples: Samples) -> Supernet {
        self.statistics = Some(samples);
        self
    }

    /// Its choices.
    pub fn space(&self) -> &Space {
        &self.frame.space
    }

    /// The float network with its weights.
    pub fn network(&self) -> &Network {
        &self.frame.network
    }

    /// Values of all parameters on `device`.
    pub(super) fn tensors(&self, device: &Device) -> Vec<Tensor<1>> {
        let values = self.params.iter().cloned();
        values.map(|v| vector(v, device)).collect()
    }

    /// Scores configurations on `data`; `config` is that of the training.
    ///
    /// # Errors
    /// Data that does not fit the network or the objective.
    pub fn evaluator<'a>(
        &'a self,
        samples: &'a Samples,
        config: &Config,
    ) -> Result<Evaluator<'a>, Error> {
        let network = &self.frame.network;
        let data = Data::new(network.graph(), samples)?;
        let smoothing = config.label_smoothing;
        let task = Task::new(
            network,
            &data,
            config.objective,
            &config.class_weights,
            smoothing,
        )?;
        let device = Place::Cpu.device()?;
        let statistics = self.statistics.as_ref();
        let statistics = statistics
            .map(|s| Data::new(network.graph(), s))
            .transpose()?;
        Ok(Evaluator {
            supernet: self,
            params: self.tensors(&device),
            compute: Compute::new(network, task, device),
            objective: config.objective,
            statistics,
            samples,
            data,
        })
    }
}

/// A supernet and data to score its configurations on, without integers: fast, and the same figures every time.
pub struct Evaluator<'a> {
    supernet: &'a Supernet,
    params: Vec<Tensor<1>>,
    compute: Compute<'a>,
    objective: Objective,
    statistics: Option<Data>,
    samples: &'a Samples,
    data: Data,
}

impl Evaluator<'_> {
    /// Loss and accuracy of `config`.
    ///
    /// # Errors
    /// A configuration of another space.
    pub fn score(&self, config: &SubnetConfig) -> Result<Score, Error> {
        let frame = &self.supernet.frame;
        frame.space.check(config)?;
        let leaves = |i: usize| self.params[i].clone();
        let folds = self.folds(config)?;
        let (loss, accuracy) = self.compute.evaluate_with(&self.data, &mut |inputs, lead| {
            frame.forward(&self.compute, config, &leaves, folds.as_ref(), inputs, lead)
        });
        Ok(Score { loss, accuracy })
    }

    /// Score of the integer network of `config` on the engine: accuracy, or negative mean squared error.
    ///
    /// # Errors
    /// A configuration of another space, a layer that cannot be lowered.
    pub fn int_score(&self, config: &SubnetConfig) -> Result<f64, Error> {
        let (scorer, graph, given) = self.integers(config)?;
        let head = self.supernet.frame.network.head();
        scorer.score_given(&graph, head, &given)
    }

    /// Share of samples that the integer network of `config` puts into the class that the quantized floats of `float`
    /// choose, which usually is the same configuration.
    ///
    /// # Errors
    /// As [`Evaluator::int_score`].
    pub fn agreement(&self, config: &SubnetConfig, float: &SubnetConfig) -> Result<f64, Error> {
        let (scorer, graph, given) = self.integers(config)?;
        let head = self.supernet.frame.network.head();
        let classes = scorer.classes(&graph, head, &given)?;
        let floats = self.outputs(float)?;
        let pairs = classes.iter().zip(&floats);
        let same = pairs.filter(|(c, row)| **c == class_of(row, 0.0)).count();
        Ok(same as f64 / floats.len() as f64)
    }

    fn folds(&self, config: &SubnetConfig) -> Result<Option<Folds>, Error> {
        let leaves = |i: usize| self.params[i].clone();
        let data = self.statistics.as_ref().unwrap_or(&self.data);
        self.supernet.frame.folds(config, &leaves, data)
    }

    fn integers(&self, config: &SubnetConfig) -> Result<(Scorer<'_>, Graph, Given), Error> {
        let scorer = Scorer::new(self.samples, self.samples, &self.data, self.objective);
        let (graph, given) = self.supernet.quantized(config, scorer.calibration())?;
        Ok((scorer, graph, given))
    }

    /// What the loss is taken from, sample by sample.
    ///
    /// # Errors
    /// A configuration of another space.
    pub fn outputs(&self, config: &SubnetConfig) -> Result<Vec<Vec<f32>>, Error> {
        let frame = &self.supernet.frame;
        frame.space.check(config)?;
        let leaves = |i: usize| self.params[i].clone();
        let folds = self.folds(config)?;
        let mut rows = Vec::new();
        self.compute.evaluate_with(&self.data, &mut |inputs, lead| {
            let out = frame.forward(&self.compute, config, &leaves, folds.as_ref(), inputs, lead);
            let width = out.dims()[1];
            rows.extend(host(out.clone()).chunks(width).map(<[f32]>::to_vec));
            out
        });
        Ok(rows)
    }
}
