//! Loss of class-dependent pruning: class-weighted cross-entropy plus a ranking loss on the critical classes.
//!
//! ```text
//! L     = 1/B Σ_i w(y_i) · CE_i  +  λ/|C| Σ_{c in C} R_c
//! w(c)  = γ_c · (1 - β) / (1 - β^n_c)          γ_c = γ for critical classes, 1 for others
//! R_c   = 1/(n⁺ n⁻) Σ_{i of class c} Σ_{j of others} max(0, 1 - (s_i - s_j))²,   s = probability of class c
//! ```
//! Weights by the effective number of samples (Cui et al., 2019) have a mean of one over the training samples. As
//! probabilities differ by at most 1, the hinge never rests, and the sum over all pairs is one over samples:
//! with `a_i = 1 - s_i` it is `n⁻ Σ a_i² + 2 Σ a_i Σ s_j + n⁺ Σ s_j²`. `R_c` is at least `1 - AUC` of the mini-batch,
//! which counts every pair in wrong order as 1. A mini-batch without samples of `c`, or with no others, has `R_c = 0`.
//!
//! The ranking loss printed in the source (arXiv 1909.10364, eq. 3) has no gradient, as it depends on ranks, and its
//! sign maximizes the hinge; this is its pairwise form with the sign that minimizes.

use super::critical::{Critical, softmax};

/// Loss of one round.
#[derive(Clone, Debug, PartialEq)]
pub struct Loss {
    /// `w(c)` per class.
    pub weights: Vec<f64>,
    /// `λ`.
    pub ranking: f64,
}

impl Loss {
    /// Cross-entropy alone, every class alike.
    pub fn plain(classes: usize) -> Loss {
        Loss {
            weights: vec![1.0; classes],
            ranking: 0.0,
        }
    }

    /// Weights from `counts` training samples per class, with `balance` = β in `0..1` and `gamma` for critical classes.
    pub fn new(
        counts: &[usize],
        critical: &Critical,
        balance: f64,
        gamma: f64,
        ranking: f64,
    ) -> Loss {
        let effective = |&n: &usize| match n {
            0 => 0.0,
            n => (1.0 - balance) / (1.0 - balance.powf(n as f64)),
        };
        let mut weights: Vec<f64> = counts.iter().map(effective).collect();
        let all: usize = counts.iter().sum();
        let pairs = weights.iter().zip(counts);
        let sum: f64 = pairs.map(|(w, &n)| w * n as f64).sum();
        for (c, w) in weights.iter_mut().enumerate() {
            *w *= all as f64 / sum.max(f64::MIN_POSITIVE);
            if critical.has(c) {
                *w *= gamma;
            }
        }
        Loss { weights, ranking }
    }

    /// Loss of a mini-batch and its gradient by the scores, which are `[samples, width]` as the network gives them
    /// before softmax or sigmoid.
    pub fn of(&self, critical: &Critical, scores: &[f32], labels: &[usize]) -> (f64, Vec<f32>) {
        let n = labels.len().max(1) as f64;
        let mut loss = 0.0;
        let mut grad = vec![0.0; scores.len()];
        let width = critical.width();
        let rows = scores.chunks_exact(width).zip(grad.chunks_exact_mut(width));
        for ((row, grad), &label) in rows.zip(labels) {
            let w = self.weights[label] / n;
            loss += w * match row {
                [z] => {
                    let z = f64::from(*z) * if label == 1 { 1.0 } else { -1.0 };
                    let step = w / (1.0 + z.exp());
                    grad[0] += if label == 1 { -step } else { step };
                    softplus(-z)
                }
                row => {
                    let p = softmax(row);
                    for (k, (g, p)) in grad.iter_mut().zip(&p).enumerate() {
                        *g += w * (p - f64::from(u8::from(k == label)));
                    }
                    log_sum(row) - f64::from(row[label])
                }
            };
        }
        if self.ranking > 0.0 {
            let share = self.ranking / critical.classes().len() as f64;
            for &class in critical.classes() {
                loss += share * ranking(critical, class, share, scores, labels, &mut grad);
            }
        }
        (loss, grad.into_iter().map(|g| g as f32).collect())
    }
}

/// `R_c` of class `class`; adds `share` times its gradient to `grad`.
fn ranking(
    critical: &Critical,
    class: usize,
    share: f64,
    scores: &[f32],
    labels: &[usize],
    grad: &mut [f64],
) -> f64 {
    let width = critical.width();
    let probability = |row: &[f32]| critical.probability(class, row);
    let s: Vec<f64> = scores.chunks_exact(width).map(probability).collect();
    let is = |i: usize| labels[i] == class;
    let (mut pos, mut neg) = ([0.0; 3], [0.0; 3]);
    for (i, &s) in s.iter().enumerate() {
        let (sums, v) = if is(i) {
            (&mut pos, 1.0 - s)
        } else {
            (&mut neg, s)
        };
        sums[0] += 1.0;
        sums[1] += v;
        sums[2] += v * v;
    }
    if pos[0] == 0.0 || neg[0] == 0.0 {
        return 0.0;
    }
    let pairs = pos[0] * neg[0];
    for (i, row) in scores.chunks_exact(width).enumerate() {
        let by_s = if is(i) {
            -2.0 * (neg[0] * (1.0 - s[i]) + neg[1]) / pairs
        } else {
            2.0 * (pos[1] + pos[0] * s[i]) / pairs
        };
        let grad = &mut grad[i * width..][..width];
        match row {
            [_] => {
                let slope = s[i] * (1.0 - s[i]) * if class == 1 { 1.0 } else { -1.0 };
                grad[0] += share * by_s * slope;
            }
            row => {
                for (k, (g, p)) in grad.iter_mut().zip(softmax(row)).enumerate() {
                    *g += share * by_s * s[i] * (f64::from(u8::from(k == class)) - p);
                }
            }
        }
    }
    (neg[0] * pos[2] + 2.0 * pos[1] * neg[1] + pos[0] * neg[2]) / pairs
}

/// `ln(1 + e^z)` without overflow.
fn softplus(z: f64) -> f64 {
    z.max(0.0) + (-z.abs()).exp().ln_1p()
}

fn log_sum(row: &[f32]) -> f64 {
    let top = f64::from(row.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    top + row
        .iter()
        .map(|&z| (f64::from(z) - top).exp())
        .sum::<f64>()
        .ln()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::auc;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    fn batch(rng: &mut ChaCha8Rng, width: usize, n: usize) -> (Vec<f32>, Vec<usize>) {
        let classes = width.max(2);
        let scores = (0..n * width)
            .map(|_| rng.random_range(-3.0..3.0))
            .collect();
        (
            scores,
            (0..n).map(|_| rng.random_range(0..classes)).collect(),
        )
    }

    /// Gradients against central differences in `f64`; scores are `f32`, so the steps are ones it holds exactly.
    #[test]
    fn gradients_are_those_of_differences() {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        for (width, classes) in [
            (1, vec![1]),
            (1, vec![0]),
            (2, vec![1]),
            (5, vec![3]),
            (5, vec![0, 4]),
        ] {
            let critical = Critical::of(width, &classes).expect("classes exist");
            let counts: Vec<usize> = (0..width.max(2)).map(|c| 10 + 40 * c).collect();
            for ranking in [0.0, 5.0] {
                let loss = Loss::new(&counts, &critical, 0.99, 5.0, ranking);
                let (scores, labels) = batch(&mut rng, width, 12);
                let scores: Vec<f32> = scores.iter().map(|v| (v * 64.0).round() / 64.0).collect();
                let (_, grad) = loss.of(&critical, &scores, &labels);
                let norm = grad.iter().fold(0f32, |m, g| m.max(g.abs()));
                let h = 1.0 / 1024.0;
                for i in 0..scores.len() {
                    let at = |d: f32| {
                        let mut moved = scores.clone();
                        moved[i] += d;
                        loss.of(&critical, &moved, &labels).0
                    };
                    let slope = (at(h) - at(-h)) / (2.0 * f64::from(h));
                    let error = (slope - f64::from(grad[i])).abs();
                    assert!(
                        error < 1e-5 * f64::from(norm),
                        "{width} {classes:?} {ranking}: {slope} for {}",
                        grad[i]
                    );
                }
            }
        }
    }

    #[test]
    fn the_sum_over_samples_is_the_sum_over_pairs() {
        let mut rng = ChaCha8Rng::seed_from_u64(6);
        let critical = Critical::of(4, &[2]).expect("class exists");
        let (scores, labels) = batch(&mut rng, 4, 40);
        let s: Vec<f64> = scores
            .chunks_exact(4)
            .map(|r| critical.probability(2, r))
            .collect();
        let (mut sum, mut pairs) = (0.0, 0.0);
        for i in (0..40).filter(|&i| labels[i] == 2) {
            for j in (0..40).filter(|&j| labels[j] != 2) {
                sum += (1.0 - (s[i] - s[j])).max(0.0).powi(2);
                pairs += 1.0;
            }
        }
        let found = ranking(&critical, 2, 1.0, &scores, &labels, &mut vec![0.0; 160]);
        assert!(
            (found - sum / pairs).abs() < 1e-12,
            "{found} for {}",
            sum / pairs
        );
    }

    #[test]
    fn ranking_is_never_below_one_minus_the_area_under_the_curve() {
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        let critical = Critical::of(1, &[1]).expect("class exists");
        let mut checked = 0;
        for _ in 0..1000 {
            let (scores, labels) = batch(&mut rng, 1, 32);
            let found = ranking(&critical, 1, 1.0, &scores, &labels, &mut [0.0; 32]);
            let positive: Vec<bool> = labels.iter().map(|&l| l == 1).collect();
            match auc(&scores, &positive) {
                Some(auc) => {
                    assert!(found >= 1.0 - auc, "{found} for AUC {auc}");
                    checked += 1;
                }
                None => assert_eq!(found, 0.0),
            }
        }
        assert!(checked > 990);
    }

    #[test]
    fn one_class_alone_has_no_ranking_and_everything_is_finite() {
        for (width, class) in [(1, 1), (3, 2)] {
            let critical = Critical::of(width, &[class]).expect("class exists");
            let loss = Loss::new(&[10; 3][..width.max(2)], &critical, 0.0, 5.0, 5.0);
            let plain = Loss {
                ranking: 0.0,
                ..loss.clone()
            };
            // Scores so large that probabilities are 0 and 1.
            let scores: Vec<f32> = (0..8 * width)
                .map(|i| if i % 2 == 0 { 1e4 } else { -1e4 })
                .collect();
            for label in [class, 0] {
                let labels = vec![label; 8];
                let (value, grad) = loss.of(&critical, &scores, &labels);
                assert!(value.is_finite() && grad.iter().all(|g| g.is_finite()));
                assert_eq!((value, grad), plain.of(&critical, &scores, &labels));
            }
        }
    }

    #[test]
    fn rare_classes_weigh_more_and_critical_ones_gamma_times() {
        let critical = Critical::of(1, &[1]).expect("class exists");
        let even = Loss::new(&[90, 10], &critical, 0.0, 5.0, 0.0);
        assert_eq!(even.weights, [1.0, 5.0]);
        // Close to 1, the effective number is the number itself.
        let inverse = Loss::new(&[90, 10], &critical, 1.0 - 1e-9, 1.0, 0.0).weights;
        assert!((inverse[1] / inverse[0] - 9.0).abs() < 1e-5, "{inverse:?}");
        assert!((0.9 * inverse[0] + 0.1 * inverse[1] - 1.0).abs() < 1e-9);
    }
}
