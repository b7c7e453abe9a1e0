//! From a configuration to what lowering needs: codes and grids of weights, quantization of activations.

use super::bank::Key;
use super::forward::Folds;
use super::nested::master;
use super::quantizer::{Codes, Line};
use super::space::SubnetConfig;
use super::supernet::{Supernet, listen};
use crate::compile::{
    CompileOptions, Compiled, Progress, VariantOptions, compile_graph, compile_variants,
};
use crate::ir::{Graph, ValueId};
use crate::lower::format::{Formats, Grid, Levels};
use crate::lower::given::{self, Given, GivenActivation, GivenWeights};
use crate::lower::quant::Quant;
use crate::train::data::Data;
use crate::train::var::host;
use crate::train::{Hooks, Network, Place, Var};
use crate::{Error, Samples};
use burn::tensor::Tensor;
use std::collections::HashMap;

impl Supernet {
    /// The float network with the shared weights.
    pub fn graph(&self) -> Graph {
        let network = &self.frame.network;
        network.with_params(&self.params[..network.params().len()])
    }

    /// Quantization of `config`; see [`Supernet::quantized`].
    ///
    /// # Errors
    /// As [`Supernet::quantized`].
    pub fn given(&self, config: &SubnetConfig, samples: &Samples) -> Result<Given, Error> {
        Ok(self.quantized(config, samples)?.1)
    }

    /// The float network with the biases of `config`, and the quantization of `config`. Ranges of tensors that no layer
    /// reads are those seen on `samples`, and so are statistics of normalization that have no samples of their own.
    ///
    /// # Errors
    /// A configuration of another space, samples that do not fit the network.
    pub fn quantized(
        &self,
        config: &SubnetConfig,
        samples: &Samples,
    ) -> Result<(Graph, Given), Error> {
        self.frame.space.check(config)?;
        let network = &self.frame.network;
        let data = Data::new(network.graph(), samples)?;
        let device = Place::Cpu.device()?;
        let params = self.tensors(&device);
        let leaves = |i: usize| params[i].clone();
        let own = self.statistics.as_ref();
        let own = own.map(|s| Data::new(network.graph(), s)).transpose()?;
        let statistics = own.as_ref().unwrap_or(&data);
        let folds = self.frame.folds(config, &leaves, statistics)?;
        let line = |key: Key| {
            let cell = self.frame.bank.cell(key);
            let (s, b) = cell.line(&leaves);
            (cell, host(s), host(b))
        };
        let mut found = Given::default();
        for (at, (c, i)) in config
            .layers
            .iter()
            .zip(self.frame.weight_params())
            .enumerate()
        {
            let key = Key::of_weights(at, c, self.frame.space.options.nested);
            let (cell, s, b) = line(key);
            let layer = &self.frame.space.layers[at];
            let rows = self.params[i].chunks((layer.weights / layer.channels).max(1));
            let mut weights = match key {
                Key::Nested { .. } => {
                    let (_, s8, _) = line(Key::master(at));
                    upper_codes(rows.zip(s8), c.weight_bits, &s)
                }
                _ => {
                    let lines: Vec<Line> = s
                        .iter()
                        .zip(&b)
                        .map(|(&s, &b)| cell.codes.at(s, b))
                        .collect();
                    linear_codes(rows, cell.codes, &lines, layer.channels)
                }
            };
            if let Some(fold) = folds.as_ref().and_then(|f| f[at].as_ref()) {
                let scales = weights.grid.scale.iter_mut().zip(&fold.factor);
                scales.for_each(|(s, f)| *s *= f64::from(*f));
            }
            found.weights.insert(layer.name.clone(), weights);
        }
        for (at, site) in self.frame.space.sites.iter().enumerate() {
            let reader = self.frame.space.layers.iter().position(|l| l.site == at);
            let c = &config.layers[reader.expect("tensors are listed because a layer reads them")];
            let key = Key::Activation {
                at,
                bits: c.activation_bits,
                symmetric: c.activation_symmetric,
            };
            let (cell, s, b) = line(key);
            found.activations.insert(
                site.name.clone(),
                stored(cell.codes, cell.codes.at(s[0], b[0])),
            );
        }
        self.add_ranges(config, &data, folds.as_ref(), &params, &mut found)?;
        let mut values = self.params[..network.params().len()].to_vec();
        for (at, fold) in folds.iter().flatten().enumerate() {
            let bias = network.bias_of(self.frame.space.layers[at].node);
            if let (Some(i), Some(fold)) = (bias, fold) {
                values[i].clone_from(&fold.bias);
            }
        }
        Ok((network.with_params(&values), found))
    }

    /// 8-bit ranges of the tensors that no layer reads.
    fn add_ranges(
        &self,
        config: &SubnetConfig,
        data: &Data,
        folds: Option<&Folds>,
        params: &[Tensor<1>],
        found: &mut Given,
    ) -> Result<(), Error> {
        let network = &self.frame.network;
        let graph = network.graph();
        let leaves = |i: usize| params[i].clone();
        let mut watch = Watch {
            network,
            hooks: self.frame.hooks(config, &leaves, folds),
            ranges: HashMap::new(),
        };
        listen(network, data, data.len(), &leaves, &mut watch)?;
        for class in given::activations(graph)? {
            let name = |v: ValueId| graph.value(v).name.clone();
            if class
                .iter()
                .any(|&v| found.activations.contains_key(&name(v)))
            {
                continue;
            }
            let seen = class.iter().filter_map(|v| watch.ranges.get(v));
            let hull = seen.fold(None, |hull: Option<(f32, f32)>, &(lo, hi)| {
                let (a, b) = hull.unwrap_or((lo, hi));
                Some((a.min(lo), b.max(hi)))
            });
            if let Some((lo, hi)) = hull {
                let whole = GivenActivation {
                    quant: Quant::from_range(lo, hi),
                    lo: i8::MIN,
                    hi: i8::MAX,
                };
                found.activations.insert(name(class[0]), whole);
            }
        }
        Ok(())
    }

    /// The artifact of one configuration, calibrated and checked with `calib`.
    ///
    /// # Errors
    /// As [`Supernet::given`] and [`compile_graph`].
    pub fn export(
        &self,
        config: &SubnetConfig,
        source: &str,
        calib: &Samples,
        opts: &CompileOptions,
        progress: &mut Progress,
    ) -> Result<Compiled, Error> {
        let (graph, given) = self.quantized(config, calib)?;
        let opts = CompileOptions {
            given,
            dead_channels: false,
            ..opts.clone()
        };
        compile_graph(graph, source, calib, &opts, progress)
    }
}

impl Supernet {
    /// One artifact with all of `points`, name and configuration, in that order: layers whose width differs are stored
    /// once, as the 8-bit codes that every width reads. Each point computes what [`Supernet::export`] makes of it alone.
    ///
    /// # Errors
    /// As [`Supernet::export`]; a supernet whose weights are not nested, or whose biases differ from configuration to
    /// configuration because they hold batch statistics.
    pub fn export_variants(
        &self,
        points: &[(String, SubnetConfig)],
        source: &str,
        calib: &Samples,
        opts: &CompileOptions,
        progress: &mut Progress,
    ) -> Result<Compiled, Error> {
        let options = &self.frame.space.options;
        if !options.nested {
            let text = "one artifact for several widths needs a supernet that was trained nested";
            return Err(Error::input(text));
        }
        if !options.batch_norm.is_empty() {
            let text = "networks with batch normalization have biases of their own at every width, \
                which one artifact cannot share";
            return Err(Error::input(text));
        }
        let variant = |(name, config): &(String, SubnetConfig)| {
            let given = self.given(config, calib);
            Ok(VariantOptions {
                name: name.clone(),
                weights: Formats::default(),
                given: given.map_err(|e| e.within(format!("variant '{name}'")))?,
            })
        };
        let variants = points
            .iter()
            .map(variant)
            .collect::<Result<Vec<_>, Error>>()?;
        let opts = CompileOptions {
            dead_channels: false,
            ..opts.clone()
        };
        compile_variants(self.graph(), source, calib, &variants, &opts, progress)
    }
}

/// Codes of weights on a linear grid.
fn linear_codes<'a>(
    rows: impl Iterator<Item = &'a [f32]>,
    codes: Codes,
    lines: &[Line],
    channels: usize,
) -> GivenWeights {
    let of = |c: usize| &lines[c.min(lines.len() - 1)];
    let code = |(c, row): (usize, &'a [f32])| {
        let line = *of(c);
        row.iter().map(move |&w| (line.level(w) + line.zero) as i8)
    };
    GivenWeights {
        bits: codes.bits,
        codes: rows.enumerate().flat_map(code).collect(),
        grid: Grid {
            scale: (0..channels).map(|c| f64::from(of(c).s)).collect(),
            levels: Levels::Linear {
                lo: codes.first() as i32,
                hi: codes.last() as i32,
                zeros: match lines.iter().all(|l| l.zero == 0.0) {
                    true => vec![0],
                    false => lines.iter().map(|l| l.zero as i16).collect(),
                },
            },
        },
        nested: false,
    }
}

/// Upper bits of 8-bit codes.
fn upper_codes<'a>(
    rows: impl Iterator<Item = (&'a [f32], f32)>,
    bits: u8,
    s: &[f32],
) -> GivenWeights {
    let code = |(row, s8): (&'a [f32], f32)| row.iter().map(move |&w| master(w, s8));
    let scale = s.iter().map(|&s| f64::from(s)).collect();
    GivenWeights::nested(bits, scale, rows.flat_map(code).collect())
}

/// How a quantizer of activations is stored in `i8`.
fn stored(codes: Codes, line: Line) -> GivenActivation {
    let offset = match codes.unsigned {
        true => -f32::from(1u8 << (codes.bits - 1)),
        false => 0.0,
    };
    GivenActivation {
        quant: Quant {
            scale: line.s,
            zero: (line.zero + offset) as i8,
        },
        lo: (codes.first() + offset) as i8,
        hi: (codes.last() + offset) as i8,
    }
}

/// Ranges of all values while a configuration runs.
struct Watch<'a, H> {
    network: &'a Network,
    hooks: H,
    ranges: HashMap<ValueId, (f32, f32)>,
}

impl<H: Hooks> Hooks for Watch<'_, H> {
    fn operand(&mut self, node: usize, index: usize, x: Var) -> Var {
        if index == 0 {
            self.see(self.network.node(node).inputs[0], &x);
        }
        self.hooks.operand(node, index, x)
    }

    fn replace(&mut self, node: usize, x: Var) -> Var {
        self.hooks.replace(node, x)
    }

    fn output(&mut self, node: usize, x: &Var) {
        self.see(self.network.node(node).output, x);
    }
}

impl<H> Watch<'_, H> {
    fn see(&mut self, id: ValueId, x: &Var) {
        let seen = self.ranges.entry(id).or_insert((0.0, 0.0));
        let ends = |(a, b): (f32, f32), v| (a.min(v), b.max(v));
        *seen = x.to_vec().into_iter().fold(*seen, ends);
    }
}
