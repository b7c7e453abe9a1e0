//! Channels that are the same number for every input, or that nobody reads.
//!
//! ```text
//! 1. forward:  known[v][c] = Some(number) where channel c of v does not depend on the inputs
//! 2. backward: live[v][c]  = some output of the graph depends on channel c of v
//! 3. gone[v][c] starts as known or not live; operators take back what they cannot do without, to a fixpoint
//! 4. cut: filters, weights and constants lose the channels that are gone; what known channels would have
//!    contributed goes into the bias of their readers
//! ```
//! Channels are the last axis. A known number moves through padding only if it is zero, because padding is.

mod cut;
mod flow;
mod ties;

use super::Report;
use super::edit::sweep;
use crate::ir::{Graph, stats};

/// Remove channels that are constant or unread, and their filters.
pub fn remove_dead_channels(mut graph: Graph) -> (Graph, Report) {
    let before = stats(&graph);
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
