//! Quantization that the file carries: QuantizeLinear and DequantizeLinear (QDQ form).
//!
//! A pair on an activation becomes `Value::quant`; DequantizeLinear of constant codes becomes a float constant
//! with `quant` set, from which `round(w / scale) + zero` gives the codes back. Unsigned codes are moved by -128.

use super::Res;
use super::attrs::Attrs;
use super::build::Item;
use super::call::{Call, axis};
use super::consts::{Constant, text};
use crate::ir::{FileQuant, Graph, Node, Op, Value, ValueId};
use ndarray::{ArrayD, IxDyn};
use tract_onnx::pb::NodeProto;
use tract_onnx::prelude::*;

/// Scale, zero point (codes of `i8`, unsigned ones moved) and axis of a node; `kind` is the type of the codes.
fn params(
    attrs: &Attrs,
    scale: &Constant,
    zero: Option<&Constant>,
    rank: usize,
) -> Res<(FileQuant, DatumType)> {
    let axis_attr = attrs.int("axis", 1)?;
    attrs.ignore(&["saturate", "precision"]);
    if attrs.int("block_size", 0)? != 0 {
        return Err(
            "blocked quantization is not supported; accepted are per-tensor and per-axis scales"
                .into(),
        );
    }
    let declared = match attrs.int("output_dtype", 0)? {
        0 => None,
        2 => Some(DatumType::U8),
        3 => Some(DatumType::I8),
        other => {
            return Err(format!(
                "codes of type {other} are not supported; accepted are int8 and uint8"
            ));
        }
    };
    let scale: Vec<f32> = scale.floats()?.iter().copied().collect();
    if let Some(bad) = scale.iter().find(|s| !(s.is_normal() && **s > 0.0)) {
        return Err(format!("scale {bad} is not a positive number"));
    }
    let kind = zero
        .map(|z| z.tensor.datum_type())
        .or(declared)
        .unwrap_or(DatumType::U8);
    let zero = match zero {
        Some(z) => z.ints()?.iter().map(|&z| z as i32).collect(),
        None => vec![0; scale.len()],
    };
    if zero.len() != scale.len() || scale.is_empty() {
        return Err(format!(
            "{} scales and {} zero points",
            scale.len(),
            zero.len()
        ));
    }
    let axis = match scale.len() {
        1 => None,
        _ => Some(axis(axis_attr, rank)?),
    };
    Ok((FileQuant { scale, zero, axis }, kind))
}

/// Move unsigned codes into the `i8` code space.
fn signed(mut quant: FileQuant, kind: DatumType) -> Res<FileQuant> {
    match kind {
        DatumType::I8 => {}
        DatumType::U8 => quant.zero.iter_mut().for_each(|z| *z -= 128),
        other => {
            return Err(format!(
                "codes of type {other:?} are not supported; accepted are int8 and uint8 (and int32 for biases)"
            ));
        }
    }
    Ok(quant)
}

/// QuantizeLinear of an activation.
pub fn quantize(c: &mut Call) -> Res<()> {
    let x = c.data(0)?;
    let scale = c.fixed(1, "scale")?;
    let zero = if c.has(2) {
        Some(c.fixed(2, "zero point")?)
    } else {
        None
    };
    let (quant, kind) = params(&c.attrs, &scale, zero.as_ref(), c.shape(x).len())?;
    if quant.axis.is_some() {
        return Err(
            "per-axis scales on an activation are not supported; quantize activations per tensor"
                .into(),
        );
    }
    let quant = signed(quant, kind)?;
    let id = set_quant(&mut c.net.graph, x, &quant);
    match c.node.output.first() {
        Some(name) => c.net.define(name, Item::Codes(id, quant)),
        None => Ok(()),
    }
}

/// DequantizeLinear of an activation.
pub fn dequantize(c: &mut Call) -> Res<()> {
    let Item::Codes(id, quant) = c.net.item(c.input_name(0))?.clone() else {
        return Err("its input is not the output of QuantizeLinear, nor a constant".into());
    };
    let scale = c.fixed(1, "scale")?;
    let zero = if c.has(2) {
        Some(c.fixed(2, "zero point")?)
    } else {
        None
    };
    let (own, kind) = params(&c.attrs, &scale, zero.as_ref(), c.shape(id).len())?;
    if signed(own, kind)? != quant {
        return Err(
            "scale or zero point differ from those of the QuantizeLinear that made the codes"
                .into(),
        );
    }
    c.finish(id)
}

/// Say that `id` is quantized like `quant`; returns the value that is, a copy where `id` already has another.
pub fn set_quant(graph: &mut Graph, id: ValueId, quant: &FileQuant) -> ValueId {
    match &graph.value(id).quant {
        Some(old) if old == quant => id,
        Some(_) => {
            let Value { name, shape, .. } = graph.value(id).clone();
            let name = format!("{name}/requantize");
            let copy = Value {
                name: name.clone(),
                shape,
                constant: None,
                quant: Some(quant.clone()),
            };
            let output = graph.add_value(copy);
            graph.nodes.push(Node {
                name,
                op: Op::Reshape,
                inputs: vec![id],
                output,
            });
            output
        }
        None => {
            graph.values[id.0].quant = Some(quant.clone());
            spread(graph, id, quant);
            id
        }
    }
}

/// The source of a pure layout change has the quantization of its output.
fn spread(graph: &mut Graph, id: ValueId, quant: &FileQuant) {
    let mut at = id;
    while let Some(node) = graph.nodes.iter().rev().find(|n| n.output == at) {
        let source = node.inputs[0];
        let layout = matches!(node.op, Op::Transpose { .. } | Op::Reshape);
        if !layout || graph.value(source).quant.is_some() || graph.value(source).constant.is_some()
        {
            return;
        }
        graph.values[source.0].quant = Some(quant.clone());
        at = source;
    }
}

/// QuantizeLinear or DequantizeLinear of a constant; `None` for other operators.
pub fn constant(node: &NodeProto, inputs: &[Constant]) -> Res<Option<Constant>> {
    let quantizes = match node.op_type.as_str() {
        "QuantizeLinear" => true,
        "DequantizeLinear" => false,
        _ => return Ok(None),
    };
    let [x, scale, zero @ ..] = inputs else {
        return Err("input or scale is missing".into());
    };
    let attrs = Attrs::new(node);
    let (quant, declared) = params(&attrs, scale, zero.first(), x.shape().len())?;
    attrs.all_read()?;
    let kind = if quantizes {
        declared
    } else {
        x.tensor.datum_type()
    };
    let step = |i: usize| -> usize {
        let inner = |axis: usize| x.shape()[axis + 1..].iter().product::<usize>().max(1);
        quant
            .axis
            .map_or(0, |axis| i / inner(axis) % x.shape()[axis].max(1))
    };
    if quant
        .axis
        .is_some_and(|a| x.shape()[a] != quant.scale.len())
    {
        return Err(format!(
            "{} scales for a tensor of shape {:?}",
            quant.scale.len(),
            x.shape()
        ));
    }
    if quantizes {
        let (lo, hi) = match kind {
            DatumType::I8 => (-128.0, 127.0),
            DatumType::U8 => (0.0, 255.0),
            other => {
                return Err(format!(
                    "codes of type {other:?} are not supported; accepted are int8 and uint8"
                ));
            }
        };
        let floats = x.floats()?;
        let codes = floats.iter().enumerate().map(|(i, &v)| {
            let (scale, zero) = (quant.scale[step(i)], quant.zero[step(i)] as f32);
            ((v / scale).round_ties_even() + zero).clamp(lo, hi) as i32
        });
        let codes =
            ArrayD::from_shape_vec(IxDyn(x.shape()), codes.collect()).map_err(|e| e.to_string())?;
        let tensor: Tensor = codes.into();
        let tensor = tensor.cast_to_dt(kind).map_err(text)?.into_owned();
        return Ok(Some(Constant::new(tensor)));
    }
    let codes = x.ints()?;
    let floats = codes.iter().enumerate().map(|(i, &code)| {
        let (scale, zero) = (
            f64::from(quant.scale[step(i)]),
            i64::from(quant.zero[step(i)]),
        );
        ((code - zero) as f64 * scale) as f32
    });
    let floats =
        ArrayD::from_shape_vec(IxDyn(x.shape()), floats.collect()).map_err(|e| e.to_string())?;
    let quant = match kind {
        DatumType::I32 if quant.zero.iter().all(|&z| z == 0) => quant,
        DatumType::I32 => return Err("int32 codes with a zero point are not supported".into()),
        kind => signed(quant, kind)?,
    };
    Ok(Some(Constant {
        tensor: Tensor::from(floats).into_arc_tensor(),
        quant: Some(quant),
    }))
}

/// Keep the quantization of a constant through operators that only move it.
pub fn carry(node: &NodeProto, inputs: &[Constant], outputs: &mut [Constant]) {
    let moves = [
        "Transpose",
        "Reshape",
        "Flatten",
        "Squeeze",
        "Unsqueeze",
        "Identity",
        "Slice",
        "Split",
    ];
    let (Some(quant), true) = (
        inputs.first().and_then(|c| c.quant.clone()),
        moves.contains(&node.op_type.as_str()),
    ) else {
        return;
    };
    let axis = match (quant.axis, node.op_type.as_str()) {
        (None, _) => Some(None),
        (Some(axis), "Identity") => Some(Some(axis)),
        (Some(axis), "Transpose") => {
            let rank = inputs[0].shape().len();
            let perm = node
                .attribute
                .iter()
                .find(|a| a.name == "perm")
                .map(|a| a.ints.clone());
            let perm = perm.unwrap_or_else(|| (0..rank as i64).rev().collect());
            perm.iter().position(|&p| p == axis as i64).map(Some)
        }
        _ => None,
    };
    if let Some(axis) = axis {
        for output in outputs {
            output.quant = Some(FileQuant {
                axis,
                ..quant.clone()
            });
        }
    }
}
