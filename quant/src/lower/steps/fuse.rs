//! What merges into one step: activations as bounds, functions into one table, constants into gain and offset.

use super::{Builder, Kind, OPEN, Step};
use crate::Error;
use crate::ir::{Node, Op, Unary, ValueId};
use crate::lower::func::Func;

/// How a constant spreads over the other operand.
enum Spread {
    Scalar(f64),
    Channel(Vec<f64>),
    Tensor,
}

impl Builder<'_> {
    /// Make ReLU or Clip the bounds of the step before, where nothing else reads that step's output.
    pub(super) fn fuse_clamp(&mut self, node: &Node, op: Unary) -> bool {
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
    pub(super) fn function(&mut self, node: &Node, x: ValueId, f: Func) {
        let (base, before) = self.base(node, x);
        match before.then(&f).filter(|_| base != x) {
            Some(both) => {
                self.absorb(x);
                self.push(node, Kind::Lut(both), vec![base]);
            }
            None => self.push(node, Kind::Lut(f), vec![x]),
        }
    }

    pub(super) fn binary(&mut self, node: &Node) -> Result<(), Error> {
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

    pub(super) fn prelu(&mut self, node: &Node) -> Result<(), Error> {
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
