//! Elementwise operators of two values. Operands are brought to the same rank, constants stand on the right.

use crate::import::Res;
use crate::import::call::Call;
use crate::ir::{Op, Unary, ValueId};
use ndarray::{ArrayD, IxDyn};

/// `array` under another shape.
pub fn reshaped(array: ArrayD<f32>, shape: &[usize]) -> Res<ArrayD<f32>> {
    let array = array.as_standard_layout().into_owned();
    array
        .into_shape_with_order(IxDyn(shape))
        .map_err(|e| e.to_string())
}

/// `id` with ones in front up to `rank` axes.
pub fn of_rank(c: &mut Call, id: ValueId, rank: usize) -> Res<ValueId> {
    let shape = c.shape(id);
    if shape.len() >= rank {
        return Ok(id);
    }
    let wide = [vec![1; rank - shape.len()], shape].concat();
    let value = c.net.graph.value(id).clone();
    match value.constant {
        Some(array) => {
            let quant = value.quant.map(|mut q| {
                q.axis = q.axis.map(|a| a + wide.len() - array.ndim());
                q
            });
            c.net
                .constant(&value.name, reshaped((*array).clone(), &wide)?, quant)
        }
        None => c.reshape(id, wide),
    }
}

/// Both operands with the same rank.
fn aligned(c: &mut Call, a: ValueId, b: ValueId) -> Res<(ValueId, ValueId)> {
    let rank = c.shape(a).len().max(c.shape(b).len());
    Ok((of_rank(c, a, rank)?, of_rank(c, b, rank)?))
}

fn commutative(c: &mut Call, op: Op, a: ValueId, b: ValueId) -> Res<ValueId> {
    let (a, b) = aligned(c, a, b)?;
    match c.net.graph.value(a).constant.is_some() {
        true => c.emit(op, &[b, a]),
        false => c.emit(op, &[a, b]),
    }
}

fn operands(c: &mut Call) -> Res<(ValueId, ValueId)> {
    // Operator set 6 and older align by an attribute; 7 and newer broadcast.
    Ok((c.data(0)?, c.data(1)?))
}

pub fn add(c: &mut Call) -> Res<()> {
    let (a, b) = operands(c)?;
    let y = commutative(c, Op::Add, a, b)?;
    c.finish(y)
}

pub fn mul(c: &mut Call) -> Res<()> {
    let (a, b) = operands(c)?;
    let y = commutative(c, Op::Mul, a, b)?;
    c.finish(y)
}

/// A difference with a constant is a sum.
pub fn sub(c: &mut Call) -> Res<()> {
    let (a, b) = operands(c)?;
    let y = if c.constant(1)?.is_some() {
        let (array, _) = c.floats(1, "subtrahend")?;
        let b = c.add_const(1, array.mapv(|v| -v), None)?;
        commutative(c, Op::Add, a, b)?
    } else if c.constant(0)?.is_some() {
        let minus = c.splat(-1.0, c.shape(b).len())?;
        let b = c.emit(Op::Mul, &[b, minus])?;
        commutative(c, Op::Add, b, a)?
    } else {
        let (a, b) = aligned(c, a, b)?;
        c.emit(Op::Sub, &[a, b])?
    };
    c.finish(y)
}

pub fn div(c: &mut Call) -> Res<()> {
    let a = c.data(0)?;
    if c.constant(1)?.is_none() {
        return Err("the divisor is computed at run time; it has to be a constant".into());
    }
    let (array, _) = c.floats(1, "divisor")?;
    if array.iter().any(|&v| !v.recip().is_finite()) {
        return Err(format!("divisor `{}` holds 0", c.input_name(1)));
    }
    let b = c.add_const(1, array.mapv(f32::recip), None)?;
    let y = commutative(c, Op::Mul, a, b)?;
    c.finish(y)
}

pub fn sum(c: &mut Call) -> Res<()> {
    let mut y = c.data(0)?;
    for i in 1..c.node.input.len() {
        let b = c.data(i)?;
        y = commutative(c, Op::Add, y, b)?;
    }
    c.finish(y)
}

fn bounded(c: &mut Call, lower: bool) -> Res<()> {
    let name = if lower { "Max" } else { "Min" };
    let (x, bound) = match (c.node.input.len(), c.constant(0)?, c.node.input.len() > 1) {
        (1, None, _) => {
            let x = c.data(0)?;
            return c.finish(x);
        }
        (2, None, true) => (0, 1),
        (2, Some(_), true) => (1, 0),
        _ => {
            return Err(format!(
                "{name} is supported of one value and one constant number"
            ));
        }
    };
    let bound = c.scalar(bound, "bound")?.unwrap_or(0.0);
    let x = c.data(x)?;
    let clip = match lower {
        true => Unary::Clip(bound, f32::INFINITY),
        false => Unary::Clip(f32::NEG_INFINITY, bound),
    };
    let y = c.emit(Op::Unary(clip), &[x])?;
    c.finish(y)
}

pub fn max(c: &mut Call) -> Res<()> {
    bounded(c, true)
}

pub fn min(c: &mut Call) -> Res<()> {
    bounded(c, false)
}
