//! The META section: what host tools want to know and the board does not.

use crate::Error;
use elastiq::Model;
use serde::{Deserialize, Serialize};

/// Contents of META.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Meta {
    /// Program and version that wrote the artifact.
    pub tool: String,
    /// Name of the model file, without its folder.
    pub source: String,
    /// Multiply-accumulates of the network as imported, before passes.
    pub macs_imported: u64,
    /// Bytes of arena that no placement can do without.
    #[serde(default)]
    pub arena_bound_bytes: u64,
    /// Names by tensor index.
    pub tensors: Vec<String>,
    /// Names by operator index.
    pub layers: Vec<MetaLayer>,
    /// Layouts in the order of the IO rows.
    pub inputs: Vec<MetaPort>,
    pub outputs: Vec<MetaPort>,
}

/// An operator of the artifact.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MetaLayer {
    /// Node of the model file.
    pub name: String,
    /// Operator of that node.
    pub op: String,
    pub macs: u64,
}

/// How the bytes of a port relate to the tensor in the model file: the file's tensor, transposed by `perm`,
/// row-major.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MetaPort {
    pub name: String,
    /// Shape in the file, batch axis included.
    pub file_shape: Vec<usize>,
    pub perm: Vec<usize>,
}

impl Meta {
    /// Read the META section of a checked artifact.
    ///
    /// # Errors
    /// If there is none, or it is not what this crate writes.
    pub fn of(model: &Model) -> Result<Meta, Error> {
        let text = model.meta().ok_or_else(|| {
            Error::input("the artifact has no META section with the layout of its inputs")
        })?;
        serde_json::from_str(text)
            .map_err(|e| Error::input(format!("META section of the artifact: {e}")))
    }
}
