//! `elastiq eval`: how well an artifact does on data, alone and against the float network.

use crate::artifact::{Artifact, Host};
use crate::data::{Dataset, InputSpec};
use crate::evaluation::{Choice, Evaluation, Task};
use crate::failure::{Failure, Outcome};
use crate::output::{Progress, TextTable, print, print_json, share};
use crate::score::OutputError;
use clap::Args;
use elastiq::format::DTYPE_I32;
use elastiq_quant::import::{Options, Oracle};
use ndarray::{ArrayD, Axis, IxDyn};
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// Score an artifact on data: top-1, AUC, false negatives and positives per class, output error
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  elastiq eval digits.eqm --data digits_test.npz --float digits.onnx\n  \
    elastiq eval cancer.eqm --data breast-cancer_test.npz --positive malignant --threshold 0.3"
)]
pub struct EvalArgs {
    /// Artifact made by `elastiq compile`
    model: PathBuf,
    /// .npz, .npy, .csv or a folder of PNG per class
    #[arg(long, value_name = "DATA")]
    data: PathBuf,
    /// The float network to compare with
    #[arg(long, value_name = "MODEL.onnx")]
    float: Option<PathBuf>,
    /// Class (label or index) to count misses and false alarms of
    #[arg(long, value_name = "CLASS")]
    positive: Option<String>,
    /// Score of the positive class, as the network gives it, from which on a sample counts as positive
    #[arg(long, value_name = "SCORE", allow_negative_numbers = true)]
    threshold: Option<f32>,
    /// Variant to score, by name or index: the first, if none is named
    #[arg(long, value_name = "NAME|INDEX")]
    variant: Option<String>,
    /// Use the first N samples only
    #[arg(long, value_name = "N")]
    samples: Option<usize>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Runs the subcommand.
pub fn run(args: &EvalArgs) -> Outcome<()> {
    let mut artifact = Artifact::load(&args.model)?;
    if let Some(name) = &args.variant {
        artifact = artifact.with_variant(name)?;
    }
    let mut data = Dataset::load(&args.data)?;
    if let Some(n) = args.samples {
        data = data.head(n.max(1));
    }
    let choice = Choice {
        positive: args.positive.clone(),
        threshold: args.threshold,
    };
    let result = evaluate(&artifact, &data, args.float.as_deref(), &choice)?;
    if args.json {
        return print_json(&result);
    }
    print(&report(&result)?)
}

/// Scores `artifact` on `data`, and the float network in `float` beside it.
///
/// # Errors
/// Data that does not fit the network, labels beyond its classes, neither labels nor a float network.
pub fn evaluate(
    artifact: &Artifact,
    data: &Dataset,
    float: Option<&Path>,
    choice: &Choice,
) -> Outcome<Evaluation> {
    let mut host = Host::new(artifact.engine()?);
    let model = *host.model();
    let specs = artifact.input_specs(&model);
    let samples = data.fit(&specs)?;
    if data.y.is_none() && float.is_none() {
        return Err(Failure::at(
            &data.file,
            "has no labels; give the float network with --float to compare with",
        ));
    }
    let oracle = match float {
        Some(path) => {
            let options = Options {
                input_shapes: specs
                    .iter()
                    .map(|s| (s.name.clone(), s.shape.clone()))
                    .collect(),
            };
            Some((
                path,
                Oracle::load_with(path, &options).map_err(|e| Failure::at(path, e))?,
            ))
        }
        None => None,
    };
    let out = model
        .outputs()
        .next()
        .ok_or_else(|| Failure::at(&artifact.path, "has no output"))?;
    let is_index = out.row.dtype == DTYPE_I32;
    let ports = artifact.ports(&model)?;
    let mut progress = Progress::new("running");
    let (mut ints, mut floats): (Vec<Vec<f32>>, Vec<Vec<f32>>) = (Vec::new(), Vec::new());
    for i in 0..data.n() {
        let input = artifact.encode(&ports, &samples, i)?;
        let outputs = host
            .run(&input)
            .map_err(|e| Failure::at(&artifact.path, e))?;
        let first = ports
            .dequantize(0, &outputs[0])
            .map_err(|e| Failure::at(&artifact.path, e))?;
        ints.push(first.into_iter().collect());
        if let Some((path, oracle)) = &oracle {
            floats.push(float_output(path, oracle, &specs, &samples, i)?);
        }
        progress.at("running", i + 1, data.n());
    }
    drop(progress);
    if let (Some((path, _)), Some(f)) = (&oracle, floats.first())
        && f.len() != ints[0].len()
    {
        let what = format!(
            "first output has {} elements, that of the artifact {}",
            f.len(),
            ints[0].len()
        );
        return Err(Failure::at(path, what));
    }
    let mut result = Evaluation {
        n: data.n(),
        ..Default::default()
    };
    if !floats.is_empty() && !is_index {
        result.output_error = Some(OutputError::of(&floats, &ints));
    }
    result.classes = artifact.labels(&model);
    if result.classes.is_empty() {
        result.classes.clone_from(&data.classes);
    }
    let task = Task {
        is_index,
        width: ints[0].len(),
        choice,
    };
    task.score(data, &ints, &floats, &mut result)?;
    Ok(result)
}

/// First output of the float network for sample `i`.
fn float_output(
    path: &Path,
    oracle: &Oracle,
    specs: &[InputSpec],
    samples: &[ArrayD<f32>],
    i: usize,
) -> Outcome<Vec<f32>> {
    let shaped = |(spec, x): (&InputSpec, &ArrayD<f32>)| {
        let one: Vec<f32> = x.index_axis(Axis(0), i).iter().copied().collect();
        ArrayD::from_shape_vec(IxDyn(&spec.shape), one).map_err(|e| Failure::at(path, e))
    };
    let inputs = specs
        .iter()
        .zip(samples)
        .map(shaped)
        .collect::<Outcome<Vec<_>>>()?;
    let outputs = oracle.run(&inputs).map_err(|e| Failure::at(path, e))?;
    let first = outputs
        .into_iter()
        .next()
        .ok_or_else(|| Failure::at(path, "has no output"))?;
    Ok(first.iter().copied().collect())
}

fn report(e: &Evaluation) -> Outcome<String> {
    let mut text = format!("samples     {}\n", e.n);
    let mut line = |name: &str, v: Option<f64>| {
        if v.is_some() {
            let _ = writeln!(text, "{name:11} {}", share(v));
        }
    };
    line("top-1", e.top1);
    line("float top-1", e.float_top1);
    line("agree", e.agree);
    line("AUC", e.auc);
    if let Some(o) = &e.output_error {
        let snr = o
            .snr_db
            .map_or("exact".to_string(), |v| format!("{v:.1} dB"));
        let _ = writeln!(
            text,
            "against float: mean square {:.3e}, largest {:.3e}, SNR {snr}",
            o.mse, o.max_abs
        );
    }
    if let Some(p) = &e.positive {
        let at = p
            .threshold
            .map_or(String::new(), |t| format!(" at threshold {t}"));
        let _ = writeln!(
            text,
            "class {}{at}: {} missed, {} false alarms",
            p.class, p.false_negatives, p.false_positives
        );
    }
    if let (Some(c), Some(fn_), Some(fp)) = (&e.confusion, &e.false_negatives, &e.false_positives) {
        let mut table = TextTable::new(&["class", "n", "FN", "FP", "predicted as (by class)"]);
        for (i, row) in c.counts().iter().enumerate() {
            let cells: Vec<String> = row.iter().map(usize::to_string).collect();
            table.row([
                e.classes.get(i).cloned().unwrap_or_else(|| i.to_string()),
                row.iter().sum::<usize>().to_string(),
                fn_[i].to_string(),
                fp[i].to_string(),
                cells.join(" "),
            ]);
        }
        text.push_str(&table.render(&[0, 4]));
    }
    Ok(text)
}
