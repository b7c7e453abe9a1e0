//! Multiplications and additions by constants per channel (BatchNormalization and the like).

use super::Report;
use super::edit::{Uses, constant, last, per_channel, sweep};
use crate::ir::{FileQuant, Graph, Op, ValueId};
use ndarray::{ArrayD, Axis, IxDyn};
use std::sync::Arc;

/// A constant factor or addend per channel goes into the convolution or dense layer next to it.
pub fn fold_affine(mut graph: Graph) -> (Graph, Report) {
    let mut changes = 0;
    while let Some(i) =
        (0..graph.nodes.len()).find(|&i| after(&mut graph, i) || before(&mut graph, i))
    {
        graph.nodes.remove(i);
        changes += 1;
    }
    sweep(&mut graph);
    let text =
        format!("affine: {changes} multiplications and additions folded into weights and biases");
    (
        graph,
        Report {
            pass: "affine",
            changes,
            text,
        },
    )
}

/// Constant operand of node `i` per channel of its output, where the node is a Mul or Add with such a one.
fn operand(graph: &Graph, i: usize) -> Option<(bool, Vec<f32>)> {
    let node = &graph.nodes[i];
    let scales = match node.op {
        Op::Mul => true,
        Op::Add => false,
        _ => return None,
    };
    let same = graph.value(node.inputs[0]).shape == graph.value(node.output).shape;
    let array = graph
        .value(node.inputs[1])
        .constant
        .as_ref()
        .filter(|_| same)?;
    Some((scales, per_channel(array, last(graph, node.output))?))
}

fn weighted(op: &Op) -> bool {
    matches!(op, Op::Conv { .. } | Op::Dense)
}

fn array(graph: &Graph, id: ValueId) -> Option<Arc<ArrayD<f32>>> {
    graph.value(id).constant.clone()
}

/// Bias of node `j`, zeros where it has none.
fn bias(graph: &Graph, j: usize) -> Option<Vec<f32>> {
    let node = &graph.nodes[j];
    match node.inputs.get(2) {
        Some(&id) => Some(array(graph, id)?.iter().copied().collect()),
        None => Some(vec![0.0; last(graph, node.output)]),
    }
}

fn set_bias(graph: &mut Graph, j: usize, bias: Vec<f32>) {
    let name = match graph.nodes[j].inputs.get(2) {
        Some(&id) => graph.value(id).name.clone(),
        None => format!("{}/bias", graph.nodes[j].name),
    };
    let shape = IxDyn(&[bias.len()]);
    let array = ArrayD::from_shape_vec(shape, bias).expect("one entry per output");
    let id = constant(graph, &name, array, None);
    graph.nodes[j].inputs.truncate(2);
    graph.nodes[j].inputs.push(id);
}

/// Node `i` follows a convolution or dense layer that nobody else reads: fold it into that, true if done.
fn after(graph: &mut Graph, i: usize) -> bool {
    let Some((scales, list)) = operand(graph, i) else {
        return false;
    };
    let uses = Uses::of(graph);
    let source = graph.nodes[i].inputs[0];
    let Some(j) = uses.writer[source.0].filter(|&j| weighted(&graph.nodes[j].op)) else {
        return false;
    };
    if uses.only_reader(source) != Some(i) || graph.value(source).quant.is_some() {
        return false;
    }
    let Some(mut bias) = bias(graph, j) else {
        return false;
    };
    if scales {
        if !scale_axis(graph, j, 0, &list) {
            return false;
        }
        bias.iter_mut().zip(&list).for_each(|(b, s)| *b *= s);
    } else {
        bias.iter_mut().zip(&list).for_each(|(b, a)| *b += a);
    }
    if !scales || graph.nodes[j].inputs.len() > 2 {
        set_bias(graph, j, bias);
    }
    graph.nodes[j].output = graph.nodes[i].output;
    true
}

/// Multiply the weights of node `j` along `axis`; `false` where that would lose codes of the file.
fn scale_axis(graph: &mut Graph, j: usize, axis: usize, list: &[f32]) -> bool {
    let id = graph.nodes[j].inputs[1];
    let Some(mut weights) = array(graph, id).map(|w| (*w).clone()) else {
        return false;
    };
    let quant = match graph.value(id).quant.clone() {
        None => None,
        Some(_) if axis != 0 || list.iter().any(|s| *s <= 0.0) => return false,
        Some(q) if q.axis.is_some_and(|a| a != 0) => return false,
        Some(q) => {
            let at = |i: usize| if q.axis.is_some() { i } else { 0 };
            Some(FileQuant {
                scale: list
                    .iter()
                    .enumerate()
                    .map(|(i, s)| q.scale[at(i)] * s)
                    .collect(),
                zero: (0..list.len()).map(|i| q.zero[at(i)]).collect(),
                axis: Some(0),
            })
        }
    };
    let parts = weights.axis_iter_mut(Axis(axis)).zip(list);
    parts.for_each(|(mut part, s)| part.mapv_inplace(|v| v * s));
    let name = graph.value(id).name.clone();
    graph.nodes[j].inputs[1] = constant(graph, &name, weights, quant);
    true
}

/// Node `i` feeds one convolution or dense layer alone: fold it into that, true if done.
fn before(graph: &mut Graph, i: usize) -> bool {
    let Some((scales, list)) = operand(graph, i) else {
        return false;
    };
    let uses = Uses::of(graph);
    let node = graph.nodes[i].clone();
    let Some(j) = uses
        .only_reader(node.output)
        .filter(|&j| weighted(&graph.nodes[j].op))
    else {
        return false;
    };
    let quantized =
        graph.value(node.output).quant.is_some() || graph.value(node.inputs[0]).quant.is_some();
    let (grouped, padded) = match graph.nodes[j].op {
        Op::Conv { window, groups } => (groups > 1, window.pads != [0; 4]),
        _ => (false, false),
    };
    // Padding stays zero when its neighbours are scaled, but not when something is added to them.
    if quantized || grouped || (padded && !scales) || graph.nodes[j].inputs[0] != node.output {
        return false;
    }
    let axis = graph.value(graph.nodes[j].inputs[1]).shape.len() - 1;
    if scales {
        if !scale_axis(graph, j, axis, &list) {
            return false;
        }
    } else {
        let (Some(weights), Some(mut bias)) =
            (array(graph, graph.nodes[j].inputs[1]), bias(graph, j))
        else {
            return false;
        };
        for (filter, b) in weights.axis_iter(Axis(0)).zip(&mut bias) {
            let products = filter
                .iter()
                .zip(list.iter().cycle())
                .map(|(w, a)| f64::from(*w) * f64::from(*a));
            *b = (f64::from(*b) + products.sum::<f64>()) as f32;
        }
        set_bias(graph, j, bias);
    }
    graph.nodes[j].inputs[0] = node.inputs[0];
    true
}
