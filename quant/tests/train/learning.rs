//! Networks learn, each choice does what it says, failures name their place.

use super::common::{NET, bars, bytes, go_on, network, trained};
use burn::tensor::{Tensor, TensorData, activation};
use elastiq_quant::ir::exec;
use elastiq_quant::train::{
    ClassWeights, Clip, Config, Control, Event, Head, Network, NoHooks, Objective, Rule, Run,
    Schedule, describe::describe, train,
};
use elastiq_quant::{Samples, import};

fn quick(epochs: usize) -> Config {
    Config {
        epochs,
        batch: 8,
        lr: 0.01,
        ..Config::default()
    }
}

#[test]
fn a_described_network_learns_and_keeps_its_best_epoch() {
    let result = trained(&network(NET, 1), &quick(8));
    assert!(result.finished);
    assert!(
        result.best.score >= 0.9,
        "8-bit accuracy {}",
        result.best.score
    );
    assert_eq!(result.history.len(), 9);
    assert!(result.history[8].loss.expect("loss") < 0.5 * result.history[1].loss.expect("loss"));
    let top = result
        .history
        .iter()
        .filter_map(|e| e.int_score)
        .fold(0f32, f32::max);
    assert_eq!(result.best.score, top);
    let kept = &result.history[result.best.epoch];
    assert!(kept.best && kept.int_score == Some(top));
}

#[test]
fn equal_seeds_give_equal_bytes() {
    let run = |net_seed, seed| {
        bytes(&trained(
            &network(NET, net_seed),
            &Config { seed, ..quick(2) },
        ))
    };
    let first = run(1, 5);
    assert_eq!(first, run(1, 5));
    assert_ne!(first, run(1, 6), "order of the samples");
    assert_ne!(first, run(2, 5), "fresh weights");
}

#[test]
fn every_choice_changes_the_result_and_still_learns() {
    let plain = bytes(&trained(&network(NET, 1), &quick(6)));
    type Change = fn(&mut Config);
    let choices: [(&str, Change); 9] = [
        ("sgd", |c| {
            c.optimizer = Rule::SGD;
            c.lr = 0.05;
        }),
        ("step", |c| {
            c.schedule = Schedule::Step {
                epochs: 3,
                factor: 0.3,
            }
        }),
        ("constant", |c| c.schedule = Schedule::Constant),
        ("decay", |c| c.weight_decay = 0.01),
        ("norm", |c| c.clip = Clip::Norm(0.5)),
        ("value", |c| c.clip = Clip::Value(0.05)),
        ("balanced", |c| c.class_weights = ClassWeights::Balanced),
        ("smoothing", |c| c.label_smoothing = 0.1),
        ("mixup", |c| c.mixup = 0.3),
    ];
    for (name, change) in choices {
        let mut config = quick(6);
        change(&mut config);
        let result = trained(&network(NET, 1), &config);
        assert_ne!(bytes(&result), plain, "{name} changes nothing");
        assert!(result.best.score > 0.7, "{name}: {}", result.best.score);
    }
}

#[test]
fn a_class_without_weight_is_not_learned() {
    let config = Config {
        class_weights: ClassWeights::Given(vec![1.0, 1.0, 0.0]),
        ..quick(6)
    };
    let val = bars(90, 2);
    let labels = val.labels.clone().expect("labels");
    let other = labels.iter().filter(|&&l| l != 2).count() as f32 / labels.len() as f32;
    let result = trained(&network(NET, 1), &config);
    let last = result
        .history
        .last()
        .and_then(|e| e.val_accuracy)
        .expect("accuracy");
    assert!(
        last <= other,
        "{last} correct, {other} are of the other classes"
    );
}

#[test]
fn an_autoencoder_learns_to_give_back_its_input() {
    let text = r#"
        input = [64]
        [[layer]]
        type = "dense"
        units = 24
        activation = "relu"
        [[layer]]
        type = "dense"
        units = 64
    "#;
    let flat = |mut s: Samples| {
        let n = s.len();
        s.inputs[0] = s.inputs[0]
            .clone()
            .into_shape_with_order(vec![n, 64])
            .expect("shape");
        s.labels = None;
        s
    };
    let (data, val) = (flat(bars(240, 1)), flat(bars(60, 2)));
    let config = Config {
        objective: Objective::Reconstruct,
        ..quick(10)
    };
    let net = network(text, 1);
    let result = train(&net, &data, &val, &config, &Run::default(), &mut go_on).expect("training");
    let (first, best) = (
        result.history[0].int_score.expect("score"),
        result.best.score,
    );
    assert!(
        best > first * 0.3,
        "mean squared error {} became {}",
        -first,
        -best
    );
    assert!(result.history[10].val_accuracy.is_none());
}

#[test]
fn a_single_score_separates_two_classes() {
    let text = NET.replace("units = 3", "units = 1")
        + "[[layer]]\ntype = \"activation\"\nfunction = \"sigmoid\"\n";
    let two = |seed| {
        let all = bars(400, seed);
        let labels = all.labels.expect("labels");
        let picks: Vec<usize> = (0..400).filter(|&i| labels[i] < 2).collect();
        let x = all.inputs[0].select(ndarray::Axis(0), &picks);
        Samples::new(vec![x]).with_labels(picks.iter().map(|&i| labels[i]).collect())
    };
    let net = network(&text, 1);
    let result = train(
        &net,
        &two(1),
        &two(2),
        &quick(8),
        &Run::default(),
        &mut go_on,
    );
    assert!(result.expect("training").best.score > 0.9);
}

#[test]
fn a_loss_that_is_not_finite_names_the_layer() {
    let run = |net: &Network, config: &Config, data: &Samples| {
        let error = train(net, data, &bars(30, 2), config, &Run::default(), &mut go_on);
        error.expect_err("no finite loss").to_string()
    };
    let config = Config {
        lr: 1e30,
        optimizer: Rule::Sgd { momentum: 0.0 },
        ..quick(2)
    };
    let line = run(&network(NET, 1), &config, &bars(240, 1));
    assert!(line.starts_with("epoch 1, batch "), "{line}");
    assert!(line.contains("): its output is not finite"), "{line}");
    // Here the first layer is sound; the exponential behind it is not.
    let text = NET.replace(
        "[[layer]]\ntype = \"max-pool\"",
        "[[layer]]\ntype = \"activation\"\nfunction = \"softplus\"\n[[layer]]\ntype = \"max-pool\"",
    );
    let mut graph = describe(&text, "net", 1).expect("description");
    let node = graph
        .nodes
        .iter_mut()
        .find(|n| n.name == "activation2")
        .expect("node");
    node.op = elastiq_quant::ir::Op::Unary(elastiq_quant::ir::Unary::Exp);
    let mut data = bars(240, 1);
    // Not among the samples that ranges are taken from.
    data.inputs[0].index_axis_mut(ndarray::Axis(0), 2).fill(1e4);
    let net = Network::new(graph).expect("network");
    let line = run(&net, &quick(1), &data);
    assert!(
        line.contains(": node `activation2` (Unary): its output is not finite"),
        "{line}"
    );
}

#[test]
fn what_does_not_fit_is_refused() {
    let net = network(NET, 1);
    let refused = |net: &Network, data: &Samples, config: &Config| {
        let result = train(net, data, &bars(9, 2), config, &Run::default(), &mut go_on);
        result.expect_err("refused").to_string()
    };
    let data = bars(30, 1);
    let unlabelled = Samples::new(data.inputs.clone());
    assert_eq!(
        refused(&net, &unlabelled, &quick(1)),
        "data: has no labels to train with"
    );
    let mut wrong = data.clone();
    wrong.labels.as_mut().expect("labels")[4] = 3;
    let line = refused(&net, &wrong, &quick(1));
    assert_eq!(line, "data: label 3 of sample 4, the network has 3 classes");
    let weights = Config {
        class_weights: ClassWeights::Given(vec![1.0]),
        ..quick(1)
    };
    assert_eq!(
        refused(&net, &data, &weights),
        "class weights: 1 weights for 3 classes"
    );
    let give_back = Config {
        objective: Objective::Reconstruct,
        ..quick(1)
    };
    assert!(refused(&net, &data, &give_back).contains("not the shape of the input"));
    let pictures = NET
        .split("[[layer]]\ntype = \"global")
        .next()
        .expect("text");
    let line = refused(&network(pictures, 1), &data, &quick(1));
    assert!(
        line.starts_with("output 'output': has shape [1, 6, 4, 4]"),
        "{line}"
    );
    let none = describe("input = [4]\n[[layer]]\ntype = \"softmax\"\n", "n", 0).expect("graph");
    let error = Network::new(none)
        .expect_err("nothing to train")
        .to_string();
    assert_eq!(error, "the network has no weights to train");
}

#[test]
fn a_stop_ends_the_training_early() {
    let mut steps = 0;
    let mut watch = |event: Event| {
        steps += usize::from(matches!(event, Event::Step { .. }));
        if steps == 3 {
            Control::Stop
        } else {
            Control::Continue
        }
    };
    let (data, val) = (bars(240, 1), bars(30, 2));
    let net = network(NET, 1);
    let result = train(&net, &data, &val, &quick(3), &Run::default(), &mut watch).expect("run");
    assert!(!result.finished);
    assert_eq!((steps, result.history.len()), (3, 1));
}

#[test]
fn example_networks_give_the_values_of_the_reference() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/models");
    let device = burn::tensor::Device::flex();
    let mut n = 0;
    for file in std::fs::read_dir(folder).expect("models") {
        let file = file.expect("file").path();
        if file.extension().is_none_or(|e| e != "onnx") {
            continue;
        }
        let name = file.display().to_string();
        let graph = import::load(&file).expect(&name);
        let qdq = name.contains("qdq");
        let net = Network::new(graph.clone()).expect(&name);
        let samples = Samples::synthetic(&graph, 3, 5, 0.0, 1.0);
        let vector = |v: Vec<f32>| {
            let len = v.len();
            Tensor::<1>::from_data(TensorData::new(v, [len]), &device)
        };
        let all = (0..3).flat_map(|i| samples.ir_item(&graph, i).swap_remove(0));
        let params: Vec<_> = net.initial().into_iter().map(vector).collect();
        let inputs = [vector(all.collect())];
        let out = net.forward(&params, &net.constants(&device), &inputs, 3, &mut NoHooks);
        let scores = match net.head() {
            Head::Classes => activation::softmax(out, 1),
            _ => out,
        };
        let got = scores.into_data().try_into_vec::<f32>().expect("f32");
        let want: Vec<f32> = (0..3)
            .flat_map(|i| {
                let inputs = samples.ir_item(&graph, i);
                let run = if qdq { exec::run_quantized } else { exec::run };
                run(&graph, &inputs, &mut |_, _| {}).swap_remove(0)
            })
            .collect();
        assert_eq!(got.len(), want.len(), "{name}");
        let top = want.iter().fold(0f32, |m, v| m.max(v.abs()));
        // Rounding to codes is what separates the quantized files from their float networks.
        let allowed = if qdq { 0.1 } else { 1e-4 };
        for (g, w) in got.iter().zip(&want) {
            assert!((g - w).abs() <= allowed * top, "{name}: {g} for {w}");
        }
        n += 1;
    }
    assert!(n >= 7, "{n} networks");
}
