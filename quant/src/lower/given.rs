//! Quantization that was decided before lowering: learned, or found by a search.

use super::format::Grid;
use super::nested::{nested_levels, nested_value};
use super::quant::Quant;
use super::steps::{Kind, Steps};
use crate::Error;
use crate::ir::{Graph, ValueId};
use std::collections::BTreeMap;

/// Quantizations of single activations and layers. Whatever is not named here follows from calibration and
/// [`super::format::Formats`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Given {
    /// By the name of the value in the graph.
    pub activations: BTreeMap<String, GivenActivation>,
    /// By the name of the node.
    pub weights: BTreeMap<String, GivenWeights>,
}

/// Quantization of an activation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GivenActivation {
    pub quant: Quant,
    /// Codes in use, `lo <= hi`: fewer than 256 for widths below 8 bits, which are stored in 8 all the same.
    pub lo: i8,
    pub hi: i8,
}

/// Weights of a convolution or dense layer, `m` output channels of `k` weights.
#[derive(Clone, Debug, PartialEq)]
pub struct GivenWeights {
    /// Bits of a code, 2 to 8.
    pub bits: u8,
    /// Scale per output channel, all positive, and what the codes stand for.
    pub grid: Grid,
    /// `[m][k]`, as in [`super::linear::Codes`]; 8-bit master codes if `nested`.
    pub codes: Vec<i8>,
    /// `codes` are masters, of which a weight takes the upper `bits` (see [`super::nested`]): what widths have in common
    /// when several are packed together. `grid` has a scale per channel for this width, in steps of the master; its
    /// levels follow from `bits` and do not count.
    pub nested: bool,
}

impl GivenWeights {
    /// Weights that are the upper `bits` of `master` codes `[m][k]`, with a scale per channel in steps of the master.
    pub fn nested(bits: u8, scale: Vec<f64>, master: Vec<i8>) -> GivenWeights {
        GivenWeights {
            bits,
            grid: Grid {
                scale,
                levels: nested_levels(bits),
            },
            codes: master,
            nested: true,
        }
    }

    /// Integer weight that `code` of `codes` stands for in channel `c`, `None` where there is none.
    pub fn value(&self, c: usize, code: i8) -> Option<f64> {
        match self.nested {
            true => Some(nested_value(code, self.bits).into()),
            false => self.grid.value(c, code),
        }
    }
}

/// A convolution or dense layer, as lowering sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    pub name: String,
    /// Operator of the node.
    pub op: &'static str,
    /// Constant `[m, ..]`.
    pub weights: ValueId,
    pub bias: Option<ValueId>,
    pub input: ValueId,
    /// Value behind a fused activation function, where there is one.
    pub output: ValueId,
    /// Multiply-accumulates.
    pub macs: u64,
}

/// Layers with weights, in execution order.
///
/// # Errors
/// As [`super::steps::steps`].
pub fn layers(graph: &Graph) -> Result<Vec<Layer>, Error> {
    Ok(layers_of(&super::steps::steps(graph)?))
}

pub(super) fn layers_of(steps: &Steps) -> Vec<Layer> {
    let layer = |step: &super::steps::Step| match step.kind {
        Kind::Conv { weights, bias, .. } | Kind::Dense { weights, bias } => Some(Layer {
            name: step.name.clone(),
            op: step.op,
            weights,
            bias,
            input: step.inputs[0],
            output: step.output,
            macs: step.macs,
        }),
        _ => None,
    };
    steps.steps.iter().filter_map(layer).collect()
}

/// Classes of activations that share one quantization because codes move between them unchanged, each in ascending
/// order; a [`GivenActivation`] of one member holds for all.
///
/// # Errors
/// As [`super::steps::steps`].
pub fn activations(graph: &Graph) -> Result<Vec<Vec<ValueId>>, Error> {
    super::params::classes(graph, &super::steps::steps(graph)?)
}

impl Given {
    /// Check that every name is one of the network and every field in its range.
    ///
    /// # Errors
    /// Names the layer or activation.
    pub(super) fn check(&self, layers: &[Layer], activations: &[&str]) -> Result<(), Error> {
        for (name, a) in &self.activations {
            let place = || format!("quantization of '{name}'");
            if !activations.contains(&&**name) {
                return Err(Error::at(
                    place(),
                    "the integer network has no such activation",
                ));
            }
            if !(a.quant.scale.is_finite() && a.quant.scale > 0.0) {
                let text = format!("scale {} is not positive", a.quant.scale);
                return Err(Error::at(place(), text));
            }
            if !(a.lo..=a.hi).contains(&a.quant.zero) {
                let text = format!(
                    "zero point {} is outside of the codes {} to {}",
                    a.quant.zero, a.lo, a.hi
                );
                return Err(Error::at(place(), text));
            }
        }
        match self
            .weights
            .keys()
            .find(|name| layers.iter().all(|l| l.name != **name))
        {
            Some(name) => Err(Error::input(format!(
                "no layer with weights is called '{name}'"
            ))),
            None => Ok(()),
        }
    }
}
