//! Elementwise functions of one value.

use crate::import::Res;
use crate::import::call::Call;
use crate::ir::{Op, Unary};

fn unary(c: &mut Call, f: Unary) -> Res<()> {
    let x = c.data(0)?;
    let y = c.emit(Op::Unary(f), &[x])?;
    c.finish(y)
}

macro_rules! plain {
    ($($name:ident $f:ident),*) => {
        $(pub fn $name(c: &mut Call) -> Res<()> {
            unary(c, Unary::$f)
        })*
    };
}
plain!(relu Relu, sigmoid Sigmoid, tanh Tanh, hard_swish HardSwish, softplus Softplus, exp Exp, abs Abs, sqrt Sqrt, erf Erf, neg Neg);

/// Bounds are attributes before operator set 11, inputs since.
pub fn clip(c: &mut Call) -> Res<()> {
    let lo = match c.scalar(1, "lower bound")? {
        Some(lo) => Some(lo),
        None => c.attrs.opt_float("min")?,
    };
    let hi = match c.scalar(2, "upper bound")? {
        Some(hi) => Some(hi),
        None => c.attrs.opt_float("max")?,
    };
    let (lo, hi) = (lo.unwrap_or(f32::NEG_INFINITY), hi.unwrap_or(f32::INFINITY));
    // The widest finite numbers are how exporters write a missing bound.
    let lo = if lo <= f32::MIN {
        f32::NEG_INFINITY
    } else {
        lo
    };
    let hi = if hi >= f32::MAX { f32::INFINITY } else { hi };
    if lo > hi {
        return Err(format!("lower bound {lo} is above upper bound {hi}"));
    }
    match (lo, hi) {
        (0.0, f32::INFINITY) => unary(c, Unary::Relu),
        _ => unary(c, Unary::Clip(lo, hi)),
    }
}

pub fn leaky_relu(c: &mut Call) -> Res<()> {
    let alpha = c.attrs.float("alpha", 0.01)?;
    unary(c, Unary::LeakyRelu(alpha))
}

pub fn elu(c: &mut Call) -> Res<()> {
    let alpha = c.attrs.float("alpha", 1.0)?;
    unary(c, Unary::Elu(alpha))
}

pub fn hard_sigmoid(c: &mut Call) -> Res<()> {
    let alpha = c.attrs.float("alpha", 0.2)?;
    let beta = c.attrs.float("beta", 0.5)?;
    unary(c, Unary::HardSigmoid { alpha, beta })
}

/// The slope ends up along the last axis: the axis it belongs to is moved there and back.
pub fn prelu(c: &mut Call) -> Res<()> {
    let x = c.data(0)?;
    let shape = c.shape(x);
    let (slope, quant) = c.floats(1, "slope")?;
    let rank = shape.len();
    let long: Vec<usize> = (0..slope.ndim())
        .filter(|&a| slope.shape()[a] != 1)
        .collect();
    let flat = super::elementwise::reshaped(slope.clone(), &[slope.len()])?;
    let y = match long.as_slice() {
        _ if slope.ndim() > rank => {
            return Err(format!(
                "slope of shape {:?} on an input of shape {shape:?}",
                slope.shape()
            ));
        }
        [] => {
            let s = c.add_const(1, flat, quant.filter(|q| q.axis.is_none()))?;
            c.emit(Op::PRelu, &[x, s])?
        }
        [axis] => {
            let axis = axis + rank - slope.ndim();
            let mut perm: Vec<usize> = (0..rank).filter(|&a| a != axis).collect();
            perm.push(axis);
            let mut back: Vec<usize> = (0..rank - 1).collect();
            back.insert(axis, rank - 1);
            let t = c.transpose(x, perm)?;
            let s = c.add_const(1, flat, quant.filter(|q| q.axis.is_none()))?;
            let y = c.emit(Op::PRelu, &[t, s])?;
            c.transpose(y, back)?
        }
        _ => {
            return Err(format!(
                "slope of shape {:?} is neither one number nor one per channel",
                slope.shape()
            ));
        }
    };
    c.finish(y)
}
