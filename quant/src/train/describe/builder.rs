//! A graph that grows layer by layer, and fresh weights.

use crate::ir::infer::{check_graph, elements, output_shape};
use crate::ir::{Graph, Node, Op, Port, Value, ValueId};
use ndarray::{ArrayD, IxDyn};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::HashMap;
use std::sync::Arc;

/// Distribution of fresh weights, uniform around 0.
#[derive(Clone, Copy)]
enum Init {
    /// Variance `2 / inputs`: He et al., 2015.
    He,
    /// Variance `2 / (inputs + outputs)`: Glorot and Bengio, 2010.
    Glorot,
}

/// A graph under construction.
pub struct Builder {
    graph: Graph,
    init: Init,
    rng: ChaCha8Rng,
    named: HashMap<String, ValueId>,
    /// Output of the last layer.
    pub last: ValueId,
}

impl Builder {
    /// Start with the input: `[features]` or `[channels, height, width]`.
    pub fn new(name: &str, input: &[usize], init: &str, seed: u64) -> Result<Builder, String> {
        let init = match init {
            "he" => Init::He,
            "glorot" => Init::Glorot,
            _ => return Err("`init` must be \"he\" or \"glorot\"".into()),
        };
        let (shape, perm) = match *input {
            [n] => (vec![1, n], vec![0, 1]),
            [c, h, w] => (vec![1, h, w, c], vec![0, 2, 3, 1]),
            _ => return Err("`input` must be [features] or [channels, height, width]".into()),
        };
        elements(&shape)?;
        let mut graph = Graph {
            name: name.into(),
            ..Graph::default()
        };
        let value = graph.add_value(Value {
            name: "input".into(),
            shape,
            constant: None,
            quant: None,
        });
        graph.inputs.push(Port {
            value,
            name: "input".into(),
            file_shape: [&[1], input].concat(),
            perm,
        });
        Ok(Builder {
            graph,
            init,
            rng: ChaCha8Rng::seed_from_u64(seed),
            named: HashMap::from([("input".into(), value)]),
            last: value,
        })
    }

    /// Output of the layer called `name`.
    pub fn named(&self, name: &str) -> Option<ValueId> {
        self.named.get(name).copied()
    }

    /// Call the output of the last layer `name`; false where the name is taken.
    pub fn name(&mut self, name: &str) -> bool {
        self.named.insert(name.into(), self.last).is_none()
    }

    /// Shape of a value.
    pub fn shape(&self, id: ValueId) -> &[usize] {
        &self.graph.value(id).shape
    }

    /// Fresh weights `[outputs, rest..]`; `fan` are the numbers of inputs and outputs that one weight connects.
    pub fn weights(
        &mut self,
        name: String,
        shape: &[usize],
        fan: [usize; 2],
    ) -> Result<ValueId, String> {
        let n = elements(shape)?;
        let spread = match self.init {
            Init::He => 2.0 / fan[0] as f64,
            Init::Glorot => 2.0 / (fan[0] + fan[1]) as f64,
        };
        // A uniform distribution up to `limit` has a variance of a third of its square.
        let limit = (3.0 * spread).sqrt() as f32;
        let draw = (0..n)
            .map(|_| self.rng.random_range(-limit..limit))
            .collect();
        Ok(self.constant(name, shape, draw))
    }

    /// A vector of one value.
    pub fn filled(&mut self, name: String, n: usize, value: f32) -> ValueId {
        self.constant(name, &[n], vec![value; n])
    }

    fn constant(&mut self, name: String, shape: &[usize], values: Vec<f32>) -> ValueId {
        let array = ArrayD::from_shape_vec(IxDyn(shape), values).expect("one value per element");
        self.graph.add_value(Value {
            name,
            shape: shape.to_vec(),
            constant: Some(Arc::new(array)),
            quant: None,
        })
    }

    /// Append a node; its output becomes the last one. `shape` is needed for [`Op::Reshape`] only.
    pub fn node(
        &mut self,
        name: &str,
        op: Op,
        inputs: Vec<ValueId>,
        shape: Option<Vec<usize>>,
    ) -> Result<(), String> {
        let shapes: Vec<&[usize]> = inputs.iter().map(|&i| self.shape(i)).collect();
        let inferred = output_shape(&op, &shapes)?;
        let shape = shape
            .or(inferred)
            .ok_or("the shape of the output is not known")?;
        let output = self.graph.add_value(Value {
            name: format!("{name}_out"),
            shape,
            constant: None,
            quant: None,
        });
        self.graph.nodes.push(Node {
            name: name.into(),
            op,
            inputs,
            output,
        });
        self.last = output;
        Ok(())
    }

    /// The graph, with the last layer as its output.
    pub fn finish(mut self) -> Result<Graph, String> {
        let shape = self.shape(self.last).to_vec();
        let perm: Vec<usize> = match shape.len() {
            4 => vec![0, 2, 3, 1],
            n => (0..n).collect(),
        };
        let mut file_shape = vec![0; shape.len()];
        perm.iter()
            .zip(&shape)
            .for_each(|(&p, &d)| file_shape[p] = d);
        self.graph.outputs.push(Port {
            value: self.last,
            name: "output".into(),
            file_shape,
            perm,
        });
        check_graph(&self.graph)?;
        Ok(self.graph)
    }
}
