//! Reset and faults.
//!
//! SAFETY: the assembly runs before and instead of Rust code: it initializes the sections that the linker script
//! bounds, none of which holds live data yet, and calls `main` with the stack pointer at the top of the stack.
#![allow(unsafe_code)]

core::arch::global_asm!(include_str!("start.s"));
