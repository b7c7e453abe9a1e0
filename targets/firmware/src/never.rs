//! Panic handler that cannot be linked: it calls a function that does not exist.
//!
//! If the optimizer leaves a single reachable panic, linking fails with the name of that function. An ELF
//! file that exists is therefore the proof that no panic path is in it.
#![allow(unsafe_code)]

use core::panic::PanicInfo;

unsafe extern "C" {
    fn elastiq_a_panic_path_is_reachable() -> !;
}

#[panic_handler]
fn never(_: &PanicInfo<'_>) -> ! {
    // SAFETY: never executed, a program that contains this call does not link.
    unsafe { elastiq_a_panic_path_is_reachable() }
}
