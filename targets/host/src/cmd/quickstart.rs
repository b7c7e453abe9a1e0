//! `elastiq quickstart`: the whole way, on networks and data that come with the program.

use super::compile::{compile_model, import_model, samples};
use super::data::npz;
use super::eval::evaluate;
use crate::artifact::{Artifact, Host};
use crate::data::{Dataset, fetch};
use crate::evaluation::{Choice, Evaluation};
use crate::failure::{Failure, Outcome, io_text};
use crate::measure::{CoreReport, emulated, inputs};
use crate::output::{Spinner, TextTable, grouped, note, print, print_json, share, write_file};
use crate::{qemu, toolchain};
use clap::Args;
use elastiq_quant::compile::{CompileOptions, CompileReport};
use serde::Serialize;
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// Import, quantize, pack, check and run the example networks, on this machine and on emulated cores
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  elastiq quickstart\n  elastiq quickstart --cores m4,m55,rv32 --json\n\n\
    Missing compilers and emulators are installed as by `elastiq doctor --install` when run as root on Debian.\n\
    Where they stay missing, the columns of the emulated cores are left out, which is said in a line."
)]
pub struct QuickstartArgs {
    /// Emulated cores to run on, with commas; none for this machine only
    #[arg(long, value_name = "LIST", default_value = "m4,rv32")]
    cores: String,
    /// Folder for networks, data and artifacts
    #[arg(long, value_name = "DIR", default_value = "elastiq-out")]
    out: PathBuf,
    /// Test rows that are run on every emulated core
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..))]
    inputs: u32,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// An example network and the data it was trained on.
struct Example {
    name: &'static str,
    data: &'static str,
    onnx: &'static [u8],
}

macro_rules! example {
    ($name:literal, $data:literal) => {
        Example {
            name: $name,
            data: $data,
            onnx: include_bytes!(concat!("../../../../examples/models/", $name, ".onnx")),
        }
    };
}

const EXAMPLES: [Example; 8] = [
    example!("digits_cnn", "digits"),
    example!("digits_cnn_qdq", "digits"),
    example!("digits_cnn_qdq_u8", "digits"),
    example!("digits_dscnn", "digits"),
    example!("digits_keras", "digits"),
    example!("digits_resnet", "digits"),
    example!("digits_zoo", "digits"),
    example!("cancer_mlp", "breast-cancer"),
];

/// Accuracy that quantization may cost at most, on the test rows.
const MAX_LOSS: f64 = 0.02;
/// Training rows that activation ranges are chosen with.
const CALIBRATION: usize = 300;

#[derive(Serialize)]
struct Row {
    network: &'static str,
    n: usize,
    float_top1: Option<f64>,
    top1: Option<f64>,
    agree: Option<f64>,
    file_bytes: usize,
    arena_bytes: usize,
    arena_bound_bytes: usize,
    macs: u64,
    self_test: bool,
    cores: Vec<CoreRow>,
}

#[derive(Serialize)]
struct CoreRow {
    core: String,
    instructions: Option<u64>,
    matches_host: bool,
    difference: Option<String>,
}

#[derive(Serialize)]
struct Report {
    networks: Vec<Row>,
    out: String,
    /// Why emulated cores were left out.
    skipped: Option<String>,
    /// What did not hold.
    failed: Vec<String>,
}

/// Runs the subcommand.
pub fn run(args: &QuickstartArgs) -> Outcome<()> {
    std::fs::create_dir_all(&args.out)
        .map_err(|e| Failure::at(&args.out, format!("cannot create folder: {}", io_text(&e))))?;
    let (cores, skipped) = cores(&args.cores)?;
    if let Some(why) = &skipped {
        note(&format!(
            "note: {why}; columns of emulated cores are left out"
        ));
    }
    let mut report = Report {
        networks: vec![],
        out: args.out.display().to_string(),
        skipped,
        failed: vec![],
    };
    let mut sets: Vec<(&str, [Dataset; 2])> = Vec::new();
    for example in &EXAMPLES {
        if !sets.iter().any(|(name, _)| *name == example.data) {
            sets.push((example.data, data(example.data, &args.out)?));
        }
        let Some((_, [train, test])) = sets.iter().find(|(name, _)| *name == example.data) else {
            continue;
        };
        let (row, artifact) = compile_and_score(example, train, test, &args.out)?;
        report.networks.push(run_on_cores(
            row,
            &artifact,
            test,
            &cores,
            args.inputs as usize,
        )?);
    }
    report.failed = report.networks.iter().flat_map(Row::failures).collect();
    if args.json {
        print_json(&report)?;
    } else {
        print(&text(&report, &cores))?;
    }
    match report.failed.first() {
        Some(first) => Err(Failure::check(first)),
        None => Ok(()),
    }
}

/// Cores to run on, or why there are none.
fn cores(list: &str) -> Outcome<(Vec<qemu::Core>, Option<String>)> {
    if list == "none" {
        return Ok((vec![], None));
    }
    // Where the sources are gone, firmware cannot be built; that is no reason not to run on this machine.
    if let Err(Failure::Input(why)) = qemu::workspace() {
        return Ok((vec![], Some(why)));
    }
    let wanted = list
        .split(',')
        .map(|name| qemu::core(name.trim()))
        .collect::<Outcome<Vec<_>>>()?;
    let ready = || -> Outcome<bool> {
        let state = toolchain::detect()?;
        let has = |core: &qemu::Core| state.cores.iter().any(|c| c.name == core.name && c.ready());
        Ok(state.cargo.is_some() && state.linker.is_some() && wanted.iter().all(has))
    };
    if ready()? {
        return Ok((wanted, None));
    }
    let spinner = Spinner::new("installing");
    let installed = toolchain::install(&mut |what| spinner.say(what));
    drop(spinner);
    match installed {
        _ if ready()? => Ok((wanted, None)),
        Ok(()) => Ok((
            vec![],
            Some("compilers or emulators are missing (see `elastiq doctor`)".into()),
        )),
        Err(why) => Ok((vec![], why.line())),
    }
}

/// Training rows and test rows; every split is also written to `out`.
fn data(name: &str, out: &Path) -> Outcome<[Dataset; 2]> {
    let (mut train, mut test) = (None, None);
    // These sets are inside of the program, no cache is used.
    for split in fetch(name, out)? {
        write_file(
            &out.join(format!("{name}_{}.npz", split.name)),
            &npz(&split.data)?,
        )?;
        match split.name {
            "train" => train = Some(split.data),
            "test" => test = Some(split.data),
            _ => {}
        }
    }
    match (train, test) {
        (Some(train), Some(test)) => Ok([train, test]),
        _ => Err(Failure::input(format!(
            "{name}: has no train and test split"
        ))),
    }
}

fn compile_and_score(
    example: &Example,
    train: &Dataset,
    test: &Dataset,
    out: &Path,
) -> Outcome<(Row, Artifact)> {
    let model = out.join(format!("{}.onnx", example.name));
    write_file(&model, example.onnx)?;
    let mut options = CompileOptions::default();
    let graph = import_model(&model, &options)?;
    let calibration = samples(&graph, &train.evenly(CALIBRATION), &mut options)?;
    let compiled = compile_model(&model, graph, &calibration, &options)?;
    let path = out.join(format!("{}.eqm", example.name));
    write_file(&path, &compiled.bytes)?;
    let artifact = Artifact::of(&path, compiled.bytes)?;
    let (passed, cases) = Host::new(artifact.engine()?)
        .self_test()
        .map_err(|e| Failure::at(&path, e))?;
    let score = evaluate(&artifact, test, Some(&model), &Choice::default())?;
    Ok((
        Row::of(example.name, &compiled.report, &score, passed == cases),
        artifact,
    ))
}

fn run_on_cores(
    mut row: Row,
    artifact: &Artifact,
    test: &Dataset,
    cores: &[qemu::Core],
    n: usize,
) -> Outcome<Row> {
    let inputs = inputs(artifact, Some(test), n)?;
    for core in cores {
        let spinner = Spinner::new(row.network);
        let r: CoreReport = emulated(core, artifact, &inputs, &mut |what| spinner.say(what))?;
        row.cores.push(CoreRow {
            core: r.core,
            instructions: r.instructions,
            matches_host: r.matches_host,
            difference: r.difference,
        });
    }
    Ok(row)
}

impl Row {
    fn of(
        network: &'static str,
        compiled: &CompileReport,
        score: &Evaluation,
        self_test: bool,
    ) -> Row {
        Row {
            network,
            n: score.n,
            float_top1: score.float_top1,
            top1: score.top1,
            agree: score.agree,
            file_bytes: compiled.file_bytes,
            arena_bytes: compiled.arena_bytes,
            arena_bound_bytes: compiled.arena_bound_bytes,
            macs: compiled.macs,
            self_test,
            cores: vec![],
        }
    }

    fn failures(&self) -> Vec<String> {
        let mut failures = vec![];
        if !self.self_test {
            failures.push(format!("{}: self-test gave other bytes", self.network));
        }
        match (self.float_top1, self.top1) {
            (Some(float), Some(int)) if float - int <= MAX_LOSS => {}
            (float, int) => {
                failures.push(format!(
                    "{}: top-1 {} after float {}",
                    self.network,
                    share(int),
                    share(float)
                ));
            }
        }
        let differences = self.cores.iter().filter_map(|c| c.difference.as_ref());
        failures.extend(differences.map(|d| format!("{}: {d}", self.network)));
        failures
    }
}

fn text(report: &Report, cores: &[qemu::Core]) -> String {
    let mut header: Vec<String> = [
        "network",
        "float",
        "int8",
        "agree",
        "flash",
        "arena (bound)",
        "MACs",
    ]
    .map(String::from)
    .to_vec();
    header.extend(cores.iter().map(|c| format!("{} instr", c.name)));
    header.extend((!cores.is_empty()).then(|| "host == core".to_string()));
    let mut table = TextTable::new(&header.iter().map(String::as_str).collect::<Vec<_>>());
    for r in &report.networks {
        let mut row = vec![
            r.network.to_string(),
            share(r.float_top1),
            share(r.top1),
            share(r.agree),
            grouped(r.file_bytes as u64),
            format!(
                "{} ({})",
                grouped(r.arena_bytes as u64),
                grouped(r.arena_bound_bytes as u64)
            ),
            grouped(r.macs),
        ];
        row.extend(
            r.cores
                .iter()
                .map(|c| c.instructions.map_or_else(|| "-".into(), grouped)),
        );
        if !r.cores.is_empty() {
            let same = r.cores.iter().all(|c| c.matches_host);
            row.push(if same { "every byte" } else { "DIFFERS" }.into());
        }
        table.row(row);
    }
    let mut t = table.render(&[0]);
    t.push_str(
        "\naccuracy on the test rows of digits and breast-cancer; flash and arena in bytes\n",
    );
    if let Some(why) = &report.skipped {
        let _ = writeln!(t, "emulated cores were left out: {why}");
    }
    let _ = writeln!(t, "networks, artifacts and data are in {}", report.out);
    let _ = writeln!(t, "next: elastiq inspect {}/digits_cnn.eqm", report.out);
    t
}
