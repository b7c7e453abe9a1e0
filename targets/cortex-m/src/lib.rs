#![cfg_attr(target_os = "none", no_std)]
#![deny(unsafe_code)]
//! Startup and counter of Cortex-M cores, for the programs in `targets/firmware/programs`.
#![cfg(target_os = "none")]

mod start;
mod systick;

pub use systick::SysTick as Counter;

/// Constants of the selected core or board.
pub mod board {
    include!(concat!(env!("OUT_DIR"), "/board.rs"));
}
