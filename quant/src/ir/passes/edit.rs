//! What the passes share: who reads and writes a value, replacing values, removing what nobody reads.

use crate::ir::{FileQuant, Graph, Op, Value, ValueId};
use ndarray::{ArrayD, Axis, IxDyn};
use std::sync::Arc;

/// Writers and readers of every value.
pub(super) struct Uses {
    /// Index of the node that writes the value.
    pub writer: Vec<Option<usize>>,
    /// Indices of the nodes that read it, once per input slot.
    pub readers: Vec<Vec<usize>>,
    /// Whether it is an output of the graph.
    pub output: Vec<bool>,
}

impl Uses {
    pub fn of(graph: &Graph) -> Uses {
        let n = graph.values.len();
        let mut uses = Uses {
            writer: vec![None; n],
            readers: vec![vec![]; n],
            output: vec![false; n],
        };
        for (i, node) in graph.nodes.iter().enumerate() {
            uses.writer[node.output.0] = Some(i);
            node.inputs.iter().for_each(|id| uses.readers[id.0].push(i));
        }
        graph
            .outputs
            .iter()
            .for_each(|port| uses.output[port.value.0] = true);
        uses
    }

    /// The one node that reads `id`, where there is no other and the value is no output.
    pub fn only_reader(&self, id: ValueId) -> Option<usize> {
        match self.readers[id.0].as_slice() {
            [one] if !self.output[id.0] => Some(*one),
            _ => None,
        }
    }
}

/// `to` takes over the quantization of `from`, whose elements it holds; `false` where the file has another for it.
pub(super) fn agree(graph: &mut Graph, from: ValueId, to: ValueId) -> bool {
    let quant = graph.value(from).quant.clone();
    match (&quant, &graph.value(to).quant) {
        (Some(a), Some(b)) => a == b,
        (Some(_), None) if graph.value(to).constant.is_none() => {
            graph.values[to.0].quant = quant;
            true
        }
        _ => true,
    }
}

/// Let `to` stand wherever `from` is read. `false`, and nothing done, where the file quantizes them differently.
pub(super) fn forward(graph: &mut Graph, from: ValueId, to: ValueId) -> bool {
    if !agree(graph, from, to) {
        return false;
    }
    let ids = graph.nodes.iter_mut().flat_map(|n| n.inputs.iter_mut());
    let ports = graph.outputs.iter_mut().map(|p| &mut p.value);
    ids.chain(ports)
        .filter(|id| **id == from)
        .for_each(|id| *id = to);
    true
}

/// A value with the name and quantization of `like`.
pub(super) fn alike(graph: &mut Graph, like: ValueId, shape: Vec<usize>) -> ValueId {
    let Value { name, quant, .. } = graph.value(like).clone();
    let quant = quant.filter(|q| q.axis.is_none());
    graph.add_value(Value {
        name,
        shape,
        constant: None,
        quant,
    })
}

/// A new constant.
pub(super) fn constant(
    graph: &mut Graph,
    name: &str,
    array: ArrayD<f32>,
    quant: Option<FileQuant>,
) -> ValueId {
    let shape = array.shape().to_vec();
    let constant = Some(Arc::new(array.as_standard_layout().into_owned()));
    graph.add_value(Value {
        name: name.into(),
        shape,
        constant,
        quant,
    })
}

/// `array` under another shape of the same size.
pub(super) fn reshaped(array: &ArrayD<f32>, shape: &[usize]) -> ArrayD<f32> {
    let flat = array.as_standard_layout().into_owned();
    flat.into_shape_with_order(IxDyn(shape))
        .expect("same number of elements")
}

/// Contents of a constant along its last axis, `width` entries: a vector or one number; `None` where other axes count.
pub(super) fn per_channel(array: &ArrayD<f32>, width: usize) -> Option<Vec<f32>> {
    let last = array.shape().last().copied().unwrap_or(1);
    if array.len() != last {
        return None;
    }
    let list: Vec<f32> = array.iter().copied().collect();
    match list.len() {
        1 => Some(vec![list[0]; width]),
        n if n == width => Some(list),
        _ => None,
    }
}

/// The entries `keep` of `axis` of a constant, its per-axis scales included.
pub(super) fn select(graph: &mut Graph, id: ValueId, axis: usize, keep: &[usize]) -> ValueId {
    let value = graph.value(id).clone();
    let array = value
        .constant
        .as_ref()
        .expect("constants are selected from")
        .select(Axis(axis), keep);
    let quant = value.quant.map(|mut q| {
        if q.axis == Some(axis) {
            q.scale = keep.iter().map(|&i| q.scale[i]).collect();
            q.zero = keep.iter().map(|&i| q.zero[i]).collect();
        }
        q
    });
    constant(graph, &value.name, array, quant)
}

/// Inverse of a permutation.
pub(super) fn inverse(perm: &[usize]) -> Vec<usize> {
    let mut out = vec![0; perm.len()];
    for (i, &p) in perm.iter().enumerate() {
        out[p] = i;
    }
    out
}

/// Put nodes into execution order, keeping the order where it is free.
pub(super) fn sort(graph: &mut Graph) {
    let n = graph.values.len();
    let mut pending = vec![false; n];
    graph
        .nodes
        .iter()
        .for_each(|node| pending[node.output.0] = true);
    let mut left: Vec<_> = std::mem::take(&mut graph.nodes);
    while !left.is_empty() {
        let before = left.len();
        let mut rest = Vec::new();
        for node in left {
            match node.inputs.iter().any(|id| pending[id.0]) {
                true => rest.push(node),
                false => {
                    pending[node.output.0] = false;
                    graph.nodes.push(node);
                }
            }
        }
        assert!(rest.len() < before, "a graph has no cycles");
        left = rest;
    }
}

/// Remove nodes whose output nobody reads, then values that no node and no port mentions. Returns the node count removed.
pub(super) fn sweep(graph: &mut Graph) -> usize {
    let before = graph.nodes.len();
    let mut read = vec![false; graph.values.len()];
    graph.outputs.iter().for_each(|p| read[p.value.0] = true);
    let nodes = std::mem::take(&mut graph.nodes);
    let mut kept = Vec::new();
    for node in nodes.into_iter().rev() {
        if read[node.output.0] {
            node.inputs.iter().for_each(|id| read[id.0] = true);
            kept.push(node);
        }
    }
    kept.reverse();
    graph.nodes = kept;
    graph.inputs.iter().for_each(|p| read[p.value.0] = true);
    let mut moved = vec![ValueId(0); graph.values.len()];
    let values = std::mem::take(&mut graph.values);
    for (i, value) in values.into_iter().enumerate().filter(|(i, _)| read[*i]) {
        moved[i] = ValueId(graph.values.len());
        graph.values.push(value);
    }
    for node in &mut graph.nodes {
        node.inputs.iter_mut().for_each(|id| *id = moved[id.0]);
        node.output = moved[node.output.0];
    }
    let ports = graph.inputs.iter_mut().chain(&mut graph.outputs);
    ports.for_each(|p| p.value = moved[p.value.0]);
    before - graph.nodes.len()
}

/// Extent of the last axis, the channels.
pub(super) fn last(graph: &Graph, id: ValueId) -> usize {
    graph.value(id).shape.last().copied().unwrap_or(1)
}

/// Whether `op` maps every element by itself.
pub(super) fn is_unary(op: &Op) -> bool {
    matches!(op, Op::Unary(_))
}
