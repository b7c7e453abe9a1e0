//! The network in `f32`: reference for calibration and for tests.

mod conv;
mod elementwise;
mod layout;
mod pool;

pub use conv::windows;
pub use elementwise::scalar;
pub use layout::{from_ir_layout, to_ir_layout};

use super::{FileQuant, Graph, Node, Op, ValueId};
use ndarray::{ArrayD, Axis, IxDyn};
use std::sync::Arc;

/// Execute `graph` on `inputs` (one per port, IR layout) and return its outputs (IR layout).
///
/// `observer` sees every input and every computed value, in execution order. Quantization that the file
/// carries is not applied; see [`run_quantized`].
///
/// # Panics
/// Where the number or a shape of the inputs is not that of the graph.
pub fn run(
    graph: &Graph,
    inputs: &[ArrayD<f32>],
    observer: &mut dyn FnMut(ValueId, &ArrayD<f32>),
) -> Vec<ArrayD<f32>> {
    execute(graph, inputs, &mut |id, array| observer(id, array))
}

/// Like [`run`], but `edit` may change every input and every computed value before it is read.
///
/// # Panics
/// See [`run`].
pub fn run_edited(
    graph: &Graph,
    inputs: &[ArrayD<f32>],
    edit: &mut dyn FnMut(ValueId, &mut ArrayD<f32>),
) -> Vec<ArrayD<f32>> {
    execute(graph, inputs, edit)
}

/// Like [`run`], but values whose quantization the file fixes are rounded to their codes.
///
/// # Panics
/// See [`run`].
pub fn run_quantized(
    graph: &Graph,
    inputs: &[ArrayD<f32>],
    observer: &mut dyn FnMut(ValueId, &ArrayD<f32>),
) -> Vec<ArrayD<f32>> {
    execute(graph, inputs, &mut |id, array| {
        if let Some(quant) = &graph.value(id).quant {
            to_codes(array, quant);
        }
        observer(id, array);
    })
}

fn execute(
    graph: &Graph,
    inputs: &[ArrayD<f32>],
    edit: &mut dyn FnMut(ValueId, &mut ArrayD<f32>),
) -> Vec<ArrayD<f32>> {
    assert_eq!(
        inputs.len(),
        graph.inputs.len(),
        "one array per graph input"
    );
    let mut store: Vec<Option<Arc<ArrayD<f32>>>> =
        graph.values.iter().map(|v| v.constant.clone()).collect();
    let mut set =
        |store: &mut Vec<Option<Arc<ArrayD<f32>>>>, id: ValueId, mut array: ArrayD<f32>| {
            edit(id, &mut array);
            store[id.0] = Some(Arc::new(array));
        };
    for (port, array) in graph.inputs.iter().zip(inputs) {
        assert_eq!(
            array.shape(),
            graph.value(port.value).shape,
            "shape of input `{}`",
            port.name
        );
        set(
            &mut store,
            port.value,
            array.as_standard_layout().into_owned(),
        );
    }
    let last = last_reads(graph);
    for (i, node) in graph.nodes.iter().enumerate() {
        let read: Vec<Arc<ArrayD<f32>>> = node
            .inputs
            .iter()
            .map(|id| store[id.0].clone().expect("nodes are in execution order"))
            .collect();
        let args: Vec<&ArrayD<f32>> = read.iter().map(|a| a.as_ref()).collect();
        let output = apply(&node.op, &args, &graph.value(node.output).shape);
        set(&mut store, node.output, output);
        for id in &node.inputs {
            if last[id.0] == Some(i) {
                store[id.0] = None;
            }
        }
    }
    graph
        .outputs
        .iter()
        .map(|port| (**store[port.value.0].as_ref().expect("outputs are written")).clone())
        .collect()
}

/// Index of the last node that reads a value; `None` for outputs, which stay.
pub fn last_reads(graph: &Graph) -> Vec<Option<usize>> {
    let mut last = vec![None; graph.values.len()];
    for (i, node) in graph.nodes.iter().enumerate() {
        node.inputs.iter().for_each(|id| last[id.0] = Some(i));
    }
    graph
        .outputs
        .iter()
        .for_each(|port| last[port.value.0] = None);
    last
}

/// Round to the nearest code (ties to even) and back.
fn to_codes(array: &mut ArrayD<f32>, quant: &FileQuant) {
    let round = |v: f32, scale: f32, zero: i32| {
        let code = ((v / scale).round_ties_even() + zero as f32).clamp(-128.0, 127.0);
        (code - zero as f32) * scale
    };
    match quant.axis {
        None => array.mapv_inplace(|v| round(v, quant.scale[0], quant.zero[0])),
        Some(axis) => {
            let parts = array
                .axis_iter_mut(Axis(axis))
                .zip(quant.scale.iter().zip(&quant.zero));
            parts.for_each(|(mut part, (&s, &z))| part.mapv_inplace(|v| round(v, s, z)));
        }
    }
}

/// One operator; `shape` is the shape of its output.
pub fn apply(op: &Op, args: &[&ArrayD<f32>], shape: &[usize]) -> ArrayD<f32> {
    let x = args[0];
    match op {
        Op::Conv { window, groups } => {
            conv::conv(x, args[1], args.get(2).copied(), window, *groups, shape)
        }
        Op::Dense => conv::dense(x, args[1], args.get(2).copied(), shape),
        Op::MaxPool(window) => pool::max(x, window, shape),
        Op::AvgPool { window, count_pad } => pool::average(x, window, *count_pad, shape),
        Op::Add => elementwise::binary(x, args[1], |a, b| a + b),
        Op::Sub => elementwise::binary(x, args[1], |a, b| a - b),
        Op::Mul => elementwise::binary(x, args[1], |a, b| a * b),
        Op::Unary(f) => elementwise::unary(x, *f),
        Op::PRelu => {
            elementwise::binary(x, args[1], |a, slope| if a < 0.0 { a * slope } else { a })
        }
        Op::Softmax { axis } => elementwise::softmax(x, *axis),
        Op::ArgMax { axis, select_last } => elementwise::arg_max(x, *axis, *select_last, shape),
        Op::Concat { axis } => layout::concat(args, *axis),
        Op::Pad { before, value, .. } => layout::pad(x, before, *value, shape),
        Op::Slice { start, step } => layout::slice(x, start, step, shape),
        Op::Reshape => layout::reshape(x, shape),
        Op::Transpose { perm } => {
            let view = x.view().permuted_axes(IxDyn(perm));
            view.as_standard_layout().into_owned()
        }
        Op::ResizeNearest(map) => {
            let rows = x.select(Axis(1), &map.rows);
            rows.select(Axis(2), &map.cols)
        }
    }
}

/// Shapes and constants of a node's inputs, applied; for passes that fold constants.
pub fn fold(graph: &Graph, node: &Node) -> Option<ArrayD<f32>> {
    let args: Option<Vec<&ArrayD<f32>>> = node
        .inputs
        .iter()
        .map(|&i| graph.value(i).constant.as_deref())
        .collect();
    Some(apply(&node.op, &args?, &graph.value(node.output).shape))
}
