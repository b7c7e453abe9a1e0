//! Removal of channels from weights, biases, constants and shapes.

use super::flow::{Known, taps, weight_sum};
use super::ties::Gone;
use crate::ir::passes::edit::{constant, last, select};
use crate::ir::{Graph, Op, ValueId};
use ndarray::{ArrayD, IxDyn};

/// Remove the channels that are `gone`.
pub fn cut(graph: &mut Graph, known: &Known, gone: &Gone) {
    let kept =
        |id: ValueId| -> Vec<usize> { (0..gone[id.0].len()).filter(|&c| !gone[id.0][c]).collect() };
    for i in 0..graph.nodes.len() {
        let node = graph.nodes[i].clone();
        let (x, y) = (node.inputs[0], node.output);
        let loses = |id: ValueId| gone[id.0].contains(&true);
        match node.op {
            Op::Conv { .. } | Op::Dense if loses(x) || loses(y) => {
                let outputs = kept(y);
                fold_known(graph, i, known, gone);
                let inputs = graph.nodes[i].inputs.clone();
                let mut weights = select(graph, inputs[1], 0, &outputs);
                if let Op::Conv { window, groups } = node.op
                    && groups > 1
                {
                    let groups = kept(x).len();
                    graph.nodes[i].op = Op::Conv { window, groups };
                } else {
                    let axis = graph.value(weights).shape.len() - 1;
                    weights = select(graph, weights, axis, &kept(x));
                }
                graph.nodes[i].inputs[1] = weights;
                if let Some(&bias) = inputs.get(2) {
                    graph.nodes[i].inputs[2] = select(graph, bias, 0, &outputs);
                }
            }
            Op::Add | Op::Sub | Op::Mul | Op::PRelu if loses(y) => {
                for slot in 0..node.inputs.len() {
                    let id = node.inputs[slot];
                    let axis = graph.value(id).shape.len().saturating_sub(1);
                    if graph.value(id).constant.is_some()
                        && last(graph, id) == gone[y.0].len()
                        && gone[y.0].len() > 1
                    {
                        graph.nodes[i].inputs[slot] = select(graph, id, axis, &kept(y));
                    }
                }
            }
            Op::Concat { axis } if loses(y) && axis + 1 != graph.value(y).shape.len() => {
                for slot in 0..node.inputs.len() {
                    let id = node.inputs[slot];
                    let channels = graph.value(id).shape.len() - 1;
                    if graph.value(id).constant.is_some() {
                        graph.nodes[i].inputs[slot] = select(graph, id, channels, &kept(y));
                    }
                }
            }
            _ => {}
        }
    }
    for (value, gone) in graph.values.iter_mut().zip(gone) {
        let n = gone.iter().filter(|&&g| g).count();
        if let Some(width) = value.shape.last_mut().filter(|_| n > 0) {
            *width -= n;
        }
    }
}

/// Channels that are known and gone leave what they contribute in the bias.
fn fold_known(graph: &mut Graph, i: usize, known: &Known, gone: &Gone) {
    let node = graph.nodes[i].clone();
    let (x, Some(weights)) = (node.inputs[0], graph.value(node.inputs[1]).constant.clone()) else {
        return;
    };
    let old = node
        .inputs
        .get(2)
        .and_then(|id| graph.value(*id).constant.clone());
    let m_out = weights.shape()[0];
    let mut added = vec![0f64; m_out];
    for (m, sum) in added.iter_mut().enumerate() {
        for (c, j) in taps(&node.op, &weights, m) {
            if let (true, Some(number)) = (gone[x.0][c], known[x.0][c]) {
                *sum += f64::from(number) * weight_sum(&weights, m, j);
            }
        }
    }
    if added.iter().all(|&a| a == 0.0) {
        return;
    }
    let start = |m: usize| old.as_ref().map_or(0.0, |b| f64::from(b[[m]]));
    let bias: Vec<f32> = added
        .iter()
        .enumerate()
        .map(|(m, a)| (start(m) + a) as f32)
        .collect();
    let bias = ArrayD::from_shape_vec(IxDyn(&[m_out]), bias).expect("one entry per output");
    let name = match node.inputs.get(2) {
        Some(&id) => graph.value(id).name.clone(),
        None => format!("{}/bias", node.name),
    };
    let id = constant(graph, &name, bias, None);
    graph.nodes[i].inputs.truncate(2);
    graph.nodes[i].inputs.push(id);
}
