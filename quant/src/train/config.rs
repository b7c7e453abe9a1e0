//! Choices of a training.

use super::objective::{ClassWeights, Objective};
use super::optimizer::{Clip, Rule};
use super::schedule::Schedule;
use super::wdr::Wdr;
use crate::Error;
use serde::{Deserialize, Serialize};

/// Everything that decides what a training computes. Two trainings with equal choices, data and network end with equal
/// bytes on the same machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Config {
    pub objective: Objective,
    pub epochs: usize,
    /// Samples in a mini-batch; the last one of an epoch may be smaller.
    pub batch: usize,
    pub optimizer: Rule,
    /// Full learning rate.
    pub lr: f32,
    pub schedule: Schedule,
    pub weight_decay: f32,
    pub clip: Clip,
    pub class_weights: ClassWeights,
    /// Share of the target that is spread over all classes.
    pub label_smoothing: f32,
    /// Parameter of mixup's Beta distribution, 0 for none.
    pub mixup: f32,
    /// Regularization of the distribution of the weights.
    pub wdr: Option<Wdr>,
    pub seed: u64,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            objective: Objective::Classify,
            epochs: 20,
            batch: 32,
            optimizer: Rule::ADAM,
            lr: 1e-3,
            schedule: Schedule::Cosine,
            weight_decay: 0.0,
            clip: Clip::None,
            class_weights: ClassWeights::None,
            label_smoothing: 0.0,
            mixup: 0.0,
            wdr: None,
            seed: 0,
        }
    }
}

impl Config {
    /// Check every number.
    ///
    /// # Errors
    /// Names the choice and its bounds.
    pub fn check(&self) -> Result<(), Error> {
        let momenta = match self.optimizer {
            Rule::Sgd { momentum } => [momentum, 0.0],
            Rule::Adam { beta1, beta2 } => [beta1, beta2],
        };
        let clip = match self.clip {
            Clip::None => 1.0,
            Clip::Norm(v) | Clip::Value(v) => v,
        };
        let step = match self.schedule {
            Schedule::Step { epochs, factor } => epochs > 0 && factor > 0.0 && factor <= 1.0,
            Schedule::Constant | Schedule::Cosine => true,
        };
        let below_one = |v: &f32| (0.0..1.0).contains(v);
        let positive = |v: f32| v.is_finite() && v > 0.0;
        let checks = [
            (self.epochs > 0, "epochs", "at least 1"),
            (self.batch > 0, "batch", "at least 1"),
            (positive(self.lr), "learning rate", "above 0"),
            (
                step,
                "step schedule",
                "at least one epoch and a factor above 0 up to 1",
            ),
            (
                self.weight_decay.is_finite() && self.weight_decay >= 0.0,
                "weight decay",
                "0 or above",
            ),
            (positive(clip), "gradient clipping", "above 0"),
            (
                below_one(&self.label_smoothing),
                "label smoothing",
                "from 0 up to, not including, 1",
            ),
            ((0.0..=1.0).contains(&self.mixup), "mixup", "from 0 to 1"),
            (
                self.wdr.is_none_or(|w| w.is_valid()),
                "regularization of distributions",
                "of numbers that are 0 or above",
            ),
            (
                momenta.iter().all(below_one),
                "momentum",
                "from 0 up to, not including, 1",
            ),
        ];
        match checks.iter().find(|(holds, _, _)| !holds) {
            Some((_, what, bounds)) => Err(Error::input(format!("{what} must be {bounds}"))),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_out_of_bounds_are_named() {
        Config::default().check().expect("defaults hold");
        let bad = |change: fn(&mut Config)| {
            let mut c = Config::default();
            change(&mut c);
            c.check().expect_err("out of bounds").to_string()
        };
        assert_eq!(bad(|c| c.batch = 0), "batch must be at least 1");
        assert!(bad(|c| c.lr = f32::NAN).starts_with("learning rate"));
        assert!(bad(|c| c.mixup = 1.5).starts_with("mixup"));
        assert!(bad(|c| c.label_smoothing = 1.0).starts_with("label smoothing"));
        assert!(bad(|c| c.clip = Clip::Norm(0.0)).starts_with("gradient clipping"));
        assert!(bad(|c| c.optimizer = Rule::Sgd { momentum: 1.0 }).starts_with("momentum"));
    }
}
