//! How far a quantized network may be from its float original, derived from the scales alone.
//!
//! For every value `v` of the network, with float contents `f` and integer contents that stand for `q`, an
//! elementwise bound `e >= |q - f|` is carried from the inputs to the outputs. With `s` the scale of a value,
//! `e_x` the bound of an operand and `r(s)` the rounding of the result (below):
//!
//! | value | bound |
//! |---|---|
//! | graph input | `s / 2 + d`: rounded to the nearest code |
//! | constant operand `c` of an elementwise operator | `max|c| / 254`: half a step of the widest grid that `lower` may choose, symmetric over +-127 |
//! | Conv, Dense | `e_x * |w| + (|x| + e_x) * s_w / 2 + s_x * s_w / 2 + r(s)`, `*` being the operator itself and `s_w = max|w_m| / 127` per output channel: operand error, weight rounding, bias rounding |
//! | Add, Sub | `e_1 + e_2 + (s_1 + s_2) * 255 / 2^15 + r(s)`: the coefficients of `spec::add` have an error of 2^-15 of the larger one |
//! | Mul | `|x_1| e_2 + |x_2| e_1 + e_1 e_2 + s_1 max|c| / 254 + r(s)`; the last but one for a constant factor `c`, which may become a 1x1 convolution with a rounded bias |
//! | MaxPool | the largest `e_x` of the window: the maximum is 1-Lipschitz in the largest change |
//! | AvgPool | the mean of `e_x` with the same divisor, `+ r(s)` |
//! | monotone function `g` | `max(|g(f + e_x) - g(f)|, |g(f - e_x) - g(f)|) + r(s)` |
//! | Abs, HardSwish, PRelu | Lipschitz constant (1; 3/2; `max(1, |slope|)`) times `e_x`, `+ r(s)` |
//! | Softmax | the value with its own exponent moved by `+-e_x` and all others by `-+e_x`; `+ (1 + n y) / 2^14` for 16-bit table entries; `+ r(s)` |
//! | ArgMax | the largest index distance to any element whose interval reaches the maximum |
//! | Reshape, Transpose, Slice, Concat, Pad, Resize | `e_x` moved along; `+ r(s)` where the scale changes |
//!
//! `r(s) = 5/8 s + d`: half a step for rounding, and 255 codes times the smallest relative precision of a
//! requantization multiplier, 2^-11, which is 1/8 of a step. `d` is the distance of the float value to the range
//! of the 256 codes: clamping moves a result by no more than that away from it (moving to an interval brings a value
//! closer to everything inside, and `d` leads there). A value that `lower` fuses away is never rounded, so its
//! `r` is 0. Table and multiplier are computed in floating point, for which every bound is widened by 1e-4 of itself
//! and 1e-6 of the largest value.

use elastiq_quant::ir::{Graph, Node, Op, Unary, ValueId, exec};
use ndarray::{ArrayD, Axis, IxDyn, Zip};
use std::collections::HashMap;

/// Rounding and multiplier precision of a requantized result, in steps.
const ROUNDING: f32 = 0.625;

/// Codes of a value: real = scale * (code - zero), code from -128 to 127.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Grid {
    pub scale: f32,
    pub zero: i8,
}

impl Grid {
    /// Distance of `v` to the nearest end of the range, 0 inside.
    fn outside(self, v: f32) -> f32 {
        let end = |code: f32| self.scale * (code - f32::from(self.zero));
        (v - end(127.0)).max(end(-128.0) - v).max(0.0)
    }
}

/// Grid of a value in the artifact, `None` where the value does not exist there.
pub type Grids<'a> = &'a dyn Fn(ValueId) -> Option<Grid>;

/// Float contents and error bound of every value that an execution wrote.
pub struct Bounds {
    pub float: HashMap<ValueId, ArrayD<f32>>,
    pub error: HashMap<ValueId, ArrayD<f32>>,
}

/// Bounds of all values of `graph` for `inputs` (IR layout).
pub fn bounds(graph: &Graph, inputs: &[ArrayD<f32>], grids: Grids) -> Bounds {
    let mut float = HashMap::new();
    exec::run(graph, inputs, &mut |id, array| {
        float.insert(id, array.clone());
    });
    for (i, value) in graph.values.iter().enumerate() {
        if let Some(constant) = &value.constant {
            float.insert(ValueId(i), constant.as_ref().clone());
        }
    }
    for (port, input) in graph.inputs.iter().zip(inputs) {
        float.insert(port.value, input.clone());
    }
    let mut error = HashMap::new();
    for port in &graph.inputs {
        error.insert(
            port.value,
            rounding(&float[&port.value], grids(port.value), 0.5),
        );
    }
    let mut bounds = Bounds { float, error };
    for node in &graph.nodes {
        let e = node_bound(graph, node, &bounds, grids);
        let largest = bounds.float[&node.output].iter().fold(0.0f32, |m, v| {
            if v.is_finite() { m.max(v.abs()) } else { m }
        });
        bounds
            .error
            .insert(node.output, e.mapv(|v| v * 1.0001 + largest * 1e-6));
    }
    bounds
}

fn node_bound(graph: &Graph, node: &Node, known: &Bounds, grids: Grids) -> ArrayD<f32> {
    let float = |i: usize| &known.float[&node.inputs[i]];
    let error = |i: usize| match known.error.get(&node.inputs[i]) {
        Some(e) => e.clone(),
        None => ArrayD::from_elem(float(i).raw_dim(), peak(float(i)) / 254.0),
    };
    let step = |i: usize| grids(node.inputs[i]).map_or(0.0, |g| g.scale);
    let out_shape = graph.value(node.output).shape.clone();
    // The operator itself on other operands: for the linear ones and the moves this is how bounds travel.
    let same = |op: &Op, operands: &[ArrayD<f32>]| {
        exec::apply(op, &operands.iter().collect::<Vec<_>>(), &out_shape)
    };
    let out_grid = grids(node.output);
    let round = rounding(&known.float[&node.output], out_grid, ROUNDING);
    // A pure move keeps the codes where operand and result share one grid.
    let kept = out_grid.is_some() && node.inputs.iter().all(|i| grids(*i) == out_grid);
    let moved = if kept {
        ArrayD::zeros(round.raw_dim())
    } else {
        round.clone()
    };
    match &node.op {
        Op::Conv { .. } | Op::Dense => {
            let w = float(1);
            let mut w_step = w.clone();
            for mut channel in w_step.axis_iter_mut(Axis(0)) {
                let largest = channel.iter().fold(0.0f32, |m, v| m.max(v.abs()));
                channel.fill(largest / 127.0);
            }
            let operand = same(&node.op, &[error(0), w.mapv(f32::abs)]);
            let reach = float(0).mapv(f32::abs) + error(0);
            let rounding = same(&node.op, &[reach, w_step.mapv(|s| s / 2.0)]);
            let bias_step = w_step.iter().fold(0.0f32, |m, v| m.max(*v)) * step(0) / 2.0;
            operand + rounding + bias_step + round
        }
        Op::Add | Op::Sub => {
            let slack = (step(0) + step(1)) * 255.0 / 32768.0;
            same(&Op::Add, &[error(0), error(1)]) + slack + round
        }
        Op::Mul => {
            let (a, b) = (float(0).mapv(f32::abs), float(1).mapv(f32::abs));
            let (ea, eb) = (error(0), error(1));
            let product = same(&Op::Mul, &[a + &ea, b + &eb]);
            let value = same(
                &Op::Mul,
                &[float(0).mapv(f32::abs), float(1).mapv(f32::abs)],
            );
            let bias = [0, 1].map(|i| {
                if step(i) > 0.0 {
                    0.0
                } else {
                    peak(float(i)) * step(1 - i) / 254.0
                }
            });
            product - value + bias[0] + bias[1] + round
        }
        Op::MaxPool(_) => same(&node.op, &[error(0)]) + moved,
        Op::AvgPool { .. } => same(&node.op, &[error(0)]) + round,
        Op::Unary(function) => unary_bound(*function, float(0), &error(0)) + round,
        Op::PRelu => {
            let slope = float(1).iter().fold(1.0f32, |m, v| m.max(v.abs()));
            error(0) * slope + round
        }
        Op::Softmax { axis } => {
            softmax_bound(
                float(0),
                &error(0),
                *axis,
                out_grid.map_or(0.0, |g| g.scale),
            ) + round
        }
        Op::ArgMax { axis, .. } => {
            let distance = argmax_bound(float(0), &error(0), *axis);
            ArrayD::from_shape_vec(IxDyn(&out_shape), distance).expect("one index per row")
        }
        Op::Pad { before, after, .. } => {
            let zero = Op::Pad {
                before: before.clone(),
                after: after.clone(),
                value: 0.0,
            };
            same(&zero, &[error(0)]) + round
        }
        Op::Concat { .. } => {
            let parts: Vec<_> = (0..node.inputs.len()).map(error).collect();
            same(&node.op, &parts) + moved
        }
        Op::Slice { .. } | Op::Reshape | Op::Transpose { .. } | Op::ResizeNearest(_) => {
            same(&node.op, &[error(0)]) + moved
        }
    }
}

/// `steps` of the grid, and what the grid cannot reach; 0 without a grid.
fn rounding(float: &ArrayD<f32>, grid: Option<Grid>, steps: f32) -> ArrayD<f32> {
    match grid {
        Some(grid) => float.mapv(|v| grid.scale * steps + grid.outside(v)),
        None => ArrayD::zeros(float.raw_dim()),
    }
}

fn peak(x: &ArrayD<f32>) -> f32 {
    x.iter().fold(0.0, |m, v| m.max(v.abs()))
}

fn unary_bound(function: Unary, x: &ArrayD<f32>, e: &ArrayD<f32>) -> ArrayD<f32> {
    match function {
        Unary::Abs => e.clone(),
        Unary::HardSwish => e * 1.5,
        monotone => {
            let at = |x: &ArrayD<f32>| exec::apply(&Op::Unary(monotone), &[x], x.shape());
            let here = at(x);
            // Sqrt below zero is no number; the table holds the value at zero there.
            let below = at(&(x - e)).mapv(|v| if v.is_nan() { 0.0 } else { v });
            let above = (at(&(x + e)) - &here).mapv(f32::abs);
            let below = (here - below).mapv(f32::abs);
            Zip::from(&above).and(&below).map_collect(|a, b| a.max(*b))
        }
    }
}

fn softmax_bound(x: &ArrayD<f32>, e: &ArrayD<f32>, axis: usize, out_step: f32) -> ArrayD<f32> {
    let mut out = ArrayD::zeros(x.raw_dim());
    // 1 / scale is rounded to an integer: up to that relative error, of at most 255 codes.
    let inverse = if out_step > 0.0 { 1.0 / out_step } else { 1.0 };
    let grid = 255.0 * out_step * (inverse - inverse.round()).abs() / inverse;
    let rows = x.lanes(Axis(axis)).into_iter().zip(e.lanes(Axis(axis)));
    for (mut out, (x, e)) in out.lanes_mut(Axis(axis)).into_iter().zip(rows) {
        let largest = x.iter().fold(f32::NEG_INFINITY, |m, v| m.max(*v));
        let sum = |shift: f32| -> f64 {
            x.iter()
                .zip(e)
                .map(|(x, e)| f64::from(x - largest + shift * e).exp())
                .sum()
        };
        let count = x.len() as f64;
        let (exact, low, high) = (sum(0.0), sum(-1.0), sum(1.0));
        for ((o, x), e) in out.iter_mut().zip(x).zip(e) {
            let own = |shift: f32| f64::from(x - largest + shift * e).exp();
            let y = own(0.0) / exact;
            let up = own(1.0) / (low - own(-1.0) + own(1.0));
            let down = own(-1.0) / (high - own(1.0) + own(-1.0));
            let table = (1.0 + count * y) / 16384.0;
            *o = ((up - y).max(y - down) + table) as f32 + grid;
        }
    }
    out
}

fn argmax_bound(x: &ArrayD<f32>, e: &ArrayD<f32>, axis: usize) -> Vec<f32> {
    let rows = x.lanes(Axis(axis)).into_iter().zip(e.lanes(Axis(axis)));
    rows.map(|(x, e)| {
        let reach = x
            .iter()
            .zip(e)
            .fold(f32::NEG_INFINITY, |m, (x, e)| m.max(x - e));
        let near = || {
            x.iter()
                .zip(e)
                .enumerate()
                .filter(|(_, (x, e))| *x + *e >= reach)
                .map(|(i, _)| i)
        };
        (near().max().unwrap_or(0) - near().min().unwrap_or(0)) as f32
    })
    .collect()
}
