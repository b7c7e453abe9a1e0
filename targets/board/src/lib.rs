//! Core and board files, read by the firmware build scripts and by the host driver.
//!
//! A [`Core`] (`targets/*/cores/NAME.toml`) is an emulated machine with memory for any model; the runner measures and
//! compares there. A [`Board`] (`targets/*/boards/NAME.toml`) is a product with a flash of its own; the application
//! with one model in it is made into an image for it. Adding either is adding a file.

use serde::{Deserialize, Serialize};

mod board;
mod core;
pub mod link;

pub use board::{Board, Boot, Console, Controller, Emulator, Ram, SlotFlash, Step, Watchdog};
pub use core::{Core, Memory, Qemu, Timer};

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

    pub(crate) fn overlaps(self, other: Region) -> bool {
        u64::from(self.start) < other.end() && u64::from(other.start) < self.end()
    }
}
