#![cfg_attr(target_os = "none", no_std)]
#![deny(unsafe_code)]
//! Parts that the firmware of all cores shares.
//!
//! [`job`] is the format in which host and core talk, used by both; [`runner`] executes a job on any
//! [`Machine`](runner::Machine). The other modules exist only on a bare-metal target.

pub mod job;
#[cfg(feature = "train")]
pub mod learning;
pub mod runner;
pub mod session;

#[cfg(target_os = "none")]
pub mod memory;
#[cfg(target_os = "none")]
mod never;
#[cfg(all(target_os = "none", target_arch = "arm"))]
pub mod nvmc;
#[cfg(target_os = "none")]
pub mod once;
#[cfg(target_os = "none")]
pub mod semihosting;
#[cfg(target_os = "none")]
pub mod setup;
#[cfg(target_os = "none")]
pub mod stack;

/// A range of addresses of the selected board, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    pub start: usize,
    pub len: usize,
}

/// Name the main function of a program, `fn() -> !`; the startup code of crate `platform` calls it. Compiled for
/// a system with `std` the program only says how to build it.
#[macro_export]
macro_rules! entry {
    ($main:path) => {
        // Startup of the selected family of cores.
        #[cfg(target_os = "none")]
        use platform as _;

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
