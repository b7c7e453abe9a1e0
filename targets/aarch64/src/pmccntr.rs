//! Instruction counter: the cycle counter of the performance monitors, which the emulator advances by one per
//! instruction.
#![allow(unsafe_code)]

use core::arch::asm;
use elastiq_fw::job::Reading;

/// Cycles since [`Counter::start`].
#[inline(always)]
fn cycles() -> u64 {
    let cycles;
    // SAFETY: reads a counter register; the barriers keep it in its place.
    unsafe {
        asm!("isb", "mrs {}, pmccntr_el0", "isb", out(reg) cycles, options(nostack, preserves_flags));
    }
    cycles
}

/// The running counter.
pub struct Counter(());

impl Counter {
    /// Start the counter.
    pub fn start() -> Counter {
        // SAFETY: changes only the performance monitors: enable them (PMCR_EL0.E, long cycle counter LC, reset C), then
        // the cycle counter at every exception level.
        unsafe {
            asm!(
                "msr pmccfiltr_el0, xzr",
                "msr pmcr_el0, {control}",
                "msr pmcntenset_el0, {cycle_counter}",
                "isb",
                control = in(reg) 0x45u64,
                cycle_counter = in(reg) 1u64 << 31,
                options(nostack, preserves_flags),
            );
        }
        Counter(())
    }

    /// Start a measurement.
    #[inline(always)]
    pub fn begin(&mut self) -> u64 {
        cycles()
    }

    /// End a measurement.
    #[inline(always)]
    pub fn end(&mut self, mark: u64) -> Reading {
        Reading {
            ticks: cycles().wrapping_sub(mark).into(),
            spins: 0.into(),
        }
    }

    /// Exactly `2 * turns` instructions.
    #[inline(always)]
    pub fn known(&mut self, turns: u32) {
        // SAFETY: counts a register down to zero.
        unsafe {
            asm!("2: sub {n:w}, {n:w}, #1", "cbnz {n:w}, 2b", n = inout(reg) turns => _, options(nomem, nostack));
        }
    }
}
