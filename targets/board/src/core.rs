//! Core files `targets/*/cores/NAME.toml`: an emulated core that runs any model.

use crate::Region;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// One core file.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Core {
    /// Short name, the same as the file's: `m4`.
    pub name: String,
    /// Core as its maker writes it: `Cortex-M4F`.
    pub core: String,
    /// Machine or FPGA image.
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

impl Core {
    /// Read and check a core file.
    ///
    /// # Errors
    /// One line that names the file.
    pub fn read(path: &Path) -> Result<Core, String> {
        let text = std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
        let core = Core::parse(&text).map_err(|e| format!("{}: {e}", path.display()))?;
        if path.file_stem().and_then(|s| s.to_str()) != Some(&core.name) {
            return Err(format!(
                "{}: name = \"{}\" differs from the file name",
                path.display(),
                core.name
            ));
        }
        Ok(core)
    }

    /// Parse and check the text of a core file.
    ///
    /// # Errors
    /// One line that names the field.
    pub fn parse(text: &str) -> Result<Core, String> {
        let core: Core = toml::from_str(text).map_err(|e| e.message().to_string())?;
        core.check()?;
        Ok(core)
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
    use super::Core;
    use std::path::Path;

    fn m4() -> String {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR"));
        std::fs::read_to_string(dir.join("../cortex-m/cores/m4.toml")).unwrap()
    }

    #[test]
    fn every_core_file_is_valid() {
        let targets = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let mut names = vec![];
        for family in ["aarch64", "cortex-m", "riscv"] {
            for entry in std::fs::read_dir(targets.join(family).join("cores")).unwrap() {
                names.push(Core::read(&entry.unwrap().path()).unwrap().name);
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
        let mut core = Core::parse(&m4()).unwrap();
        core.memory.arena.start = core.memory.ram.start;
        assert_eq!(
            core.check(),
            Err("memory.ram and memory.arena overlap".into())
        );
    }

    #[test]
    fn unknown_keys_are_refused() {
        let text = m4().replace("stack_len", "stack_length");
        assert!(Core::parse(&text).unwrap_err().contains("stack_length"));
    }

    #[test]
    fn a_region_behind_the_address_space_is_refused() {
        let mut core = Core::parse(&m4()).unwrap();
        core.memory.load.len = u32::MAX;
        assert_eq!(
            core.check(),
            Err("memory.load is empty or leaves the address space".into())
        );
    }
}
