//! Operands of Add and Mul.

use super::super::Builder;
use super::super::reference::indices;
use super::super::rng::Rng;
use super::{Appended, Case, Home};
use elastiq::format::OpKind;
use proptest::prelude::*;

/// Where the operands are.
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

#[derive(Clone, Copy, Debug)]
pub struct Binary {
    dims: [usize; 4],
    operands: Operands,
}

impl Binary {
    fn same(&self) -> bool {
        matches!(self.operands, Operands::Same | Operands::SameInPlace)
    }

    /// Zero points of the operands.
    pub fn zeros(&self, case: &Case) -> [i8; 2] {
        match self.same() {
            true => [case.zeros[0]; 2],
            false => case.zeros,
        }
    }

    /// `result` gives bias and multiplier of the operator, and the output for all pairs of codes.
    #[allow(
        clippy::too_many_arguments,
        reason = "everything that an operator row holds"
    )]
    pub fn append(
        &self,
        case: &Case,
        b: &mut Builder,
        rng: &mut Rng,
        home: Home,
        kind: OpKind,
        p: &[usize],
        result: impl Fn(&mut Rng, &[(i64, i64)]) -> ((i32, i32), Vec<i8>),
    ) -> Appended {
        let dims = self.dims;
        let repeat = |axes: [bool; 4]| std::array::from_fn(|i| if axes[i] { 1 } else { dims[i] });
        let (dims1, dims2): ([usize; 4], [usize; 4]) = match self.operands {
            // The output has the larger of both sizes along each axis.
            Operands::Two(a, b) => (repeat(a), repeat(std::array::from_fn(|i| b[i] && !a[i]))),
            Operands::Constant(b) | Operands::InPlace(b) => (dims, repeat(b)),
            Operands::Same | Operands::SameInPlace => (dims, dims),
        };
        let [z1, z2] = self.zeros(case);
        let data1 = case.data.bytes(rng, dims1.iter().product());
        let data2 = match self.same() {
            true => data1.clone(),
            false => case.data.bytes(rng, dims2.iter().product()),
        };
        let x1 = case.placed(b, home, dims1, z1, data1);
        let mut inputs = x1.inputs;
        let (second, x2) = if self.same() {
            (x1.index, None)
        } else {
            let home = match self.operands {
                Operands::Constant(_) => Home::Constants,
                _ => home,
            };
            let x2 = case.placed(b, home, dims2, z2, data2);
            inputs.extend(x2.inputs);
            (x2.index, Some(x2.tensor))
        };
        let x2 = x2.as_ref().unwrap_or(&x1.tensor);
        let pair = |i| (x1.tensor.repeated(i), x2.repeated(i));
        let pairs: Vec<(i64, i64)> = indices(dims).map(pair).collect();
        let (row, want) = result(rng, &pairs);
        let in_place = matches!(self.operands, Operands::InPlace(_) | Operands::SameInPlace);
        let (y, scratch) = match in_place && home == Home::Arena {
            true => (
                b.view(x1.index, dims, case.rescale.zero),
                super::super::span(0, 0),
            ),
            false => case.output(b, dims),
        };
        let quant = b.quant(&[row]);
        b.op(kind, x1.index, y, p, |op| {
            op.in1.set(second);
            case.set(op, quant);
            op.scratch = scratch;
        });
        Appended {
            y,
            inputs,
            want,
            scratch,
        }
    }
}

pub fn binary() -> impl Strategy<Value = Binary> {
    let dims = prop_oneof![
        prop::array::uniform4(1..=5usize),
        (1..=200usize).prop_map(|c| [1, 1, 1, c]),
    ];
    let axes = || prop_oneof![2 => Just([false; 4]), 1 => prop::array::uniform4(any::<bool>())];
    let operands = prop_oneof![
        3 => (axes(), axes()).prop_map(|(a, b)| Operands::Two(a, b)),
        1 => axes().prop_map(Operands::Constant),
        3 => axes().prop_map(Operands::InPlace),
        1 => Just(Operands::Same),
        1 => Just(Operands::SameInPlace),
    ];
    (dims, operands).prop_map(|(dims, operands)| Binary { dims, operands })
}
