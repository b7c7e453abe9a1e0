//! Which weights of a network remain.
//!
//! Weights come in units that go together: single weights, blocks of four neighbours in a row (the last block of a row
//! is what is left), or all weights of an output channel with its bias. Biases are no candidates of their own.

use super::settings::{Scope, Structure};
use crate::Error;
use crate::ir::{Graph, Op, ValueId};
use crate::train::Network;
use serde::{Deserialize, Serialize};

/// Weights in a block.
pub const BLOCK: usize = 4;

/// A weight tensor that is pruned.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Layer {
    /// Index into [`Network::params`].
    param: usize,
    /// The bias that goes with a channel.
    bias: Option<usize>,
    /// Output channels, weights of one.
    rows: usize,
    row: usize,
}

/// Units of a network that can be pruned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Units {
    structure: Structure,
    layers: Vec<Layer>,
}

/// Units that remain: one flag per unit of every layer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "Vec<String>", from = "Vec<String>")]
pub struct Mask(pub Vec<Vec<bool>>);

impl From<Mask> for Vec<String> {
    /// A digit per unit, a text per layer.
    fn from(mask: Mask) -> Vec<String> {
        let digit = |&kept: &bool| if kept { '1' } else { '0' };
        let layers = mask.0.iter();
        layers.map(|l| l.iter().map(digit).collect()).collect()
    }
}

impl From<Vec<String>> for Mask {
    fn from(layers: Vec<String>) -> Mask {
        let flags = |l: &String| l.bytes().map(|b| b == b'1').collect();
        Mask(layers.iter().map(flags).collect())
    }
}

impl Units {
    /// Weights of every convolution and dense layer of `network`; with [`Structure::Channel`] not of those whose
    /// channels are the scores.
    ///
    /// # Errors
    /// A network in which nothing can be pruned.
    pub fn new(network: &Network, structure: Structure) -> Result<Units, Error> {
        let graph = network.graph();
        let index = |id: &ValueId| network.params().iter().position(|p| p.value == *id);
        let last = match structure {
            Structure::Channel => score_layers(graph),
            Structure::Element | Structure::Block => Vec::new(),
        };
        let mut layers: Vec<Layer> = Vec::new();
        for (i, node) in graph.nodes.iter().enumerate() {
            if !matches!(node.op, Op::Conv { .. } | Op::Dense) || last.contains(&i) {
                continue;
            }
            let Some(param) = index(&node.inputs[1]) else {
                continue;
            };
            if layers.iter().any(|l| l.param == param) {
                continue;
            }
            let shape = &network.params()[param].shape;
            layers.push(Layer {
                param,
                bias: match structure {
                    Structure::Channel => node.inputs.get(2).and_then(index),
                    Structure::Element | Structure::Block => None,
                },
                rows: shape[0],
                row: shape[1..].iter().product(),
            });
        }
        if layers.is_empty() {
            return Err(Error::input("the network has no layer to prune"));
        }
        Ok(Units { structure, layers })
    }

    /// Units per layer.
    pub fn counts(&self) -> Vec<usize> {
        let count = |l: &Layer| match self.structure {
            Structure::Element => l.rows * l.row,
            Structure::Block => l.rows * l.row.div_ceil(BLOCK),
            Structure::Channel => l.rows,
        };
        self.layers.iter().map(count).collect()
    }

    /// Weights that can be pruned.
    pub fn weights(&self) -> usize {
        self.layers.iter().map(|l| l.rows * l.row).sum()
    }

    /// Weights that `mask` keeps.
    pub fn kept(&self, mask: &Mask) -> usize {
        let kept = |(l, flags): (&Layer, &Vec<bool>)| {
            (0..l.rows * l.row)
                .filter(|&i| flags[self.unit(l, i)])
                .count()
        };
        self.layers.iter().zip(&mask.0).map(kept).sum()
    }

    /// Everything remains.
    pub fn all(&self) -> Mask {
        Mask(self.counts().into_iter().map(|n| vec![true; n]).collect())
    }

    /// Unit of weight `i` of a layer.
    fn unit(&self, layer: &Layer, i: usize) -> usize {
        match self.structure {
            Structure::Element => i,
            Structure::Block => {
                let per_row = layer.row.div_ceil(BLOCK);
                i / layer.row * per_row + i % layer.row / BLOCK
            }
            Structure::Channel => i / layer.row,
        }
    }

    /// Whether each element of each parameter remains; `None` for parameters that remain whole.
    pub fn elements(&self, mask: &Mask, params: usize) -> Vec<Option<Vec<bool>>> {
        let mut found = vec![None; params];
        for (layer, flags) in self.layers.iter().zip(&mask.0) {
            let weights = (0..layer.rows * layer.row).map(|i| flags[self.unit(layer, i)]);
            found[layer.param] = Some(weights.collect());
            if let Some(bias) = layer.bias {
                found[bias] = Some(flags.clone());
            }
        }
        found
    }

    /// Score of every unit: the mean over its weights of `score(start, end)`.
    pub fn scores(
        &self,
        start: &[Vec<f32>],
        end: &[Vec<f32>],
        score: impl Fn(f32, f32) -> f32,
    ) -> Vec<Vec<f64>> {
        let of = |(layer, n): (&Layer, usize)| {
            let (mut sums, mut sizes) = (vec![0.0; n], vec![0.0; n]);
            let pairs = start[layer.param].iter().zip(&end[layer.param]);
            for (i, (&a, &b)) in pairs.enumerate() {
                let unit = self.unit(layer, i);
                sums[unit] += f64::from(score(a, b));
                sizes[unit] += 1.0;
            }
            sums.iter().zip(&sizes).map(|(s, n)| s / n).collect()
        };
        self.layers.iter().zip(self.counts()).map(of).collect()
    }
}

/// Set what is not kept to zero.
pub fn clear(values: &mut [Vec<f32>], elements: &[Option<Vec<bool>>]) {
    for (values, kept) in values.iter_mut().zip(elements) {
        for (v, &kept) in values.iter_mut().zip(kept.iter().flatten()) {
            if !kept {
                *v = 0.0;
            }
        }
    }
}

impl Mask {
    /// Units that remain, per layer.
    pub fn counts(&self) -> Vec<usize> {
        let kept = |flags: &Vec<bool>| flags.iter().filter(|&&k| k).count();
        self.0.iter().map(kept).collect()
    }

    /// Keep the `targets[l]` units with the highest scores of those that remain in every layer `l`; of equal scores the
    /// later one. Layers that have no more than that stay as they are.
    #[must_use]
    pub fn keep(&self, scores: &[Vec<f64>], targets: &[usize]) -> Mask {
        let mut mask = self.clone();
        for ((flags, scores), &target) in mask.0.iter_mut().zip(scores).zip(targets) {
            let mut left: Vec<usize> = (0..flags.len()).filter(|&i| flags[i]).collect();
            left.sort_by(|&a, &b| scores[a].total_cmp(&scores[b]));
            let drop = left.len().saturating_sub(target);
            left[..drop].iter().for_each(|&i| flags[i] = false);
        }
        mask
    }

    /// Units per layer that the next round keeps: without the share `share` of what remains, rounded down, but not
    /// below the share `floor` of all.
    ///
    /// With [`Scope::Global`] the lowest scores of all layers together go, and one unit of every layer remains.
    pub fn targets(&self, scores: &[Vec<f64>], scope: Scope, share: f64, floor: f64) -> Vec<usize> {
        let goal = |left: usize, all: usize| {
            let most = (floor * all as f64).ceil() as usize;
            (left - (share * left as f64).floor() as usize).max(most.min(left))
        };
        let counts = self.counts();
        if scope == Scope::Layer {
            let pairs = counts.iter().zip(&self.0);
            return pairs.map(|(&left, all)| goal(left, all.len())).collect();
        }
        let all: usize = self.0.iter().map(Vec::len).sum();
        let mut surplus = counts.iter().sum::<usize>() - goal(counts.iter().sum(), all);
        let mut order: Vec<(usize, usize)> = (0..self.0.len())
            .flat_map(|l| (0..self.0[l].len()).map(move |i| (l, i)))
            .filter(|&(l, i)| self.0[l][i])
            .collect();
        order.sort_by(|a, b| scores[a.0][a.1].total_cmp(&scores[b.0][b.1]));
        let mut targets = counts;
        for (l, _) in order {
            if surplus > 0 && targets[l] > 1 {
                targets[l] -= 1;
                surplus -= 1;
            }
        }
        targets
    }
}

/// Nodes with weights whose output channels reach the outputs of the graph without another layer that mixes them.
fn score_layers(graph: &Graph) -> Vec<usize> {
    let mut open: Vec<ValueId> = graph.outputs.iter().map(|p| p.value).collect();
    let (mut seen, mut found) = (open.clone(), Vec::new());
    while let Some(id) = open.pop() {
        let Some(i) = graph.nodes.iter().position(|n| n.output == id) else {
            continue;
        };
        let node = &graph.nodes[i];
        let mixes = match node.op {
            Op::Dense => true,
            Op::Conv { groups, .. } => graph.value(node.inputs[1]).shape[3] > 1 || groups == 1,
            _ => false,
        };
        if matches!(node.op, Op::Dense | Op::Conv { .. }) {
            found.push(i);
        }
        let inputs = if mixes { &[][..] } else { &node.inputs[..] };
        for &id in inputs {
            if !seen.contains(&id) {
                seen.push(id);
                open.push(id);
            }
        }
    }
    found
}
