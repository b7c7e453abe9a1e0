//! Weight distribution regularization: weights of a layer spread like a uniform distribution lose less by rounding.
//!
//! EQ-Net, equations 4 to 6. With `z = (w - mean) / sigma` over all `N` weights of a layer, `m3 = E[z^3]` (skewness) and
//! `m4 = E[z^4]` (kurtosis):
//! ```text
//! L           = 1/L sum_l ( a m3^2 + b (m4 - target)^2 )
//! dm3 / dw_i  = 3 / (N sigma) (z_i^2 - 1 - m3 z_i)
//! dm4 / dw_i  = 4 / (N sigma) (z_i^3 - m3 - m4 z_i)
//! ```

use serde::{Deserialize, Serialize};

/// Weights of the two terms, and the kurtosis aimed at.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Wdr {
    pub skew: f32,
    pub kurtosis: f32,
    pub target: f32,
}

impl Default for Wdr {
    fn default() -> Wdr {
        Wdr {
            skew: 0.1,
            kurtosis: 0.015,
            target: 1.8,
        }
    }
}

/// Mean, deviation, skewness and kurtosis.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Moments {
    pub mean: f64,
    pub sigma: f64,
    pub skew: f64,
    pub kurtosis: f64,
}

impl Moments {
    /// Of `w`; `None` where all values are equal.
    pub fn of(w: &[f32]) -> Option<Moments> {
        let n = w.len() as f64;
        let power = |around: f64, e: i32| {
            w.iter()
                .map(|&v| (f64::from(v) - around).powi(e))
                .sum::<f64>()
                / n
        };
        let mean = power(0.0, 1);
        let sigma = power(mean, 2).sqrt();
        // A deviation within rounding of the mean is none.
        (sigma > f64::from(f32::EPSILON) * mean.abs()).then(|| Moments {
            mean,
            sigma,
            skew: power(mean, 3) / sigma.powi(3),
            kurtosis: power(mean, 4) / sigma.powi(4),
        })
    }
}

impl Wdr {
    /// Whether both terms are finite and not negative.
    pub fn is_valid(&self) -> bool {
        let all = [self.skew, self.kurtosis, self.target];
        all.iter().all(|v| v.is_finite() && *v >= 0.0)
    }

    /// Loss of the weights `w` of one layer, and its gradient; both 0 where all weights are equal.
    pub fn of_layer(&self, w: &[f32]) -> (f64, Vec<f64>) {
        let Some(m) = Moments::of(w) else {
            return (0.0, vec![0.0; w.len()]);
        };
        let (a, b) = (f64::from(self.skew), f64::from(self.kurtosis));
        let off = m.kurtosis - f64::from(self.target);
        let unit = 1.0 / (w.len() as f64 * m.sigma);
        let slope = |&v: &f32| {
            let z = (f64::from(v) - m.mean) / m.sigma;
            let skew = 3.0 * (z * z - 1.0 - m.skew * z);
            let kurtosis = 4.0 * (z.powi(3) - m.skew - m.kurtosis * z);
            2.0 * unit * (a * m.skew * skew + b * off * kurtosis)
        };
        let loss = a * m.skew * m.skew + b * off * off;
        (loss, w.iter().map(slope).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{Rng, SeedableRng};

    #[test]
    fn moments_of_known_distributions() {
        let two = Moments::of(&[-1.0, 1.0]).expect("spread");
        assert_eq!(
            (two.mean, two.sigma, two.skew, two.kurtosis),
            (0.0, 1.0, 0.0, 1.0)
        );
        let n = 60_001u16;
        let line: Vec<f32> = (0..n as u32).map(|i| i as f32 / f32::from(n)).collect();
        let uniform = Moments::of(&line).expect("spread");
        assert!((uniform.kurtosis - 1.8).abs() < 1e-4 && uniform.skew.abs() < 1e-4);
        assert_eq!(Moments::of(&[0.3; 8]), None);
    }

    /// Central differences, in f64 but for the argument: a step that is a power of two is exact.
    #[test]
    fn gradients_are_differences() {
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(4);
        for term in [(1.0, 0.0), (0.0, 1.0), (0.1, 0.015)] {
            let wdr = Wdr {
                skew: term.0,
                kurtosis: term.1,
                ..Wdr::default()
            };
            let skewed = |_| (rng.random_range(0.0..1.0f32).powi(3) * 1024.0).round() / 1024.0;
            let w: Vec<f32> = (0..40).map(skewed).collect();
            let (_, gradient) = wdr.of_layer(&w);
            let step = 2f32.powi(-12);
            let size = gradient.iter().fold(0.0, |m: f64, g| m.max(g.abs()));
            for i in 0..w.len() {
                let at = |by: f32| {
                    let mut moved = w.clone();
                    moved[i] += by;
                    wdr.of_layer(&moved).0
                };
                let difference = (at(step) - at(-step)) / (2.0 * f64::from(step));
                let off = (difference - gradient[i]).abs();
                assert!(
                    off < 1e-4 * size,
                    "{term:?} {i}: {difference} {}",
                    gradient[i]
                );
            }
        }
    }
}
