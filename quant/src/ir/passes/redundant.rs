//! Operators that do nothing, that are done twice, or that nobody reads.

use super::Report;
use super::edit::{Uses, forward, sweep};
use crate::ir::{Graph, Node, Op, Unary};

/// Remove operators without effect, repeated ones and unread ones; chains of reshapes become one.
pub fn remove_redundant(mut graph: Graph) -> (Graph, Report) {
    let before = graph.nodes.len();
    let mut changes = 0;
    while let Some(n) = round(&mut graph) {
        changes += n;
    }
    changes += sweep(&mut graph);
    let removed = before - graph.nodes.len();
    let text = format!("redundant: {removed} operators without effect removed");
    (
        graph,
        Report {
            pass: "redundant",
            changes,
            text,
        },
    )
}

/// One walk; the number of changes, or `None` where there was none.
fn round(graph: &mut Graph) -> Option<usize> {
    let mut changes = sweep(graph);
    for i in 0..graph.nodes.len() {
        let node = graph.nodes[i].clone();
        if is_identity(graph, &node) {
            changes +=
                usize::from(live(graph, &node) && forward(graph, node.output, node.inputs[0]));
            continue;
        }
        if let Some(earlier) = graph.nodes[..i]
            .iter()
            .find(|n| n.op == node.op && n.inputs == node.inputs)
        {
            let (earlier, shape) = (earlier.output, &graph.value(node.output).shape);
            if graph.value(earlier).shape == *shape {
                changes += usize::from(live(graph, &node) && forward(graph, node.output, earlier));
                continue;
            }
        }
        changes += usize::from(shorten(graph, i, &node));
    }
    (changes > 0).then_some(changes)
}

/// Whether anything still reads the output.
fn live(graph: &Graph, node: &Node) -> bool {
    let uses = Uses::of(graph);
    uses.output[node.output.0] || !uses.readers[node.output.0].is_empty()
}

fn is_identity(graph: &Graph, node: &Node) -> bool {
    let same = graph.value(node.inputs[0]).shape == graph.value(node.output).shape;
    let all = |value: f32| {
        let other = graph.value(node.inputs[1]).constant.as_ref();
        other.is_some_and(|c| c.iter().all(|&v| v == value))
    };
    match &node.op {
        Op::Reshape | Op::Pad { .. } => same,
        Op::Slice { step, .. } => same && step.iter().all(|&s| s == 1),
        Op::Transpose { perm } => perm.iter().enumerate().all(|(i, &p)| i == p),
        Op::Concat { .. } => node.inputs.len() == 1,
        Op::Add => same && all(0.0),
        Op::Mul => same && all(1.0),
        Op::Unary(Unary::Clip(lo, hi)) => *lo == f32::NEG_INFINITY && *hi == f32::INFINITY,
        Op::AvgPool { window, .. } | Op::MaxPool(window) => {
            window.kernel == [1, 1] && same && window.pads == [0; 4]
        }
        _ => false,
    }
}

/// A reshape of a reshape reads the source; a ReLU of a ReLU is one.
fn shorten(graph: &mut Graph, i: usize, node: &Node) -> bool {
    let source = node.inputs[0];
    let Some(writer) = graph.nodes[..i].iter().find(|n| n.output == source) else {
        return false;
    };
    match (&writer.op, &node.op) {
        (Op::Reshape, Op::Reshape) => {
            let (first, origin) = (graph.value(source).quant.clone(), writer.inputs[0]);
            // A value that is requantized here is more than another shape.
            if first.is_some() && first != graph.value(origin).quant {
                return false;
            }
            graph.nodes[i].inputs[0] = origin;
            true
        }
        (Op::Unary(Unary::Relu), Op::Unary(Unary::Relu)) => {
            live(graph, node) && forward(graph, node.output, source)
        }
        _ => false,
    }
}
