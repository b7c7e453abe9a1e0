//! `elastiq supernet costs`: the table of instructions that a search with a budget of instructions needs.

use super::artifacts::Exports;
use crate::artifact::Artifact;
use crate::failure::{Failure, Outcome};
use crate::measure::{emulated, inputs};
use crate::output::{Spinner, TextTable, check_writable, grouped, print, print_json, write_file};
use crate::qemu;
use clap::Args;
use elastiq_quant::compress::eqnet::{Format, Supernet};
use elastiq_quant::compress::search::{InstructionTable, LayerInstructions};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Count the instructions of every layer at every width on an emulated core, once for all searches; again when kernels change
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  elastiq supernet costs mnist --on m4 --calib mnist_train.npz")]
pub struct CostsArgs {
    /// Folder that `elastiq supernet train` wrote; the table is kept in it
    supernet: PathBuf,
    /// Name of a board file: m0, m4, rv32, ...
    #[arg(long, value_name = "CORE")]
    on: String,
    /// Samples for the ranges of tensors that no layer reads
    #[arg(long, value_name = "DATA")]
    calib: PathBuf,
    /// channel or tensor, sym or asym (weights), sym or asym (activations)
    #[arg(long, value_name = "FORMAT", default_value_t = Format::DEFAULT)]
    format: Format,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Where the table of a core lies.
pub fn file(supernet: &Path, core: &str, format: Format) -> PathBuf {
    let name = match format == Format::DEFAULT {
        true => format!("instructions-{core}.json"),
        false => format!(
            "instructions-{core}-{}.json",
            format.to_string().replace(',', "-")
        ),
    };
    supernet.join(name)
}

/// The table of a core.
///
/// # Errors
/// Where there is none, says which command makes it.
pub fn load(supernet: &Path, core: &str, format: Format) -> Outcome<InstructionTable> {
    let path = file(supernet, core, format);
    if !path.exists() {
        let more = match format == Format::DEFAULT {
            true => String::new(),
            false => format!(" --format {format}"),
        };
        return Err(Failure::at(
            &path,
            format!(
                "no such table; `elastiq supernet costs {} --on {core}{more} --calib DATA` makes it",
                supernet.display()
            ),
        ));
    }
    let bytes = crate::data::read_file(&path)?;
    serde_json::from_slice(&bytes)
        .map_err(|e| Failure::at(&path, format!("is no table of instructions: {e}")))
}

/// Runs the subcommand.
pub fn run(args: &CostsArgs) -> Outcome<()> {
    let core = qemu::core(&args.on)?;
    let path = file(&args.supernet, &core.name, args.format);
    let (supernet, _) = Supernet::load(&args.supernet).map_err(Failure::input)?;
    check_writable(&path)?;
    let exports = Exports::new(&args.supernet, &supernet, &args.calib, Some(&core.name))?;
    let spinner = Spinner::new(&core.name);
    let mut layers: BTreeMap<usize, LayerInstructions> = BTreeMap::new();
    let mut rest = 0;
    for &bits in &supernet.space().options.bits {
        spinner.say(&format!("{bits} bits"));
        let config = supernet.space().uniform(bits, 8, args.format);
        let compiled = exports.make(&config)?;
        let artifact = Artifact::of(&args.supernet, compiled.bytes)?;
        let inputs = inputs(&artifact, None, 1)?;
        let report = emulated(&core, &artifact, &inputs, &mut |what| {
            spinner.say(&format!("{bits} bits: {what}"));
        })?;
        if let Some(fault) = report.fault() {
            return Err(Failure::check(fault));
        }
        let missing = || Failure::check(format!("{}: instructions were not counted", core.name));
        let mut all = report.instructions.ok_or_else(missing)?;
        let weighted = compiled.report.layers.iter().zip(&report.layers);
        for (i, (made, counted)) in weighted.enumerate().filter(|(_, (made, _))| made.bits > 0) {
            let n = counted.instructions.ok_or_else(missing)?;
            all = all.saturating_sub(n);
            let layer = layers.entry(i).or_insert_with(|| LayerInstructions {
                name: counted.name.clone(),
                macs: counted.macs,
                instructions: BTreeMap::new(),
            });
            layer.instructions.insert(made.bits, n);
        }
        rest = rest.max(all);
    }
    drop(spinner);
    let table = InstructionTable {
        core: core.name,
        rest,
        layers: layers.into_values().collect(),
    };
    let text = serde_json::to_string_pretty(&table).map_err(Failure::input)? + "\n";
    write_file(&path, text.as_bytes())?;
    match args.json {
        true => print_json(&table),
        false => print(&format!("{}wrote {}\n", rows(&table), path.display())),
    }
}

fn rows(table: &InstructionTable) -> String {
    let widths: Vec<u8> = (2..=8)
        .rev()
        .filter(|b| table.layers.iter().any(|l| l.instructions.contains_key(b)))
        .collect();
    let header: Vec<String> = ["layer", "MACs"]
        .map(String::from)
        .into_iter()
        .chain(widths.iter().map(|b| format!("{b} bits")))
        .collect();
    let header: Vec<&str> = header.iter().map(String::as_str).collect();
    let mut text = TextTable::new(&header);
    for l in &table.layers {
        let count = |b: &u8| {
            l.instructions
                .get(b)
                .map_or_else(|| "-".into(), |&n| grouped(n))
        };
        let cells = [l.name.clone(), grouped(l.macs)];
        text.row(cells.into_iter().chain(widths.iter().map(count)));
    }
    let mut last = vec!["all else".to_string(), String::new()];
    last.resize(2 + widths.len(), grouped(table.rest));
    text.row(last);
    text.render(&[0])
}
