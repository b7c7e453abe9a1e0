//! How often a network misses a critical class, and how often it raises a false alarm.

use super::critical::{Critical, Verdict};
use crate::metrics::auc;
use serde::{Deserialize, Serialize};

/// False positive rates that false negative rates are reported at.
pub const RATES: [f64; 3] = [0.05, 0.10, 0.20];

/// Figures of a network on a set of samples. Positive is what belongs to a critical class.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    pub n: usize,
    pub positives: usize,
    /// Share of samples whose highest score is that of their class, over all classes.
    pub accuracy: f64,
    /// Positives whose highest score is that of a class that is not critical.
    #[serde(rename = "fn")]
    pub false_negatives: usize,
    /// Negatives whose highest score is that of a critical class.
    #[serde(rename = "fp")]
    pub false_positives: usize,
    pub fnr: f64,
    pub fpr: f64,
    /// `None` without positives or negatives.
    pub auc: Option<f64>,
    /// With thresholds that validation samples give for each of [`RATES`].
    pub at: Vec<AtRate>,
}

/// Figures where a sample counts as positive by its probability.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct AtRate {
    /// False positive rate that validation samples do not exceed.
    pub rate: f64,
    /// Positive is a probability above this.
    pub threshold: f64,
    #[serde(rename = "fn")]
    pub false_negatives: usize,
    #[serde(rename = "fp")]
    pub false_positives: usize,
    pub fnr: f64,
    pub fpr: f64,
}

/// The lowest threshold with which at most a share of `rate` of the negatives have a score above it.
pub fn threshold(critical: &Critical, labels: &[usize], verdicts: &[Verdict], rate: f64) -> f64 {
    let pairs = labels.iter().zip(verdicts);
    let negatives = pairs.filter(|(l, _)| !critical.has(**l));
    let mut scores: Vec<f64> = negatives.map(|(_, v)| v.score).collect();
    scores.sort_by(|a, b| b.total_cmp(a));
    let most = (rate * scores.len() as f64).floor() as usize;
    // Below every score where all negatives may be above. Rounded upwards, so that the rate holds.
    let found = scores.get(most).copied().unwrap_or(-1.0);
    (found * DIGITS).ceil() / DIGITS
}

/// Digits behind the point of figures, as a factor: as many as a reader of JSON gives back to the last bit.
const DIGITS: f64 = 1e9;

/// `v` with the digits that figures have.
pub fn rounded(v: f64) -> f64 {
    (v * DIGITS).round() / DIGITS
}

impl Figures {
    /// Of `verdicts` on samples with `labels`, with `thresholds` for the false positive rates beside them.
    pub fn new(
        critical: &Critical,
        labels: &[usize],
        verdicts: &[Verdict],
        thresholds: &[(f64, f64)],
    ) -> Figures {
        let positive: Vec<bool> = labels.iter().map(|&l| critical.has(l)).collect();
        let positives = positive.iter().filter(|&&p| p).count();
        let negatives = labels.len() - positives;
        let share = |count: usize, of: usize| rounded(count as f64 / of.max(1) as f64);
        let count = |truth: bool, said: &dyn Fn(&Verdict) -> bool| {
            let pairs = positive.iter().zip(verdicts);
            pairs.filter(|(p, v)| **p == truth && said(v)).count()
        };
        let right = labels.iter().zip(verdicts).filter(|(l, v)| **l == v.class);
        let missed = count(true, &|v| !critical.has(v.class));
        let alarms = count(false, &|v| critical.has(v.class));
        let at = |&(rate, threshold): &(f64, f64)| {
            let missed = count(true, &|v| v.score <= threshold);
            let alarms = count(false, &|v| v.score > threshold);
            AtRate {
                rate,
                threshold,
                false_negatives: missed,
                false_positives: alarms,
                fnr: share(missed, positives),
                fpr: share(alarms, negatives),
            }
        };
        let scores: Vec<f64> = verdicts.iter().map(|v| v.score).collect();
        Figures {
            n: labels.len(),
            positives,
            accuracy: share(right.count(), labels.len()),
            false_negatives: missed,
            false_positives: alarms,
            fnr: share(missed, positives),
            fpr: share(alarms, negatives),
            auc: auc(&scores, &positive).map(rounded),
            at: thresholds.iter().map(at).collect(),
        }
    }

    /// False negatives at the operating point: by the highest score, or by the threshold for the false positive rate.
    pub fn missed(&self, rate: Option<f64>) -> usize {
        match rate {
            None => self.false_negatives,
            Some(rate) => {
                let at = self.at.iter().find(|a| a.rate == rate);
                at.map_or(self.false_negatives, |a| a.false_negatives)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_hold_the_rate_and_no_lower_one_does() {
        let critical = Critical::of(1, &[1]).expect("class");
        let labels = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1];
        let scores = [
            0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.9, 0.95, 0.85, 0.75, 0.05,
        ];
        let verdicts: Vec<Verdict> = scores
            .iter()
            .map(|&score| Verdict {
                score,
                class: usize::from(score > 0.5),
            })
            .collect();
        let of = |rate| threshold(&critical, &labels, &verdicts, rate);
        // Two negatives share 0.9: one false positive of ten cannot be had without the other.
        assert_eq!([of(0.0), of(0.1), of(0.2), of(0.3)], [0.9, 0.9, 0.8, 0.7]);
        assert_eq!(of(1.0), -1.0);
        let f = Figures::new(
            &critical,
            &labels,
            &verdicts,
            &[(0.1, of(0.1)), (0.3, of(0.3))],
        );
        assert_eq!((f.false_negatives, f.false_positives), (1, 5));
        assert_eq!((f.at[0].false_negatives, f.at[0].false_positives), (3, 0));
        assert_eq!((f.at[1].false_negatives, f.at[1].false_positives), (1, 3));
        assert_eq!((f.missed(None), f.missed(Some(0.1))), (1, 3));
        assert_eq!(f.accuracy, 0.571428571);
    }
}
