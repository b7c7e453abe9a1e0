//! Explicit padding in front of a convolution.

use super::Report;
use super::edit::sweep;
use crate::ir::{Graph, Op};

/// Padding with zeros over H and W becomes part of the convolution that reads it.
pub fn merge_pads(mut graph: Graph) -> (Graph, Report) {
    let mut changes = 0;
    for i in 0..graph.nodes.len() {
        let Op::Conv { mut window, groups } = graph.nodes[i].op else {
            continue;
        };
        let padded = graph.nodes[i].inputs[0];
        let Some(pad) = graph.nodes[..i].iter().find(|n| n.output == padded) else {
            continue;
        };
        let Op::Pad {
            before,
            after,
            value,
        } = &pad.op
        else {
            continue;
        };
        let source = pad.inputs[0];
        let (outer, inner) = (&graph.value(padded).quant, &graph.value(source).quant);
        let spatial = [before, after].iter().all(|p| p[0] == 0 && p[3] == 0);
        if !spatial || *value != 0.0 || (outer.is_some() && outer != inner) {
            continue;
        }
        let (shape, out) = (
            &graph.value(source).shape,
            &graph.value(graph.nodes[i].output).shape,
        );
        for axis in 0..2 {
            let first = window.pads[axis] + before[axis + 1];
            let reach = (out[axis + 1] - 1) * window.stride[axis]
                + (window.kernel[axis] - 1) * window.dilation[axis]
                + 1;
            window.pads[axis] = first;
            window.pads[axis + 2] = reach.saturating_sub(shape[axis + 1] + first);
        }
        graph.nodes[i].op = Op::Conv { window, groups };
        graph.nodes[i].inputs[0] = source;
        changes += 1;
    }
    sweep(&mut graph);
    let text = format!("pads: {changes} merged into convolutions");
    (
        graph,
        Report {
            pass: "pads",
            changes,
            text,
        },
    )
}
