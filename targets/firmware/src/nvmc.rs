//! Flash of nRF51 and nRF52 behind their controller, NVMC ("Non-volatile memory controller" in the reference manuals).
#![allow(unsafe_code)]

use core::convert::Infallible;
use core::ptr::{with_exposed_provenance, with_exposed_provenance_mut};
use elastiq::slots::Flash;

const READY: usize = 0x4001_E400;
const CONFIG: usize = 0x4001_E504;
const ERASE_PAGE: usize = 0x4001_E508;

const READ: u32 = 0;
const WRITE: u32 = 1;
const ERASE: u32 = 2;

/// The range `START..START + LEN` of flash, a part that the linker gives to nobody.
#[derive(Debug)]
pub struct Nvmc<const START: usize, const LEN: usize, const PAGE: usize>(());

impl<const START: usize, const LEN: usize, const PAGE: usize> Nvmc<START, LEN, PAGE> {
    /// The driver.
    ///
    /// # Safety
    /// Nothing else uses the range or the controller, and there is one driver at a time.
    pub unsafe fn new() -> Self {
        Nvmc(())
    }

    /// Do `store` in `mode` and wait for its end; reading only, before and after.
    fn in_mode(mode: u32, register: usize, value: u32) {
        let wait = || {
            // SAFETY: a status register of the controller.
            while unsafe { with_exposed_provenance::<u32>(READY).read_volatile() } & 1 == 0 {}
        };
        let set = |register: usize, value: u32| {
            // SAFETY: a register of the controller, or a word of the range that the caller has checked; no reference
            // to the range lives, because the driver is borrowed mutably.
            unsafe { with_exposed_provenance_mut::<u32>(register).write_volatile(value) };
            wait();
        };
        set(CONFIG, mode);
        set(register, value);
        set(CONFIG, READ);
    }
}

impl<const START: usize, const LEN: usize, const PAGE: usize> Flash for Nvmc<START, LEN, PAGE> {
    type Error = Infallible;
    const PAGE: usize = PAGE;
    const UNIT: usize = 4;

    fn bytes(&self) -> &[u8] {
        // SAFETY: readable flash that changes only through this driver, which is borrowed for as long.
        unsafe { core::slice::from_raw_parts(with_exposed_provenance(START), LEN) }
    }

    fn erase(&mut self, off: usize) -> Result<(), Infallible> {
        if off < LEN {
            Self::in_mode(ERASE, ERASE_PAGE, (START + off) as u32);
        }
        Ok(())
    }

    fn write(&mut self, off: usize, units: &[u8]) -> Result<(), Infallible> {
        let at = (off..LEN).step_by(Self::UNIT);
        for (at, word) in at.zip(units.as_chunks::<4>().0) {
            Self::in_mode(WRITE, START + at, u32::from_le_bytes(*word));
        }
        Ok(())
    }
}
