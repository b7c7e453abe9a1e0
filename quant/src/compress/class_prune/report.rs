//! What a pruning found out.

use super::assess::{Assessment, Integers};
use super::figures::{Figures, rounded};
use super::settings::Settings;
use serde::{Deserialize, Serialize};

/// A way to a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Row {
    /// What the settings ask for. Its first round is the dense network.
    ClassDependent,
    /// Lottery-ticket rounds with cross-entropy alone, as many.
    Plain,
    /// Gradual magnitude pruning with cross-entropy alone in a single training, to the units of the result.
    Gradual,
    /// A dense network with fewer channels and at most as many weights as the result has, cross-entropy alone.
    SmallDense,
}

impl Row {
    /// All of them; the first decides the size of the others.
    pub const ALL: [Row; 4] = [
        Row::ClassDependent,
        Row::Plain,
        Row::Gradual,
        Row::SmallDense,
    ];

    /// Name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Row::ClassDependent => "class-dependent",
            Row::Plain => "plain",
            Row::Gradual => "gradual",
            Row::SmallDense => "small-dense",
        }
    }
}

/// One trained network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RoundReport {
    /// From 0, which is dense.
    pub round: usize,
    /// Epoch whose weights are kept.
    pub best_epoch: usize,
    /// Weights of all layers that are pruned, those that remain, and their share of the dense network's.
    pub weights: usize,
    pub nonzeros: usize,
    pub remaining: f64,
    pub val: Figures,
    pub test: Option<Figures>,
    /// No more false negatives on validation samples than the budget allows; `None` without one.
    pub within_budget: Option<bool>,
    /// The same network in 8 bits on the engine.
    pub integers: Option<IntegerReport>,
    /// Why there is none.
    pub int_error: Option<String>,
}

/// An artifact.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct IntegerReport {
    pub val: Figures,
    pub test: Option<Figures>,
    pub weights_bytes: usize,
    pub file_bytes: usize,
    /// Of one run, where they were measured.
    pub instructions: Option<u64>,
}

/// The rounds of one way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RowReport {
    pub row: Row,
    pub rounds: Vec<RoundReport>,
    /// The last round within the budget.
    pub chosen: usize,
}

/// The whole pruning.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    pub settings: Settings,
    /// Training, validation and test samples.
    pub samples: [usize; 3],
    pub rows: Vec<RowReport>,
}

impl RowReport {
    /// The chosen round.
    pub fn chosen(&self) -> &RoundReport {
        &self.rounds[self.chosen]
    }
}

impl Report {
    /// The rounds of `row`, where it was trained.
    pub fn row(&self, row: Row) -> Option<&RowReport> {
        self.rows.iter().find(|r| r.row == row)
    }
}

impl RoundReport {
    /// `instructions` are those of one run of the artifact.
    pub(super) fn new(
        found: Assessment,
        round: usize,
        best_epoch: usize,
        [nonzeros, weights, dense]: [usize; 3],
        instructions: Option<u64>,
    ) -> RoundReport {
        let (integers, int_error) = match found.integers {
            Ok(i) => (Some(IntegerReport::new(i, instructions)), None),
            Err(e) => (None, Some(e.to_string())),
        };
        RoundReport {
            round,
            best_epoch,
            weights,
            nonzeros,
            remaining: rounded(nonzeros as f64 / dense.max(1) as f64),
            val: found.val,
            test: found.test,
            within_budget: None,
            integers,
            int_error,
        }
    }

    /// Figures on test samples, or on validation samples where there are none.
    pub fn figures(&self) -> &Figures {
        self.test.as_ref().unwrap_or(&self.val)
    }
}

impl IntegerReport {
    fn new(found: Integers, instructions: Option<u64>) -> IntegerReport {
        IntegerReport {
            val: found.val,
            test: found.test,
            weights_bytes: found.weights_bytes,
            file_bytes: found.bytes.len(),
            instructions,
        }
    }
}
