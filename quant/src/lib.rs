//! Everything between an ONNX file and the artifact, and the only writer of the format.

pub mod error;
pub mod import;
pub mod ir;

pub use error::Error;
