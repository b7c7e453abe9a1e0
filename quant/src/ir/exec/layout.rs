//! Moving elements: concatenation, padding, slices, file layout and IR layout.

use crate::ir::Port;
use ndarray::{ArrayD, Axis, IxDyn, Slice};

/// `x` in row-major order under another shape.
pub(super) fn reshape(x: &ArrayD<f32>, shape: &[usize]) -> ArrayD<f32> {
    let flat = x.as_standard_layout().into_owned();
    flat.into_shape_with_order(IxDyn(shape))
        .expect("shapes of a checked graph have equal sizes")
}

pub(super) fn concat(args: &[&ArrayD<f32>], axis: usize) -> ArrayD<f32> {
    let views: Vec<_> = args.iter().map(|a| a.view()).collect();
    ndarray::concatenate(Axis(axis), &views).expect("shapes of a checked graph fit")
}

pub(super) fn pad(x: &ArrayD<f32>, before: &[usize], value: f32, shape: &[usize]) -> ArrayD<f32> {
    let mut y = ArrayD::from_elem(IxDyn(shape), value);
    let mut inner = y.view_mut();
    for (axis, (&start, &extent)) in before.iter().zip(x.shape()).enumerate() {
        inner.slice_axis_inplace(Axis(axis), Slice::from(start..start + extent));
    }
    inner.assign(x);
    y
}

pub(super) fn slice(
    x: &ArrayD<f32>,
    start: &[usize],
    step: &[usize],
    shape: &[usize],
) -> ArrayD<f32> {
    let mut view = x.view();
    for (axis, &extent) in shape.iter().enumerate() {
        let end = start[axis] + (extent - 1) * step[axis] + 1;
        let part = Slice::new(
            start[axis] as isize,
            Some(end as isize),
            step[axis] as isize,
        );
        view.slice_axis_inplace(Axis(axis), part);
    }
    view.as_standard_layout().into_owned()
}

/// An array in the file's layout as the graph reads or writes it.
///
/// # Panics
/// Where the shape is not `port.file_shape`.
pub fn to_ir_layout(port: &Port, file: &ArrayD<f32>) -> ArrayD<f32> {
    assert_eq!(file.shape(), port.file_shape, "shape of `{}`", port.name);
    let moved = file.view().permuted_axes(IxDyn(&port.perm));
    moved.as_standard_layout().into_owned()
}

/// The inverse of [`to_ir_layout`].
///
/// # Panics
/// Where the number of elements is not that of `port.file_shape`.
pub fn from_ir_layout(port: &Port, ir: &ArrayD<f32>) -> ArrayD<f32> {
    let moved: Vec<usize> = port.perm.iter().map(|&p| port.file_shape[p]).collect();
    let mut back = vec![0; moved.len()];
    for (i, &p) in port.perm.iter().enumerate() {
        back[p] = i;
    }
    let file = reshape(ir, &moved).permuted_axes(IxDyn(&back));
    file.as_standard_layout().into_owned()
}
