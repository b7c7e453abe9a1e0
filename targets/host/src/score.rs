//! Figures of merit: accuracy, confusion, output error.

use serde::Serialize;

/// Index of the largest value, the first of equal ones.
pub fn argmax(row: &[f32]) -> usize {
    let mut best = 0;
    for (i, v) in row.iter().enumerate() {
        if *v > row[best] {
            best = i;
        }
    }
    best
}

/// Counts of true class (row) against predicted class (column).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Confusion {
    counts: Vec<Vec<usize>>,
}

impl Confusion {
    /// Of `k` classes; labels and predictions are below `k`.
    pub fn new(k: usize, truth: &[usize], predicted: &[usize]) -> Confusion {
        let mut counts = vec![vec![0; k]; k];
        for (&t, &p) in truth.iter().zip(predicted) {
            counts[t][p] += 1;
        }
        Confusion { counts }
    }

    /// Counts by true class, then predicted class.
    pub fn counts(&self) -> &[Vec<usize>] {
        &self.counts
    }

    /// Share of samples on the diagonal.
    pub fn accuracy(&self) -> f64 {
        let all: usize = self.counts.iter().flatten().sum();
        let right: usize = self.counts.iter().enumerate().map(|(i, row)| row[i]).sum();
        right as f64 / all.max(1) as f64
    }

    /// Per class: samples of it that were taken for another.
    pub fn false_negatives(&self) -> Vec<usize> {
        let others = |(i, row): (usize, &Vec<usize>)| row.iter().sum::<usize>() - row[i];
        self.counts.iter().enumerate().map(others).collect()
    }

    /// Per class: samples of another that were taken for it.
    pub fn false_positives(&self) -> Vec<usize> {
        let column = |c: usize| self.counts.iter().map(|row| row[c]).sum::<usize>();
        (0..self.counts.len())
            .map(|c| column(c) - self.counts[c][c])
            .collect()
    }
}

/// Difference of outputs to those of the float network.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct OutputError {
    /// Mean of the squared difference.
    pub mse: f64,
    /// Largest absolute difference.
    pub max_abs: f64,
    /// Signal to noise in dB: power of the float output over power of the difference; `None` where they are equal.
    pub snr_db: Option<f64>,
}

impl OutputError {
    /// Over all elements of all samples.
    pub fn of(float: &[Vec<f32>], int: &[Vec<f32>]) -> OutputError {
        let (mut noise, mut signal, mut max_abs, mut n) = (0.0f64, 0.0f64, 0.0f64, 0usize);
        for (f, q) in float.iter().flatten().zip(int.iter().flatten()) {
            let d = f64::from(*f) - f64::from(*q);
            noise += d * d;
            signal += f64::from(*f) * f64::from(*f);
            max_abs = max_abs.max(d.abs());
            n += 1;
        }
        let snr_db = (noise > 0.0).then(|| 10.0 * (signal / noise).log10());
        OutputError {
            mse: noise / n.max(1) as f64,
            max_abs,
            snr_db,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn confusion_sums() {
        let c = Confusion::new(3, &[0, 0, 1, 2, 2], &[0, 1, 1, 0, 2]);
        assert_eq!(c.accuracy(), 0.6);
        assert_eq!(c.false_negatives(), [1, 0, 1]);
        assert_eq!(c.false_positives(), [1, 1, 0]);
    }

    #[test]
    fn snr_of_a_tenth() {
        let e = OutputError::of(&[vec![1.0, -1.0]], &[vec![0.9, -0.9]]);
        assert!((e.snr_db.expect("noise") - 20.0).abs() < 1e-4, "{e:?}");
        assert_eq!(OutputError::of(&[vec![1.0]], &[vec![1.0]]).snr_db, None);
    }

    #[test]
    fn first_of_equal_maxima() {
        assert_eq!(argmax(&[0.0, 2.0, 2.0]), 1);
    }
}
