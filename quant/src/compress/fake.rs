//! The quantized network in `f32`: weights at their levels, activations rounded to their codes, sums not rounded.
//!
//! What training and learned rounding look at, and what the integer network is compared with.

use crate::calibrate::Ranges;
use crate::ir::{Graph, Value, ValueId, exec};
use crate::lower::format::{Formats, Grid};
use crate::lower::given::{Given, GivenWeights, activations, layers};
use crate::lower::quant::Quant;
use crate::lower::{params, steps};
use crate::{Error, Samples};
use ndarray::{ArrayD, IxDyn};
use std::collections::HashMap;
use std::sync::Arc;

/// Codes of all activations of the integer network, by value.
#[derive(Clone, Debug, Default)]
pub struct Codes(HashMap<ValueId, (Quant, i8, i8)>);

impl Codes {
    /// As [`crate::lower::lower`] chooses them.
    ///
    /// # Errors
    /// As lowering.
    pub fn of(graph: &Graph, ranges: &Ranges, given: &Given) -> Result<Codes, Error> {
        let params = params::assign(graph, &steps::steps(graph)?, ranges, given)?;
        let of = |v: ValueId| {
            let (lo, hi) = params.range(v);
            (v, (params.get(v), lo, hi))
        };
        Ok(Codes(
            activations(graph)?.into_iter().flatten().map(of).collect(),
        ))
    }

    /// Round `x`, which is value `v`, to its codes; anything but an activation stays.
    pub fn round(&self, v: ValueId, x: &mut ArrayD<f32>) {
        if let Some(&(quant, lo, hi)) = self.0.get(&v) {
            x.mapv_inplace(|x| quant.real(quant.code(f64::from(x)).clamp(lo, hi)) as f32);
        }
    }
}

/// A network whose weights are at their levels.
#[derive(Clone, Debug)]
pub struct Fake {
    graph: Graph,
    codes: Codes,
}

impl Fake {
    /// The network that lowering with the same arguments gives.
    ///
    /// # Errors
    /// As lowering.
    pub fn new(
        graph: &Graph,
        ranges: &Ranges,
        formats: &Formats,
        given: &Given,
    ) -> Result<Fake, Error> {
        let codes = Codes::of(graph, ranges, given)?;
        let mut fake = graph.clone();
        for layer in layers(graph)? {
            let value = graph.value(layer.weights);
            let levels = match given.weights.get(&layer.name) {
                Some(given) => levels(value, given),
                None => {
                    let real = rows(value);
                    let grid = Grid::of(&real, formats.of(&layer.name));
                    let row = |(c, row): (usize, &Vec<f64>)| {
                        let s = grid.scale[c];
                        let (_, integers) = grid.codes(c, row, if s > 0.0 { s } else { 1.0 });
                        integers
                            .into_iter()
                            .map(move |w| (f64::from(w) * s) as f32)
                            .collect::<Vec<_>>()
                    };
                    real.iter().enumerate().flat_map(row).collect()
                }
            };
            let array = ArrayD::from_shape_vec(IxDyn(&value.shape), levels)
                .map_err(|e| Error::at(&layer.name, e))?;
            let weights = fake.add_value(Value {
                constant: Some(Arc::new(array)),
                ..value.clone()
            });
            let nodes = fake.nodes.iter_mut();
            for node in nodes.filter(|n| n.name == layer.name) {
                let inputs = node.inputs.iter_mut();
                inputs
                    .filter(|v| **v == layer.weights)
                    .for_each(|v| *v = weights);
            }
        }
        Ok(Fake { graph: fake, codes })
    }

    /// Outputs for sample `i`, in IR layout.
    pub fn run(&self, samples: &Samples, i: usize) -> Vec<ArrayD<f32>> {
        let inputs = samples.ir_item(&self.graph, i);
        exec::run_edited(&self.graph, &inputs, &mut |v, x| self.codes.round(v, x))
    }
}

/// Weights of a constant `[m, ..]` by output channel; empty where it is none.
pub fn rows(value: &Value) -> Vec<Vec<f64>> {
    let data: Vec<f64> = value
        .constant
        .iter()
        .flat_map(|c| c.iter().map(|&v| f64::from(v)))
        .collect();
    let m = value.shape.first().copied().unwrap_or(1).max(1);
    data.chunks((data.len() / m).max(1))
        .map(<[f64]>::to_vec)
        .collect()
}

/// Real weights that the codes stand for, in the order of `value`.
fn levels(value: &Value, given: &GivenWeights) -> Vec<f32> {
    let m = value.shape.first().copied().unwrap_or(1).max(1);
    let k = (given.codes.len() / m).max(1);
    let one = |(i, &code): (usize, &i8)| {
        let c = i / k;
        (given.value(c, code).unwrap_or(0.0) * given.grid.scale[c]) as f32
    };
    given.codes.iter().enumerate().map(one).collect()
}
