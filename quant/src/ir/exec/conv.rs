//! Convolution and dense layers.
//!
//! A dense convolution copies the windows of a block of output positions into rows and multiplies the rows with
//! the weights; a depthwise one adds tap after tap over whole channel rows.

use crate::ir::Window;
use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, ArrayD, ArrayView2, IxDyn};

/// Elements of the copied windows that are held at a time.
const ROWS_LEN: usize = 1 << 18;

fn flat(x: &ArrayD<f32>) -> std::borrow::Cow<'_, [f32]> {
    match x.as_slice() {
        Some(slice) => slice.into(),
        None => x.iter().copied().collect(),
    }
}

/// `y = x * w^T`, one row of `x` per row of `y`.
fn product(x: ArrayView2<f32>, w: ArrayView2<f32>) -> Array2<f32> {
    let mut y = Array2::zeros((x.nrows(), w.nrows()));
    general_mat_mul(1.0, &x, &w.t(), 0.0, &mut y);
    y
}

pub(super) fn dense(
    x: &ArrayD<f32>,
    w: &ArrayD<f32>,
    bias: Option<&ArrayD<f32>>,
    shape: &[usize],
) -> ArrayD<f32> {
    let (m, k) = (w.shape()[0], w.shape()[1]);
    let (data, weights) = (flat(x), flat(w));
    let rows = data.len() / k.max(1);
    let x = ArrayView2::from_shape((rows, k), &data).expect("k is the last extent");
    let w = ArrayView2::from_shape((m, k), &weights).expect("weights are [m, k]");
    let mut y = product(x, w);
    if let Some(bias) = bias {
        let bias = flat(bias);
        y.rows_mut()
            .into_iter()
            .for_each(|mut row| row.iter_mut().zip(bias.iter()).for_each(|(y, b)| *y += b));
    }
    y.into_dyn()
        .into_shape_with_order(IxDyn(shape))
        .expect("one element per output")
}

/// Geometry of one convolution.
struct Geometry<'a> {
    window: &'a Window,
    x: [usize; 4],
    y: [usize; 4],
}

impl Geometry<'_> {
    /// Start of the channels of the input cell that tap (`kh`, `kw`) of output (`n`, `oh`, `ow`) reads.
    fn cell(&self, [n, oh, ow]: [usize; 3], [kh, kw]: [usize; 2]) -> Option<usize> {
        let at = |o: usize, k: usize, axis: usize| -> Option<usize> {
            let p = o * self.window.stride[axis] + k * self.window.dilation[axis];
            p.checked_sub(self.window.pads[axis])
                .filter(|&p| p < self.x[axis + 1])
        };
        let (ih, iw) = (at(oh, kh, 0)?, at(ow, kw, 1)?);
        Some(((n * self.x[1] + ih) * self.x[2] + iw) * self.x[3])
    }

    fn position(&self, i: usize) -> [usize; 3] {
        let [_, h, w, _] = self.y;
        [i / (h * w), i / w % h, i % w]
    }

    fn positions(&self) -> usize {
        self.y[0] * self.y[1] * self.y[2]
    }

    /// What output position `i` reads of the `cg` channels from `first`, tap after tap, 0 where that is padding.
    fn copy_window(&self, x: &[f32], i: usize, first: usize, cg: usize, row: &mut [f32]) {
        let (position, kw) = (self.position(i), self.window.kernel[1]);
        for (tap, cells) in row.chunks_exact_mut(cg).enumerate() {
            match self.cell(position, [tap / kw, tap % kw]) {
                Some(at) => cells.copy_from_slice(&x[at + first..][..cg]),
                None => cells.fill(0.0),
            }
        }
    }
}

/// Windows that a group of output channels reads, `[positions, kh * kw * c / groups]` in the order of the weights;
/// `positions` count over the output `shape` in row-major order.
pub fn windows(
    x: &ArrayD<f32>,
    window: &Window,
    (group, groups): (usize, usize),
    positions: &[usize],
    shape: &[usize],
) -> Array2<f32> {
    let four = |s: &[usize]| <[usize; 4]>::try_from(s).expect("NHWC");
    let geometry = Geometry {
        window,
        x: four(x.shape()),
        y: four(shape),
    };
    let cg = geometry.x[3] / groups;
    let mut rows = Array2::zeros((positions.len(), window.kernel[0] * window.kernel[1] * cg));
    let data = flat(x);
    for (mut row, &i) in rows.rows_mut().into_iter().zip(positions) {
        let row = row.as_slice_mut().expect("new arrays are contiguous");
        geometry.copy_window(&data, i, group * cg, cg, row);
    }
    rows
}

pub(super) fn conv(
    x: &ArrayD<f32>,
    w: &ArrayD<f32>,
    bias: Option<&ArrayD<f32>>,
    window: &Window,
    groups: usize,
    shape: &[usize],
) -> ArrayD<f32> {
    let four = |s: &[usize]| <[usize; 4]>::try_from(s).expect("NHWC");
    let geometry = Geometry {
        window,
        x: four(x.shape()),
        y: four(shape),
    };
    let (data, weights) = (flat(x), flat(w));
    let mut y = match w.shape()[3] {
        1 if groups == geometry.x[3] => depthwise(&geometry, &data, &weights),
        _ => grouped(&geometry, &data, &weights, groups),
    };
    if let Some(bias) = bias {
        let bias = flat(bias);
        for row in y.chunks_exact_mut(bias.len().max(1)) {
            row.iter_mut().zip(bias.iter()).for_each(|(y, b)| *y += b);
        }
    }
    ArrayD::from_shape_vec(IxDyn(shape), y).expect("one element per output")
}

fn depthwise(g: &Geometry, x: &[f32], w: &[f32]) -> Vec<f32> {
    let (m, c) = (g.y[3], g.x[3]);
    let [kh, kw] = g.window.kernel;
    let (taps, multiplier) = (kh * kw, m / c);
    // Tap-major weights: one row of m per tap.
    let by_tap: Vec<f32> = (0..taps * m).map(|i| w[i % m * taps + i / m]).collect();
    let mut y = vec![0f32; g.positions() * m];
    for (i, row) in y.chunks_exact_mut(m).enumerate() {
        let position = g.position(i);
        for (tap, weights) in by_tap.chunks_exact(m).enumerate() {
            let Some(at) = g.cell(position, [tap / kw, tap % kw]) else {
                continue;
            };
            let cells = &x[at..at + c];
            if multiplier == 1 {
                row.iter_mut()
                    .zip(weights.iter().zip(cells))
                    .for_each(|(y, (w, x))| *y += w * x);
            } else {
                let outputs = row
                    .chunks_exact_mut(multiplier)
                    .zip(weights.chunks_exact(multiplier));
                for ((row, weights), x) in outputs.zip(cells) {
                    row.iter_mut().zip(weights).for_each(|(y, w)| *y += w * x);
                }
            }
        }
    }
    y
}

fn grouped(g: &Geometry, x: &[f32], w: &[f32], groups: usize) -> Vec<f32> {
    let (m, c) = (g.y[3], g.x[3]);
    let [kh, kw] = g.window.kernel;
    let (mg, cg) = (m / groups, c / groups);
    let k = kh * kw * cg;
    let all = g.positions();
    let mut y = vec![0f32; all * m];
    let plain = [kh, kw] == [1, 1] && g.window.stride == [1, 1] && g.window.pads == [0; 4];
    let block = (ROWS_LEN / k.max(1)).clamp(1, all.max(1));
    let mut rows = vec![0f32; block * k];
    for group in 0..groups {
        let weights = ArrayView2::from_shape((mg, k), &w[group * mg * k..][..mg * k])
            .expect("weights are [m, k]");
        if plain && groups == 1 {
            let x = ArrayView2::from_shape((all, c), x).expect("NHWC");
            return product(x, weights).into_raw_vec_and_offset().0;
        }
        for first in (0..all).step_by(block) {
            let count = block.min(all - first);
            for (i, row) in rows.chunks_exact_mut(k).take(count).enumerate() {
                g.copy_window(x, first + i, group * cg, cg, row);
            }
            let view = ArrayView2::from_shape((count, k), &rows[..count * k])
                .expect("one row per position");
            let part = product(view, weights);
            for (i, part) in part.rows().into_iter().enumerate() {
                let out = &mut y[(first + i) * m + group * mg..][..mg];
                out.iter_mut().zip(part).for_each(|(y, p)| *y = *p);
            }
        }
    }
    y
}
