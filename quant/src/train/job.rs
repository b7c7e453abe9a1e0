//! What a training computes, apart from the loop around it.

use super::compute::Step;
use super::network::Param;
use crate::Error;
use burn::tensor::{Device, Tensor};
use rand_chacha::ChaCha8Rng;

/// A vector that is learned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slot {
    pub name: String,
    pub shape: Vec<usize>,
    /// Weight decay acts on it.
    pub decays: bool,
}

impl From<&Param> for Slot {
    fn from(p: &Param) -> Slot {
        Slot {
            name: p.name.clone(),
            shape: p.shape.clone(),
            decays: p.decays,
        }
    }
}

/// How well parameters do on the validation data.
#[derive(Clone, Debug)]
pub struct Scores {
    pub val_loss: f32,
    /// `None` without classes.
    pub val_accuracy: Option<f32>,
    /// Score of the integer network, higher is better, or why there is none.
    pub int: Result<f32, String>,
    /// Scores of single configurations, by name.
    pub configurations: Vec<(String, f32)>,
}

/// A training without its loop: order of samples, optimizer, checkpoints and the choice of the best epoch are the same
/// for all.
pub trait Job {
    /// What is learned.
    fn slots(&self) -> &[Slot];

    /// Number of training samples.
    fn samples(&self) -> usize;

    /// Where the parameters are.
    fn device(&self) -> &Device;

    /// Loss and gradients of the samples `picks`. All that is random is drawn from `rng`.
    ///
    /// # Errors
    /// A loss or gradient that is not finite, with the first layer where it is not.
    fn step(
        &mut self,
        params: &[Tensor<1>],
        picks: &[usize],
        rng: &mut ChaCha8Rng,
    ) -> Result<Step, Error>;

    /// `correct` of `seen` samples as a share; `None` without classes.
    fn accuracy(&self, correct: usize, seen: usize) -> Option<f32>;

    /// How well `params` do on the validation data.
    ///
    /// # Errors
    /// What makes all further steps useless.
    fn score(&mut self, params: &[Tensor<1>]) -> Result<Scores, Error>;
}
