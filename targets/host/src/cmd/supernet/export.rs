//! `elastiq supernet export`.

use super::artifacts::{CALIBRATION_SAMPLES, Exports};
use super::configuration;
use crate::cmd::compile;
use crate::failure::{Failure, Outcome};
use crate::output::{Progress, check_writable, print, print_json, write_file};
use clap::Args;
use elastiq_quant::compress::eqnet::{Format, SubnetConfig, Supernet};
use std::path::PathBuf;

/// Make the artifact of a sub-network
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  elastiq supernet export mnist --config 3 --calib mnist_train.npz -o mnist3.eqm\n  \
    elastiq supernet export mnist --config found.json --calib mnist_train.npz --core m0 -o mnist.eqm\n  \
    elastiq supernet export mnist --variants 8,4,3,2 --calib mnist_train.npz -o elastic.eqm"
)]
pub struct ExportArgs {
    /// Folder that `elastiq supernet train` wrote
    supernet: PathBuf,
    /// A width, WEIGHTS/ACTIVATIONS, or a file with a configuration
    #[arg(
        long,
        value_name = "BITS|FILE.json",
        required_unless_present = "variants",
        conflicts_with = "variants"
    )]
    config: Option<String>,
    /// Several of them in one artifact that changes between them while it runs; needs a nested supernet
    #[arg(long, value_name = "A,B,..", value_delimiter = ',')]
    variants: Vec<String>,
    /// channel or tensor, sym or asym (weights), sym or asym (activations) [default: channel,sym,sym]
    #[arg(long, value_name = "FORMAT")]
    format: Option<Format>,
    /// Samples for the ranges of tensors that no layer reads, and for self-tests
    #[arg(long, value_name = "DATA")]
    calib: PathBuf,
    /// Samples to use, evenly spaced over the data
    #[arg(long, value_name = "N", default_value_t = CALIBRATION_SAMPLES, value_parser = clap::value_parser!(u32).range(1..))]
    calib_samples: u32,
    /// Core that the artifact is aimed at, or host [default: as m4]
    #[arg(long, value_name = "NAME")]
    core: Option<String>,
    /// Artifact to write
    #[arg(short, long, value_name = "FILE.eqm")]
    output: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Runs the subcommand.
pub fn run(args: &ExportArgs) -> Outcome<()> {
    check_writable(&args.output)?;
    let (supernet, _) = Supernet::load(&args.supernet).map_err(Failure::input)?;
    let point = |text: &String| -> Outcome<(String, SubnetConfig)> {
        let config = configuration(supernet.space(), text, args.format)?;
        Ok((text.clone(), config))
    };
    let names = args.config.iter().chain(&args.variants);
    let points = names.map(point).collect::<Outcome<Vec<_>>>()?;
    let core = args.core.as_deref();
    let exports = Exports::with(
        &args.supernet,
        &supernet,
        &args.calib,
        args.calib_samples,
        core,
    )?;
    let mut bar = Progress::new("export");
    let mut progress = |stage: &str, done: usize, total: usize| bar.at(stage, done, total);
    let compiled = match (&args.config, points.as_slice()) {
        (Some(_), [(_, config)]) => exports.make_with(config, &mut progress)?,
        _ => exports.make_variants(&points, &mut progress)?,
    };
    drop(bar);
    write_file(&args.output, &compiled.bytes)?;
    match args.json {
        true => print_json(&compiled.report),
        false => print(&compile::text(&compiled.report, &args.output)),
    }
}
