//! Sums in the power domain: wrong, and kept to show how wrong.
//!
//! With codes `k = q sgn(v) |v/m|^a` of weights and inputs, the product of two codes is the code of the product, but the
//! sum of codes is not the code of the sum: `(x + y)^a` is not `x^a + y^a`. Right is to decode each operand first.

use elastiq_quant::calibrate::{Method, Ranges, calibrate};
use elastiq_quant::ir::{Graph, Op, exec};
use elastiq_quant::verify::argmax;
use elastiq_quant::{Error, Samples};
use ndarray::ArrayD;
use std::sync::Arc;

/// Largest code of 8 bits.
const Q: f32 = 127.0;

/// Accuracy with operands decoded before the sum, and with sums of codes that are decoded afterwards. Codes reach up to
/// the largest magnitude that the float network shows for `calib`.
///
/// # Errors
/// As calibration.
pub fn accuracies(
    graph: &Graph,
    calib: &Samples,
    samples: &Samples,
    exponent: f32,
    n: usize,
) -> Result<[f64; 2], Error> {
    let ranges = calibrate(graph, calib, Method::MinMax, &mut |_, _| {})?;
    let labels = samples.labels.as_deref().unwrap_or_default();
    let n = n.min(labels.len());
    Ok([true, false].map(|before| {
        let right = (0..n).filter(|&i| {
            let inputs = samples.ir_item(graph, i);
            let output = run(graph, &ranges, inputs, exponent, before);
            argmax(&output) as i64 == labels[i]
        });
        right.count() as f64 / n.max(1) as f64
    }))
}

/// First output.
fn run(graph: &Graph, ranges: &Ranges, inputs: Vec<ArrayD<f32>>, a: f32, before: bool) -> Vec<f32> {
    let mut store: Vec<Option<Arc<ArrayD<f32>>>> =
        graph.values.iter().map(|v| v.constant.clone()).collect();
    for (port, x) in graph.inputs.iter().zip(inputs) {
        store[port.value.0] = Some(Arc::new(x));
    }
    for node in &graph.nodes {
        let args: Vec<Arc<ArrayD<f32>>> = node
            .inputs
            .iter()
            .filter_map(|v| store[v.0].clone())
            .collect();
        let shape = &graph.value(node.output).shape;
        let y = match node.op {
            Op::Conv { .. } | Op::Dense => {
                let (lo, hi) = ranges.get(node.inputs[0]).unwrap_or((0.0, 1.0));
                let mx = (-lo).max(hi).max(f32::MIN_POSITIVE);
                let mw = args[1].fold(f32::MIN_POSITIVE, |m, v| m.max(v.abs()));
                let code =
                    |v: f32, m: f32| v.signum() * (Q * (v.abs() / m).min(1.0).powf(a)).round();
                let decode = |k: f32, m: f32| k.signum() * m * (k.abs() / Q).powf(1.0 / a);
                let of = |x: &ArrayD<f32>, m: f32| match before {
                    true => x.mapv(|v| decode(code(v, m), m)),
                    false => x.mapv(|v| code(v, m)),
                };
                let (x, w) = (of(&args[0], mx), of(&args[1], mw));
                let mut y = exec::apply(&node.op, &[&x, &w], shape);
                if !before {
                    y.mapv_inplace(|s| s.signum() * mx * mw * (s.abs() / (Q * Q)).powf(1.0 / a));
                }
                match args.get(2) {
                    Some(bias) => &y + &**bias,
                    None => y,
                }
            }
            _ => {
                let args: Vec<&ArrayD<f32>> = args.iter().map(AsRef::as_ref).collect();
                exec::apply(&node.op, &args, shape)
            }
        };
        store[node.output.0] = Some(Arc::new(y));
    }
    let output = graph.outputs.first().and_then(|p| store[p.value.0].clone());
    output.map_or_else(Vec::new, |y| y.iter().copied().collect())
}
