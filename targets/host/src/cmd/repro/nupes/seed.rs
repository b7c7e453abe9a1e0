//! The figures of one seed: a network is trained, then quantized in every way that a claim is about.

use super::trap;
use crate::cmd::learning::samples_of;
use crate::data::{Dataset, fetch};
use crate::failure::{Failure, Outcome};
use elastiq::{Engine, OpSet};
use elastiq_quant::Samples;
use elastiq_quant::calibrate::{Method, calibrate};
use elastiq_quant::compile::{CompileOptions, Compiled, compile_deciding};
use elastiq_quant::compress::fake::Fake;
use elastiq_quant::compress::nupes::fit::{Exponents, Request, fit};
use elastiq_quant::compress::nupes::{self, Choice, Options};
use elastiq_quant::io::Ports;
use elastiq_quant::ir::{Graph, ValueId, exec};
use elastiq_quant::lower::format::Formats;
use elastiq_quant::lower::given::{Given, layers};
use elastiq_quant::train::{Config, Control, Network, Run, describe, train};
use elastiq_quant::verify::argmax;
use ndarray::Array2;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const MNIST: &str = include_str!("../../../../../../examples/mnist.toml");
const DIGITS: &str = "input = [1, 8, 8]\n\
    [[layer]]\ntype = \"conv\"\nfilters = 8\nkernel = 3\npadding = \"same\"\nactivation = \"relu\"\n\
    [[layer]]\ntype = \"max-pool\"\nkernel = 2\n\
    [[layer]]\ntype = \"flatten\"\n\
    [[layer]]\ntype = \"dense\"\nunits = 32\nactivation = \"relu\"\n\
    [[layer]]\ntype = \"dense\"\nunits = 10\n";
/// Of the negative control: sums of many terms, which are what goes wrong.
const DENSE: &str = "[[layer]]\ntype = \"flatten\"\n\
    [[layer]]\ntype = \"dense\"\nunits = 64\nactivation = \"relu\"\n\
    [[layer]]\ntype = \"dense\"\nunits = 32\nactivation = \"relu\"\n\
    [[layer]]\ntype = \"dense\"\nunits = 10\n";
/// Training samples that ranges and codes are chosen with.
const CALIBRATION: usize = 512;
/// Test samples of the negative control.
const CONTROL: usize = 500;
/// Exponent of the negative control.
const CONTROL_EXPONENT: f32 = 0.5;
/// Size of an outlier, in standard deviations of the weights of its layer.
const SIGMAS: f32 = 10.0;
/// Weights that are tried for an outlier, and samples whose outputs are looked at.
const PLACES: usize = 16;
const PROBES: usize = 32;

/// Data, and the network that is trained on it.
pub struct Task {
    name: String,
    net: &'static str,
    /// Rows and columns of a sample.
    side: usize,
    epochs: usize,
    splits: [Dataset; 2],
    pub test_data: Dataset,
}

/// What one seed gave.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Figures {
    pub float: f64,
    /// Accuracy on the test samples by network.
    pub accuracies: BTreeMap<String, f64>,
    /// Per layer, at 4 and at 3 bits per tensor with clipping: relative weight error of equal steps and of powers.
    pub layers: Vec<[f64; 2]>,
    /// Weight error of the network at 4 bits per tensor up to the largest weight, and of Laplace samples.
    pub abs_max: [f64; 2],
    pub laplace: [f64; 2],
    /// Mean over layers: error after learning over before.
    pub learned_ratio: f64,
    /// Share of test samples with the class of float fake quantization.
    pub agree: f64,
    /// Accuracy with operands decoded before the sum, and after it.
    pub trap: [f64; 2],
    /// Bytes of 8-bit weights and of 4-bit power weights.
    pub weight_bytes: [f64; 2],
    /// Artifacts that an emulated core runs, in hexadecimal.
    artifacts: Vec<String>,
}

impl Figures {
    /// Accuracy of `name`.
    pub fn accuracy(&self, name: &str) -> f64 {
        self.accuracies.get(name).copied().unwrap_or(f64::NAN)
    }

    /// Points that the network with outliers loses to `method`.
    pub fn outlier_loss(&self, method: &str) -> f64 {
        self.accuracy("outliers float") - self.accuracy(&format!("outliers {method}"))
    }
}

/// A compiled network and what was chosen for its layers.
pub struct Done {
    pub compiled: Compiled,
    pub given: Given,
    pub layers: Vec<Choice>,
}

/// Compile `graph` as `options` say; `test` is what the report compares on.
///
/// # Errors
/// As compilation.
pub fn compile(graph: &Graph, calib: &Samples, test: &Samples, options: &Options) -> Outcome<Done> {
    let choices = CompileOptions {
        verify_on: Some(test.clone()),
        ..Default::default()
    };
    let (mut given, mut layers) = (Given::default(), Vec::new());
    let decide = &mut |graph: &Graph, ranges: &_, progress: &mut nupes::Progress| {
        let decision = nupes::decide(graph, calib, ranges, options, progress)?;
        (given, layers) = (decision.given, decision.layers);
        Ok(given.clone())
    };
    let compiled = compile_deciding(
        graph.clone(),
        "nupes",
        calib,
        &choices,
        decide,
        &mut |_, _, _| {},
    )
    .map_err(Failure::input)?;
    Ok(Done {
        compiled,
        given,
        layers,
    })
}

impl Task {
    /// # Errors
    /// Data that cannot be brought.
    pub fn load(name: &str, cache: &Path) -> Outcome<Task> {
        let mut splits: BTreeMap<&str, Dataset> = fetch(name, cache)?
            .into_iter()
            .map(|s| (s.name, s.data))
            .collect();
        let mut take = |split: &str| {
            let found = splits.remove(split);
            found.ok_or_else(|| Failure::input(format!("{name}: has no {split} split")))
        };
        let (net, side, epochs) = match name {
            "mnist" => (MNIST, 28, 5),
            _ => (DIGITS, 8, 20),
        };
        Ok(Task {
            name: name.into(),
            net,
            side,
            epochs,
            splits: [take("train")?, take("val")?],
            test_data: take("test")?,
        })
    }

    /// Artifacts of a seed for an emulated core.
    ///
    /// # Errors
    /// A result in the store that is broken.
    pub fn artifacts(&self, figures: &Figures) -> Outcome<Vec<Vec<u8>>> {
        let byte = |text: &str, at: usize| {
            let pair = text.get(at..at + 2);
            pair.and_then(|p| u8::from_str_radix(p, 16).ok())
        };
        let one = |text: &String| (0..text.len() / 2).map(|i| byte(text, 2 * i)).collect();
        let all: Option<Vec<Vec<u8>>> = figures.artifacts.iter().map(one).collect();
        all.ok_or_else(|| Failure::input("a stored result is broken; give another --state folder"))
    }

    /// Train and measure; `None` where `stop` came first.
    ///
    /// # Errors
    /// As training and compilation.
    pub fn figures(&self, seed: u64, stop: &AtomicBool) -> Outcome<Option<Figures>> {
        let stopped = || stop.load(Ordering::Relaxed);
        let dense = format!("input = [1, {0}, {0}]\n{DENSE}", self.side);
        let (Some(graph), Some(control)) = (
            self.train(self.net, seed, stop)?,
            self.train(&dense, seed, stop)?,
        ) else {
            return Ok(None);
        };
        let calib = samples_of(&graph, self.splits[0].evenly(CALIBRATION))?;
        let test = samples_of(&graph, self.test_data.clone())?;
        let mut accuracies = BTreeMap::new();
        let mut score = |name: &str, graph: &Graph, options: &Options| -> Outcome<Done> {
            let done = compile(graph, &calib, &test, options)?;
            let output = &done.compiled.report.output;
            accuracies.insert(name.to_string(), output.top1.unwrap_or_default());
            Ok(done)
        };
        let narrow = |options: Options| Options {
            per_tensor: true,
            acts: 4,
            ..options
        };
        score("w3a4 abs-max", &graph, &narrow(Options::abs_max(3)))?;
        score("w3a4 least error", &graph, &narrow(Options::clipped(3)))?;
        score("w3a4 powers", &graph, &narrow(Options::searched(3)))?;
        if stopped() {
            return Ok(None);
        }
        let eight = score("w8", &graph, &Options::searched(8))?;
        let four = score("w4 powers", &graph, &Options::searched(4))?;
        score("w3 least error", &graph, &Options::clipped(3))?;
        score("w3 adaround", &graph, &Options::adaround(3))?;
        let learned = score("w3 learned", &graph, &Options::learned(3))?;
        if stopped() {
            return Ok(None);
        }
        let odd = with_outliers(&eight.compiled.graph, &calib, seed)?;
        let tensor = |options: Options| Options {
            per_tensor: true,
            ..options
        };
        score("outliers uniform", &odd, &tensor(Options::abs_max(4)))?;
        score("outliers clipped", &odd, &tensor(Options::clipped(4)))?;
        let outliers = score("outliers powers", &odd, &tensor(Options::searched(4)))?;
        let float = |done: &Done| done.compiled.report.output.float_top1.unwrap_or_default();
        accuracies.insert("outliers float".into(), float(&outliers));
        let optimized = &learned.compiled.graph;
        let ratios = learned.layers.iter().map(|l| l.error / l.searched);
        let bytes = |done: &Done| done.compiled.report.weights_bytes as f64;
        let hex = |done: &Done| {
            let pairs = done.compiled.bytes.iter().map(|b| format!("{b:02x}"));
            pairs.collect::<String>()
        };
        Ok(Some(Figures {
            float: float(&learned),
            layers: self.layer_errors(optimized)?,
            abs_max: errors(&matrices(optimized)?, 4, false)
                .iter()
                .fold([0.0; 2], |sum, e| [sum[0] + e[0], sum[1] + e[1]]),
            laplace: errors(&[laplace(seed)], 4, false)[0],
            learned_ratio: ratios.sum::<f64>() / learned.layers.len().max(1) as f64,
            agree: agreement(&learned, &calib, &test)?,
            trap: trap::accuracies(&control, &calib, &test, CONTROL_EXPONENT, CONTROL)
                .map_err(Failure::input)?,
            weight_bytes: [bytes(&eight), bytes(&four)],
            artifacts: match seed {
                0 => vec![hex(&learned), hex(&four)],
                _ => Vec::new(),
            },
            accuracies,
        }))
    }

    fn train(&self, net: &str, seed: u64, stop: &AtomicBool) -> Outcome<Option<Graph>> {
        let graph = describe::describe(net, &self.name, seed).map_err(Failure::input)?;
        let [data, val] = [&self.splits[0], &self.splits[1]].map(|d| samples_of(&graph, d.clone()));
        let network = Network::new(graph).map_err(Failure::input)?;
        let config = Config {
            epochs: self.epochs,
            seed,
            ..Config::default()
        };
        let mut watch = |_: elastiq_quant::train::Event| match stop.load(Ordering::Relaxed) {
            true => Control::Stop,
            false => Control::Continue,
        };
        let trained = train(
            &network,
            &data?,
            &val?,
            &config,
            &Run::default(),
            &mut watch,
        )
        .map_err(Failure::input)?;
        Ok(trained.finished.then_some(trained.graph))
    }

    fn layer_errors(&self, graph: &Graph) -> Outcome<Vec<[f64; 2]>> {
        let all = matrices(graph)?;
        Ok([4, 3]
            .iter()
            .flat_map(|&bits| errors(&all, bits, true))
            .collect())
    }
}

/// Weights of all layers.
fn matrices(graph: &Graph) -> Outcome<Vec<Array2<f64>>> {
    let one = |v: ValueId| {
        let rows = elastiq_quant::compress::fake::rows(graph.value(v));
        let shape = (rows.len(), rows.first().map_or(0, Vec::len));
        Array2::from_shape_vec(shape, rows.concat()).map_err(Failure::input)
    };
    let layers = layers(graph).map_err(Failure::input)?;
    layers.iter().map(|l| one(l.weights)).collect()
}

/// Squared weight errors of equal steps and of powers, per tensor.
fn errors(all: &[Array2<f64>], bits: u8, clip: bool) -> Vec<[f64; 2]> {
    let of = |w: &Array2<f64>, exponents: Exponents| {
        let request = Request {
            bits,
            exponents,
            clip,
            per_tensor: true,
        };
        fit(w, None, &request).error
    };
    let both = |w| [of(w, Exponents::Of(vec![1.0])), of(w, Exponents::Free)];
    all.iter().map(both).collect()
}

fn laplace(seed: u64) -> Array2<f64> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    Array2::from_shape_fn((1, 20_000), |_| {
        let u: f64 = rng.random_range(-0.5..0.5);
        -u.signum() * (1.0 - 2.0 * u.abs()).ln()
    })
}

/// The network with one weight of every layer set to [`SIGMAS`] standard deviations, its sign kept: of [`PLACES`] random
/// weights the one that changes the outputs least, so that the float network still works.
fn with_outliers(graph: &Graph, calib: &Samples, seed: u64) -> Outcome<Graph> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut graph = graph.clone();
    let outputs = |graph: &Graph| -> Vec<f32> {
        let of = |i| exec::run(graph, &calib.ir_item(graph, i), &mut |_, _| {});
        let all = (0..calib.len().min(PROBES)).flat_map(of);
        all.flat_map(|y| y.into_iter()).collect()
    };
    for layer in layers(&graph).map_err(Failure::input)? {
        let Some(constant) = graph.value(layer.weights).constant.clone() else {
            continue;
        };
        let size = SIGMAS * constant.std(0.0);
        let before = outputs(&graph);
        let mut best = (f64::INFINITY, constant.clone());
        for _ in 0..PLACES {
            let at = rng.random_range(0..constant.len());
            let mut odd = (*constant).clone();
            if let Some(w) = odd.iter_mut().nth(at) {
                *w = w.signum() * size;
            }
            let odd = Arc::new(odd);
            graph.values[layer.weights.0].constant = Some(odd.clone());
            let change = outputs(&graph);
            let change = change
                .iter()
                .zip(&before)
                .map(|(a, b)| f64::from(a - b).powi(2));
            let change: f64 = change.sum();
            if change < best.0 {
                best = (change, odd);
            }
        }
        graph.values[layer.weights.0].constant = Some(best.1);
    }
    Ok(graph)
}

/// Share of samples whose class is the same in the artifact and in float with the same levels and codes.
fn agreement(done: &Done, calib: &Samples, test: &Samples) -> Outcome<f64> {
    let graph = &done.compiled.graph;
    let ranges = calibrate(graph, calib, Method::default(), &mut |_, _| {});
    let ranges = ranges.map_err(Failure::input)?;
    let fake = Fake::new(graph, &ranges, &Formats::default(), &done.given);
    let fake = fake.map_err(Failure::input)?;
    let engine = Engine::<{ OpSet::ALL }>::new(&done.compiled.bytes).map_err(Failure::input)?;
    let ports = Ports::of(engine.model()).map_err(Failure::input)?;
    let mut arena = vec![0; engine.model().arena_len()];
    let mut same = 0;
    for i in 0..test.len() {
        let mut session = engine.start(&mut arena).map_err(Failure::input)?;
        let fed = ports.feed(&mut session, &test.file_item(graph, i));
        fed.map_err(Failure::input)?;
        session.finish().map_err(Failure::input)?;
        let bytes = session.output(0).unwrap_or_default();
        let codes: Vec<f32> = bytes.iter().map(|&b| f32::from(b as i8)).collect();
        let model: Vec<f32> = fake.run(test, i)[0].iter().copied().collect();
        same += usize::from(argmax(&codes) == argmax(&model));
    }
    Ok(same as f64 / test.len().max(1) as f64)
}
