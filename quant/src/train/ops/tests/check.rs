//! One operator against the reference executor, forward and, by central differences, backward.

use super::super::apply_with;
use crate::ir::{Op, exec};
use crate::train::var::{Var, host, vector};
use burn::tensor::Device;
use ndarray::{ArrayD, IxDyn};
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Samples in the mini-batch.
const LEAD: usize = 2;
/// Distance between any two elements of an operand, before scaling; none is closer to 0 than half of it.
const GAP: f32 = 0.05;

/// An operator and what it is given.
pub struct Case {
    pub op: Op,
    /// Shapes of the operands; those from `shared` on are the same for all samples.
    shapes: Vec<Vec<usize>>,
    shared: usize,
    out: Vec<usize>,
    pub scale: f32,
    /// All elements are above zero.
    pub positive: bool,
}

/// A case of plain numbers.
pub fn case(op: Op, shapes: &[&[usize]], shared: usize, out: &[usize]) -> Case {
    Case {
        op,
        shapes: shapes.iter().map(|s| s.to_vec()).collect(),
        shared,
        out: out.to_vec(),
        scale: 1.0,
        positive: false,
    }
}

/// Elements no two of which are close to each other, and none to zero.
fn spread(n: usize, case: &Case, rng: &mut ChaCha8Rng) -> Vec<f32> {
    let mut ranks: Vec<usize> = (0..n).collect();
    ranks.shuffle(rng);
    let middle = if case.positive { -10.0 } else { (n / 2) as f32 };
    let at = |r: &usize| (*r as f32 - middle + 0.5) * GAP * case.scale;
    ranks.iter().map(at).collect()
}

/// Output of the reference for all samples, one after the other.
fn reference(case: &Case, operands: &[Vec<f32>]) -> Vec<f32> {
    let sample = |i: usize| {
        let part = |(k, shape): (usize, &Vec<usize>)| {
            let n: usize = shape.iter().product();
            let at = if k < case.shared { i * n } else { 0 };
            ArrayD::from_shape_vec(IxDyn(shape), operands[k][at..at + n].to_vec()).expect("shape")
        };
        let arrays: Vec<ArrayD<f32>> = case.shapes.iter().enumerate().map(part).collect();
        exec::apply(&case.op, &arrays.iter().collect::<Vec<_>>(), &case.out).into_iter()
    };
    (0..LEAD).flat_map(sample).collect()
}

/// Check all kernels that `case` has.
pub fn check(name: &str, case: &Case) {
    check_with(name, case, true);
    if matches!(case.op, Op::Conv { .. } | Op::MaxPool(_)) {
        check_with(&format!("{name}, any device"), case, false);
    }
}

/// `own` chooses the kernels for the processor.
fn check_with(name: &str, case: &Case, own: bool) {
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let device = Device::flex();
    let lead = |k: usize| if k < case.shared { LEAD } else { 1 };
    let size = |k: usize| lead(k) * case.shapes[k].iter().product::<usize>();
    let operands: Vec<Vec<f32>> = (0..case.shapes.len())
        .map(|k| spread(size(k), case, &mut rng))
        .collect();
    let leaves: Vec<_> = operands
        .iter()
        .map(|v| vector(v.clone(), &device).autodiff().require_grad())
        .collect();
    let vars: Vec<Var> = leaves
        .iter()
        .zip(&case.shapes)
        .enumerate()
        .map(|(k, (t, s))| Var::new(t.clone(), lead(k), s))
        .collect();
    let y = apply_with(&case.op, &vars, &case.out, own);
    assert_eq!((y.lead, &y.shape), (LEAD, &case.out), "{name}");
    let expected = reference(case, &operands);
    for (i, (a, b)) in y.to_vec().iter().zip(&expected).enumerate() {
        assert!(
            (a - b).abs() <= 1e-4 * (1.0 + b.abs()),
            "{name}: output {i} is {a}, not {b}"
        );
    }
    // The loss is a sum with random weights, so that every output counts differently.
    let weights: Vec<f32> = expected
        .iter()
        .map(|_| rng.random_range(0.5..1.5))
        .collect();
    let loss = (y.flat * vector(weights.clone(), &device)).sum();
    let mut grads = loss.backward();
    let sum = |operands: &[Vec<f32>]| -> f64 {
        let y = reference(case, operands);
        y.iter()
            .zip(&weights)
            .map(|(y, w)| f64::from(*y) * f64::from(*w))
            .sum()
    };
    let step = GAP * case.scale * 0.2;
    for (k, leaf) in leaves.iter().enumerate() {
        let grad = host(leaf.grad_remove(&mut grads).expect("a gradient"));
        let largest = grad.iter().fold(0f32, |m, g| m.max(g.abs()));
        assert!(largest > 0.0, "{name}: operand {k} has no gradient");
        for (i, got) in grad.iter().enumerate() {
            let moved = |by: f32| {
                let mut changed = operands.clone();
                changed[k][i] += by;
                (sum(&changed), f64::from(changed[k][i]))
            };
            let ((up, at_up), (down, at_down)) = (moved(step), moved(-step));
            let wanted = ((up - down) / (at_up - at_down)) as f32;
            assert!(
                (got - wanted).abs() <= 0.01 * largest.max(0.1),
                "{name}: gradient {i} of operand {k} is {got}, differences give {wanted}"
            );
        }
    }
}
