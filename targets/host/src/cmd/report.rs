//! `elastiq report`: one page about a folder of results.

use crate::failure::Outcome;
use crate::output::{check_writable, print, print_json, write_file};
use crate::report::{Results, best, page};
use clap::Args;
use serde_json::json;
use std::path::PathBuf;

/// Write one self-contained HTML page about the results in a folder: fronts, layers, arenas, curves
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  elastiq compile net.onnx --calib train.npz --weights 4 -o out/net4.eqm --json > out/net4.compile.json\n  \
    elastiq eval out/net4.eqm --data test.npz --json > out/net4.eval.json\n  \
    elastiq bench out/net4.eqm --on m4 --json > out/net4.m4.json\n  \
    elastiq report out\n\n\
    Reads every .eqm and .json in the folder. Files of one network share their name up to the first dot.\n\
    JSON of compile, eval, bench, supernet eval, supernet search, prune and repro is recognized by its keys."
)]
pub struct ReportArgs {
    /// Folder with artifacts and what subcommands printed with --json
    folder: PathBuf,
    /// Page to write [default: report.html in the folder]
    #[arg(short, long, value_name = "FILE.html")]
    output: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Runs the subcommand.
pub fn run(args: &ReportArgs) -> Outcome<()> {
    let results = Results::read(&args.folder)?;
    let default = || args.folder.join("report.html");
    let output = args.output.clone().unwrap_or_else(default);
    check_writable(&output)?;
    write_file(&output, page(&results).as_bytes())?;
    if args.json {
        let unknown: Vec<&String> = results.unknown.iter().map(|(name, _)| name).collect();
        return print_json(&json!({
            "output": output.display().to_string(),
            "files": results.files.len(),
            "unknown": unknown,
            "front": best(&results),
        }));
    }
    let mut text = String::new();
    for (name, why) in &results.unknown {
        text.push_str(&format!("not shown: {name}: {why}\n"));
    }
    text.push_str(&format!(
        "wrote {}: {} files\n",
        output.display(),
        results.files.len()
    ));
    print(&text)
}
