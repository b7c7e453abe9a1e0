//! What the error of a layer's output depends on, summed over calibration data.
//!
//! With inputs `x` of the float network, inputs `x'` of the quantized prefix and quantized weights `v` for `w`, the
//! squared error of one output channel is
//! ```text
//! sum (w.x - v.x')^2 = e - 2 v.t + v.H v,   H = sum x' x'^T,   t = sum x' (w.x),   e = sum (w.x)^2
//! ```
//! so that data is read once and every candidate afterwards costs one product with `H`. Groups of a convolution have an
//! `H` each. Layers with very long rows are cut into parts whose errors are taken as independent.

use ndarray::{Array1, Array2, ArrayView2, Axis, s};
use std::ops::Range;

/// Longest part of a row.
const PART: usize = 1152;

/// Sums of one group of output channels over one part of their inputs.
#[derive(Clone, Debug)]
pub struct Part {
    pub rows: Range<usize>,
    pub cols: Range<usize>,
    /// `H`, `[cols, cols]`.
    pub h: Array2<f64>,
    /// `t`, `[rows, cols]`.
    pub t: Array2<f64>,
    /// `e` per row.
    pub e: Array1<f64>,
}

/// Sums of a layer with `m` outputs of `k` weights.
#[derive(Clone, Debug)]
pub struct Moments {
    pub parts: Vec<Part>,
    /// Rows of `x` that were added, over all parts of a group.
    pub count: usize,
}

impl Moments {
    /// Nothing summed yet, for `groups` equal groups of the `m` rows.
    pub fn new(m: usize, k: usize, groups: usize) -> Moments {
        let per = m / groups.max(1);
        let cuts = k.div_ceil(PART).max(1);
        let part = |group: usize, cut: usize| {
            let cols = cut * k / cuts..(cut + 1) * k / cuts;
            Part {
                rows: group * per..(group + 1) * per,
                h: Array2::zeros((cols.len(), cols.len())),
                t: Array2::zeros((per, cols.len())),
                e: Array1::zeros(per),
                cols,
            }
        };
        let parts = (0..groups).flat_map(|g| (0..cuts).map(move |c| (g, c)));
        Moments {
            parts: parts.map(|(g, c)| part(g, c)).collect(),
            count: 0,
        }
    }

    /// Add windows of a group: `x` of the float network and `y` of the quantized prefix, `[n, k]` each, for the float
    /// weights `w` of the whole layer, `[m, k]`.
    pub fn add(&mut self, group: usize, x: ArrayView2<f64>, y: ArrayView2<f64>, w: &Array2<f64>) {
        let cuts = self.parts.iter().filter(|p| p.rows.start == 0).count();
        for part in &mut self.parts[group * cuts..][..cuts] {
            let cut = |a: &ArrayView2<f64>| a.slice(s![.., part.cols.clone()]).to_owned();
            let (x, y) = (cut(&x), cut(&y));
            let target = x.dot(&w.slice(s![part.rows.clone(), part.cols.clone()]).t());
            part.h += &y.t().dot(&y);
            part.t += &target.t().dot(&y);
            part.e += &target.mapv(|v| v * v).sum_axis(Axis(0));
        }
        if group == 0 {
            self.count += x.nrows();
        }
    }

    /// Energy of the float output, never 0.
    pub fn energy(&self) -> f64 {
        let sum: f64 = self.parts.iter().map(|p| p.e.sum()).sum();
        sum.max(f64::MIN_POSITIVE)
    }

    /// Squared error of weights `v`, `[m, k]`, summed over samples and channels.
    pub fn error(&self, v: &Array2<f64>) -> f64 {
        let of = |part: &Part| {
            let v = v.slice(s![part.rows.clone(), part.cols.clone()]);
            let quadratic = (&v * &(v.dot(&part.h) - 2.0 * &part.t)).sum();
            (part.e.sum() + quadratic).max(0.0)
        };
        self.parts.iter().map(of).sum()
    }

    /// Half of the derivative of [`Moments::error`] by `v`: `v H - t`.
    pub fn gradient(&self, v: &Array2<f64>) -> Array2<f64> {
        let mut all = Array2::zeros(v.raw_dim());
        for part in &self.parts {
            let at = s![part.rows.clone(), part.cols.clone()];
            all.slice_mut(at)
                .assign(&(v.slice(at).dot(&part.h) - &part.t));
        }
        all
    }

    /// Diagonal of `H` by weight, `[m, k]`: how much the error of a weight counts, others exact.
    pub fn importance(&self, m: usize, k: usize) -> Array2<f64> {
        let mut all = Array2::zeros((m, k));
        for part in &self.parts {
            let mut at = all.slice_mut(s![part.rows.clone(), part.cols.clone()]);
            at.rows_mut()
                .into_iter()
                .for_each(|mut row| row.assign(&part.h.diag()));
        }
        all
    }
}
