//! Pools over NHWC.

use super::conv::{convolve, nhwc};
use super::cpu;
use super::elementwise::{Binary, binary};
use super::moving;
use crate::ir::Window;
use crate::train::var::{Var, vector};
use burn::tensor::module::max_pool2d;
use burn::tensor::ops::MaxPoolOptions;

/// Padding is below every value, so it is never chosen; `own` as for [`super::apply_with`].
pub fn max(x: &Var, window: &Window, shape: &[usize], own: bool) -> Var {
    if own {
        let [_, h, w, c] = x.dims4();
        let kernel = cpu::pool::Max {
            window: *window,
            input: [h, w, c],
            output: [shape[1], shape[2], c],
        };
        return Var::new(cpu::apply(kernel, [x.flat.clone()]), x.lead, shape);
    }
    let padded = padded(x, window, f32::MIN);
    let mut options = MaxPoolOptions::new(window.kernel).with_stride(window.stride);
    options.dilation = window.dilation;
    nhwc(max_pool2d(padded.nchw(), options), x.lead, shape)
}

/// Mean over the taps inside the input, or over all with the padding as zeros.
pub fn average(x: &Var, window: &Window, count_pad: bool, shape: &[usize]) -> Var {
    let [n, h, w, c] = x.dims4();
    let none = window.pads == [0; 4];
    if none && window.kernel == [h, w] && window.dilation == [1, 1] {
        let rows = x.flat.clone().reshape([x.lead * n, h * w, c]);
        return Var::of(rows.mean_dim(1), x.lead, shape);
    }
    let taps = window.kernel[0] * window.kernel[1];
    let device = x.flat.device();
    // A mean is a convolution of each channel, taken as a picture of its own, with equal weights.
    let planes = padded(x, window, 0.0);
    let [n, ph, pw, c] = planes.dims4();
    let planes = planes.nchw().reshape([x.lead * n * c, 1, ph, pw]);
    let [kh, kw] = window.kernel;
    let weights = vector(vec![1.0 / taps as f32; taps], &device).reshape([1, 1, kh, kw]);
    let sums = convolve(planes, weights, None, window, 1);
    let mean = sums.reshape([x.lead * n, c, shape[1], shape[2]]);
    let mean = nhwc(mean, x.lead, shape);
    if none || count_pad {
        return mean;
    }
    let factors: Vec<f32> = taps_inside(window, [h, w], [shape[1], shape[2]])
        .into_iter()
        .map(|inside| taps as f32 / inside.max(1) as f32)
        .collect();
    let factors = Var::new(vector(factors, &device), 1, &[1, shape[1], shape[2], 1]);
    binary(&mean, &factors, Binary::Mul, shape)
}

fn padded(x: &Var, window: &Window, value: f32) -> Var {
    let [top, left, bottom, right] = window.pads;
    moving::pad(x, &[0, top, left, 0], &[0, bottom, right, 0], value)
}

/// Taps that fall on the input, for every output position.
fn taps_inside(window: &Window, input: [usize; 2], output: [usize; 2]) -> Vec<usize> {
    let inside = |axis: usize, at: usize| {
        (0..window.kernel[axis])
            .map(|k| at * window.stride[axis] + k * window.dilation[axis])
            .filter(|&p| (window.pads[axis]..window.pads[axis] + input[axis]).contains(&p))
            .count()
    };
    let cols: Vec<usize> = (0..output[1]).map(|i| inside(1, i)).collect();
    (0..output[0])
        .flat_map(|i| cols.iter().map(move |c| c * inside(0, i)))
        .collect()
}
