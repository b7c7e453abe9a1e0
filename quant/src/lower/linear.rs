//! Weights, biases and multipliers of convolutions and dense layers, with the overflow proof.
//!
//! Per output channel c, with real multiplier `M_c = s_x * s_w[c] / s_y`:
//! ```text
//! w[c][i]  = the integer weight next to w_real / s_w[c] that the format has; the file's where it fixes int8 codes
//! bias[c]  = round(b / (s_x * s_w[c])) - z_x * sum_i w[c][i]
//! m[c]     = 2 * round(2^31 * M_c / 2^l)                 one l for the op, from the largest M_c
//! proof    : (|bias[c]| + sum_i |w[c][i]| * 128) * 2^max(l, 0) <= 2^31 - 1
//! ```
//! A channel whose multiplier would lose precision, or whose bias would not fit, gets a larger `s_w[c]`: its weights
//! are then too small to matter next to the output's step.

use super::format::{Coding, Grid, Levels, WeightFormat};
use super::given::GivenWeights;
use super::nested::{Nested, nested_code, nested_levels, nested_value};
use super::quant::{LEAST, Quant, mult, shift_for};
use crate::Error;
use crate::ir::{FileQuant, Value};

/// Integer parameters of a linear operator.
#[derive(Clone, Debug, PartialEq)]
pub struct Linear {
    /// `[m][k]` codes.
    pub codes: Codes,
    /// `(bias, mult)` per output channel.
    pub quant: Vec<(i32, i32)>,
    pub shift: i8,
}

/// Weight codes and what they stand for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Codes {
    /// One code each: two's complement, or an index into `book`.
    pub codes: Vec<i8>,
    /// Bits of a code; 0 without weights.
    pub bits: u8,
    /// Zero points: one, or one per output channel. Empty for codebooks.
    pub zeros: Vec<i16>,
    /// Values by code; empty on a linear grid.
    pub book: Vec<i16>,
    /// 8-bit codes of which `codes` are the upper bits, see [`super::nested`]; empty if there are none.
    pub master: Vec<i8>,
    /// `codes` are the master themselves, stored with 8 bits, of which `bits` count.
    pub nested: bool,
}

impl Codes {
    /// Codes that widths share in place of those of one width.
    pub fn into_nested(self) -> Codes {
        match self.master.len() == self.codes.len() && self.bits < 8 {
            true => Codes {
                codes: self.master,
                bits: self.bits,
                nested: true,
                ..Codes::default()
            },
            false => self,
        }
    }

    /// Whether kernels can use the codes as weights: 8 bits, linear, symmetric.
    pub fn is_plain(&self) -> bool {
        self.bits == 8 && self.book.is_empty() && self.zeros == [0]
    }

    /// Whether all weights fit 8 bits.
    pub fn fits_i8(&self) -> bool {
        self.is_plain() || self.nested || self.bits < 8 && self.book.is_empty()
    }
}

/// Codes of the weights before biases and multipliers are known.
#[derive(Clone, Debug)]
pub struct Weights {
    /// Real weights per channel, `[m][k]`.
    real: Vec<Vec<f64>>,
    /// Codes minus zero point that the file fixes, `[m][k]`.
    fixed: Option<Vec<Vec<f64>>>,
    /// Master codes `[m][k]`; their weights keep their integers whatever the scale.
    master: Vec<i8>,
    grid: Grid,
    bits: u8,
}

impl Weights {
    /// Weights `[m][k]` in `format`.
    pub fn new(real: Vec<Vec<f64>>, format: WeightFormat) -> Weights {
        if format.coding == Coding::Nested {
            let Nested { master, scale } = Nested::of(&real, format.bits, format.per_tensor);
            return Weights::nested(format.bits, scale, master);
        }
        Weights {
            grid: Grid::of(&real, format),
            real,
            fixed: None,
            master: Vec::new(),
            bits: format.bits,
        }
    }

    /// Weights of a constant `[m, ..]`. 8-bit linear weights keep codes, scales and zero points that the file fixes.
    ///
    /// # Errors
    /// Values that are not finite, and for 8 bits quantizations of the file other than per tensor or per output
    /// channel with one zero point.
    pub fn of_value(value: &Value, format: WeightFormat) -> Result<Weights, Error> {
        let data = value
            .constant
            .as_ref()
            .ok_or_else(|| Error::input("weights are not constant"))?;
        let m = value.shape.first().copied().unwrap_or(1).max(1);
        let flat: Vec<f64> = data.iter().map(|&v| f64::from(v)).collect();
        let k = (flat.len() / m).max(1);
        if let Some(at) = flat.iter().position(|v| !v.is_finite()) {
            return Err(Error::input(format!(
                "channel {}: a weight is not finite",
                at / k
            )));
        }
        let real: Vec<Vec<f64>> = flat.chunks(k).map(<[f64]>::to_vec).collect();
        match &value.quant {
            Some(q) if format.bits == 8 && format.coding == Coding::Linear => {
                Weights::from_file(real, q)
            }
            _ => Ok(Weights::new(real, format)),
        }
    }

    /// Codes that were decided before, for a constant `[m, ..]`.
    ///
    /// # Errors
    /// Numbers of codes, scales or zero points that are not those of the constant; codes outside of the levels.
    pub fn given(value: &Value, given: &GivenWeights) -> Result<Weights, Error> {
        let m = value.shape.first().copied().unwrap_or(1).max(1);
        let n: usize = value.shape.iter().product();
        let GivenWeights {
            bits,
            grid,
            codes,
            nested,
        } = given;
        let wrong = |text: String| Err(Error::input(format!("given weights: {text}")));
        if !(2..=8).contains(bits) || codes.len() != n || grid.scale.len() != m {
            let text = format!(
                "{} codes of {bits} bits and {} scales for {n} weights of {m} channels",
                codes.len(),
                grid.scale.len()
            );
            return wrong(text);
        }
        if let Some(s) = grid.scale.iter().find(|s| !(s.is_finite() && **s > 0.0)) {
            return wrong(format!("scale {s} is not positive"));
        }
        if *nested {
            return Ok(Weights::nested(*bits, grid.scale.clone(), codes.clone()));
        }
        let fits = match &grid.levels {
            Levels::Linear { zeros, .. } => zeros.len() == 1 || zeros.len() == m,
            Levels::Book(book) => book.len() == 1 << bits && book.is_sorted(),
        };
        if !fits {
            return wrong("zero points or book of another size, or not ascending".to_owned());
        }
        let k = n / m;
        let mut fixed = Vec::with_capacity(m);
        for (c, row) in codes.chunks(k.max(1)).enumerate() {
            let Some(row) = row.iter().map(|&code| grid.value(c, code)).collect() else {
                return wrong(format!("channel {c}: a code has no level"));
            };
            fixed.push(row);
        }
        Ok(Weights {
            real: vec![vec![0.0; k]; m],
            fixed: Some(fixed),
            master: Vec::new(),
            grid: grid.clone(),
            bits: *bits,
        })
    }

    /// The upper `bits` of `master` codes `[m][k]`, a scale per channel.
    fn nested(bits: u8, scale: Vec<f64>, master: Vec<i8>) -> Weights {
        let k = (master.len() / scale.len().max(1)).max(1);
        let value = |&code: &i8| f64::from(nested_value(code, bits));
        let fixed = master.chunks(k).map(|row| row.iter().map(value).collect());
        Weights {
            real: vec![vec![0.0; k]; scale.len()],
            fixed: Some(fixed.collect()),
            grid: Grid {
                scale,
                levels: nested_levels(bits),
            },
            master,
            bits,
        }
    }

    fn from_file(real: Vec<Vec<f64>>, q: &FileQuant) -> Result<Weights, Error> {
        let m = real.len();
        let scale: Vec<f64> = match (q.scale.len(), q.axis) {
            (1, _) => vec![f64::from(q.scale[0]); m],
            (n, Some(0)) if n == m => q.scale.iter().map(|&s| f64::from(s)).collect(),
            _ => {
                return Err(Error::input(
                    "the file's weight scales are neither per tensor nor per output channel",
                ));
            }
        };
        if scale.iter().any(|s| !(s.is_finite() && *s > 0.0)) {
            return Err(Error::input("a weight scale in the file is not positive"));
        }
        let zero = q.zero.first().copied().unwrap_or(0);
        if let Some(c) = q.zero.iter().position(|&z| z != zero) {
            let text = format!(
                "channel {c}: weight zero point {} differs from {zero}; only one zero point per tensor is supported",
                q.zero[c]
            );
            return Err(Error::input(text));
        }
        if i8::try_from(zero).is_err() {
            return Err(Error::input(format!(
                "weight zero point {zero} is not an 8-bit code"
            )));
        }
        let mut fixed = Vec::with_capacity(m);
        for (c, row) in real.iter().enumerate() {
            let codes: Vec<f64> = row.iter().map(|v| (v / scale[c]).round()).collect();
            if codes
                .iter()
                .any(|v| i8::try_from(*v as i32 + zero).is_err())
            {
                return Err(Error::input(format!(
                    "channel {c}: a weight lies outside the 8-bit codes that the file declares"
                )));
            }
            fixed.push(codes);
        }
        let zero = zero as i16;
        Ok(Weights {
            real,
            fixed: Some(fixed),
            master: Vec::new(),
            grid: Grid {
                scale,
                levels: Levels::Linear {
                    lo: -128,
                    hi: 127,
                    zeros: vec![zero],
                },
            },
            bits: 8,
        })
    }

    /// Codes and integer weights of channel `c` at scale `s`.
    fn codes(&self, c: usize, s: f64) -> (Vec<i8>, Vec<i32>) {
        let n = self.real[c].len();
        if let Some(master) = self.master.get(c * n..(c + 1) * n) {
            let pair = |&k: &i8| {
                let value = nested_value(k, self.bits);
                (nested_code(k, self.bits), i32::from(value))
            };
            return master.iter().map(pair).unzip();
        }
        if self.is_dead(c) {
            return (vec![self.grid.zero_code(c); n], vec![0; n]);
        }
        match &self.fixed {
            // What the file fixes; scaled down where the scale had to grow.
            Some(fixed) => {
                let row: Vec<f64> = fixed[c].iter().map(|v| v * self.grid.scale[c]).collect();
                self.grid.codes(c, &row, s)
            }
            None => self.grid.codes(c, &self.real[c], s),
        }
    }

    fn is_dead(&self, c: usize) -> bool {
        match &self.fixed {
            Some(fixed) if self.master.is_empty() => fixed[c].iter().all(|&v| v == 0.0),
            _ => self.grid.scale[c] == 0.0,
        }
    }
}

/// Integer parameters for weights, real bias and the quantizations of input and output.
///
/// # Errors
/// Names the channel whose sum could leave `i32`, or whose multiplier is 2^14 or more.
pub fn linear(w: &Weights, bias: &[f64], x: Quant, y: Quant) -> Result<Linear, Error> {
    let ratio = x.s() / y.s();
    if let Some(c) = bias.iter().position(|b| !b.is_finite()) {
        return Err(Error::input(format!("channel {c}: the bias is not finite")));
    }
    let mut scale = w.grid.scale.clone();
    let live = (0..scale.len())
        .filter(|&c| !w.is_dead(c))
        .map(|c| scale[c])
        .fold(0.0, f64::max);
    // The scale of a channel without weights only carries its bias: any scale will do.
    let spare = if live > 0.0 {
        live
    } else {
        2f64.powi(-10) / ratio
    };
    // But not where codes stay what they are: the smallest then.
    for c in (0..scale.len()).filter(|&c| w.is_dead(c) && w.master.is_empty()) {
        scale[c] = spare;
    }
    let largest = |scale: &[f64]| ratio * scale.iter().copied().fold(0.0, f64::max);
    let too_large = |scale: &[f64]| {
        let c = (0..scale.len())
            .max_by(|&a, &b| scale[a].total_cmp(&scale[b]))
            .unwrap_or(0);
        Error::input(format!(
            "channel {c}: one step of the sum is {:.0} steps of the output, at most 16383 are possible",
            ratio * scale[c]
        ))
    };
    let mut l = shift_for(largest(&scale)).ok_or_else(|| too_large(&scale))?;
    let unit = |l: i8| 2f64.powi(i32::from(l));
    for s in &mut scale {
        *s = s.max(LEAST * unit(l) / ratio);
    }
    for (s, b) in scale.iter_mut().zip(bias) {
        // A bias that is much larger than its weights: leave three quarters of the range to the sum.
        let room = 2f64.powi(29 - i32::from(l.max(0)));
        *s = s.max(b.abs() / (x.s() * room));
    }
    l = shift_for(largest(&scale)).ok_or_else(|| too_large(&scale))?;

    let mut codes = Vec::new();
    let mut quant = Vec::with_capacity(scale.len());
    for (c, &s) in scale.iter().enumerate() {
        let (row, weights) = w.codes(c, s);
        let b = (bias.get(c).copied().unwrap_or(0.0) / (x.s() * s)).round() as i64;
        let folded = b - i64::from(x.zero) * weights.iter().map(|&v| i64::from(v)).sum::<i64>();
        prove(folded, &weights, l).map_err(|e| e.within(format!("channel {c}")))?;
        let m = mult(ratio * s, l).ok_or_else(|| too_large(&scale))?;
        quant.push((folded as i32, m));
        codes.extend(row);
    }
    let (zeros, book) = match &w.grid.levels {
        Levels::Linear { zeros, .. } => (zeros.clone(), Vec::new()),
        Levels::Book(book) => (Vec::new(), book.clone()),
    };
    Ok(Linear {
        codes: Codes {
            codes,
            bits: w.bits,
            zeros,
            book,
            master: w.master.clone(),
            nested: false,
        },
        quant,
        shift: l,
    })
}

/// Show that no partial sum leaves `i32`, for inputs of any code.
///
/// # Errors
/// Says how large the sum could become.
pub fn prove(bias: i64, codes: &[i32], l: i8) -> Result<(), Error> {
    let weight: i64 = codes.iter().map(|&v| i64::from(v.abs())).sum();
    let most = i128::from(bias.unsigned_abs()) + i128::from(weight) * 128;
    let shifted = most << l.max(0);
    if shifted > i128::from(i32::MAX) {
        let text = format!(
            "the sum can reach {shifted}, which does not fit 32 bits ({} weights, bias {bias})",
            codes.len()
        );
        return Err(Error::input(text));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use elastiq::spec;
    use rand::{Rng, SeedableRng};

    const X: Quant = Quant {
        scale: 0.02,
        zero: -7,
    };
    const Y: Quant = Quant {
        scale: 0.05,
        zero: 11,
    };

    fn run(lin: &Linear, k: usize, c: usize, x: &[i8], y: Quant) -> i8 {
        let (bias, m) = lin.quant[c];
        let row = &lin.codes.codes[c * k..][..k];
        let sum = row
            .iter()
            .zip(x)
            .map(|(&w, &x)| (i32::from(w) - i32::from(lin.codes.zeros[0])) * i32::from(x))
            .sum::<i32>();
        spec::requant(bias + sum, m, lin.shift, y.zero, -128, 127)
    }

    /// Channels of very different magnitude, a dead one and one that is all bias, against real arithmetic.
    #[test]
    fn channels_of_any_magnitude_follow_the_real_numbers() {
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(3);
        let k = 24;
        let sizes = [1.0, 1e-3, 1e-7, 1e-12, 0.0, 30.0];
        let real: Vec<Vec<f64>> = sizes
            .iter()
            .map(|s| {
                (0..k)
                    .map(|_| s * rng.random_range(-1.0..1.0f64) * 0.1)
                    .collect()
            })
            .collect();
        let bias = [0.3, -0.2, 1.0, 2.0, -3.0, 0.0];
        let w = Weights::new(real, WeightFormat::default());
        let lin = linear(&w, &bias, X, Y).unwrap();
        for _ in 0..2000 {
            let x: Vec<i8> = (0..k).map(|_| rng.random_range(-128..=127)).collect();
            for (c, bias) in bias.iter().enumerate() {
                // Against the weights as quantized where that is by abs-max, else against the real ones.
                let s = w.grid.scale[c];
                let coarse = |v: f64| {
                    if s * X.s() / Y.s() > LEAST * 64.0 {
                        (v / s).round() * s
                    } else {
                        v
                    }
                };
                let sum: f64 = w.real[c]
                    .iter()
                    .zip(&x)
                    .map(|(&w, &x)| coarse(w) * X.real(x))
                    .sum();
                let want = ((sum + bias) / Y.s() + Y.z()).clamp(-128.0, 127.0);
                let got = f64::from(run(&lin, k, c, &x, Y));
                assert!(
                    (got - want).abs() <= 0.5 + 0.1,
                    "channel {c}: {got} for {want}"
                );
            }
        }
    }

    #[test]
    fn proof_is_exact_at_its_boundary() {
        let codes = vec![127; 1000];
        let weight = 127 * 1000 * 128;
        assert!(prove(i64::from(i32::MAX) - weight, &codes, 0).is_ok());
        assert!(prove(i64::from(i32::MAX) - weight + 1, &codes, 0).is_err());
        assert!(prove(-(i64::from(i32::MAX) - weight), &codes, 0).is_ok());
        assert!(prove(-(i64::from(i32::MAX) - weight) - 1, &codes, 0).is_err());
        assert!(prove((i64::from(i32::MAX) >> 3) - weight, &codes, 3).is_ok());
        assert!(prove((i64::from(i32::MAX) >> 3) - weight + 1, &codes, 3).is_err());
    }

    #[test]
    fn too_many_inputs_are_refused_by_channel() {
        let k = 140_000;
        let w = Weights::new(vec![vec![0.0; k], vec![0.5; k]], WeightFormat::default());
        let message = linear(&w, &[0.0, 0.0], X, Y).unwrap_err().to_string();
        assert!(
            message.starts_with("channel 1:") && message.contains("32 bits"),
            "{message}"
        );
    }

    #[test]
    fn file_codes_are_kept() {
        let q = FileQuant {
            scale: vec![0.01, 0.02],
            zero: vec![3, 3],
            axis: Some(0),
        };
        let codes = [[-128i32, 127, 3], [0, 5, -7]];
        let real = codes
            .iter()
            .zip([0.01f64, 0.02])
            .map(|(r, s)| r.iter().map(|&c| s * f64::from(c - 3)).collect())
            .collect();
        let lin = linear(&Weights::from_file(real, &q).unwrap(), &[0.0, 0.0], X, Y).unwrap();
        assert_eq!(
            lin.codes.codes,
            codes.concat().iter().map(|&c| c as i8).collect::<Vec<_>>()
        );
        assert_eq!(lin.codes.zeros, [3]);
        let mixed = FileQuant {
            zero: vec![3, 4],
            ..q
        };
        let message = Weights::from_file(vec![vec![0.0], vec![0.0]], &mixed)
            .unwrap_err()
            .to_string();
        assert!(message.contains("channel 1"), "{message}");
    }

    #[test]
    fn huge_multipliers_are_refused_by_channel() {
        let w = Weights::new(vec![vec![1.0], vec![1e9]], WeightFormat::default());
        let message = linear(&w, &[0.0, 0.0], X, Y).unwrap_err().to_string();
        assert!(message.starts_with("channel 1:"), "{message}");
    }
}
