//! Networks from a short text, with fresh weights.
//!
//! ```toml
//! input = [1, 28, 28]          # channels, height, width of the samples; or [features]
//! init = "he"                  # or "glorot"; the seed is a choice of the training
//!
//! [[layer]]
//! type = "conv"
//! filters = 8
//! kernel = 3                   # or [height, width], as stride and dilation, which are 1 where not given
//! padding = "same"             # or "valid" (the default), or [top, left, bottom, right]
//! activation = "relu"
//!
//! [[layer]]
//! type = "max-pool"
//! kernel = 2                   # the stride is the kernel where not given
//!
//! [[layer]]
//! type = "flatten"
//!
//! [[layer]]
//! type = "dense"
//! units = 10
//! ```
//!
//! A layer reads the one before, or the layer called `from` (`input` is the input); `name` gives it a name.
//!
//! | type | keys |
//! |---|---|
//! | `conv` | `filters`, `kernel`, `stride`, `dilation`, `padding`, `groups`, `bias`, `activation` |
//! | `depthwise` | `kernel`, `stride`, `dilation`, `padding`, `bias`, `activation` |
//! | `dense` | `units`, `bias`, `activation` |
//! | `max-pool`, `avg-pool` | `kernel`, `stride`, `padding` |
//! | `global-avg-pool` | |
//! | `activation` | `function` |
//! | `add` | `with`: name of the layer that is added, `activation` |
//! | `flatten`, `softmax` | |
//!
//! Functions: `relu`, `relu6`, `leaky-relu`, `prelu`, `sigmoid`, `tanh`, `elu`, `hard-swish`, `hard-sigmoid`,
//! `softplus`.

mod builder;
mod keys;
mod layers;

use crate::Error;
use crate::ir::Graph;
use keys::Keys;
use std::path::Path;

/// Read a description from a file.
///
/// # Errors
/// Names the file, the layer and the key.
pub fn load(path: &Path, seed: u64) -> Result<Graph, Error> {
    let text = std::fs::read_to_string(path).map_err(|e| Error::file(path, e.to_string()))?;
    let name = path.file_stem().map(|n| n.to_string_lossy().into_owned());
    let graph = describe(&text, &name.unwrap_or_default(), seed);
    graph.map_err(|text| Error::file(path, text))
}

/// Network of a description; equal seeds give equal weights.
///
/// # Errors
/// Names the layer and the key.
pub fn describe(text: &str, name: &str, seed: u64) -> Result<Graph, String> {
    let table = text.parse::<toml::Table>();
    let table = table.map_err(|e| e.to_string().lines().collect::<Vec<_>>().join("; "))?;
    let mut keys = Keys::new(String::new(), table);
    let mut builder =
        builder::Builder::new(name, &keys.list("input")?, &keys.word("init", "he")?, seed)?;
    let layers = keys.tables("layer")?;
    keys.finish()?;
    if layers.is_empty() {
        return Err("no [[layer]] is given".into());
    }
    for (i, table) in layers.into_iter().enumerate() {
        layers::add(&mut builder, i, table)?;
    }
    builder.finish()
}
