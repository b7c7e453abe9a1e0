//! The power grid: levels `sgn(k) (|k| / q)^(1/a)`.
//!
//! Products of levels are levels of products, `f(xy) = f(x) f(y)`, which only powers do; `a` sets where the levels lie:
//! equal steps at 1, denser around 0 below, denser at the ends above. Weights are rounded to the nearest *level*, not
//! to the nearest code `q u^a`: the same at `a = 1`, and never further away elsewhere.
//!
//! Source: PowerQuant (Yvinec et al., ICLR 2023) for the map; the spare level is ours.

use std::ops::RangeInclusive;

/// A grid of `2^bits` levels around 0, in units of the clipping point.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Power {
    /// 2 to 8.
    pub bits: u8,
    /// `a`, positive.
    pub exponent: f64,
    /// Sign of the level beyond the clipping point: `2^bits` codes are one more than a symmetric grid has.
    pub spare: Spare,
}

/// Where the spare level is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spare {
    /// Code `-q - 1`, as two's complement has it.
    Below,
    /// Code `q + 1`.
    Above,
}

impl Power {
    /// Code of the clipping point.
    pub fn q(&self) -> i32 {
        (1 << (self.bits - 1)) - 1
    }

    /// All codes.
    pub fn codes(&self) -> RangeInclusive<i32> {
        match self.spare {
            Spare::Below => -self.q() - 1..=self.q(),
            Spare::Above => -self.q()..=self.q() + 1,
        }
    }

    /// Level of code `k`.
    pub fn level(&self, k: i32) -> f64 {
        let u = f64::from(k.abs()) / f64::from(self.q());
        f64::from(k.signum()) * u.powf(1.0 / self.exponent)
    }

    /// Derivative of [`Power::level`] by the exponent, for a code that stays: `-level ln(|k|/q) / a^2`, 0 at code 0.
    pub fn slope(&self, k: i32) -> f64 {
        match k {
            0 => 0.0,
            _ => {
                let u = f64::from(k.abs()) / f64::from(self.q());
                -self.level(k) * u.ln() / self.exponent.powi(2)
            }
        }
    }

    /// Derivative of the level that `u` is rounded to by the exponent, where the rounding residual in code space stays:
    /// `(w/a) ((p/|k|) ln|u| - ln(|k|/q) / a)` with `p = q |u|^a`; 0 for code 0 and `u = 0`.
    pub fn drift(&self, u: f64, k: i32) -> f64 {
        if k == 0 || u == 0.0 {
            return 0.0;
        }
        let (q, a, k_abs) = (f64::from(self.q()), self.exponent, f64::from(k.abs()));
        let log = u.abs().ln();
        let p = q * (a * log).exp();
        self.level(k) / a * (p / k_abs * log - (k_abs / q).ln() / a)
    }

    /// Levels and the bounds between them.
    pub fn table(&self) -> Table {
        Table::new(self.codes().map(|k| self.level(k)).collect())
    }

    /// Integer levels: `round(m level)` with the largest `m` for which none exceeds `top`; exact where the levels are
    /// multiples of a small enough number (`a` = 1: `k`, `a` = 1/2: `sgn(k) k^2`). Returns the book and `m`.
    pub fn book(&self, top: f64) -> (Vec<i16>, f64) {
        let (q, n) = (f64::from(self.q()), (1.0 / self.exponent).round());
        let exact = (1.0 / self.exponent - n).abs() < 1e-12 && (q + 1.0).powf(n) <= top;
        let m = match exact {
            true => q.powf(n),
            false => top / ((q + 1.0) / q).powf(1.0 / self.exponent),
        };
        let entry = |k: i32| (m * self.level(k)).round() as i16;
        (self.codes().map(entry).collect(), m)
    }
}

/// Ascending levels with the bounds between neighbours.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    pub levels: Vec<f64>,
    bounds: Vec<f64>,
}

impl Table {
    /// Table of ascending `levels`.
    pub fn new(levels: Vec<f64>) -> Table {
        let bounds = levels.windows(2).map(|w| (w[0] + w[1]) / 2.0).collect();
        Table { levels, bounds }
    }

    /// Index of the level next to `u`; of two equally near ones that further from 0.
    pub fn index(&self, u: f64) -> usize {
        match u < 0.0 {
            true => self.bounds.partition_point(|&b| b < u),
            false => self.bounds.partition_point(|&b| b <= u),
        }
    }

    /// The level next to `u`.
    pub fn nearest(&self, u: f64) -> f64 {
        self.levels[self.index(u)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{Rng, SeedableRng};

    const EXPONENTS: [f64; 8] = [0.3, 0.45, 0.5, 0.65, 0.8, 1.0, 1.2, 1.5];

    fn grids() -> impl Iterator<Item = Power> {
        let spares = [Spare::Below, Spare::Above];
        let of = move |bits| {
            EXPONENTS.into_iter().flat_map(move |exponent| {
                spares.map(|spare| Power {
                    bits,
                    exponent,
                    spare,
                })
            })
        };
        (2..=8).flat_map(of)
    }

    #[test]
    fn codes_survive_decoding_and_encoding() {
        for power in grids() {
            let table = power.table();
            assert_eq!(table.levels.len(), 1 << power.bits);
            assert!(table.levels.windows(2).all(|w| w[0] < w[1]), "{power:?}");
            for (i, k) in power.codes().enumerate() {
                assert_eq!(table.index(power.level(k)), i, "{power:?} code {k}");
            }
            let zero = (-power.codes().start()) as usize;
            assert_eq!((table.index(0.0), table.nearest(-0.0)), (zero, 0.0));
        }
    }

    /// Levels of products are products of levels, up to the rounding of the books.
    #[test]
    fn products_of_decoded_codes_are_decoded_products() {
        for w in grids().filter(|p| p.bits <= 4) {
            for x in grids().filter(|p| p.exponent == w.exponent && p.bits == 4) {
                let ((dw, mw), (dx, mx)) = (w.book(4095.0), x.book(4095.0));
                for (kw, &dw) in w.codes().zip(&dw) {
                    for (kx, &dx) in x.codes().zip(&dx) {
                        let u = f64::from(kw * kx) / f64::from(w.q() * x.q());
                        let exact = mw * mx * u.signum() * u.abs().powf(1.0 / w.exponent);
                        let off = (f64::from(dw) * f64::from(dx) - exact).abs();
                        let bound = (f64::from(dw).abs() + f64::from(dx).abs()) / 2.0 + 1.0;
                        assert!(off <= bound, "{w:?} {kw} {kx}: {off}");
                        if w.exponent == 0.5 {
                            assert!(off < 1e-9, "{w:?} {kw} {kx}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn squares_and_equal_steps_are_exact() {
        for bits in 2..=7 {
            let of = |exponent| {
                let spare = Spare::Below;
                Power {
                    bits,
                    exponent,
                    spare,
                }
            };
            let (book, m) = of(0.5).book(4096.0);
            let squares = of(0.5).codes().map(|k| (k.signum() * k * k) as i16);
            assert_eq!(
                (book, m),
                (squares.collect(), f64::from(of(0.5).q().pow(2)))
            );
            let (book, _) = of(1.0).book(4095.0);
            assert_eq!(book, of(1.0).codes().map(|k| k as i16).collect::<Vec<_>>());
        }
        // 64^2 does not fit below 4095: rounded, then, and within bounds.
        let power = Power {
            bits: 7,
            exponent: 0.5,
            spare: Spare::Above,
        };
        let (book, _) = power.book(4095.0);
        assert!(book.iter().all(|v| v.abs() <= 4095) && book.is_sorted());
    }

    #[test]
    fn exponent_one_is_the_uniform_quantizer() {
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(2);
        for bits in 2..=8u8 {
            let power = Power {
                bits,
                exponent: 1.0,
                spare: Spare::Below,
            };
            let (table, q) = (power.table(), f64::from(power.q()));
            for _ in 0..20_000 {
                let u: f64 = rng.random_range(-1.3..1.3);
                let uniform = (u * q).round().clamp(-q - 1.0, q);
                assert_eq!(table.nearest(u).to_bits(), {
                    let level: f64 = uniform.abs() / q * uniform.signum();
                    (level + 0.0).to_bits()
                });
            }
        }
    }

    /// [`Power::drift`] against the difference quotient of the map with the rounding residual held.
    #[test]
    fn exponent_gradient_is_that_of_the_frozen_residual() {
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(4);
        for power in grids() {
            let (q, a) = (f64::from(power.q()), power.exponent);
            for _ in 0..200 {
                let u: f64 = rng.random_range(-1.0..1.0);
                let p = |a: f64| q * u.abs().powf(a);
                let k = p(a).round();
                let residual = k - p(a);
                let map = |a: f64| ((p(a) + residual) / q).powf(1.0 / a) * u.signum();
                let code = (k * u.signum()) as i32;
                let got = power.drift(u, code);
                if code == 0 {
                    assert_eq!(got, 0.0);
                    continue;
                }
                let step = 1e-5;
                let want = (map(a + step) - map(a - step)) / (2.0 * step);
                assert!((got - want).abs() < 1e-6, "{power:?} {u}: {got} {want}");
                let slope = |a| {
                    Power {
                        exponent: a,
                        ..power
                    }
                    .level(code)
                };
                let want = (slope(a + step) - slope(a - step)) / (2.0 * step);
                assert!((power.slope(code) - want).abs() < 1e-6, "{power:?} {code}");
            }
            for u in [0.0, 1.0, -1.0, 1e-30, -1e-30, 5e-324] {
                for code in power.codes() {
                    assert!(power.drift(u, code).is_finite() && power.slope(code).is_finite());
                }
            }
        }
    }
}
