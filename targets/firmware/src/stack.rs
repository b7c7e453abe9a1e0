//! Stack painting: how deep a call went.
#![allow(unsafe_code)]

use core::arch::asm;

const PAINT: u32 = 0x5AC3_3CA5;

unsafe extern "C" {
    static __stack_bottom: u32;
}

#[inline(always)]
fn pointer() -> usize {
    let sp: usize;
    #[cfg(target_arch = "arm")]
    // SAFETY: copies the stack pointer, nothing else.
    unsafe {
        asm!("mov {}, sp", out(reg) sp, options(nomem, nostack, preserves_flags));
    }
    #[cfg(target_arch = "riscv32")]
    // SAFETY: copies the stack pointer, nothing else.
    unsafe {
        asm!("mv {}, sp", out(reg) sp, options(nomem, nostack, preserves_flags));
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: copies the stack pointer, nothing else.
    unsafe {
        asm!("mov {}, sp", out(reg) sp, options(nomem, nostack, preserves_flags));
    }
    sp
}

fn bottom() -> usize {
    (&raw const __stack_bottom).addr()
}

/// Deepest stack use of `f` in bytes, counted from the stack pointer at the call.
#[inline(never)]
pub fn measure(f: &mut dyn FnMut()) -> u32 {
    paint();
    f();
    let top = pointer();
    let mut at = bottom();
    while at < top {
        // SAFETY: `at` is an aligned address between the bottom of the stack and the stack pointer, memory that
        // nobody holds a reference to.
        if unsafe { core::ptr::with_exposed_provenance::<u32>(at).read_volatile() } != PAINT {
            break;
        }
        at += 4;
    }
    (top.saturating_sub(at)) as u32
}

/// Fill everything below the stack pointer.
#[inline(never)]
fn paint() {
    let from = bottom();
    #[cfg(target_arch = "arm")]
    // SAFETY: writes from the bottom of the stack up to the stack pointer of this very moment; nothing below it is
    // live, and the frame of an interrupt that comes in between is dead when it returns.
    unsafe {
        asm!(
            "mov {top}, sp",
            "2: cmp {at}, {top}",
            "bhs 3f",
            "str {paint}, [{at}]",
            "adds {at}, #4",
            "b 2b",
            "3:",
            at = inout(reg) from => _, paint = in(reg) PAINT, top = out(reg) _,
        );
    }
    #[cfg(target_arch = "riscv32")]
    // SAFETY: as above.
    unsafe {
        asm!(
            "2: bgeu {at}, sp, 3f",
            "sw {paint}, 0({at})",
            "addi {at}, {at}, 4",
            "j 2b",
            "3:",
            at = inout(reg) from => _, paint = in(reg) PAINT,
        );
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: as above.
    unsafe {
        asm!(
            "mov {top}, sp",
            "2: cmp {at}, {top}",
            "b.hs 3f",
            "str {paint:w}, [{at}], #4",
            "b 2b",
            "3:",
            at = inout(reg) from => _, paint = in(reg) PAINT, top = out(reg) _,
        );
    }
}
