//! Batch normalization in supernets: statistics of each sub-network are its own, and disappear in its integers.

use super::common::{CNN, digits, network, short, supernet, trained};
use super::integers::compared;
use elastiq_quant::compress::eqnet::{Format, Options, Space, SpaceOptions, Supernet};
use elastiq_quant::ir::{Graph, Node, Op, Value, ValueId};
use elastiq_quant::train::{Config, normalized_layers};
use ndarray::{ArrayD, IxDyn};
use std::sync::Arc;

fn space() -> SpaceOptions {
    SpaceOptions {
        batch_norm: vec!["first".into(), "second".into(), "hidden".into()],
        ..SpaceOptions::default()
    }
}

#[test]
fn normalization_starts_as_what_changes_nothing() {
    let net = trained(CNN);
    let train = digits(0, 256);
    let test = digits(800, 1100);
    let loss = |options: &SpaceOptions| {
        let net = Supernet::untrained(&net, options, &train).expect("supernet");
        let net = net.with_statistics(train.clone());
        let evaluator = net.evaluator(&test, &Config::default()).expect("evaluator");
        let config = net.space().uniform(8, 8, Format::DEFAULT);
        evaluator.score(&config).expect("score").loss
    };
    let (with, without) = (loss(&space()), loss(&SpaceOptions::default()));
    assert!((with - without).abs() < 0.02, "{with} for {without}");
}

/// Widths and formats of a trained network: every code of every tensor, and nearly every class of training.
#[test]
fn the_engine_computes_normalized_networks_as_the_model() {
    let options = short(space());
    let done = supernet(&trained(CNN), &options);
    let calib = digits(0, 128);
    let net = done.supernet.with_statistics(calib.clone());
    let samples = digits(800, 860);
    let evaluator = net.evaluator(&samples, &options.train).expect("evaluator");
    let (mut codes, mut agreed) = (0, 0.0);
    let mut biases = Vec::new();
    let formats: Vec<Format> = Format::all().step_by(3).collect();
    for bits in [2, 4, 8] {
        for &format in &formats {
            let config = net.space().uniform(bits, bits, format);
            let (graph, given) = net.quantized(&config, &calib).expect("quantization");
            codes += compared(&graph, &given, &samples, &calib).0;
            agreed += evaluator.agreement(&config, &config).expect("agreement");
            let node = graph
                .nodes
                .iter()
                .find(|n| n.name == "second")
                .expect("layer");
            biases.push(graph.value(node.inputs[2]).constant.clone().expect("bias"));
        }
    }
    assert!(codes > 60 * 9 * 1000, "{codes} codes");
    assert!(agreed / 9.0 > 0.99, "{agreed} of 9");
    assert!(
        biases[0] != biases[8],
        "each configuration has its own statistics"
    );
}

#[test]
fn normalized_networks_learn() {
    let net = trained(CNN);
    let whole = Space::new(&net, &space()).expect("space");
    let only = whole.uniform(2, 2, Format::DEFAULT);
    let options = Options {
        train: Config {
            epochs: 4,
            lr: 3e-3,
            ..short(space()).train
        },
        only: Some(only),
        ..short(space())
    };
    let before = Supernet::untrained(&net, &options.space, &digits(0, 256)).expect("supernet");
    let after = supernet(&net, &options).supernet;
    let test = digits(800, 1100);
    let loss = |net: &Supernet| {
        let evaluator = net.evaluator(&test, &options.train).expect("evaluator");
        evaluator
            .score(&net.space().uniform(2, 2, Format::DEFAULT))
            .expect("score")
            .loss
    };
    assert!(
        loss(&after) < loss(&before) - 0.05,
        "{} {}",
        loss(&after),
        loss(&before)
    );
}

/// A value behind `of`, of the same shape, from an operator with a constant per channel.
fn follow(graph: &mut Graph, at: usize, of: ValueId, op: Op) -> ValueId {
    let shape = graph.value(of).shape.clone();
    let value = |constant, shape: Vec<usize>, name: &str| Value {
        name: format!("{name}{at}"),
        shape,
        constant,
        quant: None,
    };
    let c = shape[shape.len() - 1];
    let array = Arc::new(ArrayD::from_elem(IxDyn(&[c]), 0.5));
    let constant = graph.add_value(value(Some(array), vec![c], "constant"));
    let output = graph.add_value(value(None, shape, "normalized"));
    let node = Node {
        name: format!("affine{at}"),
        op,
        inputs: vec![of, constant],
        output,
    };
    graph.nodes.insert(at, node);
    output
}

#[test]
fn layers_that_a_file_normalizes_are_found() {
    let plain = network(CNN, 1).graph().clone();
    assert!(normalized_layers(&plain).is_empty());
    let mut graph = plain;
    let at = graph
        .nodes
        .iter()
        .position(|n| n.name == "second")
        .expect("layer");
    let first = graph.nodes[at].output;
    let scaled = follow(&mut graph, at + 1, first, Op::Mul);
    let shifted = follow(&mut graph, at + 2, scaled, Op::Add);
    graph.nodes[at + 3].inputs[0] = shifted;
    assert_eq!(normalized_layers(&graph), ["second"]);
    // A factor alone is no normalization.
    graph.nodes[at + 3].inputs[0] = scaled;
    graph.nodes.remove(at + 2);
    assert!(normalized_layers(&graph).is_empty());
}

#[test]
fn layers_that_cannot_be_normalized_are_refused() {
    let refused = |name: &str| {
        let options = SpaceOptions {
            batch_norm: vec![name.into()],
            ..SpaceOptions::default()
        };
        let net = network(CNN, 1);
        let failed = Supernet::untrained(&net, &options, &digits(0, 8)).expect_err("refused");
        failed.to_string()
    };
    assert_eq!(
        refused("third"),
        "batch normalization: no layer is called `third`"
    );
}
