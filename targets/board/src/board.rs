//! Board files `targets/*/boards/NAME.toml`: a product that the application with one model in it is flashed to.

use crate::Region;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// One board file.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Board {
    /// Short name, the same as the file's: `nrf52840-dk`.
    pub name: String,
    /// As its maker writes it.
    pub title: String,
    /// Chip, by the name that probe software knows it under.
    pub chip: String,
    /// Core file with compiler target and kernels: `m4`.
    pub core: String,
    /// Compiler target triple where it differs from the core file's.
    #[serde(default)]
    pub target: Option<String>,
    /// Debug probe or other way to get an image onto the board, in words.
    pub probe: String,
    /// Core clock after [`Board::init`].
    pub clock_hz: u32,
    /// Bytes of the first RAM region for the stack.
    pub stack_len: u32,
    /// Flash that holds the program, by the addresses that code runs from.
    pub flash: Region,
    /// First byte of `flash` as flashing tools count it, where that is not its address.
    #[serde(default)]
    pub flash_offset: Option<u32>,
    /// Where constants in flash are read, where that is not the address that code runs from.
    #[serde(default)]
    pub constants: Option<Region>,
    /// Family number of UF2 files.
    #[serde(default)]
    pub uf2_family: Option<u32>,
    /// What the boot code of the chip wants to find in the image.
    #[serde(default)]
    pub boot: Boot,
    /// RAM regions; stack, variables and arena are in the first.
    pub ram: Vec<Ram>,
    /// Where text goes.
    pub console: Console,
    /// Registers to set before the console works.
    #[serde(default)]
    pub init: Vec<Step>,
    /// Watchdog of the chip, for programs that want it.
    #[serde(default)]
    pub watchdog: Option<Watchdog>,
    /// Part of `flash` that a program can rewrite, for models that are replaced without it.
    #[serde(default)]
    pub slots: Option<SlotFlash>,
    /// Emulator machine that boots the image, where there is one.
    #[serde(default)]
    pub qemu: Option<Emulator>,
}

/// A RAM region.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Ram {
    pub name: String,
    pub start: u32,
    pub len: u32,
}

impl Ram {
    /// Its addresses.
    pub fn region(&self) -> Region {
        Region {
            start: self.start,
            len: self.len,
        }
    }
}

/// What the boot code of the chip wants to find in the image besides the program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Boot {
    /// Nothing: the core starts at the vector table or the first instruction.
    #[default]
    Plain,
    /// 256 bytes that switch the serial flash to execution in place, with a checksum.
    Rp2040,
    /// An IMAGE_DEF block for the Arm cores.
    Rp2350Arm,
    /// An IMAGE_DEF block for the RISC-V cores, with the entry point.
    Rp2350Riscv,
    /// The mark that makes the ROM run flash directly, without a second-stage boot loader.
    Esp32c3Direct,
}

/// Where the program prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Console {
    /// The debugger or emulator, by a breakpoint instruction.
    Semihosting,
    /// A serial port with one data register.
    Uart {
        /// Register that takes a byte.
        data: u32,
        /// A byte is taken while `status & mask == ready`.
        status: u32,
        mask: u32,
        ready: u32,
        /// `status` is an event: wait for it after each byte and clear it by writing 0.
        #[serde(default)]
        event: bool,
        /// Written to `status` after each byte, to send it on.
        #[serde(default)]
        flush: Option<u32>,
    },
}

/// One register access of the setup.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(untagged, deny_unknown_fields)]
pub enum Step {
    Write { write: u32, value: u32 },
    Set { set: u32, bits: u32 },
    Clear { clear: u32, bits: u32 },
    Wait { wait: u32, mask: u32, value: u32 },
}

/// Register accesses that start the watchdog, and those that feed it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Watchdog {
    pub start: Vec<Step>,
    pub feed: Vec<Step>,
}

/// Flash that the program rewrites through the controller of the chip.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SlotFlash {
    pub start: u32,
    pub len: u32,
    /// Bytes that are erased together.
    pub page: u32,
    pub controller: Controller,
}

/// Flash controllers that the firmware has a driver for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Controller {
    /// NVMC of nRF51 and nRF52.
    Nvmc,
}

/// Emulator machine; the program is the core file's.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Emulator {
    /// `-M`.
    pub machine: String,
    /// Serial port of the machine that is the console.
    #[serde(default)]
    pub serial: u32,
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
        let fail = |e: String| format!("{}: {e}", path.display());
        let text = std::fs::read_to_string(path).map_err(|e| fail(e.to_string()))?;
        let board = Board::parse(&text).map_err(fail)?;
        match path.file_stem().and_then(|s| s.to_str()) == Some(&board.name) {
            true => Ok(board),
            false => Err(fail(format!(
                "name = \"{}\" differs from the file name",
                board.name
            ))),
        }
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

    /// The RAM region that holds stack, variables and arena.
    pub fn main_ram(&self) -> Region {
        let none = Region { start: 0, len: 0 };
        self.ram.first().map_or(none, Ram::region)
    }

    /// Address of the first byte of `flash` as flashing tools count it.
    pub fn flashed_at(&self) -> u32 {
        self.flash_offset.unwrap_or(self.flash.start)
    }

    fn check(&self) -> Result<(), String> {
        let mut regions = vec![("flash", self.flash)];
        regions.extend(self.constants.map(|region| ("constants", region)));
        regions.extend(self.ram.iter().map(|ram| (ram.name.as_str(), ram.region())));
        for (i, &(name, region)) in regions.iter().enumerate() {
            if region.len == 0 || region.end() > 1 << 32 {
                return Err(format!("{name} is empty or leaves the address space"));
            }
            if !region.start.is_multiple_of(16) {
                return Err(format!("{name} does not start at a multiple of 16"));
            }
            let mut others = regions.iter().skip(i + 1);
            if let Some((other, _)) = others.find(|(_, r)| region.overlaps(*r)) {
                return Err(format!("{name} and {other} overlap"));
            }
        }
        if let Some(slots) = &self.slots {
            let end = u64::from(slots.start) + u64::from(slots.len);
            let pages = slots.page.is_multiple_of(16) && slots.page > 0;
            let whole = |n: u32| pages && n.is_multiple_of(slots.page);
            if slots.start <= self.flash.start || end > self.flash.end() {
                return Err("slots are not in the upper part of flash".into());
            }
            if !whole(slots.start) || !whole(slots.len) || slots.len < 2 * slots.page {
                return Err("slots are not whole pages, or fewer than two".into());
            }
        }
        if self.ram.is_empty() {
            return Err("there is no [[ram]]".into());
        }
        let ram = self.main_ram();
        if self.stack_len >= ram.len || !self.stack_len.is_multiple_of(16) || self.stack_len == 0 {
            return Err("stack_len is not a multiple of 16 below the first RAM region".into());
        }
        if self.clock_hz == 0 {
            return Err("clock_hz is 0".into());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Board, Controller, SlotFlash};
    use crate::Core;
    use std::path::Path;

    fn targets() -> std::path::PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
    }

    fn text(name: &str) -> String {
        std::fs::read_to_string(targets().join("cortex-m/boards").join(name)).unwrap()
    }

    #[test]
    fn every_board_file_is_valid_and_names_a_core_of_its_family() {
        let mut names = vec![];
        for family in ["cortex-m", "riscv"] {
            let dir = targets().join(family);
            for entry in std::fs::read_dir(dir.join("boards")).unwrap() {
                let board = Board::read(&entry.unwrap().path()).unwrap();
                let core = dir.join("cores").join(format!("{}.toml", board.core));
                Core::read(&core).unwrap();
                names.push(board.name);
            }
        }
        names.sort();
        assert_eq!(
            names,
            [
                "esp32c3",
                "hifive1",
                "lm3s6965evb",
                "microbit",
                "microbit-v2",
                "nrf52840-dk",
                "nucleo-f401re",
                "pico",
                "pico2",
                "pico2-riscv",
                "stm32f405",
                "stm32f746-disco",
            ]
        );
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let refused = |change: fn(&mut Board)| {
            let mut board = Board::parse(&text("stm32f405.toml")).unwrap();
            change(&mut board);
            board.check().unwrap_err()
        };
        assert_eq!(
            refused(|b| b.ram[0].start = b.flash.start),
            "flash and sram overlap"
        );
        assert_eq!(
            refused(|b| b.flash.len = u32::MAX),
            "flash is empty or leaves the address space"
        );
        assert_eq!(
            refused(|b| b.stack_len = b.main_ram().len),
            "stack_len is not a multiple of 16 below the first RAM region"
        );
        assert_eq!(
            refused(|b| {
                b.slots = Some(SlotFlash {
                    start: b.flash.start + 0x8_0000,
                    len: 0x1_0010,
                    page: 0x1000,
                    controller: Controller::Nvmc,
                });
            }),
            "slots are not whole pages, or fewer than two"
        );
        assert_eq!(refused(|b| b.ram.clear()), "there is no [[ram]]");
    }

    #[test]
    fn unknown_keys_and_steps_are_refused() {
        let board = text("stm32f405.toml");
        let unknown = board.replace("clock_hz", "clock_mhz");
        assert!(Board::parse(&unknown).unwrap_err().contains("clock_mhz"));
        let step = board.replace("set = ", "toggle = ");
        assert!(Board::parse(&step).is_err());
    }
}
