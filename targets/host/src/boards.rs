//! The boards that board files describe, each with the core file it builds on.

use crate::failure::{Failure, Outcome};
use crate::qemu::{Core, cores, workspace};
use elastiq_board::Board;

/// A board and what to compile for it.
#[derive(Clone, Debug)]
pub struct Target {
    pub board: Board,
    /// Compiler and kernels; its name is the board's, its memory map is not used.
    pub core: Core,
}

/// All boards, by name.
///
/// # Errors
/// A file that cannot be read, or that names a core which is not there.
pub fn boards() -> Outcome<Vec<Target>> {
    let targets = workspace()?.join("targets");
    let cores = cores()?;
    let mut boards = vec![];
    for family in ["cortex-m", "riscv"] {
        let dir = targets.join(family).join("boards");
        let entries = std::fs::read_dir(&dir).map_err(|e| Failure::at(&dir, e))?;
        for entry in entries {
            let path = entry.map_err(|e| Failure::at(&dir, e))?.path();
            if path.extension().is_none_or(|e| e != "toml") {
                continue;
            }
            let board = Board::read(&path).map_err(Failure::input)?;
            let core = cores.iter().find(|core| core.name == board.core);
            let unknown = || Failure::at(&path, format!("no core `{}`", board.core));
            let core = core.ok_or_else(unknown)?;
            let core = Core {
                name: board.name.clone(),
                chip: board.chip.clone(),
                target: board.target.clone().unwrap_or_else(|| core.target.clone()),
                ..core.clone()
            };
            boards.push(Target { board, core });
        }
    }
    boards.sort_by(|a, b| a.board.name.cmp(&b.board.name));
    Ok(boards)
}

/// The board called `name`.
///
/// # Errors
/// An unknown board, with the names there are.
pub fn board(name: &str) -> Outcome<Target> {
    let boards = boards()?;
    let names: Vec<&str> = boards.iter().map(|t| t.board.name.as_str()).collect();
    let unknown = Failure::input(format!(
        "no board `{name}` (there are {})",
        names.join(", ")
    ));
    boards
        .into_iter()
        .find(|t| t.board.name == name)
        .ok_or(unknown)
}
