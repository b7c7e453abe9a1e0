//! Which channels can go: operators tie the channels of their inputs and outputs.

use super::flow::{Known, Live, last_only_zero, padded, taps};
use crate::ir::passes::edit::last;
use crate::ir::{Graph, Node, Op, ValueId};

/// Per value and channel: whether it is removed.
pub type Gone = Vec<Vec<bool>>;

/// The largest set of channels that can go together. Every value keeps at least one.
pub fn gone(graph: &Graph, known: &Known, live: &Live) -> Gone {
    let candidate = |i: usize, c: usize| {
        graph.values[i].constant.is_none() && (known[i][c].is_some() || !live[i][c])
    };
    let mut gone: Gone = known
        .iter()
        .enumerate()
        .map(|(i, k)| (0..k.len()).map(|c| candidate(i, c)).collect())
        .collect();
    for port in graph.inputs.iter().chain(&graph.outputs) {
        gone[port.value.0].fill(false);
    }
    loop {
        settle(graph, known, &mut gone);
        let empty = gone
            .iter()
            .position(|g| !g.is_empty() && g.iter().all(|&g| g));
        match empty {
            Some(i) => gone[i][0] = false,
            None => return gone,
        }
    }
}

/// Take channels back until no operator objects.
fn settle(graph: &Graph, known: &Known, gone: &mut Gone) {
    let mut changed = true;
    while changed {
        changed = false;
        for node in graph.nodes.iter().rev().chain(&graph.nodes) {
            changed |= object(graph, node, known, gone);
        }
    }
}

/// Keep all channels of `id`.
fn keep_all(gone: &mut Gone, id: ValueId) -> bool {
    let had = gone[id.0].contains(&true);
    gone[id.0].fill(false);
    had
}

/// Channel `a` of one value and `b` of another go together or not at all.
fn tie(gone: &mut Gone, (x, a): (ValueId, usize), (y, b): (ValueId, usize)) -> bool {
    let both = gone[x.0][a] && gone[y.0][b];
    let changed = gone[x.0][a] != both || gone[y.0][b] != both;
    gone[x.0][a] = both;
    gone[y.0][b] = both;
    changed
}

/// What `node` cannot do without is kept; whether that changed anything.
fn object(graph: &Graph, node: &Node, known: &Known, gone: &mut Gone) -> bool {
    let (x, y) = (node.inputs[0], node.output);
    let (wx, wy) = (last(graph, x), last(graph, y));
    let mut changed = false;
    let is_constant = |id: ValueId| graph.value(id).constant.is_some();
    match &node.op {
        Op::Conv { .. } | Op::Dense if !is_constant(node.inputs[1]) => {
            node.inputs
                .iter()
                .chain([&y])
                .for_each(|&id| changed |= keep_all(gone, id));
        }
        Op::Conv { groups, .. } if *groups > 1 && *groups == wx => {
            let multiplier = wy / wx;
            for m in 0..wy {
                changed |= tie(gone, (x, m / multiplier), (y, m));
            }
        }
        Op::Conv { groups, .. } if *groups > 1 => changed = keep_all(gone, x) | keep_all(gone, y),
        Op::Conv { .. } | Op::Dense => {
            let Some(weights) = &graph.value(node.inputs[1]).constant else {
                return changed;
            };
            // A number can move into the bias unless padding, which is zero, takes its place at the border.
            for m in (0..wy).filter(|&m| !gone[y.0][m]).collect::<Vec<_>>() {
                for (c, _) in taps(&node.op, weights, m) {
                    let movable = known[x.0][c].is_some_and(|v| v == 0.0 || !padded(&node.op));
                    if gone[x.0][c] && !movable {
                        gone[x.0][c] = false;
                        changed = true;
                    }
                }
            }
        }
        Op::Unary(_) | Op::MaxPool(_) | Op::AvgPool { .. } | Op::ResizeNearest(_) => {
            (0..wy).for_each(|c| changed |= tie(gone, (x, c), (y, c)));
        }
        Op::Pad { before, after, .. } if last_only_zero(before, after) => {
            (0..wy).for_each(|c| changed |= tie(gone, (x, c), (y, c)));
        }
        Op::Slice { start, step }
            if wx == wy && start.last() == Some(&0) && step.last() == Some(&1) =>
        {
            (0..wy).for_each(|c| changed |= tie(gone, (x, c), (y, c)));
        }
        Op::Transpose { perm } if perm.last() == Some(&(perm.len() - 1)) => {
            (0..wy).for_each(|c| changed |= tie(gone, (x, c), (y, c)));
        }
        Op::Add | Op::Sub | Op::Mul | Op::PRelu => {
            for &id in node.inputs.iter().filter(|&&id| !is_constant(id)) {
                if last(graph, id) != wy {
                    // One channel for all of them: it stays.
                    changed |= keep_all(gone, id);
                    continue;
                }
                (0..wy).for_each(|c| changed |= tie(gone, (id, c), (y, c)));
            }
        }
        Op::Concat { axis } => {
            let along = axis + 1 == graph.value(y).shape.len();
            let mut offset = 0;
            for &id in &node.inputs {
                let n = last(graph, id);
                for c in 0..n {
                    let to = if along { offset + c } else { c };
                    match is_constant(id) {
                        true => changed |= std::mem::take(&mut gone[y.0][to]),
                        false => changed |= tie(gone, (id, c), (y, to)),
                    }
                }
                offset += n;
            }
        }
        Op::Reshape if wy.is_multiple_of(wx.max(1)) && graph.value(y).shape.len() > 1 => {
            for c in 0..wx {
                let all = gone[x.0][c] && (c..wy).step_by(wx).all(|k| gone[y.0][k]);
                for k in (c..wy).step_by(wx).filter(|_| !all) {
                    changed |= std::mem::take(&mut gone[y.0][k]);
                }
                changed |= gone[x.0][c] && !all;
                gone[x.0][c] = all;
            }
        }
        _ => {
            node.inputs
                .iter()
                .chain([&y])
                .for_each(|&id| changed |= keep_all(gone, id));
        }
    }
    changed
}
