//! `elastiq supernet train`.

use super::share32;
use crate::cmd::learning::{Learning, load, stop_flag};
use crate::cmd::train_bar::Bar;
use crate::failure::{Failure, Outcome, io_text};
use crate::output::{TextTable, note, print, print_json, share, write_file};
use clap::{Args, ValueEnum};
use elastiq_quant::compress::eqnet::{NETWORK_FILE, Options, SpaceOptions, TrainedSupernet, train};
use elastiq_quant::ir::Graph;
use elastiq_quant::lower::given;
use elastiq_quant::train::{
    self as float, Config, Control, Event, Network, Run, Wdr, normalized_layers,
};
use elastiq_quant::{Samples, export, import};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

/// Train weights that serve every width from 2 to 8 bits, and the steps and offsets of all formats
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  elastiq supernet train mnist.toml --data mnist_train.npz --val mnist_val.npz -o mnist\n  \
    elastiq supernet train trained.onnx --data mnist_train.npz --bits 2,4,8 --nested -o mnist\n  \
    elastiq supernet train mnist.toml --data mnist_train.npz --val mnist_val.npz -o mnist --resume"
)]
pub struct TrainArgs {
    /// Trained float network (.onnx), or a description (.toml) that is trained as floats first
    model: PathBuf,
    #[command(flatten)]
    learning: Learning,
    /// Epochs of float training that a description gets first
    #[arg(long, value_name = "N", default_value_t = 5)]
    float_epochs: usize,
    /// Widths of weights and activations
    #[arg(
        long,
        value_name = "B,B,..",
        default_value = "2,3,4,5,6,7,8",
        value_delimiter = ','
    )]
    bits: Vec<u8>,
    /// Let the first and the last layer take every width too, in place of 8 bits
    #[arg(long)]
    free_ends: bool,
    /// Weights below 8 bits are the upper bits of one 8-bit code, so that one artifact can hold several widths
    #[arg(long)]
    nested: bool,
    /// Layers whose outputs are normalized by the batch in training: those that BatchNorm follows in the file, all but
    /// the last, or none
    #[arg(long, value_enum, default_value = "file")]
    batch_norm: Normalized,
    /// Share of the teacher in the loss of its students
    #[arg(long, value_name = "SHARE", default_value_t = 0.5)]
    guidance: f32,
    /// Weight of the skewness of weights in the loss
    #[arg(long, value_name = "WEIGHT", default_value_t = Wdr::default().skew)]
    wdr_skew: f32,
    /// Weight of their kurtosis
    #[arg(long, value_name = "WEIGHT", default_value_t = Wdr::default().kurtosis)]
    wdr_kurtosis: f32,
    /// Kurtosis that is aimed at
    #[arg(long, value_name = "VALUE", default_value_t = Wdr::default().target)]
    wdr_target: f32,
    /// Folder of the supernet: its state after every epoch and on Ctrl-C, and the float network
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,
    /// Go on with the training in the folder
    #[arg(long)]
    resume: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Normalized {
    File,
    All,
    None,
}

/// Runs the subcommand.
pub fn run(args: &TrainArgs) -> Outcome<()> {
    let dir = &args.output;
    let started = dir.join(NETWORK_FILE).exists() || dir.join("float").exists();
    match (started, args.resume) {
        (true, false) => {
            let what = "holds a supernet already; --resume goes on with it";
            return Err(Failure::at(dir, what));
        }
        (false, true) => return Err(Failure::at(dir, "holds no supernet to go on with")),
        _ => {}
    }
    let graph = load(&args.model, args.learning.seed)?;
    let (data, val) = args.learning.samples(&graph)?;
    let config = args.learning.config(&data)?;
    let options = Options {
        train: Config {
            wdr: Some(Wdr {
                skew: args.wdr_skew,
                kurtosis: args.wdr_kurtosis,
                target: args.wdr_target,
            }),
            ..config
        },
        space: SpaceOptions {
            bits: args.bits.clone(),
            free_ends: args.free_ends,
            nested: args.nested,
            batch_norm: match args.batch_norm {
                Normalized::File => normalized_layers(&graph),
                Normalized::All => all_but_last(&graph)?,
                Normalized::None => Vec::new(),
            },
        },
        guidance: args.guidance,
        only: None,
    };
    // Whatever is wrong is found before the first step.
    let network = Network::new(graph).map_err(|e| Failure::at(&args.model, e))?;
    options
        .check(&network)
        .map_err(|e| Failure::at(&args.model, e))?;
    std::fs::create_dir_all(dir).map_err(|e| Failure::at(dir, io_text(&e)))?;
    let stop = stop_flag()?;
    let file = dir.join(NETWORK_FILE);
    if !file.exists() {
        let described = args
            .model
            .extension()
            .is_some_and(|e| e.eq_ignore_ascii_case("toml"));
        let graph = match described && args.float_epochs > 0 {
            true => float_stage(args, &network, [&data, &val], &options.train, &stop)?,
            false => network.graph().clone(),
        };
        let bytes = export::onnx(&graph).map_err(|e| Failure::at(&args.model, e))?;
        write_file(&file, &bytes)?;
    }
    // What is read again later is what is trained.
    let graph = import::load(&file).map_err(|e| Failure::at(&file, e))?;
    let network = Network::new(graph).map_err(|e| Failure::at(&file, e))?;
    let resume = args.resume && dir.join("last.ckpt").exists();
    let settings = settings(dir, resume);
    let mut bar = Bar::new(options.train.epochs);
    let mut watch = watching(&mut bar, &stop);
    let trained = train(&network, &data, &val, &options, &settings, &mut watch)
        .map_err(|e| Failure::at(&args.model, e))?;
    drop(watch);
    let rate = bar.rate();
    drop(bar);
    finished(trained.finished, dir)?;
    report(args, &trained, [data.len(), val.len()], rate)
}

/// Names of the layers with weights, but for the last.
fn all_but_last(graph: &Graph) -> Outcome<Vec<String>> {
    let layers = given::layers(graph).map_err(Failure::input)?;
    let names = layers.iter().rev().skip(1).rev();
    Ok(names.map(|l| l.name.clone()).collect())
}

/// Train the weights of a description as floats.
fn float_stage(
    args: &TrainArgs,
    network: &Network,
    [data, val]: [&Samples; 2],
    config: &Config,
    stop: &AtomicBool,
) -> Outcome<Graph> {
    let dir = args.output.join("float");
    let config = Config {
        epochs: args.float_epochs,
        ..config.clone()
    };
    let settings = settings(&dir, args.resume && dir.join("last.ckpt").exists());
    let mut bar = Bar::new(config.epochs);
    let mut watch = watching(&mut bar, stop);
    let trained = float::train(network, data, val, &config, &settings, &mut watch)
        .map_err(|e| Failure::at(&args.model, e))?;
    finished(trained.finished, &args.output)?;
    Ok(trained.graph)
}

fn settings(dir: &Path, resume: bool) -> Run {
    Run {
        checkpoint: Some(dir.to_path_buf()),
        resume,
        ..Run::default()
    }
}

fn watching<'a>(bar: &'a mut Bar, stop: &'a AtomicBool) -> impl FnMut(Event) -> Control + 'a {
    |event| {
        bar.show(&event);
        match stop.load(Ordering::Relaxed) {
            true => Control::Stop,
            false => Control::Continue,
        }
    }
}

fn finished(yes: bool, dir: &Path) -> Outcome<()> {
    match yes {
        true => Ok(()),
        false => Err(Failure::check(format!(
            "stopped; `-o {} --resume` goes on",
            dir.display()
        ))),
    }
}

fn report(
    args: &TrainArgs,
    trained: &TrainedSupernet,
    [n, n_val]: [usize; 2],
    rate: f64,
) -> Outcome<()> {
    let space = trained.supernet.space();
    if args.json {
        return print_json(&json!({
            "model": args.model.display().to_string(),
            "output": args.output.display().to_string(),
            "layers": space.layers.len(),
            "bits": space.options.bits,
            "nested": space.options.nested,
            "samples": n,
            "val_samples": n_val,
            "best_epoch": trained.best.epoch,
            "int_score": trained.best.score,
            "val_loss": trained.best.val_loss,
            "samples_per_s": rate,
            "epochs": trained.history,
        }));
    }
    let names = trained
        .history
        .first()
        .map_or(&[][..], |e| &e.configurations);
    let columns: Vec<String> = names
        .iter()
        .map(|(name, _)| format!("{name}-bit"))
        .collect();
    let mut header = vec!["epoch", "loss", "val loss", "quantized"];
    header.extend(columns.iter().map(String::as_str));
    let mut table = TextTable::new(&header);
    for e in &trained.history {
        if let Some(why) = &e.int_error {
            note(&format!("epoch {} could not be lowered: {why}", e.epoch));
        }
        let own = [
            e.epoch.to_string(),
            share32(e.loss),
            share32(Some(e.val_loss)),
            share32(e.val_accuracy),
        ];
        let scores = e.configurations.iter().map(|(_, s)| share32(Some(*s)));
        table.row(own.into_iter().chain(scores));
    }
    print(&format!(
        "{}{}: {} layers, {n} samples, {n_val} for validation, {rate:.0} samples/s\n\
        best epoch {}: mean of the integer networks {}\n",
        table.render(&[]),
        args.output.display(),
        space.layers.len(),
        trained.best.epoch,
        share(Some(f64::from(trained.best.score))),
    ))
}
