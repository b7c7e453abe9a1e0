//! Instruction counter made of SysTick.
//!
//! The emulator executes one instruction per virtual nanosecond and SysTick counts a clock of some tens of
//! nanoseconds, so a reading is coarse. Waiting for the next tick with a loop of known length at both ends
//! brings the resolution down to one turn of that loop: 4 instructions.
#![allow(unsafe_code)]

use core::arch::asm;
use core::ptr::with_exposed_provenance_mut;
use core::sync::atomic::{AtomicU32, Ordering};
use elastiq_fw::job::Reading;

const CSR: usize = 0xE000_E010;
const RVR: usize = 0xE000_E014;
const CVR: usize = 0xE000_E018;
const PERIOD: u32 = 1 << 24;

/// Times the counter has wrapped.
static WRAPS: AtomicU32 = AtomicU32::new(0);

// SAFETY: the name is only referenced by the vector table; the handler touches one atomic.
#[unsafe(no_mangle)]
extern "C" fn systick_wrapped() {
    WRAPS.store(
        WRAPS.load(Ordering::Relaxed).wrapping_add(1),
        Ordering::Relaxed,
    );
}

/// The running counter.
pub struct SysTick(());

impl SysTick {
    /// Start counting the core clock.
    pub fn start() -> SysTick {
        for (register, value) in [(CSR, 0), (RVR, PERIOD - 1), (CVR, 0), (CSR, 0b111)] {
            // SAFETY: SysTick registers of every Armv6-M to Armv8-M core; they count and, on wrapping, raise the
            // exception whose handler is above.
            unsafe { with_exposed_provenance_mut::<u32>(register).write_volatile(value) };
        }
        SysTick(())
    }

    /// Turns of a 4-instruction loop until the counter changes, and its value before.
    #[inline(always)]
    fn wait(&self) -> (u32, u32) {
        let (before, spins): (u32, u32);
        // SAFETY: reads the counter register only; the scratch registers are declared.
        unsafe {
            asm!(
                "ldr {before}, [{at}]",
                "movs {spins}, #0",
                "2: adds {spins}, #1",
                "ldr {now}, [{at}]",
                "cmp {now}, {before}",
                "beq 2b",
                at = in(reg) CVR,
                before = out(reg) before,
                spins = out(reg) spins,
                now = out(reg) _,
                options(nostack, readonly),
            );
        }
        (before, spins)
    }

    /// Position of the edge that `wait` has come to, in ticks, and the turns it took to get there.
    #[inline(always)]
    fn edge(&self) -> (u64, u32) {
        let mut spins = 0;
        loop {
            let wraps = WRAPS.load(Ordering::Relaxed);
            let (before, turns) = self.wait();
            spins += turns;
            // The handler runs when the counter reaches 0; near that value start over.
            if before > 2 && wraps == WRAPS.load(Ordering::Relaxed) {
                let ticks = PERIOD - before;
                return (
                    u64::from(wraps) * u64::from(PERIOD) + u64::from(ticks),
                    spins,
                );
            }
        }
    }

    /// Start a measurement.
    #[inline(always)]
    pub fn begin(&mut self) -> u64 {
        self.edge().0
    }

    /// End a measurement.
    #[inline(always)]
    pub fn end(&mut self, mark: u64) -> Reading {
        let (edge, spins) = self.edge();
        Reading {
            ticks: edge.wrapping_sub(mark).into(),
            spins: spins.into(),
        }
    }

    /// Exactly `2 * turns` instructions.
    #[inline(always)]
    pub fn known(&mut self, turns: u32) {
        // SAFETY: counts a register down to zero.
        unsafe {
            asm!("2: subs {n}, #1", "bne 2b", n = inout(reg) turns => _, options(nomem, nostack));
        }
    }
}
