//! Networks from descriptions.

use elastiq_quant::ir::{Op, infer::check_graph};
use elastiq_quant::train::describe::{describe, load};

fn layers(text: &str) -> String {
    format!("input = [3, 6, 6]\n{text}")
}

#[test]
fn every_layer_type_is_built() {
    let text = layers(
        r#"
        init = "glorot"
        [[layer]]
        type = "conv"
        name = "stem"
        filters = 4
        kernel = [3, 1]
        stride = 2
        padding = "same"
        bias = false
        [[layer]]
        type = "depthwise"
        kernel = 3
        padding = [1, 1, 1, 1]
        activation = "relu6"
        [[layer]]
        type = "conv"
        filters = 4
        kernel = 1
        groups = 2
        [[layer]]
        type = "add"
        with = "stem"
        activation = "prelu"
        [[layer]]
        type = "avg-pool"
        kernel = 2
        stride = 1
        [[layer]]
        type = "max-pool"
        kernel = 2
        [[layer]]
        type = "global-avg-pool"
        [[layer]]
        type = "flatten"
        [[layer]]
        type = "dense"
        units = 2
        activation = "tanh"
        [[layer]]
        type = "softmax"
        "#,
    );
    let graph = describe(&text, "all", 3).expect("description");
    check_graph(&graph).expect("a sound graph");
    assert_eq!(graph.inputs[0].file_shape, [1, 3, 6, 6]);
    assert_eq!(graph.outputs[0].file_shape, [1, 2]);
    let names: Vec<&str> = graph.nodes.iter().map(|n| n.op.name()).collect();
    let expected =
        "Conv Conv Unary Conv Add PRelu AvgPool MaxPool AvgPool Reshape Dense Unary Softmax";
    assert_eq!(names.join(" "), expected);
    let Op::Conv { window, .. } = &graph.nodes[0].op else {
        panic!("the first layer is a convolution");
    };
    // Six rows by two are three; a kernel of three needs one row more.
    assert_eq!(window.pads, [0, 0, 1, 0]);
    assert_eq!(graph.nodes[0].inputs.len(), 2, "no bias");
}

#[test]
fn fresh_weights_follow_seed_and_distribution() {
    let text = |init: &str| {
        format!("input = [400]\ninit = \"{init}\"\n[[layer]]\ntype = \"dense\"\nunits = 100\n")
    };
    let weights = |init: &str, seed| {
        let graph = describe(&text(init), "net", seed).expect("description");
        let array = graph
            .value(graph.nodes[0].inputs[1])
            .constant
            .clone()
            .expect("weights");
        array.iter().copied().collect::<Vec<f32>>()
    };
    assert_eq!(weights("he", 1), weights("he", 1));
    assert_ne!(weights("he", 1), weights("he", 2));
    for (init, wanted) in [("he", 2.0 / 400.0), ("glorot", 2.0 / 500.0)] {
        let w = weights(init, 1);
        let variance = w.iter().map(|v| v * v).sum::<f32>() / w.len() as f32;
        assert!(
            (variance / wanted - 1.0).abs() < 0.05,
            "{init}: {variance} for {wanted}"
        );
    }
}

#[test]
fn mistakes_are_named() {
    let cases = [
        ("", "no [[layer]] is given"),
        ("init = \"zero\"", "`init` must be \"he\" or \"glorot\""),
        ("[[layer]]", "layer 1: `type` is missing"),
        (
            "[[layer]]\ntype = \"lstm\"",
            "layer 1 (`lstm1`, lstm): there is no such type of layer",
        ),
        (
            "[[layer]]\ntype = \"conv\"\nfilters = 2",
            "layer 1 (`conv1`, conv): `kernel` is missing",
        ),
        (
            "[[layer]]\ntype = \"conv\"\nfilters = 2\nkernel = 3\nstrides = 2",
            "layer 1 (`conv1`, conv): `strides` is not a key here",
        ),
        (
            "[[layer]]\ntype = \"conv\"\nfilters = 0\nkernel = 3",
            "layer 1 (`conv1`, conv): `filters` must be a whole number above 0",
        ),
        (
            "[[layer]]\ntype = \"conv\"\nfilters = 4\nkernel = 3\ngroups = 2",
            "layer 1 (`conv1`, conv): 3 channels and 4 filters do not divide into 2 groups",
        ),
        (
            "[[layer]]\ntype = \"conv\"\nfilters = 4\nkernel = 9",
            "layer 1 (`conv1`, conv): window of 9 is larger than the padded input of 6",
        ),
        (
            "[[layer]]\ntype = \"dense\"\nunits = 4",
            "layer 1 (`dense1`, dense): needs a vector, not [1, 6, 6, 3]: put a layer \"flatten\" before",
        ),
        (
            "[[layer]]\ntype = \"activation\"\nfunction = \"gelu\"",
            "layer 1 (`activation1`, activation): there is no function `gelu`",
        ),
        (
            "[[layer]]\ntype = \"flatten\"\nfrom = \"stem\"",
            "layer 1 (`flatten1`, flatten): `from`: there is no layer `stem` before",
        ),
        (
            "[[layer]]\ntype = \"flatten\"\nname = \"a\"\n[[layer]]\ntype = \"softmax\"\nname = \"a\"",
            "layer 2 (`a`, softmax): the name is taken",
        ),
        (
            "[[layer]]\ntype = \"flatten\"\n[[layer]]\ntype = \"add\"\nwith = \"input\"",
            "layer 2 (`add2`, add): shapes [1, 108] and [1, 6, 6, 3] differ",
        ),
    ];
    for (text, expected) in cases {
        let line = describe(&layers(text), "net", 0).expect_err(expected);
        assert_eq!(line, expected);
    }
    assert_eq!(
        describe("", "net", 0).expect_err("empty"),
        "`input` is missing"
    );
    assert!(describe("input = [", "net", 0).is_err_and(|line| !line.contains('\n')));
    let folder = tempfile::tempdir().expect("folder");
    let file = folder.path().join("net.toml");
    let line = load(&file, 0).expect_err("missing").to_string();
    assert!(line.contains("net.toml: "), "{line}");
}
