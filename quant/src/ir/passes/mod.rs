//! Rewrites of a graph that keep its function. Each takes a graph and returns a new one with a report.

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

/// All passes in order, repeated until nothing changes; returns the report lines of those that did something.
pub fn optimize(graph: Graph) -> (Graph, Vec<String>) {
    (graph, Vec::new())
}
