//! Moving elements: concatenation, padding, slices, transpositions, nearest-neighbour resizing.

use crate::ir::NearestMap;
use crate::train::var::{Var, indices, with_rank};
use burn::tensor::{Slice, Tensor};

/// Values side by side on one axis.
pub fn concat(args: &[Var], axis: usize, shape: &[usize]) -> Var {
    let lead = args.iter().map(|a| a.lead).max().unwrap_or(1);
    let parts = args.iter().map(|a| repeat(a, lead).around(axis)).collect();
    Var::of(Tensor::cat(parts, 1), lead, shape)
}

/// The same elements for each of `lead` samples.
fn repeat(x: &Var, lead: usize) -> Var {
    if x.lead == lead {
        return x.clone();
    }
    let all = x
        .flat
        .clone()
        .reshape([1, x.size()])
        .expand([lead, x.size()]);
    Var::of(all, lead, &x.shape)
}

/// `value` before and after the elements of every axis.
pub fn pad(x: &Var, before: &[usize], after: &[usize], value: f32) -> Var {
    let mut y = x.clone();
    for (axis, (&b, &a)) in before.iter().zip(after).enumerate() {
        if a == 0 && b == 0 {
            continue;
        }
        let middle = y.around(axis);
        let [outer, extent, inner] = middle.dims();
        let device = middle.device();
        let fill = |n: usize| Tensor::<3>::full([outer, n, inner], value, &device);
        let mut parts = vec![middle];
        if b > 0 {
            parts.insert(0, fill(b));
        }
        if a > 0 {
            parts.push(fill(a));
        }
        let mut shape = y.shape.clone();
        shape[axis] = extent + a + b;
        y = Var::of(Tensor::cat(parts, 1), y.lead, &shape);
    }
    y
}

/// Every `step`-th element from `start` on every axis.
pub fn slice(x: &Var, start: &[usize], step: &[usize], shape: &[usize]) -> Var {
    let mut y = x.clone();
    for (axis, &extent) in shape.iter().enumerate() {
        if extent == y.shape[axis] {
            continue;
        }
        let end = start[axis] + (extent - 1) * step[axis] + 1;
        let part = Slice::new(
            start[axis] as isize,
            Some(end as isize),
            step[axis] as isize,
        );
        let rows = y.around(axis).slice([Slice::full(), part, Slice::full()]);
        let mut now = y.shape.clone();
        now[axis] = extent;
        y = Var::of(rows, y.lead, &now);
    }
    y
}

/// Axis `i` of the result is axis `perm[i]` of `x`.
pub fn transpose(x: &Var, perm: &[usize], shape: &[usize]) -> Var {
    let axes: Vec<usize> = std::iter::once(0)
        .chain(perm.iter().map(|p| p + 1))
        .collect();
    let full = [&[x.lead], x.shape.as_slice()].concat();
    with_rank!(full.len(), D => {
        let from: [usize; D] = full.as_slice().try_into().expect("rank");
        let axes: [usize; D] = axes.as_slice().try_into().expect("rank");
        Var::of(x.flat.clone().reshape(from).permute(axes), x.lead, shape)
    })
}

/// Source rows and columns as the map says.
pub fn resize(x: &Var, map: &NearestMap, shape: &[usize]) -> Var {
    let device = x.flat.device();
    let [n, _, w, c] = x.dims4();
    let rows = x.around(1).select(1, indices(&map.rows, &device));
    let tall = Var::of(rows, x.lead, &[n, map.rows.len(), w, c]);
    let cols = tall.around(2).select(1, indices(&map.cols, &device));
    Var::of(cols, x.lead, shape)
}
