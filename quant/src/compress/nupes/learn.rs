//! Codes and exponent of a layer by gradient, over the whole code space.
//!
//! This is our realisation of the idea of NUPES (Yvinec et al., 2023), whose soft function is not copied. A weight has a
//! code below (`f`) and a share `h` of the step to the next one, `h = clip(1.2 sigmoid(V) - 0.1, 0, 1)`:
//!
//! * [`Variant::AdaRound`] keeps `f`: only rounding down or up is learned (Nagel et al., 2020);
//! * [`Variant::Anchored`] moves `f` up where `h` has come to 1 and down where it has come to 0, every few steps of the
//!   first half, so that a code can go anywhere;
//! * [`Variant::Ste`] has no `h`: the code is rounded forward and passed through backward (straight-through).
//!
//! The loss is the error of the layer's output, computed from [`Moments`] over all data at each step. `1 - |2h - 1|^b`
//! with `b` from 20 to 2 makes shares whole in the end. The exponent is `exp(r)`, `r` bounded, with a tenth of the
//! rate, and rests in the last third; clipping points rest always. The best state of whole codes is kept, the start
//! included, so that the result is never worse than the start.

use super::adam::Adam;
use super::fit::{Fit, LEAST, MOST};
use super::moments::Moments;
use ndarray::{Array2, Zip};

/// What is learned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variant {
    AdaRound,
    Anchored,
    Ste,
}

/// How it is learned.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Learn {
    pub variant: Variant,
    /// Steps over all data.
    pub steps: usize,
    /// Learning rate of codes.
    pub rate: f64,
    /// Let the exponent move.
    pub exponent: bool,
    /// Afterwards, move single codes and scales while that lowers the error.
    pub descend: bool,
}

impl Learn {
    /// Rounding on the grid as it is.
    pub const ADAROUND: Learn = Learn {
        variant: Variant::AdaRound,
        steps: 1000,
        rate: 0.02,
        exponent: false,
        descend: false,
    };
    /// Any code, and the exponent.
    pub const WHOLE: Learn = Learn {
        variant: Variant::Anchored,
        exponent: true,
        descend: true,
        ..Learn::ADAROUND
    };
}

/// Weight of the regulariser, in units of the error of one rounded weight.
const WHOLENESS: f64 = 0.03;
/// Steps between two moves of anchors.
const MOVES: usize = 25;
/// Steps between two looks at whole codes.
const LOOKS: usize = 25;
/// Shares from which an anchor moves, and the share that is left then.
const FULL: f64 = 0.999;
const REST: f64 = 0.02;
/// Rate of the exponent over that of codes.
const EXPONENT_RATE: f64 = 0.1;
/// Least exponent that learning goes to.
const EXPONENT_LEAST: f64 = 0.3;

/// Codes that were learned.
#[derive(Clone, Debug, PartialEq)]
pub struct Learned {
    /// Grid; its error is that of `indices`.
    pub fit: Fit,
    /// Index of the level of each weight, `[m, k]`.
    pub indices: Array2<usize>,
}

impl Learned {
    /// The levels next to the weights.
    pub fn rounded(fit: Fit, w: &Array2<f64>, data: Option<&Moments>) -> Learned {
        let indices = fit.indices(w);
        let error = super::fit::error(w, data, &fit.values(&indices));
        Learned {
            fit: Fit { error, ..fit },
            indices,
        }
    }
}

/// Learn the codes of `w`, `[m, k]`, from `start`.
pub fn learn(
    w: &Array2<f64>,
    data: &Moments,
    start: &Fit,
    how: &Learn,
    progress: &mut dyn FnMut(usize, usize),
) -> Learned {
    let mut best = Learned::rounded(start.clone(), w, Some(data));
    let mut state = State::new(w, data, start, how);
    for step in 0..how.steps {
        state.step(step, how);
        if step % LOOKS == LOOKS - 1 || step + 1 == how.steps {
            state.look(&mut best);
            progress(step + 1, how.steps);
        }
    }
    if how.descend {
        super::descend::descend(data, &mut best);
    }
    best
}

struct State<'a> {
    w: &'a Array2<f64>,
    data: &'a Moments,
    fit: Fit,
    /// Index below, of soft variants.
    floor: Array2<usize>,
    /// `V` of soft variants; offset in code space for [`Variant::Ste`].
    v: Array2<f64>,
    /// Factor per weight that makes the loss of rounding one weight about 1.
    unit: Array2<f64>,
    codes: Adam,
    exponent: Adam,
    soft: bool,
}

impl<'a> State<'a> {
    fn new(w: &'a Array2<f64>, data: &'a Moments, start: &Fit, how: &Learn) -> Self {
        let soft = how.variant != Variant::Ste;
        let (m, k) = w.dim();
        let table = start.power.table();
        let levels = &table.levels;
        let (mut floor, mut v) = (Array2::zeros((m, k)), Array2::zeros((m, k)));
        let mut unit = data.importance(m, k);
        let q = f64::from(start.power.q());
        for c in 0..m {
            let clip = start.clip[c];
            let mean = unit.row(c).sum() / k.max(1) as f64;
            let step = clip / q;
            let scale = step * step * mean;
            unit.row_mut(c)
                .fill(if scale > 0.0 { 1.0 / scale } else { 0.0 });
            if clip <= 0.0 || !soft {
                continue;
            }
            for j in 0..k {
                let u = w[(c, j)] / clip;
                let at = levels.partition_point(|&l| l <= u).saturating_sub(1);
                let at = at.min(levels.len() - 2);
                let share = (u - levels[at]) / (levels[at + 1] - levels[at]);
                floor[(c, j)] = at;
                v[(c, j)] = hidden(share.clamp(0.0, 1.0));
            }
        }
        State {
            w,
            data,
            fit: start.clone(),
            floor,
            v,
            unit,
            codes: Adam::new(m * k, how.rate),
            exponent: Adam::new(1, how.rate * EXPONENT_RATE),
            soft,
        }
    }

    fn step(&mut self, step: usize, how: &Learn) {
        let power = self.fit.power;
        let levels = power.table().levels;
        let slopes: Vec<f64> = power.codes().map(|k| power.slope(k)).collect();
        let first = *power.codes().start();
        let q = f64::from(power.q());
        let (m, k) = self.w.dim();
        // Values of all weights, and what they change by per unit of `v` and of the exponent.
        let mut value = Array2::zeros((m, k));
        let mut by_v = Array2::zeros((m, k));
        let mut by_a = Array2::zeros((m, k));
        for c in 0..m {
            let clip = self.fit.clip[c];
            if clip <= 0.0 {
                continue;
            }
            for j in 0..k {
                let at = (c, j);
                if self.soft {
                    let (f, (h, dh)) = (self.floor[at], share(self.v[at]));
                    let width = levels[f + 1] - levels[f];
                    value[at] = clip * (levels[f] + h * width);
                    by_v[at] = clip * width * dh;
                    by_a[at] = clip * ((1.0 - h) * slopes[f] + h * slopes[f + 1]);
                } else {
                    let u = self.w[at] / clip;
                    let code = self.code(u, self.v[at]);
                    value[at] = clip * levels[(code - first) as usize];
                    let near = f64::from(code.abs()).max(0.5) / q;
                    let steep = near.powf(1.0 / power.exponent - 1.0) / power.exponent;
                    by_v[at] = clip / q * steep.clamp(0.1, 10.0);
                    by_a[at] = clip * power.drift(u, code);
                }
            }
        }
        let gradient = self.data.gradient(&value);
        let mut by_code = Array2::zeros((m, k));
        Zip::from(&mut by_code)
            .and(&gradient)
            .and(&by_v)
            .and(&self.unit)
            .for_each(|to, g, d, unit| *to = 2.0 * g * d * unit);
        if self.soft {
            self.whole(step, how, &mut by_code);
        }
        if let (Some(v), Some(g)) = (self.v.as_slice_mut(), by_code.as_slice()) {
            self.codes.step(v, g);
        }
        if how.exponent && 3 * step < 2 * how.steps {
            let a = self.fit.power.exponent;
            let mut log = [a.ln()];
            self.exponent
                .step(&mut log, &[2.0 * a * (&gradient * &by_a).sum()]);
            let least = EXPONENT_LEAST.min(a).max(LEAST);
            self.fit.power.exponent = log[0].clamp(least.ln(), MOST.ln()).exp();
        }
        if how.variant == Variant::Anchored && 2 * step < how.steps && step % MOVES == MOVES - 1 {
            self.move_anchors(levels.len());
        }
    }

    /// Add the derivative of the regulariser.
    fn whole(&self, step: usize, how: &Learn, by_code: &mut Array2<f64>) {
        let rest = match how.variant {
            Variant::Anchored => how.steps / 2,
            _ => how.steps / 5,
        };
        let Some(since) = step.checked_sub(rest) else {
            return;
        };
        let done = since as f64 / (how.steps - rest).max(1) as f64;
        let beta = 20.0 + (2.0 - 20.0) * done;
        Zip::from(by_code).and(&self.v).for_each(|to, &v| {
            let (h, dh) = share(v);
            let off = 2.0 * h - 1.0;
            *to -= WHOLENESS * 2.0 * beta * off.abs().powf(beta - 1.0) * off.signum() * dh;
        });
    }

    fn move_anchors(&mut self, levels: usize) {
        let rest = (hidden(REST), hidden(1.0 - REST));
        Zip::from(&mut self.floor)
            .and(&mut self.v)
            .for_each(|floor, v| {
                let (h, _) = share(*v);
                if h >= FULL && *floor + 2 < levels {
                    (*floor, *v) = (*floor + 1, rest.0);
                } else if h <= 1.0 - FULL && *floor > 0 {
                    (*floor, *v) = (*floor - 1, rest.1);
                }
            });
    }

    /// Code of `u` with `offset` in code space.
    fn code(&self, u: f64, offset: f64) -> i32 {
        let power = &self.fit.power;
        let q = f64::from(power.q());
        // u = 0 before the logarithm: its power is 0, whatever the exponent.
        let p = match u == 0.0 {
            true => 0.0,
            false => u.signum() * q * (power.exponent * u.abs().ln()).exp(),
        };
        let (lo, hi) = (*power.codes().start(), *power.codes().end());
        (p + offset).round().clamp(f64::from(lo), f64::from(hi)) as i32
    }

    /// Keep the state of whole codes where it is better than `best`.
    fn look(&self, best: &mut Learned) {
        let first = *self.fit.power.codes().start();
        let zero = (-first) as usize;
        let mut indices = Array2::zeros(self.w.raw_dim());
        for ((c, j), to) in indices.indexed_iter_mut() {
            let clip = self.fit.clip[c];
            *to = match (clip > 0.0, self.soft) {
                (false, _) => zero,
                (true, true) => self.floor[(c, j)] + usize::from(share(self.v[(c, j)]).0 >= 0.5),
                (true, false) => {
                    (self.code(self.w[(c, j)] / clip, self.v[(c, j)]) - first) as usize
                }
            };
        }
        let error = self.data.error(&self.fit.values(&indices));
        if error < best.fit.error {
            *best = Learned {
                fit: Fit {
                    error,
                    ..self.fit.clone()
                },
                indices,
            };
        }
    }
}

/// `h(V)` and its derivative.
fn share(v: f64) -> (f64, f64) {
    let s = 1.0 / (1.0 + (-v).exp());
    match 1.2 * s - 0.1 {
        h if h <= 0.0 => (0.0, 0.0),
        h if h >= 1.0 => (1.0, 0.0),
        h => (h, 1.2 * s * (1.0 - s)),
    }
}

/// `V` for `h`, a little inside of the ends.
fn hidden(h: f64) -> f64 {
    let s = (h.clamp(1e-3, 1.0 - 1e-3) + 0.1) / 1.2;
    (s / (1.0 - s)).ln()
}

#[cfg(test)]
mod tests {
    use super::super::fit::{Exponents, Request, fit};
    use super::*;
    use rand::{Rng, SeedableRng};

    /// Correlated inputs and bell-shaped weights of 8 channels in two groups.
    fn problem() -> (Array2<f64>, Moments) {
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(6);
        let (m, k, n) = (8, 24, 400);
        let mut bell =
            |scale: f64| (0..4).map(|_| rng.random_range(-1.0..1.0f64)).sum::<f64>() * scale;
        let w = Array2::from_shape_fn((m, k), |(c, _)| bell(0.1 + c as f64 * 0.05));
        let mut moments = Moments::new(m, k, 2);
        for group in 0..2 {
            let x = Array2::from_shape_fn((n, k), |_| bell(1.0));
            let mix =
                Array2::from_shape_fn((k, k), |(i, j)| 0.8f64.powi((i as i32 - j as i32).abs()));
            let x = x.dot(&mix);
            let y = &x + &Array2::from_shape_fn((n, k), |_| bell(0.05));
            moments.add(group, x.view(), y.view(), &w);
        }
        (w, moments)
    }

    fn request(bits: u8) -> Request {
        Request {
            bits,
            exponents: Exponents::Free,
            clip: true,
            per_tensor: false,
        }
    }

    #[test]
    fn sums_give_the_error_of_the_outputs() {
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(7);
        let mut random = |r, c| Array2::from_shape_fn((r, c), |_| rng.random_range(-1.0..1.0f64));
        let (w, v) = (random(4, 6), random(4, 6));
        let mut moments = Moments::new(4, 6, 2);
        let mut want = 0.0;
        for group in 0..2 {
            let (x, y) = (random(50, 6), random(50, 6));
            moments.add(group, x.view(), y.view(), &w);
            let rows = ndarray::s![group * 2..group * 2 + 2, ..];
            let off = x.dot(&w.slice(rows).t()) - y.dot(&v.slice(rows).t());
            want += off.mapv(|d| d * d).sum();
        }
        let got = moments.error(&v);
        assert!((got - want).abs() < 1e-9 * want, "{got} {want}");
        let gradient = moments.gradient(&v);
        let mut moved = v.clone();
        moved[(3, 2)] += 1e-4;
        let up = moments.error(&moved);
        moved[(3, 2)] -= 2e-4;
        let slope = (up - moments.error(&moved)) / 2e-4;
        assert!((2.0 * gradient[(3, 2)] - slope).abs() < 1e-5, "{slope}");
    }

    #[test]
    fn learning_never_loses_and_usually_gains_much() {
        let (w, data) = problem();
        let mut sum = 0.0;
        for bits in [2, 3, 4] {
            let start = fit(&w, Some(&data), &request(bits));
            for variant in [Variant::AdaRound, Variant::Anchored, Variant::Ste] {
                for descend in [false, true] {
                    let how = Learn {
                        variant,
                        descend,
                        steps: 400,
                        ..Learn::WHOLE
                    };
                    let end = learn(&w, &data, &start, &how, &mut |_, _| {});
                    let direct = data.error(&end.fit.values(&end.indices));
                    assert!((direct - end.fit.error).abs() <= 1e-9 * direct);
                    let ratio = end.fit.error / start.error;
                    assert!(ratio <= 1.0, "{bits} bits, {variant:?}, {descend}: {ratio}");
                    sum += ratio;
                    let again = learn(&w, &data, &start, &how, &mut |_, _| {});
                    assert_eq!(again, end);
                }
            }
        }
        assert!(sum / 18.0 < 0.85, "{}", sum / 18.0);
    }

    /// Rounding down or up is too narrow where there are few codes.
    #[test]
    fn the_whole_code_space_gains_where_codes_are_few() {
        let (w, data) = problem();
        let start = fit(
            &w,
            Some(&data),
            &Request {
                exponents: Exponents::Of(vec![1.0]),
                ..request(2)
            },
        );
        let of = |how: Learn| learn(&w, &data, &start, &how, &mut |_, _| {}).fit.error;
        let narrow = of(Learn::ADAROUND);
        let whole = of(Learn {
            exponent: false,
            ..Learn::WHOLE
        });
        assert!(whole < 0.9 * narrow, "{whole} {narrow}");
    }

    /// Weights of 0, of the clipping point and next to nothing give finite steps.
    #[test]
    fn extreme_weights_stay_finite() {
        let (mut w, data) = problem();
        (w[(0, 0)], w[(0, 1)], w[(1, 2)]) = (0.0, 1e-30, -1e-30);
        w.row_mut(3).fill(0.0);
        let start = fit(&w, Some(&data), &request(3));
        for variant in [Variant::Anchored, Variant::Ste] {
            let how = Learn {
                variant,
                steps: 100,
                rate: 0.5,
                ..Learn::WHOLE
            };
            let end = learn(&w, &data, &start, &how, &mut |_, _| {});
            assert!(end.fit.error.is_finite() && end.fit.error <= start.error);
            assert!(end.fit.power.exponent.is_finite());
            assert!(end.fit.clip.iter().all(|c| c.is_finite()));
        }
    }
}
