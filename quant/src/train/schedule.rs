//! Learning rate over the course of a training.

use serde::{Deserialize, Serialize};

/// How the learning rate falls.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Schedule {
    Constant,
    /// Half a cosine from the full rate to 0, step by step.
    Cosine,
    /// Times `factor` after every `epochs` epochs.
    Step {
        epochs: usize,
        factor: f32,
    },
}

impl Schedule {
    /// Share of the full rate at `step` of `total`, with `per_epoch` steps in an epoch.
    pub fn share(&self, step: u64, total: u64, per_epoch: u64) -> f32 {
        match *self {
            Schedule::Constant => 1.0,
            Schedule::Cosine => {
                let done = step as f64 / total.max(1) as f64;
                (0.5 + 0.5 * (std::f64::consts::PI * done).cos()) as f32
            }
            Schedule::Step { epochs, factor } => {
                let drops = step / per_epoch.max(1) / (epochs.max(1) as u64);
                f64::from(factor).powf(drops as f64) as f32
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cosine_starts_full_and_ends_at_nothing() {
        let s = Schedule::Cosine;
        assert_eq!(s.share(0, 100, 10), 1.0);
        assert!((s.share(50, 100, 10) - 0.5).abs() < 1e-6);
        assert!(s.share(100, 100, 10).abs() < 1e-6);
    }

    #[test]
    fn steps_fall_at_the_end_of_epochs() {
        let s = Schedule::Step {
            epochs: 2,
            factor: 0.1,
        };
        assert_eq!(s.share(19, 100, 10), 1.0);
        assert!((s.share(20, 100, 10) - 0.1).abs() < 1e-7);
        assert!((s.share(40, 100, 10) - 0.01).abs() < 1e-7);
    }
}
