//! Board files `targets/*/boards/NAME.toml`, read by the firmware build scripts and by the host driver.
//!
//! A board file says which core the firmware is compiled for, where it may put what, and which emulator
//! machine runs it. Adding a board is adding a file.

use serde::{Deserialize, Serialize};
use std::path::Path;

pub mod link;

/// One board file.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Board {
    /// Short name, the same as the file's: `m4`.
    pub name: String,
    /// Core as its maker writes it: `Cortex-M4F`.
    pub core: String,
    /// Chip, board or FPGA image.
    pub chip: String,
    /// Cargo package with the firmware for this family of cores.
    pub package: String,
    /// Compiler target triple.
    pub target: String,
    /// `-C target-cpu`, empty for the default of the triple.
    #[serde(default)]
    pub cpu: String,
    /// `-C target-feature`, empty for none.
    #[serde(default)]
    pub features: String,
    /// Kernels of the runtime that this core gets.
    pub backend: String,
    pub memory: Memory,
    pub timer: Timer,
    pub qemu: Qemu,
}

/// A range of addresses, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Region {
    pub start: u32,
    pub len: u32,
}

impl Region {
    /// First address behind the region.
    pub fn end(self) -> u64 {
        u64::from(self.start) + u64::from(self.len)
    }

    fn overlaps(self, other: Region) -> bool {
        u64::from(self.start) < other.end() && u64::from(other.start) < self.end()
    }
}

/// Memory map of the firmware.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Memory {
    /// Vector table, code and constants.
    pub code: Region,
    /// Stack at the bottom (an overflow leaves the region and faults), then variables.
    pub ram: Region,
    /// Bytes of `ram` for the stack.
    pub stack_len: u32,
    /// Working memory lent to the engine by the runner.
    pub arena: Region,
    /// Where the host puts the job and the model before the core starts.
    pub load: Region,
}

/// What the runner counts instructions with.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Timer {
    /// Instructions per tick when the emulator executes one instruction per virtual nanosecond.
    pub instructions_per_tick: f64,
    /// Instructions per turn of the loop that waits for the next tick; 0 where a tick is one instruction.
    pub instructions_per_spin: u32,
}

/// Emulator machine.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Qemu {
    /// Program, `qemu-system-arm`.
    pub program: String,
    /// `-M`.
    pub machine: String,
    /// `-cpu`, empty for the default of the machine.
    #[serde(default)]
    pub cpu: String,
    /// Further arguments.
    #[serde(default)]
    pub args: Vec<String>,
}

impl Board {
    /// Read and check a board file.
    ///
    /// # Errors
    /// One line that names the file.
    pub fn read(path: &Path) -> Result<Board, String> {
        let text = std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
        let board = Board::parse(&text).map_err(|e| format!("{}: {e}", path.display()))?;
        if path.file_stem().and_then(|s| s.to_str()) != Some(&board.name) {
            return Err(format!(
                "{}: name = \"{}\" differs from the file name",
                path.display(),
                board.name
            ));
        }
        Ok(board)
    }

    /// Parse and check the text of a board file.
    ///
    /// # Errors
    /// One line that names the field.
    pub fn parse(text: &str) -> Result<Board, String> {
        let board: Board = toml::from_str(text).map_err(|e| e.message().to_string())?;
        board.check()?;
        Ok(board)
    }

    fn check(&self) -> Result<(), String> {
        let m = &self.memory;
        let regions = [
            ("code", m.code),
            ("ram", m.ram),
            ("arena", m.arena),
            ("load", m.load),
        ];
        for (i, &(name, region)) in regions.iter().enumerate() {
            if region.len == 0 || region.end() > 1 << 32 {
                return Err(format!(
                    "memory.{name} is empty or leaves the address space"
                ));
            }
            if !region.start.is_multiple_of(16) {
                return Err(format!("memory.{name} does not start at a multiple of 16"));
            }
            if let Some((other, _)) = regions
                .iter()
                .skip(i + 1)
                .find(|(_, r)| region.overlaps(*r))
            {
                return Err(format!("memory.{name} and memory.{other} overlap"));
            }
        }
        if m.stack_len >= m.ram.len || !m.stack_len.is_multiple_of(16) {
            return Err("memory.stack_len is not a multiple of 16 below memory.ram.len".into());
        }
        if !(self.timer.instructions_per_tick.is_finite() && self.timer.instructions_per_tick > 0.0)
        {
            return Err("timer.instructions_per_tick is not positive".into());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Board;
    use std::path::Path;

    fn m4() -> String {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR"));
        std::fs::read_to_string(dir.join("../cortex-m/boards/m4.toml")).unwrap()
    }

    #[test]
    fn every_board_file_is_valid() {
        let targets = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let mut names = vec![];
        for family in ["aarch64", "cortex-m", "riscv"] {
            for entry in std::fs::read_dir(targets.join(family).join("boards")).unwrap() {
                names.push(Board::read(&entry.unwrap().path()).unwrap().name);
            }
        }
        names.sort();
        assert_eq!(
            names,
            [
                "m0", "m3", "m33", "m4", "m55", "m7", "neon", "neon-dot", "rv32", "rvv"
            ]
        );
    }

    #[test]
    fn overlapping_regions_are_refused() {
        let mut board = Board::parse(&m4()).unwrap();
        board.memory.arena.start = board.memory.ram.start;
        assert_eq!(
            board.check(),
            Err("memory.ram and memory.arena overlap".into())
        );
    }

    #[test]
    fn unknown_keys_are_refused() {
        let text = m4().replace("stack_len", "stack_length");
        assert!(Board::parse(&text).unwrap_err().contains("stack_length"));
    }

    #[test]
    fn a_region_behind_the_address_space_is_refused() {
        let mut board = Board::parse(&m4()).unwrap();
        board.memory.load.len = u32::MAX;
        assert_eq!(
            board.check(),
            Err("memory.load is empty or leaves the address space".into())
        );
    }
}
