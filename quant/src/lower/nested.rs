//! Nested weights: one 8-bit master code per weight, of which every width reads the upper bits.
//!
//! ```text
//! k         : master code, -128 ..= 127, of step s_8 = max |w| / 127 per channel (or layer)
//! w_b(k)    = (k & !0 << (8 - b)) | 1 << (7 - b)     the middle of the codes with the same upper b bits; w_8(k) = k
//! s_b       = Σ real · w_b / Σ w_b²                  the scale with the smallest squared error
//! ```
//! `w_b` counts in steps of the master, so that kernels for 8 bits take it after one AND and one OR.

use super::format::Levels;

/// Integer weight, in steps of the master, of a master code read with `bits` bits: its upper bits and the middle of
/// what is below them; all of it for 8 bits.
pub fn nested_value(code: i8, bits: u8) -> i8 {
    match 8 - bits.clamp(1, 8) {
        0 => code,
        below => code >> below << below | 1 << (below - 1),
    }
}

/// Index of [`nested_value`] in the book of [`nested_levels`]; the code itself for 8 bits.
pub fn nested_code(code: i8, bits: u8) -> i8 {
    match bits {
        8.. => code,
        _ => ((code as u8 ^ 0x80) >> (8 - bits.max(1))) as i8,
    }
}

/// What codes stand for when `bits` bits of a master are stored alone: every [`nested_value`], ascending.
pub fn nested_levels(bits: u8) -> Levels {
    match bits {
        8.. => Levels::Linear {
            lo: -128,
            hi: 127,
            zeros: vec![0],
        },
        _ => {
            let step = 1 << (8 - bits.max(1));
            let middle = |top: i16| top * step - 128 + step / 2;
            Levels::Book((0..1 << bits).map(middle).collect())
        }
    }
}

/// Master codes of real weights and, for one width, the scale of each channel.
#[derive(Clone, Debug, PartialEq)]
pub struct Nested {
    /// `[m][k]`.
    pub master: Vec<i8>,
    /// Per channel, in steps of the master; 0 for a channel without weights.
    pub scale: Vec<f64>,
}

impl Nested {
    /// For `real`, `[m][k]`. The master is the same for every width; `per_tensor` gives all channels one scale.
    ///
    /// The weights of a channel that has none are the two codes around zero in turn: no width has a zero, but their
    /// scale is.
    pub fn of(real: &[Vec<f64>], bits: u8, per_tensor: bool) -> Nested {
        let peak = |rows: &[Vec<f64>]| {
            let all = rows.iter().flatten();
            all.fold(0.0, |peak: f64, v| peak.max(v.abs()))
        };
        let groups = if per_tensor { real.len() } else { 1 };
        let (mut master, mut scale) = (Vec::new(), Vec::new());
        for rows in real.chunks(groups.max(1)) {
            let step = peak(rows) / 127.0;
            let code = |(i, v): (usize, &f64)| match step > 0.0 {
                true => (v / step).round() as i8,
                false => -((i % 2) as i8),
            };
            let codes: Vec<i8> = rows
                .iter()
                .flat_map(|row| row.iter().enumerate().map(code))
                .collect();
            let (mut cross, mut power) = (0.0, 0.0);
            for (v, k) in rows.iter().flatten().zip(&codes) {
                let w = f64::from(nested_value(*k, bits));
                cross += v * w;
                power += w * w;
            }
            let best = match bits {
                8 => step,
                _ if cross > 0.0 => cross / power,
                _ => 0.0,
            };
            scale.resize(scale.len() + rows.len(), best);
            master.extend(codes);
        }
        Nested { master, scale }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The book of a width, its codes and its values belong together, and values are the middle of what they stand for.
    #[test]
    fn every_width_reads_the_upper_bits() {
        for bits in 2..=8 {
            let levels = nested_levels(bits);
            let step = 1i16 << (8 - bits);
            for k in i8::MIN..=i8::MAX {
                let value = nested_value(k, bits);
                let floor = i16::from(k).div_euclid(step) * step;
                assert_eq!(i16::from(value), floor + step / 2, "{k} of {bits} bits");
                match &levels {
                    Levels::Book(book) => {
                        assert_eq!(book.len(), 1 << bits);
                        assert_eq!(book[nested_code(k, bits) as u8 as usize], i16::from(value));
                    }
                    Levels::Linear { lo, hi, zeros } => {
                        assert_eq!((*lo, *hi, &zeros[..]), (-128, 127, &[0][..]));
                        assert_eq!((nested_code(k, bits), value), (k, k));
                    }
                }
            }
        }
    }

    #[test]
    fn scales_have_the_smallest_squared_error() {
        let real: Vec<Vec<f64>> = (1..4)
            .map(|c| {
                (0..50)
                    .map(|i| ((i * i * c) as f64).sin() * f64::from(c))
                    .collect()
            })
            .collect();
        let mut errors = Vec::new();
        for bits in 2..=8 {
            let Nested { master, scale } = Nested::of(&real, bits, false);
            assert_eq!(master, Nested::of(&real, 8, false).master);
            let error = |factor: f64| -> f64 {
                let rows = real.iter().zip(master.chunks(50)).zip(&scale);
                let off = |((row, codes), s): ((&Vec<f64>, &[i8]), &f64)| -> f64 {
                    let w = |k: &i8| f64::from(nested_value(*k, bits)) * s * factor;
                    row.iter().zip(codes).map(|(v, k)| (v - w(k)).powi(2)).sum()
                };
                rows.map(off).sum()
            };
            if bits < 8 {
                assert!(
                    error(1.0) < error(1.01) && error(1.0) < error(0.99),
                    "{bits} bits"
                );
            }
            errors.push(error(1.0));
        }
        assert!(errors.is_sorted_by(|a, b| a > b), "{errors:?}");
        let shared = Nested::of(&real, 4, true);
        assert!(shared.scale.iter().all(|s| *s == shared.scale[0]));
    }

    #[test]
    fn a_channel_without_weights_has_scale_zero() {
        let nested = Nested::of(&[vec![0.0; 4], vec![1.0; 4]], 3, false);
        assert_eq!(nested.scale[0], 0.0);
        assert_eq!(nested.master[..4], [0, -1, 0, -1]);
    }
}
