//! A graph without the quantization that its file carries.

use crate::ir::{Graph, Node, Op, Unary, Value};

/// Codes of activations are `i8`; a zero point at their bottom leaves no room below zero.
const BOTTOM: i32 = i8::MIN as i32;

/// Drop the quantization of every value. Where it did the work of a ReLU, whose node tools remove when the codes end at
/// zero anyway, a clip to the range of the codes takes its place.
pub fn unquantized(mut graph: Graph) -> Graph {
    let nodes = std::mem::take(&mut graph.nodes);
    for mut node in nodes {
        let output = node.output;
        let quant = graph.value(output).quant.clone();
        let bounds = quant.filter(|q| q.scale.len() == 1 && q.zero == [BOTTOM]);
        let computes = matches!(
            node.op,
            Op::Conv { .. } | Op::Dense | Op::Add | Op::Sub | Op::Mul
        );
        let Some(bounds) = bounds.filter(|_| computes) else {
            graph.nodes.push(node);
            continue;
        };
        let value = graph.value(output).clone();
        node.output = graph.add_value(Value {
            name: format!("{}_unbounded", value.name),
            ..value
        });
        let top = (f32::from(i8::MAX) - BOTTOM as f32) * bounds.scale[0];
        let clip = Node {
            name: format!("{}_bounds", node.name),
            op: Op::Unary(Unary::Clip(0.0, top)),
            inputs: vec![node.output],
            output,
        };
        graph.nodes.extend([node, clip]);
    }
    graph.values.iter_mut().for_each(|v| v.quant = None);
    graph
}
