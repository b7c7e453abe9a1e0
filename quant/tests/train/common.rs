//! A small task and a small network.

#[path = "../common/mod.rs"]
mod all;

pub use all::{go_on, network};
use elastiq_quant::Samples;
use elastiq_quant::train::{Config, Network, Run, Trained, train};
use ndarray::ArrayD;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Pictures of 8 x 8 with noise and a bright bar: class 0 across, class 1 down, class 2 a square.
pub fn bars(n: usize, seed: u64) -> Samples {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let (mut values, mut labels) = (Vec::new(), Vec::new());
    for _ in 0..n {
        let (class, at) = (rng.random_range(0..3), rng.random_range(0..7));
        for i in 0..64 {
            let (row, col) = (i / 8, i % 8);
            let lit = match class {
                0 => row == at,
                1 => col == at,
                _ => (at..at + 2).contains(&row) && (2..6).contains(&col),
            };
            values.push(rng.random_range(0.0..0.3) + if lit { 0.7 } else { 0.0 });
        }
        labels.push(class);
    }
    let x = ArrayD::from_shape_vec(vec![n, 1, 8, 8], values).expect("shape");
    Samples::new(vec![x]).with_labels(labels)
}

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
kernel = 2
[[layer]]
type = "conv"
name = "second"
filters = 6
kernel = 3
padding = "same"
activation = "relu"
[[layer]]
type = "global-avg-pool"
[[layer]]
type = "flatten"
[[layer]]
type = "dense"
name = "scores"
units = 3
"#;

/// A training that nothing interrupts.
pub fn trained(network: &Network, config: &Config) -> Trained {
    let (data, val) = (bars(240, 1), bars(90, 2));
    train(network, &data, &val, config, &Run::default(), &mut go_on).expect("training")
}

/// Bytes of every constant of the trained network.
pub fn bytes(trained: &Trained) -> Vec<u8> {
    let constants = trained
        .graph
        .values
        .iter()
        .filter_map(|v| v.constant.as_ref());
    constants
        .flat_map(|a| a.iter().flat_map(|v| v.to_le_bytes()))
        .collect()
}
