//! Everything between an ONNX file and the artifact, and the only writer of the format.

pub mod calibrate;
pub mod compile;
pub mod compress;
pub mod error;
pub mod export;
pub mod import;
pub mod io;
pub mod ir;
pub mod lower;
pub mod metrics;
pub mod pack;
pub mod plan;
mod samples;
pub mod train;
pub mod verify;

pub use error::Error;
pub use samples::Samples;
