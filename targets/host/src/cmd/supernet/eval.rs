//! `elastiq supernet eval`.

use super::{configuration, share32};
use crate::cmd::learning::samples;
use crate::failure::{Failure, Outcome};
use crate::output::{Progress, TextTable, print, print_json};
use clap::Args;
use elastiq_quant::compress::eqnet::{
    AverageBits, Evaluator, Format, Score, SubnetConfig, Supernet,
};
use serde::Serialize;
use std::path::PathBuf;

/// Score sub-networks on data: one, or all widths in all formats
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  elastiq supernet eval mnist --data mnist_test.npz\n  \
    elastiq supernet eval mnist --data mnist_test.npz --config 4/8 --format tensor,sym,sym --int\n  \
    elastiq supernet eval mnist --data mnist_test.npz --config found.json"
)]
pub struct EvalArgs {
    /// Folder that `elastiq supernet train` wrote
    supernet: PathBuf,
    /// .npz, .npy, .csv or a folder of PNG per class
    #[arg(long, value_name = "DATA")]
    data: PathBuf,
    /// A width, WEIGHTS/ACTIVATIONS, or a file with a configuration [default: all widths and formats]
    #[arg(long, value_name = "BITS|FILE.json")]
    config: Option<String>,
    /// channel or tensor, sym or asym (weights), sym or asym (activations) [default: channel,sym,sym]
    #[arg(long, value_name = "FORMAT", requires = "config")]
    format: Option<Format>,
    /// Samples for the statistics of batch normalization, where the supernet has it [default: those of --data]
    #[arg(long, value_name = "DATA")]
    statistics: Option<PathBuf>,
    /// Run the integer networks too
    #[arg(long)]
    int: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// One sub-network, keys of `--json`.
#[derive(Serialize)]
struct Row {
    /// Width of uniform sub-networks.
    #[serde(skip_serializing_if = "Option::is_none")]
    bits: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    format: Option<String>,
    #[serde(flatten)]
    score: Score,
    /// Score of the integer network.
    #[serde(skip_serializing_if = "Option::is_none")]
    int_score: Option<f64>,
    weights_bytes: usize,
    average_bits: AverageBits,
}

/// Runs the subcommand.
pub fn run(args: &EvalArgs) -> Outcome<()> {
    let (mut supernet, config) = Supernet::load(&args.supernet).map_err(Failure::input)?;
    if let Some(path) = &args.statistics {
        let samples = samples(supernet.network().graph(), path)?;
        supernet = supernet.with_statistics(samples);
    }
    let data = samples(supernet.network().graph(), &args.data)?;
    let evaluator = supernet
        .evaluator(&data, &config)
        .map_err(|e| Failure::at(&args.data, e))?;
    let space = supernet.space();
    let rows = match &args.config {
        Some(text) => {
            let config = configuration(space, text, args.format)?;
            vec![row(args, &supernet, &evaluator, &config, None)?]
        }
        None => {
            let mut bar = Progress::new("running");
            let bits = &space.options.bits;
            let all: Vec<(u8, Format)> = bits
                .iter()
                .flat_map(|&b| space.formats().map(move |f| (b, f)))
                .collect();
            let mut rows = Vec::new();
            for (i, &(bits, format)) in all.iter().enumerate() {
                let config = space.uniform(bits, bits, format);
                let name = Some((bits, format));
                rows.push(row(args, &supernet, &evaluator, &config, name)?);
                bar.at("running", i + 1, all.len());
            }
            rows
        }
    };
    if args.json {
        return print_json(&serde_json::json!({ "n": data.len(), "configurations": rows }));
    }
    print(&table(&rows, args.int))
}

fn row(
    args: &EvalArgs,
    supernet: &Supernet,
    evaluator: &Evaluator,
    config: &SubnetConfig,
    uniform: Option<(u8, Format)>,
) -> Outcome<Row> {
    let fail = |e| Failure::at(&args.data, e);
    let space = supernet.space();
    Ok(Row {
        bits: uniform.map(|(bits, _)| bits),
        format: uniform.map(|(_, format)| format.to_string()),
        score: evaluator.score(config).map_err(fail)?,
        int_score: match args.int {
            true => Some(evaluator.int_score(config).map_err(fail)?),
            false => None,
        },
        weights_bytes: space.weight_bytes(config, elastiq::Backend::Portable),
        average_bits: space.average_bits(config),
    })
}

fn table(rows: &[Row], int: bool) -> String {
    let mut header = vec!["bits", "format", "loss", "accuracy"];
    if int {
        header.push("integer");
    }
    header.extend(["weights", "bits/weight", "bits/activation"]);
    let mut table = TextTable::new(&header);
    let free = |v: Option<f64>| v.map_or_else(|| "-".to_string(), |v| format!("{v:.2}"));
    for r in rows {
        let mut cells = vec![
            r.bits
                .map_or_else(|| "mixed".to_string(), |b| b.to_string()),
            r.format.clone().unwrap_or_default(),
            format!("{:.4}", r.score.loss),
            share32(r.score.accuracy),
        ];
        if int {
            cells.push(share32(r.int_score.map(|v| v as f32)));
        }
        let a = &r.average_bits;
        let averages = [format!("{:.2}", a.effective_weights), free(a.activations)];
        cells.push(r.weights_bytes.to_string());
        cells.extend(averages);
        table.row(cells);
    }
    table.render(&[1])
}
