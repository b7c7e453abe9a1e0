//! Elementwise functions, softmax and argmax.

use crate::ir::Unary;
use ndarray::{ArrayD, Axis, IxDyn, Zip};

pub(super) fn binary(a: &ArrayD<f32>, b: &ArrayD<f32>, f: impl Fn(f32, f32) -> f32) -> ArrayD<f32> {
    let shape =
        crate::ir::infer::broadcast(a.shape(), b.shape()).expect("shapes of a checked graph fit");
    let shape = IxDyn(&shape);
    let (a, b) = (a.broadcast(shape.clone()), b.broadcast(shape));
    let (a, b) = (a.expect("broadcast shape"), b.expect("broadcast shape"));
    let mut y = a.to_owned();
    Zip::from(&mut y).and(&b).for_each(|y, &b| *y = f(*y, b));
    y.as_standard_layout().into_owned()
}

/// One value through an elementwise function.
pub fn scalar(f: Unary, x: f32) -> f32 {
    match f {
        Unary::Relu => x.max(0.0),
        Unary::Clip(lo, hi) => x.max(lo).min(hi),
        Unary::LeakyRelu(alpha) if x < 0.0 => alpha * x,
        Unary::LeakyRelu(_) => x,
        Unary::Sigmoid => 1.0 / (1.0 + (-x).exp()),
        Unary::Tanh => x.tanh(),
        Unary::HardSigmoid { alpha, beta } => (alpha * x + beta).clamp(0.0, 1.0),
        Unary::HardSwish => x * (x / 6.0 + 0.5).clamp(0.0, 1.0),
        Unary::Elu(alpha) if x < 0.0 => alpha * x.exp_m1(),
        Unary::Elu(_) => x,
        // ln(1 + e^x) without overflow.
        Unary::Softplus => x.max(0.0) + (-x.abs()).exp().ln_1p(),
        Unary::Exp => x.exp(),
        Unary::Abs => x.abs(),
        Unary::Sqrt => x.sqrt(),
        Unary::Erf => erf(f64::from(x)) as f32,
        Unary::Neg => -x,
    }
}

pub(super) fn unary(x: &ArrayD<f32>, f: Unary) -> ArrayD<f32> {
    x.mapv(|v| scalar(f, v))
}

/// Error function: its Taylor series near 0, the continued fraction of erfc beyond.
fn erf(x: f64) -> f64 {
    let a = x.abs();
    if a < 2.5 {
        let (mut term, mut sum) = (a, a);
        for n in 1..60 {
            let n = f64::from(n);
            term *= -a * a / n;
            sum += term / (2.0 * n + 1.0);
        }
        return (sum * std::f64::consts::FRAC_2_SQRT_PI).copysign(x);
    }
    let tail = (1..60).rev().fold(a, |t, k| a + f64::from(k) / 2.0 / t);
    let erfc = (-a * a).exp() / tail / std::f64::consts::PI.sqrt();
    (1.0 - erfc).copysign(x)
}

pub(super) fn softmax(x: &ArrayD<f32>, axis: usize) -> ArrayD<f32> {
    let mut y = x.clone();
    for mut row in y.lanes_mut(Axis(axis)) {
        let top = row.fold(f32::NEG_INFINITY, |m, &v| m.max(v));
        row.mapv_inplace(|v| (v - top).exp());
        let sum = row.sum();
        row.mapv_inplace(|v| v / sum);
    }
    y
}

pub(super) fn arg_max(
    x: &ArrayD<f32>,
    axis: usize,
    select_last: bool,
    shape: &[usize],
) -> ArrayD<f32> {
    let index = x.map_axis(Axis(axis), |row| {
        let mut best = 0;
        for (i, v) in row.iter().enumerate() {
            if *v > row[best] || (select_last && *v == row[best]) {
                best = i;
            }
        }
        best as f32
    });
    super::layout::reshape(&index, shape)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn erf_matches_tables() {
        // Abramowitz and Stegun, table 7.1.
        for (x, y) in [
            (0.0, 0.0),
            (0.5, 0.5204998778),
            (1.0, 0.8427007929),
            (2.0, 0.9953222650),
            (2.49, 0.9995707),
        ] {
            assert!((erf(x) - y).abs() < 1e-7, "{x}");
            assert_eq!(erf(-x), -erf(x));
        }
        assert!((erf(2.4999) - erf(2.5001)).abs() < 1e-6);
        assert!((erf(3.0) - 0.9999779095).abs() < 1e-9);
    }
}
