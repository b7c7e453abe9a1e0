//! `elastiq supernet`: one training for all widths and formats, and any of its networks.

mod artifacts;
mod costs;
mod eval;
mod export;
mod search;
mod train;

pub(in crate::cmd) use search::parse_budget;

use crate::failure::{Failure, Outcome};
use crate::output::share;
use clap::{Args, Subcommand};
use elastiq_quant::compress::eqnet::{Format, Space, SubnetConfig, WIDTHS};
use std::path::Path;

/// Train one network for all widths and formats (EQ-Net), score its sub-networks, make artifacts of them
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  elastiq supernet train mnist.toml --data mnist_train.npz --val mnist_val.npz -o mnist\n  \
    elastiq supernet eval mnist --data mnist_test.npz\n  \
    elastiq supernet search mnist --data mnist_val.npz --budget flash=20000 -o found.json\n  \
    elastiq supernet export mnist --config 3 --calib mnist_train.npz -o mnist3.eqm"
)]
pub struct SupernetArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    Train(Box<train::TrainArgs>),
    Eval(eval::EvalArgs),
    Export(export::ExportArgs),
    Search(Box<search::SearchArgs>),
    Costs(costs::CostsArgs),
}

/// Runs the subcommand.
pub fn run(args: &SupernetArgs) -> Outcome<()> {
    match &args.command {
        Command::Train(args) => train::run(args),
        Command::Eval(args) => eval::run(args),
        Command::Export(args) => export::run(args),
        Command::Search(args) => search::run(args),
        Command::Costs(args) => costs::run(args),
    }
}

/// A configuration: a width for weights and activations (`4`), one for each (`4/8`), or a file that a search wrote.
fn configuration(space: &Space, text: &str, format: Option<Format>) -> Outcome<SubnetConfig> {
    let path = Path::new(text);
    if path.extension().is_some_and(|e| e == "json") {
        if format.is_some() {
            return Err(Failure::input(
                "--format: a file of a configuration has its formats",
            ));
        }
        let bytes = crate::data::read_file(path)?;
        let config: SubnetConfig = serde_json::from_slice(&bytes)
            .map_err(|e| Failure::at(path, format!("is no configuration: {e}")))?;
        space.check(&config).map_err(|e| Failure::at(path, e))?;
        return Ok(config);
    }
    let (weights, activations) = text.split_once('/').unwrap_or((text, text));
    let width = |text: &str| {
        let bits = text.parse::<u8>().ok().filter(|b| WIDTHS.contains(b));
        bits.ok_or_else(|| {
            let what = "expected a width from 2 to 8, WEIGHTS/ACTIVATIONS, or a .json file";
            Failure::input(format!("--config {text}: {what}"))
        })
    };
    let format = format.unwrap_or(Format::DEFAULT);
    let config = space.uniform(width(weights)?, width(activations)?, format);
    space.check(&config).map_err(Failure::input)?;
    Ok(config)
}

/// A share of `f32`.
fn share32(v: Option<f32>) -> String {
    share(v.map(f64::from))
}
