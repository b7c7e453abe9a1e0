//! Networks and data of these tests.

use elastiq_quant::train::{Network, describe::describe};

/// Convolutions, one of them depthwise, a sum of two branches that share a tensor, dense layers.
pub const NET: &str = r#"
input = [1, 8, 8]
[[layer]]
type = "conv"
name = "first"
filters = 6
kernel = 3
padding = "same"
activation = "relu"
[[layer]]
type = "max-pool"
name = "pool"
kernel = 2
[[layer]]
type = "conv"
name = "left"
filters = 6
kernel = 3
padding = "same"
[[layer]]
type = "depthwise"
name = "right"
from = "pool"
kernel = 3
padding = "same"
[[layer]]
type = "add"
with = "left"
activation = "relu"
[[layer]]
type = "flatten"
[[layer]]
type = "dense"
name = "hidden"
units = 7
activation = "relu"
[[layer]]
type = "dense"
name = "scores"
units = 10
"#;

pub fn network(text: &str, seed: u64) -> Network {
    Network::new(describe(text, "net", seed).expect("description")).expect("network")
}
