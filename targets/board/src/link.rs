//! Build-script side: linker script and constants of the selected board.

use crate::{Board, Region};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// Environment variable that selects the board when firmware is built.
pub const BOARD_VAR: &str = "ELASTIQ_BOARD";

/// Called by the build script of a firmware package.
///
/// Reads `boards/$ELASTIQ_BOARD.toml` beside `manifest_dir`, writes `memory.x` (for `link.x` of the package)
/// and `board.rs` into `out_dir`, and tells cargo how to link. Does nothing when the package is compiled for
/// a system with `std`, where its programs only say how to build them.
///
/// # Errors
/// One line for the build log.
pub fn emit(manifest_dir: &Path, out_dir: &Path, target_os: &str) -> Result<(), String> {
    println!("cargo:rerun-if-env-changed={BOARD_VAR}");
    if target_os != "none" {
        return Ok(());
    }
    let name = std::env::var(BOARD_VAR).map_err(|_| {
        format!(
            "set {BOARD_VAR} to the name of a file in {}",
            manifest_dir.join("boards").display()
        )
    })?;
    let path: PathBuf = manifest_dir.join("boards").join(format!("{name}.toml"));
    let script = manifest_dir.join("link.x");
    println!("cargo:rerun-if-changed={}", path.display());
    println!("cargo:rerun-if-changed={}", script.display());
    let board = Board::read(&path)?;
    write(&out_dir.join("memory.x"), &memory_x(&board))?;
    write(&out_dir.join("board.rs"), &constants(&board))?;
    println!("cargo:rustc-link-search={}", out_dir.display());
    println!("cargo:rustc-link-arg-bins=-T{}", script.display());
    Ok(())
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    std::fs::write(path, text).map_err(|e| format!("{}: {e}", path.display()))
}

fn memory_x(board: &Board) -> String {
    let m = &board.memory;
    format!(
        "MEMORY {{\n  CODE : ORIGIN = {:#x}, LENGTH = {:#x}\n  RAM : ORIGIN = {:#x}, LENGTH = {:#x}\n}}\n__stack_len = {:#x};\n",
        m.code.start, m.code.len, m.ram.start, m.ram.len, m.stack_len
    )
}

fn constants(board: &Board) -> String {
    let mut text = String::new();
    for (name, doc, Region { start, len }) in [
        ("ARENA", "Working memory of the engine", board.memory.arena),
        (
            "LOAD",
            "Job and model, written by the host",
            board.memory.load,
        ),
    ] {
        let _ = writeln!(
            text,
            "/// {doc}.\npub const {name}: elastiq_fw::Region = elastiq_fw::Region {{ start: {start:#x}, len: {len:#x} }};"
        );
    }
    text
}
