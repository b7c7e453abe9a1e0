//! `elastiq train`: fine-tune an ONNX network, or train a described one, and keep what does best as integers.

use crate::cmd::train_bar::Bar;
use crate::data::{Dataset, InputSpec, read_file};
use crate::failure::{Failure, Outcome};
use crate::output::{TextTable, check_writable, note, print, print_json, share, write_file};
use clap::{Args, ValueEnum};
use elastiq_quant::Samples;
use elastiq_quant::train::{
    ClassWeights, Clip, Config, Control, EpochReport, Event, Network, Objective, Place, Rule, Run,
    Schedule, Trained, describe, split, train,
};
use elastiq_quant::{export, import, ir::Graph};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Train a network; the epoch whose 8-bit network does best on validation data is kept
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  elastiq train net.toml --data mnist_train.npz --val mnist_val.npz --epochs 10 -o net.onnx\n  \
    elastiq train net.onnx --data more.npz --lr 1e-4 --checkpoint state -o tuned.onnx\n  \
    elastiq train net.onnx --data more.npz --lr 1e-4 --checkpoint state --resume -o tuned.onnx"
)]
pub struct TrainArgs {
    /// Float network to go on with (.onnx), or a description of one to start (.toml)
    model: PathBuf,
    /// Training samples: .npz, .npy, .csv or a folder of PNG per class
    #[arg(long, value_name = "DATA")]
    data: PathBuf,
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
    epochs: usize,
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
    /// Seed of fresh weights, of the order of samples and of what is set aside
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Folder that the state is saved to, after every epoch and on Ctrl-C
    #[arg(long, value_name = "DIR")]
    checkpoint: Option<PathBuf>,
    /// Go on from the checkpoint
    #[arg(long, requires = "checkpoint")]
    resume: bool,
    /// Processor
    #[arg(long, value_enum, default_value = "cpu")]
    device: Processor,
    /// Network to write
    #[arg(short, long, value_name = "OUT.onnx")]
    output: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Goal {
    /// Give the label the highest score
    Classify,
    /// Give back the input
    Reconstruct,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Processor {
    Cpu,
    Gpu,
}

/// Runs the subcommand.
pub fn run(args: &TrainArgs) -> Outcome<()> {
    check_writable(&args.output)?;
    let graph = load(&args.model, args.seed)?;
    let data = samples(&graph, &args.data)?;
    let (data, val) = match &args.val {
        Some(path) => (data, samples(&graph, path)?),
        None => {
            split(&data, args.val_fraction, args.seed).map_err(|e| Failure::at(&args.data, e))?
        }
    };
    let config = config(args, &data)?;
    let network = Network::new(graph).map_err(|e| Failure::at(&args.model, e))?;
    let settings = Run {
        place: match args.device {
            Processor::Cpu => Place::Cpu,
            Processor::Gpu => Place::Gpu,
        },
        checkpoint: args.checkpoint.clone(),
        resume: args.resume,
    };
    let stop = stop_flag()?;
    let mut bar = Bar::new(config.epochs);
    let mut watch = |event: Event| {
        bar.show(&event);
        match stop.load(Ordering::Relaxed) {
            true => Control::Stop,
            false => Control::Continue,
        }
    };
    let trained = train(&network, &data, &val, &config, &settings, &mut watch)
        .map_err(|e| Failure::at(&args.model, e))?;
    let rate = bar.rate();
    drop(bar);
    if !trained.finished {
        return Err(Failure::check(match &args.checkpoint {
            Some(dir) => format!("stopped; `--checkpoint {} --resume` goes on", dir.display()),
            None => "stopped; without --checkpoint nothing is kept".to_string(),
        }));
    }
    let bytes = export::onnx(&trained.graph).map_err(|e| Failure::at(&args.model, e))?;
    write_file(&args.output, &bytes)?;
    report(args, &network, &trained, [data.len(), val.len()], rate)
}

/// The network of an ONNX file, or of a description.
fn load(model: &Path, seed: u64) -> Outcome<Graph> {
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

fn samples(graph: &Graph, path: &Path) -> Outcome<Samples> {
    let data = Dataset::load(path)?;
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

fn config(args: &TrainArgs, data: &Samples) -> Outcome<Config> {
    let objective = match args.objective {
        Some(Goal::Classify) => Objective::Classify,
        Some(Goal::Reconstruct) => Objective::Reconstruct,
        None if data.labels.is_some() => Objective::Classify,
        None => {
            let what = "has no labels; `--objective reconstruct` learns to give back the input";
            return Err(Failure::at(&args.data, what));
        }
    };
    let class_weights = match &args.class_weights {
        None => ClassWeights::None,
        Some(how) if how.as_os_str() == "balanced" => ClassWeights::Balanced,
        Some(file) => ClassWeights::Given(numbers(file)?),
    };
    Ok(Config {
        objective,
        epochs: args.epochs,
        batch: args.batch,
        optimizer: args.optimizer,
        lr: args.lr,
        schedule: args.schedule,
        weight_decay: args.weight_decay,
        clip: args.clip.unwrap_or(Clip::None),
        class_weights,
        label_smoothing: args.label_smoothing,
        mixup: args.mixup,
        wdr: None,
        seed: args.seed,
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
fn stop_flag() -> Outcome<Arc<AtomicBool>> {
    use signal_hook::{consts::SIGINT, flag};
    let stop = Arc::new(AtomicBool::new(false));
    flag::register_conditional_shutdown(SIGINT, 130, stop.clone())
        .and_then(|_| flag::register(SIGINT, stop.clone()))
        .map_err(|e| Failure::input(format!("Ctrl-C cannot be handled: {e}")))?;
    Ok(stop)
}

fn report(
    args: &TrainArgs,
    network: &Network,
    trained: &Trained,
    [n, n_val]: [usize; 2],
    rate: f64,
) -> Outcome<()> {
    let parameters: usize = network.initial().iter().map(Vec::len).sum();
    let kept = trained
        .history
        .iter()
        .rfind(|e| e.epoch == trained.best.epoch);
    let float = kept.and_then(|e| e.val_accuracy);
    if args.json {
        return print_json(&json!({
            "model": args.model.display().to_string(),
            "output": args.output.display().to_string(),
            "parameters": parameters,
            "samples": n,
            "val_samples": n_val,
            "best_epoch": trained.best.epoch,
            "int_score": trained.best.score,
            "val_accuracy": float,
            "val_loss": trained.best.val_loss,
            "samples_per_s": rate,
            "epochs": trained.history,
        }));
    }
    for e in &trained.history {
        if let Some(why) = &e.int_error {
            note(&format!("epoch {} could not be lowered: {why}", e.epoch));
        }
    }
    print(&format!(
        "{}{}: {parameters} parameters, {n} samples, {n_val} for validation, {rate:.0} samples/s\n\
        best epoch {}: 8-bit {}, float {}, loss {:.4}\n",
        table(&trained.history),
        args.output.display(),
        trained.best.epoch,
        share(Some(f64::from(trained.best.score))),
        share(float.map(f64::from)),
        trained.best.val_loss,
    ))
}

/// One row per epoch.
fn table(history: &[EpochReport]) -> String {
    let mut table = TextTable::new(&["epoch", "loss", "accuracy", "val loss", "float", "8-bit"]);
    let wide = |v: Option<f32>| share(v.map(f64::from));
    for e in history {
        table.row([
            e.epoch.to_string(),
            wide(e.loss),
            wide(e.accuracy),
            wide(Some(e.val_loss)),
            wide(e.val_accuracy),
            wide(e.int_score),
        ]);
    }
    table.render(&[])
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
