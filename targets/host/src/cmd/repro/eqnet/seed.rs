//! The figures of one seed: what is trained, and what each supernet gives at every width.

use super::super::moments;
use crate::cmd::learning::samples_of;
use crate::data::fetch;
use crate::failure::{Failure, Outcome, io_text};
use crate::output::write_file;
use elastiq_quant::compress::eqnet::{
    Format, Options, Space, SpaceOptions, SubnetConfig, Supernet, train,
};
use elastiq_quant::ir::Graph;
use elastiq_quant::train::{
    self as float, Config, Control, Event, Moments, Network, Run, Wdr, describe::describe,
};
use elastiq_quant::{Samples, export, import};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

const CNN: &str = include_str!("../../../../../../examples/mnist.toml");
/// The network that regularization alone is measured on.
const MLP: &str = "input = [784]\n\
    [[layer]]\ntype = \"dense\"\nunits = 64\nactivation = \"relu\"\n\
    [[layer]]\ntype = \"dense\"\nunits = 32\nactivation = \"relu\"\n\
    [[layer]]\ntype = \"dense\"\nunits = 10\n";

/// Widths that are compared.
pub const WIDTHS: [u8; 4] = [2, 3, 4, 8];
const FLOAT_EPOCHS: usize = 5;
const EPOCHS: usize = 10;
const MLP_EPOCHS: usize = 20;
/// Test samples that the integer networks of all configurations run on.
const INT_SAMPLES: usize = 300;
/// Largest code of weights of 3 bits in the measure of regularization.
const W3: f32 = 3.0;

/// Figures of a stage, by name.
pub type Figures = BTreeMap<String, f64>;

/// What is measured per seed, each part on its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    Untrained,
    Supernet,
    Nested,
    /// Trained for one width alone.
    Dedicated(u8),
    Regularization,
}

impl Stage {
    /// All of them.
    pub fn all() -> Vec<Stage> {
        let dedicated = WIDTHS.map(Stage::Dedicated);
        let others = [Stage::Untrained, Stage::Supernet, Stage::Nested];
        let all = others.into_iter().chain(dedicated);
        all.chain([Stage::Regularization]).collect()
    }

    /// Name in the store.
    pub fn name(self) -> String {
        match self {
            Stage::Untrained => "untrained".into(),
            Stage::Supernet => "supernet".into(),
            Stage::Nested => "nested".into(),
            Stage::Dedicated(bits) => format!("dedicated{bits}"),
            Stage::Regularization => "wdr".into(),
        }
    }
}

/// Samples for the convolutions; the multilayer perceptron reads them flat.
pub struct Data {
    train: Samples,
    val: Samples,
    test: Samples,
}

impl Data {
    /// # Errors
    /// Data that cannot be brought.
    pub fn load(cache: &Path) -> Outcome<Data> {
        let mut splits = fetch("mnist", cache)?;
        let graph = describe(CNN, "mnist", 0).map_err(Failure::input)?;
        let mut split = |name: &str| -> Outcome<Samples> {
            let at = splits.iter().position(|s| s.name == name);
            let at = at.ok_or_else(|| Failure::input(format!("mnist: has no {name} split")))?;
            samples_of(&graph, splits.swap_remove(at).data)
        };
        Ok(Data {
            train: split("train")?,
            val: split("val")?,
            test: split("test")?,
        })
    }
}

/// One seed. Results are `None` where `stop` came first.
pub struct Seed<'a> {
    pub data: &'a Data,
    pub seed: u64,
    pub stop: &'a AtomicBool,
}

impl Seed<'_> {
    /// ONNX file of a trained float network, which all stages but the last start from.
    ///
    /// # Errors
    /// As training.
    pub fn float_net(&self) -> Outcome<Option<Vec<u8>>> {
        let config = self.config(FLOAT_EPOCHS);
        let net = described(CNN, self.seed)?;
        let graph = self.float(&net, [&self.data.train, &self.data.val], &config)?;
        let bytes = |g: Graph| export::onnx(&g).map_err(Failure::input);
        graph.map(bytes).transpose()
    }

    /// Figures of `stage`, from the network in the bytes `float`.
    ///
    /// # Errors
    /// As training.
    pub fn figures(&self, stage: Stage, float: &[u8]) -> Outcome<Option<Figures>> {
        let file = tempfile::Builder::new().suffix(".onnx").tempfile();
        let file = file.map_err(|e| Failure::input(format!("temporary file: {}", io_text(&e))))?;
        write_file(file.path(), float)?;
        let graph = import::load(file.path()).map_err(Failure::input)?;
        let net = Network::new(graph).map_err(Failure::input)?;
        let space = SpaceOptions {
            nested: stage == Stage::Nested,
            ..SpaceOptions::default()
        };
        match stage {
            Stage::Untrained => {
                let supernet = Supernet::untrained(&net, &space, &self.data.train);
                let supernet = supernet.map_err(Failure::input)?;
                self.accuracies(&supernet, false).map(Some)
            }
            Stage::Supernet | Stage::Nested => {
                let supernet = self.supernet(&net, space, None)?;
                supernet.map(|s| self.accuracies(&s, true)).transpose()
            }
            Stage::Dedicated(bits) => self.dedicated(&net, bits),
            Stage::Regularization => self.regularized(),
        }
    }

    fn watch(&self) -> impl FnMut(Event) -> Control + '_ {
        |_| match self.stop.load(Ordering::Relaxed) {
            true => Control::Stop,
            false => Control::Continue,
        }
    }

    fn config(&self, epochs: usize) -> Config {
        Config {
            epochs,
            batch: 64,
            seed: self.seed,
            ..Config::default()
        }
    }

    fn float(
        &self,
        net: &Network,
        [train, val]: [&Samples; 2],
        config: &Config,
    ) -> Outcome<Option<Graph>> {
        let done = float::train(net, train, val, config, &Run::default(), &mut self.watch());
        let done = done.map_err(Failure::input)?;
        Ok(done.finished.then_some(done.graph))
    }

    fn supernet(
        &self,
        net: &Network,
        space: SpaceOptions,
        only: Option<SubnetConfig>,
    ) -> Outcome<Option<Supernet>> {
        let options = Options {
            train: Config {
                wdr: Some(Wdr::default()),
                ..self.config(EPOCHS)
            },
            space,
            only,
            ..Options::default()
        };
        let (data, val) = (&self.data.train, &self.data.val);
        let done = train(net, data, val, &options, &Run::default(), &mut self.watch());
        let done = done.map_err(Failure::input)?;
        Ok(done.finished.then_some(done.supernet))
    }

    /// Accuracy at every width, mean over the formats; with `int`, how far the integer networks of all configurations
    /// agree with quantized floats, and with those of another width.
    fn accuracies(&self, supernet: &Supernet, int: bool) -> Outcome<Figures> {
        let config = self.config(1);
        let evaluator = supernet
            .evaluator(&self.data.test, &config)
            .map_err(Failure::input)?;
        let space = supernet.space();
        let mut found = Figures::new();
        for bits in WIDTHS {
            let formats: Vec<Format> = space.formats().collect();
            let score = |&f: &Format| evaluator.score(&space.uniform(bits, bits, f));
            let scores = formats.iter().map(score).collect::<Result<Vec<_>, _>>();
            let scores = scores.map_err(Failure::input)?;
            let sum: f64 = scores
                .iter()
                .filter_map(|s| s.accuracy)
                .map(f64::from)
                .sum();
            found.insert(bits.to_string(), sum / formats.len() as f64);
        }
        if int {
            let few = few(&self.data.test, INT_SAMPLES);
            let evaluator = supernet.evaluator(&few, &config).map_err(Failure::input)?;
            let (mut sum, mut other, mut count) = (0.0, 0.0, 0.0);
            for &bits in &space.options.bits {
                for format in space.formats() {
                    let config = space.uniform(bits, bits, format);
                    let lowest = space.uniform(space.options.bits[0], bits, format);
                    sum += evaluator
                        .agreement(&config, &config)
                        .map_err(Failure::input)?;
                    other += evaluator
                        .agreement(&config, &lowest)
                        .map_err(Failure::input)?;
                    count += 1.0;
                }
            }
            found.insert("agree".into(), sum / count);
            found.insert("agree with other weights".into(), other / count);
            found.insert("configurations".into(), count);
        }
        Ok(found)
    }

    /// Accuracy of networks trained for one width alone, in two formats.
    fn dedicated(&self, net: &Network, bits: u8) -> Outcome<Option<Figures>> {
        let options = SpaceOptions::default();
        let space = Space::new(net, &options).map_err(Failure::input)?;
        let tensor = Format {
            per_channel: false,
            ..Format::DEFAULT
        };
        let mut sum = 0.0;
        for format in [Format::DEFAULT, tensor] {
            let config = space.uniform(bits, bits, format);
            let only = Some(config.clone());
            let Some(supernet) = self.supernet(net, options.clone(), only)? else {
                return Ok(None);
            };
            let evaluator = supernet.evaluator(&self.data.test, &self.config(1));
            let score = evaluator.and_then(|e| e.score(&config));
            sum += f64::from(score.map_err(Failure::input)?.accuracy.unwrap_or(0.0)) / 2.0;
        }
        Ok(Some(Figures::from([("accuracy".to_string(), sum)])))
    }

    /// A multilayer perceptron, from normally distributed weights, with and without regularization: kurtosis of the layers that it acts on, and accuracy
    /// with all weights rounded to 3 bits of their largest magnitude.
    fn regularized(&self) -> Outcome<Option<Figures>> {
        let [train, val, test] = [&self.data.train, &self.data.val, &self.data.test].map(flat);
        let mut found = Figures::new();
        for (name, wdr) in [("with", Some(Wdr::default())), ("without", None)] {
            let config = Config {
                wdr,
                ..self.config(MLP_EPOCHS)
            };
            let net = described(MLP, self.seed)?;
            let net = normal(&net, self.seed)?;
            let Some(graph) = self.float(&net, [&train, &val], &config)? else {
                return Ok(None);
            };
            let net = Network::new(graph).map_err(Failure::input)?;
            let mut params = net.initial();
            let regularized = net.weights_but_first();
            let kurtosis = |&i: &usize| Moments::of(&params[i]).map(|m| m.kurtosis);
            let all: Vec<f64> = regularized.iter().filter_map(kurtosis).collect();
            found.insert(format!("kurtosis {name}"), moments(&all).0);
            let weights = net
                .params()
                .iter()
                .zip(&mut params)
                .filter(|(p, _)| p.decays);
            weights.for_each(|(_, w)| rounded(w));
            let rough = Network::new(net.with_params(&params)).map_err(Failure::input)?;
            for (what, net) in [("float", &net), ("W3", &rough)] {
                let (_, accuracy) = float::evaluate(net, &test, &config).map_err(Failure::input)?;
                let accuracy = f64::from(accuracy.unwrap_or(0.0));
                found.insert(format!("{what} {name}"), accuracy);
            }
        }
        Ok(Some(found))
    }
}

fn described(text: &str, seed: u64) -> Outcome<Network> {
    let graph = describe(text, "network", seed).map_err(Failure::input)?;
    Network::new(graph).map_err(Failure::input)
}

/// `net` with fresh weights of a normal distribution, of variance 2 / inputs: its kurtosis is 3, that of the even spread
/// that descriptions start from 1.8 already.
fn normal(net: &Network, seed: u64) -> Outcome<Network> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut params = net.initial();
    let weights = net
        .params()
        .iter()
        .zip(&mut params)
        .filter(|(p, _)| p.decays);
    for (p, w) in weights {
        let inputs = p.shape[1..].iter().product::<usize>() as f64;
        for v in w {
            // Box and Muller, 1958.
            let (u, turn): (f64, f64) = (1.0 - rng.random::<f64>(), rng.random());
            let unit = (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * turn).cos();
            *v = (unit * (2.0 / inputs).sqrt()) as f32;
        }
    }
    Network::new(net.with_params(&params)).map_err(Failure::input)
}

fn rounded(w: &mut [f32]) {
    let step = w.iter().fold(0.0, |m: f32, v| m.max(v.abs())) / W3;
    w.iter_mut().for_each(|v| *v = (*v / step).round() * step);
}

fn few(samples: &Samples, n: usize) -> Samples {
    let take = |x: &ndarray::ArrayD<f32>| x.slice_axis(ndarray::Axis(0), (0..n).into()).to_owned();
    Samples {
        inputs: samples.inputs.iter().map(take).collect(),
        labels: samples.labels.as_ref().map(|l| l[..n].to_vec()),
    }
}

/// The same samples as vectors.
fn flat(samples: &Samples) -> Samples {
    let vectors = |x: &ndarray::ArrayD<f32>| {
        let n = samples.len();
        let shape = ndarray::IxDyn(&[n, x.len() / n]);
        let x = x.as_standard_layout().into_owned();
        x.into_shape_with_order(shape).expect("the same elements")
    };
    Samples {
        inputs: samples.inputs.iter().map(vectors).collect(),
        labels: samples.labels.clone(),
    }
}
