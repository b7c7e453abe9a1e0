//! What an evaluation finds, and how outputs are read as classes.

use crate::data::Dataset;
use crate::failure::{Failure, Outcome};
use crate::score::{Confusion, OutputError, argmax};
use elastiq_quant::metrics::auc;
use serde::Serialize;

/// Result of an evaluation, keys of `elastiq eval --json`.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Evaluation {
    /// Number of samples.
    pub n: usize,
    /// Share of right classes; `None` without labels.
    pub top1: Option<f64>,
    /// The same of the float network.
    pub float_top1: Option<f64>,
    /// Share of samples that both networks put into the same class.
    pub agree: Option<f64>,
    /// Area under the ROC curve: of class 1 (or the positive one) with two classes, else the mean of one-vs-rest.
    pub auc: Option<f64>,
    /// Per class: samples of it taken for another, samples of others taken for it.
    #[serde(rename = "fn")]
    pub false_negatives: Option<Vec<usize>>,
    #[serde(rename = "fp")]
    pub false_positives: Option<Vec<usize>>,
    /// True class by predicted class.
    pub confusion: Option<Confusion>,
    /// Names of the classes, where known.
    pub classes: Vec<String>,
    /// Counts for the class asked for.
    pub positive: Option<Positive>,
    /// Against the float network, over the first output.
    pub output_error: Option<OutputError>,
}

/// Misses and false alarms of one class.
#[derive(Clone, Debug, Serialize)]
pub struct Positive {
    pub class: usize,
    pub threshold: Option<f32>,
    #[serde(rename = "fn")]
    pub false_negatives: usize,
    #[serde(rename = "fp")]
    pub false_positives: usize,
}

/// What to count specially.
#[derive(Clone, Debug, Default)]
pub struct Choice {
    /// Label or index of the positive class.
    pub positive: Option<String>,
    /// Score from which on a sample is positive.
    pub threshold: Option<f32>,
}

/// How the first output is read as classes.
pub struct Task<'a> {
    /// The output is class indices.
    pub is_index: bool,
    /// Elements of the output.
    pub width: usize,
    /// What to count specially.
    pub choice: &'a Choice,
}

impl Task<'_> {
    /// Predicted class of an output: the index itself, a threshold on a single score, the largest score.
    fn class(&self, row: &[f32]) -> usize {
        match (self.is_index, row) {
            (true, [v, ..]) => v.max(0.0) as usize,
            (false, [v]) => usize::from(*v >= self.choice.threshold.unwrap_or(0.5)),
            _ => argmax(row),
        }
    }

    /// Fills in everything that classes say; without labels only the agreement of the two networks.
    ///
    /// # Errors
    /// Labels beyond the classes of the network, an unknown positive class.
    pub fn score(
        &self,
        data: &Dataset,
        ints: &[Vec<f32>],
        floats: &[Vec<f32>],
        result: &mut Evaluation,
    ) -> Outcome<()> {
        let predicted: Vec<usize> = ints.iter().map(|r| self.class(r)).collect();
        let float_class: Vec<usize> = floats.iter().map(|r| self.class(r)).collect();
        let labelled = data.y.is_some();
        if !floats.is_empty() && (labelled || self.is_index) {
            let same = predicted
                .iter()
                .zip(&float_class)
                .filter(|(a, b)| a == b)
                .count();
            result.agree = Some(same as f64 / predicted.len() as f64);
        }
        let Some(y) = &data.y else { return Ok(()) };
        let k = match (self.is_index, self.width) {
            (true, _) => predicted
                .iter()
                .map(|p| p + 1)
                .chain([data.classes_len()])
                .max()
                .unwrap_or(1),
            (false, 1) => 2,
            (false, w) => w,
        };
        if let Some(i) = y.iter().position(|&v| v as usize >= k) {
            let what = format!(
                "label {} of sample {i} is out of range: the network has {k} classes",
                y[i]
            );
            return Err(Failure::at(&data.file, what));
        }
        let truth: Vec<usize> = y.iter().map(|&v| v as usize).collect();
        let confusion = Confusion::new(k, &truth, &predicted);
        result.top1 = Some(confusion.accuracy());
        if !floats.is_empty() {
            let right = truth
                .iter()
                .zip(&float_class)
                .filter(|(a, b)| a == b)
                .count();
            result.float_top1 = Some(right as f64 / truth.len() as f64);
        }
        result.false_negatives = Some(confusion.false_negatives());
        result.false_positives = Some(confusion.false_positives());
        let positive = self.positive_class(k, &result.classes)?;
        if !self.is_index {
            result.auc = self.auc(ints, &truth, k, positive);
        }
        if let Some(class) = positive {
            let hit = |i: usize| match (self.choice.threshold, self.is_index, self.width) {
                (Some(t), false, 2..) => ints[i][class] >= t,
                _ => predicted[i] == class,
            };
            let count = |want: bool| {
                (0..truth.len())
                    .filter(|&i| (truth[i] == class) == want && hit(i) != want)
                    .count()
            };
            result.positive = Some(Positive {
                class,
                threshold: self.choice.threshold,
                false_negatives: count(true),
                false_positives: count(false),
            });
        }
        result.confusion = Some(confusion);
        Ok(())
    }

    fn positive_class(&self, k: usize, classes: &[String]) -> Outcome<Option<usize>> {
        let Some(name) = &self.choice.positive else {
            if self.choice.threshold.is_some() && self.width != 1 {
                return Err(Failure::input(
                    "--threshold: needs --positive CLASS with more than one score",
                ));
            }
            return Ok(None);
        };
        let class = classes
            .iter()
            .position(|c| c == name)
            .or_else(|| name.parse().ok().filter(|&c| c < k));
        class.map(Some).ok_or_else(|| {
            let known = if classes.is_empty() {
                format!("0..{}", k - 1)
            } else {
                classes.join(", ")
            };
            Failure::input(format!(
                "--positive {name}: no such class (there are {known})"
            ))
        })
    }

    fn auc(
        &self,
        rows: &[Vec<f32>],
        truth: &[usize],
        k: usize,
        positive: Option<usize>,
    ) -> Option<f64> {
        let of = |class: usize| {
            let scores: Vec<f32> = match self.width {
                1 => rows
                    .iter()
                    .map(|r| if class == 1 { r[0] } else { -r[0] })
                    .collect(),
                _ => rows.iter().map(|r| r[class]).collect(),
            };
            auc(
                &scores,
                &truth.iter().map(|&t| t == class).collect::<Vec<_>>(),
            )
        };
        if let Some(class) = positive {
            return of(class);
        }
        if k == 2 {
            return of(1);
        }
        let each: Vec<f64> = (0..k).filter_map(of).collect();
        (!each.is_empty()).then(|| each.iter().sum::<f64>() / each.len() as f64)
    }
}
