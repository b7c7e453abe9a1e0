//! Steps and offsets of all widths and formats.
//!
//! Steps are learned as their logarithms, offsets in units of their step: one learning rate suits tensors of any size.

use super::nested::{MASTER, Nested};
use super::norm::{Norm, Statistics};
use super::quantizer::{Codes, FakeQuant};
use super::space::{LayerConfig, Space};
use super::start::{self, Counts};
use crate::train::apply_kernel;
use crate::train::job::Slot;
use burn::tensor::Tensor;
use rayon::prelude::*;
use std::collections::BTreeMap;

/// Which quantizer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// Weights of layer `at`.
    Weights {
        at: usize,
        bits: u8,
        per_channel: bool,
        symmetric: bool,
    },
    /// Upper bits of the weights of layer `at`.
    Nested { at: usize, bits: u8 },
    /// Tensor `at`.
    Activation {
        at: usize,
        bits: u8,
        symmetric: bool,
    },
}

/// Where the parameters of a quantizer are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell {
    pub codes: Codes,
    /// Number of steps.
    pub groups: usize,
    /// Index of the steps.
    pub step: usize,
    /// Index of the offsets; `None` where they are 0.
    pub offset: Option<usize>,
}

/// All quantizers of a space, and the vectors that they learn.
#[derive(Clone, Debug)]
pub struct Bank {
    cells: BTreeMap<Key, Cell>,
    slots: Vec<Slot>,
    /// Normalization by layer.
    norms: Vec<Option<Norm>>,
    nested: bool,
}

impl Key {
    /// Quantizer of the weights of layer `at`.
    pub fn of_weights(at: usize, c: &LayerConfig, nested: bool) -> Key {
        match nested && c.weight_bits < MASTER.bits {
            true => Key::Nested {
                at,
                bits: c.weight_bits,
            },
            false => Key::Weights {
                at,
                bits: c.weight_bits,
                per_channel: c.per_channel,
                symmetric: c.weight_symmetric,
            },
        }
    }

    /// The 8-bit codes that nested widths of layer `at` read.
    pub fn master(at: usize) -> Key {
        Key::Weights {
            at,
            bits: MASTER.bits,
            per_channel: true,
            symmetric: true,
        }
    }
}

impl Bank {
    /// Quantizers of `space`; `unsigned` says which tensors are never negative. Indices of parameters start at `base`.
    pub fn new(space: &Space, unsigned: &[bool], base: usize) -> Bank {
        let mut bank = Bank {
            cells: BTreeMap::new(),
            slots: Vec::new(),
            norms: Vec::new(),
            nested: space.options.nested,
        };
        for (at, layer) in space.layers.iter().enumerate() {
            let signed = |bits| Codes {
                bits,
                unsigned: false,
            };
            if space.options.nested {
                let name = format!("{}/weights/8", layer.name);
                bank.add(base, Key::master(at), &name, MASTER, layer.channels, false);
                let below = space.weight_bits(at).iter().filter(|&&b| b < MASTER.bits);
                for &bits in below {
                    let name = format!("{}/weights/upper {bits}", layer.name);
                    let key = Key::Nested { at, bits };
                    bank.add(base, key, &name, signed(bits), layer.channels, false);
                }
                continue;
            }
            for &bits in space.weight_bits(at) {
                for (per_channel, symmetric) in FORMS {
                    let key = Key::Weights {
                        at,
                        bits,
                        per_channel,
                        symmetric,
                    };
                    let grain = if per_channel { "channel" } else { "tensor" };
                    let name = format!("{}/weights/{bits}/{grain}", layer.name);
                    let groups = if per_channel { layer.channels } else { 1 };
                    bank.add(base, key, &name, signed(bits), groups, !symmetric);
                }
            }
        }
        for (at, site) in space.sites.iter().enumerate() {
            let widths = space.site_bits(at).iter();
            for (bits, symmetric) in widths.flat_map(|&b| [(b, true), (b, false)]) {
                let key = Key::Activation {
                    at,
                    bits,
                    symmetric,
                };
                let codes = Codes {
                    bits,
                    unsigned: unsigned[at],
                };
                let name = format!("{}/activation/{bits}", site.name);
                bank.add(base, key, &name, codes, 1, !symmetric);
            }
        }
        for layer in &space.layers {
            let norm = layer.norm.then(|| {
                let [scale, shift] = ["scale", "shift"].map(|what| {
                    bank.slots.push(Slot {
                        name: format!("{}/norm/{what}", layer.name),
                        shape: vec![layer.channels],
                        decays: false,
                    });
                    base + bank.slots.len() - 1
                });
                Norm { scale, shift }
            });
            bank.norms.push(norm);
        }
        bank
    }

    /// Normalization of the output of layer `at`.
    pub fn norm(&self, at: usize) -> Option<Norm> {
        self.norms[at]
    }

    fn add(
        &mut self,
        base: usize,
        key: Key,
        name: &str,
        codes: Codes,
        groups: usize,
        offset: bool,
    ) {
        let mut slot = |what: &str| {
            let symmetry = if offset { "asym" } else { "sym" };
            self.slots.push(Slot {
                name: format!("{name}/{symmetry}/{what}"),
                shape: vec![groups],
                decays: false,
            });
            base + self.slots.len() - 1
        };
        let step = slot("step");
        let cell = Cell {
            codes,
            groups,
            step,
            offset: offset.then(|| slot("offset")),
        };
        self.cells.insert(key, cell);
    }

    /// What is learned.
    pub fn slots(&self) -> &[Slot] {
        &self.slots
    }

    /// Quantizer `key`, which is one of the space.
    pub fn cell(&self, key: Key) -> Cell {
        self.cells[&key]
    }

    /// First values of all parameters, for the weights of each layer, `[channels][..]`, samples of each tensor, and
    /// statistics of the output of each layer, where it is normalized: normalization starts as what changes nothing.
    pub fn start(
        &self,
        space: &Space,
        weights: &[Vec<f32>],
        sites: &[Counts],
        outputs: &[Option<Statistics>],
    ) -> Vec<Vec<f32>> {
        let masters: BTreeMap<usize, Vec<f32>> = match self.nested {
            false => BTreeMap::new(),
            true => (0..space.layers.len())
                .map(|at| {
                    (
                        at,
                        self.first_line(Key::master(at), space, weights, sites, None)
                            .0,
                    )
                })
                .collect(),
        };
        let cells: Vec<(&Key, &Cell)> = self.cells.iter().collect();
        let lines: Vec<(Vec<f32>, Vec<f32>)> = cells
            .par_iter()
            .map(|(key, _)| {
                let master = match key {
                    Key::Nested { at, .. } => masters.get(at).map(Vec::as_slice),
                    _ => None,
                };
                self.first_line(**key, space, weights, sites, master)
            })
            .collect();
        let base = cells.iter().map(|(_, c)| c.step).min().unwrap_or(0);
        let mut all = vec![Vec::new(); self.slots.len()];
        for ((_, cell), (steps, offsets)) in cells.iter().zip(lines) {
            if let Some(at) = cell.offset {
                all[at - base] = offsets.iter().zip(&steps).map(|(b, s)| b / s).collect();
            }
            all[cell.step - base] = steps.iter().map(|s| s.ln()).collect();
        }
        for (norm, seen) in self.norms.iter().zip(outputs) {
            if let (Some(norm), Some(seen)) = (norm, seen) {
                all[norm.scale - base] = seen.sigma.iter().map(|s| s.ln()).collect();
                all[norm.shift - base].clone_from(&seen.mean);
            }
        }
        all
    }

    /// First steps and offsets of one quantizer.
    fn first_line(
        &self,
        key: Key,
        space: &Space,
        weights: &[Vec<f32>],
        sites: &[Counts],
        master: Option<&[f32]>,
    ) -> (Vec<f32>, Vec<f32>) {
        let Cell { codes, groups, .. } = self.cells[&key];
        let rows = |at: usize| {
            let w = &weights[at];
            debug_assert_eq!(w.len(), space.layers[at].weights);
            w.chunks((w.len() / groups).max(1)).map(Counts::exact)
        };
        match key {
            Key::Weights { at, symmetric, .. } => rows(at)
                .map(|row| start::line(&row, codes, symmetric))
                .unzip(),
            Key::Nested { at, bits } => {
                let steps = rows(at).zip(master.unwrap_or_default());
                let steps = steps.map(|(row, &s8)| (start::nested(&row, s8, bits), 0.0));
                steps.unzip()
            }
            Key::Activation { at, symmetric, .. } => {
                let (s, b) = start::line(&sites[at], codes, symmetric);
                (vec![s], vec![b])
            }
        }
    }
}

/// Granularity and symmetry of weights.
const FORMS: [(bool, bool); 4] = [(true, true), (true, false), (false, true), (false, false)];

/// Vectors by the index of their parameter.
pub type Leaves<'a> = &'a dyn Fn(usize) -> Tensor<1>;

impl Cell {
    /// Steps and offsets.
    pub fn line(&self, leaves: Leaves) -> (Tensor<1>, Tensor<1>) {
        let s = leaves(self.step).exp();
        let b = match self.offset {
            Some(at) => leaves(at) * s.clone(),
            None => Tensor::zeros([self.groups], &s.device().inner()),
        };
        (s, b)
    }

    /// `x` as this quantizer gives it.
    pub fn apply(&self, x: Tensor<1>, leaves: Leaves) -> Tensor<1> {
        let (s, b) = self.line(leaves);
        let kernel = FakeQuant {
            codes: self.codes,
            groups: self.groups,
        };
        apply_kernel(kernel, [x, s, b])
    }

    /// Weights as the upper bits of the codes of `master`.
    pub fn apply_nested(&self, w: Tensor<1>, master: &Cell, leaves: Leaves) -> Tensor<1> {
        let kernel = Nested {
            bits: self.codes.bits,
            groups: self.groups,
        };
        apply_kernel(kernel, [w, master.line(leaves).0, self.line(leaves).0])
    }
}
