//! `elastiq bench`: time on this machine, instructions on emulated cores.

use crate::artifact::Artifact;
use crate::data::Dataset;
use crate::failure::{Failure, Outcome};
use crate::measure::{CoreReport, emulated, host, inputs};
use crate::output::{Spinner, TextTable, grouped, print, print_json};
use crate::qemu;
use clap::Args;
use serde_json::json;
use std::fmt::Write;
use std::path::PathBuf;

/// Measure an artifact: time per layer on this machine, or instructions per layer on an emulated core
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  elastiq bench digits.eqm --on m4\n  \
    elastiq bench digits.eqm --on all --data digits_test.npz --inputs 20 --json")]
pub struct BenchArgs {
    /// Artifact made by `elastiq compile`
    model: PathBuf,
    /// host, m0, m3, m4, m7, m33, m55, rv32, rvv, several with commas, or all (every emulated core)
    #[arg(long, value_name = "CORE", default_value = "host")]
    on: String,
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
    let artifact = Artifact::load(&args.model)?;
    let data = args.data.as_deref().map(Dataset::load).transpose()?;
    let inputs = inputs(&artifact, data.as_ref(), args.inputs as usize)?;
    let mut reports = Vec::new();
    for name in names(&args.on)? {
        if name == "host" {
            reports.push(host(&artifact, &inputs)?);
            continue;
        }
        let core = qemu::core(&name)?;
        let spinner = Spinner::new(&name);
        reports.push(emulated(&core, &artifact, &inputs, &mut |what| {
            spinner.say(what)
        })?);
    }
    match (&args.json, reports.as_slice()) {
        (true, [one]) => print_json(one)?,
        (true, _) => {
            let all = reports.iter().all(|r| r.matches_host);
            print_json(&json!({ "matches_host": all, "cores": reports }))?;
        }
        (false, _) => print(&reports.iter().map(text).collect::<Vec<_>>().join("\n"))?,
    }
    match reports.iter().find_map(|r| r.difference.as_ref()) {
        Some(what) => Err(Failure::check(format!("{}: {what}", args.model.display()))),
        None => Ok(()),
    }
}

fn names(on: &str) -> Outcome<Vec<String>> {
    if on == "all" {
        return Ok(qemu::cores()?.into_iter().map(|c| c.name).collect());
    }
    Ok(on.split(',').map(|n| n.trim().to_string()).collect())
}

fn text(r: &CoreReport) -> String {
    let mut t = format!("{}: {} MACs, ", r.core, grouped(r.macs));
    match (r.instructions, r.median_us) {
        (Some(n), _) => {
            let _ = write!(t, "{} instructions", grouped(n));
        }
        (None, Some(us)) => {
            let _ = write!(
                t,
                "median {us:.1} us, between quartiles {:.1} us",
                r.spread_us.unwrap_or(0.0)
            );
        }
        (None, None) => t.push_str("nothing counted"),
    }
    if let Some(v) = r.per_mac {
        let _ = write!(t, " ({v:.3} per MAC)");
    }
    t.push('\n');
    if let (Some(bytes), Some(bound)) = (r.stack_bytes, r.stack_bound_bytes) {
        let (bytes, bound) = (grouped(bytes.into()), grouped(bound.into()));
        let _ = write!(t, "stack of a run {bytes} bytes (static bound {bound})");
    }
    if let Some(f) = r.firmware {
        let _ = write!(
            t,
            ", runner with all operators: code {}, constants {}, data {}, zeroed {}",
            grouped(f.code),
            grouped(f.rodata),
            grouped(f.data),
            grouped(f.bss)
        );
    }
    if r.core != "host" {
        let same = if r.matches_host {
            "same bytes as on this machine"
        } else {
            "OTHER BYTES than on this machine"
        };
        let _ = writeln!(t, "\n{} inputs, every layer: {same}", r.inputs);
    }
    let cost = if r.instructions.is_some() {
        "instructions"
    } else {
        "median us"
    };
    let mut table = TextTable::new(&["#", "layer", "op", "MACs", cost, "per MAC"]);
    for (i, l) in r.layers.iter().enumerate() {
        let cost = l
            .instructions
            .map(grouped)
            .or_else(|| l.median_us.map(|us| format!("{us:.1}")));
        table.row([
            i.to_string(),
            l.name.clone(),
            l.op.clone(),
            grouped(l.macs),
            cost.unwrap_or_else(|| "-".into()),
            l.per_mac.map_or(String::new(), |v| format!("{v:.3}")),
        ]);
    }
    t.push_str(&table.render(&[1, 2]));
    t
}
