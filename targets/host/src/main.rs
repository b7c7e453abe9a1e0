//! Entry point: arguments in, exit code out.

use elastiq_cli::cli;
use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(cli::main(std::env::args_os()))
}
