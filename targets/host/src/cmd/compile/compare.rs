//! `elastiq compile --compare`: power levels beside equal steps at the same widths.

use super::{CompileArgs, compile_model_deciding, nupes};
use crate::artifact::Artifact;
use crate::failure::Outcome;
use crate::measure::{emulated, inputs};
use crate::output::{Spinner, TextTable, grouped, print, print_json, share, write_file};
use crate::qemu;
use elastiq_quant::Samples;
use elastiq_quant::compile::CompileOptions;
use elastiq_quant::compress::nupes::Options;
use elastiq_quant::compress::nupes::learn::Learn;
use elastiq_quant::ir::Graph;
use serde::Serialize;

/// A method and what it gives.
#[derive(Serialize)]
struct Row {
    method: &'static str,
    top1: Option<f64>,
    float_top1: Option<f64>,
    agree: Option<f64>,
    sqnr_db: Option<f64>,
    mean_error: f64,
    weights_bytes: usize,
    file_bytes: usize,
    instructions: Option<u64>,
    /// The emulated core gave every byte that this machine gave.
    matches_host: Option<bool>,
}

/// All methods at the widths of `args`; the artifact of the method asked for is written.
pub fn run(
    args: &CompileArgs,
    graph: &Graph,
    samples: &Samples,
    options: &CompileOptions,
) -> Outcome<()> {
    let Some(chosen) = nupes::method(args)? else {
        return Ok(());
    };
    let core = args.nupes.bench.as_deref().map(qemu::core).transpose()?;
    let with = |base: Options| Options {
        by_layer: chosen.by_layer.clone(),
        per_tensor: chosen.per_tensor,
        acts: chosen.acts,
        seed: chosen.seed,
        ..base
    };
    let bits = chosen.bits;
    let steps = chosen.learn.map_or(Learn::ADAROUND.steps, |l| l.steps);
    let mut adaround = Options::adaround(bits);
    adaround.learn = Some(Learn {
        steps,
        ..Learn::ADAROUND
    });
    let mut methods = vec![
        ("uniform, abs-max", with(Options::abs_max(bits))),
        ("uniform, least error", with(Options::clipped(bits))),
        ("uniform, AdaRound", with(adaround)),
    ];
    if chosen.learn.is_some() {
        let searched = Options {
            learn: None,
            ..chosen.clone()
        };
        methods.push(("powers, searched", searched));
        methods.push(("powers, learned", chosen));
    } else {
        methods.push(("powers, searched", chosen));
    }
    let mut rows = Vec::new();
    for (method, choice) in &methods {
        let mut layers = Vec::new();
        let decide = &mut nupes::decide(choice, samples, &mut layers);
        let compiled =
            compile_model_deciding(&args.model, graph.clone(), samples, options, decide)?;
        let (report, o) = (&compiled.report, &compiled.report.output);
        let mut row = Row {
            method,
            top1: o.top1,
            float_top1: o.float_top1,
            agree: o.agree,
            sqnr_db: o.sqnr_db,
            mean_error: o.mean_error,
            weights_bytes: report.weights_bytes,
            file_bytes: report.file_bytes,
            instructions: None,
            matches_host: None,
        };
        // The last method is the one asked for.
        write_file(&args.output, &compiled.bytes)?;
        if let Some(core) = &core {
            let artifact = Artifact::of(&args.output, compiled.bytes)?;
            let spinner = Spinner::new(method);
            let run = emulated(core, &artifact, &inputs(&artifact, None, 1)?, &mut |what| {
                spinner.say(what)
            })?;
            row.instructions = run.instructions;
            row.matches_host = Some(run.matches_host);
        }
        rows.push(row);
    }
    if args.json {
        return print_json(&serde_json::json!({ "methods": rows }));
    }
    let mut table = TextTable::new(&[
        "levels",
        "top-1",
        "float",
        "agree",
        "SQNR dB",
        "mean error",
        "weights",
        "flash",
        "instructions",
    ]);
    for r in &rows {
        table.row([
            r.method.to_string(),
            share(r.top1),
            share(r.float_top1),
            share(r.agree),
            r.sqnr_db.map_or_else(|| "-".into(), |v| format!("{v:.1}")),
            format!("{:.3e}", r.mean_error),
            grouped(r.weights_bytes as u64),
            grouped(r.file_bytes as u64),
            r.instructions.map_or_else(|| "-".into(), grouped),
        ]);
    }
    print(&format!(
        "{}wrote {} (the last row)\n",
        table.render(&[0]),
        args.output.display()
    ))
}
