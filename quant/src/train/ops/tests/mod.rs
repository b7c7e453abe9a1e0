//! Every operator, by every kernel it has.

mod check;

use super::apply;
use crate::ir::{NearestMap, Op, Unary, Window};
use crate::train::var::{Var, vector};
use burn::tensor::Device;
use check::{case, check};

fn window(
    kernel: [usize; 2],
    stride: [usize; 2],
    pads: [usize; 4],
    dilation: [usize; 2],
) -> Window {
    Window {
        kernel,
        stride,
        dilation,
        pads,
    }
}

#[test]
fn convolutions() {
    let conv = |window: Window, groups| Op::Conv { window, groups };
    let plain = window([3, 2], [1, 1], [0; 4], [1, 1]);
    check(
        "plain",
        &case(
            conv(plain, 1),
            &[&[1, 5, 4, 2], &[3, 3, 2, 2], &[3]],
            1,
            &[1, 3, 3, 3],
        ),
    );
    let same = window([3, 3], [2, 2], [0, 1, 1, 1], [1, 1]);
    check(
        "padded",
        &case(
            conv(same, 1),
            &[&[1, 4, 5, 2], &[2, 3, 3, 2], &[2]],
            1,
            &[1, 2, 3, 2],
        ),
    );
    let depth = window([3, 3], [1, 1], [1, 1, 1, 1], [1, 1]);
    check(
        "depthwise",
        &case(
            conv(depth, 3),
            &[&[1, 4, 4, 3], &[3, 3, 3, 1], &[3]],
            1,
            &[1, 4, 4, 3],
        ),
    );
    let strided = window([3, 3], [2, 2], [1, 0, 0, 1], [1, 1]);
    check(
        "depthwise stride",
        &case(
            conv(strided, 2),
            &[&[1, 5, 5, 2], &[4, 3, 3, 1]],
            1,
            &[1, 2, 2, 4],
        ),
    );
    let grouped = window([2, 2], [1, 1], [0; 4], [1, 1]);
    check(
        "groups",
        &case(
            conv(grouped, 2),
            &[&[1, 3, 3, 4], &[4, 2, 2, 2], &[4]],
            1,
            &[1, 2, 2, 4],
        ),
    );
    let dilated = window([2, 2], [1, 1], [1, 0, 1, 0], [2, 2]);
    check(
        "dilated",
        &case(
            conv(dilated, 1),
            &[&[1, 4, 4, 1], &[2, 2, 2, 1], &[2]],
            1,
            &[1, 4, 2, 2],
        ),
    );
    let point = window([1, 1], [1, 1], [0; 4], [1, 1]);
    check(
        "pointwise",
        &case(
            conv(point, 1),
            &[&[1, 3, 3, 2], &[3, 1, 1, 2], &[3]],
            1,
            &[1, 3, 3, 3],
        ),
    );
    check(
        "file batch",
        &case(
            conv(plain, 1),
            &[&[2, 4, 3, 1], &[2, 3, 2, 1]],
            1,
            &[2, 2, 2, 2],
        ),
    );
}

#[test]
fn dense_layers() {
    check(
        "dense",
        &case(Op::Dense, &[&[1, 5], &[3, 5], &[3]], 1, &[1, 3]),
    );
    check(
        "rank 3",
        &case(Op::Dense, &[&[2, 3, 4], &[5, 4]], 1, &[2, 3, 5]),
    );
    check("rank 1", &case(Op::Dense, &[&[4], &[2, 4], &[2]], 1, &[2]));
}

#[test]
fn pools() {
    let average = |window, count_pad| Op::AvgPool { window, count_pad };
    let plain = window([2, 2], [2, 2], [0; 4], [1, 1]);
    check(
        "max",
        &case(Op::MaxPool(plain), &[&[1, 4, 5, 2]], 1, &[1, 2, 2, 2]),
    );
    let padded = window([3, 3], [2, 2], [1, 0, 0, 1], [1, 1]);
    check(
        "max padded",
        &case(Op::MaxPool(padded), &[&[1, 4, 4, 2]], 1, &[1, 2, 2, 2]),
    );
    let dilated = window([2, 2], [1, 1], [0; 4], [2, 1]);
    check(
        "max dilated",
        &case(Op::MaxPool(dilated), &[&[1, 4, 3, 1]], 1, &[1, 2, 2, 1]),
    );
    check(
        "average",
        &case(average(plain, false), &[&[1, 4, 4, 2]], 1, &[1, 2, 2, 2]),
    );
    check(
        "average padded",
        &case(average(padded, false), &[&[1, 4, 4, 2]], 1, &[1, 2, 2, 2]),
    );
    check(
        "average counted",
        &case(average(padded, true), &[&[1, 4, 4, 2]], 1, &[1, 2, 2, 2]),
    );
    check(
        "average dilated",
        &case(average(dilated, false), &[&[1, 4, 3, 2]], 1, &[1, 2, 2, 2]),
    );
    let global = window([3, 4], [1, 1], [0; 4], [1, 1]);
    check(
        "global",
        &case(average(global, false), &[&[1, 3, 4, 2]], 1, &[1, 1, 1, 2]),
    );
}

#[test]
fn two_operands() {
    for op in [Op::Add, Op::Sub, Op::Mul] {
        let name = op.name();
        check(
            name,
            &case(op.clone(), &[&[1, 3, 2], &[1, 3, 2]], 2, &[1, 3, 2]),
        );
        check(name, &case(op.clone(), &[&[1, 3, 2], &[2]], 1, &[1, 3, 2]));
        check(name, &case(op.clone(), &[&[2, 3], &[2, 3]], 1, &[2, 3]));
        check(
            name,
            &case(
                op.clone(),
                &[&[1, 2, 2, 3], &[1, 1, 1, 3]],
                2,
                &[1, 2, 2, 3],
            ),
        );
        check(name, &case(op.clone(), &[&[3, 1], &[1, 2]], 2, &[3, 2]));
        check(name, &case(op.clone(), &[&[4], &[]], 1, &[4]));
    }
}

#[test]
fn functions() {
    let hard = Unary::HardSigmoid {
        alpha: 0.2,
        beta: 0.5,
    };
    for f in [
        Unary::Relu,
        Unary::Clip(-0.3, 0.4),
        Unary::Clip(f32::NEG_INFINITY, 0.2),
        Unary::Clip(-0.2, f32::INFINITY),
        Unary::LeakyRelu(0.1),
        Unary::Sigmoid,
        Unary::Tanh,
        hard,
        Unary::HardSwish,
        Unary::Elu(1.5),
        Unary::Softplus,
        Unary::Exp,
        Unary::Abs,
        Unary::Sqrt,
        Unary::Erf,
        Unary::Neg,
    ] {
        let mut c = case(Op::Unary(f), &[&[1, 14]], 1, &[1, 14]);
        c.positive = f == Unary::Sqrt;
        // Wide enough to meet both ends of the hard functions; the steps stay between the elements.
        c.scale = if matches!(f, Unary::HardSwish | Unary::HardSigmoid { .. }) {
            5.0
        } else {
            1.03
        };
        check(&format!("{f:?}"), &c);
    }
    check(
        "slope per channel",
        &case(Op::PRelu, &[&[1, 2, 3], &[3]], 1, &[1, 2, 3]),
    );
    check(
        "one slope",
        &case(Op::PRelu, &[&[1, 2, 3], &[1]], 1, &[1, 2, 3]),
    );
    check(
        "softmax",
        &case(Op::Softmax { axis: 1 }, &[&[1, 5]], 1, &[1, 5]),
    );
    check(
        "softmax inside",
        &case(Op::Softmax { axis: 1 }, &[&[2, 3, 2]], 1, &[2, 3, 2]),
    );
}

#[test]
fn moving_elements() {
    check(
        "concat",
        &case(
            Op::Concat { axis: 1 },
            &[&[1, 2, 3], &[1, 1, 3]],
            2,
            &[1, 3, 3],
        ),
    );
    check(
        "concat constant",
        &case(Op::Concat { axis: 1 }, &[&[1, 2], &[1, 3]], 1, &[1, 5]),
    );
    let pad = Op::Pad {
        before: vec![0, 1, 2],
        after: vec![0, 0, 1],
        value: 0.5,
    };
    check("pad", &case(pad, &[&[1, 2, 2]], 1, &[1, 3, 5]));
    let slice = Op::Slice {
        start: vec![0, 1, 1],
        step: vec![1, 2, 1],
    };
    check("slice", &case(slice, &[&[1, 5, 3]], 1, &[1, 2, 2]));
    check("reshape", &case(Op::Reshape, &[&[1, 2, 6]], 1, &[3, 4]));
    let perm = vec![2, 0, 1];
    check(
        "transpose",
        &case(Op::Transpose { perm }, &[&[2, 3, 4]], 1, &[4, 2, 3]),
    );
    let map = NearestMap {
        rows: vec![0, 0, 1, 1],
        cols: vec![0, 1, 1, 2, 2],
    };
    check(
        "resize",
        &case(Op::ResizeNearest(map), &[&[1, 2, 3, 2]], 1, &[1, 4, 5, 2]),
    );
}

#[test]
fn largest_index() {
    let device = Device::flex();
    let values = [1.0, 3.0, 3.0, 0.0, 5.0, 2.0, 5.0, 1.0];
    let x = Var::new(vector(values.to_vec(), &device), 2, &[1, 4]);
    for select_last in [false, true] {
        let op = Op::ArgMax {
            axis: 1,
            select_last,
        };
        let expected = if select_last { [2.0, 2.0] } else { [1.0, 0.0] };
        assert_eq!(
            apply(&op, std::slice::from_ref(&x), &[1]).to_vec(),
            expected
        );
    }
}
