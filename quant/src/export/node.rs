//! One node of the graph as nodes of the file.

use super::proto::{float, int, ints, string};
use super::writer::{Order, TO_FIRST, TO_LAST, Writer};
use crate::import::ops::nearest_source;
use crate::ir::{NearestMap, Node, Op, Unary, Window};
use tract_onnx::pb::AttributeProto;

/// Write `node`.
///
/// # Errors
/// The text says what ONNX cannot express.
pub fn write(w: &mut Writer, node: &Node) -> Result<(), String> {
    let (x, y) = (node.inputs[0], node.output);
    let wish = w.graph.value(y).name.clone();
    let rank = w.shape(x).len();
    let (order, output) = match &node.op {
        Op::Conv { window, groups } => {
            let mut input = vec![w.get(x, Order::First), w.get(node.inputs[1], Order::First)];
            input.extend(node.inputs.get(2).map(|&b| w.get(b, Order::Last)));
            let mut attributes = spatial(window);
            attributes.push(int("group", *groups));
            attributes.push(ints("dilations", &window.dilation));
            (Order::First, w.node("Conv", &wish, input, attributes))
        }
        Op::Dense => (Order::Last, dense(w, node, &wish)),
        Op::MaxPool(window) => {
            let mut attributes = spatial(window);
            attributes.push(ints("dilations", &window.dilation));
            let input = vec![w.get(x, Order::First)];
            (Order::First, w.node("MaxPool", &wish, input, attributes))
        }
        Op::AvgPool { window, count_pad } => {
            let mut attributes = spatial(window);
            attributes.push(int("count_include_pad", usize::from(*count_pad)));
            if window.dilation != [1, 1] {
                attributes.push(ints("dilations", &window.dilation));
            }
            let input = vec![w.get(x, Order::First)];
            (
                Order::First,
                w.node("AveragePool", &wish, input, attributes),
            )
        }
        Op::Add | Op::Sub | Op::Mul | Op::PRelu => {
            let order = w.common(&node.inputs);
            let input = node.inputs.iter().map(|&id| w.operand(id, order)).collect();
            let op = if node.op == Op::PRelu {
                "PRelu"
            } else {
                node.op.name()
            };
            (order, w.node(op, &wish, input, vec![]))
        }
        Op::Unary(f) => {
            let order = w.common(&[x]);
            (order, unary(w, *f, x, order, &wish))
        }
        Op::Softmax { axis } => {
            let order = w.common(&[x]);
            let input = vec![w.get(x, order)];
            let attributes = vec![int("axis", moved(*axis, order))];
            (order, w.node("Softmax", &wish, input, attributes))
        }
        Op::ArgMax { axis, select_last } => {
            let input = vec![w.get(x, Order::Last)];
            let keep = usize::from(w.shape(y).len() == rank);
            let attributes = vec![
                int("axis", *axis),
                int("keepdims", keep),
                int("select_last_index", usize::from(*select_last)),
            ];
            (Order::Last, w.node("ArgMax", &wish, input, attributes))
        }
        Op::Concat { axis } => {
            let order = w.common(&node.inputs);
            let input = node.inputs.iter().map(|&id| w.get(id, order)).collect();
            let attributes = vec![int("axis", moved(*axis, order))];
            (order, w.node("Concat", &wish, input, attributes))
        }
        Op::Pad {
            before,
            after,
            value,
        } => {
            let order = w.common(&[x]);
            let pads = [arranged(before, order), arranged(after, order)].concat();
            let input = vec![
                w.get(x, order),
                w.indices(&format!("{wish}_pads"), &pads),
                w.floats(&format!("{wish}_value"), &[], vec![*value]),
            ];
            (
                order,
                w.node("Pad", &wish, input, vec![string("mode", "constant")]),
            )
        }
        Op::Slice { start, step } => {
            let order = w.common(&[x]);
            let last = |a: usize| start[a] + (w.shape(y)[a] - 1) * step[a] + 1;
            let ends: Vec<usize> = (0..rank).map(last).collect();
            let axes: Vec<usize> = (0..rank).collect();
            let mut input = vec![w.get(x, order)];
            for (what, list) in [
                ("starts", arranged(start, order)),
                ("ends", arranged(&ends, order)),
                ("axes", axes),
                ("steps", arranged(step, order)),
            ] {
                input.push(w.indices(&format!("{wish}_{what}"), &list));
            }
            (order, w.node("Slice", &wish, input, vec![]))
        }
        Op::Reshape => {
            let shape = w.shape(y).to_vec();
            let input = vec![
                w.get(x, Order::Last),
                w.indices(&format!("{wish}_shape"), &shape),
            ];
            (Order::Last, w.node("Reshape", &wish, input, vec![]))
        }
        Op::Transpose { perm } => {
            // What is there in the order that the transposition makes needs no node.
            if let (true, Some(name)) = (perm == &TO_FIRST, w.has(x, Order::First)) {
                let name = name.clone();
                w.define(y, Order::Last, name);
                return Ok(());
            }
            if let (true, Some(name)) = (perm == &TO_LAST, w.has(x, Order::Last)) {
                let name = name.clone();
                w.define(y, Order::First, name);
                return Ok(());
            }
            let input = vec![w.get(x, Order::Last)];
            (
                Order::Last,
                w.node("Transpose", &wish, input, vec![ints("perm", perm)]),
            )
        }
        Op::ResizeNearest(map) => (Order::First, resize(w, node, map, &wish)?),
    };
    w.label(&node.name);
    w.define(y, order, output);
    Ok(())
}

/// Attributes of a window.
fn spatial(window: &Window) -> Vec<AttributeProto> {
    vec![
        ints("kernel_shape", &window.kernel),
        ints("strides", &window.stride),
        ints("pads", &window.pads),
    ]
}

/// An axis of the graph in the order of the file.
fn moved(axis: usize, order: Order) -> usize {
    match order {
        Order::Last => axis,
        Order::First => TO_LAST[axis],
    }
}

/// One entry per axis of the graph, in the order of the file.
fn arranged(list: &[usize], order: Order) -> Vec<usize> {
    match order {
        Order::Last => list.to_vec(),
        Order::First => TO_FIRST.iter().map(|&a| list[a]).collect(),
    }
}

fn dense(w: &mut Writer, node: &Node, wish: &str) -> String {
    let (x, weights) = (node.inputs[0], node.inputs[1]);
    let bias = node.inputs.get(2).copied();
    if w.shape(x).len() == 2 {
        let mut input = vec![w.get(x, Order::Last), w.get(weights, Order::Last)];
        input.extend(bias.map(|b| w.get(b, Order::Last)));
        return w.node("Gemm", wish, input, vec![int("transB", 1)]);
    }
    let value = w.graph.value(weights);
    let turned = match &value.constant {
        Some(array) => {
            let turned = array.t();
            let values = turned.iter().copied().collect();
            w.floats(&format!("{}_turned", value.name), turned.shape(), values)
        }
        None => {
            let held = w.get(weights, Order::Last);
            w.transposed(&held, &[1, 0])
        }
    };
    let input = vec![w.get(x, Order::Last), turned];
    match bias {
        None => w.node("MatMul", wish, input, vec![]),
        Some(bias) => {
            let product = w.node("MatMul", &format!("{wish}_product"), input, vec![]);
            let input = vec![product, w.get(bias, Order::Last)];
            w.node("Add", wish, input, vec![])
        }
    }
}

fn unary(w: &mut Writer, f: Unary, x: crate::ir::ValueId, order: Order, wish: &str) -> String {
    let mut input = vec![w.get(x, order)];
    let (op, attributes) = match f {
        Unary::Relu => ("Relu", vec![]),
        Unary::Clip(lo, hi) => {
            for (bound, what) in [(lo, "min"), (hi, "max")] {
                input.push(match bound.is_finite() {
                    true => w.floats(&format!("{wish}_{what}"), &[], vec![bound]),
                    false => String::new(),
                });
            }
            ("Clip", vec![])
        }
        Unary::LeakyRelu(alpha) => ("LeakyRelu", vec![float("alpha", alpha)]),
        Unary::Sigmoid => ("Sigmoid", vec![]),
        Unary::Tanh => ("Tanh", vec![]),
        Unary::HardSigmoid { alpha, beta } => (
            "HardSigmoid",
            vec![float("alpha", alpha), float("beta", beta)],
        ),
        Unary::HardSwish => ("HardSwish", vec![]),
        Unary::Elu(alpha) => ("Elu", vec![float("alpha", alpha)]),
        Unary::Softplus => ("Softplus", vec![]),
        Unary::Exp => ("Exp", vec![]),
        Unary::Abs => ("Abs", vec![]),
        Unary::Sqrt => ("Sqrt", vec![]),
        Unary::Erf => ("Erf", vec![]),
        Unary::Neg => ("Neg", vec![]),
    };
    w.node(op, wish, input, attributes)
}

/// Modes of ONNX that give the index tables of the graph.
const COORDINATES: [&str; 4] = [
    "asymmetric",
    "half_pixel",
    "align_corners",
    "pytorch_half_pixel",
];
const ROUNDINGS: [&str; 4] = ["floor", "round_prefer_floor", "round_prefer_ceil", "ceil"];

fn resize(w: &mut Writer, node: &Node, map: &NearestMap, wish: &str) -> Result<String, String> {
    let shape = w.shape(node.inputs[0]).to_vec();
    let tables = [(&map.rows, shape[1]), (&map.cols, shape[2])];
    let gives = |coordinate: &str, nearest: &str| {
        tables.iter().all(|(table, old)| {
            let scale = table.len() as f64 / *old as f64;
            let source = |i| nearest_source(coordinate, nearest, i, *old, (table.len(), scale));
            table.iter().copied().eq((0..table.len()).map(source))
        })
    };
    let modes = COORDINATES
        .into_iter()
        .flat_map(|c| ROUNDINGS.into_iter().map(move |r| (c, r)));
    let (coordinate, nearest) = modes
        .into_iter()
        .find(|(c, r)| gives(c, r))
        .ok_or("no mode of Resize gives the same indices")?;
    let sizes = [shape[0], shape[3], map.rows.len(), map.cols.len()];
    let input = vec![
        w.get(node.inputs[0], Order::First),
        String::new(),
        String::new(),
        w.indices(&format!("{wish}_sizes"), &sizes),
    ];
    let attributes = vec![
        string("mode", "nearest"),
        string("coordinate_transformation_mode", coordinate),
        string("nearest_mode", nearest),
    ];
    Ok(w.node("Resize", wish, input, attributes))
}
