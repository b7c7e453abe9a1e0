//! Channels that are the same number for every input, or that nobody reads.
//!
//! ```text
//! 1. forward:  known[v][c] = Some(number) where channel c of v does not depend on the inputs
//! 2. backward: live[v][c]  = some output of the graph depends on channel c of v
//! 3. gone[v][c] starts as known or not live; operators take back what they cannot do without, to a fixpoint
//! 4. cut: filters, weights and constants lose the channels that are gone; what known channels would have
//!    contributed goes into the bias of their readers
//! ```
//! Training with weight decay leaves dead filters not at zero but near 1e-30, where no bit of an `f32` result
//! depends on them; such weights become zero first ([`NEGLIGIBLE`]).
//! Channels are the last axis. A known number moves through padding only if it is zero, because padding is.

mod cut;
mod flow;
mod ties;

use super::Report;
use super::edit::{constant, sweep};
use crate::ir::{Graph, Op, stats};

/// Weights smaller than this share of the largest weight of their layer count as zero: 2^-64, far below the
/// 2^-24 that one rounding of the layer's sums costs.
const NEGLIGIBLE: f32 = 1.0 / (1u128 << 64) as f32;

/// Remove channels that are constant or unread, and their filters.
pub fn remove_dead_channels(mut graph: Graph) -> (Graph, Report) {
    let before = stats(&graph);
    flush(&mut graph);
    let mut changes = 0;
    loop {
        let known = flow::known(&graph);
        let live = flow::live(&graph, &known);
        let gone = ties::gone(&graph, &known, &live);
        let count: usize = gone.iter().map(|g| g.iter().filter(|&&g| g).count()).sum();
        if count == 0 {
            break;
        }
        cut::cut(&mut graph, &known, &gone);
        sweep(&mut graph);
        changes += count;
    }
    let after = stats(&graph);
    let text = format!(
        "dead channels: {changes} removed, MACs {} -> {}, weights {} -> {}",
        before.macs, after.macs, before.weights, after.weights
    );
    (
        graph,
        Report {
            pass: "dead channels",
            changes,
            text,
        },
    )
}

/// Set negligible weights to zero.
fn flush(graph: &mut Graph) {
    for i in 0..graph.nodes.len() {
        if !matches!(graph.nodes[i].op, Op::Conv { .. } | Op::Dense) {
            continue;
        }
        let value = graph.value(graph.nodes[i].inputs[1]).clone();
        let (Some(weights), None) = (&value.constant, &value.quant) else {
            continue;
        };
        let limit = weights.iter().fold(0f32, |m, w| m.max(w.abs())) * NEGLIGIBLE;
        let tiny = |w: f32| w != 0.0 && w.abs() < limit;
        if weights.iter().any(|&w| tiny(w)) {
            let flushed = weights.mapv(|w| if tiny(w) { 0.0 } else { w });
            graph.nodes[i].inputs[1] = constant(graph, &value.name, flushed, None);
        }
    }
}
