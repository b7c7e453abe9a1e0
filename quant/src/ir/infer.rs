//! Output shapes, and the check that a graph is consistent.

use super::{Graph, Op, Window};

/// Most elements a tensor may have.
pub const ELEMENTS_MAX: usize = 1 << 28;
/// Largest rank of a tensor.
pub const RANK_MAX: usize = 8;

/// Number of elements of `shape`.
///
/// # Errors
/// Where the product is larger than [`ELEMENTS_MAX`] or the rank larger than [`RANK_MAX`].
pub fn elements(shape: &[usize]) -> Result<usize, String> {
    if shape.len() > RANK_MAX {
        return Err(format!(
            "rank {} of shape {shape:?} is above {RANK_MAX}",
            shape.len()
        ));
    }
    shape
        .iter()
        .try_fold(1usize, |n, &d| n.checked_mul(d))
        .filter(|&n| n <= ELEMENTS_MAX)
        .ok_or_else(|| format!("shape {shape:?} has more than {ELEMENTS_MAX} elements"))
}

/// Shape of two operands under NumPy broadcasting.
///
/// # Errors
/// Where two extents differ and neither is 1.
pub fn broadcast(a: &[usize], b: &[usize]) -> Result<Vec<usize>, String> {
    let rank = a.len().max(b.len());
    let at = |s: &[usize], i: usize| (i + s.len()).checked_sub(rank).map_or(1, |j| s[j]);
    (0..rank)
        .map(|i| match (at(a, i), at(b, i)) {
            (x, y) if x == y => Ok(x),
            (1, y) => Ok(y),
            (x, 1) => Ok(x),
            _ => Err(format!("shapes {a:?} and {b:?} do not broadcast")),
        })
        .collect()
}

/// Output extents of a window over `h` and `w`.
///
/// # Errors
/// Where a stride, dilation or kernel extent is 0 or the window is larger than the padded input.
pub fn window_extent(window: &Window, h: usize, w: usize) -> Result<[usize; 2], String> {
    let mut out = [0; 2];
    for (axis, size) in [h, w].into_iter().enumerate() {
        let (k, s, d) = (
            window.kernel[axis],
            window.stride[axis],
            window.dilation[axis],
        );
        if k == 0 || s == 0 || d == 0 {
            return Err(format!("kernel {k}, stride {s} or dilation {d} is zero"));
        }
        let span = (k - 1)
            .checked_mul(d)
            .and_then(|e| e.checked_add(1))
            .ok_or("window is too large")?;
        let padded = size
            .checked_add(window.pads[axis])
            .and_then(|e| e.checked_add(window.pads[axis + 2]))
            .ok_or("padding is too large")?;
        let room = padded.checked_sub(span).ok_or_else(|| {
            format!("window of {span} is larger than the padded input of {padded}")
        })?;
        out[axis] = room / s + 1;
    }
    Ok(out)
}

/// Output shape of `op`, or `None` for operators whose output shape is a parameter of its own
/// ([`Op::Reshape`], [`Op::Slice`], [`Op::ArgMax`]).
///
/// # Errors
/// Where the inputs do not fit the operator; the text names the shapes.
pub fn output_shape(op: &Op, inputs: &[&[usize]]) -> Result<Option<Vec<usize>>, String> {
    let arg = |i: usize| {
        inputs
            .get(i)
            .copied()
            .ok_or_else(|| format!("input {i} is missing"))
    };
    let x = arg(0)?;
    let nhwc =
        || <[usize; 4]>::try_from(x).map_err(|_| format!("input of shape {x:?} is not of rank 4"));
    let shape = match op {
        Op::Conv { window, groups } => {
            let ([n, h, w, c], weights) = (nhwc()?, arg(1)?);
            let &[m, kh, kw, cg] = weights else {
                return Err(format!("weights of shape {weights:?} are not of rank 4"));
            };
            if *groups == 0 || cg.checked_mul(*groups) != Some(c) || m % groups != 0 {
                return Err(format!(
                    "{c} input channels, weights of shape {weights:?} and {groups} groups do not fit"
                ));
            }
            if [kh, kw] != window.kernel {
                return Err(format!(
                    "kernel {:?} and weights of shape {weights:?} differ",
                    window.kernel
                ));
            }
            check_bias(inputs, m)?;
            let [oh, ow] = window_extent(window, h, w)?;
            vec![n, oh, ow, m]
        }
        Op::Dense => {
            let weights = arg(1)?;
            let (&[m, k], Some((&last, lead))) = (weights, x.split_last()) else {
                return Err(format!(
                    "input of shape {x:?}, weights of shape {weights:?}"
                ));
            };
            if last != k {
                return Err(format!(
                    "input of shape {x:?} and {k} weights per output do not fit"
                ));
            }
            check_bias(inputs, m)?;
            [lead, &[m]].concat()
        }
        Op::MaxPool(window) | Op::AvgPool { window, .. } => {
            let [n, h, w, c] = nhwc()?;
            let [oh, ow] = window_extent(window, h, w)?;
            vec![n, oh, ow, c]
        }
        Op::Add | Op::Sub | Op::Mul => broadcast(x, arg(1)?)?,
        Op::Unary(_) => x.to_vec(),
        Op::PRelu => {
            if broadcast(x, arg(1)?)? != x {
                return Err(format!(
                    "slope of shape {:?} does not broadcast to {x:?}",
                    arg(1)?
                ));
            }
            x.to_vec()
        }
        Op::Softmax { axis } => {
            check_axis(*axis, x)?;
            x.to_vec()
        }
        Op::Concat { axis } => {
            check_axis(*axis, x)?;
            let mut out = x.to_vec();
            for (i, other) in inputs.iter().enumerate().skip(1) {
                let fits =
                    other.len() == x.len() && (0..x.len()).all(|a| a == *axis || other[a] == x[a]);
                if !fits {
                    return Err(format!(
                        "input {i} of shape {other:?} does not fit {x:?} on axis {axis}"
                    ));
                }
                out[*axis] = out[*axis]
                    .checked_add(other[*axis])
                    .ok_or("extent overflows")?;
            }
            out
        }
        Op::Pad { before, after, .. } => {
            if before.len() != x.len() || after.len() != x.len() {
                return Err(format!("padding of {} axes on shape {x:?}", before.len()));
            }
            let padded =
                |(&d, (&b, &a)): (&usize, (&usize, &usize))| d.checked_add(b)?.checked_add(a);
            x.iter()
                .zip(before.iter().zip(after))
                .map(padded)
                .collect::<Option<_>>()
                .ok_or("padding is too large")?
        }
        Op::Transpose { perm } => {
            let mut seen = vec![false; x.len()];
            for &p in perm {
                if p >= x.len() || std::mem::replace(&mut seen[p], true) {
                    return Err(format!("permutation {perm:?} of shape {x:?}"));
                }
            }
            if perm.len() != x.len() {
                return Err(format!("permutation {perm:?} of shape {x:?}"));
            }
            perm.iter().map(|&p| x[p]).collect()
        }
        Op::ResizeNearest(map) => {
            let [n, h, w, c] = nhwc()?;
            if map.rows.iter().any(|&r| r >= h) || map.cols.iter().any(|&r| r >= w) {
                return Err("source index is outside the input".into());
            }
            vec![n, map.rows.len(), map.cols.len(), c]
        }
        Op::Reshape | Op::Slice { .. } | Op::ArgMax { .. } => return Ok(None),
    };
    elements(&shape)?;
    Ok(Some(shape))
}

fn check_bias(inputs: &[&[usize]], m: usize) -> Result<(), String> {
    match inputs.get(2) {
        Some(bias) if **bias != [m] => Err(format!("bias of shape {bias:?}, {m} outputs")),
        _ => Ok(()),
    }
}

fn check_axis(axis: usize, shape: &[usize]) -> Result<(), String> {
    if axis < shape.len() {
        return Ok(());
    }
    Err(format!("axis {axis} of shape {shape:?}"))
}

/// Whether `output` can be the shape of `op` applied to `inputs`.
///
/// # Errors
/// The text says what does not fit.
pub fn check(op: &Op, inputs: &[&[usize]], output: &[usize]) -> Result<(), String> {
    if let Some(shape) = output_shape(op, inputs)? {
        return match shape == output {
            true => Ok(()),
            false => Err(format!(
                "output has shape {output:?} where {shape:?} follows"
            )),
        };
    }
    let x = inputs[0];
    match op {
        Op::Reshape if elements(x)? != elements(output)? => {
            Err(format!("shape {x:?} cannot become {output:?}"))
        }
        Op::Slice { start, step } => {
            let fits = start.len() == x.len()
                && step.len() == x.len()
                && output.len() == x.len()
                && (0..x.len()).all(|a| {
                    let last = output[a]
                        .checked_sub(1)
                        .and_then(|n| n.checked_mul(step[a]));
                    let last = last.and_then(|l| l.checked_add(start[a]));
                    step[a] > 0 && last.is_some_and(|l| l < x[a])
                });
            fits.then_some(())
                .ok_or_else(|| format!("slice {start:?} step {step:?} of {x:?} is not {output:?}"))
        }
        Op::ArgMax { axis, .. } => {
            check_axis(*axis, x)?;
            let mut kept = x.to_vec();
            kept[*axis] = 1;
            let mut dropped = x.to_vec();
            dropped.remove(*axis);
            match output == kept || output == dropped {
                true => Ok(()),
                false => Err(format!(
                    "output of shape {output:?} from {x:?}, axis {axis}"
                )),
            }
        }
        _ => Ok(()),
    }
}

/// Check every node of `graph`: inputs known before they are read, one writer per value, shapes that fit.
///
/// # Errors
/// Names the node.
pub fn check_graph(graph: &Graph) -> Result<(), String> {
    let mut known: Vec<bool> = graph.values.iter().map(|v| v.constant.is_some()).collect();
    for port in &graph.inputs {
        known[port.value.0] = true;
    }
    for node in &graph.nodes {
        let at = |text: String| format!("node `{}` ({}): {text}", node.name, node.op.name());
        let mut shapes = Vec::new();
        for id in &node.inputs {
            if !known[id.0] {
                return Err(at(format!(
                    "reads `{}` before it is written",
                    graph.value(*id).name
                )));
            }
            shapes.push(graph.value(*id).shape.as_slice());
        }
        check(&node.op, &shapes, &graph.value(node.output).shape).map_err(at)?;
        if std::mem::replace(&mut known[node.output.0], true) {
            return Err(at(format!(
                "writes `{}` again",
                graph.value(node.output).name
            )));
        }
    }
    for port in &graph.outputs {
        if !known[port.value.0] {
            return Err(format!("output `{}` is never written", port.name));
        }
    }
    Ok(())
}
