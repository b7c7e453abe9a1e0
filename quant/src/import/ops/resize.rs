//! Resize and Upsample, nearest only: both become tables of source indices.

use super::spatial::{from_nhwc, to_nhwc};
use crate::import::Res;
use crate::import::call::{Call, axes};
use crate::ir::{NearestMap, Op, ValueId};

/// Output extent and scale of one axis.
type Axis = (usize, f64);

/// How an output coordinate becomes a source index.
struct Rule {
    coordinate: String,
    nearest: String,
}

impl Rule {
    /// Source index of output index `i`.
    fn source(&self, i: usize, old: usize, (new, scale): Axis) -> usize {
        let x = i as f64;
        let at = match self.coordinate.as_str() {
            "asymmetric" => x / scale,
            "align_corners" if new > 1 => x * (old - 1) as f64 / (new - 1) as f64,
            "align_corners" => 0.0,
            "pytorch_half_pixel" if new <= 1 => 0.0,
            "tf_half_pixel_for_nn" => (x + 0.5) / scale,
            "half_pixel_symmetric" => {
                let adjust = new as f64 / (scale * old as f64);
                let offset = old as f64 / 2.0 * (1.0 - adjust);
                offset + (x + 0.5) / scale - 0.5
            }
            _ => (x + 0.5) / scale - 0.5,
        };
        let index = match self.nearest.as_str() {
            "floor" => at.floor(),
            "ceil" => at.ceil(),
            "round_prefer_ceil" => (at + 0.5).floor(),
            _ => (at - 0.5).ceil(),
        };
        index.clamp(0.0, (old - 1) as f64) as usize
    }
}

/// Source index of output index `i` on an axis of `old` elements, by the names that ONNX gives to the modes.
pub(crate) fn nearest_source(
    coordinate: &str,
    nearest: &str,
    i: usize,
    old: usize,
    axis: (usize, f64),
) -> usize {
    let rule = Rule {
        coordinate: coordinate.into(),
        nearest: nearest.into(),
    };
    rule.source(i, old, axis)
}

fn finish(c: &mut Call, x: ValueId, sizes: &[Axis], rule: &Rule) -> Res<()> {
    let shape = c.shape(x);
    let rank = shape.len();
    if sizes.len() != rank || !(3..=4).contains(&rank) {
        return Err(format!(
            "{} scales for an input of shape {shape:?}; accepted are rank 3 and 4",
            sizes.len()
        ));
    }
    if sizes[..2]
        .iter()
        .zip(&shape)
        .any(|((new, _), old)| new != old)
    {
        return Err("the batch or channel axis is resized; only spatial axes are supported".into());
    }
    let table = |a: usize| -> Vec<usize> {
        (0..sizes[a].0)
            .map(|i| rule.source(i, shape[a], sizes[a]))
            .collect()
    };
    let rows = if rank == 4 { table(2) } else { vec![0] };
    let cols = table(rank - 1);
    if rows.is_empty() || cols.is_empty() {
        return Err("nothing is left of the input".into());
    }
    let t = to_nhwc(c, x)?;
    let y = c.emit(Op::ResizeNearest(NearestMap { rows, cols }), &[t])?;
    let y = from_nhwc(c, y, rank)?;
    c.finish(y)
}

/// Output extents from scales.
fn scaled(shape: &[usize], scales: &[f32]) -> Res<Vec<Axis>> {
    if shape.len() != scales.len() {
        return Err(format!(
            "{} scales for an input of shape {shape:?}",
            scales.len()
        ));
    }
    let axis = |(&old, &scale): (&usize, &f32)| {
        let new = (old as f64 * f64::from(scale)).floor();
        let fits = scale > 0.0 && new < 1e6;
        fits.then_some((new as usize, f64::from(scale)))
            .ok_or_else(|| format!("scale {scale}"))
    };
    shape.iter().zip(scales).map(axis).collect()
}

fn only_nearest(c: &Call) -> Res<()> {
    match c.attrs.string("mode", "nearest")?.as_str() {
        "nearest" => Ok(()),
        other => Err(format!(
            "mode `{other}` is not supported; accepted is `nearest`"
        )),
    }
}

pub fn upsample(c: &mut Call) -> Res<()> {
    only_nearest(c)?;
    let x = c.data(0)?;
    let scales = match c.attrs.floats("scales")? {
        Some(list) => list,
        None => c.floats(1, "scales")?.0.iter().copied().collect(),
    };
    let sizes = scaled(&c.shape(x), &scales)?;
    let rule = Rule {
        coordinate: "asymmetric".into(),
        nearest: "floor".into(),
    };
    finish(c, x, &sizes, &rule)
}

pub fn resize(c: &mut Call) -> Res<()> {
    only_nearest(c)?;
    let x = c.data(0)?;
    let shape = c.shape(x);
    c.attrs
        .ignore(&["cubic_coeff_a", "exclude_outside", "extrapolation_value"]);
    if c.attrs.flag("antialias", false)? {
        return Err("antialias is not supported".into());
    }
    let old = c.opset() < 11;
    let coordinate = c.attrs.string(
        "coordinate_transformation_mode",
        if old { "asymmetric" } else { "half_pixel" },
    )?;
    let nearest = c.attrs.string(
        "nearest_mode",
        if old { "floor" } else { "round_prefer_floor" },
    )?;
    let coordinates = [
        "half_pixel",
        "half_pixel_symmetric",
        "pytorch_half_pixel",
        "align_corners",
        "asymmetric",
        "tf_half_pixel_for_nn",
    ];
    if !coordinates.contains(&coordinate.as_str()) {
        return Err(format!(
            "coordinate_transformation_mode `{coordinate}` is not supported"
        ));
    }
    if !["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"].contains(&nearest.as_str()) {
        return Err(format!("nearest_mode `{nearest}` is unknown"));
    }
    let policy = c.attrs.string("keep_aspect_ratio_policy", "stretch")?;
    if policy != "stretch" {
        return Err(format!(
            "keep_aspect_ratio_policy `{policy}` is not supported"
        ));
    }
    let which = match c.attrs.ints("axes")? {
        Some(list) => {
            axes(&list, shape.len())?;
            list.iter()
                .map(|&a| crate::import::call::axis(a, shape.len()))
                .collect::<Res<Vec<_>>>()?
        }
        None => (0..shape.len()).collect(),
    };
    let scales: Vec<f32> = match c.has(if old { 1 } else { 2 }) {
        true => c
            .floats(if old { 1 } else { 2 }, "scales")?
            .0
            .iter()
            .copied()
            .collect(),
        false => vec![],
    };
    let mut sizes: Vec<Axis> = shape.iter().map(|&d| (d, 1.0)).collect();
    if scales.is_empty() {
        let list = if c.has(3) {
            c.ints(3, "sizes")?
        } else {
            vec![]
        };
        if list.len() != which.len() {
            return Err(format!("{} sizes for {} axes", list.len(), which.len()));
        }
        for (&a, &new) in which.iter().zip(&list) {
            let new = usize::try_from(new)
                .ok()
                .filter(|&n| n > 0 && n < 1_000_000);
            let new = new.ok_or_else(|| format!("sizes {list:?}"))?;
            sizes[a] = (new, new as f64 / shape[a] as f64);
        }
    } else {
        if scales.len() != which.len() {
            return Err(format!("{} scales for {} axes", scales.len(), which.len()));
        }
        let part: Vec<usize> = which.iter().map(|&a| shape[a]).collect();
        for (&a, size) in which.iter().zip(scaled(&part, &scales)?) {
            sizes[a] = size;
        }
    }
    finish(
        c,
        x,
        &sizes,
        &Rule {
            coordinate,
            nearest,
        },
    )
}
