//! `elastiq supernet search`.

use super::artifacts::Exports;
use super::{costs, share32};
use crate::cmd::learning::{samples, stop_flag};
use crate::data::read_file;
use crate::failure::{Failure, Outcome, io_text};
use crate::output::{Progress, TextTable, check_writable, grouped, print, print_json, write_file};
use clap::{Args, ValueEnum};
use elastiq::format::crc::Crc;
use elastiq_quant::Samples;
use elastiq_quant::compress::eqnet::{Format, LayerConfig, Score, SubnetConfig, Supernet};
use elastiq_quant::compress::search::supernet::{Losses, artifacts, parts};
use elastiq_quant::compress::search::{
    Agreement, Artifacts, Budget, Costs, Elastic, Evaluation, Event, Evolve, Found, Guided, Method,
    Scored, Unit, search,
};
use elastiq_quant::train::Control;
use serde::{Deserialize, Serialize};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

/// Find the widths of every layer that lose least within a budget
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  elastiq supernet search mnist --data mnist_val.npz --budget flash=20000 -o found.json\n  \
    elastiq supernet search mnist --data mnist_val.npz --budget bits=3.0 --method predictor -o found.json\n  \
    elastiq supernet costs mnist --on m4 --calib mnist_train.npz\n  \
    elastiq supernet search mnist --data mnist_val.npz --budget flash=20000,instructions=900000@m4 -o found.json"
)]
pub struct SearchArgs {
    /// Folder that `elastiq supernet train` wrote
    supernet: PathBuf,
    /// Validation samples, which decide
    #[arg(long, value_name = "DATA")]
    data: PathBuf,
    /// The most that the artifact may cost: flash=BYTES, arena=BYTES, instructions=N@CORE, bits=AVERAGE, with commas
    #[arg(long, value_name = "LIMITS", value_parser = parse_budget)]
    budget: Limits,
    /// How to search
    #[arg(long, value_enum, default_value = "evolve")]
    method: How,
    /// channel or tensor, sym or asym (weights), sym or asym (activations)
    #[arg(long, value_name = "FORMAT", default_value_t = Format::DEFAULT)]
    format: Format,
    /// Samples that artifacts are calibrated with [default: the validation samples]
    #[arg(long, value_name = "DATA")]
    calib: Option<PathBuf>,
    /// Core that artifacts are aimed at, or host [default: that of the instructions, else as m4]
    #[arg(long, value_name = "NAME")]
    core: Option<String>,
    /// Generations [default: 40 for evolve, 100 for predictor]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    generations: Option<u32>,
    /// Offspring of a generation (evolve)
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    offspring: u32,
    /// Configurations that the predictor learns from (predictor)
    #[arg(long, value_name = "N", default_value_t = 400, value_parser = clap::value_parser!(u32).range(10..=1_000_000))]
    pairs: u32,
    /// Seed of everything random
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Configuration to write, for `supernet eval` and `supernet export`
    #[arg(short, long, value_name = "CONFIG.json")]
    output: PathBuf,
    /// Go on with an interrupted search
    #[arg(long)]
    resume: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum How {
    /// Evolution that evaluates what it compares
    Evolve,
    /// A predictor of the loss, and a genetic search that asks it
    Predictor,
}

/// A budget, and the core that instructions are counted on.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::cmd) struct Limits {
    pub most: Costs,
    pub core: Option<String>,
}

/// Evaluations of a search that was stopped.
#[derive(Serialize, Deserialize)]
struct State {
    /// Of the supernet, the data and the format.
    checksum: u32,
    evaluations: Vec<Evaluation>,
}

#[derive(Serialize)]
struct Report {
    supernet: String,
    output: String,
    method: &'static str,
    format: String,
    seed: u64,
    budget: Costs,
    #[serde(skip_serializing_if = "Option::is_none")]
    core: Option<String>,
    n: usize,
    loss: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    accuracy: Option<f32>,
    costs: Costs,
    /// Bytes of the artifact that was made of the result.
    flash_bytes: usize,
    arena_bytes: usize,
    evaluations: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    uniform: Option<Point>,
    #[serde(skip_serializing_if = "Option::is_none")]
    random: Option<Point>,
    #[serde(skip_serializing_if = "Option::is_none")]
    random_mean_loss: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    predictor: Option<Agreement>,
    history: Vec<f64>,
    config: SubnetConfig,
    /// Everything within the budget that was evaluated on all samples.
    points: Vec<Point>,
}

#[derive(Serialize)]
struct Point {
    loss: f64,
    #[serde(flatten)]
    costs: Costs,
    weight_bits: Vec<u8>,
}

/// Runs the subcommand.
pub fn run(args: &SearchArgs) -> Outcome<()> {
    check_writable(&args.output)?;
    let core = match (&args.core, &args.budget.core) {
        (Some(a), Some(b)) if a != b => {
            let what = format!("--core {a}: the instructions of the budget are those of {b}");
            return Err(Failure::input(what));
        }
        (a, b) => a.as_ref().or(b.as_ref()),
    };
    let (supernet, trained) = Supernet::load(&args.supernet).map_err(Failure::input)?;
    let space = supernet.space();
    if !space.formats().any(|f| f == args.format) {
        return Err(Failure::input(format!(
            "--format {}: nested weights are symmetric and per channel",
            args.format
        )));
    }
    let table = match &args.budget.core {
        Some(core) => Some(costs::load(&args.supernet, core, args.format)?),
        None => None,
    };
    let data = samples(supernet.network().graph(), &args.data)?;
    let method = args.method();
    let parts = parts(&method, &data);
    let fail = |e| Failure::at(&args.data, e);
    let losses = Losses::new(&supernet, &parts, &trained).map_err(fail)?;
    let calib = args.calib.as_ref().unwrap_or(&args.data);
    let exports = Exports::new(&args.supernet, &supernet, calib, core.map(String::as_str))?;
    let sizes = known_sizes(args, &exports)?;
    let activations = args.budget.most.bits.is_some();
    let loss = |config: &SubnetConfig, n: usize| losses.loss(config, n);
    let mut problem =
        Elastic::new(space, args.format, activations, data.len(), loss).with_artifacts(&sizes);
    if let Some(table) = &table {
        problem = problem.with_instructions(table);
    }

    let checksum = checksum(args, &data)?;
    let known = match args.resume {
        true => resume(args, checksum)?,
        false => Vec::new(),
    };
    let stop = stop_flag()?;
    let mut bar = Progress::new("search");
    let mut watch = |event: Event| {
        let best = event
            .best
            .map_or(String::new(), |b| format!(" (loss {b:.4})"));
        bar.at(&format!("{}{best}", event.stage), event.done, event.total);
        match stop.load(Ordering::Relaxed) {
            true => Control::Stop,
            false => Control::Continue,
        }
    };
    let budget = Budget(args.budget.most);
    let found = search(&problem, &budget, &method, args.seed, &known, &mut watch)
        .map_err(Failure::input)?;
    drop(bar);
    if !found.finished {
        let state = State {
            checksum,
            evaluations: found.evaluations,
        };
        let text = serde_json::to_string(&state).map_err(Failure::input)?;
        write_file(&state_file(&args.output), text.as_bytes())?;
        return Err(Failure::check(
            "stopped; the same command with --resume goes on",
        ));
    }
    let best = found.best.clone().ok_or_else(|| {
        Failure::check("the search ended without a configuration, which is a defect of it")
    })?;
    let config = problem.config(&best.genome);
    // What was predicted is what is made.
    let made = exports.make(&config)?;
    let is = [made.bytes.len() as u64, made.report.arena_bytes as u64];
    let over = |most: Option<u64>, is: u64| most.is_some_and(|most| is > most);
    if over(args.budget.most.flash, is[0]) || over(args.budget.most.arena, is[1]) {
        return Err(Failure::check(format!(
            "the artifact takes {} bytes and {} of arena, which is beyond the budget",
            is[0], is[1]
        )));
    }
    let text = serde_json::to_string_pretty(&config).map_err(Failure::input)? + "\n";
    write_file(&args.output, text.as_bytes())?;
    remove(&state_file(&args.output))?;
    let score = supernet
        .evaluator(&data, &trained)
        .and_then(|e| e.score(&config))
        .map_err(fail)?;
    let point = |s: &Scored| Point {
        loss: s.loss,
        costs: s.costs,
        weight_bits: problem
            .config(&s.genome)
            .layers
            .iter()
            .map(|l| l.weight_bits)
            .collect(),
    };
    let report = report(args, &found, &best, config, score, is, data.len(), &point);
    match args.json {
        true => print_json(&report),
        false => print(&report_text(&report)),
    }
}

impl SearchArgs {
    fn method(&self) -> Method {
        let generations = |default| self.generations.map_or(default, |n| n as usize);
        match self.method {
            How::Evolve => {
                let evolve = Evolve::default();
                Method::Evolve(Evolve {
                    generations: generations(evolve.generations),
                    offspring: self.offspring as usize,
                    ..evolve
                })
            }
            How::Predictor => {
                let guided = Guided::default();
                Method::Predict(Guided {
                    generations: generations(guided.generations),
                    pairs: self.pairs as usize,
                    ..guided
                })
            }
        }
    }
}

/// Bytes of all mixtures, from one artifact per width.
fn known_sizes(args: &SearchArgs, exports: &Exports) -> Outcome<Artifacts> {
    let mut bar = Progress::new("artifacts");
    let make = |config: &SubnetConfig| {
        exports
            .make(config)
            .map_err(|e| elastiq_quant::Error::input(e.line().unwrap_or_default()))
    };
    let mut progress = |stage: &str, done: usize, total: usize| bar.at(stage, done, total);
    artifacts(
        exports.supernet,
        args.format,
        make,
        &exports.options,
        &mut progress,
    )
    .map_err(|e| Failure::at(&args.supernet, e))
}

fn state_file(output: &Path) -> PathBuf {
    output.with_extension("state.json")
}

fn remove(path: &Path) -> Outcome<()> {
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(Failure::at(path, format!("cannot remove: {}", io_text(&e))))
        }
        _ => Ok(()),
    }
}

fn resume(args: &SearchArgs, checksum: u32) -> Outcome<Vec<Evaluation>> {
    let path = state_file(&args.output);
    let bytes = read_file(&path)?;
    let state: State = serde_json::from_slice(&bytes)
        .map_err(|e| Failure::at(&path, format!("is no state of a search: {e}")))?;
    match state.checksum == checksum {
        true => Ok(state.evaluations),
        false => Err(Failure::at(
            &path,
            "belongs to another supernet, data or format",
        )),
    }
}

/// Of everything that a loss depends on beside the configuration.
fn checksum(args: &SearchArgs, data: &Samples) -> Outcome<u32> {
    let mut crc = Crc::new().update(&read_file(&args.supernet.join("last.ckpt"))?);
    for x in data.inputs.iter().flatten() {
        crc = crc.update(&x.to_le_bytes());
    }
    for y in data.labels.iter().flatten() {
        crc = crc.update(&y.to_le_bytes());
    }
    let activations = [u8::from(args.budget.most.bits.is_some())];
    Ok(crc
        .update(args.format.to_string().as_bytes())
        .update(&activations)
        .finish())
}

#[allow(clippy::too_many_arguments)]
fn report(
    args: &SearchArgs,
    found: &Found,
    best: &Scored,
    config: SubnetConfig,
    score: Score,
    [flash, arena]: [u64; 2],
    n: usize,
    point: &dyn Fn(&Scored) -> Point,
) -> Report {
    Report {
        supernet: args.supernet.display().to_string(),
        output: args.output.display().to_string(),
        method: match args.method {
            How::Evolve => "evolve",
            How::Predictor => "predictor",
        },
        format: args.format.to_string(),
        seed: args.seed,
        budget: args.budget.most,
        core: args.budget.core.clone(),
        n,
        loss: best.loss,
        accuracy: score.accuracy,
        costs: best.costs,
        flash_bytes: flash as usize,
        arena_bytes: arena as usize,
        evaluations: found.evaluations.len(),
        uniform: found.uniform.as_ref().map(point),
        random: found.random.as_ref().map(|(best, _)| point(best)),
        random_mean_loss: found.random.as_ref().map(|(_, mean)| *mean),
        predictor: found.agreement,
        history: found.history.clone(),
        config,
        points: found.points.iter().map(point).collect(),
    }
}

fn report_text(r: &Report) -> String {
    let mut layers = TextTable::new(&["layer", "weights", "activations"]);
    for l in &r.config.layers {
        let LayerConfig {
            layer,
            weight_bits,
            activation_bits,
            ..
        } = l;
        layers.row([
            layer.clone(),
            weight_bits.to_string(),
            activation_bits.to_string(),
        ]);
    }
    let mut table = TextTable::new(&["", "loss", "flash", "arena", "instructions", "bits"]);
    let best = Point {
        loss: r.loss,
        costs: r.costs,
        weight_bits: Vec::new(),
    };
    let rows = [
        ("found", Some(&best)),
        ("best uniform", r.uniform.as_ref()),
        ("best random", r.random.as_ref()),
    ];
    for (name, point) in rows {
        let Some(p) = point else { continue };
        let count = |v: Option<u64>| v.map_or_else(|| "-".into(), grouped);
        table.row([
            name.to_string(),
            format!("{:.5}", p.loss),
            count(p.costs.flash),
            count(p.costs.arena),
            count(p.costs.instructions),
            p.costs
                .bits
                .map_or_else(|| "-".into(), |b| format!("{b:.3}")),
        ]);
    }
    let mut text = format!("{}\n{}", layers.render(&[0]), table.render(&[0]));
    if let Some(mean) = r.random_mean_loss {
        let _ = writeln!(text, "mean loss of random configurations {mean:.5}");
    }
    if let Some(a) = &r.predictor {
        let _ = writeln!(
            text,
            "predictor: {} pairs, on {} others Kendall tau {:.3}, Pearson {:.3}",
            a.train, a.held_out, a.kendall, a.pearson
        );
    }
    let _ = writeln!(
        text,
        "accuracy {} on {} samples, {} evaluations; wrote {}",
        share32(r.accuracy),
        r.n,
        grouped(r.evaluations as u64),
        r.output
    );
    text
}

/// `flash=20000,arena=4096,instructions=900000@m4,bits=3.0`
pub(in crate::cmd) fn parse_budget(text: &str) -> Result<Limits, String> {
    let mut limits = Limits::default();
    for part in text.split(',') {
        let (name, value) = part
            .split_once('=')
            .ok_or_else(|| format!("expected NAME=LIMIT, got `{part}`"))?;
        let unit = Unit::ALL.into_iter().find(|unit| unit.name() == name);
        let unit =
            unit.ok_or_else(|| format!("`{name}` is none of flash, arena, instructions, bits"))?;
        if limits.most.get(unit).is_some() {
            return Err(format!("{name} is limited twice"));
        }
        let value = match (unit, value.split_once('@')) {
            (Unit::Instructions, Some((value, core))) if !core.is_empty() => {
                limits.core = Some(core.to_string());
                value
            }
            (Unit::Instructions, _) => {
                return Err("instructions are those of a core: instructions=N@CORE".into());
            }
            _ => value,
        };
        match unit {
            Unit::Bits => {
                let bits = value
                    .parse()
                    .ok()
                    .filter(|b: &f64| b.is_finite() && *b > 0.0);
                let bits = bits.ok_or_else(|| format!("`{value}` is no average of bits"))?;
                limits.most.set(unit, bits);
            }
            _ => {
                let count: u64 = value
                    .parse()
                    .map_err(|_| format!("`{value}` is no number of {}", what(unit)))?;
                limits.most.set(unit, count as f64);
            }
        }
    }
    Ok(limits)
}

fn what(unit: Unit) -> &'static str {
    match unit {
        Unit::Instructions => "instructions",
        _ => "bytes",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budgets_in_text() {
        let limits = parse_budget("flash=20000,instructions=5@m4,bits=3.5").expect("budget");
        assert_eq!((limits.most.flash, limits.most.arena), (Some(20000), None));
        assert_eq!(
            (limits.most.instructions, limits.most.bits),
            (Some(5), Some(3.5))
        );
        assert_eq!(limits.core.as_deref(), Some("m4"));
        for (bad, why) in [
            ("flash", "NAME=LIMIT"),
            ("rom=5", "none of flash"),
            ("flash=5,flash=6", "twice"),
            ("flash=-1", "no number of bytes"),
            ("flash=1e4", "no number of bytes"),
            ("bits=nan", "no average"),
            ("instructions=5", "instructions=N@CORE"),
            ("instructions=5@", "instructions=N@CORE"),
        ] {
            let e = parse_budget(bad).expect_err(bad);
            assert!(e.contains(why), "{bad}: {e}");
        }
    }
}
