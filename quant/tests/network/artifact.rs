//! The packed bytes: repeatable, independent of threads, readable without the network.

use crate::common::{Net, build_with, window};
use elastiq::{Engine, Model, OpSet};
use elastiq_quant::calibrate::{Method, calibrate};
use elastiq_quant::io::{dequantize_output, quantize_input};
use elastiq_quant::ir::{Graph, Op, Unary};
use elastiq_quant::pack::Meta;
use elastiq_quant::{Samples, ir};
use ndarray::{ArrayD, IxDyn};

fn network() -> Graph {
    let mut n = Net::new(1);
    let x = n.input(&[1, 8, 6, 3]);
    let a = n.conv(x, 8, window(3, 2, 1), 1);
    let r = n.map(Op::Unary(Unary::Relu), &[a]);
    let b = n.conv(r, 4, window(1, 1, 0), 1);
    n.output(b);
    // Ports as in a channel-first file.
    for port in n.graph.inputs.iter_mut().chain(&mut n.graph.outputs) {
        let s = port.file_shape.clone();
        port.file_shape = vec![s[0], s[3], s[1], s[2]];
        port.perm = vec![0, 2, 3, 1];
    }
    n.graph
}

#[test]
fn same_input_same_bytes_for_any_number_of_threads() {
    let graph = network();
    let samples = Samples::synthetic(&graph, 40, 3, -1.0, 1.0);
    for method in [Method::MinMax, Method::Percentile(99.9), Method::Mse] {
        let make = |threads| {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .unwrap();
            pool.install(|| build_with(&graph, &samples, method).unwrap().bytes)
        };
        let one = make(1);
        assert_eq!(one, make(2));
        assert_eq!(one, make(7));
    }
}

#[test]
fn methods_narrow_the_range_and_never_widen_it() {
    let graph = network();
    let mut samples = Samples::synthetic(&graph, 40, 3, -1.0, 1.0);
    samples.inputs[0][[7, 0, 0, 0]] = 40.0;
    let ranges = |m| calibrate(&graph, &samples, m, &mut |_, _| {}).unwrap();
    let (full, cut, mse) = (
        ranges(Method::MinMax),
        ranges(Method::Percentile(99.5)),
        ranges(Method::Mse),
    );
    for narrow in [&cut, &mse] {
        for (a, b) in full.0.iter().zip(&narrow.0) {
            if let (Some((lo, hi)), Some((l, h))) = (a, b) {
                assert!(*l >= lo.min(0.0) && *h <= hi.max(0.0));
            }
        }
    }
    let x = graph.inputs[0].value;
    assert_eq!(full.get(x).unwrap().1, 40.0);
    assert!(cut.get(x).unwrap().1 < 2.0);
    assert!(calibrate(&graph, &samples, Method::Percentile(10.0), &mut |_, _| {}).is_err());
}

/// Real numbers in the file's layout in, real numbers in the file's layout out, with nothing but the artifact.
#[test]
fn the_artifact_alone_explains_its_ports() {
    let graph = network();
    let samples = Samples::synthetic(&graph, 20, 3, -1.0, 1.0);
    let bytes = build_with(&graph, &samples, Method::MinMax).unwrap().bytes;
    let engine = Engine::<{ OpSet::ALL }>::new(&bytes).unwrap();
    let model = engine.model();
    let x = samples.file_item(&graph, 5).remove(0);
    let codes = quantize_input(model, 0, &x).unwrap();
    let mut arena = vec![0; model.arena_len()];
    let mut session = engine.start(&mut arena).unwrap();
    session.input_mut(0).unwrap().copy_from_slice(&codes);
    session.finish().unwrap();
    let y = dequantize_output(model, 0, session.output(0).unwrap()).unwrap();
    assert_eq!(y.shape(), [1, 4, 4, 3]);
    let want = ir::exec::run(&graph, &samples.ir_item(&graph, 5), &mut |_, _| {}).remove(0);
    for ((n, h, w, c), v) in want
        .view()
        .into_dimensionality::<ndarray::Ix4>()
        .unwrap()
        .indexed_iter()
    {
        assert!(
            (y[[n, c, h, w]] - *v).abs() < 0.2,
            "{} for {v}",
            y[[n, c, h, w]]
        );
    }
    let wrong = quantize_input(model, 0, &ArrayD::zeros(IxDyn(&[8, 6, 3])))
        .unwrap_err()
        .to_string();
    assert!(
        wrong.contains("'in0'") && wrong.contains("[1, 3, 8, 6]"),
        "{wrong}"
    );
}

#[test]
fn meta_names_layers_and_tensors() {
    let graph = network();
    let samples = Samples::synthetic(&graph, 4, 3, -1.0, 1.0);
    let bytes = build_with(&graph, &samples, Method::MinMax).unwrap().bytes;
    let model = Model::parse(&bytes).unwrap();
    let meta = Meta::of(&model).unwrap();
    assert_eq!(meta.tensors.len(), model.tensors().len());
    let names: Vec<&str> = meta.layers.iter().map(|l| l.name.as_str()).collect();
    assert_eq!(names, ["n0", "n2"]);
    assert_eq!(meta.layers[0].macs, 4 * 3 * 8 * 27);
}
