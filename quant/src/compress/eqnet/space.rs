//! The elastic space: widths and formats that every layer of a supernet can take.
//!
//! EQ-Net, section 3.1 (ICCV 2023). Weights choose width, granularity and symmetry per layer. Activations choose width and
//! symmetry per quantized tensor: a tensor that several layers read has one quantizer, so their choices are tied.

use crate::Error;
use crate::ir::Op;
use crate::lower::given;
use crate::train::Network;
use elastiq::Backend;
use elastiq::format::PAIRS_MOST;
use rand::Rng;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Widths that a quantizer can have.
pub const WIDTHS: std::ops::RangeInclusive<u8> = 2..=8;

/// Quantization of one layer.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LayerConfig {
    /// Name of the node.
    pub layer: String,
    pub weight_bits: u8,
    /// A step (and zero point) per output channel instead of one for all.
    pub per_channel: bool,
    /// Zero point 0.
    pub weight_symmetric: bool,
    /// Width of the tensor that the layer reads.
    pub activation_bits: u8,
    /// Zero point 0, or the lowest code where the tensor is never negative.
    pub activation_symmetric: bool,
}

/// One sub-network: every layer with weights, in execution order.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SubnetConfig {
    pub layers: Vec<LayerConfig>,
}

/// The format of a uniform sub-network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Format {
    pub per_channel: bool,
    pub weight_symmetric: bool,
    pub activation_symmetric: bool,
}

impl Format {
    /// Per-channel, symmetric.
    pub const DEFAULT: Format = Format {
        per_channel: true,
        weight_symmetric: true,
        activation_symmetric: true,
    };

    /// All eight, the default first.
    pub fn all() -> impl Iterator<Item = Format> {
        (0..8u8).map(|i| Format {
            per_channel: i & 4 == 0,
            weight_symmetric: i & 2 == 0,
            activation_symmetric: i & 1 == 0,
        })
    }
}

/// `channel,sym,sym`: granularity and symmetry of the weights, symmetry of the activations.
impl std::fmt::Display for Format {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let symmetry = |s| if s { "sym" } else { "asym" };
        let grain = if self.per_channel {
            "channel"
        } else {
            "tensor"
        };
        let (weights, activations) = (self.weight_symmetric, self.activation_symmetric);
        write!(f, "{grain},{},{}", symmetry(weights), symmetry(activations))
    }
}

impl std::str::FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Format, String> {
        let found = Format::all().find(|f| f.to_string() == text);
        found.ok_or_else(|| {
            format!(
                "`{text}` is no format: expected channel or tensor, sym or asym (weights), sym or asym (activations), as in `{}`",
                Format::DEFAULT
            )
        })
    }
}

/// A layer with weights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// Name of its node.
    pub name: String,
    /// Index of its node.
    pub node: usize,
    /// Number of weights, output channels first.
    pub weights: usize,
    /// Output channels.
    pub channels: usize,
    pub macs: u64,
    /// The tensor it reads, an index into [`Space::sites`].
    pub site: usize,
    /// Weights of 8 bits whatever the others have.
    pub fixed: bool,
    /// Its output is normalized by the statistics of the batch.
    pub norm: bool,
    /// Rows that end with a whole byte in an artifact.
    rows: usize,
    /// Rows of 8 bits are stored in pairs for kernels that take two at once.
    pairs: bool,
}

/// A quantized tensor that layers read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// Name of the value that the first of its layers reads.
    pub name: String,
    /// Elements of one sample.
    pub elements: usize,
    /// 8 bits whatever the others have: inputs of the network, and what layers of fixed width read.
    pub fixed: bool,
}

/// Which sub-networks a supernet has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SpaceOptions {
    /// Widths of weights and activations, ascending.
    pub bits: Vec<u8>,
    /// Let the first and the last layer take every width too, instead of 8 bits.
    pub free_ends: bool,
    /// Weights below 8 bits are the upper bits of one 8-bit code, so that an artifact can hold all widths at once;
    /// weights are then symmetric and per channel.
    pub nested: bool,
    /// Layers whose outputs are normalized by the statistics of the batch, by name.
    pub batch_norm: Vec<String>,
}

impl Default for SpaceOptions {
    fn default() -> Self {
        SpaceOptions {
            bits: WIDTHS.collect(),
            free_ends: false,
            nested: false,
            batch_norm: Vec::new(),
        }
    }
}

/// Layers, tensors and choices of a supernet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Space {
    pub layers: Vec<Layer>,
    pub sites: Vec<Site>,
    pub options: SpaceOptions,
}

/// Average widths of a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct AverageBits {
    /// Over the weights of layers whose width is free; `None` where none is.
    pub weights: Option<f64>,
    /// Over the elements of tensors whose width is free.
    pub activations: Option<f64>,
    /// Over all weights, those of fixed layers included.
    pub effective_weights: f64,
}

/// Bits of a layer or tensor that has no choice.
const FULL: u8 = 8;

impl Space {
    /// The space of `network`.
    ///
    /// # Errors
    /// Widths outside 2 to 8, none, or not ascending; two layers of one name; a network that cannot be lowered.
    pub fn new(network: &Network, options: &SpaceOptions) -> Result<Space, Error> {
        let bits = &options.bits;
        if bits.is_empty() || !bits.iter().all(|b| WIDTHS.contains(b)) || !ascending(bits) {
            let text = format!("{bits:?} are not ascending widths of 2 to 8 bits");
            return Err(Error::input(text));
        }
        let graph = network.graph();
        let found = given::layers(graph)?;
        let groups = given::activations(graph)?;
        let group_of = |v| groups.iter().position(|g| g.contains(&v));
        let (mut layers, mut sites, mut of_site) = (Vec::<Layer>::new(), Vec::new(), Vec::new());
        for (i, layer) in found.iter().enumerate() {
            if layers.iter().any(|l| l.name == layer.name) {
                return Err(Error::input(format!(
                    "two layers are called `{}`",
                    layer.name
                )));
            }
            let node = graph.nodes.iter().position(|n| n.name == layer.name);
            let (Some(node), Some(group)) = (node, group_of(layer.input)) else {
                return Err(Error::layer(
                    &layer.name,
                    layer.op,
                    "has no quantized input",
                ));
            };
            let fixed = !options.free_ends && (i == 0 || i + 1 == found.len());
            let site = of_site.iter().position(|&g| g == group);
            let site = site.unwrap_or_else(|| {
                of_site.push(group);
                sites.push(Site {
                    name: graph.value(layer.input).name.clone(),
                    elements: graph.value(layer.input).shape.iter().product(),
                    fixed: graph
                        .inputs
                        .iter()
                        .any(|p| groups[group].contains(&p.value)),
                });
                sites.len() - 1
            });
            sites[site].fixed |= fixed;
            let shape = &graph.value(layer.weights).shape;
            let (channels, weights) = (shape[0], shape.iter().product());
            let (x, y) = (graph.value(layer.input), graph.value(layer.output));
            let k = x.shape.last().copied().unwrap_or(1);
            let (rows, pairs) = match graph.nodes[node].op {
                Op::Conv { groups, window } if groups == k && k > 1 => {
                    (window.kernel[0] * window.kernel[1], false)
                }
                Op::Dense => {
                    let one = y.shape.iter().product::<usize>() == channels;
                    (channels, one && k.is_multiple_of(2) && k <= PAIRS_MOST)
                }
                _ => (channels, false),
            };
            layers.push(Layer {
                name: layer.name.clone(),
                node,
                weights,
                channels,
                macs: layer.macs,
                site,
                fixed,
                norm: options.batch_norm.contains(&layer.name),
                rows,
                pairs,
            });
        }
        let is_layer = |name: &&String| layers.iter().any(|l| l.name == **name);
        if let Some(name) = options.batch_norm.iter().find(|name| !is_layer(name)) {
            let text = format!("batch normalization: no layer is called `{name}`");
            return Err(Error::input(text));
        }
        let unbiased = |l: &&Layer| l.norm && graph.nodes[l.node].inputs.len() < 3;
        if let Some(l) = layers.iter().find(unbiased) {
            let text = format!(
                "batch normalization: `{}` has no bias to take it up",
                l.name
            );
            return Err(Error::input(text));
        }
        if layers.is_empty() {
            return Err(Error::input("the network has no layer with weights"));
        }
        Ok(Space {
            layers,
            sites,
            options: options.clone(),
        })
    }

    /// Widths that the weights of layer `i` can have.
    pub fn weight_bits(&self, i: usize) -> &[u8] {
        self.choices(self.layers[i].fixed)
    }

    /// Widths that the tensor read by layer `i` can have.
    pub fn activation_bits(&self, i: usize) -> &[u8] {
        self.site_bits(self.layers[i].site)
    }

    /// Widths that tensor `i` can have.
    pub fn site_bits(&self, i: usize) -> &[u8] {
        self.choices(self.sites[i].fixed)
    }

    fn choices(&self, fixed: bool) -> &[u8] {
        if fixed { &[FULL] } else { &self.options.bits }
    }

    /// Formats of uniform sub-networks: all eight, or two where weights are nested.
    pub fn formats(&self) -> impl Iterator<Item = Format> {
        let nested = self.options.nested;
        Format::all().filter(move |f| !nested || (f.per_channel && f.weight_symmetric))
    }

    /// Weights of `weight_bits` and activations of `activation_bits` wherever the width is free.
    pub fn uniform(&self, weight_bits: u8, activation_bits: u8, format: Format) -> SubnetConfig {
        let of = |fixed, bits| if fixed { FULL } else { bits };
        let layer = |l: &Layer| LayerConfig {
            layer: l.name.clone(),
            weight_bits: of(l.fixed, weight_bits),
            per_channel: format.per_channel,
            weight_symmetric: format.weight_symmetric,
            activation_bits: of(self.sites[l.site].fixed, activation_bits),
            activation_symmetric: format.activation_symmetric,
        };
        SubnetConfig {
            layers: self.layers.iter().map(layer).collect(),
        }
    }

    /// Every choice drawn uniformly and independently, layer by layer; with `bits`, formats only.
    pub fn random(&self, rng: &mut impl Rng, bits: Option<u8>) -> SubnetConfig {
        let mut config = self.uniform(FULL, FULL, Format::DEFAULT);
        let free = !self.options.nested;
        for (i, c) in config.layers.iter_mut().enumerate() {
            // Drawn even where it is not used: the formats of a seed do not depend on `bits`.
            let drawn = [self.weight_bits(i), self.activation_bits(i)]
                .map(|of| of[rng.random_range(0..of.len())]);
            let fixed = [self.layers[i].fixed, self.sites[self.layers[i].site].fixed];
            let width = |k: usize| bits.filter(|_| !fixed[k]).unwrap_or(drawn[k]);
            (c.weight_bits, c.activation_bits) = (width(0), width(1));
            let (tensor, asymmetric) = (rng.random::<bool>(), rng.random::<bool>());
            c.per_channel = !(free && tensor);
            c.weight_symmetric = !(free && asymmetric);
            c.activation_symmetric = rng.random();
        }
        self.tie(&mut config);
        config
    }

    /// Give every layer that reads a shared tensor the activation choices of the first one that reads it.
    pub fn tie(&self, config: &mut SubnetConfig) {
        let mut first: Vec<Option<(u8, bool)>> = vec![None; self.sites.len()];
        for (l, c) in self.layers.iter().zip(&mut config.layers) {
            let own = (c.activation_bits, c.activation_symmetric);
            (c.activation_bits, c.activation_symmetric) = *first[l.site].get_or_insert(own);
        }
    }

    /// Check that `config` is one of this space.
    ///
    /// # Errors
    /// Names the layer and what it cannot have.
    pub fn check(&self, config: &SubnetConfig) -> Result<(), Error> {
        let names: BTreeSet<&str> = config.layers.iter().map(|c| c.layer.as_str()).collect();
        if let Some(l) = self
            .layers
            .iter()
            .find(|l| !names.contains(l.name.as_str()))
        {
            let text = format!("configuration: layer `{}` is missing", l.name);
            return Err(Error::input(text));
        }
        if config.layers.len() != self.layers.len() {
            let text = format!(
                "configuration: has {} layers, the network has {}",
                config.layers.len(),
                self.layers.len()
            );
            return Err(Error::input(text));
        }
        let mut tied = config.clone();
        self.tie(&mut tied);
        for (i, (l, c)) in self.layers.iter().zip(&config.layers).enumerate() {
            let fail = |text: String| Err(Error::at(format!("configuration: `{}`", l.name), text));
            if c.layer != l.name {
                return fail(format!("`{}` stands in its place", c.layer));
            }
            let widths = [
                ("weights", c.weight_bits, self.weight_bits(i)),
                ("activations", c.activation_bits, self.activation_bits(i)),
            ];
            for (what, bits, choices) in widths {
                if !choices.contains(&bits) {
                    return fail(format!("{what} of {bits} bits are none of {choices:?}"));
                }
            }
            if self.options.nested && !(c.per_channel && c.weight_symmetric) {
                return fail("nested weights are symmetric and per channel".into());
            }
            if *c != tied.layers[i] {
                return fail(format!(
                    "reads `{}`, which an earlier layer reads in another format",
                    self.sites[l.site].name
                ));
            }
        }
        Ok(())
    }

    /// Bytes of the weights of layer `i` in an artifact for `backend`, at `bits`.
    pub fn layer_bytes(&self, i: usize, bits: u8, symmetric: bool, backend: Backend) -> usize {
        let l = &self.layers[i];
        let row = (l.weights / l.rows * usize::from(bits)).div_ceil(8);
        let pairs = l.pairs && bits == FULL && symmetric && backend == Backend::Dsp;
        row * if pairs {
            l.rows.next_multiple_of(2)
        } else {
            l.rows
        }
    }

    /// Bytes of all weights in an artifact for `backend`, without zero points, biases and multipliers.
    pub fn weight_bytes(&self, config: &SubnetConfig, backend: Backend) -> usize {
        let one = |(i, c): (usize, &LayerConfig)| {
            self.layer_bytes(i, c.weight_bits, c.weight_symmetric, backend)
        };
        config.layers.iter().enumerate().map(one).sum()
    }

    /// Average widths, weighted by the number of weights and of elements of tensors.
    pub fn average_bits(&self, config: &SubnetConfig) -> AverageBits {
        let pairs = || self.layers.iter().zip(&config.layers);
        let weights = |free: bool| {
            let kept = pairs().filter(move |(l, _)| !(free && l.fixed));
            mean(kept.map(|(l, c)| (l.weights, c.weight_bits)))
        };
        let sites = self.sites.iter().enumerate().filter(|(_, s)| !s.fixed);
        let reader = |i| {
            pairs()
                .find(|(l, _)| l.site == i)
                .map(|(_, c)| c.activation_bits)
        };
        let activations = sites.filter_map(|(i, s)| Some((s.elements, reader(i)?)));
        AverageBits {
            weights: weights(true),
            activations: mean(activations),
            effective_weights: weights(false).unwrap_or(f64::from(FULL)),
        }
    }
}

fn ascending(bits: &[u8]) -> bool {
    bits.windows(2).all(|w| w[0] < w[1])
}

fn mean(weighted: impl Iterator<Item = (usize, u8)>) -> Option<f64> {
    let (sum, count) = weighted.fold((0, 0), |(sum, count), (n, bits)| {
        (sum + n * usize::from(bits), count + n)
    });
    (count > 0).then(|| sum as f64 / count as f64)
}
