//! Power-function quantization: non-uniform levels of 2 to 7 bits that a device decodes by a table of integers.
//!
//! A weight is `clip * sgn(k) (|k| / q)^(1/a)`. Exponent `a` and clipping points are searched per layer ([`mod@fit`]), codes
//! and exponent are learned where asked for ([`mod@learn`]): layer after layer, with inputs from the network that is
//! quantized so far and outputs of the float network as targets. What comes out is a [`Given`]: codes and a
//! book of integers per layer. Each operand is decoded *before* the multiplication: adding up in the power domain and
//! undoing the power afterwards is wrong, because powers keep products, not sums.
//!
//! Sources: PowerQuant (Yvinec et al., ICLR 2023) and NUPES (Yvinec et al., arXiv 2308.05600) for the map and the
//! learned exponent; soft codes, stability rules and the search are our realisation.

pub mod acts;
mod adam;
mod book;
mod descend;
pub mod fit;
pub mod learn;
pub mod mixed;
pub mod moments;
pub mod power;
mod walk;

use crate::calibrate::Ranges;
use crate::compress::fake::{self, Codes};
use crate::ir::Graph;
use crate::lower::given::{Given, GivenWeights, Layer, layers};
use crate::{Error, Samples};
use fit::{Exponents, Request, fit};
use learn::{Learn, Learned, learn};
use moments::Moments;
use ndarray::Array2;
use serde::Serialize;
use std::collections::BTreeMap;
use walk::Walk;

/// Choices of a quantization.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// Bits per weight, 2 to 8. Layers of 8 bits are left to lowering: their linear codes lose nothing to speak of.
    pub bits: u8,
    /// The same for single layers, by the name of the node.
    pub by_layer: BTreeMap<String, u8>,
    /// One clipping point for all channels of a layer.
    pub per_tensor: bool,
    /// Bits of activations between layers, 2 to 8.
    pub acts: u8,
    pub exponents: Exponents,
    /// Search clipping points.
    pub clip: bool,
    /// Judge grids by the outputs of layers over the samples; else by the weights alone.
    pub on_outputs: bool,
    /// Learn codes after the search; needs `on_outputs`.
    pub learn: Option<Learn>,
    /// Of the windows that are looked at.
    pub seed: u64,
}

impl Options {
    /// Searched grids of `bits` bits.
    pub fn searched(bits: u8) -> Options {
        Options {
            bits,
            by_layer: BTreeMap::new(),
            per_tensor: false,
            acts: 8,
            exponents: Exponents::Free,
            clip: true,
            on_outputs: true,
            learn: None,
            seed: 0,
        }
    }

    /// Equal steps up to the largest weight.
    pub fn abs_max(bits: u8) -> Options {
        Options {
            exponents: Exponents::Of(vec![1.0]),
            clip: false,
            on_outputs: false,
            ..Options::searched(bits)
        }
    }

    /// Equal steps up to the clipping point of the smallest squared error of the weights.
    pub fn clipped(bits: u8) -> Options {
        Options {
            clip: true,
            ..Options::abs_max(bits)
        }
    }

    /// Equal steps, rounding learned.
    pub fn adaround(bits: u8) -> Options {
        Options {
            on_outputs: true,
            learn: Some(Learn::ADAROUND),
            ..Options::clipped(bits)
        }
    }

    /// Searched grids, codes and exponents learned.
    pub fn learned(bits: u8) -> Options {
        Options {
            learn: Some(Learn::WHOLE),
            ..Options::searched(bits)
        }
    }

    fn bits_of(&self, layer: &str) -> u8 {
        self.by_layer.get(layer).copied().unwrap_or(self.bits)
    }

    fn request(&self, bits: u8) -> Request {
        Request {
            bits,
            exponents: self.exponents.clone(),
            clip: self.clip,
            per_tensor: self.per_tensor,
        }
    }

    fn check(&self, layers: &[Layer]) -> Result<(), Error> {
        if let Some(name) = self
            .by_layer
            .keys()
            .find(|name| layers.iter().all(|l| l.name != **name))
        {
            return Err(Error::input(format!(
                "no layer with weights is called '{name}'"
            )));
        }
        let all = self.by_layer.values().chain([&self.bits, &self.acts]);
        for bits in all {
            if !(2..=8).contains(bits) {
                let text = format!("{bits} bits are not supported, only 2 to 8");
                return Err(Error::input(text));
            }
        }
        if let Exponents::Of(list) = &self.exponents
            && (list.is_empty() || list.iter().any(|a| !(fit::LEAST..=fit::MOST).contains(a)))
        {
            let (least, most) = (fit::LEAST, fit::MOST);
            return Err(Error::input(format!(
                "exponents have to lie from {least} to {most}"
            )));
        }
        Ok(())
    }
}

/// What was decided for a layer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Choice {
    pub name: String,
    pub bits: u8,
    pub exponent: f64,
    /// Clipping point as share of the largest weight, mean over channels.
    pub clip: f64,
    /// Squared error over squared size, of outputs or of weights: of the searched grid, and in the end.
    pub searched: f64,
    pub error: f64,
    /// Share of codes that learning changed.
    pub changed: f64,
}

/// Quantization of a network.
#[derive(Clone, Debug, Default)]
pub struct Decision {
    pub given: Given,
    /// In execution order, without layers that stay at 8 bits.
    pub layers: Vec<Choice>,
}

/// Progress: stage, steps done, steps in the stage.
pub type Progress<'a> = dyn FnMut(&str, usize, usize) + 'a;

/// Decide the weights of `graph` (after passes) and the widths of its activations.
///
/// # Errors
/// Options out of range, names that are no layers; weights that are not finite; samples that do not fit.
pub fn decide(
    graph: &Graph,
    samples: &Samples,
    ranges: &Ranges,
    options: &Options,
    progress: &mut Progress,
) -> Result<Decision, Error> {
    let mut given = Given::default();
    if options.acts < 8 {
        given.activations = acts::narrow(graph, samples, options.acts)?;
    }
    let mut decision = Decision {
        given,
        layers: Vec::new(),
    };
    let codes = Codes::of(graph, ranges, &decision.given)?;
    let mut take = |layer: &Layer, w: &Array2<f64>, data: Option<&Moments>, tell: &mut Tell| {
        let bits = options.bits_of(&layer.name);
        if bits == 8 {
            return None;
        }
        let (choice, weights, values) = settle(layer, w, data, options, bits, tell);
        decision.given.weights.insert(layer.name.clone(), weights);
        decision.layers.push(choice);
        Some(values)
    };
    each(graph, samples, &codes, options, progress, &mut take)?;
    Ok(decision)
}

/// What a width does to a layer.
#[derive(Clone, Debug, PartialEq)]
pub struct Width {
    pub weights: GivenWeights,
    pub choice: Choice,
    /// Squared error of the layer's output over its squared size.
    pub error: f64,
}

/// Every layer at each of `widths` (2 to 7), on its own: the inputs are those of the network with 8-bit weights. For
/// searches of widths and exponents together.
///
/// # Errors
/// As [`decide`].
pub fn widths(
    graph: &Graph,
    samples: &Samples,
    ranges: &Ranges,
    options: &Options,
    widths: &[u8],
    progress: &mut Progress,
) -> Result<BTreeMap<String, Vec<Width>>, Error> {
    if let Some(bits) = widths.iter().find(|bits| !(2..=7).contains(*bits)) {
        let text = format!("{bits} bits are not supported, only 2 to 7");
        return Err(Error::input(text));
    }
    let codes = Codes::of(graph, ranges, &Given::default())?;
    let mut all = BTreeMap::new();
    let mut take = |layer: &Layer, w: &Array2<f64>, data: Option<&Moments>, tell: &mut Tell| {
        let one = |&bits: &u8| {
            let (choice, weights, _) = settle(layer, w, data, options, bits, tell);
            let error = choice.error;
            Width {
                weights,
                choice,
                error,
            }
        };
        all.insert(layer.name.clone(), widths.iter().map(one).collect());
        None
    };
    each(graph, samples, &codes, options, progress, &mut take)?;
    Ok(all)
}

/// Steps done of all steps of a layer.
type Tell<'a> = dyn FnMut(usize, usize) + 'a;

/// What is done with a layer: its name, weights `[m, k]` and sums; gives the weights that later layers see.
type Take<'a> =
    dyn FnMut(&Layer, &Array2<f64>, Option<&Moments>, &mut Tell) -> Option<Array2<f64>> + 'a;

/// Visit the layers in execution order.
fn each(
    graph: &Graph,
    samples: &Samples,
    codes: &Codes,
    options: &Options,
    progress: &mut Progress,
    take: &mut Take,
) -> Result<(), Error> {
    let layers = layers(graph)?;
    options.check(&layers)?;
    let mut walk = match options.on_outputs {
        true => {
            samples.check(graph)?;
            Some(Walk::new(graph, codes, samples, options.seed))
        }
        false => None,
    };
    let mut done = 0;
    for (at, node) in graph.nodes.iter().enumerate() {
        let layer = layers
            .iter()
            .find(|l| l.name == node.name && node.inputs.get(1) == Some(&l.weights));
        let Some(layer) = layer else {
            if let Some(walk) = &mut walk {
                walk.step(at, None);
            }
            continue;
        };
        let w = matrix(graph, layer)?;
        let moments = walk.as_ref().map(|walk| walk.moments(at, &w));
        let stage = format!("layer {} of {}", done + 1, layers.len());
        progress(&stage, 0, 1);
        let v = take(layer, &w, moments.as_ref(), &mut |i, n| {
            progress(&stage, i, n)
        });
        done += 1;
        if let Some(walk) = &mut walk {
            walk.step(at, v);
        }
    }
    Ok(())
}

/// Weights `[m, k]` of a layer.
fn matrix(graph: &Graph, layer: &Layer) -> Result<Array2<f64>, Error> {
    let rows = fake::rows(graph.value(layer.weights));
    let (m, k) = (rows.len(), rows.first().map_or(0, Vec::len));
    let flat = rows.concat();
    if let Some(at) = flat.iter().position(|v| !v.is_finite()) {
        let text = format!("channel {}: a weight is not finite", at / k.max(1));
        return Err(Error::layer(&layer.name, layer.op, text));
    }
    Array2::from_shape_vec((m, k), flat).map_err(|e| Error::at(&layer.name, e))
}

fn settle(
    layer: &Layer,
    w: &Array2<f64>,
    data: Option<&Moments>,
    options: &Options,
    bits: u8,
    tell: &mut Tell,
) -> (Choice, GivenWeights, Array2<f64>) {
    let start = fit(w, data, &options.request(bits));
    let searched = start.error;
    let rounded = start.indices(w);
    let end = match (options.learn, data) {
        (Some(how), Some(data)) => learn(w, data, &start, &how, tell),
        _ => Learned::rounded(start, w, data),
    };
    let size = match data {
        Some(data) => data.energy(),
        None => w.mapv(|v| v * v).sum().max(f64::MIN_POSITIVE),
    };
    let changed = end
        .indices
        .iter()
        .zip(&rounded)
        .filter(|(a, b)| a != b)
        .count();
    let shares: Vec<f64> = w
        .rows()
        .into_iter()
        .zip(&end.fit.clip)
        .map(|(row, clip)| clip / row.fold(0.0f64, |m, v| m.max(v.abs())))
        .filter(|share| share.is_finite())
        .collect();
    let choice = Choice {
        name: layer.name.clone(),
        bits,
        exponent: end.fit.power.exponent,
        clip: shares.iter().sum::<f64>() / shares.len().max(1) as f64,
        searched: searched / size,
        error: end.fit.error / size,
        changed: changed as f64 / rounded.len().max(1) as f64,
    };
    let weights = book::given(&end);
    let values = end.fit.values(&end.indices);
    (choice, weights, values)
}
