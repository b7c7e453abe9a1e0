//! First steps and offsets: the clipping with the least error of the values.
//!
//! EQ-Net's initialization: the range of the values is shrunk by 0 to 79 %, and the step (and offset) with the least mean
//! of `|w - w~|^2.4` is taken.

use super::nested::{master, upper};
use super::quantizer::Codes;

/// Power of the error.
const NORM: f64 = 2.4;
/// Ranges that are tried.
const SHRINKS: u32 = 80;
/// Cells that many values are counted in.
const CELLS: usize = 4096;
/// Step of values that are all 0.
const IDLE: f32 = 1e-6;

/// Values and how often they occur.
#[derive(Clone, Debug, Default)]
pub struct Counts(Vec<(f32, f32)>);

impl Counts {
    /// Of single values.
    pub fn exact(values: &[f32]) -> Counts {
        Counts(values.iter().map(|&v| (v, 1.0)).collect())
    }

    /// Of many values: means of cells of equal width.
    pub fn of_many(values: &[f32]) -> Counts {
        let (min, max) = ends(values.iter().copied());
        if values.len() <= CELLS || max <= min {
            return Counts::exact(values);
        }
        let mut cells = vec![(0f64, 0f64); CELLS];
        let per_unit = CELLS as f32 / (max - min);
        for &v in values {
            let at = (((v - min) * per_unit) as usize).min(CELLS - 1);
            cells[at].0 += f64::from(v);
            cells[at].1 += 1.0;
        }
        let used = cells.into_iter().filter(|(_, n)| *n > 0.0);
        Counts(used.map(|(sum, n)| ((sum / n) as f32, n as f32)).collect())
    }

    /// Smallest and largest value, with 0 between them.
    pub fn range(&self) -> (f32, f32) {
        ends(self.0.iter().map(|(v, _)| *v))
    }

    fn error(&self, value: impl Fn(f32) -> f32) -> f64 {
        let one = |&(v, n): &(f32, f32)| f64::from(n) * f64::from((v - value(v)).abs()).powf(NORM);
        self.0.iter().map(one).sum()
    }
}

fn ends(values: impl Iterator<Item = f32>) -> (f32, f32) {
    values.fold((0.0, 0.0), |(a, b): (f32, f32), v| (a.min(v), b.max(v)))
}

/// Shares of the full range, largest first.
fn shrinks() -> impl Iterator<Item = f32> {
    (0..SHRINKS).map(|i| 1.0 - i as f32 / 100.0)
}

fn best(candidates: impl Iterator<Item = ((f32, f32), f64)>) -> (f32, f32) {
    let least = candidates.min_by(|a, b| a.1.total_cmp(&b.1));
    least.map_or((IDLE, 0.0), |(found, _)| found)
}

/// Step and offset for `values`.
pub fn line(values: &Counts, codes: Codes, symmetric: bool) -> (f32, f32) {
    let (min, max) = values.range();
    let (n, p) = (codes.first(), codes.last());
    if max - min <= f32::MIN_POSITIVE {
        return (IDLE, 0.0);
    }
    let candidate = |share: f32| {
        let (s, b) = match (symmetric, codes.unsigned) {
            (true, true) => (share * max / p, 0.0),
            (true, false) => (share * 2.0 * max.max(-min) / (p - n), 0.0),
            (false, _) => {
                let s = share * (max - min) / (p - n);
                (s, share * min - s * n)
            }
        };
        let line = codes.at(s, b);
        ((s, b), values.error(|v| line.value(v)))
    };
    best(shrinks().map(candidate))
}

/// Step of the upper `bits` bits of codes of step `s8`: from a quarter more than `s8` downwards.
pub fn nested(values: &Counts, s8: f32, bits: u8) -> f32 {
    let candidate = |share: f32| {
        let s = 1.25 * share * s8;
        let value = |v| s * f32::from(upper(master(v, s8), bits));
        ((s, 0.0), values.error(value))
    };
    best(shrinks().map(candidate)).0
}

#[cfg(test)]
mod tests {
    use super::*;

    const W4: Codes = Codes {
        bits: 4,
        unsigned: false,
    };

    #[test]
    fn an_outlier_is_clipped_and_an_even_spread_is_not() {
        let mut values: Vec<f32> = (-500..=500).map(|i| i as f32 / 500.0).collect();
        let (s, b) = line(&Counts::exact(&values), W4, true);
        assert!((s - 2.0 / 15.0).abs() < 0.02 * s && b == 0.0, "{s}");
        values.push(3.0);
        let (clipped, _) = line(&Counts::exact(&values), W4, true);
        // Least of all steps tried, by enumeration; the whole range would take 0.4.
        assert!((clipped - 0.296).abs() < 1e-3, "{clipped} for {s}");
    }

    #[test]
    fn offsets_follow_one_sided_values() {
        let values: Vec<f32> = (0..=1000).map(|i| -0.2 + i as f32 / 1000.0).collect();
        let (s, b) = line(&Counts::exact(&values), W4, false);
        let found = W4.at(s, b);
        assert!((s - 1.0 / 15.0).abs() < 0.05 * s, "{s}");
        assert_eq!(found.zero, -5.0, "codes -8 ..= 7 for -0.2 ..= 0.8");
        let sym = W4.at(line(&Counts::exact(&values), W4, true).0, 0.0);
        let error = |l: super::super::quantizer::Line| Counts::exact(&values).error(|v| l.value(v));
        assert!(error(found) < 0.5 * error(sym));
    }

    #[test]
    fn counting_many_values_changes_little() {
        let values: Vec<f32> = (0..100_000)
            .map(|i| ((i * 7919) % 100_003) as f32 / 1e5)
            .map(|v| v * v)
            .collect();
        let unsigned = Codes {
            bits: 3,
            unsigned: true,
        };
        let exact = line(&Counts::exact(&values), unsigned, true).0;
        let counted = line(&Counts::of_many(&values), unsigned, true).0;
        assert!((exact / counted - 1.0).abs() < 0.02, "{exact} {counted}");
    }

    #[test]
    fn nothing_but_zeros_has_a_step() {
        assert_eq!(line(&Counts::exact(&[0.0; 9]), W4, false), (IDLE, 0.0));
    }
}
