//! Power levels from the float network to the bytes of the artifact.

use crate::common::{Net, window};
use elastiq::{Engine, OpSet};
use elastiq_quant::calibrate::{Method, Ranges, calibrate};
use elastiq_quant::compile::{CompileOptions, Compiled, compile_graph};
use elastiq_quant::compress::fake::Fake;
use elastiq_quant::compress::nupes::fit::Exponents;
use elastiq_quant::compress::nupes::learn::Learn;
use elastiq_quant::compress::nupes::{Decision, Options, decide, widths};
use elastiq_quant::io::Ports;
use elastiq_quant::ir::{Graph, Op, Unary};
use elastiq_quant::lower::format::{Formats, Levels};
use elastiq_quant::lower::given::{Given, GivenWeights};
use elastiq_quant::verify::argmax;
use elastiq_quant::{Error, Samples};
use std::sync::Arc;

/// Convolution, grouped and depthwise convolution, residual, pool, dense layers, all with ReLU between.
fn network() -> Graph {
    let mut n = Net::new(77);
    let x = n.input(&[1, 8, 8, 4]);
    let a = n.conv(x, 16, window(3, 1, 1), 1);
    let a = n.map(Op::Unary(Unary::Relu), &[a]);
    let b = n.conv(a, 16, window(3, 1, 1), 16);
    let b = n.map(Op::Unary(Unary::Relu), &[b]);
    let c = n.conv(b, 16, window(3, 1, 1), 2);
    let c = n.map(Op::Add, &[c, a]);
    let p = n.pool(Op::MaxPool(window(2, 2, 0)), c);
    let r = n.op(Op::Reshape, &[p], &[1, 256]);
    let d = n.dense(r, 24);
    let d = n.map(Op::Unary(Unary::Relu), &[d]);
    let d = n.dense(d, 10);
    n.output(d);
    n.graph
}

fn setting(n: usize) -> (Graph, Samples, Ranges) {
    let graph = network();
    let samples = Samples::synthetic(&graph, n, 3, -1.0, 1.0);
    let ranges = calibrate(&graph, &samples, Method::Mse, &mut |_, _| {}).unwrap();
    (graph, samples, ranges)
}

fn decided(options: &Options) -> Result<Decision, Error> {
    let (graph, samples, ranges) = setting(48);
    decide(&graph, &samples, &ranges, options, &mut |_, _, _| {})
}

fn compiled(graph: &Graph, samples: &Samples, given: &Given) -> Compiled {
    let options = CompileOptions {
        given: given.clone(),
        ..Default::default()
    };
    compile_graph(graph.clone(), "net", samples, &options, &mut |_, _, _| {}).unwrap()
}

fn quick(options: Options) -> Options {
    Options {
        learn: options.learn.map(|learn| Learn {
            steps: 150,
            ..learn
        }),
        ..options
    }
}

/// The integers that ran, by class, and those of the float model with the same levels.
fn classes(
    graph: &Graph,
    given: &Given,
    calib: &Samples,
    samples: &Samples,
) -> Vec<(usize, usize)> {
    let bytes = compiled(graph, calib, given).bytes;
    let ranges = calibrate(graph, calib, Method::Mse, &mut |_, _| {}).unwrap();
    let fake = Fake::new(graph, &ranges, &Formats::default(), given).unwrap();
    let engine = Engine::<{ OpSet::ALL }>::new(&bytes).unwrap();
    let ports = Ports::of(engine.model()).unwrap();
    let mut arena = vec![0; engine.model().arena_len()];
    let mut one = |i: usize| {
        let mut session = engine.start(&mut arena).unwrap();
        ports
            .feed(&mut session, &samples.file_item(graph, i))
            .unwrap();
        session.finish().unwrap();
        let out: Vec<f32> = session
            .output(0)
            .unwrap()
            .iter()
            .map(|&b| f32::from(b as i8))
            .collect();
        let model: Vec<f32> = fake.run(samples, i)[0].iter().copied().collect();
        (argmax(&out), argmax(&model))
    };
    (0..samples.len()).map(&mut one).collect()
}

#[test]
fn integers_choose_what_float_fake_quantization_chooses() {
    let (graph, calib, _) = setting(48);
    let samples = Samples::synthetic(&graph, 1000, 9, -1.0, 1.0);
    for options in [
        Options::searched(4),
        Options::learned(3),
        Options {
            exponents: Exponents::Of(vec![0.5]),
            ..Options::searched(4)
        },
        Options {
            acts: 4,
            ..Options::searched(4)
        },
    ] {
        let given = decided(&quick(options.clone())).unwrap().given;
        let pairs = classes(&graph, &given, &calib, &samples);
        let same = pairs.iter().filter(|(a, b)| a == b).count();
        assert!(same >= 995, "{options:?}: {same} of 1000");
        let spread = pairs.iter().filter(|(a, _)| *a != pairs[0].0).count();
        assert!(spread > 100, "classes vary");
    }
}

/// What is accumulated is exact: books are the squares of codes, so sums are sums of squares times inputs.
#[test]
fn squares_need_no_table() {
    let options = Options {
        exponents: Exponents::Of(vec![0.5]),
        ..Options::searched(4)
    };
    for (name, weights) in decided(&options).unwrap().given.weights {
        let Levels::Book(book) = &weights.grid.levels else {
            panic!("{name}: not a book");
        };
        let squares = |first: i16| (0..16).map(move |i| (first + i) * (first + i).abs());
        let found = [-8, -7]
            .iter()
            .any(|&first| squares(first).eq(book.iter().copied()));
        assert!(found, "{name}: {book:?}");
    }
}

#[test]
fn powers_never_lose_to_equal_steps() {
    for bits in [4, 3] {
        for per_tensor in [true, false] {
            let of = |options: Options| {
                let options = Options {
                    per_tensor,
                    on_outputs: false,
                    ..options
                };
                decided(&options).unwrap().layers
            };
            let (uniform, power) = (of(Options::clipped(bits)), of(Options::searched(bits)));
            assert_eq!(uniform.len(), 5);
            let pairs = || uniform.iter().zip(&power);
            assert!(pairs().all(|(u, p)| p.error <= u.error && u.exponent == 1.0));
            let better = pairs().filter(|(u, p)| p.error < u.error).count();
            assert!(better >= 4, "{bits} bits: {better} of 5");
        }
    }
}

#[test]
fn learning_lowers_the_error_of_every_layer() {
    let searched = decided(&Options::searched(3)).unwrap();
    let learned = decided(&quick(Options::learned(3))).unwrap();
    let (mut ratio, n) = (0.0, learned.layers.len());
    for layer in &learned.layers {
        assert!(layer.error <= layer.searched, "{layer:?}");
        assert!(layer.changed > 0.0, "{layer:?}");
        ratio += layer.error / layer.searched / n as f64;
    }
    assert!(ratio < 0.75, "{ratio}");
    assert!(searched.layers.iter().all(|l| l.changed == 0.0));
}

#[test]
fn the_number_of_threads_changes_nothing() {
    let of = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
        let options = quick(Options::learned(3));
        pool.build().unwrap().install(|| decided(&options).unwrap())
    };
    let (one, three) = (of(1), of(3));
    assert!(one.given == three.given && one.layers == three.layers);
}

#[test]
fn widths_are_judged_layer_by_layer() {
    let (graph, samples, ranges) = setting(16);
    let options = Options::searched(4);
    let all = widths(
        &graph,
        &samples,
        &ranges,
        &options,
        &[2, 3, 5],
        &mut |_, _, _| {},
    )
    .unwrap();
    assert_eq!(all.len(), 5);
    for (name, found) in &all {
        assert!(found.windows(2).all(|w| w[1].error < w[0].error), "{name}");
        assert_eq!(
            found.iter().map(|w| w.weights.bits).collect::<Vec<_>>(),
            [2, 3, 5]
        );
    }
    let mixed: Vec<(String, GivenWeights)> = all
        .into_iter()
        .enumerate()
        .map(|(i, (name, found))| (name, found[i % 3].weights.clone()))
        .collect();
    let given = Given {
        weights: mixed.into_iter().collect(),
        ..Default::default()
    };
    let layers = compiled(&graph, &samples, &given).report.layers;
    let mut bits: Vec<u8> = layers.iter().map(|l| l.bits).filter(|b| *b > 0).collect();
    bits.sort_unstable();
    assert_eq!(bits, [2, 2, 3, 3, 5]);
    let bad = widths(&graph, &samples, &ranges, &options, &[9], &mut |_, _, _| {});
    assert!(bad.unwrap_err().to_string().contains("9 bits"));
}

#[test]
fn layers_of_eight_bits_stay_linear() {
    let (graph, samples, _) = setting(16);
    let mut options = Options::searched(3);
    options.by_layer.insert("n0".into(), 8);
    options.by_layer.insert("n10".into(), 2);
    let given = decided(&options).unwrap().given;
    assert!(!given.weights.contains_key("n0"));
    assert_eq!(given.weights["n10"].bits, 2);
    let layers = compiled(&graph, &samples, &given).report.layers;
    assert_eq!((layers[0].bits, &*layers[0].coding), (8, "int8"));
}

#[test]
fn what_cannot_be_is_refused_by_name() {
    let refused = |options: &Options| decided(options).unwrap_err().to_string();
    let mut options = Options::searched(4);
    options.by_layer.insert("nobody".into(), 3);
    assert!(refused(&options).contains("'nobody'"));
    assert!(refused(&Options::searched(1)).contains("1 bits"));
    let none = Options {
        exponents: Exponents::Of(vec![]),
        ..Options::searched(4)
    };
    assert!(refused(&none).contains("exponents"));
    let (mut graph, samples, ranges) = setting(4);
    let weights = graph.nodes[0].inputs[1];
    let mut broken = (**graph.values[weights.0].constant.as_ref().unwrap()).clone();
    broken[[2, 0, 0, 1]] = f32::NAN;
    graph.values[weights.0].constant = Some(Arc::new(broken));
    let options = Options::searched(4);
    let error = decide(&graph, &samples, &ranges, &options, &mut |_, _, _| {});
    let message = error.unwrap_err().to_string();
    assert!(
        message.contains("n0") && message.contains("channel 2"),
        "{message}"
    );
}
