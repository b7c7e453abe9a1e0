//! `elastiq prune`: smaller networks that do not miss the classes that matter.

use crate::artifact::Artifact;
use crate::cmd::learning::{load, samples, stop_flag};
use crate::data::Dataset;
use crate::failure::{Failure, Outcome};
use crate::measure::{emulated, inputs};
use crate::output::{Progress, TextTable, grouped, note, print, print_json, share, write_file};
use crate::qemu::{self, Core};
use clap::{Args, ValueEnum};
use elastiq_quant::compress::class_prune::{
    Budget, Control, Event, Job, LossSettings, Pruned, Report, RoundReport, Row, Schedule, Scope,
    Score, Settings, Structure, Test, Train, Val, Watch, prune,
};
use elastiq_quant::train::{Network, Run, split};
use elastiq_quant::{Error, export, ir::Graph};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// File names in the folder of a pruning.
const NETWORK: &str = "pruned.onnx";
const REPORT: &str = "prune.json";
const STATE: &str = "prune.ckpt";

/// Remove weights round by round, and stop before critical classes are missed more often
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  elastiq prune wine.toml --data wine_train.npz --val wine_val.npz --test wine_test.npz \\\n    \
    --critical 1 --fn-budget 2 --fnr-at-fpr 20% -o wine\n  \
    elastiq prune net.onnx --data train.npz --critical fall --structure channel --on m4 -o net\n  \
    elastiq prune net.onnx --data train.npz --critical fall --structure channel --on m4 -o net --resume"
)]
pub struct PruneArgs {
    /// Float network (.onnx), or a description (.toml)
    model: PathBuf,
    /// Training samples: .npz, .npy, .csv or a folder of PNG per class
    #[arg(long, value_name = "DATA")]
    data: PathBuf,
    /// Validation samples, which decide what is kept, where pruning stops, and thresholds
    #[arg(long, value_name = "DATA", conflicts_with = "val_fraction")]
    val: Option<PathBuf>,
    /// Share of the training samples that is set aside for validation
    #[arg(long, value_name = "SHARE", default_value = "20%", value_parser = parse_share)]
    val_fraction: f64,
    /// Test samples, which decide nothing; figures come from them where given
    #[arg(long, value_name = "DATA")]
    test: Option<PathBuf>,
    /// Classes that must not be missed: names or indices
    #[arg(long, value_name = "CLASS,..", required = true, value_delimiter = ',')]
    critical: Vec<String>,
    /// False negatives on validation samples that the result may have more than the dense network
    #[arg(long, value_name = "K", default_value_t = 0)]
    fn_budget: usize,
    /// Count them at the threshold for this false positive rate, in place of the highest score
    #[arg(long, value_name = "SHARE", value_parser = parse_share)]
    fnr_at_fpr: Option<f64>,
    /// Go on to the floor, however many are missed
    #[arg(long, conflicts_with_all = ["fn_budget", "fnr_at_fpr"])]
    no_budget: bool,
    /// Share of the weights that always remains
    #[arg(long, value_name = "SHARE", default_value = "1%", value_parser = parse_share)]
    floor: f64,
    /// Share of what remains that goes per round
    #[arg(long, value_name = "SHARE", default_value = "50%", value_parser = parse_share)]
    share: f64,
    /// Rewind and train again after each round, or prune while training goes on
    #[arg(long, value_enum, default_value = "lottery")]
    schedule: How,
    /// What goes together: single weights, 1x4 blocks of a row, or output channels
    #[arg(long, value_enum, default_value = "element")]
    structure: Unit,
    /// Compare scores within each layer, or across all
    #[arg(long, value_enum, default_value = "layer")]
    scope: Within,
    /// Keep the weights that grew most, or the largest
    #[arg(long, value_enum, default_value = "increase")]
    score: Worth,
    /// Weight of critical classes in the cross-entropy: in the first round, and in later ones
    #[arg(
        long,
        value_name = "FIRST,LATER",
        default_value = "1,5",
        value_delimiter = ','
    )]
    gamma: Vec<f64>,
    /// Weight of the ranking loss
    #[arg(long, value_name = "WEIGHT", default_value_t = 5.0)]
    ranking: f64,
    /// Weigh classes by their effective number of samples: from 0, all alike, towards 1, inverse frequency
    #[arg(long, value_name = "BETA", default_value_t = 0.0)]
    balance: f64,
    /// Epochs of the first round, and of each later one
    #[arg(
        long,
        value_name = "N[,N]",
        default_value = "15",
        value_delimiter = ','
    )]
    epochs: Vec<usize>,
    /// Epochs of the first round whose weights later rounds go back to
    #[arg(long, value_name = "N", default_value_t = 0)]
    rewind: usize,
    /// Samples in a mini-batch
    #[arg(long, value_name = "N", default_value_t = 32)]
    batch: usize,
    /// Learning rate (of Adam)
    #[arg(long, value_name = "RATE", default_value_t = 1e-3)]
    lr: f32,
    /// Seed of fresh weights, of the order of samples and of what is set aside
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Do not train the networks that the result is compared with
    #[arg(long)]
    no_baselines: bool,
    /// Measure the instructions of every round on this emulated core
    #[arg(long, value_name = "CORE")]
    on: Option<String>,
    /// Go on with the pruning in the folder
    #[arg(long)]
    resume: bool,
    /// Folder for pruned.onnx, prune.json and the state
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum How {
    Lottery,
    Gradual,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Unit {
    Element,
    Block,
    Channel,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Within {
    Layer,
    Global,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Worth {
    Increase,
    Magnitude,
}

/// Runs the subcommand.
pub fn run(args: &PruneArgs) -> Outcome<()> {
    let dir = &args.output;
    match (dir.join(STATE).exists(), args.resume) {
        (true, false) => {
            let what = "holds a pruning already; --resume goes on with it";
            return Err(Failure::at(dir, what));
        }
        (false, true) => return Err(Failure::at(dir, "holds no pruning to go on with")),
        _ => std::fs::create_dir_all(dir).map_err(|e| Failure::at(dir, e))?,
    }
    let core = args.on.as_deref().map(qemu::core).transpose()?;
    let network = Network::new(load(&args.model, args.seed)?);
    let network = network.map_err(|e| Failure::at(&args.model, e))?;
    let (train, val, test) = data(args, &network)?;
    let settings = settings(args, &network)?;
    let job = Job {
        network: &network,
        settings: &settings,
        train: &train,
        val: &val,
        test: test.as_ref(),
        run: &Run {
            checkpoint: Some(dir.clone()),
            resume: args.resume,
            ..Run::default()
        },
    };
    let mut shown = Shown {
        bar: Progress::new("dense"),
        stage: String::new(),
        stop: stop_flag()?,
        core,
        model: &args.model,
    };
    let done = prune(&job, &mut shown).map_err(|e| Failure::at(&args.model, e))?;
    drop(shown);
    let Some(done) = done else {
        let what = format!(
            "stopped; the same command with --resume goes on in {}",
            dir.display()
        );
        return Err(Failure::check(what));
    };
    finish(args, &network, &done)
}

fn data(args: &PruneArgs, network: &Network) -> Outcome<(Train, Val, Option<Test>)> {
    let graph = network.graph();
    let all = samples(graph, &args.data)?;
    let (train, val) = match &args.val {
        Some(path) => (all, samples(graph, path)?),
        None => {
            split(&all, args.val_fraction, args.seed).map_err(|e| Failure::at(&args.data, e))?
        }
    };
    let place = args.val.as_ref().unwrap_or(&args.data);
    let test = match &args.test {
        Some(path) => {
            let test = Test::new(network, samples(graph, path)?);
            Some(test.map_err(|e| Failure::at(path, e))?)
        }
        None => None,
    };
    Ok((
        Train::new(network, train).map_err(|e| Failure::at(&args.data, e))?,
        Val::new(network, val).map_err(|e| Failure::at(place, e))?,
        test,
    ))
}

fn settings(args: &PruneArgs, network: &Network) -> Outcome<Settings> {
    let named = Dataset::load(&args.data)?.classes;
    let total = network.width().max(2);
    let class = |name: &String| {
        let by_name = named.iter().position(|c| c == name);
        let found = by_name.or_else(|| name.parse().ok().filter(|&c| c < total));
        found.ok_or_else(|| {
            let known = match named.is_empty() {
                true => format!("0 to {}", total - 1),
                false => named.join(", "),
            };
            Failure::input(format!(
                "--critical {name}: no such class (there are {known})"
            ))
        })
    };
    let [gamma, epochs] = [
        ("--gamma", args.gamma.len()),
        ("--epochs", args.epochs.len()),
    ];
    for (name, len) in [gamma, epochs] {
        if len == 0 || len > 2 {
            return Err(Failure::input(format!(
                "{name}: one number or two, got {len}"
            )));
        }
    }
    let pair = |list: &[usize]| [list[0], list[list.len() - 1]];
    Ok(Settings {
        critical: args.critical.iter().map(class).collect::<Outcome<_>>()?,
        loss: LossSettings {
            balance: args.balance,
            gamma: [args.gamma[0], args.gamma[args.gamma.len() - 1]],
            ranking: args.ranking,
        },
        schedule: match args.schedule {
            How::Lottery => Schedule::Lottery,
            How::Gradual => Schedule::Gradual,
        },
        structure: match args.structure {
            Unit::Element => Structure::Element,
            Unit::Block => Structure::Block,
            Unit::Channel => Structure::Channel,
        },
        scope: match args.scope {
            Within::Layer => Scope::Layer,
            Within::Global => Scope::Global,
        },
        score: match args.score {
            Worth::Increase => Score::Increase,
            Worth::Magnitude => Score::Magnitude,
        },
        share: args.share,
        floor: args.floor,
        budget: (!args.no_budget).then_some(Budget {
            extra: args.fn_budget,
            rate: args.fnr_at_fpr,
        }),
        epochs: pair(&args.epochs),
        rewind: args.rewind,
        batch: args.batch,
        lr: args.lr,
        seed: args.seed,
        baselines: !args.no_baselines,
        ..Settings::default()
    })
}

/// Progress on a terminal, Ctrl-C, measurements.
struct Shown<'a> {
    bar: Progress,
    stage: String,
    stop: Arc<AtomicBool>,
    core: Option<Core>,
    model: &'a Path,
}

impl Watch for Shown<'_> {
    fn event(&mut self, event: &Event) -> Control {
        match event {
            Event::Begin { row, round } => {
                self.stage = match (row, round) {
                    (Row::ClassDependent, 0) => "dense".into(),
                    _ => format!("{}, round {round}", row.name()),
                };
            }
            Event::Step {
                epoch,
                epochs,
                batch,
                batches,
                ..
            } => {
                let done = (epoch - 1) * batches + batch;
                self.bar.at(&self.stage, done, epochs * batches);
            }
            Event::Round { report, .. } => {
                if let Some(why) = &report.int_error {
                    note(&format!("{}: no 8-bit network: {why}", self.stage));
                }
            }
        }
        match self.stop.load(Ordering::Relaxed) {
            true => Control::Stop,
            false => Control::Continue,
        }
    }

    fn instructions(&mut self, artifact: &[u8]) -> Result<Option<u64>, Error> {
        let Some(core) = &self.core else {
            return Ok(None);
        };
        let measure = || {
            let artifact = Artifact::of(self.model, artifact.to_vec())?;
            let inputs = inputs(&artifact, None, 1)?;
            emulated(core, &artifact, &inputs, &mut |_| {})
        };
        let report = measure().map_err(|f| Error::input(f.line().unwrap_or_default()))?;
        match report.fault() {
            Some(what) => Err(Error::input(what.to_string())),
            None => Ok(report.instructions),
        }
    }
}

fn finish(args: &PruneArgs, network: &Network, done: &Pruned) -> Outcome<()> {
    let dir = &args.output;
    let graph = smaller(&done.graph);
    let bytes = export::onnx(&graph).map_err(|e| Failure::at(&args.model, e))?;
    write_file(&dir.join(NETWORK), &bytes)?;
    let report = json(args, &done.report);
    let text = serde_json::to_vec_pretty(&report).map_err(|e| Failure::at(&dir.join(REPORT), e))?;
    write_file(&dir.join(REPORT), &text)?;
    if args.json {
        return print_json(&report);
    }
    let class = |&c: &usize| c.to_string();
    let critical: Vec<String> = done.report.settings.critical.iter().map(class).collect();
    let [train, val, test] = done.report.samples;
    let counted = if test > 0 { "test" } else { "validation" };
    print(&format!(
        "{}\n{} samples, {val} for validation, {test} for testing; {} classes, critical {}; figures of {counted} samples\n{}",
        table(&done.report),
        train,
        network.width().max(2),
        critical.join(", "),
        summary(&done.report, dir),
    ))
}

/// Channels that pruning has left constant or unread are gone from the file.
fn smaller(graph: &Graph) -> Graph {
    elastiq_quant::ir::passes::optimize(graph.clone()).0
}

fn json(args: &PruneArgs, report: &Report) -> Value {
    let mut value = json!(report);
    value["model"] = json!(args.model.display().to_string());
    value["output"] = json!(args.output.join(NETWORK).display().to_string());
    value["core"] = json!(args.on);
    let first = report.rows.first();
    let flat = |r: &RoundReport| {
        let f = r.figures();
        let i = r.integers.as_ref();
        json!({
            "round": r.round,
            "remaining": r.remaining,
            "nonzeros": r.nonzeros,
            "fn": f.false_negatives,
            "fp": f.false_positives,
            "fnr": f.fnr,
            "fpr": f.fpr,
            "auc": f.auc,
            "accuracy": f.accuracy,
            "within_budget": r.within_budget,
            "weights_bytes": i.map(|i| i.weights_bytes),
            "file_bytes": i.map(|i| i.file_bytes),
            "instructions": i.and_then(|i| i.instructions),
        })
    };
    value["rounds"] = first.map_or(json!([]), |r| r.rounds.iter().map(flat).collect());
    value["chosen"] = json!(first.map(|r| r.chosen));
    value
}

/// The rounds, then what the result is compared with.
fn table(report: &Report) -> String {
    let rates = report.settings.rates_reported();
    let at: Vec<String> = rates
        .iter()
        .map(|r| format!("FNR@{}%", r * 100.0))
        .collect();
    let mut header = vec!["network", "round", "left", "non-zeros", "FN", "FP", "AUC"];
    header.extend(at.iter().map(String::as_str));
    header.extend([
        "8-bit FN",
        "8-bit FP",
        "weights B",
        "file B",
        "instructions",
    ]);
    let mut table = TextTable::new(&header);
    for row in &report.rows {
        for (k, r) in row.rounds.iter().enumerate() {
            if row.row != Row::ClassDependent && k != row.chosen {
                continue;
            }
            let name = match (row.row, k) {
                (Row::ClassDependent, 0) => "dense".to_string(),
                _ if k == row.chosen => row.row.name().to_string(),
                _ if r.within_budget == Some(false) => "  over budget".to_string(),
                _ => String::new(),
            };
            table.row(cells(name, r, rates.len()));
        }
    }
    table.render(&[0])
}

fn cells(name: String, r: &RoundReport, rates: usize) -> Vec<String> {
    let f = r.figures();
    let mut cells = vec![
        name,
        r.round.to_string(),
        format!("{:.2}%", 100.0 * r.remaining),
        grouped(r.nonzeros as u64),
        f.false_negatives.to_string(),
        f.false_positives.to_string(),
        share(f.auc),
    ];
    let rate = |i: usize| share(f.at.get(i).map(|a| a.fnr));
    cells.extend((0..rates).map(rate));
    let dash = || "-".to_string();
    match &r.integers {
        None => cells.extend([dash(), dash(), dash(), dash(), dash()]),
        Some(i) => {
            let f = i.test.as_ref().unwrap_or(&i.val);
            cells.extend([
                f.false_negatives.to_string(),
                f.false_positives.to_string(),
                grouped(i.weights_bytes as u64),
                grouped(i.file_bytes as u64),
                i.instructions.map_or_else(dash, grouped),
            ]);
        }
    }
    cells
}

fn summary(report: &Report, dir: &Path) -> String {
    let Some(row) = report.row(Row::ClassDependent) else {
        return String::new();
    };
    let why = match (
        row.rounds.last().and_then(|r| r.within_budget),
        report.settings.budget,
    ) {
        (Some(false), Some(b)) => {
            let place = match b.rate {
                Some(rate) => format!(" at a false positive rate of {}%", rate * 100.0),
                None => String::new(),
            };
            format!(
                "the next round misses more than {} validation samples beyond the dense network{place}",
                b.extra
            )
        }
        _ => "the floor is reached".to_string(),
    };
    format!(
        "round {} is kept: {why}\nwrote {} and {}\n",
        row.chosen,
        dir.join(NETWORK).display(),
        dir.join(REPORT).display()
    )
}

/// A share between 0 and 1, or in per cent.
fn parse_share(text: &str) -> Result<f64, String> {
    let (digits, unit) = match text.strip_suffix('%') {
        Some(digits) => (digits, 100.0),
        None => (text, 1.0),
    };
    match digits.trim().parse::<f64>() {
        Ok(v) if v.is_finite() && (0.0..=1.0).contains(&(v / unit)) => Ok(v / unit),
        _ => Err("expected a share like 1% or 0.01".to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_in_both_notations() {
        assert_eq!(parse_share("1%"), Ok(0.01));
        assert_eq!(parse_share("0.25"), Ok(0.25));
        assert!(
            ["", "1.5", "101%", "-1%", "nan", "x%"]
                .iter()
                .all(|t| parse_share(t).is_err())
        );
    }
}
