//! From nodes to steps: what the integer network will execute, still in real numbers.
//!
//! Activations move into the step that produces their input, elementwise functions of one value become one
//! table, channel-wise constants become one gain and offset per channel, and nodes that nothing reads disappear.

use super::func::Func;
use crate::Error;
use crate::ir::{FileQuant, Graph, NearestMap, Node, Op, Unary, ValueId, Window};
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

/// Multiply-accumulates of a node of `graph`; 0 for all but convolutions and dense layers.
pub fn macs(graph: &Graph, node: &Node) -> u64 {
    let out: usize = graph.value(node.output).shape.iter().product();
    let per_output = |w: &ValueId| graph.value(*w).shape.iter().skip(1).product::<usize>();
    match (&node.op, node.inputs.get(1)) {
        (Op::Conv { .. } | Op::Dense, Some(w)) => (out * per_output(w)) as u64,
        _ => 0,
    }
}

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

/// How a constant spreads over the other operand.
enum Spread {
    Scalar(f64),
    Channel(Vec<f64>),
    Tensor,
}

impl Builder<'_> {
    fn push(&mut self, node: &Node, kind: Kind, inputs: Vec<ValueId>) {
        let macs = macs(self.graph, node);
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

    /// Make ReLU or Clip the bounds of the step before, where nothing else reads that step's output.
    fn fuse_clamp(&mut self, node: &Node, op: Unary) -> bool {
        let (lo, hi) = match op {
            Unary::Relu => (0.0, f64::INFINITY),
            Unary::Clip(lo, hi) => (f64::from(lo), f64::from(hi)),
            _ => return false,
        };
        let x = node.inputs[0];
        let (before, after) = (self.fixed.get(&x).cloned(), self.fixed.get(&node.output));
        let agrees = before.is_none() || after.is_none() || before.as_ref() == after;
        let Some(&at) = self.at.get(&x).filter(|_| self.uses[x.0] == 1 && agrees) else {
            return false;
        };
        let Some(step) = self.steps[at].as_mut().filter(|s| s.kind.clamps()) else {
            return false;
        };
        let through = |v: f64| v.max(lo).min(hi);
        step.clamp = (through(step.clamp.0), through(step.clamp.1));
        step.output = node.output;
        self.at.remove(&x);
        self.at.insert(node.output, at);
        if let Some(q) = before {
            self.fixed.insert(node.output, q);
        }
        true
    }

    /// `v` as a function of an earlier value, if only `node` reads `v`.
    fn base(&self, node: &Node, v: ValueId) -> (ValueId, Func) {
        let own = node.inputs.iter().filter(|&&i| i == v).count();
        match self.step(v) {
            Some(Step {
                kind: Kind::Lut(f),
                inputs,
                ..
            }) if self.uses[v.0] == own && !self.fixed.contains_key(&v) => (inputs[0], f.clone()),
            _ => (v, Func::identity()),
        }
    }

    /// Drop the table that computes `v`, which its only reader has absorbed.
    fn absorb(&mut self, v: ValueId) {
        if let Some(at) = self.at.remove(&v) {
            self.steps[at] = None;
        }
    }

    /// A table for `f(x)`, merged with a table that computes `x`.
    fn function(&mut self, node: &Node, x: ValueId, f: Func) {
        let (base, before) = self.base(node, x);
        match before.then(&f).filter(|_| base != x) {
            Some(both) => {
                self.absorb(x);
                self.push(node, Kind::Lut(both), vec![base]);
            }
            None => self.push(node, Kind::Lut(f), vec![x]),
        }
    }

    fn binary(&mut self, node: &Node) -> Result<(), Error> {
        let &[a, b] = node.inputs.as_slice() else {
            return Err(Error::input("needs two inputs"));
        };
        match (self.constant(a), self.constant(b)) {
            (Some(_), Some(_)) => Err(Error::input("both inputs are constant")),
            (None, Some(c)) => self.with_constant(node, a, b, &c, false),
            (Some(c), None) => self.with_constant(node, b, a, &c, true),
            (None, None) => {
                self.two_activations(node, a, b);
                Ok(())
            }
        }
    }

    fn two_activations(&mut self, node: &Node, a: ValueId, b: ValueId) {
        let ((base_a, f), (base_b, g)) = (self.base(node, a), self.base(node, b));
        let op: fn(f64, f64) -> f64 = match node.op {
            Op::Add => |a, b| a + b,
            Op::Sub => |a, b| a - b,
            _ => |a, b| a * b,
        };
        // One side may be the common base itself although other nodes read it too.
        let pairs = [
            (base_a, f.clone(), base_b, g.clone()),
            (a, Func::identity(), base_b, g),
            (base_a, f, b, Func::identity()),
        ];
        for (x, f, y, g) in pairs {
            if x == y
                && let Some(both) = f.join(&g, op)
            {
                [a, b]
                    .into_iter()
                    .filter(|&v| v != x)
                    .for_each(|v| self.absorb(v));
                self.push(node, Kind::Lut(both), vec![x]);
                return;
            }
        }
        self.push(node, elementwise(&node.op), vec![a, b]);
    }

    fn spread(&self, node: &Node, x: ValueId, c: ValueId, data: &[f64]) -> Spread {
        let (shape, out) = (self.shape(x), self.shape(node.output));
        let last = shape.last().copied().unwrap_or(1);
        if shape.iter().product::<usize>() != out.iter().product::<usize>() {
            return Spread::Tensor;
        }
        match data {
            [only] => Spread::Scalar(*only),
            [first, rest @ ..] if rest.iter().all(|v| v == first) => Spread::Scalar(*first),
            _ if data.len() == last && self.shape(c).last() == Some(&last) => {
                Spread::Channel(data.to_vec())
            }
            _ => Spread::Tensor,
        }
    }

    /// `x op c`, or `c op x` where `swapped`.
    fn with_constant(
        &mut self,
        node: &Node,
        x: ValueId,
        c: ValueId,
        data: &[f64],
        swapped: bool,
    ) -> Result<(), Error> {
        if let Some(bad) = data.iter().find(|v| !v.is_finite()) {
            return Err(Error::input(format!(
                "constant '{}' holds {bad}",
                self.graph.value(c).name
            )));
        }
        let line = |c: f64| match (&node.op, swapped) {
            (Op::Add, _) => (1.0, c),
            (Op::Sub, false) => (1.0, -c),
            (Op::Sub, true) => (-1.0, c),
            _ => (c, 0.0),
        };
        let spread = self.spread(node, x, c, data);
        let channels = self.shape(x).last().copied().unwrap_or(1);
        let wide: Option<Vec<f64>> = match (&spread, self.step(x).map(|s| &s.kind)) {
            (Spread::Channel(v), _) => Some(v.clone()),
            (Spread::Scalar(v), Some(Kind::Affine { .. })) => Some(vec![*v; channels]),
            _ => None,
        };
        if let Some(values) = wide {
            let lines: Vec<(f64, f64)> = values.into_iter().map(line).collect();
            self.affine(node, x, &lines);
            return Ok(());
        }
        match spread {
            Spread::Scalar(v) => {
                let (gain, offset) = line(v);
                self.function(node, x, Func::new(move |x| gain * x + offset));
            }
            _ => self.push(node, elementwise(&node.op), node.inputs.clone()),
        }
        Ok(())
    }

    /// Gain and offset per channel, merged with those of the step before where only this node reads it.
    fn affine(&mut self, node: &Node, x: ValueId, lines: &[(f64, f64)]) {
        let alone = self.uses[x.0] == 1 && !self.fixed.contains_key(&x);
        if let Some(&at) = self.at.get(&x)
            && let Some(step) = self.steps[at].as_mut().filter(|s| alone && s.clamp == OPEN)
            && let Kind::Affine { gain, offset } = &mut step.kind
        {
            for ((g, o), (gain2, offset2)) in gain.iter_mut().zip(offset).zip(lines) {
                *g *= gain2;
                *o = *o * gain2 + offset2;
            }
            step.output = node.output;
            self.at.remove(&x);
            self.at.insert(node.output, at);
            return;
        }
        let (gain, offset) = lines.iter().copied().unzip();
        self.push(node, Kind::Affine { gain, offset }, vec![x]);
    }

    fn prelu(&mut self, node: &Node) -> Result<(), Error> {
        let (x, slope) = (node.inputs[0], node.inputs.get(1).copied());
        let c = slope.ok_or_else(|| Error::input("has no slope"))?;
        let data = self
            .constant(c)
            .ok_or_else(|| Error::input("the slope is computed at run time"))?;
        match self.spread(node, x, c, &data) {
            Spread::Scalar(a) => {
                self.function(node, x, Func::new(move |x| if x < 0.0 { a * x } else { x }))
            }
            Spread::Channel(slopes) => match slopes.iter().position(|s| !s.is_finite()) {
                Some(at) => {
                    return Err(Error::input(format!(
                        "channel {at} has slope {}",
                        slopes[at]
                    )));
                }
                None => self.push(node, Kind::PRelu { slopes }, vec![x]),
            },
            Spread::Tensor => return Err(Error::input("needs one slope, or one per channel")),
        }
        Ok(())
    }
}

fn elementwise(op: &Op) -> Kind {
    match op {
        Op::Add => Kind::Add { subtract: false },
        Op::Sub => Kind::Add { subtract: true },
        _ => Kind::Mul,
    }
}
