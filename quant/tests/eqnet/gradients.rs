//! Quantizers against their definition in `f64`.

use elastiq_quant::compress::eqnet::{Codes, FakeQuant, Nested, upper};
use elastiq_quant::train::Kernel;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

fn signed(bits: u8) -> Codes {
    Codes {
        bits,
        unsigned: false,
    }
}

fn all_codes() -> impl Iterator<Item = Codes> {
    let both = |bits| [false, true].map(|unsigned| Codes { bits, unsigned });
    (2..=8).flat_map(both)
}

/// The quantizer with every rounding error held at its value for `(w, s, b)`: what the gradients are of.
struct Held {
    codes: Codes,
    of_level: f64,
    of_zero: f64,
    zero: f64,
    region: i8,
    moves: bool,
}

impl Held {
    fn at(codes: Codes, w: f64, s: f64, b: f64) -> Held {
        let (n, p) = (f64::from(codes.first()), f64::from(codes.last()));
        let real = -b / s;
        let zero = real.clamp(n, p).round_ties_even();
        let v = w / s;
        Held {
            codes,
            of_level: v.round_ties_even() - v,
            of_zero: zero - real,
            zero,
            region: i8::from(v + zero >= p) - i8::from(v + zero <= n),
            moves: (n - 0.5..=p + 0.5).contains(&real),
        }
    }

    fn value(&self, w: f64, s: f64, b: f64) -> f64 {
        let zero = if self.moves {
            -b / s + self.of_zero
        } else {
            self.zero
        };
        let (n, p) = (f64::from(self.codes.first()), f64::from(self.codes.last()));
        match self.region {
            -1 => s * (n - zero),
            1 => s * (p - zero),
            _ => s * (w / s + self.of_level),
        }
    }
}

/// Central differences of `f` at `x`, in each argument.
fn differences<const N: usize>(x: [f64; N], f: impl Fn([f64; N]) -> f64) -> [f64; N] {
    std::array::from_fn(|i| {
        let h = 1e-6 * x[i].abs().max(1e-3);
        let moved = |by: f64| {
            let mut x = x;
            x[i] += by;
            f(x)
        };
        (moved(h) - moved(-h)) / (2.0 * h)
    })
}

/// A draw that is not within the precision of `f32` of a rounding of its multiple of `s`, where either side is right.
fn away(s: f32, mut draw: impl FnMut() -> f32) -> f32 {
    loop {
        let x = draw();
        let v = f64::from(x) / f64::from(s);
        if (v - v.floor() - 0.5).abs() > 1e-3 {
            return x;
        }
    }
}

fn close(a: f64, b: f64, scale: f64) -> bool {
    (a - b).abs() <= 1e-4 * scale.max(b.abs()).max(1e-6)
}

/// Every width, signed and not, offsets of both signs and far off, per tensor and per channel.
#[test]
fn gradients_are_differences_of_the_held_quantizer() {
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let mut regions = [0; 3];
    for codes in all_codes() {
        for groups in [1usize, 3] {
            for round in 0..6 {
                let k = 30;
                let span = f64::from(codes.last() - codes.first());
                let s: Vec<f32> = (0..groups).map(|_| rng.random_range(0.01..0.2)).collect();
                let offset = |s: &f32| match round {
                    0 => 0.0,
                    1 => s * 3.0 * span as f32,
                    _ => away(*s, || s * rng.random_range(-0.45..0.45) * span as f32),
                };
                let b: Vec<f32> = s.iter().map(offset).collect();
                let weight = |i: usize| {
                    away(s[i / k], || {
                        s[i / k] * rng.random_range(-1.2..1.2) * span as f32
                    })
                };
                let w: Vec<f32> = (0..groups * k).map(weight).collect();
                let dy: Vec<f32> = w.iter().map(|_| rng.random_range(-1.0..1.0)).collect();
                let kernel = FakeQuant { codes, groups };
                let y = kernel.forward([&w, &s, &b]);
                let [dw, ds, db] = kernel.backward([&w, &s, &b], &dy, [true; 3]);
                let (dw, ds, db) = (dw.unwrap(), ds.unwrap(), db.unwrap());
                let scale = codes.gradient_scale(k);
                for g in 0..groups {
                    let (mut sum_s, mut sum_b, mut size) = (0.0, 0.0, 0.0);
                    for i in g * k..(g + 1) * k {
                        let x = [w[i], s[g], b[g]].map(f64::from);
                        let held = Held::at(codes, x[0], x[1], x[2]);
                        regions[(held.region + 1) as usize] += 1;
                        let f = |[w, s, b]: [f64; 3]| held.value(w, s, b);
                        assert!((f64::from(y[i]) - f(x)).abs() < 1e-5 * (1.0 + x[1] * span));
                        let d = differences(x, f);
                        let dy = f64::from(dy[i]);
                        assert!(close(f64::from(dw[i]), dy * d[0], 1.0), "{codes:?}");
                        sum_s += dy * d[1];
                        sum_b += dy * d[2];
                        size += (dy * d[1]).abs();
                    }
                    let (got_s, got_b) = (f64::from(ds[g]) / scale, f64::from(db[g]) / scale);
                    assert!(close(got_s, sum_s, size), "{codes:?}: {got_s} {sum_s}");
                    assert!(close(got_b, sum_b, 1.0), "{codes:?}: {got_b} {sum_b}");
                }
            }
        }
    }
    assert!(regions.iter().all(|&n| n > 500), "{regions:?}");
}

/// The table of LSQ+ where the zero point is whole: codes -2 to 1, step 0.5, offsets 0 and -0.5.
#[test]
fn regions_at_hand_points() {
    let kernel = FakeQuant {
        codes: signed(2),
        groups: 1,
    };
    let g = kernel.codes.gradient_scale(1);
    let at = |w: f32, b: f32| {
        let y = kernel.forward([&[w], &[0.5], &[b]])[0];
        let [dw, ds, db] = kernel.backward([&[w], &[0.5], &[b]], &[1.0], [true; 3]);
        let scaled = |v: Option<Vec<f32>>| (f64::from(v.unwrap()[0]) / g) as f32;
        (y, dw.unwrap()[0], scaled(ds), scaled(db))
    };
    // (value, dw, ds, db); -2 and 1 are n and p.
    assert_eq!(at(-3.0, 0.0), (-1.0, 0.0, -2.0, 1.0));
    assert_eq!(at(-1.0, 0.0), (-1.0, 0.0, -2.0, 1.0), "v = n");
    assert_eq!(at(0.25 + 0.125, 0.0), (0.5, 1.0, 0.25, 0.0));
    assert_eq!(at(0.5, 0.0), (0.5, 0.0, 1.0, 1.0), "v = p");
    assert_eq!(at(2.0, 0.0), (0.5, 0.0, 1.0, 1.0));
    // z = 1: values -1.5 to 0.
    assert_eq!(at(-9.0, -0.5), (-1.5, 0.0, -2.0, 1.0));
    assert_eq!(at(-0.375, -0.5), (-0.5, 1.0, -0.25, 0.0));
    assert_eq!(at(7.0, -0.5), (0.0, 0.0, 1.0, 1.0));
}

#[test]
fn zero_is_always_a_value_and_negative_offsets_stay() {
    for codes in all_codes() {
        for b in [-3.0f32, -0.31, -0.01, 0.0, 0.02, 0.7, 5.0] {
            let line = codes.at(0.1, b);
            assert_eq!(line.value(0.0), 0.0, "{codes:?} {b}");
            assert!((codes.first()..=codes.last()).contains(&line.zero));
        }
    }
    // The sign of the offset decides the side of the zero point; its absolute value would mirror it.
    let w = signed(4);
    assert_eq!(w.at(0.1, -0.32).zero, 3.0);
    assert_eq!(w.at(0.1, 0.32).zero, -3.0);
    assert_eq!(w.at(0.1, -0.32).value(-9.0), 0.1 * -11.0);
}

#[test]
fn what_is_not_a_number_is_passed_on() {
    let kernel = FakeQuant {
        codes: signed(4),
        groups: 1,
    };
    assert!(kernel.forward([&[f32::NAN], &[0.1], &[0.0]])[0].is_nan());
    let nested = Nested { bits: 4, groups: 1 };
    assert!(nested.forward([&[f32::NAN], &[0.1], &[1.6]])[0].is_nan());
}

#[test]
fn upper_bits_are_those_of_the_stored_byte() {
    for bits in 2..8u8 {
        let distinct: std::collections::BTreeSet<i8> =
            (-128..=127).map(|k| upper(k, bits)).collect();
        assert_eq!(distinct.len(), 1 << bits);
        for k in i8::MIN..=i8::MAX {
            let u = (i16::from(k) + 128) as u8;
            let (mask, half) = (!0u8 << (8 - bits), 1u8 << (7 - bits));
            assert_eq!(upper(k, bits), ((k as u8 & mask) | half) as i8);
            let level = i16::from(u >> (8 - bits)) << (8 - bits);
            assert_eq!(i16::from(upper(k, bits)), level + i16::from(half) - 128);
        }
    }
}

#[test]
fn gradients_of_nested_weights_are_differences() {
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    for bits in 2..8u8 {
        let (k, groups) = (40, 2);
        let s8: Vec<f32> = (0..groups).map(|_| rng.random_range(0.005..0.02)).collect();
        let s: Vec<f32> = s8.iter().map(|s| s * rng.random_range(0.7..1.3)).collect();
        let w: Vec<f32> = (0..groups * k)
            .map(|i| away(s8[i / k], || s8[i / k] * rng.random_range(-150.0..150.0)))
            .collect();
        let dy: Vec<f32> = w.iter().map(|_| rng.random_range(-1.0..1.0)).collect();
        let kernel = Nested { bits, groups };
        let y = kernel.forward([&w, &s8, &s]);
        let [dw, ds8, ds] = kernel.backward([&w, &s8, &s], &dy, [true; 3]);
        let (dw, ds8, ds) = (dw.unwrap(), ds8.unwrap(), ds.unwrap());
        let scale = signed(8).gradient_scale(k);
        for g in 0..groups {
            let (mut of_master, mut of_width) = (0.0, 0.0);
            for i in g * k..(g + 1) * k {
                let x = [w[i], s8[g], s[g]].map(f64::from);
                let v = x[0] / x[1];
                let code = v.round_ties_even().clamp(-128.0, 127.0);
                let u = f64::from(upper(code as i8, bits));
                assert!((f64::from(y[i]) - x[2] * u).abs() < 1e-5);
                let inside = (-128.0..=127.0).contains(&v) && v != -128.0 && v != 127.0;
                let rest = u - v;
                let f = |[w, s8, s]: [f64; 3]| s * if inside { w / s8 + rest } else { u };
                let d = differences(x, f);
                let dy = f64::from(dy[i]);
                assert!(close(f64::from(dw[i]), dy * d[0], 1.0));
                of_master += dy * d[1];
                of_width += dy * d[2];
            }
            assert!(close(f64::from(ds8[g]) / scale, of_master, 1.0));
            assert!(close(f64::from(ds[g]) / scale, of_width, 1.0));
        }
    }
}
