#![cfg_attr(target_os = "none", no_std)]
#![deny(unsafe_code)]
//! Parts that the firmware of all cores shares.
//!
//! [`job`] is the format in which host and core talk, used by both; [`runner`] executes a job on any
//! [`Machine`](runner::Machine). The other modules exist only on a bare-metal target.

pub mod job;
pub mod runner;
pub mod session;

#[cfg(target_os = "none")]
pub mod memory;
#[cfg(target_os = "none")]
mod never;
#[cfg(target_os = "none")]
pub mod once;
#[cfg(target_os = "none")]
pub mod semihosting;
#[cfg(target_os = "none")]
pub mod stack;

/// A range of addresses of the selected board, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    pub start: usize,
    pub len: usize,
}
