//! Gemm and MatMul.

use super::conv::moved_axis;
use crate::import::Res;
use crate::import::call::Call;
use crate::ir::{FileQuant, Op, ValueId};
use ndarray::{ArrayD, IxDyn};

/// `alpha * A * B + beta * C`, with a constant B.
pub fn gemm(c: &mut Call) -> Res<()> {
    let alpha = c.attrs.float("alpha", 1.0)?;
    let beta = c.attrs.float("beta", 1.0)?;
    let (trans_a, trans_b) = (
        c.attrs.flag("transA", false)?,
        c.attrs.flag("transB", false)?,
    );
    c.attrs.ignore(&["broadcast"]);
    if c.constant(0)?.is_some() {
        return Err("the left side is a constant; only a constant right side is supported".into());
    }
    let mut x = c.data(0)?;
    if c.shape(x).len() != 2 {
        return Err(format!("input of shape {:?} is not a matrix", c.shape(x)));
    }
    if trans_a {
        x = c.transpose(x, vec![1, 0])?;
    }
    let (b, mut quant) = c.floats(1, "right side")?;
    if b.ndim() != 2 {
        return Err(format!(
            "right side of shape {:?} is not a matrix",
            b.shape()
        ));
    }
    let (mut weights, swap) = match trans_b {
        true => (b, false),
        false => (b.reversed_axes(), true),
    };
    if swap {
        quant = moved_axis(quant, |axis| 1 - axis);
    }
    scale(&mut weights, &mut quant, alpha)?;
    let m = weights.shape()[0];
    let w = c.add_const(1, weights, quant)?;
    let rows = c.shape(x)[0];
    let mut inputs = vec![x, w];
    let mut added: Option<ValueId> = None;
    if c.has(2) && c.constant(2)?.is_some() {
        let (mut bias, mut quant) = c.floats(2, "addend")?;
        let shape = bias.shape().to_vec();
        scale(&mut bias, &mut quant, beta)?;
        let per_output = match *shape.as_slice() {
            [] | [1] | [1, 1] => Some(ArrayD::from_elem(
                IxDyn(&[m]),
                bias.first().copied().unwrap_or(0.0),
            )),
            [n] | [1, n] if n == m => Some(
                bias.clone()
                    .into_shape_with_order(IxDyn(&[m]))
                    .map_err(|e| e.to_string())?,
            ),
            _ => None,
        };
        match per_output {
            Some(bias) => {
                let quant = moved_axis(quant, |_| 0);
                inputs.push(c.add_const(2, bias, quant)?);
            }
            None if shape.len() <= 2 => added = Some(c.add_const(2, bias, quant)?),
            None => {
                return Err(format!(
                    "addend of shape {shape:?} on an output of [{rows}, {m}]"
                ));
            }
        }
    } else if c.has(2) {
        let mut addend = c.data(2)?;
        if beta != 1.0 {
            let factor = c.splat(beta, c.shape(addend).len())?;
            addend = c.emit(Op::Mul, &[addend, factor])?;
        }
        added = Some(addend);
    }
    let mut y = c.emit(Op::Dense, &inputs)?;
    if let Some(addend) = added {
        let addend = super::elementwise::of_rank(c, addend, 2)?;
        y = c.emit(Op::Add, &[y, addend])?;
        if c.shape(y) != [rows, m] {
            return Err("addend does not broadcast to the output".into());
        }
    }
    c.finish(y)
}

/// Multiply a constant and its scales; codes stay as they are where the factor is positive.
fn scale(array: &mut ArrayD<f32>, quant: &mut Option<FileQuant>, factor: f32) -> Res<()> {
    if factor == 1.0 {
        return Ok(());
    }
    if !factor.is_finite() {
        return Err(format!("factor {factor}"));
    }
    array.mapv_inplace(|v| v * factor);
    match quant {
        Some(q) if factor > 0.0 => q.scale.iter_mut().for_each(|s| *s *= factor),
        _ => *quant = None,
    }
    Ok(())
}

/// `x * B` over the last axis of x.
pub fn mat_mul(c: &mut Call) -> Res<()> {
    if c.constant(0)?.is_some() {
        return Err("the left side is a constant; only a constant right side is supported".into());
    }
    if c.constant(1)?.is_none() {
        return Err(
            "both sides are computed at run time; the right side has to be a constant".into(),
        );
    }
    let x = c.data(0)?;
    let (b, quant) = c.floats(1, "right side")?;
    let (x_shape, b_shape) = (c.shape(x), b.shape().to_vec());
    if x_shape.is_empty() || b_shape.is_empty() {
        return Err("a scalar cannot be multiplied".into());
    }
    let vector = b_shape.len() == 1;
    let lead = b_shape.len().saturating_sub(2);
    if b_shape[..lead].iter().any(|&d| d != 1) {
        return Err(format!(
            "right side of shape {b_shape:?} is a batch of matrices; one matrix is supported"
        ));
    }
    let (k, m) = match vector {
        true => (b_shape[0], 1),
        false => (b_shape[lead], b_shape[lead + 1]),
    };
    let weights = b
        .into_shape_with_order(IxDyn(&[k, m]))
        .map_err(|e| e.to_string())?
        .reversed_axes();
    let quant = moved_axis(quant, |axis| {
        if vector {
            1
        } else {
            1 - (axis.max(lead) - lead).min(1)
        }
    });
    let w = c.add_const(1, weights, quant)?;
    let rows = match x_shape.len() {
        1 => c.reshape(x, vec![1, x_shape[0]])?,
        _ => x,
    };
    let y = c.emit(Op::Dense, &[rows, w])?;
    let mut shape = x_shape[..x_shape.len() - 1].to_vec();
    if !vector {
        shape.push(m);
    }
    let missing = (lead + 2).saturating_sub(x_shape.len().max(2)) * usize::from(!vector);
    let shape = [vec![1; missing], shape].concat();
    let y = c.reshape(y, shape)?;
    c.finish(y)
}
