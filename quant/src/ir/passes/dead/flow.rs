//! What is known of channels, forward, and which ones matter, backward.

use crate::ir::passes::edit::{last, per_channel};
use crate::ir::{Graph, Node, Op, ValueId, exec};
use ndarray::{ArrayD, Axis};

/// Per value and channel: the number it always is, where it is one.
pub type Known = Vec<Vec<Option<f32>>>;
/// Per value and channel: whether an output of the graph depends on it.
pub type Live = Vec<Vec<bool>>;

/// Whether reads of `op` may lie outside its input, where zeros are.
pub fn padded(op: &Op) -> bool {
    matches!(op, Op::Conv { window, .. } if window.pads != [0; 4])
}

/// Which input channels output channel `m` of a convolution or dense layer reads with weights that are not zero:
/// pairs of input channel and index into the last axis of the weights.
pub fn taps(op: &Op, weights: &ArrayD<f32>, m: usize) -> Vec<(usize, usize)> {
    let groups = if let Op::Conv { groups, .. } = op {
        *groups
    } else {
        1
    };
    let width = weights.shape()[weights.ndim() - 1];
    let first = m / (weights.shape()[0] / groups).max(1) * width;
    let filter = weights.index_axis(Axis(0), m);
    let used = |j: usize| {
        filter
            .index_axis(Axis(filter.ndim() - 1), j)
            .iter()
            .any(|&w| w != 0.0)
    };
    (0..width)
        .filter(|&j| used(j))
        .map(|j| (first + j, j))
        .collect()
}

/// Sum of the weights of output `m` on entry `j` of the last axis.
pub fn weight_sum(weights: &ArrayD<f32>, m: usize, j: usize) -> f64 {
    let filter = weights.index_axis(Axis(0), m);
    let axis = Axis(filter.ndim() - 1);
    filter
        .index_axis(axis, j)
        .iter()
        .map(|&w| f64::from(w))
        .sum()
}

pub fn known(graph: &Graph) -> Known {
    let mut known: Known = graph
        .values
        .iter()
        .map(|v| vec![None; v.shape.last().copied().unwrap_or(1)])
        .collect();
    for (i, value) in graph.values.iter().enumerate() {
        let width = known[i].len();
        if let Some(list) = value.constant.as_ref().and_then(|c| per_channel(c, width)) {
            known[i] = list.into_iter().map(Some).collect();
        }
    }
    for node in &graph.nodes {
        let mut out = through(graph, node, &known);
        // A number that the file's quantization rounds is left alone; zero is a code of its own.
        if graph.value(node.output).quant.is_some() {
            out.iter_mut().for_each(|k| *k = k.filter(|v| *v == 0.0));
        }
        known[node.output.0] = out;
    }
    known
}

fn through(graph: &Graph, node: &Node, known: &Known) -> Vec<Option<f32>> {
    let width = last(graph, node.output);
    let x = &known[node.inputs[0].0];
    let none = vec![None; width];
    let same_width = x.len() == width;
    let constant = |slot: usize| {
        node.inputs
            .get(slot)
            .and_then(|id| graph.value(*id).constant.clone())
    };
    match &node.op {
        Op::Conv { .. } | Op::Dense => {
            let Some(weights) = constant(1) else {
                return none;
            };
            let bias = constant(2);
            let output = |m: usize| -> Option<f32> {
                let start = bias.as_ref().map_or(0.0, |b| b[[m]]);
                let mut sum = f64::from(start);
                for (c, j) in taps(&node.op, &weights, m) {
                    let number = x[c].filter(|v| *v == 0.0 || !padded(&node.op))?;
                    sum += f64::from(number) * weight_sum(&weights, m, j);
                }
                Some(sum as f32)
            };
            (0..width).map(output).collect()
        }
        Op::Unary(f) => x
            .iter()
            .map(|k| k.map(|v| exec::scalar(*f, v)).filter(|v| v.is_finite()))
            .collect(),
        Op::Add | Op::Sub | Op::Mul | Op::PRelu => {
            let y = &known[node.inputs[1].0];
            let at = |list: &[Option<f32>], c: usize| list[if list.len() == 1 { 0 } else { c }];
            let both = |c: usize| -> Option<f32> {
                let (a, b) = (at(x, c), at(y, c));
                match (&node.op, a, b) {
                    (Op::Mul, Some(0.0), _) | (Op::Mul, _, Some(0.0)) => Some(0.0),
                    (Op::Add, a, b) => Some(a? + b?),
                    (Op::Sub, a, b) => Some(a? - b?),
                    (Op::Mul, a, b) => Some(a? * b?),
                    (_, a, b) => a.and_then(|a| if a < 0.0 { Some(a * b?) } else { Some(a) }),
                }
            };
            (0..width).map(both).collect()
        }
        Op::MaxPool(_) | Op::ResizeNearest(_) => x.clone(),
        Op::AvgPool { count_pad, .. } => x
            .iter()
            .map(|k| k.filter(|v| *v == 0.0 || !count_pad))
            .collect(),
        Op::Pad {
            before,
            after,
            value,
        } if last_only_zero(before, after) => x.iter().map(|k| k.filter(|v| v == value)).collect(),
        Op::Slice { start, step }
            if same_width && start.last() == Some(&0) && step.last() == Some(&1) =>
        {
            x.clone()
        }
        Op::Slice { start, step } => match (start.last(), step.last()) {
            (Some(start), Some(step)) => (0..width).map(|c| x[start + c * step]).collect(),
            _ => none,
        },
        Op::Concat { axis } if axis + 1 == graph.value(node.output).shape.len() => node
            .inputs
            .iter()
            .flat_map(|id| known[id.0].iter().copied())
            .collect(),
        Op::Concat { .. } => {
            let all =
                |c: usize| x[c].filter(|v| node.inputs.iter().all(|id| known[id.0][c] == Some(*v)));
            (0..width).map(all).collect()
        }
        Op::Reshape if width.is_multiple_of(x.len().max(1)) => {
            (0..width).map(|c| x[c % x.len()]).collect()
        }
        Op::Transpose { perm } if perm.last() == Some(&(perm.len() - 1)) => x.clone(),
        _ => none,
    }
}

/// Whether padding leaves the last axis alone.
pub fn last_only_zero(before: &[usize], after: &[usize]) -> bool {
    before.last() == Some(&0) && after.last() == Some(&0)
}

pub fn live(graph: &Graph, known: &Known) -> Live {
    let mut live: Live = known.iter().map(|k| vec![false; k.len()]).collect();
    for port in &graph.outputs {
        live[port.value.0].fill(true);
    }
    for node in graph.nodes.iter().rev() {
        let out = live[node.output.0].clone();
        // What a known channel is made of does not matter.
        let matters: Vec<bool> = out
            .iter()
            .zip(&known[node.output.0])
            .map(|(&l, k)| l && k.is_none())
            .collect();
        back(graph, node, &matters, &mut live);
    }
    live
}

fn back(graph: &Graph, node: &Node, out: &[bool], live: &mut Live) {
    let width = out.len();
    let first = node.inputs[0];
    let mut mark = |id: ValueId, c: usize| live[id.0][c] = true;
    let channels = |id: ValueId| last(graph, id);
    let each = (0..width).filter(|&c| out[c]);
    match &node.op {
        Op::Conv { .. } | Op::Dense => {
            let weights = graph.value(node.inputs[1]).constant.clone();
            match weights {
                Some(w) => each.for_each(|m| {
                    taps(&node.op, &w, m)
                        .into_iter()
                        .for_each(|(c, _)| mark(first, c))
                }),
                None => node
                    .inputs
                    .iter()
                    .for_each(|&id| (0..channels(id)).for_each(|c| mark(id, c))),
            }
        }
        Op::Unary(_) | Op::MaxPool(_) | Op::ResizeNearest(_) | Op::AvgPool { .. } => {
            each.for_each(|c| mark(first, c))
        }
        Op::Add | Op::Sub | Op::Mul | Op::PRelu => {
            for &id in &node.inputs {
                let wide = channels(id) == width;
                (0..width)
                    .filter(|&c| out[c])
                    .for_each(|c| mark(id, if wide { c } else { 0 }));
            }
        }
        Op::Pad { before, after, .. } if last_only_zero(before, after) => {
            each.for_each(|c| mark(first, c))
        }
        Op::Slice { start, step } => match (start.last(), step.last()) {
            (Some(start), Some(step)) => each.for_each(|c| mark(first, start + c * step)),
            _ => each.for_each(|_| mark(first, 0)),
        },
        Op::Concat { axis } => {
            let along = axis + 1 == graph.value(node.output).shape.len();
            let mut offset = 0;
            for &id in &node.inputs {
                let n = channels(id);
                (0..n)
                    .filter(|&c| out[if along { offset + c } else { c }])
                    .for_each(|c| mark(id, c));
                offset += n;
            }
        }
        Op::Reshape if width.is_multiple_of(channels(first).max(1)) => {
            each.for_each(|c| mark(first, c % channels(first)))
        }
        Op::Transpose { perm } if perm.last() == Some(&(perm.len() - 1)) => {
            each.for_each(|c| mark(first, c))
        }
        // Everything may depend on everything.
        _ if out.contains(&true) || matches!(node.op, Op::Softmax { .. } | Op::ArgMax { .. }) => {
            node.inputs
                .iter()
                .for_each(|&id| (0..channels(id)).for_each(|c| mark(id, c)));
        }
        _ => {}
    }
}
