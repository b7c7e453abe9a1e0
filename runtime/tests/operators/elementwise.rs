//! Add, Mul, Lut, PRelu: out of place, in place, with constants and with repeated dimensions.

use super::common::{Builder, rng::Rng, run_i8};
use super::reference::{Rescale, Tensor, clamp, indices, wrap};
use elastiq::format::OpKind;
use proptest::prelude::*;

fn dims() -> impl Strategy<Value = [usize; 4]> {
    prop_oneof![
        prop::array::uniform4(1..=5usize),
        (1..=40usize).prop_map(|c| [1, 1, 1, c]),
    ]
}

/// Where the operands of a binary operator are.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Operands {
    /// Two inputs, which axes of each are repeated.
    Two([bool; 4], [bool; 4]),
    /// The second is a constant.
    Constant([bool; 4]),
    /// The output overwrites the first input.
    InPlace([bool; 4]),
    /// Both are the same input.
    Same,
    /// Both are the same input, overwritten by the output.
    SameInPlace,
}

fn operands() -> impl Strategy<Value = Operands> {
    let axes = || prop::array::uniform4(any::<bool>());
    prop_oneof![
        (axes(), axes()).prop_map(|(a, b)| Operands::Two(a, b)),
        axes().prop_map(Operands::Constant),
        axes().prop_map(Operands::InPlace),
        Just(Operands::Same),
        Just(Operands::SameInPlace),
    ]
}

/// Run a binary operator and give its operands and result.
#[allow(
    clippy::too_many_arguments,
    reason = "everything that an operator row holds"
)]
fn binary(
    kind: OpKind,
    dims: [usize; 4],
    operands: Operands,
    zeros: [i8; 3],
    rng: &mut Rng,
    p: &[usize],
    row: (i32, i32),
    rq: Rescale,
) -> (Tensor, Tensor, Vec<i8>) {
    let repeat = |axes: [bool; 4]| std::array::from_fn(|i| if axes[i] { 1 } else { dims[i] });
    let (dims1, dims2) = match operands {
        Operands::Two(a, b) => {
            // The output has the larger of both sizes along each axis.
            (repeat(a), repeat(std::array::from_fn(|i| b[i] && !a[i])))
        }
        Operands::Constant(b) | Operands::InPlace(b) => (dims, repeat(b)),
        Operands::Same | Operands::SameInPlace => (dims, dims),
    };
    let same = matches!(operands, Operands::Same | Operands::SameInPlace);
    let data1 = rng.codes(dims1.iter().product());
    let data2 = if same {
        data1.clone()
    } else {
        rng.codes(dims2.iter().product())
    };
    let mut b = Builder::default();
    let x1 = b.tensor(dims1, zeros[0]);
    b.input(x1, "x1");
    let x2 = match operands {
        Operands::Constant(_) => b.constant(dims2, zeros[1], &data2),
        _ if same => x1,
        _ => {
            let x2 = b.tensor(dims2, zeros[1]);
            b.input(x2, "x2");
            x2
        }
    };
    let y = match operands {
        Operands::InPlace(_) | Operands::SameInPlace => b.view(x1, dims, zeros[2]),
        _ => b.tensor(dims, zeros[2]),
    };
    let quant = b.quant(&[row]);
    b.op(kind, x1, y, p, |op| {
        op.in1.set(x2);
        op.quant = quant;
        (op.shift, op.lo, op.hi) = (rq.shift, rq.lo, rq.hi);
    });
    b.output(y, "y", "");
    let inputs: &[&[i8]] = &[&data1, &data2];
    let inputs = if b.io.len() == 3 {
        inputs
    } else {
        &inputs[..1]
    };
    let got = run_i8(&b.build(), inputs);
    (Tensor::new(dims1, &data1), Tensor::new(dims2, &data2), got)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn add(dims in dims(), operands in operands(), a: i16, b: i16, s in 0..=23u8, seed: u64) {
        let mut rng = Rng(seed);
        let (lo, hi) = rng.bounds();
        let c = rng.bias();
        let p = [usize::from(a as u16), usize::from(b as u16), s.into()];
        let rq = Rescale { shift: 0, zero: 0, lo, hi };
        let zeros = [rng.code(), rng.code(), rng.code()];
        let (x1, x2, got) = binary(OpKind::Add, dims, operands, zeros, &mut rng, &p, (c, 0), rq);
        let want: Vec<i8> = indices(dims).map(|i| {
            let sum = i128::from(a) * x1.repeated(i) + i128::from(b) * x2.repeated(i);
            clamp(wrap(sum + i128::from(c)).div_euclid(1 << s), lo, hi)
        }).collect();
        prop_assert_eq!(got, want);
    }

    #[test]
    fn mul(dims in dims(), operands in operands(), seed: u64) {
        let mut rng = Rng(seed);
        let (lo, hi) = rng.bounds();
        let mut zeros = [rng.code(), rng.code(), rng.code()];
        if matches!(operands, Operands::Same | Operands::SameInPlace) {
            zeros[1] = zeros[0];
        }
        let rq = Rescale { shift: rng.shift(), zero: zeros[2], lo, hi };
        let mult = rng.mult();
        let (x1, x2, got) = binary(OpKind::Mul, dims, operands, zeros, &mut rng, &[], (0, mult), rq);
        let want: Vec<i8> = indices(dims).map(|i| {
            let (x1, x2) = (x1.repeated(i) - i128::from(zeros[0]), x2.repeated(i) - i128::from(zeros[1]));
            rq.code(x1 * x2, mult)
        }).collect();
        prop_assert_eq!(got, want);
    }

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
            let acc = input.at(i) - i128::from(z_x);
            let below = if per_channel { 1 + i[3] } else { 1 };
            rq.code(acc, quant[if acc >= 0 { 0 } else { below }].1)
        }).collect();
        prop_assert_eq!(run_i8(&b.build(), &[&input.data]), want);
    }
}
