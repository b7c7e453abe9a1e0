//! Transpositions: they cancel, move to the ports, or disappear in weights.

use super::Report;
use super::edit::{
    Uses, agree, alike, constant, forward, inverse, is_unary, reshaped, sort, sweep,
};
use super::sink::{hoist, moves_only_units, sink};
use crate::ir::{Graph, Node, Op, ValueId};
use ndarray::IxDyn;

/// Move transpositions through the graph until pairs cancel; the rest goes into the ports, into the weights of
/// dense layers, or becomes a reshape where only axes of extent 1 move.
pub fn remove_transpositions(mut graph: Graph) -> (Graph, Report) {
    let count = |graph: &Graph| {
        graph
            .nodes
            .iter()
            .filter(|n| matches!(n.op, Op::Transpose { .. }))
            .count()
    };
    let before = count(&graph);
    let mut changes = 0;
    loop {
        // Inputs before anything moves: a transposition right behind one is best left to the port.
        let mut round = repeat(&mut graph, cancel);
        round += usize::from(absorb_input(&mut graph));
        round += repeat(&mut graph, step);
        if round == 0 {
            break;
        }
        changes += round;
    }
    for node in &mut graph.nodes {
        if let Op::Transpose { perm } = &node.op
            && moves_only_units(&graph.values[node.inputs[0].0].shape, perm)
        {
            node.op = Op::Reshape;
            changes += 1;
        }
    }
    let after = count(&graph);
    let text = format!(
        "layout: {} of {before} transpositions removed",
        before.saturating_sub(after)
    );
    (
        graph,
        Report {
            pass: "layout",
            changes,
            text,
        },
    )
}

/// Repeat a change as long as it is possible; how often it was.
fn repeat(graph: &mut Graph, change: fn(&mut Graph) -> bool) -> usize {
    let mut count = 0;
    while change(graph) {
        sort(graph);
        sweep(graph);
        count += 1;
    }
    count
}

/// Join two transpositions, the first that are there.
fn cancel(graph: &mut Graph) -> bool {
    let uses = Uses::of(graph);
    (0..graph.nodes.len()).any(|i| is_transpose(graph, i) && compose(graph, &uses, i))
}

/// One change, the first that is possible.
fn step(graph: &mut Graph) -> bool {
    let uses = Uses::of(graph);
    for i in 0..graph.nodes.len() {
        if !is_transpose(graph, i) {
            continue;
        }
        if compose(graph, &uses, i) || absorb_output(graph, &uses, i) {
            return true;
        }
        for &r in &uses.readers[graph.nodes[i].output.0] {
            if is_transpose(graph, r) {
                continue;
            }
            if sink(graph, i, r) || flatten(graph, &uses, i, r) {
                return true;
            }
            // Behind a reshape that a dense layer reads, only one-number operators may be in the way.
            let reshape = graph.nodes[r].op == Op::Reshape;
            if let Some(f) = uses.only_reader(graph.nodes[r].output).filter(|_| reshape)
                && leads_to_dense(graph, &uses, f)
                && hoist(graph, r, f)
            {
                return true;
            }
        }
    }
    false
}

fn is_transpose(graph: &Graph, i: usize) -> bool {
    matches!(graph.nodes[i].op, Op::Transpose { .. })
}

/// Whether operators on single elements, and nothing else, stand between node `f` and dense layers.
fn leads_to_dense(graph: &Graph, uses: &Uses, f: usize) -> bool {
    let node = &graph.nodes[f];
    let single = is_unary(&node.op) || matches!(node.op, Op::Add | Op::Mul);
    let readers = &uses.readers[node.output.0];
    single
        && !readers.is_empty()
        && readers
            .iter()
            .all(|&r| graph.nodes[r].op == Op::Dense || leads_to_dense(graph, uses, r))
}

/// A transposition without effect, or of a transposition.
fn compose(graph: &mut Graph, uses: &Uses, i: usize) -> bool {
    let node = graph.nodes[i].clone();
    let Op::Transpose { perm } = &node.op else {
        return false;
    };
    if perm.iter().enumerate().all(|(a, &p)| a == p) {
        if forward(graph, node.output, node.inputs[0]) {
            return true;
        }
        graph.nodes[i].op = Op::Reshape;
        return true;
    }
    let Some(first) = uses.writer[node.inputs[0].0] else {
        return false;
    };
    let Op::Transpose { perm: earlier } = graph.nodes[first].op.clone() else {
        return false;
    };
    let source = graph.nodes[first].inputs[0];
    if !agree(graph, node.inputs[0], source) {
        return false;
    }
    let joined = perm.iter().map(|&p| earlier[p]).collect();
    graph.nodes[i].op = Op::Transpose { perm: joined };
    graph.nodes[i].inputs[0] = source;
    true
}

/// Outputs of the graph take the value before the transposition.
fn absorb_output(graph: &mut Graph, uses: &Uses, i: usize) -> bool {
    let node = graph.nodes[i].clone();
    let (source, Op::Transpose { perm }) = (node.inputs[0], &node.op) else {
        return false;
    };
    if !uses.output[node.output.0]
        || uses.writer[source.0].is_none()
        || !agree(graph, node.output, source)
    {
        return false;
    }
    let back = inverse(perm);
    for port in graph.outputs.iter_mut().filter(|p| p.value == node.output) {
        port.value = source;
        port.perm = back.iter().map(|&b| port.perm[b]).collect();
    }
    true
}

/// An input that meets a transposition, directly or behind operators on single elements, comes in that layout.
/// The inverse is put behind it, and finds its way.
fn absorb_input(graph: &mut Graph) -> bool {
    let uses = Uses::of(graph);
    for p in 0..graph.inputs.len() {
        let port = graph.inputs[p].clone();
        let rank = port.perm.len();
        if port.perm.iter().enumerate().any(|(i, &a)| i != a) {
            continue;
        }
        let Some(perm) = meets(graph, &uses, port.value, rank, 0) else {
            continue;
        };
        let shape = perm.iter().map(|&a| port.file_shape[a]).collect();
        let moved = alike(graph, port.value, shape);
        let name = format!("{}/transpose", port.name);
        let op = Op::Transpose {
            perm: inverse(&perm),
        };
        graph.nodes.insert(
            0,
            Node {
                name,
                op,
                inputs: vec![moved],
                output: port.value,
            },
        );
        graph.inputs[p].value = moved;
        graph.inputs[p].perm = perm;
        return true;
    }
    false
}

/// Bound on how far [`meets`] looks.
const DEPTH_MAX: usize = 16;

/// The transposition of `rank` axes that `id` reaches first.
fn meets(graph: &Graph, uses: &Uses, id: ValueId, rank: usize, depth: usize) -> Option<Vec<usize>> {
    if depth > DEPTH_MAX {
        return None;
    }
    uses.readers[id.0]
        .iter()
        .find_map(|&r| match &graph.nodes[r].op {
            Op::Transpose { perm } if perm.len() == rank => Some(perm.clone()),
            Op::Unary(_) | Op::Add | Op::Sub | Op::Mul | Op::Pad { .. } | Op::Slice { .. } => {
                let same = graph.value(graph.nodes[r].output).shape.len() == rank;
                same.then(|| meets(graph, uses, graph.nodes[r].output, rank, depth + 1))
                    .flatten()
            }
            _ => None,
        })
}

/// Transposition `t`, reshape `r` to rows, dense layers: the weights are permuted instead.
fn flatten(graph: &mut Graph, uses: &Uses, t: usize, r: usize) -> bool {
    let Op::Transpose { perm } = graph.nodes[t].op.clone() else {
        return false;
    };
    let (x, rows) = (graph.nodes[t].inputs[0], graph.nodes[r].output);
    let readers = &uses.readers[rows.0];
    let dense = |&d: &usize| {
        let node = &graph.nodes[d];
        let plain = |id: ValueId| {
            let weights = graph.value(id);
            let by_input = weights.quant.as_ref().is_some_and(|q| q.axis == Some(1));
            weights.constant.is_some() && !by_input
        };
        node.op == Op::Dense && node.inputs[0] == rows && plain(node.inputs[1])
    };
    if graph.nodes[r].op != Op::Reshape
        || uses.output[rows.0]
        || readers.is_empty()
        || !readers.iter().all(dense)
    {
        return false;
    }
    let (old, out) = (
        graph.value(x).shape.clone(),
        graph.value(rows).shape.clone(),
    );
    let k = out.last().copied().unwrap_or(1);
    // The trailing axes that make up a row; those before must keep their order, and come first before the transposition.
    let Some(split) = (0..=perm.len())
        .rev()
        .find(|&s| perm[s..].iter().map(|&p| old[p]).product::<usize>() == k)
    else {
        return false;
    };
    let lead: Vec<usize> = perm[..split]
        .iter()
        .copied()
        .filter(|&p| old[p] != 1)
        .collect();
    let tail: Vec<usize> = perm[split..]
        .iter()
        .copied()
        .filter(|&p| old[p] != 1)
        .collect();
    let ordered = lead.windows(2).all(|w| w[0] < w[1]);
    if !ordered || lead.iter().any(|l| tail.iter().any(|t| t < l)) {
        return false;
    }
    let mut sorted = tail.clone();
    sorted.sort_unstable();
    let order: Vec<usize> = sorted
        .iter()
        .map(|a| tail.iter().position(|t| t == a).map_or(0, |i| i + 1))
        .collect();
    let wide = |m: usize| [vec![m], tail.iter().map(|&a| old[a]).collect()].concat();
    for &d in readers {
        let id = graph.nodes[d].inputs[1];
        let value = graph.value(id).clone();
        let Some(array) = value.constant else {
            return false;
        };
        let shape: Vec<usize> = wide(array.shape()[0]);
        let axes = [vec![0], order.clone()].concat();
        let moved = reshaped(&array, &shape).permuted_axes(IxDyn(&axes));
        let moved = reshaped(&moved, array.shape());
        graph.nodes[d].inputs[1] = constant(graph, &value.name, moved, value.quant);
    }
    let direct = alike(graph, rows, out);
    let node = Node {
        output: direct,
        inputs: vec![x],
        ..graph.nodes[r].clone()
    };
    graph.nodes.insert(r + 1, node);
    forward(graph, rows, direct)
}
