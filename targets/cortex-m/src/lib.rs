#![cfg_attr(target_os = "none", no_std)]
#![deny(unsafe_code)]
//! Startup and counter of Cortex-M cores.
//!
//! A program calls [`entry!`] with its main function; `reset` in `start.s` prepares memory and calls it.

#[cfg(target_os = "none")]
pub mod systick;

#[cfg(target_os = "none")]
mod start;

/// Constants of the selected board.
#[cfg(target_os = "none")]
pub mod board {
    include!(concat!(env!("OUT_DIR"), "/board.rs"));
}

/// Name the main function of a program, `fn() -> !`. Compiled for a system with `std` the program only
/// says how to build it.
#[macro_export]
macro_rules! entry {
    ($main:path) => {
        #[cfg(target_os = "none")]
        // SAFETY: `reset` calls `main` once, with stack and variables set up; no other symbol has this name.
        #[allow(unsafe_code)]
        #[unsafe(no_mangle)]
        extern "C" fn main() -> ! {
            $main()
        }

        #[cfg(not(target_os = "none"))]
        fn main() -> std::process::ExitCode {
            eprintln!(
                "this program runs on a board: build it with `elastiq bench` or `elastiq flash`"
            );
            std::process::ExitCode::from(2)
        }
    };
}
