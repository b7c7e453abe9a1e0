//! Whole networks against the float reference.

use elastiq_quant::import::{self, Oracle};
use elastiq_quant::ir::{self, Graph, exec, passes, stats};
use ndarray::{ArrayD, IxDyn};
use std::path::{Path, PathBuf};

/// Deterministic inputs in `[0, scale)`.
pub fn inputs(graph: &Graph, seed: u64, scale: f32) -> Vec<ArrayD<f32>> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = move || {
        state = state
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (state >> 40) as f32 / (1u64 << 24) as f32 * scale
    };
    let array = |port: &ir::Port| ArrayD::from_shape_simple_fn(IxDyn(&port.file_shape), &mut next);
    graph.inputs.iter().map(array).collect()
}

/// Run in the file's layout.
pub fn run(graph: &Graph, inputs: &[ArrayD<f32>], quantized: bool) -> Vec<ArrayD<f32>> {
    let ports = graph.inputs.iter().zip(inputs);
    let moved: Vec<_> = ports.map(|(port, x)| exec::to_ir_layout(port, x)).collect();
    let outputs = match quantized {
        true => exec::run_quantized(graph, &moved, &mut |_, _| {}),
        false => exec::run(graph, &moved, &mut |_, _| {}),
    };
    graph
        .outputs
        .iter()
        .zip(&outputs)
        .map(|(port, y)| exec::from_ir_layout(port, y))
        .collect()
}

/// Largest difference, relative to the largest magnitude of the expected output.
pub fn difference(got: &[ArrayD<f32>], want: &[ArrayD<f32>]) -> f32 {
    assert_eq!(got.len(), want.len(), "number of outputs");
    got.iter()
        .zip(want)
        .map(|(g, w)| {
            assert_eq!(g.shape(), w.shape(), "output shape");
            let top = w.iter().fold(1e-6f32, |m, v| m.max(v.abs()));
            let gap = g.iter().zip(w).fold(0f32, |m, (g, w)| m.max((g - w).abs()));
            assert!(gap.is_finite(), "output holds NaN");
            gap / top
        })
        .fold(0.0, f32::max)
}

fn folder() -> Option<PathBuf> {
    let folder = std::env::var_os("ELASTIQ_MLPERF_TINY").map(PathBuf::from);
    if folder.is_none() {
        println!("ELASTIQ_MLPERF_TINY not set: 4 networks not checked");
    }
    folder
}

/// A network, what it is published with, and what may be left of it.
struct Network {
    file: &'static str,
    /// Inputs are in [0, scale).
    scale: f32,
    macs: u64,
    /// Most MACs and weights after all passes.
    left: (u64, u64),
}

const NETWORKS: [Network; 4] = [
    Network {
        file: "ic_resnet8.onnx",
        scale: 255.0,
        macs: 12_501_632,
        left: (12_501_632, 77_360),
    },
    Network {
        file: "kws_dscnn.onnx",
        scale: 10.0,
        macs: 2_656_768,
        left: (2_656_768, 22_016),
    },
    Network {
        file: "vww_mobilenetv1_025_96.onnx",
        scale: 1.0,
        macs: 7_489_664,
        left: (3_768_254, 31_292),
    },
    Network {
        file: "ad_autoencoder.onnx",
        scale: 10.0,
        macs: 264_192,
        left: (264_192, 264_192),
    },
];

#[test]
fn mlperf_tiny() {
    let Some(folder) = folder() else { return };
    for Network {
        file: name,
        scale,
        macs,
        left,
    } in NETWORKS
    {
        let path = folder.join(name);
        let graph = import::load(&path).unwrap();
        assert_eq!(stats(&graph).macs, macs, "{name}");
        let oracle = Oracle::load(&path).unwrap();
        let (small, report) = passes::optimize(graph.clone());
        ir::infer::check_graph(&small).unwrap();
        println!("{name}: {report:#?}");
        for seed in 0..8 {
            let x = inputs(&graph, seed, scale);
            let want = oracle.run(&x).unwrap();
            let plain = run(&graph, &x, false);
            assert!(
                difference(&plain, &want) < 1e-4,
                "{name}: {}",
                difference(&plain, &want)
            );
            let start = std::time::Instant::now();
            let optimized = run(&small, &x, false);
            println!("{name}: {:?}", start.elapsed());
            assert!(difference(&optimized, &want) < 1e-4, "{name} optimized");
            assert!(
                difference(&optimized, &plain) < 2e-6,
                "{name}: {}",
                difference(&optimized, &plain)
            );
        }
        let small = stats(&small);
        assert!(
            small.macs <= left.0 && small.weights <= left.1,
            "{name}: {small:?}"
        );
    }
}

/// The committed example networks, among them PyTorch, Keras and quantized (QDQ) ones.
#[test]
fn example_models() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/models");
    let files = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = files
        .filter(|p| p.extension().is_some_and(|e| e == "onnx"))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "examples/models holds no .onnx file");
    for path in files {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let graph = import::load(&path).unwrap();
        let quantized = graph
            .values
            .iter()
            .any(|v| v.constant.is_none() && v.quant.is_some());
        let oracle = Oracle::load(&path).unwrap();
        let (small, report) = passes::optimize(graph.clone());
        ir::infer::check_graph(&small).unwrap();
        println!(
            "{name}: {:?}, quantized: {quantized}, {report:#?}",
            stats(&small)
        );
        for seed in 0..3 {
            let x = inputs(&graph, seed, 1.0);
            let want = oracle.run(&x).unwrap();
            let plain = difference(&run(&graph, &x, quantized), &want);
            let optimized = difference(&run(&small, &x, quantized), &want);
            // A code that lies on a rounding boundary may fall to the other side.
            let limit = if quantized { 0.05 } else { 1e-4 };
            assert!(
                plain < limit && optimized < limit,
                "{name}: {plain} and {optimized} optimized"
            );
        }
    }
}
