//! What all tests of training need.

use elastiq_quant::train::{Control, Event, Network, describe::describe};

/// The network that `text` describes, with weights of `seed`.
pub fn network(text: &str, seed: u64) -> Network {
    Network::new(describe(text, "net", seed).expect("description")).expect("network")
}

/// Lets nothing stop a training.
pub fn go_on(_: Event) -> Control {
    Control::Continue
}
