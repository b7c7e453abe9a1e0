#![cfg_attr(not(test), no_std)]
#![deny(unsafe_code)]
#![warn(missing_docs)]
#![cfg_attr(
    not(test),
    deny(
        clippy::float_arithmetic,
        clippy::indexing_slicing,
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic
    )
)]
//! Integer-only neural network inference for microcontrollers: no heap, no float, no panic.
//!
//! ```
//! use elastiq::{Engine, ModelInfo, OpSet};
//!
//! fn classify(model: &[u8], arena: &mut [u8], input: &[i8], output: &mut [i8]) -> bool {
//!     let Ok(engine) = Engine::<{ OpSet::ALL }>::new(model) else { return false };
//!     engine.run(arena, input, output).is_ok()
//! }
//! # assert!(!classify(&[], &mut [], &[], &mut []));
//! ```
//!
//! Firmware embeds the artifact with [`include_model!`], sizes its buffers with [`ModelInfo::of`] at compile
//! time and names the operators to link as the parameter of [`Engine`].
//!
//! A [`Model`] exists only after every index, range, shape and lifetime in the artifact has been checked, so
//! nothing behind it can read out of bounds; what could still fail is an `Err`, never a panic.

mod aligned;
mod backend;
mod engine;
mod error;
pub mod format;
mod info;
mod kernels;
mod parts;
pub mod slots;
pub mod spec;
#[cfg(feature = "train")]
pub mod train;

pub use aligned::Aligned;
pub use backend::{Backend, Layout, PLANE_CHANNELS, PLANE_SLACK, Planes, Windows};
pub use engine::{Engine, Session};
pub use error::{LoadError, LoadErrorKind, RunError};
pub use format::model::{Io, Model};
pub use info::{ModelInfo, OpSet};
