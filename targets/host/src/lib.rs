//! Command line of elastiq as a library: data sets, subcommands, drivers of emulators.

pub mod artifact;
pub mod boards;
pub mod cli;
pub mod cmd;
pub mod data;
pub mod evaluation;
pub mod failure;
pub mod fit;
pub mod footprint;
pub mod image;
pub mod kernels;
pub mod measure;
pub mod memory_map;
pub mod output;
pub mod probe;
pub mod qemu;
pub mod report;
pub mod score;
pub mod toolchain;
