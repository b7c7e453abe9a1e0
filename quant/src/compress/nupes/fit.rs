//! Exponent and clipping points of a layer, searched jointly: a grid, then golden sections.
//!
//! For every exponent each channel (or the whole tensor) takes the clipping point of the smallest error of its weights,
//! each weighted by the power of its input where calibration data is given; the exponent is the one of the smallest
//! error of the layer's output, or of the weights without data. Nothing is random.

use super::moments::Moments;
use super::power::{Power, Spare, Table};
use ndarray::{Array2, ArrayView1, Axis};
use rayon::prelude::*;

/// Which exponents are tried.
#[derive(Clone, Debug, PartialEq)]
pub enum Exponents {
    /// All from [`LEAST`] to [`MOST`].
    Free,
    /// A list: `[1.0]` is the uniform grid, `[0.5, 1.0]` needs no table on a device.
    Of(Vec<f64>),
}

/// Bounds of exponents and distance of those that are tried first.
pub const LEAST: f64 = 0.2;
pub const MOST: f64 = 1.5;
const STEP: f64 = 0.05;
/// Clipping points as shares of the largest weight: geometric, from a fiftieth to just above all of it.
const CLIPS: usize = 59;
const CLIP_RATIO: f64 = 1.07;
const CLIP_MOST: f64 = 1.05;
/// Golden sections of an exponent and of a clipping point.
const EXPONENT_SECTIONS: usize = 10;
const CLIP_SECTIONS: usize = 8;

/// How a layer is fitted.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    pub bits: u8,
    pub exponents: Exponents,
    /// Search clipping points; else the largest weight is the last code.
    pub clip: bool,
    /// One clipping point for all channels.
    pub per_tensor: bool,
}

/// A grid for a layer.
#[derive(Clone, Debug, PartialEq)]
pub struct Fit {
    pub power: Power,
    /// Clipping point per channel; 0 where all weights are.
    pub clip: Vec<f64>,
    /// All channels share one clipping point.
    pub per_tensor: bool,
    /// Squared error of the outputs, or of the weights without data.
    pub error: f64,
}

impl Fit {
    /// Indices of the levels next to `w`, `[m, k]`.
    pub fn indices(&self, w: &Array2<f64>) -> Array2<usize> {
        let table = self.power.table();
        let mut all = Array2::zeros(w.raw_dim());
        let zero = table.index(0.0);
        for ((mut to, row), &clip) in all.rows_mut().into_iter().zip(w.rows()).zip(&self.clip) {
            let near = |v: f64| {
                if clip > 0.0 {
                    table.index(v / clip)
                } else {
                    zero
                }
            };
            to.iter_mut().zip(row).for_each(|(i, &v)| *i = near(v));
        }
        all
    }

    /// Weights that `indices` stand for.
    pub fn values(&self, indices: &Array2<usize>) -> Array2<f64> {
        let levels = self.power.table().levels;
        let mut all = indices.mapv(|i| levels[i]);
        let rows = all.rows_mut().into_iter().zip(&self.clip);
        rows.for_each(|(mut row, &clip)| row.mapv_inplace(|v| v * clip));
        all
    }
}

/// Search the grid of weights `w`, `[m, k]`, for the outputs that `data` describes, or for the weights themselves.
pub fn fit(w: &Array2<f64>, data: Option<&Moments>, request: &Request) -> Fit {
    let importance = data.map(|d| d.importance(w.nrows(), w.ncols()));
    let tried = |exponent: f64, spare: Spare| -> Fit {
        let power = Power {
            bits: request.bits,
            exponent,
            spare,
        };
        let clip = clips(w, importance.as_ref(), &power.table(), request);
        let mut fit = Fit {
            power,
            clip,
            per_tensor: request.per_tensor,
            error: 0.0,
        };
        fit.error = error(w, data, &fit.values(&fit.indices(w)));
        fit
    };
    let both = |a: f64| better(tried(a, Spare::Below), tried(a, Spare::Above));
    let grid: Vec<f64> = match &request.exponents {
        Exponents::Free => {
            let n = ((MOST - LEAST) / STEP).round() as usize;
            (0..=n).map(|i| LEAST + STEP * i as f64).collect()
        }
        Exponents::Of(list) => list.clone(),
    };
    let fits: Vec<Fit> = grid.par_iter().map(|&a| both(a)).collect();
    let Some(mut best) = fits.into_iter().reduce(better) else {
        return both(1.0);
    };
    if request.exponents == Exponents::Free {
        let middle = best.power.exponent;
        let (lo, hi) = ((middle - STEP).max(LEAST), (middle + STEP).min(MOST));
        let spare = best.power.spare;
        golden(lo, hi, EXPONENT_SECTIONS, &mut |a| {
            let found = tried(a, spare);
            let e = found.error;
            best = better(best.clone(), found);
            e
        });
    }
    best
}

/// The one with the smaller error, the first of equal ones.
fn better(a: Fit, b: Fit) -> Fit {
    if b.error < a.error { b } else { a }
}

/// Error of `v` for `w`: of outputs, or else of weights.
pub fn error(w: &Array2<f64>, data: Option<&Moments>, v: &Array2<f64>) -> f64 {
    match data {
        Some(data) => data.error(v),
        None => (w - v).mapv(|d| d * d).sum(),
    }
}

fn clips(
    w: &Array2<f64>,
    importance: Option<&Array2<f64>>,
    table: &Table,
    request: &Request,
) -> Vec<f64> {
    let row = |c: usize| (w.row(c), importance.map(|i| i.row(c)));
    let all: Vec<_> = (0..w.nrows()).map(row).collect();
    let one = |rows: &[(ArrayView1<f64>, Option<ArrayView1<f64>>)]| {
        let values = rows.iter().flat_map(|(row, _)| row.iter());
        let most = values.fold(0.0f64, |m, v| m.max(v.abs()));
        if !request.clip || most == 0.0 {
            return most;
        }
        let cost = |clip: f64| -> f64 {
            let off = |v: f64| (v - clip * table.nearest(v / clip)).powi(2);
            let of = |(row, weight): &(ArrayView1<f64>, Option<ArrayView1<f64>>)| match weight {
                Some(weight) => row.iter().zip(weight).map(|(&v, i)| i * off(v)).sum(),
                None => row.iter().map(|&v| off(v)).sum::<f64>(),
            };
            rows.iter().map(of).sum()
        };
        let at = |i: usize| most * CLIP_MOST / CLIP_RATIO.powi(i as i32);
        // The largest weight itself is tried too, so that clipping never loses.
        let mut best = (cost(most), most);
        let mut place = None;
        for i in 0..CLIPS {
            let e = cost(at(i));
            if e < best.0 {
                (best, place) = ((e, at(i)), Some(i));
            }
        }
        let (hi, lo) = match place {
            Some(i) => (at(i) * CLIP_RATIO, at(i) / CLIP_RATIO),
            None => (most * CLIP_RATIO, most / CLIP_RATIO),
        };
        golden(lo, hi, CLIP_SECTIONS, &mut |clip| {
            let e = cost(clip);
            if e < best.0 {
                best = (e, clip);
            }
            e
        });
        best.1
    };
    match request.per_tensor {
        true => vec![one(&all); w.len_of(Axis(0))],
        false => all
            .iter()
            .map(|row| one(std::slice::from_ref(row)))
            .collect(),
    }
}

/// Golden sections of `[lo, hi]`, which call `f` wherever they look.
fn golden(mut lo: f64, mut hi: f64, sections: usize, f: &mut dyn FnMut(f64) -> f64) {
    let ratio = (5f64.sqrt() - 1.0) / 2.0;
    let (mut a, mut b) = (hi - ratio * (hi - lo), lo + ratio * (hi - lo));
    let (mut fa, mut fb) = (f(a), f(b));
    for _ in 0..sections {
        if fa <= fb {
            (hi, b, fb) = (b, a, fa);
            a = hi - ratio * (hi - lo);
            fa = f(a);
        } else {
            (lo, a, fa) = (a, b, fb);
            b = lo + ratio * (hi - lo);
            fb = f(b);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{Rng, SeedableRng};

    fn request(bits: u8, exponents: Exponents, clip: bool) -> Request {
        Request {
            bits,
            exponents,
            clip,
            per_tensor: true,
        }
    }

    fn laplace(n: usize) -> Array2<f64> {
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(8);
        Array2::from_shape_fn((1, n), |_| {
            let u: f64 = rng.random_range(-0.5..0.5);
            -u.signum() * (1.0 - 2.0 * u.abs()).ln()
        })
    }

    #[test]
    fn peaked_weights_take_a_small_exponent() {
        let w = laplace(20_000);
        let uniform = fit(&w, None, &request(4, Exponents::Of(vec![1.0]), false));
        let power = fit(&w, None, &request(4, Exponents::Free, false));
        let (a, ratio) = (power.power.exponent, power.error / uniform.error);
        assert!((0.4..=0.65).contains(&a), "exponent {a}");
        assert!(ratio <= 0.55, "{ratio}");
    }

    #[test]
    fn more_freedom_never_costs() {
        let w = laplace(600).into_shape_with_order((6, 100)).unwrap();
        for bits in 2..=8 {
            for per_tensor in [true, false] {
                let of = |exponents, clip| {
                    let request = Request {
                        per_tensor,
                        ..request(bits, exponents, clip)
                    };
                    fit(&w, None, &request)
                };
                let one = || Exponents::Of(vec![1.0]);
                let (abs_max, clipped) = (of(one(), false), of(one(), true));
                let power = of(Exponents::Free, true);
                assert!(clipped.error <= abs_max.error, "{bits} bits");
                assert!(power.error < clipped.error, "{bits} bits");
                let direct = error(&w, None, &power.values(&power.indices(&w)));
                assert_eq!(direct, power.error);
            }
        }
    }

    #[test]
    fn channels_without_weights_have_no_clipping_point() {
        let mut w = laplace(60).into_shape_with_order((3, 20)).unwrap();
        w.row_mut(1).fill(0.0);
        let found = fit(
            &w,
            None,
            &Request {
                per_tensor: false,
                ..request(3, Exponents::Free, true)
            },
        );
        assert_eq!(found.clip[1], 0.0);
        assert!(
            found
                .values(&found.indices(&w))
                .row(1)
                .iter()
                .all(|&v| v == 0.0)
        );
        assert!(found.error.is_finite());
    }
}
