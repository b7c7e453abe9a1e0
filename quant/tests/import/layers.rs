//! Convolutions, dense layers and functions of single elements.

use super::proto::{Net, f32s, float, int, ints, string, tensor};

#[test]
fn conv_2d() {
    let conv = |shape: &str, w: &[i64]| Net::new(13, shape).random("w", w).random("b", &w[..1]);
    conv("1 3 8 9", &[4, 3, 3, 3])
        .node("Conv", "x w b -> y", vec![])
        .check();
    conv("1 3 8 9", &[4, 3, 3, 3])
        .node("Conv", "x w -> y", vec![ints("pads", &[1, 0, 2, 1])])
        .check();
    conv("N 3 9 9", &[4, 3, 3, 2])
        .node(
            "Conv",
            "x w b -> y",
            vec![
                ints("strides", &[2, 3]),
                ints("dilations", &[2, 1]),
                ints("pads", &[0, 1, 1, 1]),
            ],
        )
        .check();
    conv("1 4 8 8", &[6, 2, 3, 3])
        .node(
            "Conv",
            "x w b -> y",
            vec![int("group", 2), ints("kernel_shape", &[3, 3])],
        )
        .check();
    conv("2 4 6 6", &[4, 1, 3, 3])
        .node(
            "Conv",
            "x w b -> y",
            vec![int("group", 4), ints("pads", &[1, 1, 1, 1])],
        )
        .check();
    conv("1 3 6 6", &[6, 1, 3, 3])
        .node("Conv", "x w b -> y", vec![int("group", 3)])
        .check();
    for pad in ["VALID", "SAME_UPPER", "SAME_LOWER"] {
        conv("1 2 7 8", &[3, 2, 4, 3])
            .node(
                "Conv",
                "x w b -> y",
                vec![string("auto_pad", pad), ints("strides", &[2, 2])],
            )
            .check();
    }
    conv("1 2 7 8", &[3, 2, 3, 3])
        .node(
            "Conv",
            "x w b -> y",
            vec![string("auto_pad", "SAME_UPPER"), ints("dilations", &[2, 2])],
        )
        .check();
}

#[test]
fn conv_1d() {
    let conv = |shape: &str, w: &[i64]| Net::new(13, shape).random("w", w).random("b", &w[..1]);
    conv("1 3 20", &[4, 3, 5])
        .node(
            "Conv",
            "x w b -> y",
            vec![ints("strides", &[2]), ints("pads", &[2, 1])],
        )
        .check();
    let net = conv("1 3 20", &[4, 3, 5])
        .random("v", &[4, 1, 3])
        .node("Conv", "x w b -> a", vec![ints("dilations", &[2])])
        .node("Relu", "a -> c", vec![])
        .node("Conv", "c v -> d", vec![int("group", 4)])
        .node(
            "MaxPool",
            "d -> e",
            vec![ints("kernel_shape", &[2]), ints("strides", &[2])],
        )
        .node("GlobalAveragePool", "e -> f", vec![])
        .node("Flatten", "f -> y", vec![]);
    let small = net.check();
    assert!(
        small.nodes.iter().all(|n| n.op.name() != "Transpose"),
        "{:#?}",
        small.nodes
    );
}

#[test]
fn dense() {
    let gemm = |attrs| {
        Net::new(13, "2 5")
            .random("w", &[5, 3])
            .random("c", &[3])
            .node("Gemm", "x w c -> y", attrs)
            .check();
    };
    gemm(vec![]);
    gemm(vec![float("alpha", 0.5), float("beta", 2.0)]);
    let net = |x: &str, w: &[i64], c: &[i64]| Net::new(13, x).random("w", w).random("c", c);
    net("1 5", &[3, 5], &[1, 3])
        .node("Gemm", "x w c -> y", vec![int("transB", 1)])
        .check();
    net("5 2", &[3, 5], &[1])
        .node(
            "Gemm",
            "x w c -> y",
            vec![int("transB", 1), int("transA", 1)],
        )
        .check();
    net("2 5", &[5, 3], &[2, 1])
        .node("Gemm", "x w c -> y", vec![])
        .check();
    net("2 5", &[5, 3], &[2, 3])
        .node("Gemm", "x w -> y", vec![])
        .check();
    net("2 5", &[5, 3], &[3])
        .node("MatMul", "x w -> m", vec![])
        .node("Add", "m c -> y", vec![])
        .check();
    net("2 4 5", &[5, 3], &[3])
        .node("MatMul", "x w -> y", vec![])
        .check();
    net("2 5", &[5], &[3])
        .node("MatMul", "x w -> y", vec![])
        .check();
    net("1 2 5", &[1, 5, 3], &[3])
        .node("MatMul", "x w -> y", vec![])
        .check();
    net("2 5", &[1, 5, 3], &[3])
        .node("MatMul", "x w -> y", vec![])
        .check();
}

#[test]
fn single_elements() {
    let one = |opset, op: &str, attrs| Net::new(opset, "1 3 4 4").node(op, "x -> y", attrs).check();
    for op in [
        "Relu",
        "Sigmoid",
        "Tanh",
        "HardSigmoid",
        "HardSwish",
        "Elu",
        "Softplus",
        "Exp",
        "Abs",
        "Erf",
        "Neg",
        "LeakyRelu",
    ] {
        one(14, op, vec![]);
    }
    one(
        13,
        "HardSigmoid",
        vec![float("alpha", 0.1), float("beta", 0.3)],
    );
    one(13, "Elu", vec![float("alpha", 0.5)]);
    one(13, "LeakyRelu", vec![float("alpha", 0.3)]);
    Net::new(13, "1 3")
        .node("Abs", "x -> a", vec![])
        .node("Sqrt", "a -> y", vec![])
        .check();
    one(7, "Clip", vec![float("min", -0.5), float("max", 1.0)]);
    one(7, "Clip", vec![float("min", 0.0)]);
    let clip = || {
        Net::new(13, "1 3 4 4")
            .values("lo", &[], &[-0.5])
            .values("hi", &[], &[1.0])
    };
    clip().node("Clip", "x lo hi -> y", vec![]).check();
    clip().node("Clip", "x _ hi -> y", vec![]).check();
    clip().node("Clip", "x lo -> y", vec![]).check();
    clip()
        .node("Max", "x lo -> m", vec![])
        .node("Min", "hi m -> y", vec![])
        .check();
    for slope in [&[1][..], &[3, 1, 1], &[4], &[1, 3, 1, 1]] {
        Net::new(13, "1 3 4 4")
            .random("s", slope)
            .node("PRelu", "x s -> y", vec![])
            .check();
    }
}

#[test]
fn softmax() {
    for (opset, shape, axis) in [
        (13, "2 5", -1),
        (13, "1 3 4 5", 1),
        (13, "1 3 4", 2),
        (11, "2 5", 1),
        (11, "2 3 4", 1),
        (11, "2 3 4", 2),
    ] {
        Net::new(opset, shape)
            .node("Softmax", "x -> y", vec![int("axis", axis)])
            .check();
    }
}

#[test]
fn two_values() {
    for op in ["Add", "Sub", "Mul"] {
        let net = || {
            Net::new(13, "1 3 4 4")
                .random("c", &[3, 1, 1])
                .random("k", &[])
                .random("full", &[1, 3, 4, 4])
        };
        for wires in [
            "x c -> y",
            "c x -> y",
            "x k -> y",
            "k x -> y",
            "x full -> y",
        ] {
            net().node(op, wires, vec![]).check();
        }
        net()
            .node("Relu", "x -> r", vec![])
            .node(op, "r x -> y", vec![])
            .check();
        net()
            .input("z", 1, "3 1 1")
            .node(op, "x z -> y", vec![])
            .check();
        net()
            .input("z", 1, "4")
            .node(op, "z x -> y", vec![])
            .check();
    }
    Net::new(13, "2 3")
        .values("d", &[3], &[2.0, -4.0, 0.5])
        .node("Div", "x d -> y", vec![])
        .check();
    Net::new(13, "2 3")
        .random("c", &[3])
        .node("Sum", "x c x -> y", vec![])
        .check();
    Net::new(13, "2 3").node("Sum", "x -> y", vec![]).check();
    let norm = Net::new(13, "1 3 4 4")
        .random("s", &[3])
        .random("b", &[3])
        .random("m", &[3])
        .values("v", &[3], &[0.5, 1.0, 2.0]);
    norm.clone()
        .node(
            "BatchNormalization",
            "x s b m v -> y",
            vec![float("epsilon", 1e-3)],
        )
        .check();
    let folded = norm
        .random("w", &[3, 3, 3, 3])
        .node("Conv", "x w -> c", vec![ints("pads", &[1, 1, 1, 1])])
        .node("BatchNormalization", "c s b m v -> n", vec![])
        .node("Relu", "n -> y", vec![])
        .check();
    assert_eq!(folded.nodes.len(), 2, "{:#?}", folded.nodes);
}

#[test]
fn types_and_no_operation() {
    let net = || Net::new(13, "1 3");
    net().node("Identity", "x -> y", vec![]).check();
    net().node("Dropout", "x -> y", vec![]).check();
    net()
        .values("r", &[], &[0.5])
        .node("Dropout", "x r -> y", vec![])
        .check();
    net().node("Cast", "x -> y", vec![int("to", 1)]).check();
    net()
        .node("ArgMax", "x -> a", vec![int("axis", 1)])
        .node("Cast", "a -> y", vec![int("to", 1)])
        .check();
    net()
        .node(
            "Constant",
            "-> c",
            vec![tensor("value", f32s("", &[3], vec![1.0, 2.0, 3.0]))],
        )
        .node("Constant", "-> d", vec![float("value_float", 2.0)])
        .node("Mul", "c d -> e", vec![])
        .node("Add", "x e -> y", vec![])
        .check();
    // What exporters write to flatten: Shape, Gather, Unsqueeze, Concat, Reshape.
    Net::new(13, "N 3 2 2")
        .initializer(tract_onnx::pb::TensorProto {
            name: "zero".into(),
            data_type: 7,
            int64_data: vec![0],
            ..Default::default()
        })
        .i64s("axis", &[0])
        .i64s("rest", &[-1])
        .node("Shape", "x -> s", vec![])
        .node("Gather", "s zero -> n", vec![int("axis", 0)])
        .node("Unsqueeze", "n axis -> u", vec![])
        .node("Concat", "u rest -> t", vec![int("axis", 0)])
        .node("Reshape", "x t -> y", vec![])
        .check();
}
