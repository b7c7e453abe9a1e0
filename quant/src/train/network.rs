//! A graph made ready for training: which nodes run, which constants are learned, where the loss is taken.

use super::ops;
use super::unquantized::unquantized;
use super::var::{Var, vector};
use crate::Error;
use crate::ir::{Graph, Node, Op, Unary, ValueId, passes};
use burn::tensor::{Device, Tensor};
use ndarray::{ArrayD, IxDyn};
use std::collections::HashMap;
use std::sync::Arc;

/// A constant that is learned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Param {
    pub value: ValueId,
    /// Name of the value.
    pub name: String,
    pub shape: Vec<usize>,
    /// Weights decay, biases and slopes do not.
    pub decays: bool,
}

/// How the values that the loss is taken from become the output of the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Head {
    /// They are the output.
    Plain,
    /// A softmax over all of them, or the index of the largest, follows.
    Classes,
    /// A sigmoid of a single value follows.
    Binary,
}

/// Called while the network runs: sees every value, and may replace what a node reads.
pub trait Hooks {
    /// Input `index` of node `node`, weights included; what is returned is what the node reads.
    fn operand(&mut self, node: usize, index: usize, x: Var) -> Var {
        let _ = (node, index);
        x
    }

    /// Output of node `node`; what is returned takes its place.
    fn replace(&mut self, node: usize, x: Var) -> Var {
        let _ = node;
        x
    }

    /// Output of node `node`, as others read it.
    fn output(&mut self, node: usize, x: &Var) {
        let _ = (node, x);
    }
}

/// Hooks that change nothing.
pub struct NoHooks;

impl Hooks for NoHooks {}

/// A network that can be trained.
#[derive(Clone, Debug)]
pub struct Network {
    graph: Graph,
    params: Vec<Param>,
    /// Nodes that the loss depends on, in execution order.
    nodes: Vec<usize>,
    /// Last node of the list that reads a value.
    last: HashMap<ValueId, usize>,
    root: ValueId,
    head: Head,
}

impl Network {
    /// Prepare `graph`; the loss is taken from its first output. BatchNorm and other affine operators are folded into
    /// the weights first. Quantization that a file carries is dropped, as it belongs to weights that change; bounds that
    /// it put on values stay.
    ///
    /// # Errors
    /// Names the node that has no gradient; a network without weights is refused.
    pub fn new(graph: Graph) -> Result<Network, Error> {
        let graph = unquantized(graph);
        let (graph, _) = passes::optimize_with(graph, &passes::PASSES_KEEPING_CHANNELS);
        let output = graph
            .outputs
            .first()
            .ok_or_else(|| Error::input("the network has no output"))?
            .value;
        let (root, head) = before_head(&graph, output);
        let nodes = ancestors(&graph, root);
        if let Some(node) = nodes
            .iter()
            .map(|&i| &graph.nodes[i])
            .find(|n| matches!(n.op, Op::ArgMax { .. }))
        {
            let text = "has no gradient, only the last node of a network may choose an index";
            return Err(Error::layer(&node.name, node.op.name(), text));
        }
        let params = learned(&graph, &nodes);
        if params.is_empty() {
            return Err(Error::input("the network has no weights to train"));
        }
        let mut last = HashMap::new();
        for &i in &nodes {
            graph.nodes[i].inputs.iter().for_each(|&id| {
                last.insert(id, i);
            });
        }
        last.remove(&root);
        Ok(Network {
            graph,
            params,
            nodes,
            last,
            root,
            head,
        })
    }

    /// The graph with the weights that it came with.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// What is learned, in the order in which the nodes read it.
    pub fn params(&self) -> &[Param] {
        &self.params
    }

    /// What follows the values that [`Network::forward`] gives.
    pub fn head(&self) -> Head {
        self.head
    }

    /// Number of values that the loss is taken from, per sample.
    pub fn width(&self) -> usize {
        self.graph.value(self.root).shape.iter().product()
    }

    /// A node of the graph.
    pub fn node(&self, index: usize) -> &Node {
        &self.graph.nodes[index]
    }

    /// The first node that reads parameter `index`.
    pub fn reader(&self, index: usize) -> &Node {
        let id = self.params[index].value;
        let reads = |n: &&Node| n.inputs.contains(&id);
        let mut nodes = self.nodes.iter().map(|&i| &self.graph.nodes[i]);
        nodes.find(reads).expect("parameters are read")
    }

    /// The parameter that are the weights of node `node`.
    pub fn weights_of(&self, node: usize) -> Option<usize> {
        let id = self.graph.nodes[node].inputs.get(1)?;
        self.params.iter().position(|p| p.value == *id)
    }

    /// The parameter that is the bias of node `node`.
    pub fn bias_of(&self, node: usize) -> Option<usize> {
        let id = self.graph.nodes[node].inputs.get(2)?;
        self.params.iter().position(|p| p.value == *id)
    }

    /// Parameters that node `node` reads.
    pub fn params_of(&self, node: usize) -> impl Iterator<Item = usize> {
        let inputs = &self.graph.nodes[node].inputs;
        (0..self.params.len()).filter(|&p| inputs.contains(&self.params[p].value))
    }

    /// Weights of all layers but the first, whose distribution follows the data.
    pub fn weights_but_first(&self) -> Vec<usize> {
        let weights = (0..self.params.len()).filter(|&p| self.params[p].decays);
        weights.skip(1).collect()
    }

    /// Values of the parameters in the graph.
    pub fn initial(&self) -> Vec<Vec<f32>> {
        let values = |p: &Param| {
            let array = self.graph.value(p.value).constant.as_ref();
            array.map_or_else(Vec::new, |a| a.iter().copied().collect())
        };
        self.params.iter().map(values).collect()
    }

    /// The graph with other parameters.
    ///
    /// # Panics
    /// Where a length is not that of the parameter.
    pub fn with_params(&self, params: &[Vec<f32>]) -> Graph {
        let mut graph = self.graph.clone();
        for (p, values) in self.params.iter().zip(params) {
            let array = ArrayD::from_shape_vec(IxDyn(&p.shape), values.clone());
            graph.values[p.value.0].constant = Some(Arc::new(array.expect("length of parameter")));
        }
        graph
    }

    /// Constants that are not learned, on `device`, for [`Network::forward`].
    pub fn constants(&self, device: &Device) -> HashMap<ValueId, Var> {
        let read = self.nodes.iter().flat_map(|&i| &self.graph.nodes[i].inputs);
        let mut found = HashMap::new();
        for &id in read {
            let value = self.graph.value(id);
            if let Some(array) = &value.constant
                && !self.params.iter().any(|p| p.value == id)
            {
                let flat = vector(array.iter().copied().collect(), device);
                found.insert(id, Var::new(flat, 1, &value.shape));
            }
        }
        found
    }

    /// Run on a mini-batch.
    ///
    /// `inputs` holds one tensor per graph input, `[lead, IR shape..]` row-major. Gives `[lead, width]`: what the loss
    /// is taken from, before a final softmax, sigmoid or argmax.
    pub fn forward(
        &self,
        params: &[Tensor<1>],
        constants: &HashMap<ValueId, Var>,
        inputs: &[Tensor<1>],
        lead: usize,
        hooks: &mut dyn Hooks,
    ) -> Tensor<2> {
        let mut store: HashMap<ValueId, Var> = HashMap::new();
        for (p, flat) in self.params.iter().zip(params) {
            store.insert(p.value, Var::new(flat.clone(), 1, &p.shape));
        }
        for (port, flat) in self.graph.inputs.iter().zip(inputs) {
            let shape = &self.graph.value(port.value).shape;
            store.insert(port.value, Var::new(flat.clone(), lead, shape));
        }
        for &i in &self.nodes {
            let node = &self.graph.nodes[i];
            let read = |(k, id): (usize, &ValueId)| {
                let x = store.get(id).or_else(|| constants.get(id));
                hooks.operand(i, k, x.expect("nodes are in execution order").clone())
            };
            let args: Vec<Var> = node.inputs.iter().enumerate().map(read).collect();
            let y = ops::apply(&node.op, &args, &self.graph.value(node.output).shape);
            let y = hooks.replace(i, y);
            hooks.output(i, &y);
            store.insert(node.output, y);
            store.retain(|id, _| self.last.get(id).is_none_or(|&at| at != i));
        }
        let root = store.remove(&self.root).expect("the root is computed");
        let width = self.width();
        match root.lead == lead {
            true => root.flat.reshape([lead, width]),
            false => root.flat.reshape([1, width]).expand([lead, width]),
        }
    }
}

/// The value in front of a final softmax over all values, argmax or single sigmoid, past operators that only rename.
fn before_head(graph: &Graph, output: ValueId) -> (ValueId, Head) {
    let (mut at, mut head) = (output, Head::Plain);
    while let Some(node) = graph.nodes.iter().find(|n| n.output == at) {
        let input = node.inputs[0];
        let shape = &graph.value(input).shape;
        let size: usize = shape.iter().product();
        head = match node.op {
            Op::Softmax { axis } | Op::ArgMax { axis, .. } if shape[axis] == size => Head::Classes,
            Op::Unary(Unary::Sigmoid) if size == 1 && head == Head::Plain => {
                return (input, Head::Binary);
            }
            Op::Reshape => head,
            Op::Transpose { .. } if shape.iter().filter(|&&d| d > 1).count() <= 1 => head,
            _ => break,
        };
        at = input;
    }
    // Without a head there is no reason to leave the output.
    if head == Head::Plain {
        (output, head)
    } else {
        (at, head)
    }
}

/// Nodes that `root` depends on, in execution order.
fn ancestors(graph: &Graph, root: ValueId) -> Vec<usize> {
    let mut wanted = vec![false; graph.values.len()];
    wanted[root.0] = true;
    let mut nodes = Vec::new();
    for (i, node) in graph.nodes.iter().enumerate().rev() {
        if wanted[node.output.0] {
            node.inputs.iter().for_each(|id| wanted[id.0] = true);
            nodes.push(i);
        }
    }
    nodes.reverse();
    nodes
}

/// Weights and biases of convolutions and dense layers and slopes of PRelu, each once.
fn learned(graph: &Graph, nodes: &[usize]) -> Vec<Param> {
    let mut params: Vec<Param> = Vec::new();
    for node in nodes.iter().map(|&i| &graph.nodes[i]) {
        if !matches!(node.op, Op::Conv { .. } | Op::Dense | Op::PRelu) {
            continue;
        }
        for (k, &id) in node.inputs.iter().enumerate().skip(1) {
            let value = graph.value(id);
            if value.constant.is_some() && !params.iter().any(|p| p.value == id) {
                params.push(Param {
                    value: id,
                    name: value.name.clone(),
                    shape: value.shape.clone(),
                    decays: k == 1 && node.op != Op::PRelu,
                });
            }
        }
    }
    params
}
