//! Any model on any emulated core: build the firmware, run it in QEMU, read back every byte and count.
//!
//! [`cores`] lists the core files of the workspace, [`build_runner`] compiles the firmware for one,
//! [`run`] executes a model in it. [`run_here`] executes the same runner on this machine, so that the two
//! reports can be compared op by op with [`RunReport::first_difference`].

mod boot;
mod build;
mod cores;
mod here;
mod launch;
mod results;
pub mod scan;
pub mod stack;
mod vfp;

pub use boot::boot;
pub use build::{Program, build, build_app, build_runner, build_small_app};
pub use cores::{Core, backend, core, cores, workspace};
pub use here::run_here;
pub use launch::{RunOptions, run, run_app};
pub use results::{InputReport, OpReport, RunReport};
