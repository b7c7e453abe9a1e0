//! Class-dependent pruning: smaller networks that do not miss the class that matters.
//!
//! After Entezari and Saukh, "Class-dependent Compression of Deep Neural Networks" (arXiv 1909.10364): lottery-ticket
//! rounds under a loss that weighs critical classes and ranks them above all others. Beyond it, pruning stops before
//! validation samples of critical classes are missed more often than the budget allows; whole channels and blocks
//! are pruned by the same score; and every result stands beside plain lottery tickets, gradual magnitude pruning and a
//! small dense network of the same size.
//!
//! ```text
//! W0 = first weights, mask = everything
//! repeat: W = train(mask · W0)                    gradients masked; γ of the first round, then of the others
//!         if misses(W) > misses(dense) + budget: stop, the network before is the result
//!         mask = mask without the share p of the remaining units with the least |W| - |W0|
//! until the floor is reached
//! ```
//! False negatives by the highest score fall with γ alone, as the threshold shifts: reports also give the false negative
//! rate at fixed false positive rates, and the area under the curve.

mod assess;
mod critical;
mod figures;
mod learner;
pub mod loss;
mod mask;
mod prune;
mod report;
mod settings;
mod small;
mod split;
mod state;
#[cfg(test)]
mod tests;

pub use critical::{Critical, Verdict};
pub use figures::{AtRate, Figures, RATES};
pub use mask::{BLOCK, Mask, Units};
pub use prune::{Event, Job, Pruned, Watch, prune};
pub use report::{IntegerReport, Report, RoundReport, Row, RowReport};
pub use settings::{Budget, LossSettings, Schedule, Scope, Score, Settings, Structure};
pub use small::small;
pub use split::{Test, Train, Val};

pub use crate::train::Control;
