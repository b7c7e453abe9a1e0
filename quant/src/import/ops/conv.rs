//! Conv.

use super::spatial::{Declared, from_nhwc, kernel, to_nhwc};
use crate::import::Res;
use crate::import::call::Call;
use crate::ir::{FileQuant, Op};
use ndarray::IxDyn;

/// Weights `[m, c/g, (kh,) kw]` become `[m, kh, kw, c/g]`.
pub fn conv(c: &mut Call) -> Res<()> {
    let x = c.data(0)?;
    let rank = c.shape(x).len();
    let (weights, quant) = c.floats(1, "weight")?;
    let weights = match (rank, weights.shape()) {
        (3, &[m, cg, k]) => weights
            .into_shape_with_order(IxDyn(&[m, cg, 1, k]))
            .map_err(|e| e.to_string())?,
        (4, [_, _, _, _]) => weights,
        (5, _) => return Err("3-D convolution is not supported".into()),
        (_, _) => {
            let (x, w) = (c.shape(x), weights.shape().to_vec());
            return Err(format!(
                "input of shape {x:?} and weights of shape {w:?} do not fit"
            ));
        }
    };
    let taps = [weights.shape()[2], weights.shape()[3]];
    if taps.contains(&0) {
        return Err(format!("weights of shape {:?}", weights.shape()));
    }
    let dims = rank - 2;
    let taps = kernel(c, dims, Some(taps))?;
    let declared = Declared::read(c, dims, taps)?;
    let groups =
        usize::try_from(c.attrs.int("group", 1)?).map_err(|_| "attribute `group` is negative")?;
    let weights = weights.permuted_axes(IxDyn(&[0, 2, 3, 1]));
    let quant = moved_axis(quant, |axis| match (axis, dims) {
        (0, _) => 0,
        (1, _) => 3,
        (_, 1) => 2,
        (axis, _) => axis - 1,
    });
    let w = c.add_const(1, weights, quant)?;
    let x = to_nhwc(c, x)?;
    let shape = c.shape(x);
    let (window, _) = declared.resolve(shape[1], shape[2])?;
    let mut inputs = vec![x, w];
    if c.has(2) {
        let (bias, quant) = c.floats(2, "bias")?;
        inputs.push(c.add_const(2, bias, quant)?);
    }
    let y = c.emit(Op::Conv { window, groups }, &inputs)?;
    let y = from_nhwc(c, y, rank)?;
    c.finish(y)
}

/// Per-axis quantization after its tensor's axes have moved.
pub fn moved_axis(quant: Option<FileQuant>, to: impl Fn(usize) -> usize) -> Option<FileQuant> {
    quant.map(|q| FileQuant {
        axis: q.axis.map(to),
        ..q
    })
}
