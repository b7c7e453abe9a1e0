//! A network whose layers read quantized weights and activations: float arithmetic on quantized values.

use super::bank::{Bank, Cell, Key, Leaves};
use super::norm::{Fold, Statistics};
use super::quantizer::round;
use super::space::{Space, SubnetConfig};
use crate::ir::ValueId;
use crate::train::var::vector;
use crate::train::{Hooks, Kernel, Network, Var, apply_kernel};
use std::collections::HashMap;

/// Normalization that is part of the weights, by layer.
pub type Folds = Vec<Option<Fold>>;

/// Quantizes what the layers of a network read, for one execution.
pub struct Quantized<'a> {
    pub network: &'a Network,
    pub space: &'a Space,
    pub bank: &'a Bank,
    pub config: &'a SubnetConfig,
    pub leaves: Leaves<'a>,
    /// What normalization has become, by layer; without it, statistics are those of the batch.
    pub folds: Option<&'a Folds>,
    /// Statistics of the batch by layer.
    pub statistics: Vec<Option<Statistics>>,
    /// Values that were quantized already: several layers may read one.
    seen: HashMap<ValueId, Var>,
}

impl<'a> Quantized<'a> {
    /// Hooks for one execution.
    pub fn new(
        network: &'a Network,
        space: &'a Space,
        bank: &'a Bank,
        config: &'a SubnetConfig,
        leaves: Leaves<'a>,
    ) -> Quantized<'a> {
        Quantized {
            network,
            space,
            bank,
            config,
            leaves,
            folds: None,
            statistics: vec![None; space.layers.len()],
            seen: HashMap::new(),
        }
    }
}

impl Quantized<'_> {
    /// Quantizer of the tensor that layer `at` reads.
    fn activation(&self, at: usize) -> Cell {
        let c = &self.config.layers[at];
        self.bank.cell(Key::Activation {
            at: self.space.layers[at].site,
            bits: c.activation_bits,
            symmetric: c.activation_symmetric,
        })
    }

    /// What normalization of layer `at` has become.
    fn fold(&self, at: usize) -> Option<&Fold> {
        self.folds.and_then(|f| f[at].as_ref())
    }

    /// Key of the quantizer of the weights of layer `at`.
    fn weights(&self, at: usize) -> Key {
        Key::of_weights(at, &self.config.layers[at], self.space.options.nested)
    }
}

impl Hooks for Quantized<'_> {
    fn operand(&mut self, node: usize, index: usize, x: Var) -> Var {
        let Some(at) = self.space.layers.iter().position(|l| l.node == node) else {
            return x;
        };
        let flat = match index {
            0 => {
                let value = self.network.node(node).inputs[0];
                if let Some(seen) = self.seen.get(&value) {
                    return seen.clone();
                }
                self.activation(at).apply(x.flat, self.leaves)
            }
            1 => {
                let key = self.weights(at);
                let cell = self.bank.cell(key);
                let w = match key {
                    Key::Nested { .. } => {
                        let master = self.bank.cell(Key::master(at));
                        cell.apply_nested(x.flat, &master, self.leaves)
                    }
                    _ => cell.apply(x.flat, self.leaves),
                };
                match self.fold(at) {
                    Some(fold) => {
                        let rows = fold.factor.len();
                        let factor = vector(fold.factor.clone(), &w.device()).reshape([rows, 1]);
                        let len = w.dims()[0];
                        (w.reshape([rows, len / rows]) * factor).reshape([len])
                    }
                    None => w,
                }
            }
            // What is normalized by the batch loses its bias again.
            _ if self.bank.norm(at).is_some() && self.folds.is_none() => x.flat,
            // A bias counts steps of the sum: products of steps of activations and weights.
            _ => {
                let step = |cell: Cell| cell.line(self.leaves).0.inner();
                let weights = step(self.bank.cell(self.weights(at)));
                let unit = step(self.activation(at)) * weights;
                match self.fold(at) {
                    Some(fold) => {
                        let device = unit.device();
                        let unit = unit * vector(fold.factor.clone(), &device);
                        apply_kernel(Steps, [vector(fold.bias.clone(), &device), unit])
                    }
                    None => apply_kernel(Steps, [x.flat, unit]),
                }
            }
        };
        let y = Var::new(flat, x.lead, &x.shape);
        if index == 0 {
            let value = self.network.node(node).inputs[0];
            self.seen.insert(value, y.clone());
        }
        y
    }

    fn replace(&mut self, node: usize, x: Var) -> Var {
        let at = self.space.layers.iter().position(|l| l.node == node);
        let norm = at.and_then(|at| Some((at, self.bank.norm(at)?)));
        match norm.filter(|_| self.folds.is_none()) {
            Some((at, norm)) => {
                let (y, seen) = norm.apply(&x, self.leaves);
                self.statistics[at] = Some(seen);
                y
            }
            None => x,
        }
    }
}

/// Values in whole steps, one step for all or one each; the gradient is that of the values.
#[derive(Clone, Debug)]
struct Steps;

impl Kernel<2> for Steps {
    fn forward(&self, [x, unit]: [&[f32]; 2]) -> Vec<f32> {
        let of = |i: usize| unit[i.min(unit.len() - 1)];
        // Past 2^22 steps a float has no finer ones.
        let whole = |v: f32| if v.abs() < 4e6 { round(v) } else { v };
        let one = |(i, v): (usize, &f32)| whole(v / of(i)) * of(i);
        x.iter().enumerate().map(one).collect()
    }

    fn backward(&self, _: [&[f32]; 2], dy: &[f32], wanted: [bool; 2]) -> [Option<Vec<f32>>; 2] {
        [wanted[0].then(|| dy.to_vec()), None]
    }
}
