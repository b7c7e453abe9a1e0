//! Operators that move elements.

use super::proto::{Net, floats, int, ints, string};
use ndarray::{ArrayD, Axis};

#[test]
fn shapes() {
    let net = |shape: &str| Net::new(13, shape);
    for shape in [&[1i64, 12][..], &[0, -1], &[-1], &[3, 4, 1, 1]] {
        net("1 3 2 2")
            .i64s("s", shape)
            .node("Reshape", "x s -> y", vec![])
            .check();
    }
    net("1 3 2 2")
        .i64s("s", &[1, 12])
        .node("Reshape", "x s -> y", vec![int("allowzero", 1)])
        .load()
        .unwrap();
    for axis in [0, 1, 2, -1, 4] {
        net("1 3 2 2")
            .node("Flatten", "x -> y", vec![int("axis", axis)])
            .check();
    }
    net("1 3 1 2")
        .i64s("a", &[0, -2])
        .node("Squeeze", "x a -> y", vec![])
        .check();
    net("1 3 1 2").node("Squeeze", "x -> y", vec![]).check();
    Net::new(11, "1 3 1 2")
        .node("Squeeze", "x -> y", vec![ints("axes", &[2])])
        .check();
    net("3 2")
        .i64s("a", &[0, -1])
        .node("Unsqueeze", "x a -> y", vec![])
        .check();
    net("2 3 4").node("Transpose", "x -> y", vec![]).check();
    net("2 3 4")
        .node("Transpose", "x -> y", vec![ints("perm", &[1, 0, 2])])
        .check();
    for axis in [1, -1, 2] {
        net("1 3 4 4")
            .node("Concat", "x x -> y", vec![int("axis", axis)])
            .check();
    }
    net("1 3 4 4")
        .random("c", &[1, 2, 4, 4])
        .node("Concat", "x c -> y", vec![int("axis", 1)])
        .check();
}

#[test]
fn slices() {
    let net = || Net::new(13, "1 6 5 4");
    net()
        .i64s("s", &[1, -3])
        .i64s("e", &[5, 1000])
        .i64s("a", &[1, -2])
        .i64s("t", &[2, 1])
        .node("Slice", "x s e a t -> y", vec![])
        .check();
    net()
        .i64s("s", &[0, 2])
        .i64s("e", &[1, -1])
        .node("Slice", "x s e -> y", vec![])
        .check();
    Net::new(9, "1 6 5")
        .node(
            "Slice",
            "x -> y",
            vec![
                ints("axes", &[1]),
                ints("starts", &[1]),
                ints("ends", &[-1]),
            ],
        )
        .check();
    let add = |net: Net| net.node("Add", "a b -> y", vec![]);
    add(net().node("Split", "x -> a b", vec![int("axis", 1)])).check();
    add(net()
        .i64s("p", &[3, 3])
        .node("Split", "x p -> a b", vec![int("axis", 1)]))
    .check();
    Net::new(11, "1 6")
        .node(
            "Split",
            "x -> a y",
            vec![int("axis", 1), ints("split", &[2, 4])],
        )
        .check();
    Net::new(18, "1 5")
        .node(
            "Split",
            "x -> a y",
            vec![int("axis", 1), int("num_outputs", 2)],
        )
        .load()
        .unwrap();
    net()
        .i64s("i", &[1, 3, 5])
        .node("Gather", "x i -> y", vec![int("axis", 1)])
        .check();
    net()
        .i64s("i", &[-1])
        .node("Gather", "x i -> y", vec![int("axis", 2)])
        .check();
}

#[test]
fn pads() {
    let net = || Net::new(13, "1 3 4 5").values("v", &[], &[0.75]);
    net()
        .i64s("p", &[0, 0, 1, 2, 0, 0, 0, 3])
        .node("Pad", "x p -> y", vec![])
        .check();
    net()
        .i64s("p", &[0, 1, 1, 2, 0, 0, 0, 3])
        .node("Pad", "x p v -> y", vec![string("mode", "constant")])
        .check();
    net()
        .i64s("p", &[0, 0, -1, 2, 0, 0, 1, -1])
        .node("Pad", "x p v -> y", vec![])
        .compare(&|x| {
            let cut = x[0].slice_axis(Axis(2), (1..).into()).to_owned();
            let cut = cut.slice_axis(Axis(3), (..4).into()).to_owned();
            let mut y = ArrayD::from_elem(ndarray::IxDyn(&[1, 3, 4, 6]), 0.75);
            y.slice_axis_mut(Axis(2), (..3).into())
                .slice_axis_mut(Axis(3), (2..).into())
                .assign(&cut);
            vec![y]
        });
    Net::new(9, "1 3 4 5")
        .node(
            "Pad",
            "x -> y",
            vec![ints("pads", &[0, 0, 1, 1, 0, 0, 1, 1])],
        )
        .check();
    let axes = Net::new(18, "1 3 4 5")
        .i64s("p", &[1, 2])
        .i64s("a", &[-1])
        .node("Pad", "x p _ a -> y", vec![]);
    axes.compare(&|x| {
        let mut y = ArrayD::zeros(ndarray::IxDyn(&[1, 3, 4, 8]));
        y.slice_axis_mut(Axis(3), (1..6).into()).assign(&x[0]);
        vec![y]
    });
}

/// Source indices of the rows, computed by hand from the definitions.
#[test]
fn resize_nearest() {
    let rows = |net: Net, want: &[usize]| {
        net.compare(&|x| vec![x[0].select(Axis(2), want)]);
    };
    let net = |opset| {
        Net::new(opset, "1 2 4 3")
            .values("scales", &[4], &[1.0, 1.0, 2.0, 1.0])
            .i64s("sizes", &[1, 2, 6, 3])
    };
    let mode = |coordinate: &str, nearest: &str| {
        vec![
            string("coordinate_transformation_mode", coordinate),
            string("nearest_mode", nearest),
        ]
    };
    let twice = [0, 0, 1, 1, 2, 2, 3, 3];
    rows(
        net(13).node("Resize", "x _ scales -> y", vec![string("mode", "nearest")]),
        &twice,
    );
    rows(
        net(13).node("Resize", "x _ scales -> y", mode("asymmetric", "floor")),
        &twice,
    );
    rows(
        net(13).node("Resize", "x _ scales -> y", mode("asymmetric", "ceil")),
        &[0, 1, 1, 2, 2, 3, 3, 3],
    );
    rows(
        net(13).node(
            "Resize",
            "x _ scales -> y",
            mode("asymmetric", "round_prefer_ceil"),
        ),
        &[0, 1, 1, 2, 2, 3, 3, 3],
    );
    rows(
        net(13).node(
            "Resize",
            "x _ scales -> y",
            mode("asymmetric", "round_prefer_floor"),
        ),
        &twice,
    );
    rows(
        net(13).node(
            "Resize",
            "x _ _ sizes -> y",
            mode("align_corners", "round_prefer_floor"),
        ),
        &[0, 1, 1, 2, 2, 3],
    );
    rows(
        net(13).node(
            "Resize",
            "x _ _ sizes -> y",
            mode("pytorch_half_pixel", "floor"),
        ),
        &[0, 0, 1, 1, 2, 3],
    );
    rows(
        net(19).node(
            "Resize",
            "x _ _ sizes -> y",
            mode("half_pixel_symmetric", "floor"),
        ),
        &[0, 0, 1, 1, 2, 3],
    );
    rows(
        net(11).node(
            "Resize",
            "x _ _ sizes -> y",
            mode("tf_half_pixel_for_nn", "floor"),
        ),
        &[0, 1, 1, 2, 3, 3],
    );
    rows(net(10).node("Resize", "x scales -> y", vec![]), &twice);
    rows(net(9).node("Upsample", "x scales -> y", vec![]), &twice);
    rows(
        Net::new(7, "1 2 4 3").node(
            "Upsample",
            "x -> y",
            vec![floats("scales", &[1.0, 1.0, 2.0, 1.0])],
        ),
        &twice,
    );
    let axes = Net::new(18, "1 2 4 3").values("s", &[1], &[2.0]);
    rows(
        axes.node("Resize", "x _ s -> y", vec![ints("axes", &[2])]),
        &twice,
    );
    let line = Net::new(13, "1 2 4").values("s", &[3], &[1.0, 1.0, 2.0]);
    rows(line.node("Resize", "x _ s -> y", vec![]), &twice);
}
