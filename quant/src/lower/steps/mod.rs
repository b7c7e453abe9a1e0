//! From nodes to steps: what the integer network will execute, still in real numbers.
//!
//! Activations move into the step that produces their input, elementwise functions of one value become one
//! table, channel-wise constants become one gain and offset per channel, and nodes that nothing reads disappear.

mod fuse;

use super::func::Func;
use crate::Error;
use crate::ir::{self, FileQuant, Graph, NearestMap, Node, Op, ValueId, Window};
use std::collections::HashMap;

/// What a step computes; activations are its `inputs`.
#[derive(Clone, Debug)]
pub enum Kind {
    Conv {
        window: Window,
        groups: usize,
        weights: ValueId,
        bias: Option<ValueId>,
    },
    Dense {
        weights: ValueId,
        bias: Option<ValueId>,
    },
    /// `gain[c] * x + offset[c]` along the last axis.
    Affine {
        gain: Vec<f64>,
        offset: Vec<f64>,
    },
    MaxPool(Window),
    AvgPool {
        window: Window,
        count_pad: bool,
    },
    /// `x1 + x2` or `x1 - x2`; one side may be constant.
    Add {
        subtract: bool,
    },
    /// `x1 * x2`; one side may be constant.
    Mul,
    Lut(Func),
    /// One slope per index of the last axis.
    PRelu {
        slopes: Vec<f64>,
    },
    Softmax {
        axis: usize,
    },
    ArgMax {
        axis: usize,
        select_last: bool,
    },
    Concat {
        axis: usize,
    },
    Pad {
        before: Vec<usize>,
        value: f32,
    },
    Slice {
        start: Vec<usize>,
        step: Vec<usize>,
    },
    Transpose {
        perm: Vec<usize>,
    },
    Resize(NearestMap),
    /// The same bytes under other dimensions.
    Reshape,
}

impl Kind {
    /// True where the output code can be clamped at no cost.
    fn clamps(&self) -> bool {
        matches!(
            self,
            Kind::Conv { .. }
                | Kind::Dense { .. }
                | Kind::Affine { .. }
                | Kind::MaxPool(_)
                | Kind::AvgPool { .. }
                | Kind::Add { .. }
                | Kind::Mul
                | Kind::PRelu { .. }
        )
    }

    /// True where codes move unchanged, so that input and output share a quantization.
    pub fn moves(&self) -> bool {
        matches!(
            self,
            Kind::MaxPool(_)
                | Kind::Pad { .. }
                | Kind::Slice { .. }
                | Kind::Transpose { .. }
                | Kind::Resize(_)
                | Kind::Reshape
        )
    }
}

/// One operation of the integer network.
#[derive(Clone, Debug)]
pub struct Step {
    /// Node that the step is reported under.
    pub name: String,
    /// Operator of that node.
    pub op: &'static str,
    pub kind: Kind,
    pub inputs: Vec<ValueId>,
    pub output: ValueId,
    /// Bounds of the output, infinite without a fused activation.
    pub clamp: (f64, f64),
    /// Multiply-accumulates.
    pub macs: u64,
}

/// Steps in execution order and what the file says about quantization.
#[derive(Clone, Debug, Default)]
pub struct Steps {
    pub steps: Vec<Step>,
    /// Quantization fixed by the file, per value that a step reads or writes.
    pub fixed: HashMap<ValueId, FileQuant>,
}

const OPEN: (f64, f64) = (f64::NEG_INFINITY, f64::INFINITY);

/// Turn the nodes of `graph` that contribute to an output into steps.
///
/// # Errors
/// Names the node that has no integer form and says why.
pub fn steps(graph: &Graph) -> Result<Steps, Error> {
    let live = live_nodes(graph);
    let mut uses = vec![0usize; graph.values.len()];
    for node in live.iter().map(|&i| &graph.nodes[i]) {
        node.inputs.iter().for_each(|v| uses[v.0] += 1);
    }
    graph.outputs.iter().for_each(|p| uses[p.value.0] += 1);
    let mut b = Builder {
        graph,
        uses,
        steps: Vec::new(),
        at: HashMap::new(),
        fixed: HashMap::new(),
    };
    for (id, value) in graph.values.iter().enumerate() {
        if let (Some(q), None) = (&value.quant, &value.constant) {
            b.fixed.insert(ValueId(id), q.clone());
        }
    }
    for i in live {
        let node = &graph.nodes[i];
        b.node(node)
            .map_err(|e| Error::layer(&node.name, node.op.name(), e.to_string()))?;
    }
    for port in &graph.outputs {
        if graph.value(port.value).constant.is_some() {
            return Err(Error::input(format!("output '{}' is constant", port.name)));
        }
    }
    Ok(Steps {
        steps: b.steps.into_iter().flatten().collect(),
        fixed: b.fixed,
    })
}

fn live_nodes(graph: &Graph) -> Vec<usize> {
    let mut needed = vec![false; graph.values.len()];
    graph.outputs.iter().for_each(|p| needed[p.value.0] = true);
    let mut live: Vec<usize> = Vec::new();
    for (i, node) in graph.nodes.iter().enumerate().rev() {
        if needed[node.output.0] {
            node.inputs.iter().for_each(|v| needed[v.0] = true);
            live.push(i);
        }
    }
    live.reverse();
    live
}

struct Builder<'a> {
    graph: &'a Graph,
    uses: Vec<usize>,
    /// `None` where a step was absorbed by a later one.
    steps: Vec<Option<Step>>,
    /// Step that writes a value.
    at: HashMap<ValueId, usize>,
    fixed: HashMap<ValueId, FileQuant>,
}

impl Builder<'_> {
    fn push(&mut self, node: &Node, kind: Kind, inputs: Vec<ValueId>) {
        let macs = ir::macs(self.graph, node);
        let (name, op) = (node.name.clone(), node.op.name());
        self.at.insert(node.output, self.steps.len());
        self.steps.push(Some(Step {
            name,
            op,
            kind,
            inputs,
            output: node.output,
            clamp: OPEN,
            macs,
        }));
    }

    fn shape(&self, v: ValueId) -> &[usize] {
        &self.graph.value(v).shape
    }

    fn constant(&self, v: ValueId) -> Option<Vec<f64>> {
        self.graph
            .value(v)
            .constant
            .as_ref()
            .map(|c| c.iter().map(|&x| f64::from(x)).collect())
    }

    fn step(&self, v: ValueId) -> Option<&Step> {
        self.at.get(&v).and_then(|&i| self.steps[i].as_ref())
    }

    fn node(&mut self, node: &Node) -> Result<(), Error> {
        let inputs = node.inputs.clone();
        let x = *inputs.first().ok_or_else(|| Error::input("has no input"))?;
        let elementwise = matches!(node.op, Op::Add | Op::Sub | Op::Mul);
        if !elementwise && self.graph.value(x).constant.is_some() {
            return Err(Error::input(format!(
                "input '{}' is constant",
                self.graph.value(x).name
            )));
        }
        let kind = match &node.op {
            Op::Conv { window, groups } => {
                let (weights, bias) = self.parameters(node)?;
                Kind::Conv {
                    window: *window,
                    groups: *groups,
                    weights,
                    bias,
                }
            }
            Op::Dense => {
                let (weights, bias) = self.parameters(node)?;
                Kind::Dense { weights, bias }
            }
            Op::MaxPool(window) => Kind::MaxPool(*window),
            Op::AvgPool { window, count_pad } => Kind::AvgPool {
                window: *window,
                count_pad: *count_pad,
            },
            Op::Add | Op::Sub | Op::Mul => return self.binary(node),
            Op::Unary(op) => {
                if !self.fuse_clamp(node, *op) {
                    self.function(node, x, Func::unary(*op));
                }
                return Ok(());
            }
            Op::PRelu => return self.prelu(node),
            Op::Softmax { axis } => Kind::Softmax { axis: *axis },
            Op::ArgMax { axis, select_last } => Kind::ArgMax {
                axis: *axis,
                select_last: *select_last,
            },
            Op::Concat { axis } => {
                if let Some(c) = inputs
                    .iter()
                    .find(|v| self.graph.value(**v).constant.is_some())
                {
                    return Err(Error::input(format!(
                        "input '{}' is constant",
                        self.graph.value(*c).name
                    )));
                }
                return {
                    self.push(node, Kind::Concat { axis: *axis }, inputs);
                    Ok(())
                };
            }
            Op::Pad {
                before,
                after,
                value,
            } => {
                let none = before.iter().chain(after).all(|&n| n == 0);
                if none {
                    Kind::Reshape
                } else {
                    Kind::Pad {
                        before: before.clone(),
                        value: *value,
                    }
                }
            }
            Op::Slice { start, step } => {
                if self.shape(x) == self.shape(node.output) {
                    Kind::Reshape
                } else {
                    Kind::Slice {
                        start: start.clone(),
                        step: step.clone(),
                    }
                }
            }
            Op::Transpose { perm } => {
                let moved: Vec<usize> = perm
                    .iter()
                    .copied()
                    .filter(|&a| self.shape(x).get(a) != Some(&1))
                    .collect();
                if moved.is_sorted() {
                    Kind::Reshape
                } else {
                    Kind::Transpose { perm: perm.clone() }
                }
            }
            Op::ResizeNearest(map) => Kind::Resize(map.clone()),
            Op::Reshape => Kind::Reshape,
        };
        self.push(node, kind, vec![x]);
        Ok(())
    }

    /// Weights and bias of a linear node, which must be constant.
    fn parameters(&self, node: &Node) -> Result<(ValueId, Option<ValueId>), Error> {
        for v in node.inputs.iter().skip(1) {
            if self.graph.value(*v).constant.is_none() {
                let name = &self.graph.value(*v).name;
                return Err(Error::input(format!(
                    "'{name}' is computed at run time, only constant weights are supported"
                )));
            }
        }
        let weights = *node
            .inputs
            .get(1)
            .ok_or_else(|| Error::input("has no weights"))?;
        Ok((weights, node.inputs.get(2).copied()))
    }
}
