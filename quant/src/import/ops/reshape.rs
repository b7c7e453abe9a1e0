//! Operators that change shape, order or type but no value.

use crate::import::Res;
use crate::import::call::{Call, axes, axis};
use crate::import::consts::{self, Constant};
use crate::ir::{Op, ValueId};
use tract_onnx::prelude::{tensor0, tensor1};

pub fn identity(c: &mut Call) -> Res<()> {
    let x = c.data(0)?;
    if let (true, Some(name)) = (c.codes.is_some(), c.node.output.first()) {
        return c.net.define(name, super::super::build::Item::Data(x));
    }
    c.finish(x)
}

pub fn dropout(c: &mut Call) -> Res<()> {
    c.attrs.ignore(&["ratio", "seed", "is_test"]);
    if c.has(2) && c.scalar(2, "training_mode")? != Some(0.0) {
        return Err(
            "training_mode is on; export the model in inference mode (model.eval())".into(),
        );
    }
    identity(c)
}

/// Float types are all `f32` here; results of ArgMax are whole numbers in any type.
pub fn cast(c: &mut Call) -> Res<()> {
    let to = c.attrs.int("to", 0)?;
    c.attrs.ignore(&["saturate", "round_mode"]);
    let x = c.data(0)?;
    let whole = c.net.is_index(x);
    match to {
        1 | 10 | 11 | 16 => c.finish(x),
        6 | 7 | 12 | 13 if whole => c.finish(x),
        _ => {
            let name = crate::import::limits::type_name(to as i32);
            Err(format!(
                "cast of computed values to {name} is not supported; accepted are float types"
            ))
        }
    }
}

pub fn constant(c: &mut Call) -> Res<()> {
    let value = if let Some(t) = c.attrs.tensor("value")? {
        consts::tensor(t)?
    } else if let Some(v) = c.attrs.opt_float("value_float")? {
        Constant::new(tensor0(v))
    } else if let Some(v) = c.attrs.floats("value_floats")? {
        Constant::new(tensor1(&v))
    } else if let Some(v) = c.attrs.ints("value_ints")? {
        Constant::new(tensor1(&v))
    } else if c.node.attribute.iter().any(|a| a.name == "value_int") {
        Constant::new(tensor0(c.attrs.int("value_int", 0)?))
    } else {
        return Err("only dense values of numbers are supported".into());
    };
    c.finish_const(value)
}

/// The shape is known, so this is a constant.
pub fn shape(c: &mut Call) -> Res<()> {
    let dims: Vec<i64> = c.any_shape(0)?.iter().map(|&d| d as i64).collect();
    let rank = dims.len() as i64;
    let clamp = |v: i64| (if v < 0 { v + rank } else { v }).clamp(0, rank) as usize;
    let (start, end) = (
        clamp(c.attrs.int("start", 0)?),
        clamp(c.attrs.int("end", rank)?),
    );
    let part = dims.get(start..end).unwrap_or(&[]);
    c.finish_const(Constant::new(tensor1(part)))
}

pub fn size(c: &mut Call) -> Res<()> {
    let n: usize = c.any_shape(0)?.iter().product();
    c.finish_const(Constant::new(tensor0(n as i64)))
}

pub fn reshape(c: &mut Call) -> Res<()> {
    let x = c.data(0)?;
    let old = c.shape(x);
    let keep_zero = c.attrs.flag("allowzero", false)?;
    let list = match c.attrs.ints("shape")? {
        Some(list) => list,
        None => c.ints(1, "shape")?,
    };
    let mut open = None;
    let mut new = Vec::new();
    for (i, &d) in list.iter().enumerate() {
        new.push(match d {
            0 if !keep_zero => *old
                .get(i)
                .ok_or_else(|| format!("shape {list:?} copies an axis that {old:?} lacks"))?,
            -1 if open.replace(i).is_none() => 1,
            d => usize::try_from(d).map_err(|_| format!("shape {list:?}"))?,
        });
    }
    if let Some(open) = open {
        let known = new
            .iter()
            .try_fold(1usize, |n, &d| n.checked_mul(d))
            .filter(|&n| n > 0);
        let total: usize = old.iter().product();
        new[open] = known
            .filter(|n| total.is_multiple_of(*n))
            .map(|n| total / n)
            .ok_or_else(|| format!("shape {old:?} cannot become {list:?}"))?;
    }
    relabel(c, x, new)
}

/// Finish with `x` under another shape.
fn relabel(c: &mut Call, x: ValueId, shape: Vec<usize>) -> Res<()> {
    let y = c.reshape(x, shape)?;
    c.finish(y)
}

pub fn flatten(c: &mut Call) -> Res<()> {
    let x = c.data(0)?;
    let shape = c.shape(x);
    let given = c.attrs.int("axis", 1)?;
    let at = match given == shape.len() as i64 {
        true => shape.len(),
        false => axis(given, shape.len())?,
    };
    let parts = vec![shape[..at].iter().product(), shape[at..].iter().product()];
    relabel(c, x, parts)
}

/// Attribute before operator set 13, input since.
fn axes_of(c: &Call) -> Res<Option<Vec<i64>>> {
    match c.attrs.ints("axes")? {
        Some(list) => Ok(Some(list)),
        None if c.has(1) => c.ints(1, "axes").map(Some),
        None => Ok(None),
    }
}

pub fn squeeze(c: &mut Call) -> Res<()> {
    let x = c.data(0)?;
    let shape = c.shape(x);
    let gone = match axes_of(c)? {
        Some(list) => axes(&list, shape.len())?,
        None => (0..shape.len()).filter(|&a| shape[a] == 1).collect(),
    };
    if let Some(&a) = gone.iter().find(|&&a| shape[a] != 1) {
        return Err(format!("axis {a} of shape {shape:?} is not 1"));
    }
    let kept = (0..shape.len())
        .filter(|a| !gone.contains(a))
        .map(|a| shape[a])
        .collect();
    relabel(c, x, kept)
}

pub fn unsqueeze(c: &mut Call) -> Res<()> {
    let x = c.data(0)?;
    let shape = c.shape(x);
    let list = axes_of(c)?.ok_or("axes are missing")?;
    let rank = shape.len() + list.len();
    let new = axes(&list, rank)?;
    let mut old = shape.iter();
    let wide = (0..rank).map(|a| {
        if new.contains(&a) {
            1
        } else {
            old.next().copied().unwrap_or(1)
        }
    });
    relabel(c, x, wide.collect())
}

pub fn transpose(c: &mut Call) -> Res<()> {
    let x = c.data(0)?;
    let rank = c.shape(x).len();
    let perm = match c.attrs.ints("perm")? {
        Some(list) => list
            .iter()
            .map(|&p| axis(p, rank))
            .collect::<Res<Vec<_>>>()?,
        None => (0..rank).rev().collect(),
    };
    if perm.len() != rank {
        return Err(format!("permutation {perm:?} of a tensor of rank {rank}"));
    }
    let y = c.transpose(x, perm)?;
    c.finish(y)
}

pub fn concat(c: &mut Call) -> Res<()> {
    let ids = (0..c.node.input.len())
        .map(|i| c.data(i))
        .collect::<Res<Vec<_>>>()?;
    let first = *ids.first().ok_or("has no input")?;
    let axis = axis(c.attrs.int("axis", 1)?, c.shape(first).len())?;
    let y = match ids.as_slice() {
        [one] => *one,
        _ => c.emit(Op::Concat { axis }, &ids)?,
    };
    c.finish(y)
}
