//! `elastiq compile --method nupes`: its arguments, and the table of what was chosen.

use super::{CompileArgs, Levels, source};
use crate::cmd::supernet::parse_budget;
use crate::failure::{Failure, Outcome};
use crate::output::{Progress as Bar, TextTable};
use clap::Args;
use elastiq_quant::Samples;
use elastiq_quant::calibrate::Ranges;
use elastiq_quant::compile::{CompileOptions, CompileReport, Progress, compile_graph};
use elastiq_quant::compress::nupes::fit::Exponents;
use elastiq_quant::compress::nupes::learn::{Learn, Variant};
use elastiq_quant::compress::nupes::mixed::{Mixture, mix};
use elastiq_quant::compress::nupes::{self, Choice, Options};
use elastiq_quant::compress::search::Budget;
use elastiq_quant::ir::Graph;
use elastiq_quant::lower::format::{Coding, WeightFormat};
use elastiq_quant::lower::given::Given;
use serde::Serialize;

/// Arguments of power levels.
#[derive(Args, Debug)]
pub struct NupesArgs {
    /// Bits of activations between layers, 2 to 8, with --method nupes; they stay in bytes
    #[arg(long, value_name = "BITS", default_value_t = 8, value_parser = clap::value_parser!(u8).range(2..=8))]
    acts: u8,
    /// Learn the codes on the calibration samples, layer by layer; labels are not used
    #[arg(long)]
    learn: bool,
    /// How codes are learned
    #[arg(long, value_name = "HOW", default_value = "anchored", value_parser = ["anchored", "ste"])]
    variant: String,
    /// Steps of learning per layer
    #[arg(long, value_name = "N", default_value_t = Learn::WHOLE.steps as u32, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    steps: u32,
    /// Choose exponents and clipping points by the weights alone
    #[arg(long, conflicts_with = "learn")]
    data_free: bool,
    /// Exponents to choose from, 0.2 to 1.5, with commas: 0.5,1 needs no table on a device [default: all]
    #[arg(long, value_name = "LIST", value_parser = parse_exponent, value_delimiter = ',')]
    exponents: Vec<f64>,
    /// Choose the width of every layer, 2 to 6 or 8 bits, within flash=BYTES, arena=BYTES or bits=AVERAGE, with commas
    #[arg(long, value_name = "LIMITS", value_parser = parse_limits, conflicts_with_all = ["layer_weights", "compare"])]
    budget: Option<Budget>,
    /// Print a table of this and of equal steps (abs-max, least squared error, learned rounding) at the same widths
    #[arg(long)]
    pub compare: bool,
    /// Core whose instructions the table counts
    #[arg(long, value_name = "CORE", requires = "compare")]
    pub bench: Option<String>,
    /// Seed of the windows that are looked at
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
}

/// A budget without instructions, which are not known for a network that is not compiled yet.
fn parse_limits(text: &str) -> Result<Budget, String> {
    let limits = parse_budget(text)?;
    match limits.core {
        Some(_) => Err("instructions can be limited by `elastiq supernet search`".into()),
        None => Ok(Budget(limits.most)),
    }
}

fn parse_exponent(text: &str) -> Result<f64, String> {
    let (least, most) = (nupes::fit::LEAST, nupes::fit::MOST);
    let value = text.trim().parse().ok();
    value
        .filter(|a| (least..=most).contains(a))
        .ok_or_else(|| format!("expected numbers from {least} to {most}, got `{text}`"))
}

/// Choices of the quantization, `None` for uniform levels.
///
/// # Errors
/// Formats that powers do not have, arguments of powers without them.
pub fn method(args: &CompileArgs) -> Outcome<Option<Options>> {
    let n = &args.nupes;
    if args.method == Levels::Uniform {
        let named = [
            (n.acts < 8, "--acts"),
            (n.learn, "--learn"),
            (n.data_free, "--data-free"),
            (!n.exponents.is_empty(), "--exponents"),
            (n.compare, "--compare"),
            (n.budget.is_some(), "--budget"),
        ];
        return match named.iter().find(|(given, _)| *given) {
            Some((_, name)) => Err(Failure::input(format!("{name}: needs --method nupes"))),
            None => Ok(None),
        };
    }
    if (n.learn || n.compare || n.budget.is_some()) && args.calib.is_none() {
        return Err(Failure::input(
            "--learn, --compare and --budget need samples: give --calib in place of --calib-random",
        ));
    }
    let plain = |format: &WeightFormat| format.coding == Coding::Linear && !format.asymmetric;
    let formats = args.layer_weights.iter().map(|(_, f)| f);
    if !formats.chain([&args.weights]).all(plain) {
        return Err(Failure::input(
            "--method nupes: weights take a width and per-tensor; the levels are its own",
        ));
    }
    let learn = Learn {
        variant: match n.variant.as_str() {
            "ste" => Variant::Ste,
            _ => Variant::Anchored,
        },
        steps: n.steps as usize,
        exponent: n.exponents.is_empty(),
        ..Learn::WHOLE
    };
    Ok(Some(Options {
        by_layer: args
            .layer_weights
            .iter()
            .map(|(name, f)| (name.clone(), f.bits))
            .collect(),
        per_tensor: args.weights.per_tensor,
        acts: n.acts,
        exponents: match n.exponents.is_empty() {
            true => Exponents::Free,
            false => Exponents::Of(n.exponents.clone()),
        },
        on_outputs: args.calib.is_some() && !n.data_free,
        learn: n.learn.then_some(learn),
        seed: n.seed,
        ..Options::searched(args.weights.bits)
    }))
}

/// Decides as `method` says; what was chosen per layer goes to `layers`.
pub fn decide<'a>(
    method: &'a Options,
    samples: &'a Samples,
    layers: &'a mut Vec<Choice>,
) -> impl FnMut(&Graph, &Ranges, &mut Progress) -> Result<Given, elastiq_quant::Error> + 'a {
    move |graph, ranges, progress| {
        let decision = nupes::decide(graph, samples, ranges, method, progress)?;
        *layers = decision.layers;
        Ok(decision.given)
    }
}

/// Widths within the budget, and the weights that the budget was checked with; `None` without a budget.
///
/// # Errors
/// A budget that nothing fits.
pub fn mixture(
    args: &CompileArgs,
    graph: &Graph,
    samples: &Samples,
    options: &CompileOptions,
    method: &Options,
) -> Outcome<Option<Mixture>> {
    let Some(budget) = &args.nupes.budget else {
        return Ok(None);
    };
    let mut bar = Bar::new("search");
    let mut progress = |stage: &str, done: usize, total: usize| bar.at(stage, done, total);
    let source = source(&args.model);
    // The network as it is after passes: names and widths are those of its layers.
    let quick = CompileOptions {
        verify_samples: 1,
        verify_on: None,
        ..options.clone()
    };
    let fail = |e| Failure::at(&args.model, e);
    let optimized = compile_graph(graph.clone(), &source, samples, &quick, &mut progress);
    let optimized = optimized.map_err(fail)?.graph;
    let found = mix(
        &optimized,
        &source,
        samples,
        options,
        method,
        budget,
        &mut progress,
    );
    Ok(Some(found.map_err(fail)?))
}

/// True where the artifact is within the budget of `args`, if there is one.
pub fn fits(args: &CompileArgs, report: &CompileReport) -> bool {
    let within = |most: Option<u64>, is: usize| most.is_none_or(|most| is as u64 <= most);
    args.nupes.budget.is_none_or(|budget| {
        within(budget.0.flash, report.file_bytes) && within(budget.0.arena, report.arena_bytes)
    })
}

/// What `--json` prints.
#[derive(Serialize)]
pub struct Report<'a> {
    #[serde(flatten)]
    report: &'a CompileReport,
    /// Exponents, clipping points and errors per layer.
    nupes: &'a [Choice],
}

impl<'a> Report<'a> {
    /// Both parts.
    pub fn new(report: &'a CompileReport, nupes: &'a [Choice]) -> Report<'a> {
        Report { report, nupes }
    }
}

/// One line per layer; nothing without layers.
pub fn table(layers: &[Choice]) -> String {
    if layers.is_empty() {
        return String::new();
    }
    let mut table = TextTable::new(&[
        "layer", "bits", "exponent", "clip", "searched", "error", "changed",
    ]);
    for l in layers {
        table.row([
            l.name.clone(),
            l.bits.to_string(),
            format!("{:.3}", l.exponent),
            format!("{:.3}", l.clip),
            format!("{:.2e}", l.searched),
            format!("{:.2e}", l.error),
            format!("{:.3}", l.changed),
        ]);
    }
    format!(
        "{}exponent of the levels, last level over largest weight, squared error over squared size as searched and in \
         the end, share of codes that learning changed\n\n",
        table.render(&[0])
    )
}
