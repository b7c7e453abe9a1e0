//! Lut, PRelu: out of place and in place.

use super::common::reference::{Rescale, Tensor, indices};
use super::common::{Builder, rng::Rng, run_i8};
use elastiq::format::OpKind;
use proptest::prelude::*;

fn dims() -> impl Strategy<Value = [usize; 4]> {
    prop_oneof![
        prop::array::uniform4(1..=5usize),
        (1..=40usize).prop_map(|c| [1, 1, 1, c]),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn lut(dims in dims(), in_place: bool, seed: u64) {
        let (mut rng, mut b) = (Rng(seed), Builder::default());
        let table = rng.codes(256);
        let x = b.tensor(dims, 0);
        let y = if in_place { b.view(x, dims, 0) } else { b.tensor(dims, 0) };
        let bytes: Vec<u8> = table.iter().map(|code| *code as u8).collect();
        let span = b.lut(&bytes);
        b.op(OpKind::Lut, x, y, &[], |op| op.lut = span);
        b.input(x, "x");
        b.output(y, "y", "");
        let input = rng.codes(dims.iter().product());
        let want: Vec<i8> = input.iter().map(|x| table[(i32::from(*x) + 128) as usize]).collect();
        prop_assert_eq!(run_i8(&b.build(), &[&input]), want);
    }

    #[test]
    fn prelu(dims in dims(), in_place: bool, per_channel: bool, seed: u64) {
        let (mut rng, mut b) = (Rng(seed), Builder::default());
        let (lo, hi) = rng.bounds();
        let (z_x, rq) = (rng.code(), Rescale { shift: rng.shift(), zero: rng.code(), lo, hi });
        let x = b.tensor(dims, z_x);
        let y = if in_place { b.view(x, dims, rq.zero) } else { b.tensor(dims, rq.zero) };
        let mut quant = rng.quant(1 + if per_channel { dims[3] } else { 1 });
        for row in &mut quant[1..] {
            row.1 *= if rng.below(2) == 0 { -1 } else { 1 };
        }
        let span = b.quant(&quant);
        b.op(OpKind::PRelu, x, y, &[], |op| {
            op.quant = span;
            (op.shift, op.lo, op.hi) = (rq.shift, rq.lo, rq.hi);
        });
        b.input(x, "x");
        b.output(y, "y", "");
        let input = Tensor::new(dims, &rng.codes(dims.iter().product()));
        let want: Vec<i8> = indices(dims).map(|i| {
            let acc = input.at(i) - i64::from(z_x);
            let below = if per_channel { 1 + i[3] } else { 1 };
            rq.code(acc, quant[if acc >= 0 { 0 } else { below }].1)
        }).collect();
        prop_assert_eq!(run_i8(&b.build(), &[&input.data]), want);
    }
}
