//! What is minimized, and how well a network does at it.

use super::data::Data;
use super::network::{Head, Network};
use crate::Error;
use burn::tensor::{Tensor, activation};
use serde::{Deserialize, Serialize};

/// What a network is trained to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Objective {
    /// Give the label the highest score: cross-entropy. A single output is the score of class 1 against 0.
    Classify,
    /// Give back the input: mean squared error.
    Reconstruct,
}

/// Weight of each class in the loss.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClassWeights {
    #[default]
    None,
    /// Inversely proportional to how often a class occurs, with a mean of one over the samples.
    Balanced,
    Given(Vec<f32>),
}

/// Target values of a mini-batch.
pub struct Targets {
    /// `[lead, classes]` class shares times class weights, or `[lead, width]` values.
    pub values: Vec<f32>,
    /// What the sum of the losses is divided by.
    pub norm: f32,
}

/// An objective, resolved for one network and data set.
#[derive(Clone, Debug)]
pub struct Task {
    pub objective: Objective,
    /// Number of scores per sample; 2 for a network with a single one.
    pub classes: usize,
    weights: Vec<f32>,
    smoothing: f32,
}

impl Task {
    /// Check that `data` serves `objective` on `network`.
    ///
    /// # Errors
    /// Names what does not fit: labels, number of classes or weights, shape of the output.
    pub fn new(
        network: &Network,
        data: &Data,
        objective: Objective,
        weights: &ClassWeights,
        smoothing: f32,
    ) -> Result<Task, Error> {
        let classes = network.width().max(2);
        let mut task = Task {
            objective,
            classes,
            weights: vec![1.0; classes],
            smoothing,
        };
        if objective == Objective::Reconstruct {
            if data.targets.is_none() {
                let text = "the output has not the shape of the input, which it should give back";
                return Err(Error::at("data", text));
            }
            return Ok(task);
        }
        let shape = &network.graph().outputs[0].file_shape;
        if network.head() != Head::Classes && shape.iter().filter(|&&d| d > 1).count() > 1 {
            let text = format!("has shape {shape:?}, classification needs one score per class");
            return Err(Error::at(
                format!("output '{}'", network.graph().outputs[0].name),
                text,
            ));
        }
        data.check_labels(classes)?;
        match weights {
            ClassWeights::None => {}
            ClassWeights::Balanced => task.weights = balanced(data, classes),
            ClassWeights::Given(list) if list.len() != classes => {
                let text = format!("{} weights for {classes} classes", list.len());
                return Err(Error::at("class weights", text));
            }
            ClassWeights::Given(list) => {
                if let Some(w) = list.iter().find(|w| !w.is_finite() || **w < 0.0) {
                    return Err(Error::at("class weights", format!("{w} is not a weight")));
                }
                task.weights.clone_from(list);
            }
        }
        Ok(task)
    }

    /// Targets of the samples `picks`; `mix` gives the share of the first sample and the second samples.
    pub fn targets(&self, data: &Data, picks: &[usize], mix: Option<(f32, &[usize])>) -> Targets {
        let (share, others) = mix.unwrap_or((1.0, picks));
        match self.objective {
            Objective::Classify => self.soft(data, picks, share, others),
            Objective::Reconstruct => {
                let values = data.mixed_targets(picks, share, others);
                let norm = values.len() as f32;
                Targets { values, norm }
            }
        }
    }

    fn soft(&self, data: &Data, picks: &[usize], share: f32, others: &[usize]) -> Targets {
        let mut values = vec![self.smoothing / self.classes as f32; picks.len() * self.classes];
        let mut norm = 0.0;
        let sure = 1.0 - self.smoothing;
        for ((&a, &b), row) in picks
            .iter()
            .zip(others)
            .zip(values.chunks_exact_mut(self.classes))
        {
            for (label, part) in [(data.labels[a], share), (data.labels[b], 1.0 - share)] {
                row[label] += sure * part;
                norm += self.weights[label] * part;
            }
            row.iter_mut().zip(&self.weights).for_each(|(v, w)| *v *= w);
        }
        // A mini-batch of nothing but classes of weight zero has no loss.
        Targets {
            values,
            norm: norm.max(f32::MIN_POSITIVE),
        }
    }

    /// Loss of what [`Network::forward`] gives.
    pub fn loss(&self, out: Tensor<2>, targets: Tensor<2>, norm: f32) -> Tensor<1> {
        match self.objective {
            Objective::Classify => {
                let logs = activation::log_softmax(self.scores(out), 1);
                (logs * targets).sum().neg().div_scalar(norm)
            }
            Objective::Reconstruct => (out - targets).square().sum().div_scalar(norm),
        }
    }

    /// How far scores `out` are from those of a `teacher`, which learns nothing from it: mean Kullback-Leibler divergence
    /// from teacher to student over the classes, or mean squared error.
    pub fn distill(&self, out: Tensor<2>, teacher: Tensor<2>) -> Tensor<1> {
        let teacher = teacher.detach();
        match self.objective {
            Objective::Classify => {
                let rows = out.dims()[0] as f32;
                let student = activation::log_softmax(self.scores(out), 1);
                let teacher = activation::log_softmax(self.scores(teacher), 1);
                let gap = teacher.clone() - student;
                (teacher.exp() * gap).sum().div_scalar(rows)
            }
            Objective::Reconstruct => (out - teacher).square().mean(),
        }
    }

    /// Two scores for a single one.
    fn scores(&self, out: Tensor<2>) -> Tensor<2> {
        match out.dims()[1] {
            1 => Tensor::cat(vec![out.zeros_like(), out], 1),
            _ => out,
        }
    }

    /// Samples of `picks` whose highest score, among `scores` as [`Network::forward`] gives them, is the label.
    pub fn correct(&self, scores: &[f32], data: &Data, picks: &[usize]) -> usize {
        let width = scores.len() / picks.len().max(1);
        let rows = scores.chunks_exact(width.max(1)).zip(picks);
        rows.filter(|(row, i)| class_of(row, 0.0) == data.labels[**i])
            .count()
    }
}

/// Class of the highest score; a single score is class 1 above `threshold`.
pub fn class_of(row: &[f32], threshold: f32) -> usize {
    match row {
        [single] => usize::from(*single > threshold),
        _ => crate::verify::argmax(row),
    }
}

fn balanced(data: &Data, classes: usize) -> Vec<f32> {
    let mut counts = vec![0usize; classes];
    data.labels.iter().for_each(|&l| counts[l] += 1);
    let present = counts.iter().filter(|&&c| c > 0).count();
    let weight = |&c: &usize| match c {
        0 => 0.0,
        c => (data.len() as f64 / (present as f64 * c as f64)) as f32,
    };
    counts.iter().map(weight).collect()
}
