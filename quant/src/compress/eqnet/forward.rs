//! A network whose layers read quantized weights and activations: float arithmetic on quantized values.

use super::bank::{Bank, Key, Leaves};
use super::space::{Space, SubnetConfig};
use crate::ir::ValueId;
use crate::train::{Hooks, Network, Var};
use std::collections::HashMap;

/// Quantizes what the layers of a network read, for one execution.
pub struct Quantized<'a> {
    pub network: &'a Network,
    pub space: &'a Space,
    pub bank: &'a Bank,
    pub config: &'a SubnetConfig,
    pub leaves: Leaves<'a>,
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
            seen: HashMap::new(),
        }
    }
}

impl Hooks for Quantized<'_> {
    fn operand(&mut self, node: usize, index: usize, x: Var) -> Var {
        let Some(at) = self.space.layers.iter().position(|l| l.node == node) else {
            return x;
        };
        let c = &self.config.layers[at];
        let bank = self.bank;
        match index {
            0 => {
                let value = self.network.node(node).inputs[0];
                let quantized = || {
                    let key = Key::Activation {
                        at: self.space.layers[at].site,
                        bits: c.activation_bits,
                        symmetric: c.activation_symmetric,
                    };
                    let flat = bank.cell(key).apply(x.flat, self.leaves);
                    Var::new(flat, x.lead, &x.shape)
                };
                self.seen.entry(value).or_insert_with(quantized).clone()
            }
            1 => {
                let key = Key::of_weights(at, c, self.space.options.nested);
                let cell = bank.cell(key);
                let flat = match key {
                    Key::Nested { .. } => {
                        let master = bank.cell(Key::master(at));
                        cell.apply_nested(x.flat, &master, self.leaves)
                    }
                    _ => cell.apply(x.flat, self.leaves),
                };
                Var::new(flat, x.lead, &x.shape)
            }
            _ => x,
        }
    }
}
