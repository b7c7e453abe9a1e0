//! Slice, Split, Gather and Pad.

use crate::import::Res;
use crate::import::call::{Call, axes, axis};
use crate::ir::{Op, ValueId};

/// Part of `x` along axes: (axis, start, step, extent).
fn cut(c: &mut Call, x: ValueId, parts: &[(usize, usize, usize, usize)]) -> Res<ValueId> {
    let old = c.shape(x);
    let mut shape = old.clone();
    let (mut start, mut step) = (vec![0; shape.len()], vec![1; shape.len()]);
    for &(axis, first, by, extent) in parts {
        (start[axis], step[axis], shape[axis]) = (first, by, extent);
    }
    if shape.contains(&0) {
        return Err(format!("nothing is left of shape {old:?}"));
    }
    match shape == old {
        true => Ok(x),
        false => c.emit_as(Op::Slice { start, step }, x, shape),
    }
}

/// Bounds are attributes before operator set 10, inputs since.
pub fn slice(c: &mut Call) -> Res<()> {
    let x = c.data(0)?;
    let shape = c.shape(x);
    let list = |c: &Call, name: &str, i: usize| -> Res<Option<Vec<i64>>> {
        match c.attrs.ints(name)? {
            Some(list) => Ok(Some(list)),
            None if c.has(i) => c.ints(i, name).map(Some),
            None => Ok(None),
        }
    };
    let starts = list(c, "starts", 1)?.ok_or("starts are missing")?;
    let ends = list(c, "ends", 2)?.ok_or("ends are missing")?;
    let which = list(c, "axes", 3)?.unwrap_or_else(|| (0..starts.len() as i64).collect());
    let steps = list(c, "steps", 4)?.unwrap_or_else(|| vec![1; starts.len()]);
    if ends.len() != starts.len() || which.len() != starts.len() || steps.len() != starts.len() {
        return Err("starts, ends, axes and steps differ in length".into());
    }
    axes(&which, shape.len())?;
    let mut parts = Vec::new();
    for i in 0..starts.len() {
        let axis = axis(which[i], shape.len())?;
        let extent = shape[axis] as i64;
        let clamp =
            |v: i64| (if v < 0 { v.saturating_add(extent) } else { v }).clamp(0, extent) as usize;
        let (first, last) = (clamp(starts[i]), clamp(ends[i]));
        let step = usize::try_from(steps[i])
            .ok()
            .filter(|&s| s > 0)
            .ok_or_else(|| {
                format!(
                    "step {} is not supported; accepted are positive steps",
                    steps[i]
                )
            })?;
        parts.push((
            axis,
            first,
            step.min(shape[axis].max(1)),
            last.saturating_sub(first).div_ceil(step),
        ));
    }
    let y = cut(c, x, &parts)?;
    c.finish(y)
}

pub fn split(c: &mut Call) -> Res<()> {
    let x = c.data(0)?;
    let shape = c.shape(x);
    let axis = axis(c.attrs.int("axis", 0)?, shape.len())?;
    let outputs = c.node.output.len();
    let declared = c.attrs.int("num_outputs", outputs as i64)?;
    let sizes: Vec<i64> = match c.attrs.ints("split")? {
        Some(list) => list,
        None if c.has(1) => c.ints(1, "split")?,
        None => {
            let part = shape[axis].div_ceil(outputs.max(1));
            let size = |i: usize| part.min(shape[axis].saturating_sub(i * part)) as i64;
            (0..outputs).map(size).collect()
        }
    };
    if declared != outputs as i64
        || sizes.len() != outputs
        || sizes.iter().sum::<i64>() != shape[axis] as i64
    {
        return Err(format!(
            "parts {sizes:?} of axis {axis} of shape {shape:?} for {outputs} outputs"
        ));
    }
    let mut first = 0;
    for (i, &size) in sizes.iter().enumerate() {
        let size = usize::try_from(size).map_err(|_| format!("parts {sizes:?}"))?;
        if c.net.is_read(&c.node.output[i]) {
            let y = cut(c, x, &[(axis, first, 1, size)])?;
            c.bind(i, y)?;
        }
        first += size;
    }
    Ok(())
}

/// Constant indices that are equally spaced are a slice.
pub fn gather(c: &mut Call) -> Res<()> {
    if c.constant(1)?.is_none() || c.constant(0)?.is_some() {
        return Err("indices are computed at run time; they have to be constant".into());
    }
    let x = c.data(0)?;
    let shape = c.shape(x);
    let axis = axis(c.attrs.int("axis", 0)?, shape.len())?;
    let indices = c.fixed(1, "indices")?;
    let rank = indices.shape().len();
    let extent = shape[axis] as i64;
    let list = indices
        .ints()?
        .iter()
        .map(|&i| if i < 0 { i + extent } else { i })
        .collect::<Vec<_>>();
    if list.is_empty() || list.iter().any(|i| !(0..extent).contains(i)) {
        return Err(format!(
            "indices {list:?} of axis {axis} of shape {shape:?}"
        ));
    }
    let step = list.get(1).map_or(1, |second| second - list[0]);
    if rank > 1 || step < 1 || list.windows(2).any(|w| w[1] - w[0] != step) {
        return Err("indices are not equally spaced and ascending, which is not supported".into());
    }
    let y = cut(c, x, &[(axis, list[0] as usize, step as usize, list.len())])?;
    let mut out = c.shape(y);
    if rank == 0 {
        out.remove(axis);
    }
    let y = c.reshape(y, out)?;
    c.finish(y)
}

/// Attributes in operator set 2, inputs since 11, axes since 18. Negative counts cut off.
pub fn pad(c: &mut Call) -> Res<()> {
    let x = c.data(0)?;
    let shape = c.shape(x);
    let mode = c.attrs.string("mode", "constant")?;
    if mode != "constant" {
        return Err(format!(
            "mode `{mode}` is not supported; accepted is `constant`"
        ));
    }
    let counts = match c.attrs.ints("pads")? {
        Some(list) => list,
        None => c.ints(1, "pads")?,
    };
    let value = match c.scalar(2, "value")? {
        Some(v) => v,
        None => c.attrs.float("value", 0.0)?,
    };
    if !value.is_finite() {
        return Err(format!("pads with {value}"));
    }
    let which = match c.has(3) {
        true => c.ints(3, "axes")?,
        false => (0..shape.len() as i64).collect(),
    };
    axes(&which, shape.len())?;
    if counts.len() != 2 * which.len() {
        return Err(format!("{} pads for {} axes", counts.len(), which.len()));
    }
    let (mut before, mut after) = (vec![0; shape.len()], vec![0; shape.len()]);
    let mut parts = Vec::new();
    for (i, &a) in which.iter().enumerate() {
        let a = axis(a, shape.len())?;
        let (lo, hi) = (counts[i], counts[i + which.len()]);
        let count = |v: i64| usize::try_from(v.max(0)).map_err(|_| format!("pads {counts:?}"));
        (before[a], after[a]) = (count(lo)?, count(hi)?);
        let gone = |v: i64| {
            usize::try_from(v.min(0).unsigned_abs()).map_err(|_| format!("pads {counts:?}"))
        };
        let (first, last) = (gone(lo)?, gone(hi)?);
        let left = shape[a]
            .checked_sub(first)
            .and_then(|n| n.checked_sub(last));
        parts.push((
            a,
            first,
            1,
            left.ok_or_else(|| format!("pads {counts:?} on shape {shape:?}"))?,
        ));
    }
    let mut y = cut(c, x, &parts)?;
    if before.iter().chain(&after).any(|&n| n > 0) {
        y = c.emit(
            Op::Pad {
                before,
                after,
                value,
            },
            &[y],
        )?;
    }
    c.finish(y)
}
