//! ONNX file to [`ir::Graph`](crate::ir::Graph).
//!
//! Limits are checked first. Then nodes are taken in file order: a node whose inputs are all constants is
//! evaluated, every other one becomes IR nodes with static shapes. Values keep the layout of the file; spatial
//! operators are surrounded by transpositions, which [`passes`](crate::ir::passes) moves out again.

mod attrs;
mod build;
mod call;
mod consts;
pub mod limits;
pub mod ops;
mod oracle;
mod ports;
mod qdq;

pub use ops::OPERATORS;
pub use oracle::Oracle;

use crate::Error;
use crate::ir::Graph;
use std::path::Path;

/// Result inside the importer: the text of the error, to which file, node and operator are added at the end.
pub(crate) type Res<T> = Result<T, String>;

/// Choices of an import.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Shapes of inputs by name, in the file's layout; needed where the file leaves extents open.
    pub input_shapes: Vec<(String, Vec<usize>)>,
}

/// Import a file. An open batch dimension becomes 1.
///
/// # Errors
/// One line that names the file and, where there is one, the node and its operator.
pub fn load(path: &Path) -> Result<Graph, Error> {
    load_with(path, &Options::default())
}

/// Import a file with [`Options`].
///
/// # Errors
/// See [`load`].
pub fn load_with(path: &Path, options: &Options) -> Result<Graph, Error> {
    let model = limits::read(path)?;
    build::build(&model, path, options)
}
