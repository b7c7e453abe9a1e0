//! Several operating points in one artifact, against the same ones alone.

use crate::common::{Net, window};
use elastiq::format::{CODING_NESTED, NONE};
use elastiq::{Backend, Engine, Model, OpSet};
use elastiq_quant::Samples;
use elastiq_quant::compile::{
    CompileOptions, Compiled, VariantOptions, compile_graph, compile_variants,
};
use elastiq_quant::ir::{Graph, Op, Unary};
use elastiq_quant::lower::format::{Formats, WeightFormat};
use elastiq_quant::lower::given::{Given, GivenActivation, GivenWeights, layers};
use elastiq_quant::lower::nested::Nested;
use elastiq_quant::lower::quant::Quant;

/// Convolution, depthwise convolution, a branch that is added, pools, two dense layers, softmax.
fn network() -> Graph {
    let mut n = Net::new(77);
    let x = n.input(&[1, 8, 8, 2]);
    let a = n.conv(x, 12, window(3, 1, 1), 1);
    let a = n.map(Op::Unary(Unary::Relu), &[a]);
    let b = n.conv(a, 12, window(3, 1, 1), 12);
    let c = n.conv(b, 12, window(1, 1, 0), 1);
    let sum = n.map(Op::Add, &[a, c]);
    let p = n.pool(Op::MaxPool(window(2, 2, 0)), sum);
    let r = n.op(Op::Reshape, &[p], &[1, 192]);
    let d = n.dense(r, 20);
    let d = n.map(Op::Unary(Unary::Relu), &[d]);
    let e = n.dense(d, 5);
    n.output(e);
    n.graph
}

fn options(backend: Backend) -> CompileOptions {
    CompileOptions {
        backend,
        verify_samples: 4,
        self_test_cases: 2,
        ..Default::default()
    }
}

/// All layers nested but the first and the last, which have 8 bits.
fn formats(graph: &Graph, bits: u8) -> Formats {
    let format = |text: String| text.parse::<WeightFormat>().unwrap();
    let layers = layers(graph).unwrap();
    let ends = [&layers[0], &layers[layers.len() - 1]];
    let eight = |l: &&elastiq_quant::lower::given::Layer| (l.name.clone(), format("8".into()));
    Formats {
        default: format(format!("{bits},nested")),
        by_layer: ends.iter().map(eight).collect(),
    }
}

fn variants(graph: &Graph, widths: &[u8]) -> Vec<VariantOptions> {
    let of = |&bits: &u8| VariantOptions {
        name: format!("{bits} bits"),
        weights: formats(graph, bits),
        given: Given::default(),
    };
    widths.iter().map(of).collect()
}

fn together(graph: &Graph, all: &[VariantOptions], backend: Backend) -> Compiled {
    let samples = Samples::synthetic(graph, 6, 1, -1.0, 1.0);
    let options = options(backend);
    compile_variants(
        graph.clone(),
        "net",
        &samples,
        all,
        &options,
        &mut |_, _, _| {},
    )
    .unwrap_or_else(|e| panic!("{e}"))
}

fn alone(graph: &Graph, v: &VariantOptions, backend: Backend) -> Compiled {
    let samples = Samples::synthetic(graph, 6, 1, -1.0, 1.0);
    let options = CompileOptions {
        weights: v.weights.clone(),
        given: v.given.clone(),
        ..options(backend)
    };
    compile_graph(graph.clone(), "net", &samples, &options, &mut |_, _, _| {})
        .unwrap_or_else(|e| panic!("{e}"))
}

/// Bytes of the output of every operator for some inputs, on all kernels of this machine.
fn outputs(bytes: &[u8], variant: usize) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for backend in Backend::available() {
        let engine = Engine::<{ OpSet::ALL }>::new(bytes).unwrap();
        let mut engine = engine.with_backend(backend);
        engine.select(variant).unwrap();
        let mut arena = vec![0; engine.model().arena_len()];
        for seed in 0..20usize {
            let mut session = engine.start(&mut arena).unwrap();
            let input = session.input_mut(0).unwrap();
            for (i, x) in input.iter_mut().enumerate() {
                *x = (i * 89 + seed * 57 + i * i * (seed + 3)) as u8;
            }
            while let Some(op) = session.step().unwrap() {
                let out = engine.model().operator(op.into()).unwrap().out.get();
                all.push(session.tensor(out).unwrap().to_vec());
            }
            all.push(session.output(0).unwrap().to_vec());
        }
    }
    all
}

/// Compare every variant with itself alone.
fn compare(graph: &Graph, all: &[VariantOptions], backend: Backend) -> Compiled {
    let elastic = together(graph, all, backend);
    let mut seen: Vec<Vec<Vec<u8>>> = Vec::new();
    for (i, v) in all.iter().enumerate() {
        let single = alone(graph, v, backend);
        let (got, want) = (outputs(&elastic.bytes, i), outputs(&single.bytes, 0));
        assert_eq!(got.len(), want.len());
        let differs = got.iter().zip(&want).filter(|(a, b)| a != b).count();
        assert_eq!(differs, 0, "{}: outputs of operators", v.name);
        assert!(!seen.contains(&got), "{}: as another variant", v.name);
        seen.push(got);
        // The report of a variant is that of the network alone, but for the coding of what is shared.
        let (a, b) = (&elastic.report.variants[i].output, &single.report.output);
        assert_eq!((a.sqnr_db, a.max_error), (b.sqnr_db, b.max_error));
    }
    elastic
}

#[test]
fn every_variant_gives_the_bytes_of_the_same_configuration_alone() {
    let graph = network();
    for backend in [Backend::Dsp, Backend::Helium, Backend::Portable] {
        let all = variants(&graph, &[8, 7, 6, 5, 4, 3, 2]);
        let elastic = compare(&graph, &all, backend);
        let model = Model::parse(&elastic.bytes).unwrap();
        // Weights are there once: as many bytes as those of 8 bits.
        let eight = alone(&graph, &all[0], backend);
        assert_eq!(model.weights().len(), eight.report.weights_bytes);
        let nested = |op: &&elastiq::format::OpRow| op.coding == CODING_NESTED;
        assert_eq!(model.ops().iter().filter(nested).count(), 3 * 6);
        // Three layers differ; pools, sums and the ends do not.
        assert_eq!(model.ops().len(), model.steps().count() + 3 * 6);
        assert_eq!(
            model.tensors().len(),
            Model::parse(&eight.bytes).unwrap().tensors().len()
        );
    }
}

#[test]
fn variants_may_have_activation_scales_of_their_own() {
    let graph = network();
    let mut all = variants(&graph, &[8, 4, 2]);
    let names: Vec<String> = graph
        .nodes
        .iter()
        .map(|n| graph.value(n.output).name.clone())
        .collect();
    let some = |scale, zero| GivenActivation {
        quant: Quant { scale, zero },
        lo: -100,
        hi: 127,
    };
    // Of an inner tensor, and of the output.
    all[1]
        .given
        .activations
        .insert(names[3].clone(), some(0.031, 3));
    all[2]
        .given
        .activations
        .insert(names.last().unwrap().clone(), some(0.11, -4));
    let elastic = compare(&graph, &all, Backend::Dsp);
    let model = Model::parse(&elastic.bytes).unwrap();
    let scale = |v: usize| {
        let model = model.with_variant(v).unwrap();
        let io = model.outputs().next().unwrap();
        (
            f32::from_bits(io.row.scale_bits.get()),
            io.row.zero,
            io.row.root.get() == NONE,
        )
    };
    assert_eq!(scale(0), scale(1));
    assert_eq!(scale(2), (0.11, -4, false));
}

#[test]
fn given_masters_are_shared_and_what_all_have_in_common_is_stored_alone() {
    let graph = network();
    let real = |name: &str| -> Vec<Vec<f64>> {
        let all = layers(&graph).unwrap();
        let layer = all.iter().find(|l| l.name == name).unwrap();
        let value = graph.value(layer.weights);
        let flat: Vec<f64> = value
            .constant
            .iter()
            .flat_map(|c| c.iter().map(|&v| f64::from(v)))
            .collect();
        flat.chunks(flat.len() / value.shape[0])
            .map(<[f64]>::to_vec)
            .collect()
    };
    let names: Vec<String> = layers(&graph)
        .unwrap()
        .into_iter()
        .map(|l| l.name)
        .collect();
    let variant = |name: &str, widths: [u8; 5]| {
        let mut given = Given::default();
        for (layer, bits) in names.iter().zip(widths) {
            let Nested { master, mut scale } = Nested::of(&real(layer), bits, false);
            scale.iter_mut().for_each(|s| *s *= 1.01);
            given
                .weights
                .insert(layer.clone(), GivenWeights::nested(bits, scale, master));
        }
        VariantOptions {
            name: name.into(),
            given,
            ..Default::default()
        }
    };
    let all = [variant("a", [8, 4, 8, 3, 8]), variant("b", [8, 4, 5, 2, 8])];
    let elastic = compare(&graph, &all, Backend::Dsp);
    let codings = |v: usize| -> Vec<String> {
        let report = &elastic.report.variants[v];
        let weighty = report.layers.iter().filter(|l| l.bits > 0);
        weighty.map(|l| l.coding.clone()).collect()
    };
    assert_eq!(codings(0), ["int8", "book4", "int8", "nested3", "int8"]);
    assert_eq!(codings(1), ["int8", "book4", "nested5", "nested2", "int8"]);
}

#[test]
fn what_cannot_be_packed_together_is_refused_by_name() {
    let graph = network();
    let samples = Samples::synthetic(&graph, 2, 1, -1.0, 1.0);
    let refused = |all: &[VariantOptions]| {
        let options = options(Backend::Dsp);
        compile_variants(
            graph.clone(),
            "net",
            &samples,
            all,
            &options,
            &mut |_, _, _| {},
        )
        .unwrap_err()
        .to_string()
    };
    assert!(refused(&[]).contains("at least one"));
    let mut two = variants(&graph, &[4, 4]);
    assert!(refused(&two).contains("two variants are called '4 bits'"));
    two[1].name.clear();
    assert!(refused(&two).contains("variant 1 has no name"));
    two[1].name = "b".into();
    two[1]
        .weights
        .by_layer
        .insert("nobody".into(), WeightFormat::default());
    let message = refused(&two);
    assert!(
        message.contains("'b'") && message.contains("'nobody'"),
        "{message}"
    );
    let many: Vec<VariantOptions> = (0..65)
        .map(|i| VariantOptions {
            name: i.to_string(),
            ..Default::default()
        })
        .collect();
    assert!(refused(&many).contains("65 variants, at most 64"));
}
