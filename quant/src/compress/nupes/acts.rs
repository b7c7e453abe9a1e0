//! Activations of fewer than 8 bits: range and zero point by the squared error over samples.

use crate::ir::{Graph, ValueId, exec};
use crate::lower::given::{GivenActivation, activations, layers};
use crate::lower::quant::Quant;
use crate::{Error, Samples};
use std::collections::{BTreeMap, HashMap};

/// Samples that are run, and values of one activation that are kept of all.
const SAMPLES: usize = 128;
const VALUES: usize = 32_768;

/// Codes of `bits` bits for what layers with weights read, but for the inputs and outputs of the network.
///
/// # Errors
/// Samples that do not fit.
pub fn narrow(
    graph: &Graph,
    samples: &Samples,
    bits: u8,
) -> Result<BTreeMap<String, GivenActivation>, Error> {
    samples.check(graph)?;
    let read: Vec<ValueId> = layers(graph)?.iter().map(|l| l.input).collect();
    let ports = || graph.inputs.iter().chain(&graph.outputs);
    let inner = |class: &Vec<ValueId>| {
        class.iter().any(|v| read.contains(v))
            && !class.iter().any(|v| ports().any(|p| p.value == *v))
            && class.iter().all(|v| graph.value(*v).quant.is_none())
    };
    let classes: Vec<Vec<ValueId>> = activations(graph)?.into_iter().filter(inner).collect();
    let n = samples.len().min(SAMPLES);
    let mut seen: HashMap<ValueId, Vec<f32>> = HashMap::new();
    for class in &classes {
        class.iter().for_each(|v| drop(seen.insert(*v, Vec::new())));
    }
    for i in 0..n {
        let inputs = samples.ir_item(graph, i * samples.len() / n);
        exec::run(graph, &inputs, &mut |v, x| {
            if let Some(kept) = seen.get_mut(&v) {
                let step = (x.len() * n).div_ceil(VALUES).max(1);
                kept.extend(x.iter().skip(i % step).step_by(step));
            }
        });
    }
    let one = |class: &Vec<ValueId>| {
        let values: Vec<f32> = class.iter().flat_map(|v| seen[v].iter().copied()).collect();
        (graph.value(class[0]).name.clone(), search(&values, bits))
    };
    Ok(classes.iter().map(one).collect())
}

/// Range of the smallest squared error.
fn search(values: &[f32], bits: u8) -> GivenActivation {
    let min = values.iter().fold(0f32, |m, v| m.min(*v));
    let max = values.iter().fold(0f32, |m, v| m.max(*v));
    let error = |a: &GivenActivation| -> f64 {
        let off = |&v: &f32| {
            let v = f64::from(v);
            (v - a.quant.real(a.quant.code(v).clamp(a.lo, a.hi))).powi(2)
        };
        values.iter().map(off).sum()
    };
    let (mut lo, mut hi) = (min, max);
    let mut best = over(lo, hi, bits);
    let mut least = error(&best);
    let shares = || (1..=50).rev().map(|i| i as f32 / 50.0);
    for _ in 0..2 {
        for (side, share) in [0, 1].iter().flat_map(|s| shares().map(move |x| (*s, x))) {
            let (l, h) = match side {
                0 => (lo, max * share),
                _ => (min * share, hi),
            };
            let tried = over(l, h, bits);
            let e = error(&tried);
            if e < least {
                (best, least, lo, hi) = (tried, e, l, h);
            }
        }
    }
    best
}

/// Codes of `bits` bits over `[lo, hi]`; 0 is a code.
fn over(lo: f32, hi: f32, bits: u8) -> GivenActivation {
    let half = 1i32 << (bits - 1);
    let (first, last) = (-half, half - 1);
    let width = f64::from(hi) - f64::from(lo);
    if width <= 0.0 {
        return GivenActivation {
            quant: Quant::UNIT,
            lo: first as i8,
            hi: last as i8,
        };
    }
    let scale = width / f64::from(last - first);
    let zero = (f64::from(first) - f64::from(lo) / scale)
        .round()
        .clamp(f64::from(first), f64::from(last));
    GivenActivation {
        quant: Quant {
            scale: scale as f32,
            zero: zero as i8,
        },
        lo: first as i8,
        hi: last as i8,
    }
}
