//! Elementwise functions, softmax and argmax.

use crate::ir::Unary;
use crate::train::var::{Var, with_rank};
use burn::tensor::{Tensor, activation};

/// Functions of two values.
#[derive(Clone, Copy)]
pub enum Binary {
    Add,
    Sub,
    Mul,
}

fn combine<const D: usize>(a: Tensor<D>, b: Tensor<D>, f: Binary) -> Tensor<D> {
    match f {
        Binary::Add => a + b,
        Binary::Sub => a - b,
        Binary::Mul => a * b,
    }
}

/// `f` under NumPy broadcasting; `shape` is the shape of the result for one sample.
pub fn binary(a: &Var, b: &Var, f: Binary, shape: &[usize]) -> Var {
    let lead = a.lead.max(b.lead);
    if a.lead == b.lead && a.shape == b.shape {
        return Var::new(combine(a.flat.clone(), b.flat.clone(), f), lead, shape);
    }
    let (left, right) = aligned(a, b, shape.len());
    with_rank!(left.len(), D => {
        let l: [usize; D] = left.as_slice().try_into().expect("rank");
        let r: [usize; D] = right.as_slice().try_into().expect("rank");
        Var::of(combine(a.flat.clone().reshape(l), b.flat.clone().reshape(r), f), lead, shape)
    })
}

/// Extents of both operands with the leading axis, under one rank. Neighbouring axes that broadcast alike are merged.
fn aligned(a: &Var, b: &Var, rank: usize) -> (Vec<usize>, Vec<usize>) {
    let full = |v: &Var| {
        let ones = vec![1; rank - v.shape.len()];
        [&[v.lead], ones.as_slice(), &v.shape].concat()
    };
    let (mut left, mut right): (Vec<usize>, Vec<usize>) = (vec![], vec![]);
    // 0: equal extents, 1: the right side repeats, 2: the left side repeats.
    let mut last = None;
    for (l, r) in full(a).into_iter().zip(full(b)) {
        let kind = if l == r { 0 } else { 1 + u8::from(l == 1) };
        if l == 1 && r == 1 && last.is_some() {
            continue;
        }
        if last == Some(kind) {
            *left.last_mut().expect("an axis") *= l;
            *right.last_mut().expect("an axis") *= r;
        } else {
            left.push(l);
            right.push(r);
            last = Some(kind);
        }
    }
    (left, right)
}

/// One elementwise function.
pub fn unary(x: Tensor<1>, f: Unary) -> Tensor<1> {
    match f {
        Unary::Relu => activation::relu(x),
        Unary::Clip(lo, hi) => {
            let low = if lo == f32::NEG_INFINITY {
                x
            } else {
                x.clamp_min(lo)
            };
            if hi == f32::INFINITY {
                low
            } else {
                low.clamp_max(hi)
            }
        }
        Unary::LeakyRelu(alpha) => {
            activation::relu(x.clone()) - activation::relu(x.neg()).mul_scalar(alpha)
        }
        Unary::Sigmoid => activation::sigmoid(x),
        Unary::Tanh => x.tanh(),
        Unary::HardSigmoid { alpha, beta } => gate(x, alpha, beta),
        Unary::HardSwish => x.clone() * gate(x, 1.0 / 6.0, 0.5),
        Unary::Elu(alpha) => {
            let below = activation::relu(x.clone().neg()).neg();
            activation::relu(x) + below.exp().sub_scalar(1.0).mul_scalar(alpha)
        }
        // ln(1 + e^x) without overflow.
        Unary::Softplus => activation::relu(x.clone()) + x.abs().neg().exp().log1p(),
        Unary::Exp => x.exp(),
        Unary::Abs => x.abs(),
        Unary::Sqrt => x.sqrt(),
        Unary::Erf => x.erf(),
        Unary::Neg => x.neg(),
    }
}

/// `clip(alpha x + beta, 0, 1)`.
fn gate(x: Tensor<1>, alpha: f32, beta: f32) -> Tensor<1> {
    x.mul_scalar(alpha).add_scalar(beta).clamp(0.0, 1.0)
}

/// `x` above 0, `slope x` below.
pub fn prelu(x: &Var, slope: &Var, shape: &[usize]) -> Var {
    let above = activation::relu(x.flat.clone());
    let below = Var::new(activation::relu(x.flat.clone().neg()), x.lead, &x.shape);
    let scaled = binary(&below, slope, Binary::Mul, shape);
    Var::new(above - scaled.flat, x.lead, shape)
}

/// Softmax over one axis.
pub fn softmax(x: &Var, axis: usize) -> Var {
    Var::of(activation::softmax(x.around(axis), 1), x.lead, &x.shape)
}

/// Index of the largest element of one axis.
pub fn arg_max(x: &Var, axis: usize, select_last: bool, shape: &[usize]) -> Var {
    let rows = x.around(axis).inner();
    let index = if select_last {
        let top = x.shape[axis] as f32 - 1.0;
        rows.flip([1]).argmax(1).float().neg().add_scalar(top)
    } else {
        rows.argmax(1).float()
    };
    Var::of(index, x.lead, shape)
}
