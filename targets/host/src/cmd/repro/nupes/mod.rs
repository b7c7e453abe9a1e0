//! `elastiq repro nupes`: the claims of power-function quantization.

mod keywords;
mod seed;
mod trap;

use super::seeds::Store;
use super::{Claim, moments, show};
use crate::artifact::Artifact;
use crate::cmd::data::cache_dir;
use crate::cmd::learning::stop_flag;
use crate::failure::{Failure, Outcome};
use crate::kernels::{KernelReport, measure};
use crate::measure::{emulated, inputs};
use crate::output::{Spinner, TextTable, note};
use crate::qemu;
use clap::Args;
use elastiq_quant::lower::format::{Coding, WeightFormat};
use seed::{Figures, Task};
use serde_json::{Map, json};
use std::path::PathBuf;

/// Power-function quantization: weight errors, accuracy, outliers, learned codes, instructions, equal bytes
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  elastiq repro nupes --seeds 5\n  \
    elastiq repro nupes --seeds 5 --mlperf FOLDER --json")]
pub struct NupesReproArgs {
    /// Seeds, from 0: each trains a network of its own
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
    /// mnist, or digits for a look within seconds
    #[arg(long, value_name = "NAME", default_value = "mnist", value_parser = ["mnist", "digits"])]
    data: String,
    /// Folder with kws_dscnn.onnx, kws_calib.npz and kws_dev.npz, without which the claims about keywords are left out
    /// [default: what ELASTIQ_MLPERF_TINY names]
    #[arg(long, value_name = "DIR")]
    mlperf: Option<PathBuf>,
    /// Emulated core for instructions and equal bytes; none leaves those claims out
    #[arg(long, value_name = "CORE", default_value = "m4")]
    core: String,
    /// Folder that results of single seeds are kept in [default: in the cache folder]
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Test samples that run on the emulated core.
const EMULATED: usize = 8;
/// Bounds of claims that hold for every seed or layer.
const STRICT_SHARE: f64 = 0.8;
const AGREE: f64 = 0.999;

/// Runs the subcommand.
pub fn run(args: &NupesReproArgs) -> Outcome<()> {
    let cache = cache_dir()?;
    let folder = args.state.clone().unwrap_or_else(|| cache.join("repro"));
    let store = Store::open(&folder)?;
    let core = match args.core.as_str() {
        "none" => None,
        name => Some(qemu::core(name)?),
    };
    let task = Task::load(&args.data, &cache)?;
    let keys: Vec<String> = (0..args.seeds)
        .map(|seed| format!("nupes_{}_{seed}", args.data))
        .collect();
    let stop = stop_flag()?;
    let found = store.all(&keys, &stop, |i| task.figures(i as u64, &stop))?;
    let Some(seeds) = found else {
        return Err(Failure::check("stopped; the same command goes on"));
    };
    let mut claims = of_seeds(&seeds);
    let mut details = Map::new();
    details.insert("seeds".into(), json!(args.seeds));
    let mut figures = json!(seeds);
    for figures in figures.as_array_mut().into_iter().flatten() {
        if let Some(figures) = figures.as_object_mut() {
            figures.remove("artifacts");
        }
    }
    details.insert("figures".into(), figures);
    let named = || std::env::var_os("ELASTIQ_MLPERF_TINY").map(PathBuf::from);
    match args.mlperf.clone().or_else(named) {
        Some(folder) => claims.extend(keywords::claims(&folder)?),
        None => note(
            "note: claims about keywords are left out: neither --mlperf nor ELASTIQ_MLPERF_TINY names their folder",
        ),
    }
    match &core {
        Some(core) => claims.extend(on_core(core, &task, &seeds)?),
        None => note("note: claims about instructions and equal bytes are left out: --core none"),
    }
    show(args.json, &table(&seeds), details, &claims)
}

/// What the networks of all seeds show.
fn of_seeds(seeds: &[Figures]) -> Vec<Claim> {
    let of = |f: &dyn Fn(&Figures) -> f64| seeds.iter().map(f).collect::<Vec<f64>>();
    let accuracy = |id: &str| of(&|s| s.accuracy(id));
    let ratio = |pair: &[f64; 2]| pair[1] / pair[0].max(f64::MIN_POSITIVE);
    let pairs = || seeds.iter().flat_map(|s| &s.layers);
    let ratios: Vec<f64> = pairs().map(ratio).collect();
    let strict = of(&|s| {
        let less = s.layers.iter().filter(|p| p[1] < p[0]).count();
        less as f64 / s.layers.len().max(1) as f64
    });
    let never_worse = pairs().all(|p| p[1] <= p[0]);
    let float = of(&|s| s.float);
    vec![
        Claim::new(
            "layer_error",
            "weight error with clipping, powers over equal steps, 4 and 3 bits per tensor: at most 1 in every layer",
            &ratios,
            None,
            |_, _| never_worse,
        ),
        Claim::new(
            "layer_error_below",
            "share of layers where it is below 1: at least 0.8",
            &strict,
            None,
            |mean, _| mean >= STRICT_SHARE,
        ),
        Claim::new(
            "abs_max_error",
            "weight error of the network up to the largest weight, 4 bits per tensor, powers over equal steps: at most 0.75",
            &of(&|s| ratio(&s.abs_max)),
            None,
            |mean, _| mean <= 0.75,
        ),
        Claim::new(
            "laplace_error",
            "the same of 20,000 Laplace samples: at most 0.55",
            &of(&|s| ratio(&s.laplace)),
            None,
            |mean, _| mean <= 0.55,
        ),
        Claim::new(
            "w3a4",
            "accuracy with 3-bit weights per tensor and 4-bit activations: 2 points over equal steps up to the largest weight",
            &accuracy("w3a4 powers"),
            Some(&accuracy("w3a4 abs-max")),
            |mean, base| mean >= base + 0.02,
        ),
        Claim::new(
            "learned_error",
            "3 bits: error of a layer's output after learning over before, mean of layers: at most a third",
            &of(&|s| s.learned_ratio),
            None,
            |mean, _| mean <= 1.0 / 3.0,
        ),
        Claim::new(
            "learned_w3",
            "accuracy with learned 3-bit weights: within 1.5 points of float",
            &accuracy("w3 learned"),
            Some(&float),
            |mean, base| mean >= base - 0.015,
        ),
        Claim::new(
            "outlier_uniform",
            "one weight of 10 sigma per layer, 4 bits per tensor: equal steps lose at least 5 points on some network",
            &of(&|s| s.outlier_loss("uniform")),
            None,
            |_, _| seeds.iter().any(|s| s.outlier_loss("uniform") >= 0.05),
        ),
        Claim::new(
            "outlier_powers",
            "the same networks: powers lose at most 1 point",
            &of(&|s| s.outlier_loss("powers")),
            None,
            |_, _| seeds.iter().all(|s| s.outlier_loss("powers") <= 0.01),
        ),
        Claim::new(
            "agree_with_fake",
            "share of test samples whose class is that of float fake quantization, learned 3 bits: at least 0.999",
            &of(&|s| s.agree),
            None,
            |mean, _| mean >= AGREE,
        ),
        Claim::new(
            "power_sum",
            "negative control: accuracy with sums in the power domain, exponent 0.5, 8 bits: loses at least 10 points",
            &of(&|s| s.trap[1]),
            Some(&of(&|s| s.trap[0])),
            |mean, base| mean <= base - 0.1,
        ),
    ]
}

/// What an emulated core shows: equal bytes for the networks of the first seed, and the cost of 4-bit codebooks.
fn on_core(core: &qemu::Core, task: &Task, seeds: &[Figures]) -> Outcome<Vec<Claim>> {
    let spinner = Spinner::new(&core.name);
    let mut tell = |what: &str| spinner.say(what);
    let mut differing = Vec::new();
    for bytes in task.artifacts(&seeds[0])? {
        let artifact = Artifact::of(std::path::Path::new("nupes.eqm"), bytes)?;
        let inputs = inputs(&artifact, Some(&task.test_data), EMULATED)?;
        let report = emulated(core, &artifact, &inputs, &mut tell)?;
        differing.push(f64::from(u8::from(report.fault().is_some())));
    }
    let format = |bits, coding| WeightFormat {
        bits,
        coding,
        ..Default::default()
    };
    let formats = [format(8, Coding::Linear), format(4, Coding::Codebook)];
    let report = measure(Some(core), &formats, &mut tell)?;
    let flash = seeds
        .iter()
        .map(|s| s.weight_bytes[1] / s.weight_bytes[0])
        .collect::<Vec<f64>>();
    let cost = |id: &str, what: &str, kernels: &[&str]| {
        let ratios = cost_ratios(&report, kernels);
        let worst = ratios.iter().copied().fold(0.0, f64::max);
        let text = format!(
            "instructions of 4-bit codebooks over 8-bit weights on {}, {what}: at most 1.05 each",
            core.name
        );
        Claim::new(id, &text, &ratios, None, |_, _| worst <= 1.05)
    };
    Ok(vec![
        Claim::new(
            "equal_bytes",
            &format!(
                "networks of which {} gives any other byte than this machine, in any layer: none",
                core.name
            ),
            &differing,
            None,
            |mean, _| mean == 0.0,
        ),
        cost("book4_conv", "convolutions", &["conv1x1", "conv3x3"]),
        cost("book4_dense", "dense layers", &["dense512x64"]),
        Claim::new(
            "book4_flash",
            "bytes of 4-bit power weights over 8-bit weights: half, but for tables and padding",
            &flash,
            None,
            |mean, _| mean <= 0.52,
        ),
    ])
}

/// Instructions of 4-bit codebooks over those of 8-bit weights, per kind of layer.
fn cost_ratios(report: &KernelReport, kernels: &[&str]) -> Vec<f64> {
    let count = |kernel: &str, bits: u8| {
        let row = report
            .kernels
            .iter()
            .find(|r| r.kernel == kernel && r.bits == bits);
        row.and_then(|r| r.cost.instructions).map(|n| n as f64)
    };
    let ratio = |kernel: &&str| Some(count(kernel, 4)? / count(kernel, 8)?);
    kernels.iter().filter_map(ratio).collect()
}

/// Accuracies over the seeds.
fn table(seeds: &[Figures]) -> String {
    let mut table = TextTable::new(&["network", "accuracy", "std"]);
    let mut row = |name: &str, values: Vec<f64>| {
        let (mean, std) = moments(&values);
        table.row([name.to_string(), format!("{mean:.4}"), format!("{std:.4}")]);
    };
    row("float", seeds.iter().map(|s| s.float).collect());
    let names: Vec<&String> = seeds[0].accuracies.keys().collect();
    for name in names {
        row(name, seeds.iter().map(|s| s.accuracy(name)).collect());
    }
    format!("{}\n", table.render(&[0]))
}
