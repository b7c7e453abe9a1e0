//! Figures of the MLPerf Tiny networks: accuracy, memory, work. Needs `ELASTIQ_MLPERF_TINY`.

use elastiq::{Engine, OpSet};
use elastiq_cli::score::argmax;
use elastiq_quant::Samples;
use elastiq_quant::compile::Compiled;
use elastiq_quant::import::Oracle;
use elastiq_quant::ir::exec;
use elastiq_tests::networks::{self, MLPERF, Network};
use elastiq_tests::pipeline;

/// Accuracy of the float keyword network on the published features.
const KEYWORDS_FLOAT: f64 = 0.9167;
/// Loss by quantization that is accepted: 1.5 points.
const KEYWORDS_LOSS: f64 = 0.015;

/// Provable minimum of activation memory, layer by layer, in bytes.
const ARENA: [(&str, usize); 4] = [
    ("kws_dscnn", 16_000),
    ("ic_resnet8", 49_152),
    ("vww_mobilenetv1_025_96", 55_296),
    ("ad_autoencoder", 768),
];

/// What is left of the person network without channels whose weights are all 0; less, where more is constant.
const PERSON: &str = "vww_mobilenetv1_025_96";
const PERSON_MACS: u64 = 3_768_254;
const PERSON_WEIGHTS: usize = 31_292;
/// Float rounding of its two probabilities.
const PERSON_TOLERANCE: f32 = 1e-5;

fn compile(network: &Network) -> Compiled {
    pipeline::compile(&network.file, &network.calib).unwrap_or_else(|e| panic!("{e}"))
}

/// `None`, said in one line, where the networks are not at hand.
fn networks() -> Option<Vec<Network>> {
    let found = networks::mlperf(4);
    if found.is_none() {
        println!("not run: {MLPERF} is not set");
    }
    found
}

#[test]
fn mlperf_keywords_keep_their_accuracy() {
    let Some(network) = networks::keywords(usize::MAX) else {
        println!("not run: {MLPERF} is not set");
        return;
    };
    let compiled = compile(&network);
    let top1 = top1(&compiled, &network.inputs);
    println!(
        "keywords: top-1 {top1:.4} on {} samples, float {KEYWORDS_FLOAT}",
        network.inputs.len()
    );
    assert!(top1 >= KEYWORDS_FLOAT - KEYWORDS_LOSS);
}

fn top1(compiled: &Compiled, samples: &Samples) -> f64 {
    let engine = Engine::<{ OpSet::ALL }>::new(&compiled.bytes).unwrap_or_else(|e| panic!("{e}"));
    let labels = samples
        .labels
        .as_ref()
        .expect("the features come with labels");
    let right = labels.iter().enumerate().filter(|(i, label)| {
        let codes = pipeline::quantize(engine.model(), &samples.ir_item(&compiled.graph, *i));
        let outputs =
            pipeline::run(&engine, &codes, &mut |_, _| {}).unwrap_or_else(|e| panic!("{e}"));
        let real = pipeline::dequantize(engine.model(), &compiled.graph, &outputs);
        let row: Vec<f32> = real[0].iter().copied().collect();
        i64::try_from(argmax(&row)) == Ok(**label)
    });
    right.count() as f64 / labels.len() as f64
}

#[test]
fn mlperf_arenas_are_the_provable_minimum() {
    let Some(networks) = networks() else { return };
    for network in networks {
        let report = compile(&network).report;
        let (_, limit) = ARENA
            .into_iter()
            .find(|(name, _)| *name == network.name)
            .expect("a limit per network");
        let activations = report.arena_bytes - report.scratch_bytes;
        println!(
            "{}: arena {} bytes ({activations} and {} scratch), bound {}, weights {}, {} MACs of {}",
            network.name,
            report.arena_bytes,
            report.scratch_bytes,
            report.arena_bound_bytes,
            report.weights_bytes,
            report.macs,
            report.macs_imported
        );
        assert!(
            activations <= limit,
            "{}: {activations} bytes, the minimum is {limit}",
            network.name
        );
    }
}

#[test]
fn mlperf_person_loses_its_dead_channels() {
    let Some(networks) = networks() else { return };
    let network = networks
        .iter()
        .find(|n| n.name == PERSON)
        .expect("one of the four");
    let compiled = compile(network);
    // Weights without biases: blobs are padded in the artifact, so they are counted per layer.
    let weights: usize = compiled.report.layers.iter().map(|l| l.weights_bytes).sum();
    assert!(compiled.report.macs <= PERSON_MACS);
    assert!(weights <= PERSON_WEIGHTS);
    // Nothing that matters is gone: the float network is the one of the file.
    let reference = Oracle::load(&network.file).unwrap_or_else(|e| panic!("{e}"));
    for i in 0..network.inputs.len() {
        let want = reference
            .run(&network.inputs.file_item(&compiled.graph, i))
            .unwrap_or_else(|e| panic!("{e}"));
        let ir = network.inputs.ir_item(&compiled.graph, i);
        let got = exec::run(&compiled.graph, &ir, &mut |_, _| {});
        let differs = |(a, b): (&f32, &f32)| (a - b).abs() > PERSON_TOLERANCE;
        assert!(
            !got[0].iter().zip(&want[0]).any(differs),
            "{:?}, {:?}",
            got[0],
            want[0]
        );
    }
}
