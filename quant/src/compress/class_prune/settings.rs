//! Choices of a pruning.

use super::figures::RATES;
use crate::Error;
use crate::train::{Config, Rule, Schedule as Rates};
use serde::{Deserialize, Serialize};

/// How weights go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Schedule {
    /// Rounds that train to the end, prune, and go back to the first weights (Frankle and Carbin, 2019).
    Lottery,
    /// Rounds that go on from the weights before and prune by the cubic schedule while they train (Zhu and Gupta, 2017).
    Gradual,
}

/// What goes together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Structure {
    /// Single weights.
    Element,
    /// Four neighbours in a row of weights.
    Block,
    /// Whole output channels.
    Channel,
}

/// What scores are compared within.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    Layer,
    Global,
}

/// What makes a weight worth keeping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Score {
    /// `|w_end| - |w_start|` (Zhou et al., 2019).
    Increase,
    /// `|w_end|`.
    Magnitude,
}

/// Weights of the loss; see [`super::loss`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LossSettings {
    /// β of the effective number of samples: 0 weighs every class alike, close to 1 inversely to its frequency.
    pub balance: f64,
    /// γ of critical classes in the first round, which learns the boundary, and in the later ones.
    pub gamma: [f64; 2],
    /// λ of the ranking loss.
    pub ranking: f64,
}

/// False negatives on validation samples that a network may have more than the dense one.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Budget {
    pub extra: usize,
    /// Count at the threshold for this false positive rate on validation samples, in place of the highest score.
    pub rate: Option<f64>,
}

/// Everything that decides what a pruning computes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// Classes that must not be missed.
    pub critical: Vec<usize>,
    pub loss: LossSettings,
    pub schedule: Schedule,
    pub structure: Structure,
    pub scope: Scope,
    pub score: Score,
    /// Share of the remaining units that goes per round.
    pub share: f64,
    /// Share of all units that always remains.
    pub floor: f64,
    /// `None` goes on to the floor.
    pub budget: Option<Budget>,
    /// Epochs of the first round and of each later one.
    pub epochs: [usize; 2],
    /// Epochs of the first round after which the weights are taken that later rounds start from.
    pub rewind: usize,
    pub batch: usize,
    pub optimizer: Rule,
    pub lr: f32,
    pub rates: Rates,
    pub seed: u64,
    /// Train the networks that the result is compared with, too.
    pub baselines: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            critical: vec![1],
            loss: LossSettings {
                balance: 0.0,
                gamma: [1.0, 5.0],
                ranking: 5.0,
            },
            schedule: Schedule::Lottery,
            structure: Structure::Element,
            scope: Scope::Layer,
            score: Score::Increase,
            share: 0.5,
            floor: 0.01,
            budget: Some(Budget {
                extra: 0,
                rate: None,
            }),
            epochs: [15, 15],
            rewind: 0,
            batch: 32,
            optimizer: Rule::ADAM,
            lr: 1e-3,
            rates: Rates::Constant,
            seed: 0,
            baselines: true,
        }
    }
}

impl Settings {
    /// Check every number.
    ///
    /// # Errors
    /// Names the choice and its bounds.
    pub fn check(&self) -> Result<(), Error> {
        self.training(self.epochs[0]).check()?;
        self.training(self.epochs[1]).check()?;
        let weight = |v: f64| v.is_finite() && v > 0.0;
        let inside = |v: f64| v > 0.0 && v < 1.0;
        let rate = self.budget.and_then(|b| b.rate);
        let checks = [
            (
                inside(self.share),
                "share that goes per round",
                "above 0 and below 1",
            ),
            (inside(self.floor), "floor", "above 0 and below 1"),
            (
                (0.0..1.0).contains(&self.loss.balance),
                "balance",
                "from 0 up to, not including, 1",
            ),
            (
                self.loss.gamma.iter().all(|&g| weight(g)),
                "gamma",
                "above 0",
            ),
            (
                self.loss.ranking.is_finite() && self.loss.ranking >= 0.0,
                "weight of the ranking loss",
                "0 or above",
            ),
            (
                rate.is_none_or(|r| (0.0..1.0).contains(&r)),
                "false positive rate",
                "from 0 up to, not including, 1",
            ),
            (
                self.rewind < self.epochs[0],
                "epoch to rewind to",
                "below the epochs of the first round",
            ),
        ];
        match checks.iter().find(|(holds, _, _)| !holds) {
            Some((_, what, bounds)) => Err(Error::input(format!("{what} must be {bounds}"))),
            None => Ok(()),
        }
    }

    /// What the trainer checks.
    fn training(&self, epochs: usize) -> Config {
        Config {
            epochs,
            batch: self.batch,
            optimizer: self.optimizer,
            lr: self.lr,
            schedule: self.rates,
            seed: self.seed,
            ..Config::default()
        }
    }

    /// False positive rates that figures are given at.
    pub fn rates_reported(&self) -> Vec<f64> {
        let own = self.budget.and_then(|b| b.rate);
        let other = own.filter(|r| !RATES.contains(r));
        RATES.into_iter().chain(other).collect()
    }
}
