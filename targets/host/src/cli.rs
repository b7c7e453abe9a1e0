//! Arguments of the program, and the way from a result to an exit code.

use crate::cmd;
use crate::failure::{Outcome, one_line};
use crate::output::note;
use clap::error::ErrorKind;
use clap::{Parser, Subcommand};
use std::ffi::OsString;

/// Integer-only neural networks on microcontrollers: ONNX in, artifact out, tested in an emulator.
#[derive(Parser, Debug)]
#[command(name = "elastiq", version, about, max_term_width = 100)]
#[command(
    after_help = "Example:\n  elastiq quickstart\n\nExit code: 0 done, 1 a check failed, 2 bad input"
)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    Quickstart(cmd::quickstart::QuickstartArgs),
    Compile(Box<cmd::compile::CompileArgs>),
    Inspect(cmd::inspect::InspectArgs),
    Eval(cmd::eval::EvalArgs),
    Bench(cmd::bench::BenchArgs),
    Flash(cmd::flash::FlashArgs),
    Train(Box<cmd::train::TrainArgs>),
    Supernet(cmd::supernet::SupernetArgs),
    Data(cmd::data::DataArgs),
    Prune(Box<cmd::prune::PruneArgs>),
    Repro(cmd::repro::ReproArgs),
    Report(cmd::report::ReportArgs),
    Doctor(cmd::doctor::DoctorArgs),
}

/// Runs the program and returns its exit code: 0 done, 1 a check failed, 2 bad input.
pub fn main(args: impl IntoIterator<Item = OsString>) -> u8 {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(e) if matches!(e.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => {
            return match crate::output::print(&e.render().to_string()) {
                Ok(()) => 0,
                Err(f) => f.code(),
            };
        }
        Err(e) => {
            note(&usage_error(&e));
            return 2;
        }
    };
    match dispatch(&cli.command) {
        Ok(()) => 0,
        Err(failure) => {
            if let Some(line) = failure.line() {
                note(&format!("error: {line}"));
            }
            failure.code()
        }
    }
}

fn dispatch(command: &Command) -> Outcome<()> {
    match command {
        Command::Quickstart(args) => cmd::quickstart::run(args),
        Command::Compile(args) => cmd::compile::run(args),
        Command::Inspect(args) => cmd::inspect::run(args),
        Command::Eval(args) => cmd::eval::run(args),
        Command::Bench(args) => cmd::bench::run(args),
        Command::Flash(args) => cmd::flash::run(args),
        Command::Report(args) => cmd::report::run(args),
        Command::Doctor(args) => cmd::doctor::run(args),
        Command::Train(args) => cmd::train::run(args),
        Command::Supernet(args) => cmd::supernet::run(args),
        Command::Data(args) => cmd::data::run(args),
        Command::Prune(args) => cmd::prune::run(args),
        Command::Repro(args) => cmd::repro::run(args),
    }
}

/// The first paragraph of an argument error as one line.
fn usage_error(e: &clap::Error) -> String {
    if e.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return "error: no subcommand given (see `elastiq --help`)".to_string();
    }
    let text = e.render().to_string();
    let first: Vec<&str> = text.split("\n\n").next().unwrap_or("").lines().collect();
    format!(
        "{} (see `--help`)",
        one_line(&first.join("\n")).replace(":; ", ": ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn arguments_are_consistent_and_every_subcommand_has_an_example() {
        Cli::command().debug_assert();
        for sub in Cli::command().get_subcommands() {
            let help = sub
                .get_after_help()
                .map(ToString::to_string)
                .unwrap_or_default();
            assert!(help.contains("Example:\n  elastiq "), "{}", sub.get_name());
        }
    }
}
