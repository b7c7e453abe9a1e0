//! `elastiq compile`: ONNX file to artifact, with a report.

mod compare;
mod nupes;
mod report;

pub use report::text;

use crate::data::{Dataset, InputSpec};
use crate::failure::{Failure, Outcome, io_text};
use crate::output::{Progress, check_writable, print, print_json, write_file};
use clap::Args;
use clap::ValueEnum;
use elastiq_quant::Samples;
use elastiq_quant::calibrate::Method;
use elastiq_quant::compile::{
    CompileOptions, Compiled, Decide, VariantOptions, compile_deciding, compile_variants,
};
use elastiq_quant::import;
use elastiq_quant::ir::Graph;
use elastiq_quant::lower::format::{Coding, Formats, WeightFormat};
use elastiq_quant::pack::without_meta;
use nupes::NupesArgs;
use std::path::{Path, PathBuf};

/// Compile an ONNX network to an artifact: import, quantize, plan, pack, compare with the float network
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  elastiq compile digits.onnx --calib digits_train.npz -o digits.eqm\n  \
    elastiq compile ocr.onnx --input-shape x=1,3,48,192 --calib-random=-1,1 -o ocr.eqm\n  \
    elastiq compile digits.onnx --calib digits_train.npz --method nupes --weights 3 --learn -o digits3.eqm\n  \
    elastiq compile digits.onnx --calib digits_train.npz --eval digits_test.npz --method nupes --weights 3 \
    --compare --bench m4 -o digits3.eqm\n  \
    elastiq compile digits.onnx --calib digits_train.npz --variants 8,4,3 -o elastic.eqm"
)]
pub struct CompileArgs {
    /// Float or QDQ network
    model: PathBuf,
    /// Samples to choose activation ranges with: .npz, .npy, .csv or a folder of PNG per class
    #[arg(
        long,
        value_name = "DATA",
        required_unless_present = "calib_random",
        conflicts_with = "calib_random"
    )]
    calib: Option<PathBuf>,
    /// Uniform noise between LO and HI in place of samples; for measurements, not for accuracy
    #[arg(long, value_name = "LO,HI", value_parser = parse_pair, allow_hyphen_values = true)]
    calib_random: Option<(f32, f32)>,
    /// Samples to use, evenly spaced over the data
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..))]
    calib_samples: u32,
    /// minmax, percentile:P (50 < P <= 100) or mse
    #[arg(long, value_name = "HOW", default_value = "mse", value_parser = parse_range)]
    range: Method,
    /// Bits per weight, 2 to 8, and further codebook or nested, asymmetric, per-tensor
    #[arg(long, value_name = "BITS[,HOW]", default_value = "8")]
    weights: WeightFormat,
    /// Widths to put into one artifact over shared weights, 2 to 8 bits each; which one runs is chosen at run time
    #[arg(long, value_name = "BITS,..", value_delimiter = ',', conflicts_with_all = ["weights", "method", "compare"], value_parser = clap::value_parser!(u8).range(2..=8))]
    variants: Vec<u8>,
    /// The same for one layer (in all variants), by the name of its node
    #[arg(long, value_name = "NAME=BITS[,HOW]", value_parser = parse_layer)]
    layer_weights: Vec<(String, WeightFormat)>,
    /// Samples to compare the result with the float network on, all of them [default: 64 of those of --calib]
    #[arg(long, value_name = "DATA")]
    eval: Option<PathBuf>,
    /// Levels of the weights: as --weights says, or powers whose exponent is searched (see --learn)
    #[arg(long, value_enum, default_value = "uniform")]
    method: Levels,
    #[command(flatten)]
    nupes: NupesArgs,
    /// Core that the artifact is aimed at, or host: decides order of weights and scratch memory; it runs on all
    /// others too, slower [default: as m4]
    #[arg(long, value_name = "NAME")]
    core: Option<String>,
    /// Class names: a file with one per line, or a,b,c
    #[arg(long, value_name = "FILE|a,b,c")]
    labels: Option<String>,
    /// Keep channels that are constant
    #[arg(long)]
    no_dead_channels: bool,
    /// Shape of an input that the file leaves open
    #[arg(long, value_name = "NAME=1,3,48,192", value_parser = parse_shape)]
    input_shape: Vec<(String, Vec<usize>)>,
    /// Recorded runs that travel in the artifact
    #[arg(long, value_name = "N", default_value_t = 1)]
    self_test: usize,
    /// Leave out names and layouts that only host tools read, for firmware; `eval` needs them
    #[arg(long)]
    no_meta: bool,
    /// Artifact to write
    #[arg(short, long, value_name = "FILE.eqm")]
    output: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Where the levels of weights lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Levels {
    /// Equal steps, or a codebook
    Uniform,
    /// Powers
    Nupes,
}

/// Runs the subcommand.
pub fn run(args: &CompileArgs) -> Outcome<()> {
    check_writable(&args.output)?;
    let method = nupes::method(args)?;
    let mut options = CompileOptions {
        method: args.range,
        weights: Formats {
            default: args.weights,
            by_layer: args.layer_weights.iter().cloned().collect(),
        },
        backend: match &args.core {
            Some(core) => crate::qemu::backend(core)?,
            None => CompileOptions::default().backend,
        },
        dead_channels: !args.no_dead_channels,
        labels: args
            .labels
            .as_deref()
            .map(parse_labels)
            .transpose()?
            .unwrap_or_default(),
        self_test_cases: args.self_test,
        input_shapes: args.input_shape.clone(),
        ..Default::default()
    };
    let n = args.calib_samples as usize;
    let graph = import_model(&args.model, &options)?;
    let samples = match (&args.calib, args.calib_random) {
        (Some(path), _) => {
            let data = Dataset::load(path)?.evenly(n);
            samples(&graph, &data, &mut options)?
        }
        (None, Some((lo, hi))) => Samples::synthetic(&graph, n, 0, lo, hi),
        (None, None) => return Err(Failure::input("--calib or --calib-random is needed")),
    };
    if let Some(path) = &args.eval {
        let data = Dataset::load(path)?;
        options.verify_on = Some(self::samples(&graph, &data, &mut options)?);
    }
    if method.is_some() {
        options.weights = Formats::default();
    }
    if args.nupes.compare {
        return compare::run(args, &graph, &samples, &options);
    }
    let mut layers = Vec::new();
    let mut compiled = match &method {
        Some(method) => {
            let mixture = nupes::mixture(args, &graph, &samples, &options, method)?;
            let mut method = method.clone();
            if let Some(mixture) = &mixture {
                method.by_layer.clone_from(&mixture.bits);
            }
            let decide = &mut nupes::decide(&method, &samples, &mut layers);
            let spare = mixture.as_ref().map(|_| graph.clone());
            let done = compile_model_deciding(&args.model, graph, &samples, &options, decide)?;
            match (mixture, spare) {
                // Other tables than those that the budget was checked with: those, then.
                (Some(mixture), Some(graph)) if !nupes::fits(args, &done.report) => {
                    options.given = mixture.given;
                    compile_model(&args.model, graph, &samples, &options)?
                }
                _ => done,
            }
        }
        None if !args.variants.is_empty() => {
            compile_points(&args.model, graph, &samples, &options, &args.points())?
        }
        None => compile_model(&args.model, graph, &samples, &options)?,
    };
    if args.no_meta {
        compiled.bytes = without_meta(&compiled.bytes).map_err(|e| Failure::at(&args.model, e))?;
        compiled.report.file_bytes = compiled.bytes.len();
    }
    write_file(&args.output, &compiled.bytes)?;
    if args.json {
        return match method {
            Some(_) => print_json(&nupes::Report::new(&compiled.report, &layers)),
            None => print_json(&compiled.report),
        };
    }
    print(&nupes::table(&layers))?;
    print(&text(&compiled.report, &args.output))
}

impl CompileArgs {
    /// Operating points of `--variants`: nested weights of every width.
    fn points(&self) -> Vec<VariantOptions> {
        let point = |&bits: &u8| VariantOptions {
            name: bits.to_string(),
            weights: Formats {
                default: WeightFormat {
                    bits,
                    coding: Coding::Nested,
                    ..Default::default()
                },
                by_layer: self.layer_weights.iter().cloned().collect(),
            },
            ..Default::default()
        };
        self.variants.iter().map(point).collect()
    }
}

/// Name of the network in reports.
fn source(model: &Path) -> String {
    let name = model.file_name().map(|n| n.to_string_lossy().into_owned());
    name.unwrap_or_default()
}

/// Imports the network.
pub fn import_model(model: &Path, options: &CompileOptions) -> Outcome<Graph> {
    if model.is_dir() {
        return Err(Failure::at(model, "is a directory, expected an ONNX file"));
    }
    let shapes = import::Options {
        input_shapes: options.input_shapes.clone(),
    };
    import::load_with(model, &shapes).map_err(|e| Failure::at(model, e))
}

/// Data in the order and shape of the inputs of `graph`. Class names of the data become labels where none are set.
///
/// # Errors
/// Data that does not fit, labels whose number is not that of the classes.
pub fn samples(graph: &Graph, data: &Dataset, options: &mut CompileOptions) -> Outcome<Samples> {
    let spec = |p: &elastiq_quant::ir::Port| InputSpec {
        name: p.name.clone(),
        shape: p.file_shape.clone(),
    };
    let specs: Vec<InputSpec> = graph.inputs.iter().map(spec).collect();
    let samples = Samples::new(data.fit(&specs)?);
    let classes = graph
        .outputs
        .first()
        .map_or(0, |p| p.file_shape.iter().product());
    if options.labels.is_empty() && data.classes.len() == classes {
        options.labels.clone_from(&data.classes);
    }
    let Some(y) = &data.y else { return Ok(samples) };
    if classes > 1
        && let Some(i) = y.iter().position(|&v| v as usize >= classes)
    {
        let what = format!(
            "label {} of sample {i} is out of range: the network has {classes} classes",
            y[i]
        );
        return Err(Failure::at(&data.file, what));
    }
    Ok(samples.with_labels(y.clone()))
}

/// Compiles an imported network, with a progress bar.
pub fn compile_model(
    model: &Path,
    graph: Graph,
    samples: &Samples,
    options: &CompileOptions,
) -> Outcome<Compiled> {
    let given =
        &mut |_: &Graph, _: &_, _: &mut elastiq_quant::compile::Progress| Ok(options.given.clone());
    compile_model_deciding(model, graph, samples, options, given)
}

/// Compiles an imported network with a quantization that `decide` chooses, with a progress bar.
pub fn compile_model_deciding(
    model: &Path,
    graph: Graph,
    samples: &Samples,
    options: &CompileOptions,
    decide: &mut Decide,
) -> Outcome<Compiled> {
    compile_with(model, graph, options, |graph, source, progress| {
        compile_deciding(graph, source, samples, options, decide, progress)
    })
}

/// Compiles an imported network to an artifact with all of `variants`, with a progress bar.
fn compile_points(
    model: &Path,
    graph: Graph,
    samples: &Samples,
    options: &CompileOptions,
    variants: &[VariantOptions],
) -> Outcome<Compiled> {
    compile_with(model, graph, options, |graph, source, progress| {
        compile_variants(graph, source, samples, variants, options, progress)
    })
}

fn compile_with(
    model: &Path,
    graph: Graph,
    options: &CompileOptions,
    compile: impl FnOnce(
        Graph,
        &str,
        &mut elastiq_quant::compile::Progress,
    ) -> Result<Compiled, elastiq_quant::Error>,
) -> Outcome<Compiled> {
    let classes: usize = graph
        .outputs
        .first()
        .map_or(0, |p| p.file_shape.iter().product());
    let labels = options.labels.len();
    if labels > 0 && classes > 1 && labels != classes {
        return Err(Failure::input(format!(
            "--labels: {labels} names, the network has {classes} classes"
        )));
    }
    let source = source(model);
    let mut bar = Progress::new("import");
    let mut progress = |stage: &str, done: usize, total: usize| bar.at(stage, done, total);
    compile(graph, &source, &mut progress).map_err(|e| Failure::at(model, e))
}

fn parse_pair(text: &str) -> Result<(f32, f32), String> {
    let bad = || format!("expected two numbers LO,HI with LO below HI, got `{text}`");
    let (lo, hi) = text.split_once(',').ok_or_else(bad)?;
    let number = |s: &str| s.trim().parse::<f32>().ok().filter(|v| v.is_finite());
    let (lo, hi) = (number(lo).ok_or_else(bad)?, number(hi).ok_or_else(bad)?);
    if lo < hi { Ok((lo, hi)) } else { Err(bad()) }
}

fn parse_range(text: &str) -> Result<Method, String> {
    match (text, text.split_once(':')) {
        ("minmax", _) => Ok(Method::MinMax),
        ("mse", _) => Ok(Method::Mse),
        (_, Some(("percentile", p))) => match p.parse::<f32>() {
            Ok(p) if p > 50.0 && p <= 100.0 => Ok(Method::Percentile(p)),
            _ => Err(format!("percentile `{p}` is not above 50 and at most 100")),
        },
        _ => Err("expected minmax, percentile:P or mse".into()),
    }
}

fn parse_layer(text: &str) -> Result<(String, WeightFormat), String> {
    let (name, format) = text
        .rsplit_once('=')
        .ok_or_else(|| format!("expected NAME=BITS[,HOW], got `{text}`"))?;
    Ok((name.to_string(), format.parse()?))
}

fn parse_shape(text: &str) -> Result<(String, Vec<usize>), String> {
    let bad = || format!("expected NAME=1,3,48,192, got `{text}`");
    let (name, dims) = text.rsplit_once('=').ok_or_else(bad)?;
    let dims: Option<Vec<usize>> = dims
        .split(',')
        .map(|d| d.trim().parse().ok().filter(|&d| d > 0))
        .collect();
    match dims {
        Some(dims) if !name.is_empty() => Ok((name.to_string(), dims)),
        _ => Err(bad()),
    }
}

/// Names in a file, one per line, or separated by commas.
fn parse_labels(text: &str) -> Outcome<Vec<String>> {
    let path = Path::new(text);
    let names = if path.is_file() {
        std::fs::read_to_string(path).map_err(|e| Failure::at(path, io_text(&e)))?
    } else if text.contains(',') {
        text.replace(',', "\n")
    } else {
        return Err(Failure::input(format!(
            "--labels {text}: no such file, and no list a,b,c"
        )));
    };
    Ok(names
        .lines()
        .map(str::trim)
        .filter(|l| !l.is_empty())
        .map(str::to_string)
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_in_text() {
        assert_eq!(parse_pair("-1,1"), Ok((-1.0, 1.0)));
        assert!(
            parse_pair("1,1").is_err() && parse_pair("0,nan").is_err() && parse_pair("1").is_err()
        );
        assert_eq!(parse_range("percentile:99.9"), Ok(Method::Percentile(99.9)));
        assert!(parse_range("percentile:10").is_err() && parse_range("max").is_err());
        assert_eq!(parse_shape("a=b=1,3"), Ok(("a=b".into(), vec![1, 3])));
        assert!(parse_shape("x=1,0").is_err() && parse_shape("x").is_err());
        assert_eq!(parse_layer("a=b=4").unwrap().0, "a=b");
        assert!(parse_layer("a=b=1").is_err() && parse_layer("4").is_err());
    }
}
