//! Networks and data of these tests.

#[path = "../common/mod.rs"]
mod all;

pub use all::{go_on, network};
use elastiq_quant::Samples;
use elastiq_quant::compress::eqnet::{self, Options, SpaceOptions, TrainedSupernet};
use elastiq_quant::train::{Config, Network, Run, train};
use ndarray::ArrayD;

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

/// Digits of 8 x 8, 0 to 1: samples `from .. to`.
pub fn digits(from: usize, to: usize) -> Samples {
    let all = smartcore::dataset::digits::load_dataset();
    let x: Vec<f32> = all.data[from * 64..to * 64]
        .iter()
        .map(|v| v / 16.0)
        .collect();
    let labels = all.target[from..to].iter().map(|&l| l as i64);
    let x = ArrayD::from_shape_vec(vec![to - from, 1, 8, 8], x).expect("shape");
    Samples::new(vec![x]).with_labels(labels.collect())
}

/// Convolutions, a pool and dense layers.
pub const CNN: &str = r#"
input = [1, 8, 8]
[[layer]]
type = "conv"
name = "first"
filters = 8
kernel = 3
padding = "same"
activation = "relu"
[[layer]]
type = "conv"
name = "second"
filters = 12
kernel = 3
activation = "relu"
[[layer]]
type = "max-pool"
kernel = 2
[[layer]]
type = "flatten"
[[layer]]
type = "dense"
name = "hidden"
units = 16
activation = "relu"
[[layer]]
type = "dense"
name = "scores"
units = 10
"#;

/// A float network trained on the digits.
pub fn trained(text: &str) -> Network {
    let config = Config {
        epochs: 6,
        lr: 5e-3,
        ..Config::default()
    };
    let (data, val) = (digits(0, 700), digits(700, 800));
    let net = network(text, 1);
    let done = train(&net, &data, &val, &config, &Run::default(), &mut go_on).expect("training");
    Network::new(done.graph).expect("network")
}

/// A supernet of `options` after a little training.
pub fn supernet(network: &Network, options: &Options) -> TrainedSupernet {
    let (data, val) = (digits(0, 500), digits(700, 760));
    eqnet::train(network, &data, &val, options, &Run::default(), &mut go_on).expect("training")
}

/// Choices of a short training.
pub fn short(space: SpaceOptions) -> Options {
    let options = Options::default();
    Options {
        train: Config {
            epochs: 2,
            batch: 32,
            ..options.train
        },
        space,
        ..options
    }
}
