//! Arguments that every training takes, and what they become.

use crate::data::{Dataset, InputSpec, read_file};
use crate::failure::{Failure, Outcome};
use clap::{Args, ValueEnum};
use elastiq_quant::Samples;
use elastiq_quant::train::{
    ClassWeights, Clip, Config, Objective, Rule, Schedule, Wdr, describe, split,
};
use elastiq_quant::{import, ir::Graph};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Data and choices of a training.
#[derive(Args, Debug)]
pub struct Learning {
    /// Training samples: .npz, .npy, .csv or a folder of PNG per class
    #[arg(long, value_name = "DATA")]
    pub data: PathBuf,
    /// Validation samples, which decide what is kept
    #[arg(long, value_name = "DATA", conflicts_with = "val_fraction")]
    val: Option<PathBuf>,
    /// Share of the training samples that is set aside for validation
    #[arg(long, value_name = "SHARE", default_value_t = 0.1)]
    val_fraction: f64,
    /// What to learn [default: classify where the data has labels]
    #[arg(long, value_enum)]
    objective: Option<Goal>,
    /// Passes over the training samples
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub epochs: usize,
    /// Samples in a mini-batch
    #[arg(long, value_name = "N", default_value_t = 32)]
    batch: usize,
    /// adam, sgd (with momentum 0.9) or sgd:MOMENTUM
    #[arg(long, value_name = "NAME", default_value = "adam", value_parser = parse_rule)]
    optimizer: Rule,
    /// Learning rate
    #[arg(long, value_name = "RATE", default_value_t = 1e-3)]
    lr: f32,
    /// constant, cosine, or step:EPOCHS[:FACTOR]
    #[arg(long, value_name = "HOW", default_value = "cosine", value_parser = parse_schedule)]
    schedule: Schedule,
    /// Weight decay
    #[arg(long, value_name = "RATE", default_value_t = 0.0)]
    weight_decay: f32,
    /// Bound on gradients: norm:MOST or value:MOST
    #[arg(long, value_name = "HOW", value_parser = parse_clip)]
    clip: Option<Clip>,
    /// Weight of each class in the loss: balanced, or a file with one number per class
    #[arg(long, value_name = "balanced|FILE")]
    class_weights: Option<PathBuf>,
    /// Share of the target that is spread over all classes
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    label_smoothing: f32,
    /// Mix pairs of samples with shares from Beta(ALPHA, ALPHA); 0 is off
    #[arg(long, value_name = "ALPHA", default_value_t = 0.0)]
    mixup: f32,
    /// Draw the weights of each layer towards an even spread, which rounding to few bits harms least
    #[arg(long)]
    wdr: bool,
    /// Seed of fresh weights, of the order of samples and of what is set aside
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Goal {
    /// Give the label the highest score
    Classify,
    /// Give back the input
    Reconstruct,
}

impl Learning {
    /// Training and validation samples for `graph`.
    ///
    /// # Errors
    /// Names the file.
    pub fn samples(&self, graph: &Graph) -> Outcome<(Samples, Samples)> {
        let data = samples(graph, &self.data)?;
        match &self.val {
            Some(path) => Ok((data, samples(graph, path)?)),
            None => {
                split(&data, self.val_fraction, self.seed).map_err(|e| Failure::at(&self.data, e))
            }
        }
    }

    /// The choices, for training on `data`.
    ///
    /// # Errors
    /// Labels that are missing, a file of class weights that does not hold numbers.
    pub fn config(&self, data: &Samples) -> Outcome<Config> {
        let objective = match self.objective {
            Some(Goal::Classify) => Objective::Classify,
            Some(Goal::Reconstruct) => Objective::Reconstruct,
            None if data.labels.is_some() => Objective::Classify,
            None => {
                let what = "has no labels; `--objective reconstruct` learns to give back the input";
                return Err(Failure::at(&self.data, what));
            }
        };
        let class_weights = match &self.class_weights {
            None => ClassWeights::None,
            Some(how) if how.as_os_str() == "balanced" => ClassWeights::Balanced,
            Some(file) => ClassWeights::Given(numbers(file)?),
        };
        Ok(Config {
            objective,
            epochs: self.epochs,
            batch: self.batch,
            optimizer: self.optimizer,
            lr: self.lr,
            schedule: self.schedule,
            weight_decay: self.weight_decay,
            clip: self.clip.unwrap_or(Clip::None),
            class_weights,
            label_smoothing: self.label_smoothing,
            mixup: self.mixup,
            wdr: self.wdr.then(Wdr::default),
            seed: self.seed,
        })
    }
}

/// The network of an ONNX file, or of a description.
pub fn load(model: &Path, seed: u64) -> Outcome<Graph> {
    if model.is_dir() {
        let what = "is a directory, expected an ONNX file or a description (.toml)";
        return Err(Failure::at(model, what));
    }
    let text = model
        .extension()
        .is_some_and(|e| e.eq_ignore_ascii_case("toml"));
    let graph = match text {
        true => describe::load(model, seed),
        false => import::load(model),
    };
    graph.map_err(|e| Failure::at(model, e))
}

/// Samples of a file for `graph`.
///
/// # Errors
/// Names the file.
pub fn samples(graph: &Graph, path: &Path) -> Outcome<Samples> {
    samples_of(graph, Dataset::load(path)?)
}

/// Samples for `graph`.
///
/// # Errors
/// Names the file where it does not fit.
pub fn samples_of(graph: &Graph, data: Dataset) -> Outcome<Samples> {
    let spec = |p: &elastiq_quant::ir::Port| InputSpec {
        name: p.name.clone(),
        shape: p.file_shape.clone(),
    };
    let specs: Vec<InputSpec> = graph.inputs.iter().map(spec).collect();
    let samples = Samples::new(data.fit(&specs)?);
    Ok(match data.y {
        Some(y) => samples.with_labels(y),
        None => samples,
    })
}

/// Numbers of a text file, separated by commas or white space.
fn numbers(file: &Path) -> Outcome<Vec<f32>> {
    let bytes = read_file(file)?;
    let text = String::from_utf8_lossy(&bytes);
    let words = text
        .split([',', ' ', '\t', '\r', '\n'])
        .filter(|w| !w.is_empty());
    let number = |w: &str| {
        w.parse()
            .map_err(|_| Failure::at(file, format!("`{w}` is not a number")))
    };
    words.map(number).collect()
}

/// Set by Ctrl-C; a second one ends the program at once.
pub fn stop_flag() -> Outcome<Arc<AtomicBool>> {
    use signal_hook::{consts::SIGINT, flag};
    let stop = Arc::new(AtomicBool::new(false));
    flag::register_conditional_shutdown(SIGINT, 130, stop.clone())
        .and_then(|_| flag::register(SIGINT, stop.clone()))
        .map_err(|e| Failure::input(format!("Ctrl-C cannot be handled: {e}")))?;
    Ok(stop)
}

fn parse_rule(text: &str) -> Result<Rule, String> {
    match text.split_once(':') {
        None if text == "adam" => Ok(Rule::ADAM),
        None if text == "sgd" => Ok(Rule::SGD),
        Some(("sgd", momentum)) => match momentum.parse() {
            Ok(momentum) => Ok(Rule::Sgd { momentum }),
            Err(_) => Err(format!("`{momentum}` is not a momentum")),
        },
        _ => Err("expected adam, sgd or sgd:MOMENTUM".into()),
    }
}

/// Factor of a step schedule that names none.
const STEP_FACTOR: f32 = 0.1;

fn parse_schedule(text: &str) -> Result<Schedule, String> {
    let parts: Vec<&str> = text.split(':').collect();
    match parts.as_slice() {
        ["constant"] => Ok(Schedule::Constant),
        ["cosine"] => Ok(Schedule::Cosine),
        ["step", epochs, rest @ ..] if rest.len() <= 1 => {
            let epochs = epochs
                .parse()
                .map_err(|_| format!("`{epochs}` is not a number of epochs"))?;
            let factor = match rest {
                [factor] => factor
                    .parse()
                    .map_err(|_| format!("`{factor}` is not a factor"))?,
                _ => STEP_FACTOR,
            };
            Ok(Schedule::Step { epochs, factor })
        }
        _ => Err("expected constant, cosine or step:EPOCHS[:FACTOR]".into()),
    }
}

fn parse_clip(text: &str) -> Result<Clip, String> {
    let bound = |v: &str| {
        v.parse::<f32>()
            .map_err(|_| format!("`{v}` is not a number"))
    };
    match text.split_once(':') {
        Some(("norm", v)) => Ok(Clip::Norm(bound(v)?)),
        Some(("value", v)) => Ok(Clip::Value(bound(v)?)),
        _ => Err("expected norm:MOST or value:MOST".into()),
    }
}
