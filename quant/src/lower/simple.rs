//! Parameters of the operators without weights. Formulas over reals in `f64`, `round` is half away from zero.

use super::quant::{Quant, mult, shift_for};
use crate::Error;

/// `a`, `b`, `c`, `s` of [`elastiq::spec::add`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddParams {
    pub a: i16,
    pub b: i16,
    pub c: i32,
    pub s: u8,
}

/// Parameters of `y = x1 + sign * x2`.
///
/// With ratios `r1 = s1 / s_y`, `r2 = sign * s2 / s_y`: `a = round(r1 2^s)`, `b = round(r2 2^s)`,
/// `c = z_y 2^s - a z1 - b z2 + 2^(s-1)`, and `s <= 23` as large as `|a|, |b| < 2^15` allows. The zero points
/// of both inputs give the zero point of the output exactly.
///
/// # Errors
/// An input whose step is 2^15 output steps or more.
pub fn add(x1: Quant, x2: Quant, sign: f64, y: Quant) -> Result<AddParams, Error> {
    let (r1, r2) = (x1.s() / y.s(), sign * x2.s() / y.s());
    let at = |s: u8| {
        (
            (r1 * 2f64.powi(s.into())).round(),
            (r2 * 2f64.powi(s.into())).round(),
        )
    };
    let fits = |s: &u8| at(*s).0.abs().max(at(*s).1.abs()) < 32768.0;
    let s = (0..=23).rev().find(fits).ok_or_else(|| {
        Error::input(format!(
            "an input step is {:.0} steps of the output, at most 32767 are possible",
            r1.max(r2.abs())
        ))
    })?;
    let (a, b) = at(s);
    let half = if s == 0 {
        0.0
    } else {
        2f64.powi(i32::from(s) - 1)
    };
    let c = y.z() * 2f64.powi(s.into()) - a * x1.z() - b * x2.z() + half;
    Ok(AddParams {
        a: a as i16,
        b: b as i16,
        c: c as i32,
        s,
    })
}

/// Multiplier and shift of `y = x1 * x2`.
///
/// # Errors
/// A product step of 2^14 output steps or more.
pub fn mul(x1: Quant, x2: Quant, y: Quant) -> Result<(i32, i8), Error> {
    let real = x1.s() * x2.s() / y.s();
    let found = shift_for(real).and_then(|l| Some((mult(real, l)?, l)));
    found.ok_or_else(|| {
        Error::input(format!(
            "one step of the product is {real:.0} steps of the output, at most 16383 are possible"
        ))
    })
}

/// Rows and shift of an average over `counts` elements each: `bias = -z_x n`, multiplier `s_x / (n s_y)`.
///
/// # Errors
/// An input step of 2^14 output steps or more, or a window whose sum does not fit 32 bits.
pub fn average(x: Quant, y: Quant, counts: &[usize]) -> Result<(Vec<(i32, i32)>, i8), Error> {
    let real = |n: usize| x.s() / y.s() / n as f64;
    let largest = counts.iter().map(|&n| real(n)).fold(0.0, f64::max);
    let l = shift_for(largest).ok_or_else(|| {
        Error::input(format!(
            "one input step is {largest:.0} steps of the output"
        ))
    })?;
    let row = |&n: &usize| {
        let bias = -i64::from(x.zero) * n as i64;
        let most = (bias.unsigned_abs() + 128 * n as u64) << l.max(0);
        if most > i32::MAX as u64 {
            return Err(Error::input(format!(
                "the sum over {n} elements can reach {most}, which does not fit 32 bits"
            )));
        }
        Ok((bias as i32, mult(real(n), l).unwrap_or(2)))
    };
    Ok((counts.iter().map(row).collect::<Result<_, _>>()?, l))
}

/// Rows and shift of `y = x` above zero and `slope[c] * x` below, on the accumulator `x - z_x`.
///
/// # Errors
/// An input step of 2^14 output steps or more.
pub fn prelu(x: Quant, y: Quant, slopes: &[f64]) -> Result<(Vec<(i32, i32)>, i8), Error> {
    let ratio = x.s() / y.s();
    let largest = slopes.iter().fold(1.0, |m: f64, s| m.max(s.abs())) * ratio;
    let l = shift_for(largest).ok_or_else(|| {
        Error::input(format!(
            "one input step is {largest:.0} steps of the output"
        ))
    })?;
    let row = |s: &f64| {
        let m = mult(s.abs() * ratio, l).unwrap_or(2);
        (0, if *s < 0.0 { -m } else { m })
    };
    Ok(([1.0].iter().chain(slopes).map(row).collect(), l))
}

/// Table of `exp(-d s_x)` for `d = 0..256` and `round(1 / s_y)` for a softmax over `n` elements.
///
/// Entry 0 is the largest value, at most 65535, for which neither the sum of `n` entries nor the scaled
/// numerator of [`elastiq::spec::softmax_code`] leaves 32 bits.
pub fn softmax(x: Quant, y: Quant, n: usize) -> (Vec<u8>, u16) {
    let inv = (1.0 / y.s()).round().clamp(1.0, 65535.0);
    let rows = n as f64;
    let peak = ((2f64.powi(32) - 1.0) / (inv + rows / 2.0).max(rows))
        .floor()
        .clamp(1.0, 65535.0);
    let entry = |d: i32| (peak * (-f64::from(d) * x.s()).exp()).round() as u16;
    (
        (0..256).flat_map(|d| entry(d).to_le_bytes()).collect(),
        inv as u16,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use elastiq::spec;
    use rand::{Rng, SeedableRng};

    fn random(rng: &mut impl Rng, lo: f64, hi: f64) -> Quant {
        Quant {
            scale: 2f64.powf(rng.random_range(lo..hi)) as f32,
            zero: rng.random_range(-128..=127),
        }
    }

    /// All 65,536 pairs of codes, against real arithmetic.
    #[test]
    fn add_is_within_one_code() {
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(5);
        for round in 0..60 {
            let (x1, x2, y) = (
                random(&mut rng, -9.0, 1.0),
                random(&mut rng, -9.0, 1.0),
                random(&mut rng, -1.0, 2.0),
            );
            let sign = if round % 2 == 0 { 1.0 } else { -1.0 };
            let p = add(x1, x2, sign, y).unwrap();
            assert!(p.s <= 23);
            for (c1, c2) in (-128..=127).flat_map(|a| (-128..=127).map(move |b| (a, b))) {
                let got = spec::add(c1, c2, p.a, p.b, p.c, p.s, -128, 127);
                let want =
                    ((x1.real(c1) + sign * x2.real(c2)) / y.s() + y.z()).clamp(-128.0, 127.0);
                assert!(
                    (f64::from(got) - want).abs() < 1.0,
                    "{x1:?} {x2:?} {y:?} {c1} {c2}: {got} for {want}"
                );
            }
            assert_eq!(
                spec::add(x1.zero, x2.zero, p.a, p.b, p.c, p.s, -128, 127),
                y.zero
            );
        }
    }

    #[test]
    fn add_edges() {
        let q = |scale| Quant { scale, zero: 0 };
        assert!(add(q(32768.0), q(1.0), 1.0, q(1.0)).is_err());
        let p = add(q(32767.0), q(1.0), 1.0, q(1.0)).unwrap();
        assert_eq!((p.a, p.s), (32767, 0));
        let p = add(q(1.0 - 1e-7), q(0.1), 1.0, q(1.0)).unwrap();
        assert_eq!((p.a, p.s), (16384, 14));
        let p = add(
            q(1e-9),
            q(1e-9),
            1.0,
            Quant {
                scale: 1.0,
                zero: -128,
            },
        )
        .unwrap();
        assert_eq!((p.a, p.s, p.c), (0, 23, (-128 << 23) + (1 << 22)));
    }

    #[test]
    fn mul_is_within_one_code() {
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(6);
        for _ in 0..20 {
            let (x1, x2, y) = (
                random(&mut rng, -8.0, 0.0),
                random(&mut rng, -8.0, 0.0),
                random(&mut rng, -8.0, 0.0),
            );
            let (m, l) = mul(x1, x2, y).unwrap();
            for (c1, c2) in (-128..=127).flat_map(|a| (-128..=127).map(move |b| (a, b))) {
                let got = spec::mul(c1, x1.zero, c2, x2.zero, m, l, y.zero, -128, 127);
                let want = (x1.real(c1) * x2.real(c2) / y.s() + y.z()).clamp(-128.0, 127.0);
                assert!((f64::from(got) - want).abs() < 0.6, "{got} for {want}");
            }
        }
    }

    #[test]
    fn averages_and_slopes_follow_the_real_numbers() {
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(7);
        let (x, y) = (random(&mut rng, -6.0, -4.0), random(&mut rng, -6.0, -4.0));
        let (rows, l) = average(x, y, &[1, 2, 9, 49]).unwrap();
        for ((bias, m), n) in rows.into_iter().zip([1usize, 2, 9, 49]) {
            let codes: Vec<i8> = (0..n).map(|_| rng.random_range(-128..=127)).collect();
            let sum: i32 = codes.iter().map(|&c| i32::from(c)).sum();
            let want = codes.iter().map(|&c| x.real(c)).sum::<f64>() / n as f64;
            let want = (want / y.s() + y.z()).clamp(-128.0, 127.0);
            assert!(
                (f64::from(spec::requant(bias + sum, m, l, y.zero, -128, 127)) - want).abs() < 0.6
            );
        }
        let slopes = [0.25, -0.5, 0.0, 1.5];
        let (rows, l) = prelu(x, y, &slopes).unwrap();
        for (c, slope) in slopes.iter().enumerate() {
            for code in -128..=127i8 {
                let v = x.real(code);
                let want =
                    ((if v < 0.0 { v * slope } else { v }) / y.s() + y.z()).clamp(-128.0, 127.0);
                let row = if code >= x.zero { rows[0] } else { rows[1 + c] };
                let acc = i32::from(code) - i32::from(x.zero);
                assert!(
                    (f64::from(spec::requant(acc, row.1, l, y.zero, -128, 127)) - want).abs() < 0.6
                );
            }
        }
    }

    #[test]
    fn softmax_sums_to_one_and_never_wraps() {
        let (x, y) = (
            Quant {
                scale: 0.1,
                zero: 5,
            },
            Quant::UNSIGNED_UNIT,
        );
        let (table, inv) = softmax(x, y, 4);
        let e = |d: usize| u16::from_le_bytes([table[2 * d], table[2 * d + 1]]);
        assert_eq!((e(0), inv), (65535, 256));
        let codes = [40i8, 20, 40, -100];
        let entries = codes.map(|c| e((40 - i32::from(c)) as usize));
        let sum: u32 = entries.iter().map(|&e| u32::from(e)).sum();
        let real: f64 = codes.iter().map(|&c| x.real(c).exp()).sum();
        for (code, entry) in codes.into_iter().zip(entries) {
            let got = spec::softmax_code(entry, inv, sum, y.zero, -128, 127);
            assert!((y.real(got) - x.real(code).exp() / real).abs() < 0.6 * y.s());
        }
        for n in [1usize, 1000, 100_000, 1 << 20] {
            let (table, inv) = softmax(x, y, n);
            let peak = u64::from(u16::from_le_bytes([table[0], table[1]]));
            assert!(peak * u64::from(inv) + peak * n as u64 / 2 < 1 << 32);
            assert!(peak * (n as u64) < 1 << 32);
        }
    }
}
