//! Operators of the graph on tensors that record gradients. Same definitions as [`crate::ir::exec`], which the tests
//! compare every one of them with.

mod conv;
pub mod cpu;
mod elementwise;
mod moving;
mod pool;

use super::var::Var;
use crate::ir::Op;

/// One operator; `shape` is the shape of its output for one sample.
///
/// [`Op::ArgMax`] gives indices without a gradient.
pub fn apply(op: &Op, args: &[Var], shape: &[usize]) -> Var {
    let own = cpu::here(&args[0].flat);
    apply_with(op, args, shape, own)
}

/// [`apply`]; `own` chooses the kernels for the processor, where there are some, over those of every device.
fn apply_with(op: &Op, args: &[Var], shape: &[usize], own: bool) -> Var {
    let x = &args[0];
    match op {
        Op::Conv { window, groups } => {
            let bias = args.get(2);
            conv::conv(x, &args[1], bias, window, *groups, shape, own)
        }
        Op::Dense => conv::dense(x, &args[1], args.get(2), shape),
        Op::MaxPool(window) => pool::max(x, window, shape, own),
        Op::AvgPool { window, count_pad } => pool::average(x, window, *count_pad, shape),
        Op::Add => elementwise::binary(x, &args[1], elementwise::Binary::Add, shape),
        Op::Sub => elementwise::binary(x, &args[1], elementwise::Binary::Sub, shape),
        Op::Mul => elementwise::binary(x, &args[1], elementwise::Binary::Mul, shape),
        Op::Unary(f) => Var::new(elementwise::unary(x.flat.clone(), *f), x.lead, shape),
        Op::PRelu => elementwise::prelu(x, &args[1], shape),
        Op::Softmax { axis } => elementwise::softmax(x, *axis),
        Op::ArgMax { axis, select_last } => elementwise::arg_max(x, *axis, *select_last, shape),
        Op::Concat { axis } => moving::concat(args, *axis, shape),
        Op::Pad {
            before,
            after,
            value,
        } => moving::pad(x, before, after, *value),
        Op::Slice { start, step } => moving::slice(x, start, step, shape),
        Op::Reshape => Var::new(x.flat.clone(), x.lead, shape),
        Op::Transpose { perm } => moving::transpose(x, perm, shape),
        Op::ResizeNearest(map) => moving::resize(x, map, shape),
    }
}

#[cfg(test)]
mod tests;
