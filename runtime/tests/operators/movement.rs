//! Copy, Transpose, Resize: what moves codes without computing.

use super::common::reference::{Tensor, indices};
use super::common::{Builder, rng::Rng, run_i8};
use elastiq::format::{FLAG_FILL, OpKind};
use proptest::prelude::*;

/// A box along one axis: input size, start, step, count, offset and room behind it in the output.
fn stretch() -> impl Strategy<Value = [usize; 6]> {
    (
        0..=2usize,
        1..=3usize,
        1..=4usize,
        0..=2usize,
        0..=2usize,
        0..=2usize,
    )
        .prop_map(|(from, step, count, more, to, room)| {
            [
                from + (count - 1) * step + 1 + more,
                from,
                step,
                count,
                to,
                room,
            ]
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn copy(axes in prop::array::uniform4(stretch()), recode: bool, zero: i8, seed: u64) {
        let (mut rng, mut b) = (Rng(seed), Builder::default());
        let pick = |f: fn(&[usize; 6]) -> usize| -> [usize; 4] { std::array::from_fn(|i| f(&axes[i])) };
        let x_dims = pick(|a| a[0]);
        let y_dims = pick(|a| a[3] + a[4] + a[5]);
        let [from, step, count, to] = [pick(|a| a[1]), pick(|a| a[2]), pick(|a| a[3]), pick(|a| a[4])];
        let (x, y) = (b.tensor(x_dims, 0), b.tensor(y_dims, 0));
        let table = rng.codes(256);
        let bytes: Vec<u8> = table.iter().map(|code| *code as u8).collect();
        let span = b.lut(&bytes);
        b.op(OpKind::Copy, x, y, &[from, to, step, count].concat(), |op| {
            (op.flags, op.lo, op.hi) = (FLAG_FILL, zero, 0);
            if recode {
                op.lut = span;
            }
        });
        b.input(x, "x");
        b.output(y, "y", "");
        let input = Tensor::new(x_dims, &rng.codes(x_dims.iter().product()));
        let want: Vec<i8> = indices(y_dims).map(|o| {
            let inside = (0..4).all(|a| (to[a]..to[a] + count[a]).contains(&o[a]));
            if !inside {
                return zero;
            }
            let code = input.at(std::array::from_fn(|a| from[a] + (o[a] - to[a]) * step[a]));
            if recode { table[(code + 128) as usize] } else { code as i8 }
        }).collect();
        prop_assert_eq!(run_i8(&b.build(), &[&input.data]), want);
    }

    /// Two copies into one output, as Concat is lowered: the second leaves what the first wrote.
    #[test]
    fn concat(dims in prop::array::uniform4(1..=4usize), other in 1..=4usize, axis in 0..4usize, seed: u64) {
        let (mut rng, mut b) = (Rng(seed), Builder::default());
        let resized = |n: usize| -> [usize; 4] { std::array::from_fn(|a| if a == axis { n } else { dims[a] }) };
        let (second, both) = (resized(other), resized(dims[axis] + other));
        let (x1, x2, y) = (b.tensor(dims, 0), b.tensor(second, 0), b.tensor(both, 0));
        let at = |n: usize| -> [usize; 4] { std::array::from_fn(|a| if a == axis { n } else { 0 }) };
        b.op(OpKind::Copy, x1, y, &[[0; 4], at(0), [1; 4], dims].concat(), |_| {});
        b.op(OpKind::Copy, x2, y, &[[0; 4], at(dims[axis]), [1; 4], second].concat(), |_| {});
        b.input(x1, "x1");
        b.input(x2, "x2");
        b.output(y, "y", "");
        let first = Tensor::new(dims, &rng.codes(dims.iter().product()));
        let rest = Tensor::new(second, &rng.codes(second.iter().product()));
        let want: Vec<i8> = indices(both).map(|mut o| {
            if o[axis] < dims[axis] {
                return first.at(o) as i8;
            }
            o[axis] -= dims[axis];
            rest.at(o) as i8
        }).collect();
        prop_assert_eq!(run_i8(&b.build(), &[&first.data, &rest.data]), want);
    }

    #[test]
    fn transpose(dims in prop::array::uniform4(1..=6usize),
                 perm in Just([0usize, 1, 2, 3]).prop_shuffle(), seed: u64) {
        let (mut rng, mut b) = (Rng(seed), Builder::default());
        let y_dims = perm.map(|axis| dims[axis]);
        let (x, y) = (b.tensor(dims, 0), b.tensor(y_dims, 0));
        b.op(OpKind::Transpose, x, y, &perm, |_| {});
        b.input(x, "x");
        b.output(y, "y", "");
        let input = Tensor::new(dims, &rng.codes(dims.iter().product()));
        let want: Vec<i8> = indices(y_dims).map(|o| {
            let mut i = [0; 4];
            for (out_axis, in_axis) in perm.into_iter().enumerate() {
                i[in_axis] = o[out_axis];
            }
            input.at(i) as i8
        }).collect();
        prop_assert_eq!(run_i8(&b.build(), &[&input.data]), want);
    }

    #[test]
    fn resize(dims in prop::array::uniform4(1..=5usize), out in prop::array::uniform2(1..=7usize), seed: u64) {
        let (mut rng, mut b) = (Rng(seed), Builder::default());
        let y_dims = [dims[0], out[0], out[1], dims[3]];
        let (x, y) = (b.tensor(dims, 0), b.tensor(y_dims, 0));
        let rows: Vec<usize> = (0..out[0]).map(|_| rng.below(dims[1])).collect();
        let cols: Vec<usize> = (0..out[1]).map(|_| rng.below(dims[2])).collect();
        let bytes: Vec<u8> = rows.iter().chain(&cols).flat_map(|i| (*i as u16).to_le_bytes()).collect();
        let span = b.lut(&bytes);
        b.op(OpKind::Resize, x, y, &[], |op| op.lut = span);
        b.input(x, "x");
        b.output(y, "y", "");
        let input = Tensor::new(dims, &rng.codes(dims.iter().product()));
        let want: Vec<i8> =
            indices(y_dims).map(|o| input.at([o[0], rows[o[1]], cols[o[2]], o[3]]) as i8).collect();
        prop_assert_eq!(run_i8(&b.build(), &[&input.data]), want);
    }
}
