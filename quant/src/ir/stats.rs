//! Multiply-accumulates and weights of a network.

use super::{Graph, Node, Op};

/// Size of a network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Multiply-accumulates of convolutions and dense layers, padding included.
    pub macs: u64,
    /// Weights of convolutions and dense layers, without biases.
    pub weights: u64,
}

/// Multiply-accumulates of a convolution or dense layer; 0 for other operators.
pub fn macs(graph: &Graph, node: &Node) -> u64 {
    let size = |shape: &[usize]| shape.iter().map(|&d| d as u64).product::<u64>();
    let outputs = size(&graph.value(node.output).shape);
    match node.op {
        Op::Conv { .. } => outputs * size(&graph.value(node.inputs[1]).shape[1..]),
        Op::Dense => outputs * graph.value(node.inputs[1]).shape[1] as u64,
        _ => 0,
    }
}

/// Sizes of the whole network; weights that several layers share count once.
pub fn stats(graph: &Graph) -> Stats {
    let mut seen = std::collections::HashSet::new();
    let mut stats = Stats::default();
    for node in &graph.nodes {
        stats.macs += macs(graph, node);
        if matches!(node.op, Op::Conv { .. } | Op::Dense) && seen.insert(node.inputs[1]) {
            stats.weights += graph
                .value(node.inputs[1])
                .shape
                .iter()
                .map(|&d| d as u64)
                .product::<u64>();
        }
    }
    stats
}
