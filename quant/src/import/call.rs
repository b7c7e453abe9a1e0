//! One node of the file, as the operator functions see it.

use super::Res;
use super::attrs::Attrs;
use super::build::{Builder, Item};
use super::consts::Constant;
use crate::ir::{FileQuant, Op, ValueId};
use ndarray::{ArrayD, IxDyn};
use tract_onnx::pb::NodeProto;

/// A node, its attributes, and the graph under construction.
pub struct Call<'a> {
    pub net: &'a mut Builder,
    pub node: &'a NodeProto,
    pub attrs: Attrs<'a>,
    pub name: String,
    /// Input 0 where it is codes and the operator may move codes.
    pub codes: Option<ValueId>,
}

impl<'a> Call<'a> {
    pub fn new(net: &'a mut Builder, node: &'a NodeProto, name: String) -> Self {
        Call {
            net,
            node,
            attrs: Attrs::new(node),
            name,
            codes: None,
        }
    }

    pub fn opset(&self) -> i64 {
        self.net.opset
    }

    /// Whether input `i` is given.
    pub fn has(&self, i: usize) -> bool {
        self.node.input.get(i).is_some_and(|n| !n.is_empty())
    }

    /// Name of input `i` in the file.
    pub fn input_name(&self, i: usize) -> &'a str {
        self.node.input.get(i).map_or("", |n| n.as_str())
    }

    fn item(&self, i: usize) -> Res<&Item> {
        match self.has(i) {
            true => self.net.item(self.input_name(i)),
            false => Err(format!("input {i} is missing")),
        }
    }

    /// Input `i` as a value; constants become constant values.
    pub fn data(&mut self, i: usize) -> Res<ValueId> {
        match self.item(i)?.clone() {
            Item::Data(id) => Ok(id),
            Item::Const(constant) => {
                let name = self.input_name(i);
                self.net.constant(name, constant.floats()?, constant.quant)
            }
            Item::Codes(id, _) if self.codes == Some(id) => Ok(id),
            Item::Codes(..) => Err(format!(
                "reads the 8-bit codes `{}` directly; expected is DequantizeLinear before every operator (QDQ form)",
                self.input_name(i)
            )),
        }
    }

    /// Input `i` where it is a constant.
    pub fn constant(&self, i: usize) -> Res<Option<Constant>> {
        Ok(match self.item(i)? {
            Item::Const(constant) => Some(constant.clone()),
            _ => None,
        })
    }

    /// Input `i`, which has to be a constant.
    pub fn fixed(&self, i: usize, what: &str) -> Res<Constant> {
        self.constant(i)?.ok_or_else(|| {
            format!(
                "{what} `{}` is computed at run time; it has to be a constant",
                self.input_name(i)
            )
        })
    }

    /// Constant input `i` as integers.
    pub fn ints(&self, i: usize, what: &str) -> Res<Vec<i64>> {
        self.fixed(i, what)?
            .ints()
            .map_err(|e| format!("{what} `{}`: {e}", self.input_name(i)))
    }

    /// Constant input `i` as floats, all finite.
    pub fn floats(&self, i: usize, what: &str) -> Res<(ArrayD<f32>, Option<FileQuant>)> {
        let constant = self.fixed(i, what)?;
        let array = constant.floats()?;
        match array.iter().find(|v| !v.is_finite()) {
            Some(bad) => Err(format!("tensor `{}` holds {bad}", self.input_name(i))),
            None => Ok((array, constant.quant)),
        }
    }

    /// Constant input `i` with one element, which may be infinite; `None` where it is not given.
    pub fn scalar(&self, i: usize, what: &str) -> Res<Option<f32>> {
        if !self.has(i) {
            return Ok(None);
        }
        let array = self.fixed(i, what)?.floats()?;
        match (array.len(), array.first()) {
            (1, Some(v)) if !v.is_nan() => Ok(Some(*v)),
            _ => Err(format!("{what} `{}` is not one number", self.input_name(i))),
        }
    }

    /// Shape of input `i`, be it computed or constant.
    pub fn any_shape(&self, i: usize) -> Res<Vec<usize>> {
        Ok(match self.item(i)? {
            Item::Data(id) | Item::Codes(id, _) => self.shape(*id),
            Item::Const(constant) => constant.shape().to_vec(),
        })
    }

    pub fn shape(&self, id: ValueId) -> Vec<usize> {
        self.net.graph.value(id).shape.clone()
    }

    /// A constant made here, for example a permuted weight.
    pub fn add_const(
        &mut self,
        i: usize,
        array: ArrayD<f32>,
        quant: Option<FileQuant>,
    ) -> Res<ValueId> {
        let name = match self.has(i) {
            true => self.input_name(i).to_string(),
            false => format!("{}/constant", self.name),
        };
        self.net.constant(&name, array, quant)
    }

    /// A constant of `rank` axes with one element.
    pub fn splat(&mut self, value: f32, rank: usize) -> Res<ValueId> {
        let name = format!("{}/constant", self.name);
        self.net
            .constant(&name, ArrayD::from_elem(IxDyn(&vec![1; rank]), value), None)
    }

    /// Append an operator; layout changes get a name of their own.
    pub fn emit(&mut self, op: Op, inputs: &[ValueId]) -> Res<ValueId> {
        let name = match op {
            Op::Transpose { .. } if self.node.op_type != "Transpose" => {
                format!("{}/transpose", self.name)
            }
            Op::Pad { .. } if self.node.op_type != "Pad" => format!("{}/pad", self.name),
            _ => self.name.clone(),
        };
        self.net.emit(&name, op, inputs, None)
    }

    /// Append an operator whose output shape is a parameter.
    pub fn emit_as(&mut self, op: Op, x: ValueId, shape: Vec<usize>) -> Res<ValueId> {
        self.net.emit(&self.name.clone(), op, &[x], Some(shape))
    }

    /// `x` under another shape; `x` itself where the shape is the same.
    pub fn reshape(&mut self, x: ValueId, shape: Vec<usize>) -> Res<ValueId> {
        if self.net.graph.value(x).shape == shape {
            return Ok(x);
        }
        let name = match self.node.op_type.as_str() {
            "Reshape" | "Flatten" | "Squeeze" | "Unsqueeze" => self.name.clone(),
            _ => format!("{}/reshape", self.name),
        };
        self.net.emit(&name, Op::Reshape, &[x], Some(shape))
    }

    /// `x` with its axes permuted; `x` itself where the permutation is the identity.
    pub fn transpose(&mut self, x: ValueId, perm: Vec<usize>) -> Res<ValueId> {
        match perm.iter().enumerate().all(|(i, &p)| i == p) {
            true => Ok(x),
            false => self.emit(Op::Transpose { perm }, &[x]),
        }
    }

    /// Output `i` of the node is `id`.
    pub fn bind(&mut self, i: usize, id: ValueId) -> Res<()> {
        match self.node.output.get(i).filter(|n| !n.is_empty()) {
            Some(name) => self.net.define(name, Item::Data(id)),
            None => Ok(()),
        }
    }

    /// Output 0 is `id`, and nothing reads another output.
    pub fn finish(&mut self, id: ValueId) -> Res<()> {
        for (i, name) in self.node.output.iter().enumerate().skip(1) {
            if self.net.is_read(name) && !name.is_empty() {
                return Err(format!(
                    "output {i} (`{name}`) is used; only the first output is supported"
                ));
            }
        }
        self.bind(0, id)
    }

    /// Output 0 is a constant.
    pub fn finish_const(&mut self, constant: Constant) -> Res<()> {
        match self.node.output.first() {
            Some(name) => self.net.define(name, Item::Const(constant)),
            None => Ok(()),
        }
    }
}

/// Axis `axis` of `rank` axes, negative ones counted from the back.
pub fn axis(axis: i64, rank: usize) -> Res<usize> {
    let index = if axis < 0 { axis + rank as i64 } else { axis };
    usize::try_from(index)
        .ok()
        .filter(|&a| a < rank)
        .ok_or_else(|| format!("axis {axis} of a tensor of rank {rank}"))
}

/// Several axes, no one twice, ascending.
pub fn axes(list: &[i64], rank: usize) -> Res<Vec<usize>> {
    let mut out = list
        .iter()
        .map(|&a| axis(a, rank))
        .collect::<Res<Vec<_>>>()?;
    out.sort_unstable();
    match out.windows(2).any(|w| w[0] == w[1]) {
        true => Err(format!("axes {list:?} repeat")),
        false => Ok(out),
    }
}
