//! From steps with quantized values to integer operators.

mod moving;

use super::format::{Formats, WeightFormat};
use super::given::Given;
use super::linear::{Codes, Linear, Weights, linear};
use super::params::{Params, from_file};
use super::quant::{Quant, bounds};
use super::steps::{Kind, Step, Steps};
use super::{LOp, Lowered, Place, Tensor, simple};
use crate::Error;
use crate::ir::{Graph, ValueId, Window};
use elastiq::format::{FLAG_SELECT_LAST, OpKind};
use std::collections::HashMap;

/// Write operators for all steps.
pub fn emit(
    graph: &Graph,
    steps: &Steps,
    params: &Params,
    formats: &Formats,
    given: &Given,
) -> Result<Lowered, Error> {
    let weighty = |s: &&Step| matches!(s.kind, Kind::Conv { .. } | Kind::Dense { .. });
    let named = |name: &String| steps.steps.iter().filter(weighty).any(|s| s.name == *name);
    if let Some(name) = formats.by_layer.keys().find(|name| !named(name)) {
        let names: Vec<&str> = steps
            .steps
            .iter()
            .filter(weighty)
            .map(|s| &*s.name)
            .collect();
        return Err(Error::input(format!(
            "no layer with weights is called '{name}' (there are {})",
            names.join(", ")
        )));
    }
    let mut e = Emit {
        graph,
        params,
        formats,
        given,
        out: Lowered::default(),
        tensors: HashMap::new(),
    };
    for port in &graph.inputs {
        let t = e
            .activation(port.value)
            .map_err(|err| err.within(format!("input '{}'", port.name)))?;
        e.out.inputs.push(t);
    }
    for step in &steps.steps {
        e.step(step)
            .map_err(|err| Error::layer(&step.name, step.op, err.to_string()))?;
    }
    for port in &graph.outputs {
        let t = e
            .activation(port.value)
            .map_err(|err| err.within(format!("output '{}'", port.name)))?;
        e.out.outputs.push(t);
    }
    Ok(e.out)
}

struct Emit<'a> {
    graph: &'a Graph,
    params: &'a Params,
    formats: &'a Formats,
    given: &'a Given,
    out: Lowered,
    tensors: HashMap<ValueId, usize>,
}

/// Four dimensions for any shape: ones in front, or unit axes dropped and leading axes merged. The last axis stays.
fn dims4(shape: &[usize]) -> Result<[u32; 4], Error> {
    let mut dims = shape.to_vec();
    while dims.len() > 4 {
        match dims[..dims.len() - 1].iter().position(|&d| d == 1) {
            Some(at) => drop(dims.remove(at)),
            None => {
                let first = dims.remove(0);
                dims[0] *= first;
            }
        }
    }
    let mut out = [1; 4];
    for (o, d) in out.iter_mut().rev().zip(dims.iter().rev()) {
        *o =
            u32::try_from(*d).map_err(|_| Error::input(format!("shape {shape:?} is too large")))?;
    }
    Ok(out)
}

fn u16s<const N: usize>(values: impl IntoIterator<Item = usize>) -> Result<[u16; N], Error> {
    let mut out = [0; N];
    for (o, v) in out.iter_mut().zip(values) {
        *o = u16::try_from(v).map_err(|_| Error::input(format!("parameter {v} exceeds 65535")))?;
    }
    Ok(out)
}

fn window16(w: &Window, more: Option<usize>) -> Result<[u16; 16], Error> {
    let all = [w.kernel, w.stride, w.dilation, [w.pads[0], w.pads[1]]];
    u16s(all.into_iter().flatten().chain(more))
}

/// Axis of a rank-4 tensor for `axis` of `shape`.
fn axis4(axis: usize, shape: &[usize]) -> Result<usize, Error> {
    if shape.len() > 4 {
        return Err(Error::input(format!(
            "rank {} is not supported here, at most 4",
            shape.len()
        )));
    }
    Ok(axis + 4 - shape.len())
}

/// Per-axis values for a rank-4 tensor, `fill` in front.
fn wide4(values: &[usize], fill: usize) -> Result<[usize; 4], Error> {
    let mut out = [fill; 4];
    if values.len() > 4 {
        return Err(Error::input(format!(
            "rank {} is not supported here, at most 4",
            values.len()
        )));
    }
    out[4 - values.len()..].copy_from_slice(values);
    Ok(out)
}

impl Emit<'_> {
    fn shape(&self, v: ValueId) -> &[usize] {
        &self.graph.value(v).shape
    }

    fn tensor(
        &mut self,
        name: &str,
        dims: [u32; 4],
        quant: Quant,
        place: Place,
        value: Option<ValueId>,
    ) -> usize {
        let tensor = Tensor {
            name: name.to_owned(),
            dims,
            quant,
            width: 1,
            place,
            value,
        };
        self.out.tensors.push(tensor);
        self.out.tensors.len() - 1
    }

    /// Tensor of activation `v`, made on first use.
    fn activation(&mut self, v: ValueId) -> Result<usize, Error> {
        if let Some(&t) = self.tensors.get(&v) {
            return Ok(t);
        }
        let value = self.graph.value(v);
        let t = self.tensor(
            &value.name,
            dims4(&value.shape)?,
            self.params.get(v),
            Place::Arena,
            Some(v),
        );
        self.tensors.insert(v, t);
        Ok(t)
    }

    /// Tensor of an operand, constant or not.
    fn operand(&mut self, v: ValueId) -> Result<usize, Error> {
        let value = self.graph.value(v);
        let Some(data) = &value.constant else {
            return self.activation(v);
        };
        if let Some(&t) = self.tensors.get(&v) {
            return Ok(t);
        }
        let q = match &value.quant {
            Some(q) => from_file(&value.name, q)?,
            None => {
                let (lo, hi) = data
                    .iter()
                    .fold((0f32, 0f32), |(lo, hi), &x| (lo.min(x), hi.max(x)));
                Quant::from_range(lo, hi)
            }
        };
        let codes = data.iter().map(|&x| q.code(f64::from(x))).collect();
        let t = self.tensor(
            &value.name,
            dims4(&value.shape)?,
            q,
            Place::Const(codes),
            None,
        );
        self.tensors.insert(v, t);
        Ok(t)
    }

    fn quant(&self, t: usize) -> Quant {
        self.out.tensors[t].quant
    }

    fn op(&self, step: &Step, kind: OpKind, in0: usize, out: usize) -> LOp {
        let (lo, hi) = bounds(self.quant(out), step.clamp.0, step.clamp.1);
        let (first, last) = self.params.range(step.output);
        LOp {
            name: step.name.clone(),
            op: step.op,
            kind,
            flags: 0,
            shift: 0,
            in0,
            in1: None,
            out,
            lo: lo.clamp(first, last),
            hi: hi.clamp(first, last),
            weights: Codes::default(),
            quant: Vec::new(),
            lut: Vec::new(),
            p: [0; 16],
            macs: step.macs,
        }
    }

    fn step(&mut self, step: &Step) -> Result<(), Error> {
        let x = self.operand(step.inputs[0])?;
        if step.kind.moves() {
            return self.moving(step, x);
        }
        if let Kind::Concat { axis } = step.kind {
            return self.concat(step, axis);
        }
        let y = self.activation(step.output)?;
        let (qx, qy) = (self.quant(x), self.quant(y));
        let mut op = self.op(step, OpKind::Lut, x, y);
        match &step.kind {
            Kind::Conv {
                window,
                groups,
                weights,
                bias,
            } => self.conv(&mut op, window, *groups, (*weights, *bias))?,
            Kind::Dense { weights, bias } => {
                op.kind = OpKind::Dense;
                let lin = self.linear(&step.name, (*weights, *bias), qx, qy)?;
                fill(&mut op, lin);
            }
            Kind::Affine { gain, offset } => {
                let gain = gain.iter().map(|&g| vec![g]).collect();
                let weights = Weights::new(gain, WeightFormat::default());
                fill(&mut op, linear(&weights, offset, qx, qy)?);
                op.kind = OpKind::Depthwise;
                op.p = u16s([1, 1, 1, 1, 1, 1, 0, 0])?;
            }
            Kind::AvgPool { window, count_pad } => {
                let taps = window.kernel[0] * window.kernel[1];
                let whole = *count_pad || window.pads == [0; 4];
                let counts: Vec<usize> = if whole {
                    vec![taps]
                } else {
                    (1..=taps).collect()
                };
                op.kind = OpKind::AvgPool;
                (op.quant, op.shift) = simple::average(qx, qy, &counts)?;
                op.p = window16(window, None)?;
            }
            Kind::Add { subtract } => {
                self.check_broadcast(step)?;
                let x2 = self.operand(step.inputs[1])?;
                let sign = if *subtract { -1.0 } else { 1.0 };
                let p = simple::add(qx, self.quant(x2), sign, qy)?;
                op.kind = OpKind::Add;
                op.in1 = Some(x2);
                op.quant = vec![(p.c, 0)];
                op.p[..3].copy_from_slice(&[p.a as u16, p.b as u16, u16::from(p.s)]);
            }
            Kind::Mul => {
                self.check_broadcast(step)?;
                let x2 = self.operand(step.inputs[1])?;
                let (m, l) = simple::mul(qx, self.quant(x2), qy)?;
                op.kind = OpKind::Mul;
                op.in1 = Some(x2);
                op.quant = vec![(0, m)];
                op.shift = l;
            }
            Kind::Lut(f) => {
                (op.lo, op.hi) = (0, 0);
                let (first, last) = self.params.range(step.output);
                let code = |byte: u8| (byte as i8).clamp(first, last) as u8;
                op.lut = f.table(qx, qy).into_iter().map(code).collect();
            }
            Kind::PRelu { slopes } => {
                op.kind = OpKind::PRelu;
                (op.quant, op.shift) = simple::prelu(qx, qy, slopes)?;
            }
            Kind::Softmax { axis } => {
                let shape = self.shape(step.inputs[0]);
                let (axis, n) = (axis4(*axis, shape)?, shape[*axis]);
                op.kind = OpKind::Softmax;
                let (table, inv) = simple::softmax(qx, qy, n);
                op.lut = table;
                op.p[..2].copy_from_slice(&[axis as u16, inv]);
            }
            Kind::ArgMax { axis, select_last } => {
                let axis = axis4(*axis, self.shape(step.inputs[0]))?;
                let mut dims = self.out.tensors[x].dims;
                dims[axis] = 1;
                let indices = &mut self.out.tensors[y];
                (indices.dims, indices.width) = (dims, 4);
                op.kind = OpKind::ArgMax;
                op.flags = if *select_last { FLAG_SELECT_LAST } else { 0 };
                (op.lo, op.hi) = (0, 0);
                op.p[0] = axis as u16;
            }
            _ => unreachable!("steps that move codes are emitted elsewhere"),
        }
        self.out.ops.push(op);
        Ok(())
    }

    /// Axes of more than four cannot be matched once they are merged.
    fn check_broadcast(&self, step: &Step) -> Result<(), Error> {
        let out = self.shape(step.output);
        if out.len() > 4 && step.inputs.iter().any(|&v| self.shape(v) != out) {
            let text = format!("broadcasts to rank {}, at most 4 is supported", out.len());
            return Err(Error::input(text));
        }
        Ok(())
    }

    fn linear(
        &self,
        layer: &str,
        (weights, bias): (ValueId, Option<ValueId>),
        x: Quant,
        y: Quant,
    ) -> Result<Linear, Error> {
        let format = self.formats.of(layer);
        let w = match self.given.weights.get(layer) {
            Some(given) => Weights::given(self.graph.value(weights), given)?,
            None => Weights::of_value(self.graph.value(weights), format)?,
        };
        let data = bias.and_then(|b| self.graph.value(b).constant.as_ref());
        let bias: Vec<f64> =
            data.map_or_else(Vec::new, |b| b.iter().map(|&v| f64::from(v)).collect());
        linear(&w, &bias, x, y)
    }

    fn conv(
        &self,
        op: &mut LOp,
        window: &Window,
        groups: usize,
        params: (ValueId, Option<ValueId>),
    ) -> Result<(), Error> {
        let (x, y) = (self.quant(op.in0), self.quant(op.out));
        let lin = self.linear(&op.name, params, x, y)?;
        fill(op, lin);
        let c = self.out.tensors[op.in0].dims[3] as usize;
        op.kind = if groups == c && c > 1 {
            OpKind::Depthwise
        } else {
            OpKind::Conv
        };
        op.p = window16(window, Some(groups).filter(|_| op.kind == OpKind::Conv))?;
        if op.kind == OpKind::Depthwise {
            let (m, taps) = (op.quant.len(), window.kernel[0] * window.kernel[1]);
            let by_tap = |codes: &[i8]| {
                let places = (0..taps).flat_map(|t| (0..m).map(move |o| o * taps + t));
                places.filter_map(|i| codes.get(i).copied()).collect()
            };
            op.weights.codes = by_tap(&op.weights.codes);
            op.weights.master = by_tap(&op.weights.master);
        }
        Ok(())
    }
}

fn fill(op: &mut LOp, lin: Linear) {
    (op.weights, op.quant, op.shift) = (lin.codes, lin.quant, lin.shift);
}
