//! Reset and faults.
//!
//! SAFETY: the assembly runs before and instead of Rust code: it initializes the sections that the linker script
//! bounds, none of which holds live data yet, and calls `main` with the stack pointer at the top of the stack.
#![allow(unsafe_code)]

use crate::board::SETUP;

core::arch::global_asm!(include_str!("start.s"));
core::arch::global_asm!(include_str!(concat!(env!("OUT_DIR"), "/boot.s")));

/// Any fault on a board that prints by itself, on an empty stack.
// SAFETY: only the startup code refers to the name; it never returns there.
#[unsafe(no_mangle)]
extern "C" fn faulted() -> ! {
    SETUP.print("the program took a fault\n");
    SETUP.end(101)
}
