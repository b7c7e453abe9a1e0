//! Dense networks with fewer channels, to compare pruned ones with.

use super::mask::Units;
use super::settings::Structure;
use crate::ir::{Graph, Op, passes};
use crate::train::Network;
use crate::{Error, ir};
use ndarray::ArrayD;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::sync::Arc;

/// Steps of the share of channels that is tried.
const STEPS: usize = 256;

/// `network` with the same share of the channels in every layer, as large a share as leaves at most `weights` weights
/// (or one channel, where that is more), and fresh weights drawn by `seed`.
///
/// # Errors
/// A network without hidden channels.
pub fn small(network: &Network, weights: usize, seed: u64) -> Result<Network, Error> {
    let units = match Units::new(network, Structure::Channel) {
        Ok(units) => units,
        // One layer alone has no channels to lose.
        Err(_) => return fresh(network.graph().clone(), seed),
    };
    let size = |step: usize| ir::stats(&narrow(network, &units, step)).weights;
    let (mut low, mut high) = (1, STEPS);
    while low < high {
        let middle = (low + high).div_ceil(2);
        match size(middle) <= weights as u64 {
            true => low = middle,
            false => high = middle - 1,
        }
    }
    fresh(narrow(network, &units, low), seed)
}

/// The graph with `step` of [`STEPS`] of the channels of every hidden layer, one at least.
fn narrow(network: &Network, units: &Units, step: usize) -> Graph {
    let mut mask = units.all();
    for flags in &mut mask.0 {
        let keep = (flags.len() * step).div_ceil(STEPS);
        flags[keep..].iter_mut().for_each(|f| *f = false);
    }
    let mut params = network.initial();
    // Weights of any value but zero, so that nothing but the channels is removed.
    params
        .iter_mut()
        .flatten()
        .filter(|v| **v == 0.0)
        .for_each(|v| *v = 1.0);
    let elements = units.elements(&mask, params.len());
    super::mask::clear(&mut params, &elements);
    passes::optimize(network.with_params(&params)).0
}

/// Weights as [`crate::train::describe`] draws them, biases zero.
fn fresh(mut graph: Graph, seed: u64) -> Result<Network, Error> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    for i in 0..graph.nodes.len() {
        let node = graph.nodes[i].clone();
        if !matches!(node.op, Op::Conv { .. } | Op::Dense) {
            continue;
        }
        for (k, id) in node.inputs.iter().enumerate().skip(1) {
            let shape = graph.value(*id).shape.clone();
            let fan: usize = shape[1..].iter().product();
            let limit = (6.0 / fan as f64).sqrt() as f32;
            let draw = || match k {
                1 => rng.random_range(-limit..limit),
                _ => 0.0,
            };
            let array = ArrayD::from_shape_simple_fn(shape, draw);
            graph.values[id.0].constant = Some(Arc::new(array));
        }
    }
    Network::new(graph)
}
