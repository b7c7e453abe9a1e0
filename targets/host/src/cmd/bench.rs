//! `elastiq bench`: time on this machine, instructions on emulated cores.

mod kernels;
mod layers;
mod size;

use crate::artifact::Artifact;
use crate::data::Dataset;
use crate::failure::{Failure, Outcome};
use crate::measure::{emulated, host, inputs};
use crate::output::{Spinner, print, print_json};
use crate::qemu;
use clap::Args;
use serde::Serialize;
use serde_json::json;
use std::path::{Path, PathBuf};

/// Measure an artifact, or the standing set of layers: time on this machine, instructions on an emulated core
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  elastiq bench digits.eqm --on m4\n  \
    elastiq bench digits.eqm --on all --data digits_test.npz --inputs 20 --json\n  \
    elastiq bench --kernels --on m4,host\n  \
    elastiq bench digits.eqm --on m4 --size")]
pub struct BenchArgs {
    /// Artifact made by `elastiq compile`
    #[arg(required_unless_present = "kernels")]
    model: Option<PathBuf>,
    /// host, the name of a core file (m4), several with commas, or all (every emulated core)
    #[arg(long, value_name = "CORE", default_value = "host")]
    on: String,
    /// Measure one layer of each kind in place of an artifact: every width and coding of the weights
    #[arg(long, conflicts_with_all = ["model", "data", "inputs"])]
    kernels: bool,
    /// Build the application with this artifact in it and print what it needs of flash and RAM
    #[arg(long, conflicts_with_all = ["kernels", "data", "inputs"])]
    size: bool,
    /// Variant to run, by name or index: the first, if none is named
    #[arg(long, value_name = "NAME|INDEX", conflicts_with_all = ["kernels", "size"])]
    variant: Option<String>,
    /// Data whose first samples are run; without it the inputs of the self-test, then patterns
    #[arg(long, value_name = "DATA")]
    data: Option<PathBuf>,
    /// Number of inputs that are run and compared
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    inputs: u32,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Runs the subcommand.
pub fn run(args: &BenchArgs) -> Outcome<()> {
    let places = places(&args.on)?;
    match &args.model {
        Some(model) if args.size => size(args, model, &places),
        Some(model) => network(args, model, &places),
        None => kernels(args, &places),
    }
}

/// This machine, or an emulated core.
type Place = Option<qemu::Core>;

fn places(on: &str) -> Outcome<Vec<Place>> {
    if on == "all" {
        return Ok(qemu::cores()?.into_iter().map(Some).collect());
    }
    on.split(',')
        .map(|name| match name.trim() {
            "host" => Ok(None),
            name => qemu::core(name).map(Some),
        })
        .collect()
}

fn network(args: &BenchArgs, path: &Path, places: &[Place]) -> Outcome<()> {
    let artifact = load(args, path)?;
    let data = args.data.as_deref().map(Dataset::load).transpose()?;
    let inputs = inputs(&artifact, data.as_ref(), args.inputs as usize)?;
    let measured = each(places, |place, progress| match place {
        Some(core) => emulated(core, &artifact, &inputs, progress),
        None => host(&artifact, &inputs),
    })?;
    let matches = measured.iter().all(|r| r.matches_host);
    show(args.json, Some(matches), &measured, layers::text)?;
    let fault = measured.iter().find_map(|r| r.fault());
    checked(fault.map(|what| format!("{}: {what}", path.display())))
}

/// The artifact with the variant that is asked for.
fn load(args: &BenchArgs, path: &Path) -> Outcome<Artifact> {
    let artifact = Artifact::load(path)?;
    match &args.variant {
        Some(name) => artifact.with_variant(name),
        None => Ok(artifact),
    }
}

fn kernels(args: &BenchArgs, places: &[Place]) -> Outcome<()> {
    let formats = crate::kernels::all_formats();
    let measured = each(places, |place, progress| {
        crate::kernels::measure(place.as_ref(), &formats, progress)
    })?;
    let matches = measured.iter().all(|r| r.matches_host);
    show(args.json, Some(matches), &measured, kernels::text)?;
    checked(measured.iter().find_map(|r| r.fault()).map(str::to_string))
}

fn size(args: &BenchArgs, path: &Path, places: &[Place]) -> Outcome<()> {
    let artifact = Artifact::load(path)?;
    let measured = each(places, |place, progress| match place {
        Some(core) => crate::footprint::measure(core, &artifact, progress),
        None => Err(Failure::input("--size needs a core: --on m4")),
    })?;
    show(args.json, None, &measured, size::text)
}

/// Measure at every place, with a sign of life.
fn each<R>(
    places: &[Place],
    mut measure: impl FnMut(&Place, &mut dyn FnMut(&str)) -> Outcome<R>,
) -> Outcome<Vec<R>> {
    let one = |place: &Place| {
        let name = place.as_ref().map_or("host", |core| &core.name);
        let spinner = Spinner::new(name);
        measure(place, &mut |what| spinner.say(what))
    };
    places.iter().map(one).collect()
}

/// One report as it is, several as a list, beside what holds for all of them.
fn show<R: Serialize>(
    json: bool,
    matches_host: Option<bool>,
    reports: &[R],
    text: impl Fn(&R) -> String,
) -> Outcome<()> {
    match (json, reports, matches_host) {
        (true, [one], _) => print_json(one),
        (true, _, Some(all)) => print_json(&json!({ "matches_host": all, "cores": reports })),
        (true, _, None) => print_json(&json!({ "cores": reports })),
        (false, ..) => print(&reports.iter().map(text).collect::<Vec<_>>().join("\n")),
    }
}

fn checked(fault: Option<String>) -> Outcome<()> {
    match fault {
        Some(what) => Err(Failure::check(what)),
        None => Ok(()),
    }
}
