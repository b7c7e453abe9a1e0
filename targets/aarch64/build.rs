//! Linker script and constants of the board that `ELASTIQ_BOARD` names.

use std::env::var_os;
use std::path::PathBuf;
use std::process::ExitCode;

fn main() -> ExitCode {
    let dir = |key: &str| PathBuf::from(var_os(key).unwrap_or_default());
    let os = std::env::var("CARGO_CFG_TARGET_OS").unwrap_or_default();
    match elastiq_board::link::emit(&dir("CARGO_MANIFEST_DIR"), &dir("OUT_DIR"), &os) {
        Ok(()) => ExitCode::SUCCESS,
        Err(line) => {
            println!("cargo::error={line}");
            ExitCode::FAILURE
        }
    }
}
