//! Pools over NHWC.

use crate::ir::Window;
use ndarray::{ArrayD, IxDyn};

/// Call `f(output position, input position)` for every tap inside the input; positions count channel groups.
fn taps(window: &Window, x: &[usize], y: &[usize], mut f: impl FnMut(usize, usize)) {
    let range = |out: usize, axis: usize| {
        let origin = (out * window.stride[axis]) as isize - window.pads[axis] as isize;
        let size = x[axis + 1] as isize;
        let at = move |k: usize| origin + (k * window.dilation[axis]) as isize;
        (0..window.kernel[axis])
            .map(at)
            .filter(move |p| (0..size).contains(p))
            .map(|p| p as usize)
    };
    for n in 0..y[0] {
        for oh in 0..y[1] {
            for ow in 0..y[2] {
                let out = (n * y[1] + oh) * y[2] + ow;
                for ih in range(oh, 0) {
                    for iw in range(ow, 1) {
                        f(out, (n * x[1] + ih) * x[2] + iw);
                    }
                }
            }
        }
    }
}

fn flat(x: &ArrayD<f32>) -> std::borrow::Cow<'_, [f32]> {
    match x.as_slice() {
        Some(slice) => slice.into(),
        None => x.iter().copied().collect(),
    }
}

fn array(shape: &[usize], data: Vec<f32>) -> ArrayD<f32> {
    ArrayD::from_shape_vec(IxDyn(shape), data).expect("one element per position")
}

/// Padding is skipped.
pub(super) fn max(x: &ArrayD<f32>, window: &Window, shape: &[usize]) -> ArrayD<f32> {
    let c = shape[3];
    let mut y = vec![f32::NEG_INFINITY; shape.iter().product()];
    let data = flat(x);
    taps(window, x.shape(), shape, |out, at| {
        let row = &data[at * c..][..c];
        y[out * c..][..c]
            .iter_mut()
            .zip(row)
            .for_each(|(y, x)| *y = y.max(*x));
    });
    array(shape, y)
}

/// Sum over the taps inside the input, divided by their number or by the size of the kernel.
pub(super) fn average(
    x: &ArrayD<f32>,
    window: &Window,
    count_pad: bool,
    shape: &[usize],
) -> ArrayD<f32> {
    let c = shape[3];
    let mut sums = vec![0f64; shape.iter().product()];
    let mut counts = vec![0usize; shape[..3].iter().product()];
    let data = flat(x);
    taps(window, x.shape(), shape, |out, at| {
        counts[out] += 1;
        let row = &data[at * c..][..c];
        sums[out * c..][..c]
            .iter_mut()
            .zip(row)
            .for_each(|(y, x)| *y += f64::from(*x));
    });
    let all = window.kernel[0] * window.kernel[1];
    let divisor = |position: usize| {
        if count_pad {
            all
        } else {
            counts[position].max(1)
        }
    };
    let mean = |(i, sum): (usize, f64)| (sum / divisor(i / c) as f64) as f32;
    array(shape, sums.into_iter().enumerate().map(mean).collect())
}
