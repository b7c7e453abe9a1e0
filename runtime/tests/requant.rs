//! Requantization over every accumulator, against its definition in `i128`.

use elastiq::spec::{ARITH, requant, scale};
use std::thread;

/// `floor(acc * 2^l * m / 2^32 + 1/2)`; a right shift floors first, a left shift is modulo 2^32.
fn definition(acc: i32, m: i32, l: i8) -> i128 {
    let acc = i128::from(acc);
    let shifted = if l >= 0 {
        i128::from((acc << l) as i32)
    } else {
        acc >> -l
    };
    // Both factors have 32 bits, so nothing wraps; a check for overflow would be a slow call.
    shifted.wrapping_mul(i128::from(m)).wrapping_add(1 << 31) >> 32
}

/// Every `step`-th accumulator.
fn accumulators(step: i64, m: i32, l: i8, z_y: i8) {
    let half = |from: i64, to: i64| {
        let mut acc = from;
        while acc < to {
            let want = definition(acc as i32, m, l);
            let code = (want + i128::from(z_y)).clamp(-128, 127);
            let got = (
                scale(acc as i32, m, l),
                requant(acc as i32, m, l, z_y, -128, 127),
            );
            assert!(
                (i128::from(got.0), i128::from(got.1)) == (want, code),
                "{acc} {m} {l}"
            );
            acc += step;
        }
    };
    thread::scope(|scope| {
        scope.spawn(|| half(i32::MIN.into(), 0));
        scope.spawn(|| half(0, 1 << 31));
    });
}

#[test]
fn typical_multiplier_over_all_accumulators() {
    accumulators(1, 0x0031_4158, 0, -3);
}

#[test]
fn largest_multiplier_and_left_shift_over_all_accumulators() {
    accumulators(1, i32::MAX - 1, 3, 127);
}

#[test]
fn right_shift_over_one_in_seventeen_accumulators() {
    accumulators(17, 0x4000_0002, -5, -128);
}

#[test]
fn every_shift_at_the_edges() {
    assert_eq!(ARITH, 1);
    let edges = [
        i32::MIN,
        i32::MIN + 1,
        -(1 << 30),
        -129,
        -1,
        0,
        1,
        128,
        (1 << 30) - 1,
        i32::MAX,
    ];
    for l in elastiq::spec::SHIFT_RANGE {
        for m in [0, 2, 1 << 16, 1 << 30, i32::MAX - 1, -2, i32::MIN + 2] {
            for acc in edges {
                assert_eq!(
                    i128::from(scale(acc, m, l)),
                    definition(acc, m, l),
                    "{acc} {m} {l}"
                );
            }
        }
    }
}
