//! Weight formats: widths of 2 to 8 bits on a linear grid, or codebooks.
//!
//! ```text
//! linear   : weight = s * (code - zero), code of b bits in two's complement
//! codebook : weight = s * book[code], book of 2^b i16, shared by the channels of a layer
//! nested   : weight = s * (upper b bits of an 8-bit code), see [`super::nested`]
//! ```
//! Widths below 8 choose the clipping point by the squared error of the weights; 8 bits keep the extremes.

use super::nested::{Nested, nested_levels};
use serde::Serialize;
use std::collections::BTreeMap;
use std::str::FromStr;

/// How codes become weights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub enum Coding {
    /// Equal steps.
    #[default]
    Linear,
    /// A table of values, chosen by the squared error of the weights.
    Codebook,
    /// The upper bits of 8-bit codes that all widths share; the scale is chosen by the squared error of the weights.
    Nested,
}

/// Format of the weights of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct WeightFormat {
    /// Bits of a code, 2 to 8.
    pub bits: u8,
    pub coding: Coding,
    /// Zero points other than 0; of no effect on codebooks.
    pub asymmetric: bool,
    /// One scale (and zero point) for all output channels.
    pub per_tensor: bool,
}

impl Default for WeightFormat {
    fn default() -> Self {
        WeightFormat {
            bits: 8,
            coding: Coding::Linear,
            asymmetric: false,
            per_tensor: false,
        }
    }
}

/// `BITS`, then any of `codebook` or `nested`, `asymmetric`, `per-tensor`, separated by commas.
impl FromStr for WeightFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.split(',');
        let bits = parts.next().and_then(|b| b.parse().ok());
        let bits = bits
            .filter(|bits| (2..=8).contains(bits))
            .ok_or("expected 2 to 8 bits, as in `4` or `4,codebook`")?;
        let mut format = WeightFormat {
            bits,
            ..Default::default()
        };
        for part in parts {
            match part {
                "codebook" if format.coding == Coding::Linear => {
                    format.coding = Coding::Codebook;
                }
                "nested" if format.coding == Coding::Linear => format.coding = Coding::Nested,
                "codebook" | "nested" => {
                    return Err("codebook and nested exclude each other".into());
                }
                "asymmetric" => format.asymmetric = true,
                "per-tensor" => format.per_tensor = true,
                other => {
                    return Err(format!(
                        "`{other}` is none of codebook, nested, asymmetric, per-tensor"
                    ));
                }
            }
        }
        if format.asymmetric && format.coding != Coding::Linear {
            return Err(
                "codebooks and nested codes have no zero point: asymmetric excludes them".into(),
            );
        }
        Ok(format)
    }
}

/// Formats of all layers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Formats {
    pub default: WeightFormat,
    /// Layers with a format of their own, by the name of their node.
    pub by_layer: BTreeMap<String, WeightFormat>,
}

impl Formats {
    /// Format of the layer called `name`.
    pub fn of(&self, name: &str) -> WeightFormat {
        self.by_layer.get(name).copied().unwrap_or(self.default)
    }
}

/// Largest magnitude in a codebook: fine enough to place values, small enough for sums of 32 bits.
pub const BOOK_MAX: f64 = 1023.0;

/// The values that codes can stand for.
#[derive(Clone, Debug, PartialEq)]
pub enum Levels {
    /// Codes `lo ..= hi` minus the zero point of the channel (one entry if all share it).
    Linear { lo: i32, hi: i32, zeros: Vec<i16> },
    /// Ascending values by code.
    Book(Vec<i16>),
}

/// Grid of a weight matrix: scale per channel, in which integer weights are counted, and levels.
#[derive(Clone, Debug, PartialEq)]
pub struct Grid {
    pub scale: Vec<f64>,
    pub levels: Levels,
}

impl Grid {
    /// Grid for `real`, `[m][k]`, all finite.
    pub fn of(real: &[Vec<f64>], format: WeightFormat) -> Grid {
        match format.coding {
            Coding::Linear => linear_grid(real, format),
            Coding::Codebook => book_grid(real, format),
            Coding::Nested => Grid {
                scale: Nested::of(real, format.bits, format.per_tensor).scale,
                levels: nested_levels(format.bits),
            },
        }
    }

    /// Codes and integer weights of channel `c` at scale `s`.
    pub fn codes(&self, c: usize, row: &[f64], s: f64) -> (Vec<i8>, Vec<i32>) {
        let code = |v: &f64| match &self.levels {
            Levels::Linear { lo, hi, zeros } => {
                let zero = i32::from(zero_of(zeros, c));
                let code =
                    ((v / s).round() + f64::from(zero)).clamp(f64::from(*lo), f64::from(*hi));
                (code as i8, code as i32 - zero)
            }
            Levels::Book(book) => {
                let i = nearest(book, v / s);
                (i as u8 as i8, i32::from(book[i]))
            }
        };
        row.iter().map(code).unzip()
    }

    /// Integer weight that `code` stands for in channel `c`, `None` where there is none.
    pub fn value(&self, c: usize, code: i8) -> Option<f64> {
        match &self.levels {
            Levels::Linear { lo, hi, zeros } => (*lo..=*hi)
                .contains(&i32::from(code))
                .then(|| f64::from(code) - f64::from(zero_of(zeros, c))),
            Levels::Book(book) => book.get(usize::from(code as u8)).map(|&v| f64::from(v)),
        }
    }

    /// The code of weight 0 in channel `c`.
    pub fn zero_code(&self, c: usize) -> i8 {
        match &self.levels {
            Levels::Linear { zeros, .. } => zero_of(zeros, c) as i8,
            Levels::Book(book) => nearest(book, 0.0) as u8 as i8,
        }
    }
}

fn zero_of(zeros: &[i16], c: usize) -> i16 {
    match zeros {
        [zero] => *zero,
        zeros => zeros.get(c).copied().unwrap_or(0),
    }
}

fn nearest(book: &[i16], v: f64) -> usize {
    let above = book
        .partition_point(|&b| f64::from(b) < v)
        .min(book.len() - 1);
    let below = above.saturating_sub(1);
    let far = |i: usize| (f64::from(book[i]) - v).abs();
    if far(below) <= far(above) {
        below
    } else {
        above
    }
}

/// Scale and zero point of a group of channels.
fn fit(rows: &[Vec<f64>], format: WeightFormat) -> (f64, i16) {
    let all = || rows.iter().flatten().copied();
    let (min, max) = all().fold((0.0, 0.0), |(a, b): (f64, f64), v| (a.min(v), b.max(v)));
    if max - min == 0.0 {
        return (0.0, 0);
    }
    let half = f64::from(1 << (format.bits - 1));
    let (lo, hi) = (-half, half - 1.0);
    let candidate = |clip: f64| match format.asymmetric {
        true => {
            let scale = clip * (max - min) / (hi - lo);
            let zero = (lo - clip * min / scale).round().clamp(lo, hi);
            (scale, zero)
        }
        false => (clip * max.max(-min) / half, 0.0),
    };
    if format.bits == 8 {
        return match format.asymmetric {
            true => (candidate(1.0).0, candidate(1.0).1 as i16),
            false => (max.max(-min) / hi, 0),
        };
    }
    let error = |(scale, zero): (f64, f64)| -> f64 {
        let off = |v: f64| v - scale * (((v / scale).round() + zero).clamp(lo, hi) - zero);
        all().map(|v| off(v).powi(2)).sum()
    };
    // 0.2 to 2.1, in steps of 3 %: a symmetric grid of 2 bits ends at code 1, half of its negative end.
    let clips = (0..80).map(|i| 0.2 * 1.03f64.powi(i));
    let best = clips
        .map(candidate)
        .min_by(|a, b| error(*a).total_cmp(&error(*b)));
    best.map_or((0.0, 0), |(scale, zero)| (scale, zero as i16))
}

fn linear_grid(real: &[Vec<f64>], format: WeightFormat) -> Grid {
    let half = 1 << (format.bits - 1);
    // 8 bits are symmetric about 0; narrower grids cannot spare a code.
    let lo = match format.bits == 8 && !format.asymmetric {
        true => 1 - half,
        false => -half,
    };
    let (scale, zeros): (Vec<f64>, Vec<i16>) = match format.per_tensor {
        true => {
            let (scale, zero) = fit(real, format);
            (vec![scale; real.len()], vec![zero])
        }
        false => {
            let fits = real
                .iter()
                .map(|row| fit(std::slice::from_ref(row), format));
            fits.unzip()
        }
    };
    let zeros = match format.asymmetric {
        true => zeros,
        false => vec![0],
    };
    Grid {
        scale,
        levels: Levels::Linear {
            lo,
            hi: half - 1,
            zeros,
        },
    }
}

/// Alternates between the book (of the weights in units of their scale) and the scales (least squares for the book).
fn book_grid(real: &[Vec<f64>], format: WeightFormat) -> Grid {
    let square = |row: &[f64]| row.iter().map(|v| v * v).sum::<f64>();
    let count: usize = real.iter().map(Vec::len).sum();
    let of_all = (real.iter().map(|row| square(row)).sum::<f64>() / count.max(1) as f64).sqrt();
    let rms = |row: &Vec<f64>| match format.per_tensor {
        true => of_all,
        false => (square(row) / row.len().max(1) as f64).sqrt(),
    };
    let mut scale: Vec<f64> = real.iter().map(rms).collect();
    let mut book = vec![0; 1 << format.bits];
    for _ in 0..SCALINGS {
        let in_units =
            |(row, s): (&Vec<f64>, &f64)| row.iter().map(|v| v / s).collect::<Vec<f64>>();
        let live = real.iter().zip(&scale).filter(|(_, s)| **s > 0.0);
        let mut values: Vec<f64> = live.flat_map(in_units).collect();
        values.sort_by(f64::total_cmp);
        let ends = [values.first(), values.last()];
        let peak = ends
            .into_iter()
            .flatten()
            .fold(0.0, |m: f64, v| m.max(v.abs()));
        if peak == 0.0 {
            break;
        }
        values.iter_mut().for_each(|v| *v *= BOOK_MAX / peak);
        scale.iter_mut().for_each(|s| *s *= peak / BOOK_MAX);
        book = optimal_book(&values, 1 << format.bits);
        if format.per_tensor {
            break;
        }
        for (row, s) in real.iter().zip(&mut scale).filter(|(_, s)| **s > 0.0) {
            let level = |v: &f64| f64::from(book[nearest(&book, v / *s)]);
            let cross: f64 = row.iter().map(|v| v * level(v)).sum();
            let power: f64 = row.iter().map(|v| level(v).powi(2)).sum();
            if cross > 0.0 {
                *s = cross / power;
            }
        }
    }
    Grid {
        scale,
        levels: Levels::Book(book),
    }
}

/// Rounds of book and scales.
const SCALINGS: usize = 4;
/// The `n` ascending integers with the smallest squared distance to `values`, all within `BOOK_MAX` of 0; then the one
/// of smallest magnitude is made 0.
///
/// Exact for values rounded to integers: cells of an optimal book are intervals, and the best start of the last cell
/// grows with its end, so each level is found by divide and conquer.
fn optimal_book(values: &[f64], n: usize) -> Vec<i16> {
    let bins = 2 * BOOK_MAX as usize + 1;
    let mut counts = vec![0.0; bins];
    for v in values {
        counts[((v + BOOK_MAX).round() as usize).min(bins - 1)] += 1.0;
    }
    // Prefix sums of count, value and square over the bins.
    let mut sums = vec![[0.0f64; 3]];
    for (bin, count) in counts.iter().enumerate() {
        let (v, [n, s, q]) = (bin as f64 - BOOK_MAX, sums[bin]);
        sums.push([n + count, s + count * v, q + count * v * v]);
    }
    let cell = |from: usize, to: usize| {
        let [n, s, q] = [0, 1, 2].map(|i| sums[to][i] - sums[from][i]);
        (n, s, q)
    };
    let cost = |from: usize, to: usize| match cell(from, to) {
        (0.0, ..) => 0.0,
        (n, s, q) => q - s * s / n,
    };
    let mut best: Vec<f64> = (0..=bins).map(|to| cost(0, to)).collect();
    let mut starts: Vec<Vec<usize>> = vec![vec![0; bins + 1]];
    for _ in 1..n {
        let (mut next, mut start) = (vec![0.0; bins + 1], vec![0; bins + 1]);
        let mut open = vec![(0, bins, 0, bins)];
        while let Some((lo, hi, from, to)) = open.pop() {
            let mid = (lo + hi) / 2;
            let tries = (from..=to.min(mid)).map(|i| (best[i] + cost(i, mid), i));
            let (least, at) = tries.min_by(|a, b| a.0.total_cmp(&b.0)).unwrap_or((0.0, 0));
            (next[mid], start[mid]) = (least, at);
            if lo < mid {
                open.push((lo, mid - 1, from, at));
            }
            if mid < hi {
                open.push((mid + 1, hi, at, to));
            }
        }
        best = next;
        starts.push(start);
    }
    let mut book = Vec::new();
    let mut to = bins;
    for start in starts.iter().rev() {
        let from = start[to];
        book.push(match cell(from, to) {
            (0.0, ..) => 0,
            (n, s, _) => (s / n).round() as i16,
        });
        to = from;
    }
    if let Some(least) = book.iter_mut().min_by_key(|v| v.unsigned_abs()) {
        *least = 0;
    }
    book.sort_unstable();
    book
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{Rng, SeedableRng};

    fn weights(m: usize, k: usize) -> Vec<Vec<f64>> {
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(5);
        // Sum of uniform numbers: a bell, as trained weights have.
        let bell = |rng: &mut rand_chacha::ChaCha8Rng| {
            (0..4).map(|_| rng.random_range(-1.0..1.0f64)).sum::<f64>()
        };
        (0..m)
            .map(|c| {
                (0..k)
                    .map(|_| bell(&mut rng) * 1.5f64.powi(c as i32) + 0.2)
                    .collect()
            })
            .collect()
    }

    fn error(real: &[Vec<f64>], format: WeightFormat) -> f64 {
        let grid = Grid::of(real, format);
        let rows = real.iter().enumerate().map(|(c, row)| {
            let s = grid.scale[c];
            let (codes, ints) = grid.codes(c, row, s);
            let top = 1i32 << (format.bits - 1);
            for code in &codes {
                let code = i32::from(*code);
                let ok = match format.coding {
                    Coding::Linear => (-top..top).contains(&code),
                    Coding::Codebook | Coding::Nested => (code as u8 as i32) < 2 * top,
                };
                assert!(ok, "{format:?}: code {code}");
            }
            let off = |(v, w): (&f64, &i32)| (v - s * f64::from(*w)).powi(2);
            row.iter().zip(&ints).map(off).sum::<f64>() / row.iter().map(|v| v * v).sum::<f64>()
        });
        rows.sum::<f64>() / real.len() as f64
    }

    /// More bits, finer scales and freer levels never lose; a codebook beats equal steps.
    #[test]
    fn errors_are_ordered() {
        let real = weights(6, 300);
        let format = |bits, coding, asymmetric, per_tensor| WeightFormat {
            bits,
            coding,
            asymmetric,
            per_tensor,
        };
        for bits in 2..=8u8 {
            let linear = error(&real, format(bits, Coding::Linear, false, false));
            let book = error(&real, format(bits, Coding::Codebook, false, false));
            let offset = error(&real, format(bits, Coding::Linear, true, false));
            let tensor = error(&real, format(bits, Coding::Linear, false, true));
            assert!(tensor > linear, "{bits} bits: {tensor} {linear}");
            assert!(offset < linear * 1.3, "{bits} bits: {offset} {linear}");
            if bits < 8 {
                // Of four levels, the one that has to be 0 costs a little.
                let bound = if bits == 2 { linear * 1.05 } else { linear };
                assert!(book < bound, "{bits} bits: {book} {linear}");
                let finer = error(&real, format(bits + 1, Coding::Linear, false, false));
                assert!(finer < linear * 0.5, "{bits} bits: {finer} {linear}");
            }
        }
    }

    #[test]
    fn formats_are_read_from_text() {
        let format = |text: &str| text.parse::<WeightFormat>();
        assert_eq!(format("8"), Ok(WeightFormat::default()));
        let book = format("3,codebook,per-tensor").unwrap();
        assert_eq!(
            (book.bits, book.coding, book.per_tensor),
            (3, Coding::Codebook, true)
        );
        assert!(format("4,asymmetric").unwrap().asymmetric);
        assert_eq!(format("4,nested").unwrap().coding, Coding::Nested);
        for bad in [
            "",
            "1",
            "9",
            "4,",
            "x",
            "4,book",
            "4,codebook,asymmetric",
            "4,asymmetric,nested",
            "4,nested,codebook",
        ] {
            assert!(format(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn zero_is_a_level() {
        for coding in [Coding::Linear, Coding::Codebook] {
            for bits in 2..=8 {
                for asymmetric in [false, true] {
                    let format = WeightFormat {
                        bits,
                        coding,
                        asymmetric,
                        per_tensor: false,
                    };
                    let real = weights(3, 40);
                    let grid = Grid::of(&real, format);
                    let (codes, ints) = grid.codes(1, &[0.0], grid.scale[1]);
                    assert_eq!((codes[0], ints[0]), (grid.zero_code(1), 0), "{format:?}");
                }
            }
        }
    }

    #[test]
    fn channels_without_weights_are_zero() {
        for coding in [Coding::Linear, Coding::Codebook] {
            let format = WeightFormat {
                bits: 3,
                coding,
                ..Default::default()
            };
            let grid = Grid::of(&[vec![0.0; 5], vec![1.0, -1.0, 0.5, 0.0, 0.25]], format);
            assert_eq!(grid.scale[0], 0.0);
            assert_eq!(grid.codes(0, &[0.0; 5], 1.0).1, [0; 5]);
        }
    }
}
