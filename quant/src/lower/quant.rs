//! Scales, zero points and fixed-point multipliers. Everything is computed in `f64`; `round` is half away
//! from zero.

use elastiq::spec::SHIFT_RANGE;

/// Quantization of an int8 tensor: real = scale * (code - zero).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quant {
    pub scale: f32,
    pub zero: i8,
}

/// Ranges narrower than this are treated as constant zero.
const NARROW: f64 = 1e-20;

impl Quant {
    /// For tensors whose codes mean themselves (indices).
    pub const UNIT: Quant = Quant {
        scale: 1.0,
        zero: 0,
    };
    /// For values in `[0, 1)`: softmax and sigmoid.
    pub const UNSIGNED_UNIT: Quant = Quant {
        scale: 1.0 / 256.0,
        zero: -128,
    };
    /// For values in `[-1, 1)`: tanh.
    pub const SIGNED_UNIT: Quant = Quant {
        scale: 1.0 / 128.0,
        zero: 0,
    };

    /// Grid of 256 codes over `[min(lo, 0), max(hi, 0)]`; zero is always a code.
    pub fn from_range(lo: f32, hi: f32) -> Quant {
        let (lo, hi) = (f64::from(lo.min(0.0)), f64::from(hi.max(0.0)));
        if hi - lo < NARROW {
            return Quant::UNIT;
        }
        let scale = ((hi - lo) / 255.0) as f32;
        let zero = (-128.0 - lo / f64::from(scale))
            .round()
            .clamp(-128.0, 127.0) as i8;
        Quant { scale, zero }
    }

    /// Scale as the `f64` that all formulas use.
    pub fn s(self) -> f64 {
        f64::from(self.scale)
    }

    /// Zero point as the `f64` that all formulas use.
    pub fn z(self) -> f64 {
        f64::from(self.zero)
    }

    /// Nearest code: `clamp(round(v / scale) + zero, -128, 127)`; NaN gives 0.
    pub fn code(self, v: f64) -> i8 {
        ((v / self.s()).round() + self.z()).clamp(-128.0, 127.0) as i8
    }

    /// Value of `code`.
    pub fn real(self, code: i8) -> f64 {
        self.s() * (f64::from(code) - self.z())
    }
}

/// Shift `l` for the largest real multiplier of an op, `None` where it exceeds what `i32` can take.
///
/// 0 within `[2^-21, 1/2)`; above, the smallest shift that brings it below 1/2; below, the shift nearest to 0 that
/// brings it to 2^-21 (at most 16).
pub fn shift_for(largest: f64) -> Option<i8> {
    let fits = |l: i8| half_mult(largest, l) < 2f64.powi(30);
    let up = (0..=*SHIFT_RANGE.end()).find(|&l| fits(l))?;
    if up > 0 {
        return Some(up);
    }
    let fine = |l: &i8| largest / 2f64.powi(i32::from(*l)) >= 2f64.powi(-21);
    Some(
        (*SHIFT_RANGE.start()..=0)
            .rev()
            .find(fine)
            .unwrap_or(*SHIFT_RANGE.start()),
    )
}

/// `round(2^31 * real / 2^l)`: half of the stored multiplier.
fn half_mult(real: f64, l: i8) -> f64 {
    (real * 2f64.powi(31 - i32::from(l))).round()
}

/// Stored multiplier `m = 2 * round(2^31 * real / 2^l)`, at least 2; `None` where it leaves `0 < m < 2^31`.
pub fn mult(real: f64, l: i8) -> Option<i32> {
    let half = half_mult(real, l).max(1.0);
    (half < 2f64.powi(30)).then_some(2 * half as i32)
}

/// Smallest `real / 2^l` whose multiplier keeps a relative precision of 2^-10.
pub const LEAST: f64 = 1.0 / (1 << 22) as f64;

/// Clamp bounds of an output code for real bounds `lo`, `hi` (infinite where there are none).
pub fn bounds(q: Quant, lo: f64, hi: f64) -> (i8, i8) {
    (q.code(lo), q.code(hi))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{Rng, SeedableRng};

    #[test]
    fn multiplier_is_precise_over_its_whole_range() {
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(1);
        for _ in 0..100_000 {
            let real = 2f64.powf(rng.random_range(-37.0..13.99));
            let l = shift_for(real).unwrap();
            let m = mult(real, l).unwrap();
            assert!(m > 0 && m % 2 == 0);
            let back = f64::from(m) * 2f64.powi(i32::from(l) - 32);
            assert!(
                (back / real - 1.0).abs() <= 2f64.powi(-10),
                "{real} {l} {m}"
            );
            if (2f64.powi(-21)..0.499).contains(&real) {
                assert_eq!(l, 0);
            }
        }
    }

    #[test]
    fn multiplier_edges() {
        assert_eq!(shift_for(0.5), Some(1));
        assert_eq!(shift_for(0.5 - 2f64.powi(-33)), Some(1));
        assert_eq!(shift_for(0.5 - 2f64.powi(-31)), Some(0));
        assert_eq!(mult(0.5 - 2f64.powi(-31), 0), Some(i32::MAX - 1));
        assert_eq!(shift_for(2f64.powi(-21)), Some(0));
        assert_eq!(shift_for(2f64.powi(-22)), Some(-1));
        assert_eq!(shift_for(2f64.powi(-60)), Some(-16));
        assert_eq!(shift_for(16384.0), None);
        assert_eq!(shift_for(16383.9), Some(15));
        assert_eq!(mult(2f64.powi(-60), -16), Some(2));
    }

    #[test]
    fn ranges_include_zero() {
        for (lo, hi) in [
            (0.5, 3.0),
            (-3.0, -0.5),
            (-1.0, 2.0),
            (0.0, 0.0),
            (-1e-30, 1e-30),
            (0.0, 255.0),
        ] {
            let q = Quant::from_range(lo, hi);
            assert_eq!(q.real(q.code(0.0)), 0.0);
            assert!(q.scale > 0.0);
        }
        assert_eq!(
            Quant::from_range(0.0, 255.0),
            Quant {
                scale: 1.0,
                zero: -128
            }
        );
    }
}
