//! Rewrites of a graph that keep its function. Each takes a graph and returns a new one with a report.

mod affine;
mod constants;
mod dead;
mod edit;
mod layout;
mod pads;
mod redundant;
mod sink;

pub use affine::fold_affine;
pub use constants::fold_constants;
pub use dead::remove_dead_channels;
pub use layout::remove_transpositions;
pub use pads::merge_pads;
pub use redundant::remove_redundant;

use super::Graph;

/// What a pass did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Name of the pass.
    pub pass: &'static str,
    /// Number of changes; 0 where the graph is as it was.
    pub changes: usize,
    /// One line for the user.
    pub text: String,
}

/// A rewrite of a graph.
pub type Pass = fn(Graph) -> (Graph, Report);

/// All passes, in the order in which they are applied.
pub const PASSES: [Pass; 6] = [
    fold_constants,
    remove_redundant,
    remove_transpositions,
    fold_affine,
    merge_pads,
    remove_dead_channels,
];

/// [`PASSES`] but the one that changes channel counts.
pub const PASSES_KEEPING_CHANNELS: [Pass; 5] = [
    fold_constants,
    remove_redundant,
    remove_transpositions,
    fold_affine,
    merge_pads,
];

/// Bound on repetitions: each round but the last removes something, more never occurs in practice.
const ROUNDS_MAX: usize = 32;

/// All passes in order, repeated until nothing changes; returns the report lines of those that did something.
pub fn optimize(graph: Graph) -> (Graph, Vec<String>) {
    optimize_with(graph, &PASSES)
}

/// Like [`optimize`], with a choice of passes.
pub fn optimize_with(mut graph: Graph, passes: &[Pass]) -> (Graph, Vec<String>) {
    let mut lines = Vec::new();
    for _ in 0..ROUNDS_MAX {
        let mut changes = 0;
        for pass in passes {
            let report;
            (graph, report) = pass(graph);
            debug_assert_eq!(super::infer::check_graph(&graph), Ok(()), "{}", report.pass);
            changes += report.changes;
            if report.changes > 0 {
                lines.push(report.text);
            }
        }
        if changes == 0 {
            break;
        }
    }
    (graph, lines)
}
