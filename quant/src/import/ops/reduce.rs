//! Reductions: means, maxima, ArgMax.

use super::spatial::pool_axes;
use crate::import::Res;
use crate::import::call::{Call, axes, axis};
use crate::ir::Op;

fn global(c: &mut Call, is_max: bool) -> Res<()> {
    let x = c.data(0)?;
    let rank = c.shape(x).len();
    if !(3..=4).contains(&rank) {
        return Err(format!(
            "input of shape {:?} is not a sequence or an image",
            c.shape(x)
        ));
    }
    let reduced: Vec<usize> = (2..rank).collect();
    let y = pool_axes(c, x, &reduced, is_max)?;
    c.finish(y)
}

pub fn global_average(c: &mut Call) -> Res<()> {
    global(c, false)
}

pub fn global_max(c: &mut Call) -> Res<()> {
    global(c, true)
}

fn reduce(c: &mut Call, is_max: bool) -> Res<()> {
    let x = c.data(0)?;
    let shape = c.shape(x);
    let keep = c.attrs.flag("keepdims", true)?;
    let nothing = c.attrs.flag("noop_with_empty_axes", false)?;
    let list = match c.attrs.ints("axes")? {
        Some(list) => list,
        None if c.has(1) => c.ints(1, "axes")?,
        None => vec![],
    };
    let reduced = match list.is_empty() {
        false => axes(&list, shape.len())?,
        true if nothing => vec![],
        true => (0..shape.len()).collect(),
    };
    let y = pool_axes(c, x, &reduced, is_max)?;
    let kept = (0..shape.len()).filter(|a| keep || !reduced.contains(a));
    let kept = kept
        .map(|a| if reduced.contains(&a) { 1 } else { shape[a] })
        .collect();
    let y = c.reshape(y, kept)?;
    c.finish(y)
}

pub fn mean(c: &mut Call) -> Res<()> {
    reduce(c, false)
}

pub fn max(c: &mut Call) -> Res<()> {
    reduce(c, true)
}

pub fn arg_max(c: &mut Call) -> Res<()> {
    let x = c.data(0)?;
    let mut shape = c.shape(x);
    let axis = axis(c.attrs.int("axis", 0)?, shape.len())?;
    let select_last = c.attrs.flag("select_last_index", false)?;
    match c.attrs.flag("keepdims", true)? {
        true => shape[axis] = 1,
        false => _ = shape.remove(axis),
    }
    let y = c.emit_as(Op::ArgMax { axis, select_last }, x, shape)?;
    c.finish(y)
}
