//! Sub-networks as integers: the engine against a model of the arithmetic, and against training.

use super::common::{CNN, digits, short, supernet, trained};
use elastiq::{Engine, OpSet};
use elastiq_quant::Samples;
use elastiq_quant::calibrate::{Method, calibrate};
use elastiq_quant::compile::CompileOptions;
use elastiq_quant::compress::eqnet::{Format, SpaceOptions, SubnetConfig, Supernet};
use elastiq_quant::io::Ports;
use elastiq_quant::ir::{Graph, Op, Unary, ValueId, Window};
use elastiq_quant::lower::format::{Formats, Levels};
use elastiq_quant::lower::given::{self, Given, GivenWeights};
use elastiq_quant::lower::quant::{mult, shift_for};
use elastiq_quant::lower::{Lowered, lower};
use elastiq_quant::pack::{Extras, pack};
use elastiq_quant::plan::{merge_in_place, plan};
use elastiq_quant::train::Config;
use std::collections::HashMap;

/// Codes of all values of one execution.
type Run = HashMap<ValueId, Vec<i8>>;

/// Weight integers of a layer, and scale per channel.
fn weights(given: &GivenWeights, channels: usize) -> (Vec<i64>, Vec<f64>) {
    let (grid, codes) = (&given.grid, &given.codes);
    let k = codes.len() / channels;
    if given.nested {
        // The upper bits, and the middle of what is below them.
        let step = 1 << (8 - given.bits);
        let middle = |&code: &i8| i64::from(code).div_euclid(step) * step + step / 2;
        return (codes.iter().map(middle).collect(), grid.scale.clone());
    }
    let integer = |(i, &code): (usize, &i8)| match &grid.levels {
        Levels::Linear { zeros, .. } => {
            let zero = zeros.get(i / k).or(zeros.first()).copied().unwrap_or(0);
            i64::from(code) - i64::from(zero)
        }
        Levels::Book(book) => i64::from(book[usize::from(code as u8)]),
    };
    let all = codes.iter().enumerate().map(integer).collect();
    (all, grid.scale.clone())
}

/// The network in whole numbers, from what lowering is given: sums of products of codes, one rounding of each sum.
fn model(graph: &Graph, given: &Given, input: &[i8]) -> Run {
    let classes = given::activations(graph).expect("classes");
    let layers = given::layers(graph).expect("layers");
    let quant_of = |v: ValueId| {
        let class = classes.iter().find(|c| c.contains(&v)).expect("class");
        let names = class.iter().map(|v| &graph.value(*v).name);
        let found = names.filter_map(|n| given.activations.get(n)).next();
        *found.expect("every activation is given")
    };
    let mut run = Run::from([(graph.inputs[0].value, input.to_vec())]);
    for node in &graph.nodes {
        let x = &run[&node.inputs[0]];
        let shape_of = |v: ValueId| graph.value(v).shape.clone();
        let (from, to) = (shape_of(node.inputs[0]), shape_of(node.output));
        let y = match &node.op {
            Op::Conv { .. } | Op::Dense => {
                let layer = layers.iter().find(|l| l.name == node.name).expect("layer");
                let (qx, out) = (quant_of(layer.input), quant_of(layer.output));
                let g = &given.weights[&node.name];
                let channels = shape_of(layer.weights)[0];
                let (w, scale) = weights(g, channels);
                let zero = i64::from(qx.quant.zero);
                let x: Vec<i64> = x.iter().map(|&v| i64::from(v) - zero).collect();
                let sums = match &node.op {
                    Op::Conv { window, .. } => convolved(&x, &w, &from, &to, window),
                    _ => {
                        let row = |r: &[i64]| r.iter().zip(&x).map(|(a, b)| a * b).sum();
                        w.chunks(x.len()).map(row).collect()
                    }
                };
                let bias = layer.bias.and_then(|b| graph.value(b).constant.clone());
                let bias: Vec<f32> = bias.expect("bias").iter().copied().collect();
                let real: Vec<f64> = scale
                    .iter()
                    .map(|s| qx.quant.s() / out.quant.s() * s)
                    .collect();
                let l = shift_for(real.iter().copied().fold(0.0, f64::max)).expect("shift");
                let relu = graph
                    .nodes
                    .iter()
                    .any(|n| n.inputs[0] == node.output && matches!(n.op, Op::Unary(Unary::Relu)));
                let floor = if relu {
                    out.quant.zero.max(out.lo)
                } else {
                    out.lo
                };
                let code = |(i, sum): (usize, &i64)| {
                    let c = i % channels;
                    let bias = (f64::from(bias[c]) / (qx.quant.s() * scale[c])).round() as i64;
                    let m = i128::from(mult(real[c], l).expect("multiplier"));
                    // Nearest, ties up: sum * m / 2^(32 - l).
                    let twice = (i128::from(sum + bias) * m * 2) >> (32 - i32::from(l));
                    let nearest = (twice + 1).div_euclid(2) + i128::from(out.quant.zero);
                    nearest.clamp(i128::from(floor), i128::from(out.hi)) as i8
                };
                sums.iter().enumerate().map(code).collect()
            }
            // What follows a layer is its lower bound.
            Op::Unary(Unary::Relu) | Op::Reshape => x.clone(),
            Op::MaxPool(window) => pooled(x, &from, &to, window),
            Op::Transpose { perm } => {
                let array = ndarray::ArrayD::from_shape_vec(from, x.clone()).expect("shape");
                array.permuted_axes(perm.clone()).iter().copied().collect()
            }
            other => panic!("{} is not in these networks", other.name()),
        };
        run.insert(node.output, y);
    }
    run
}

/// Positions of the input that output row or column `o` reads: tap and index.
fn taps(o: usize, axis: usize, len: usize, w: &Window) -> impl Iterator<Item = (usize, usize)> {
    let (stride, pad, kernel) = (w.stride[axis], w.pads[axis], w.kernel[axis]);
    (0..kernel)
        .map(move |t| (t, (o * stride + t).wrapping_sub(pad)))
        .filter(move |&(_, at)| at < len)
}

fn convolved(x: &[i64], w: &[i64], from: &[usize], to: &[usize], win: &Window) -> Vec<i64> {
    let (c, k) = (from[3], w.len() / to[3]);
    let mut sums = Vec::new();
    for (oy, ox) in (0..to[1]).flat_map(|y| (0..to[2]).map(move |x| (y, x))) {
        for row in w.chunks(k) {
            let mut sum = 0;
            for (ty, y) in taps(oy, 0, from[1], win) {
                for (tx, column) in taps(ox, 1, from[2], win) {
                    let weights = &row[(ty * win.kernel[1] + tx) * c..][..c];
                    let pixel = &x[(y * from[2] + column) * c..][..c];
                    sum += weights.iter().zip(pixel).map(|(a, b)| a * b).sum::<i64>();
                }
            }
            sums.push(sum);
        }
    }
    sums
}

fn pooled(x: &[i8], from: &[usize], to: &[usize], win: &Window) -> Vec<i8> {
    let c = from[3];
    let mut out = Vec::new();
    for (oy, ox) in (0..to[1]).flat_map(|y| (0..to[2]).map(move |x| (y, x))) {
        for channel in 0..c {
            let all = taps(oy, 0, from[1], win).flat_map(|(_, y)| {
                taps(ox, 1, from[2], win)
                    .map(move |(_, column)| x[(y * from[2] + column) * c + channel])
            });
            out.push(all.max().expect("a window is not empty"));
        }
    }
    out
}

/// The integer network of a configuration.
fn lowered(graph: &Graph, given: &Given, calib: &Samples) -> (Lowered, Vec<u8>) {
    let ranges = calibrate(graph, calib, Method::default(), &mut |_, _| {}).expect("ranges");
    let mut net = lower(graph, &ranges, &Formats::default(), given).expect("integers");
    merge_in_place(&mut net);
    let plan = plan(&net, elastiq::Backend::Portable);
    let bytes = pack(&net, &plan, graph, &Extras::default()).expect("artifact");
    (net, bytes)
}

/// Run `samples` on the engine and in the model; every tensor that stands for a value of the graph must be equal. Gives
/// the number of codes compared, and the class of each sample.
pub fn compared(
    graph: &Graph,
    given: &Given,
    samples: &Samples,
    calib: &Samples,
) -> (usize, Vec<usize>) {
    let (net, bytes) = lowered(graph, given, calib);
    let engine = Engine::<{ OpSet::ALL }>::new(&bytes).expect("engine");
    let ports = Ports::of(engine.model()).expect("ports");
    let mut arena = vec![0; engine.model().arena_len()];
    let (mut count, mut classes) = (0, Vec::new());
    for i in 0..samples.len() {
        let mut session = engine.start(&mut arena).expect("session");
        let fed = ports
            .feed(&mut session, &samples.file_item(graph, i))
            .expect("input");
        let input: Vec<i8> = fed.iter().map(|&b| b as i8).collect();
        let want = model(graph, given, &input);
        while let Some(op) = session.step().expect("step") {
            let out = net.ops[usize::from(op)].out;
            let value = net.tensors[out]
                .value
                .expect("all tensors are values of the graph");
            let got = session.tensor(out as u16).expect("tensor");
            let same = got
                .iter()
                .zip(&want[&value])
                .filter(|(a, b)| **a as i8 == **b)
                .count();
            assert_eq!(
                (same, got.len()),
                (got.len(), want[&value].len()),
                "{}",
                net.ops[usize::from(op)].name
            );
            count += same;
        }
        let scores: Vec<i8> = session
            .output(0)
            .expect("output")
            .iter()
            .map(|&b| b as i8)
            .collect();
        let best = (0..scores.len()).rev().max_by_key(|&c| scores[c]);
        classes.push(best.expect("scores"));
    }
    (count, classes)
}

fn argmax(row: &[f32]) -> usize {
    let best = (0..row.len())
        .rev()
        .max_by(|&a, &b| row[a].total_cmp(&row[b]));
    best.expect("scores")
}

/// All widths and formats of one training: the engine computes what the model says in every code of every tensor, and
/// the classes are those of training.
fn all_are_equal(net: &Supernet, config: &Config) {
    let (samples, calib) = (digits(800, 860), digits(0, 128));
    let evaluator = net.evaluator(&samples, config).expect("evaluator");
    let graph = net.graph();
    let (mut codes, mut agreed, mut all) = (0, 0, 0);
    for bits in 2..=8 {
        for format in net.space().formats() {
            let config = net.space().uniform(bits, bits, format);
            let given = net.given(&config, &calib).expect("quantization");
            let (count, classes) = compared(&graph, &given, &samples, &calib);
            codes += count;
            let rows = evaluator.outputs(&config).expect("outputs");
            agreed += classes
                .iter()
                .zip(&rows)
                .filter(|(c, row)| **c == argmax(row))
                .count();
            all += rows.len();
        }
    }
    assert!(codes > 60 * 7 * 2 * 1000, "{codes} codes");
    // The scores have 8 bits on the engine: two that are closer than that can change places.
    assert!(
        agreed * 1000 >= all * 997,
        "{agreed} of {all} classes are those of training"
    );
}

#[test]
fn the_engine_computes_every_width_and_format_as_the_model() {
    let options = short(SpaceOptions::default());
    let done = supernet(&trained(CNN), &options);
    all_are_equal(&done.supernet, &options.train);
}

#[test]
fn the_engine_computes_nested_widths_as_the_model() {
    let options = short(SpaceOptions {
        nested: true,
        free_ends: true,
        ..SpaceOptions::default()
    });
    let done = supernet(&trained(CNN), &options);
    all_are_equal(&done.supernet, &options.train);
}

/// One configuration by the way of users, with mixed widths.
#[test]
fn an_exported_configuration_does_as_well_as_in_training() {
    let options = short(SpaceOptions::default());
    let done = supernet(&trained(CNN), &options);
    let net = &done.supernet;
    let mut config: SubnetConfig = net.space().uniform(8, 8, Format::DEFAULT);
    (config.layers[1].weight_bits, config.layers[2].weight_bits) = (3, 2);
    (
        config.layers[1].activation_bits,
        config.layers[2].activation_bits,
    ) = (5, 4);
    config.layers[2].per_channel = false;
    config.layers[1].weight_symmetric = false;
    let (calib, samples) = (digits(0, 128), digits(800, 1000));
    let opts = CompileOptions::default();
    let made = net
        .export(&config, "net", &calib, &opts, &mut |_, _, _| {})
        .expect("artifact");
    let bits: Vec<u8> = made
        .report
        .layers
        .iter()
        .map(|l| l.bits)
        .filter(|b| *b > 0)
        .collect();
    assert_eq!(bits, [8, 3, 2, 8]);
    let stored: usize = made.report.layers.iter().map(|l| l.weights_bytes).sum();
    assert_eq!(stored, net.space().weight_bytes(&config, opts.backend));
    let evaluator = net.evaluator(&samples, &options.train).expect("evaluator");
    let float = evaluator
        .score(&config)
        .expect("score")
        .accuracy
        .expect("classes");
    let int = evaluator.int_score(&config).expect("score");
    assert!(
        (f64::from(float) - int).abs() <= 0.01,
        "{float} as trained, {int} on the engine"
    );
}
