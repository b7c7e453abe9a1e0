//! The classes that must not be missed.

use crate::Error;
use crate::train::{Head, Network};

/// Critical classes of a network, and how its scores speak of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Critical {
    width: usize,
    classes: Vec<usize>,
}

/// What a network says about one sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Verdict {
    /// Probability that the sample is of a critical class.
    pub score: f64,
    /// Class of the highest score.
    pub class: usize,
}

impl Critical {
    /// `classes` of a network that gives `width` scores; a single score is that of class 1 against class 0.
    ///
    /// # Errors
    /// No class, or one that does not exist; nothing but critical classes.
    pub fn of(width: usize, classes: &[usize]) -> Result<Critical, Error> {
        let total = width.max(2);
        let mut classes = classes.to_vec();
        classes.sort_unstable();
        classes.dedup();
        if let Some(class) = classes.iter().find(|&&c| c >= total) {
            let text = format!("there is no class {class}, the network has {total}");
            return Err(Error::at("critical class", text));
        }
        if classes.is_empty() || classes.len() == total {
            let text = format!(
                "{} of {total} classes are critical; some must be, and some not",
                classes.len()
            );
            return Err(Error::at("critical class", text));
        }
        Ok(Critical { width, classes })
    }

    /// Of the scores that a network is trained by.
    ///
    /// # Errors
    /// As [`Critical::of`].
    pub fn new(network: &Network, classes: &[usize]) -> Result<Critical, Error> {
        Critical::of(network.width(), classes)
    }

    /// In ascending order.
    pub fn classes(&self) -> &[usize] {
        &self.classes
    }

    /// Scores per sample.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Number of all classes.
    pub fn total(&self) -> usize {
        self.width.max(2)
    }

    /// Whether `class` is critical.
    pub fn has(&self, class: usize) -> bool {
        self.classes.contains(&class)
    }

    /// Probability of `class` by scores in front of softmax or sigmoid.
    pub fn probability(&self, class: usize, row: &[f32]) -> f64 {
        match row {
            [z] if class == 1 => sigmoid(f64::from(*z)),
            [z] => sigmoid(-f64::from(*z)),
            row => softmax(row)[class],
        }
    }

    /// Verdict on every sample of `[samples, width]` scores in front of softmax or sigmoid.
    pub fn verdicts(&self, scores: &[f32]) -> Vec<Verdict> {
        let one = |row: &[f32]| {
            let probability = |&c: &usize| self.probability(c, row);
            Verdict {
                score: self.classes.iter().map(probability).sum(),
                class: crate::train::class_of(row, 0.0),
            }
        };
        scores.chunks_exact(self.width).map(one).collect()
    }

    /// Verdict on the output of a finished network, which `head` describes.
    pub fn verdict_on_output(&self, head: Head, out: &[f32]) -> Verdict {
        match (head, out) {
            // The index of a class, which has no probability.
            (Head::Classes, [index]) => {
                let class = *index as usize;
                Verdict {
                    score: f64::from(u8::from(self.has(class))),
                    class,
                }
            }
            (Head::Classes, row) => Verdict {
                score: self.classes.iter().map(|&c| f64::from(row[c])).sum(),
                class: crate::verify::argmax(row),
            },
            (Head::Binary, row) => Verdict {
                score: match self.has(1) {
                    true => f64::from(row[0]),
                    false => 1.0 - f64::from(row[0]),
                },
                class: usize::from(row[0] > 0.5),
            },
            (Head::Plain, row) => self.verdicts(row)[0],
        }
    }
}

pub(super) fn softmax(row: &[f32]) -> Vec<f64> {
    let top = f64::from(row.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    let powers: Vec<f64> = row.iter().map(|&z| (f64::from(z) - top).exp()).collect();
    let sum: f64 = powers.iter().sum();
    powers.into_iter().map(|p| p / sum).collect()
}

fn sigmoid(z: f64) -> f64 {
    1.0 / (1.0 + (-z).exp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_single_score_speaks_of_both_classes() {
        let (one, zero) = (
            Critical::of(1, &[1]).expect("class"),
            Critical::of(1, &[0]).expect("class"),
        );
        let [a, b] = [&one, &zero].map(|c| c.verdicts(&[1.5])[0]);
        assert!((a.score + b.score - 1.0).abs() < 1e-12 && a.score > 0.8);
        assert_eq!((a.class, b.class), (1, 1));
        assert_eq!(
            zero.verdict_on_output(Head::Binary, &[0.25]),
            Verdict {
                score: 0.75,
                class: 0
            }
        );
    }

    #[test]
    fn several_critical_classes_add_up() {
        let c = Critical::of(3, &[2, 0, 2]).expect("classes");
        let v = c.verdicts(&[0.0, 1.0, 0.0])[0];
        let e = 1f64.exp();
        assert!((v.score - 2.0 / (2.0 + e)).abs() < 1e-12);
        assert_eq!(v.class, 1);
        assert_eq!(
            c.verdict_on_output(Head::Classes, &[2.0]),
            Verdict {
                score: 1.0,
                class: 2
            }
        );
    }

    #[test]
    fn classes_that_make_no_sense_are_refused() {
        let text = |classes: &[usize]| Critical::of(3, classes).expect_err("refused").to_string();
        assert!(text(&[3]).contains("there is no class 3, the network has 3"));
        assert!(text(&[]).contains("0 of 3"));
        assert!(text(&[0, 1, 2]).contains("3 of 3"));
    }
}
