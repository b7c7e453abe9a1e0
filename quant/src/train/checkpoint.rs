//! State of a training in one file, complete enough to go on as if it had never stopped: parameters, optimizer, best
//! parameters in a [frame](super::frame).

use super::frame::{self, write_whole};
use super::job::Slot;
use super::optimizer::State;
use crate::Error;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

const MAGIC: &[u8; 8] = b"ELQTRAIN";
/// File of a checkpoint in its folder.
const FILE: &str = "last.ckpt";

/// Choices of a training, by name.
pub type Choices = serde_json::Map<String, serde_json::Value>;

/// Where the state of a training stands, beside its vectors.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Header {
    /// Every choice of the training, by name.
    pub config: Choices,
    /// Checksums of training and validation data.
    pub data: [u32; 2],
    /// Names and shapes of the parameters.
    pub params: Vec<(String, Vec<usize>)>,
    /// Lengths of the optimizer's vectors, parameter by parameter.
    slots: Vec<Vec<usize>>,
    /// Steps the optimizer has taken, per parameter.
    steps: Vec<u64>,
    pub position: Position,
    pub history: Vec<EpochReport>,
    pub best: Option<Best>,
}

/// The next mini-batch, and sums over those of its epoch that are done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Position {
    /// From 0.
    pub epoch: usize,
    pub batch: usize,
    /// Word that the random generator of the epoch has come to.
    pub word: u64,
    /// Bits of the `f64` sum of losses times samples.
    pub loss_bits: u64,
    pub correct: usize,
    pub seen: usize,
}

/// One epoch; figures of the validation data are those after it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EpochReport {
    /// From 1; 0 is the network before the first step.
    pub epoch: usize,
    /// Mean over the mini-batches of the epoch.
    pub loss: Option<f32>,
    /// Share of correct training samples, as they were seen; `None` without classes.
    pub accuracy: Option<f32>,
    pub val_loss: f32,
    pub val_accuracy: Option<f32>,
    /// Accuracy (or negative mean squared error) of the 8-bit network on the engine.
    pub int_score: Option<f32>,
    /// Why there is no `int_score`.
    pub int_error: Option<String>,
    /// Of a supernet: the same figure for some of its configurations; `int_score` is their mean.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub configurations: Vec<(String, f32)>,
    /// No epoch before had a better `int_score`.
    pub best: bool,
}

/// Which parameters are kept.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Best {
    pub epoch: usize,
    pub score: f32,
    pub val_loss: f32,
}

/// A header and its vectors.
pub struct Checkpoint {
    pub header: Header,
    pub params: Vec<Vec<f32>>,
    pub optimizer: State,
    pub best_params: Vec<Vec<f32>>,
}

impl Checkpoint {
    /// File of the checkpoint in `folder`.
    pub fn file(folder: &Path) -> PathBuf {
        folder.join(FILE)
    }

    /// Write to `folder`, which is made where it is missing; the old checkpoint stays until the new one is complete.
    ///
    /// # Errors
    /// Names the file.
    pub fn save(mut self, folder: &Path) -> Result<(), Error> {
        let lengths = |s: &Vec<Vec<f32>>| s.iter().map(Vec::len).collect();
        let (steps, slots) = &self.optimizer;
        self.header.steps.clone_from(steps);
        self.header.slots = slots.iter().map(lengths).collect();
        let file = Self::file(folder);
        let slots = slots.iter().flatten();
        let vectors = self.params.iter().chain(slots).chain(&self.best_params);
        let bytes =
            frame::bytes(MAGIC, &self.header, vectors).map_err(|text| Error::file(&file, text))?;
        std::fs::create_dir_all(folder).map_err(|e| Error::file(folder, e.to_string()))?;
        write_whole(&file, &bytes)
    }

    /// Read from `folder`.
    ///
    /// # Errors
    /// Names the file: missing, damaged, or of another version.
    pub fn load(folder: &Path) -> Result<Checkpoint, Error> {
        let file = Self::file(folder);
        let bytes = std::fs::read(&file).map_err(|e| Error::file(&file, e.to_string()))?;
        Self::parse(&bytes).map_err(|text| Error::file(&file, text))
    }

    fn parse(bytes: &[u8]) -> Result<Checkpoint, String> {
        let (header, values): (Header, Vec<f32>) = frame::parse(MAGIC, bytes)?;
        let mut rest = values.into_iter();
        let mut take = |n: usize| -> Result<Vec<f32>, String> {
            let values: Vec<f32> = rest.by_ref().take(n).collect();
            if values.len() == n {
                Ok(values)
            } else {
                Err("is cut off".into())
            }
        };
        let sizes: Vec<usize> = header
            .params
            .iter()
            .map(|(_, s)| s.iter().product())
            .collect();
        let params = sizes.iter().map(|&n| take(n)).collect::<Result<_, _>>()?;
        let slot = |s: &Vec<usize>| s.iter().map(|&n| take(n)).collect::<Result<Vec<_>, _>>();
        let slots = header.slots.iter().map(slot).collect::<Result<_, _>>()?;
        let best_params = match header.best {
            Some(_) => sizes.iter().map(|&n| take(n)).collect::<Result<_, _>>()?,
            None => Vec::new(),
        };
        Ok(Checkpoint {
            optimizer: (header.steps.clone(), slots),
            header,
            params,
            best_params,
        })
    }

    /// Check that this is a checkpoint of the same training.
    ///
    /// # Errors
    /// Names the file and what differs.
    pub fn check(
        &self,
        folder: &Path,
        config: &Choices,
        data: [u32; 2],
        params: &[Slot],
    ) -> Result<(), Error> {
        let fail = |text: String| Err(Error::file(&Self::file(folder), text));
        if let Some(what) = difference(&self.header.config, config) {
            return fail(format!("belongs to a training with {what}"));
        }
        for (name, old, new) in [
            ("training", self.header.data[0], data[0]),
            ("validation", self.header.data[1], data[1]),
        ] {
            if old != new {
                return fail(format!("belongs to a training on other {name} data"));
            }
        }
        self.check_slots(folder, params)
    }

    /// Check that this is a checkpoint of the parameters `slots`.
    ///
    /// # Errors
    /// Names the file.
    pub fn check_slots(&self, folder: &Path, slots: &[Slot]) -> Result<(), Error> {
        if self.header.params != named(slots) {
            let text = "belongs to another network: its parameters have other names or shapes";
            return Err(Error::file(&Self::file(folder), text));
        }
        Ok(())
    }
}

impl Header {
    /// A header; lengths of the optimizer's vectors are filled in when it is saved.
    pub fn new(config: Choices, data: [u32; 2], params: &[Slot]) -> Header {
        Header {
            config,
            data,
            params: named(params),
            slots: Vec::new(),
            steps: Vec::new(),
            position: Position::default(),
            history: Vec::new(),
            best: None,
        }
    }
}

fn named(params: &[Slot]) -> Vec<(String, Vec<usize>)> {
    let pair = |p: &Slot| (p.name.clone(), p.shape.clone());
    params.iter().map(pair).collect()
}

/// Choices by name, as they are stored: by way of text, in which an `f32` has as many digits as it needs.
pub fn choices(config: &impl Serialize) -> Choices {
    let text = serde_json::to_string(config).unwrap_or_default();
    serde_json::from_str(&text).unwrap_or_default()
}

/// The first choice of `own` that differs in `other`, with its value.
fn difference(own: &Choices, other: &Choices) -> Option<String> {
    let found = own.iter().find(|(k, v)| other.get(*k) != Some(v));
    found.map(|(k, v)| format!("{} = {v}", k.replace('_', " ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::Config;

    #[test]
    fn differences_are_named() {
        let a = Config::default();
        let b = Config {
            lr: 0.01,
            ..a.clone()
        };
        let (a, b) = (choices(&a), choices(&b));
        assert_eq!(difference(&a, &a), None);
        assert_eq!(difference(&b, &a).as_deref(), Some("lr = 0.01"));
    }
}
