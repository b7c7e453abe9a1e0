//! What the passes reach on small networks.

use super::proto::{Net, int, ints};
use elastiq_quant::ir::{Graph, Op, passes, stats};

fn count(graph: &Graph, name: &str) -> usize {
    graph.nodes.iter().filter(|n| n.op.name() == name).count()
}

fn block(net: Net, from: &str, to: &str, width: i64, channels: i64) -> Net {
    let w = format!("w{to}");
    net.random(&w, &[width, channels, 3, 3])
        .node(
            "Conv",
            &format!("{from} {w} -> c{to}"),
            vec![ints("pads", &[1, 1, 1, 1])],
        )
        .node("Relu", &format!("c{to} -> {to}"), vec![])
}

/// The usual network of a PyTorch export: no transposition is left, the first dense layer's weights are permuted.
#[test]
fn convolution_then_flatten() {
    let net = block(Net::new(13, "1 3 8 8"), "x", "a", 4, 3);
    let net = net.node(
        "MaxPool",
        "a -> p",
        vec![ints("kernel_shape", &[2, 2]), ints("strides", &[2, 2])],
    );
    let net = block(net, "p", "b", 6, 4)
        .node("Flatten", "b -> f", vec![])
        .node("Relu", "f -> r", vec![])
        .random("wd", &[5, 96])
        .random("bd", &[5])
        .node("Gemm", "r wd bd -> y", vec![int("transB", 1)]);
    let small = net.check();
    assert_eq!(count(&small, "Transpose"), 0, "{:#?}", small.nodes);
    assert_eq!(small.inputs[0].perm, [0, 2, 3, 1]);
}

#[test]
fn residual_attention_and_concat() {
    let net = block(Net::new(13, "1 4 6 6"), "x", "a", 4, 4);
    let net = net.node("Add", "a x -> s", vec![]);
    let net = block(net, "s", "b", 4, 4)
        .node("GlobalAveragePool", "b -> g", vec![])
        .random("we", &[4, 4, 1, 1])
        .node("Conv", "g we -> e", vec![])
        .node("Sigmoid", "e -> h", vec![])
        .node("Mul", "b h -> m", vec![])
        .node("Concat", "m s -> k", vec![int("axis", 1)])
        .random("slope", &[8, 1, 1])
        .node("PRelu", "k slope -> n", vec![])
        .node("Softmax", "n -> y", vec![int("axis", 1)]);
    let small = net.check();
    assert_eq!(count(&small, "Transpose"), 0, "{:#?}", small.nodes);
    assert_eq!(small.outputs[0].perm, [0, 2, 3, 1]);
}

#[test]
fn padding_and_normalization_disappear() {
    let net = Net::new(13, "1 2 8 8")
        .values("mean", &[2, 1, 1], &[0.5, -0.25])
        .values("std", &[2, 1, 1], &[2.0, 4.0])
        .i64s("p", &[0, 0, 0, 0, 0, 0, 1, 1])
        .random("w", &[3, 2, 3, 3])
        .random("v", &[3, 3, 3, 3])
        .node("Sub", "x mean -> a", vec![])
        .node("Div", "a std -> b", vec![])
        .node("Conv", "b w -> c", vec![])
        .node("Relu", "c -> d", vec![])
        .node("Pad", "d p -> e", vec![])
        .node("Conv", "e v -> y", vec![ints("strides", &[2, 2])]);
    let small = net.check();
    let names: Vec<&str> = small.nodes.iter().map(|n| n.op.name()).collect();
    assert_eq!(names, ["Conv", "Unary", "Conv"]);
    let Op::Conv { window, .. } = small.nodes[2].op else {
        panic!()
    };
    assert_eq!(window.pads, [0, 0, 1, 1]);
}

/// One filter is zero. Its bias goes through ReLU, and on to where it is read.
fn dead(bias: f32, padded: bool) -> Graph {
    let mut w: Vec<f32> = (0..36).map(|i| (i as f32 * 0.7).sin()).collect();
    w[9..18].fill(0.0);
    let pads = if padded { [1, 1, 1, 1] } else { [0, 0, 0, 0] };
    Net::new(13, "1 1 6 6")
        .values("w", &[4, 1, 3, 3], &w)
        .values("b", &[4], &[0.1, bias, 0.2, 0.3])
        .random("wd", &[4, 1, 3, 3])
        .random("we", &[3, 4, 1, 1])
        .node("Conv", "x w b -> c", vec![])
        .node("Relu", "c -> r", vec![])
        .node(
            "Conv",
            "r wd -> d",
            vec![int("group", 4), ints("pads", &pads)],
        )
        .node("Conv", "d we -> y", vec![])
        .check()
}

#[test]
fn dead_channels() {
    let weights = |graph: &Graph| stats(graph).weights;
    let (all, less) = (36 + 36 + 12, 27 + 27 + 9);
    assert_eq!(
        weights(&dead(-0.5, true)),
        less,
        "ReLU makes it zero, padding is zero as well"
    );
    assert_eq!(
        weights(&dead(0.5, false)),
        less,
        "a number without padding moves into the bias"
    );
    assert_eq!(
        weights(&dead(0.5, true)),
        all,
        "a number next to padding stays"
    );
}

/// Channels that nobody reads go, through the flattening as well; a sum keeps what one side needs.
#[test]
fn unread_channels() {
    let mut w: Vec<f32> = (0..2 * 16).map(|i| (i as f32).cos()).collect();
    for row in w.chunks_mut(16) {
        row[4..8].fill(0.0);
    }
    let flat = Net::new(13, "1 1 4 4")
        .random("c", &[4, 1, 3, 3])
        .node("Conv", "x c -> a", vec![])
        .node("Relu", "a -> r", vec![])
        .node("Flatten", "r -> f", vec![])
        .values("w", &[2, 16], &w)
        .node("Gemm", "f w -> y", vec![int("transB", 1)])
        .check();
    assert_eq!(stats(&flat).weights, 27 + 24);
    let mut one: Vec<f32> = (0..18).map(|i| (i as f32).sin()).collect();
    one[..9].fill(0.0);
    let sum = |zero: bool| {
        let two: Vec<f32> = (0..18)
            .map(|i| if zero && i < 9 { 0.0 } else { (i as f32).cos() })
            .collect();
        Net::new(13, "1 1 6 6")
            .values("one", &[2, 1, 3, 3], &one)
            .values("two", &[2, 1, 3, 3], &two)
            .random("w", &[3, 2, 1, 1])
            .node("Conv", "x one -> a", vec![])
            .node("Conv", "x two -> b", vec![])
            .node("Add", "a b -> s", vec![])
            .node("Conv", "s w -> y", vec![])
            .check()
    };
    assert_eq!(stats(&sum(false)).weights, 18 + 18 + 6);
    assert_eq!(stats(&sum(true)).weights, 9 + 9 + 3);
}

#[test]
fn everything_dead_leaves_a_constant_output() {
    let net = Net::new(13, "1 1 4 4")
        .values("w", &[2, 1, 3, 3], &[0.0; 18])
        .values("b", &[2], &[1.0, 2.0])
        .random("v", &[2, 2, 1, 1])
        .node("Conv", "x w b -> c", vec![])
        .node("Relu", "c -> r", vec![])
        .node("Conv", "r v -> y", vec![]);
    net.check();
}

/// Passes stay usable at the limit of the importer.
#[test]
fn four_thousand_nodes() {
    let first = Net::new(13, "1 2 4 4")
        .random("w", &[2, 2, 1, 1])
        .random("k", &[2, 1, 1]);
    let net = (0..1000).fold(first, |net, i| {
        let from = if i == 0 {
            "x".into()
        } else {
            format!("r{}", i - 1)
        };
        net.node("Conv", &format!("{from} w -> c{i}"), vec![])
            .node("Mul", &format!("c{i} k -> m{i}"), vec![])
            .node("Add", &format!("m{i} k -> a{i}"), vec![])
            .node("Relu", &format!("a{i} -> r{i}"), vec![])
    });
    let start = std::time::Instant::now();
    let graph = net.output("r999").load().unwrap();
    println!("import {:?}", start.elapsed());
    let (small, _) = passes::optimize(graph);
    println!("passes {:?}", start.elapsed());
    assert_eq!(small.nodes.len(), 2000);
    assert!(start.elapsed().as_secs() < 60, "{:?}", start.elapsed());
}
