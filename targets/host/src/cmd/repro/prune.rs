//! `elastiq repro prune`: the claims of class-dependent pruning.

use super::seeds::Store;
use super::{Claim, moments, show};
use crate::cmd::data::cache_dir;
use crate::cmd::learning::stop_flag;
use crate::data::fetch;
use crate::failure::{Failure, Outcome};
use crate::output::TextTable;
use clap::Args;
use elastiq_quant::Samples;
use elastiq_quant::compress::class_prune::{
    Control, Event, Figures, Job, Report, RoundReport, Row, Settings, Test, Train, Val, Watch,
    prune,
};
use elastiq_quant::train::{Network, Run, describe};
use ndarray::{ArrayD, Axis, IxDyn};
use serde_json::{Map, json};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

/// Class-dependent pruning: wine, digit 8 against the rest, breast cancer, and gradual pruning of the ten digits
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  elastiq repro prune --seeds 10 --json")]
pub struct PruneReproArgs {
    /// Seeds, from 0
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
    /// Only this data: wine, mnist-8, mnist or breast-cancer
    #[arg(long, value_name = "NAME", value_parser = ["wine", "mnist-8", "mnist", "breast-cancer"])]
    only: Option<String>,
    /// Folder that results of single seeds are kept in [default: in the cache folder]
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// A data set with its network.
struct Task {
    name: &'static str,
    net: &'static str,
    settings: Settings,
    /// Training, validation, test.
    data: [Samples; 3],
}

const WINE: &str = "input = [11]\n[[layer]]\ntype = \"dense\"\nunits = 64\nactivation = \"relu\"\n\
    [[layer]]\ntype = \"dense\"\nunits = 32\nactivation = \"relu\"\n[[layer]]\ntype = \"dense\"\nunits = 1";
const CANCER: &str = "input = [30]\n[[layer]]\ntype = \"dense\"\nunits = 64\nactivation = \"relu\"\n\
    [[layer]]\ntype = \"dense\"\nunits = 32\nactivation = \"relu\"\n[[layer]]\ntype = \"dense\"\nunits = 1";
const EIGHT: &str = "input = [196]\n[[layer]]\ntype = \"dense\"\nunits = 64\nactivation = \"relu\"\n\
    [[layer]]\ntype = \"dense\"\nunits = 32\nactivation = \"relu\"\n[[layer]]\ntype = \"dense\"\nunits = 1";
const DIGITS: &str = "input = [784]\n[[layer]]\ntype = \"dense\"\nunits = 100\nactivation = \"relu\"\n\
    [[layer]]\ntype = \"dense\"\nunits = 64\nactivation = \"relu\"\n[[layer]]\ntype = \"dense\"\nunits = 10";

/// Class of malignant cases.
const MALIGNANT: usize = 0;
/// Negatives per positive of the digit 8.
const RATIO: usize = 5;

/// Runs the subcommand.
pub fn run(args: &PruneReproArgs) -> Outcome<()> {
    let cache = cache_dir()?;
    let folder = args.state.clone().unwrap_or_else(|| cache.join("repro"));
    let store = Store::open(&folder)?;
    let names = ["wine", "mnist-8", "mnist", "breast-cancer"];
    let wanted = |name: &&str| args.only.as_deref().is_none_or(|only| only == *name);
    let tasks = names
        .into_iter()
        .filter(wanted)
        .map(|name| task(name, &cache))
        .collect::<Outcome<Vec<Task>>>()?;
    let jobs: Vec<(&Task, u64)> = tasks
        .iter()
        .flat_map(|t| (0..args.seeds).map(move |seed| (t, seed)))
        .collect();
    let keys: Vec<String> = jobs
        .iter()
        .map(|(t, seed)| format!("prune_{}_{seed}", t.name))
        .collect();
    let stop = stop_flag()?;
    let found = store.all(&keys, &stop, |i| one(jobs[i].0, jobs[i].1, &stop))?;
    let Some(reports) = found else {
        return Err(Failure::check("stopped; the same command goes on"));
    };
    let per_task = reports.chunks(args.seeds as usize);
    let found: Vec<(&str, &[Report])> = tasks.iter().map(|t| t.name).zip(per_task).collect();
    let claims: Vec<Claim> = found.iter().flat_map(|(n, r)| claims(n, r)).collect();
    let mut details = Map::new();
    details.insert("seeds".into(), json!(args.seeds));
    details.insert("tasks".into(), json!(found));
    let tables: String = found.iter().map(|(n, r)| table(n, r)).collect();
    show(args.json, &tables, details, &claims)
}

/// One seed of a task.
fn one(task: &Task, seed: u64, stop: &AtomicBool) -> Outcome<Option<Report>> {
    let fail = |e: elastiq_quant::Error| Failure::input(e);
    let graph = describe::describe(task.net, task.name, seed).map_err(Failure::input)?;
    let network = Network::new(graph).map_err(fail)?;
    let settings = Settings {
        seed,
        ..task.settings.clone()
    };
    let [train, val, test] = task.data.clone();
    let job = Job {
        network: &network,
        settings: &settings,
        train: &Train::new(&network, train).map_err(fail)?,
        val: &Val::new(&network, val).map_err(fail)?,
        test: Some(&Test::new(&network, test).map_err(fail)?),
        run: &Run::default(),
    };
    let done = prune(&job, &mut Quiet(stop)).map_err(fail)?;
    Ok(done.map(|d| d.report))
}

struct Quiet<'a>(&'a AtomicBool);

impl Watch for Quiet<'_> {
    fn event(&mut self, _: &Event) -> Control {
        match self.0.load(Ordering::Relaxed) {
            true => Control::Stop,
            false => Control::Continue,
        }
    }
}

fn task(name: &'static str, cache: &std::path::Path) -> Outcome<Task> {
    let settings = Settings {
        budget: None,
        ..Settings::default()
    };
    let splits = |name: &str| -> Outcome<[(ArrayD<f32>, Vec<i64>); 3]> {
        let splits = fetch(name, cache)?;
        let parts: Vec<_> = splits
            .into_iter()
            .map(|s| {
                let x = s.data.arrays.into_iter().next().map(|(_, x)| x);
                (x.unwrap_or_default(), s.data.y.unwrap_or_default())
            })
            .collect();
        parts
            .try_into()
            .map_err(|_| Failure::input(format!("{name}: not three splits")))
    };
    let flat = |x: ArrayD<f32>| {
        let n = x.len_of(Axis(0));
        let len = x.len() / n.max(1);
        let values = x.iter().copied().collect();
        ArrayD::from_shape_vec(IxDyn(&[n, len]), values).map_err(Failure::input)
    };
    let samples = |(x, y): (ArrayD<f32>, Vec<i64>)| -> Outcome<Samples> {
        Ok(Samples::new(vec![flat(x)?]).with_labels(y))
    };
    let (net, settings, parts) = match name {
        "wine" => (WINE, settings, splits("wine")?),
        "breast-cancer" => {
            let settings = Settings {
                critical: vec![MALIGNANT],
                ..settings
            };
            (CANCER, settings, splits("breast-cancer")?)
        }
        "mnist-8" => (EIGHT, settings, splits("mnist")?.map(eight)),
        _ => {
            let settings = Settings {
                critical: vec![8],
                share: 0.9,
                floor: 0.1,
                ..settings
            };
            (DIGITS, settings, splits("mnist")?)
        }
    };
    let [a, b, c] = parts;
    Ok(Task {
        name,
        net,
        settings,
        data: [samples(a)?, samples(b)?, samples(c)?],
    })
}

/// Digit 8 against the others, the first [`RATIO`] of them for each 8; means of 2 x 2 pixels.
fn eight((x, y): (ArrayD<f32>, Vec<i64>)) -> (ArrayD<f32>, Vec<i64>) {
    let mut left = RATIO * y.iter().filter(|&&l| l == 8).count();
    let take = |i: &usize| {
        let rest = y[*i] != 8;
        let taken = !rest || left > 0;
        left -= usize::from(rest && taken);
        taken
    };
    let picks: Vec<usize> = (0..y.len()).filter(take).collect();
    let mut values = Vec::with_capacity(picks.len() * 196);
    for &i in &picks {
        let picture: Vec<f32> = x.index_axis(Axis(0), i).iter().copied().collect();
        let at = |r: usize, c: usize| picture[r * 28 + c];
        for r in 0..14 {
            for c in 0..14 {
                let sum = at(2 * r, 2 * c)
                    + at(2 * r, 2 * c + 1)
                    + at(2 * r + 1, 2 * c)
                    + at(2 * r + 1, 2 * c + 1);
                values.push(sum / 4.0);
            }
        }
    }
    let labels = picks.iter().map(|&i| i64::from(y[i] == 8)).collect();
    let x = ArrayD::from_shape_vec(IxDyn(&[picks.len(), 196]), values);
    (x.unwrap_or_default(), labels)
}

/// A figure of the round of `row` with the share nearest to `remaining`, for every seed.
fn values(
    reports: &[Report],
    row: Row,
    remaining: f64,
    figure: impl Fn(&RoundReport) -> f64,
) -> Vec<f64> {
    let pick = |r: &Report| {
        let rounds = &r.row(row)?.rounds;
        let off = |r: &&RoundReport| (r.remaining.ln() - remaining.ln()).abs();
        rounds
            .iter()
            .min_by(|a, b| off(a).total_cmp(&off(b)))
            .map(&figure)
    };
    reports.iter().filter_map(pick).collect()
}

fn fnr(r: &RoundReport) -> f64 {
    r.figures().fnr
}

fn auc(r: &RoundReport) -> f64 {
    r.figures().auc.unwrap_or_default()
}

fn at_ten(r: &RoundReport) -> f64 {
    let at = |f: &Figures| f.at.iter().find(|a| a.rate == 0.10).map(|a| a.fnr);
    at(r.figures()).unwrap_or(1.0)
}

fn claims(task: &str, reports: &[Report]) -> Vec<Claim> {
    let compare = |id: String,
                   text: &str,
                   remaining,
                   figure: fn(&RoundReport) -> f64,
                   holds: fn(f64, f64) -> bool| {
        let own = values(reports, Row::ClassDependent, remaining, figure);
        let plain = values(reports, Row::Plain, remaining, figure);
        Claim::new(&id, text, &own, Some(&plain), holds)
    };
    match task {
        "wine" => [0.25, 0.125, 0.0625]
            .into_iter()
            .map(|share| {
                let id = format!("wine-fnr-{}", share * 100.0);
                compare(
                    id,
                    "false negative rate at 0.5 <= 0.75 x plain",
                    share,
                    fnr,
                    |m, b| m <= 0.75 * b,
                )
            })
            .collect(),
        "mnist-8" => [0.0625, 0.016]
            .into_iter()
            .flat_map(|share| {
                let id = |what: &str| format!("mnist-8-{what}-{}", share * 100.0);
                [
                    compare(id("auc"), "AUC >= plain + 0.008", share, auc, |m, b| {
                        m >= b + 0.008
                    }),
                    compare(
                        id("fnr10"),
                        "FNR at FPR 10 % <= 0.65 x plain",
                        share,
                        at_ten,
                        |m, b| m <= 0.65 * b,
                    ),
                ]
            })
            .collect(),
        "mnist" => {
            let figure = |row| values(reports, row, 0.1, |r| r.figures().accuracy);
            let (own, small) = (figure(Row::Gradual), figure(Row::SmallDense));
            let text = "accuracy of gradual pruning at 10 % >= small dense network + 0.02";
            vec![Claim::new(
                "mnist-gradual-10",
                text,
                &own,
                Some(&small),
                |m, b| m >= b + 0.02,
            )]
        }
        _ => Vec::new(),
    }
}

/// Means over the seeds, round by round.
fn table(task: &str, reports: &[Report]) -> String {
    let mut table = TextTable::new(&[
        task,
        "left",
        "FNR",
        "FPR",
        "AUC",
        "FNR@5%",
        "FNR@10%",
        "FNR@20%",
        "accuracy",
        "8-bit FNR",
        "bytes",
    ]);
    let rows = reports.first().map_or(&[][..], |r| &r.rows);
    for (i, row) in rows.iter().enumerate() {
        for k in 0..row.rounds.len() {
            let rounds: Vec<&RoundReport> = reports
                .iter()
                .filter_map(|r| r.rows.get(i)?.rounds.get(k))
                .collect();
            let mean = |f: &dyn Fn(&RoundReport) -> f64| {
                moments(&rounds.iter().map(|r| f(r)).collect::<Vec<_>>()).0
            };
            let at = |j: usize| mean(&|r| r.figures().at.get(j).map_or(1.0, |a| a.fnr));
            let int = |r: &RoundReport| {
                let i = r.integers.as_ref();
                i.map_or(f64::NAN, |i| i.test.as_ref().map_or(f64::NAN, |t| t.fnr))
            };
            table.row([
                row.row.name().to_string(),
                format!("{:.2}%", 100.0 * mean(&|r| r.remaining)),
                format!("{:.3}", mean(&fnr)),
                format!("{:.3}", mean(&|r| r.figures().fpr)),
                format!("{:.4}", mean(&auc)),
                format!("{:.3}", at(0)),
                format!("{:.3}", at(1)),
                format!("{:.3}", at(2)),
                format!("{:.4}", mean(&|r| r.figures().accuracy)),
                format!("{:.3}", mean(&int)),
                format!(
                    "{:.0}",
                    mean(&|r| r
                        .integers
                        .as_ref()
                        .map_or(f64::NAN, |i| i.file_bytes as f64))
                ),
            ]);
        }
    }
    format!("{}\n", table.render(&[0]))
}
