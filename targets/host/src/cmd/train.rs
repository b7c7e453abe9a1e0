//! `elastiq train`: fine-tune an ONNX network, or train a described one, and keep what does best as integers.

use crate::cmd::learning::{Learning, load, stop_flag};
use crate::cmd::train_bar::Bar;
use crate::failure::{Failure, Outcome};
use crate::output::{TextTable, check_writable, note, print, print_json, share, write_file};
use clap::{Args, ValueEnum};
use elastiq_quant::export;
use elastiq_quant::train::{Control, EpochReport, Event, Network, Place, Run, Trained, train};
use serde_json::json;
use std::path::PathBuf;
use std::sync::atomic::Ordering;

/// Train a network; the epoch whose 8-bit network does best on validation data is kept
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  elastiq train net.toml --data mnist_train.npz --val mnist_val.npz --epochs 10 -o net.onnx\n  \
    elastiq train net.onnx --data more.npz --lr 1e-4 --checkpoint state -o tuned.onnx\n  \
    elastiq train net.onnx --data more.npz --lr 1e-4 --checkpoint state --resume -o tuned.onnx"
)]
pub struct TrainArgs {
    /// Float network to go on with (.onnx), or a description of one to start (.toml)
    model: PathBuf,
    #[command(flatten)]
    learning: Learning,
    /// Folder that the state is saved to, after every epoch and on Ctrl-C
    #[arg(long, value_name = "DIR")]
    checkpoint: Option<PathBuf>,
    /// Go on from the checkpoint
    #[arg(long, requires = "checkpoint")]
    resume: bool,
    /// Processor
    #[arg(long, value_enum, default_value = "cpu")]
    device: Processor,
    /// Network to write
    #[arg(short, long, value_name = "OUT.onnx")]
    output: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Processor {
    Cpu,
    Gpu,
}

/// Runs the subcommand.
pub fn run(args: &TrainArgs) -> Outcome<()> {
    check_writable(&args.output)?;
    let graph = load(&args.model, args.learning.seed)?;
    let (data, val) = args.learning.samples(&graph)?;
    let config = args.learning.config(&data)?;
    let network = Network::new(graph).map_err(|e| Failure::at(&args.model, e))?;
    let settings = Run {
        place: match args.device {
            Processor::Cpu => Place::Cpu,
            Processor::Gpu => Place::Gpu,
        },
        checkpoint: args.checkpoint.clone(),
        resume: args.resume,
    };
    let stop = stop_flag()?;
    let mut bar = Bar::new(config.epochs);
    let mut watch = |event: Event| {
        bar.show(&event);
        match stop.load(Ordering::Relaxed) {
            true => Control::Stop,
            false => Control::Continue,
        }
    };
    let trained = train(&network, &data, &val, &config, &settings, &mut watch)
        .map_err(|e| Failure::at(&args.model, e))?;
    let rate = bar.rate();
    drop(bar);
    if !trained.finished {
        return Err(Failure::check(match &args.checkpoint {
            Some(dir) => format!("stopped; `--checkpoint {} --resume` goes on", dir.display()),
            None => "stopped; without --checkpoint nothing is kept".to_string(),
        }));
    }
    let bytes = export::onnx(&trained.graph).map_err(|e| Failure::at(&args.model, e))?;
    write_file(&args.output, &bytes)?;
    report(args, &network, &trained, [data.len(), val.len()], rate)
}

fn report(
    args: &TrainArgs,
    network: &Network,
    trained: &Trained,
    [n, n_val]: [usize; 2],
    rate: f64,
) -> Outcome<()> {
    let parameters: usize = network.initial().iter().map(Vec::len).sum();
    let kept = trained
        .history
        .iter()
        .rfind(|e| e.epoch == trained.best.epoch);
    let float = kept.and_then(|e| e.val_accuracy);
    if args.json {
        return print_json(&json!({
            "model": args.model.display().to_string(),
            "output": args.output.display().to_string(),
            "parameters": parameters,
            "samples": n,
            "val_samples": n_val,
            "best_epoch": trained.best.epoch,
            "int_score": trained.best.score,
            "val_accuracy": float,
            "val_loss": trained.best.val_loss,
            "samples_per_s": rate,
            "epochs": trained.history,
        }));
    }
    for e in &trained.history {
        if let Some(why) = &e.int_error {
            note(&format!("epoch {} could not be lowered: {why}", e.epoch));
        }
    }
    print(&format!(
        "{}{}: {parameters} parameters, {n} samples, {n_val} for validation, {rate:.0} samples/s\n\
        best epoch {}: 8-bit {}, float {}, loss {:.4}\n",
        table(&trained.history),
        args.output.display(),
        trained.best.epoch,
        share(Some(f64::from(trained.best.score))),
        share(float.map(f64::from)),
        trained.best.val_loss,
    ))
}

/// One row per epoch.
fn table(history: &[EpochReport]) -> String {
    let mut table = TextTable::new(&["epoch", "loss", "accuracy", "val loss", "float", "8-bit"]);
    let wide = |v: Option<f32>| share(v.map(f64::from));
    for e in history {
        table.row([
            e.epoch.to_string(),
            wide(e.loss),
            wide(e.accuracy),
            wide(Some(e.val_loss)),
            wide(e.val_accuracy),
            wide(e.int_score),
        ]);
    }
    table.render(&[])
}
