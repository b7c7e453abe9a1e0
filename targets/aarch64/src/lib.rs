#![cfg_attr(target_os = "none", no_std)]
#![deny(unsafe_code)]
//! Startup and counter of AArch64 cores, for the programs in `targets/firmware/programs`.
#![cfg(target_os = "none")]

mod pmccntr;
mod start;

pub use pmccntr::Counter;

/// Constants of the selected board.
pub mod board {
    include!(concat!(env!("OUT_DIR"), "/board.rs"));
}
