//! Which layers of a file are followed by BatchNorm, before it is folded into their weights.

use crate::ir::{Graph, Node, Op, passes};

/// Names of the convolutions and dense layers whose output is multiplied and then shifted by constants per channel, as
/// BatchNorm is at inference.
pub fn normalized_layers(graph: &Graph) -> Vec<String> {
    // Transpositions of the file's layout stand between a layer and its normalization.
    let (graph, _) = passes::optimize_with(graph.clone(), &passes::PASSES_KEEPING_CHANNELS[..3]);
    let reader = |of: &Node| -> Option<&Node> {
        let mut readers = graph.nodes.iter().filter(|n| n.inputs.contains(&of.output));
        readers.next().filter(|_| readers.next().is_none())
    };
    let by_constant = |n: &Node| {
        n.inputs[1..]
            .iter()
            .all(|&v| graph.value(v).constant.is_some())
    };
    let scaled = |n: &&Node| n.op == Op::Mul && by_constant(n);
    let shifted = |n: &&Node| n.op == Op::Add && by_constant(n);
    let is_normalized = |n: &&Node| {
        matches!(n.op, Op::Conv { .. } | Op::Dense)
            && reader(n)
                .filter(scaled)
                .and_then(reader)
                .is_some_and(|n| shifted(&n))
    };
    let found = graph.nodes.iter().filter(is_normalized);
    found.map(|n| n.name.clone()).collect()
}
