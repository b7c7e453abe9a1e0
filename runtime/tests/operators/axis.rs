//! Softmax, ArgMax: what works along one axis.

use super::common::reference::{Tensor, clamp, indices};
use super::common::{Builder, rng::Rng, run, run_i8};
use elastiq::format::{FLAG_SELECT_LAST, OpKind};
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn softmax(dims in prop::array::uniform4(1..=5usize), axis in 0..4usize, inv in 1..=u16::MAX,
               in_place: bool, seed: u64) {
        let (mut rng, mut b) = (Rng(seed), Builder::default());
        let (lo, hi) = rng.bounds();
        let zero = rng.code();
        // Falling from any first entry, as exp(-d * scale) does; sometimes to nothing but zeros.
        let mut table = vec![((rng.word() & 0xFFFF) >> rng.below(17)) as u16];
        for _ in 1..256 {
            let last = u64::from(*table.last().unwrap());
            table.push((last * (rng.word() % 1000) / 999) as u16);
        }
        let bytes: Vec<u8> = table.iter().flat_map(|e| e.to_le_bytes()).collect();
        let span = b.lut(&bytes);
        let x = b.tensor(dims, rng.code());
        let y = if in_place { b.view(x, dims, zero) } else { b.tensor(dims, zero) };
        b.op(OpKind::Softmax, x, y, &[axis, inv.into()], |op| {
            op.lut = span;
            (op.lo, op.hi) = (lo, hi);
        });
        b.input(x, "x");
        b.output(y, "y", "");
        let input = Tensor::new(dims, &rng.codes(dims.iter().product()));
        let want: Vec<i8> = indices(dims).map(|i| {
            let along = |k: usize| std::array::from_fn(|a| if a == axis { k } else { i[a] });
            let lane: Vec<i64> = (0..dims[axis]).map(|k| input.at(along(k))).collect();
            let max = *lane.iter().max().unwrap();
            let entry = |x: i64| i64::from(table[(max - x) as usize]);
            let sum: i64 = lane.iter().map(|x| entry(*x)).sum();
            if sum == 0 {
                return lo;
            }
            // e * inv < 2^32; the rounding term may carry it out of 32 bits, which wraps.
            let numerator = (entry(input.at(i)) * i64::from(inv) + sum / 2).rem_euclid(1 << 32);
            clamp((numerator / sum) as i32 as i64 + i64::from(zero), lo, hi)
        }).collect();
        prop_assert_eq!(run_i8(&b.build(), &[&input.data]), want);
    }

    #[test]
    fn argmax(dims in prop::array::uniform4(1..=6usize), axis in 0..4usize, last: bool, seed: u64) {
        let (mut rng, mut b) = (Rng(seed), Builder::default());
        let out: [usize; 4] = std::array::from_fn(|a| if a == axis { 1 } else { dims[a] });
        let (x, y) = (b.tensor(dims, rng.code()), b.tensor_i32(out));
        b.op(OpKind::ArgMax, x, y, &[axis], |op| op.flags = if last { FLAG_SELECT_LAST } else { 0 });
        b.input(x, "x");
        b.output(y, "y", "");
        // Few different codes, so that maxima are equal; among them the smallest code.
        let data: Vec<i8> = (0..dims.iter().product()).map(|_| -128 + rng.below(3) as i8).collect();
        let input = Tensor::new(dims, &data);
        let want: Vec<u8> = indices(out).flat_map(|i| {
            let at = |k: usize| input.at(std::array::from_fn(|a| if a == axis { k } else { i[a] }));
            let max = (0..dims[axis]).map(at).max().unwrap();
            let mut hits = (0..dims[axis]).filter(|k| at(*k) == max);
            let index = if last { hits.next_back() } else { hits.next() };
            (index.unwrap() as i32).to_le_bytes()
        }).collect();
        prop_assert_eq!(run(&b.build(), &[&data]), want);
    }
}
