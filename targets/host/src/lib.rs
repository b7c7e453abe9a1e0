//! Command line of elastiq as a library: data sets, subcommands, drivers of emulators.

pub mod cli;
pub mod cmd;
pub mod data;
pub mod failure;
pub mod output;
pub mod qemu;
pub mod toolchain;
