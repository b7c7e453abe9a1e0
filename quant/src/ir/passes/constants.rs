//! Nodes whose inputs are all constants.

use super::Report;
use super::edit::sweep;
use crate::ir::{Graph, exec};
use std::sync::Arc;

/// Compute nodes whose inputs are all constants.
pub fn fold_constants(mut graph: Graph) -> (Graph, Report) {
    let mut changes = 0;
    let mut kept = Vec::new();
    for node in std::mem::take(&mut graph.nodes) {
        match exec::fold(&graph, &node) {
            Some(array) => {
                graph.values[node.output.0].constant = Some(Arc::new(array));
                changes += 1;
            }
            None => kept.push(node),
        }
    }
    graph.nodes = kept;
    sweep(&mut graph);
    let text = format!("constants: {changes} operators computed at import");
    (
        graph,
        Report {
            pass: "constants",
            changes,
            text,
        },
    )
}
