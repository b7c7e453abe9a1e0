//! Files that are not accepted, and what the message says.

use super::proto::{Net, f32s, int, ints, string, tensor};
use elastiq_quant::import::{self, Options};
use elastiq_quant::ir::passes;
use std::path::Path;
use tract_onnx::pb::{NodeProto, StringStringEntryProto, TensorProto};

fn message(path: &Path) -> String {
    let text = import::load(path).unwrap_err().to_string();
    assert_eq!(text.lines().count(), 1, "{text}");
    text
}

#[test]
fn not_a_model() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.onnx");
    assert!(message(&path).contains("cannot be opened"));
    assert!(message(folder.path()).contains("is not a file"));
    let net = Net::new(13, "1 3")
        .random("w", &[3, 64])
        .node("MatMul", "x w -> y", vec![]);
    let (_kept, good) = net.save();
    let bytes = std::fs::read(good).unwrap();
    let cases: [(&[u8], &str); 5] = [
        (b"", "is empty"),
        (b"hello, this is text and no model", "not an ONNX model"),
        (&bytes[..bytes.len() / 2], "not an ONNX model"),
        (&[0; 100], "not an ONNX model"),
        (b"\x08\x08", "holds no graph"),
    ];
    for (bytes, part) in cases {
        std::fs::write(&path, bytes).unwrap();
        let text = message(&path);
        assert!(text.contains(part) && text.contains("x.onnx"), "{text}");
    }
    let file = std::fs::File::create(&path).unwrap();
    file.set_len((256 << 20) + 1).unwrap();
    assert!(message(&path).contains("limit is 256 MiB"));
}

/// Every prefix and every flipped byte of a small file gives a graph or one line, never a panic.
#[test]
fn damaged_files() {
    let net = Net::new(13, "1 2 4 4").random("w", &[2, 2, 3, 3]).node(
        "Conv",
        "x w -> y",
        vec![ints("pads", &[1, 1, 1, 1])],
    );
    let (folder, good) = net.save();
    let bytes = std::fs::read(good).unwrap();
    let path = folder.path().join("damaged.onnx");
    let load = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        match import::load(&path) {
            Ok(graph) => assert!(!passes::optimize(graph).0.outputs.is_empty()),
            Err(e) => assert!(e.to_string().contains("damaged.onnx"), "{e}"),
        }
    };
    for n in 0..bytes.len() {
        load(&bytes[..n]);
        for bit in [1, 0x10, 0x80] {
            let mut flipped = bytes.clone();
            flipped[n] ^= bit;
            load(&flipped);
        }
    }
}

#[test]
fn operators() {
    let net = || Net::new(13, "1 3 4 4").random("w", &[2, 3, 3, 3]);
    net().node("LSTM", "x -> y", vec![]).refused(&[
        "net.onnx",
        "`node0`",
        "LSTM",
        "accepted are Abs, Add",
        "Upsample",
    ]);
    net()
        .node("If", "x -> y", vec![])
        .refused(&["If", "not supported"]);
    net()
        .node("QLinearConv", "x -> y", vec![])
        .refused(&["QLinearConv", "DequantizeLinear"]);
    let mut other = net().node("Conv", "x w -> y", vec![]);
    other.model.graph.as_mut().unwrap().node[0] = NodeProto {
        domain: "com.microsoft".into(),
        ..other.model.graph.as_ref().unwrap().node[0].clone()
    };
    other.refused(&["com.microsoft.Conv", "not supported"]);
    net()
        .node("Conv", "x w -> y", vec![int("mystery", 1)])
        .refused(&["node0", "`mystery`"]);
    net()
        .node("Conv", "x w -> y", vec![string("auto_pad", "FAIR")])
        .refused(&["auto_pad `FAIR`"]);
    net()
        .node("Conv", "x w -> y", vec![ints("strides", &[0, 1])])
        .refused(&["strides"]);
    net()
        .node("Conv", "x w -> y", vec![int("group", 2)])
        .refused(&["groups"]);
    net()
        .node("Conv", "x x -> y", vec![])
        .refused(&["weight `x`", "constant"]);
    net()
        .node("Conv", "x gone -> y", vec![])
        .refused(&["`gone`"]);
    net()
        .node("MaxPool", "x -> y i", vec![ints("kernel_shape", &[2, 2])])
        .output("y")
        .output("i")
        .refused(&["`i`"]);
    net().node("Div", "w x -> y", vec![]).refused(&["divisor"]);
    net()
        .node("MatMul", "x x -> y", vec![])
        .refused(&["right side"]);
    net()
        .node("MatMul", "w x -> y", vec![])
        .refused(&["left side is a constant"]);
    net()
        .node("Resize", "x -> y", vec![string("mode", "linear")])
        .refused(&["`linear`"]);
    net()
        .node("Pad", "x -> y", vec![string("mode", "reflect")])
        .refused(&["`reflect`"]);
    net()
        .node("Reshape", "x -> y", vec![ints("shape", &[5, -1])])
        .refused(&["cannot become"]);
    net()
        .node("Add", "x w -> y", vec![])
        .refused(&["broadcast"]);
    let slice = net()
        .i64s("s", &[3])
        .i64s("e", &[0])
        .i64s("a", &[1])
        .i64s("t", &[-1]);
    slice
        .node("Slice", "x s e a t -> y", vec![])
        .refused(&["step -1"]);
    Net::new(13, "1 2 3 4 5")
        .random("w", &[2, 2, 3, 3, 3])
        .node("Conv", "x w -> y", vec![])
        .refused(&["3-D"]);
    net()
        .node("Relu", "x -> y", vec![])
        .node("Relu", "x -> y", vec![])
        .refused(&["`y` is defined twice"]);
    net()
        .node("Relu", "x -> z", vec![])
        .refused(&["output `y`"]);
    Net::new(5, "1 3")
        .node("Relu", "x -> y", vec![])
        .refused(&["operator set 5"]);
}

#[test]
fn tensors() {
    let net = || Net::new(13, "1 3").node("Add", "x w -> y", vec![]);
    net()
        .values("w", &[3], &[0.0, f32::NAN, 1.0])
        .refused(&["`w`", "NaN"]);
    net()
        .values("w", &[3], &[0.0, f32::INFINITY, 1.0])
        .refused(&["`w`", "inf"]);
    net()
        .values("w", &[4], &[0.0; 3])
        .refused(&["`w`", "3 elements"]);
    net()
        .values("w", &[-3], &[0.0; 3])
        .refused(&["`w`", "negative"]);
    net()
        .values("w", &[1 << 40, 1 << 40], &[0.0; 3])
        .refused(&["`w`", "more than"]);
    let external = TensorProto {
        external_data: vec![StringStringEntryProto {
            key: "location".into(),
            value: "../secret".into(),
        }],
        data_location: Some(1),
        ..f32s("w", &[3], vec![])
    };
    net()
        .initializer(external)
        .refused(&["`w`", "another file"]);
    net()
        .initializer(TensorProto {
            data_type: 22,
            raw_data: vec![0; 3],
            ..f32s("w", &[3], vec![])
        })
        .refused(&["int4"]);
    // A few bytes that ask for gigabytes.
    let grow = Net::new(13, "1 3").i64s("s", &[1 << 20, 1 << 20]).node(
        "ConstantOfShape",
        "s -> c",
        vec![],
    );
    grow.node("Add", "x c -> y", vec![])
        .refused(&["ConstantOfShape", "more than"]);
    let many = Net::new(13, "1 3").i64s("s", &[1 << 27]);
    let many = (0..4).fold(many, |net, i| {
        net.node("ConstantOfShape", &format!("s -> c{i}"), vec![])
    });
    many.node("Relu", "x -> y", vec![]).refused(&["too large"]);
    let nodes = (0..5000).fold(Net::new(13, "1 3"), |net, i| {
        net.node("Relu", &format!("x -> r{i}"), vec![])
    });
    nodes.refused(&["5000 nodes", "4096"]);
    let cut = Net::new(13, "1 3").node(
        "Constant",
        "-> c",
        vec![tensor("value", f32s("", &[9], vec![0.0]))],
    );
    cut.node("Add", "x c -> y", vec![]).refused(&["1 elements"]);
}

#[test]
fn open_extents() {
    let net = |shape: &str| Net::new(13, shape).node("Relu", "x -> y", vec![]);
    assert_eq!(net("batch 3").load().unwrap().inputs[0].file_shape, [1, 3]);
    assert_eq!(net("-1 3").load().unwrap().inputs[0].file_shape, [1, 3]);
    net("batch 3 height 8").refused(&["axis 2 of input `x`", "`height`", "[1, 3, N, 8]"]);
    let (_folder, path) = net("batch 3 height 8").save();
    let given = |shape: &[usize]| Options {
        input_shapes: vec![("x".into(), shape.to_vec())],
    };
    let graph = import::load_with(&path, &given(&[1, 3, 16, 8])).unwrap();
    assert_eq!(graph.inputs[0].file_shape, [1, 3, 16, 8]);
    let text = |options: &Options| import::load_with(&path, options).unwrap_err().to_string();
    assert!(text(&given(&[1, 4, 16, 8])).contains("fixes it to 3"));
    assert!(text(&given(&[1, 3, 16])).contains("rank 4"));
    assert!(
        text(&Options {
            input_shapes: vec![("z".into(), vec![1])]
        })
        .contains("the inputs are: x")
    );
    Net::new(13, "1 3")
        .input("z", 7, "1 3")
        .node("Relu", "x -> y", vec![])
        .refused(&["`z`", "int64"]);
}
