//! Instruction counter: the `minstret` register.
#![allow(unsafe_code)]

use core::arch::asm;
use elastiq_fw::job::Reading;

/// Instructions executed since reset.
#[inline(always)]
fn executed() -> u64 {
    let (low, high, again): (u32, u32, u32);
    // SAFETY: reads two counter registers; the high half is read twice so that a carry in between is seen.
    unsafe {
        asm!(
            "2: csrr {high}, minstreth",
            "csrr {low}, minstret",
            "csrr {again}, minstreth",
            "bne {high}, {again}, 2b",
            low = out(reg) low, high = out(reg) high, again = out(reg) again,
            options(nostack),
        );
    }
    let _ = again;
    u64::from(high) << 32 | u64::from(low)
}

/// The running counter.
pub struct Counter(());

impl Counter {
    /// The register counts from reset on.
    pub fn start() -> Counter {
        Counter(())
    }

    /// Start a measurement.
    #[inline(always)]
    pub fn begin(&mut self) -> u64 {
        executed()
    }

    /// End a measurement.
    #[inline(always)]
    pub fn end(&mut self, mark: u64) -> Reading {
        Reading {
            ticks: executed().wrapping_sub(mark).into(),
            spins: 0.into(),
        }
    }

    /// Exactly `2 * turns` instructions.
    #[inline(always)]
    pub fn known(&mut self, turns: u32) {
        // SAFETY: counts a register down to zero.
        unsafe {
            asm!("2: addi {n}, {n}, -1", "bnez {n}, 2b", n = inout(reg) turns => _, options(nomem, nostack));
        }
    }
}
