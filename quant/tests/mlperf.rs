//! The MLPerf Tiny networks, where ELASTIQ_MLPERF_TINY names the folder that holds them.

use elastiq_quant::Samples;
use elastiq_quant::compile::{CompileOptions, CompileReport, Compiled, compile};
use elastiq_quant::import;
use ndarray::{ArrayD, Axis, Slice};
use ndarray_npy::NpzReader;
use std::fs::File;
use std::path::PathBuf;
use std::time::Instant;

/// The folder, or `None` with a line that says so.
fn folder() -> Option<PathBuf> {
    let found = std::env::var_os("ELASTIQ_MLPERF_TINY").map(PathBuf::from);
    if found.is_none() {
        eprintln!("skipped: ELASTIQ_MLPERF_TINY is not set");
    }
    found
}

fn npz(path: PathBuf) -> Samples {
    let mut file = NpzReader::new(File::open(path).unwrap()).unwrap();
    let x: ArrayD<f32> = file.by_name("x").unwrap();
    let y: ArrayD<i64> = file.by_name("y").unwrap();
    Samples::new(vec![x]).with_labels(y.iter().copied().collect())
}

fn timed(file: &str, calib: &Samples, opts: &CompileOptions) -> Compiled {
    let path = folder().unwrap().join(file);
    let start = Instant::now();
    let compiled = compile(&path, calib, opts, &mut |_, _, _| {}).unwrap();
    let r = &compiled.report;
    eprintln!(
        "{file}: arena {} (bound {}), weights {}, file {}, macs {} of {}, {:?} dB, agree {:?}, {:.2?}",
        r.arena_bytes,
        r.arena_bound_bytes,
        r.weights_bytes,
        r.file_bytes,
        r.macs,
        r.macs_imported,
        r.output.sqnr_db,
        r.output.agree,
        start.elapsed()
    );
    r.passes.iter().for_each(|line| eprintln!("  {line}"));
    for l in &r.layers {
        eprintln!(
            "  {:<12} {:>9} {:?} {:?} {}",
            l.op, l.macs, l.out_shape, l.sqnr_db, l.name
        );
    }
    compiled
}

fn synthetic(file: &str, n: usize, lo: f32, hi: f32) -> Samples {
    let graph = import::load(&folder().unwrap().join(file)).unwrap();
    Samples::synthetic(&graph, n, 1, lo, hi)
}

/// The arena is as small as it can be: activations alone, and with the scratch that raises it by 4 KiB at most.
fn arena(report: &CompileReport, activations: usize) {
    assert_eq!(report.arena_bytes, report.arena_bound_bytes);
    assert_eq!(report.arena_bytes - report.scratch_bytes, activations);
    assert!(report.scratch_bytes <= 4096, "{}", report.scratch_bytes);
}

#[test]
fn keyword_spotting_keeps_its_accuracy() {
    let Some(folder) = folder() else { return };
    let calib = npz(folder.join("kws_calib.npz"));
    let compiled = timed("kws_dscnn.onnx", &calib, &CompileOptions::default());
    arena(&compiled.report, 16_000);
    let dev = npz(folder.join("kws_dev.npz"));
    let top1 = top1(&compiled.bytes, &dev);
    eprintln!("kws_dev top-1 {top1:.4}");
    assert!((top1 - 0.9167).abs() <= 0.015, "top-1 {top1}");
}

/// Share of samples whose largest output is the label, by the runtime and the artifact alone.
fn top1(bytes: &[u8], data: &Samples) -> f64 {
    let engine = elastiq::Engine::<{ elastiq::OpSet::ALL }>::new(bytes).unwrap();
    let model = engine.model();
    let ports = elastiq_quant::io::Ports::of(model).unwrap();
    let mut arena = vec![0; model.arena_len()];
    let labels = data.labels.as_ref().unwrap();
    let hits = data.inputs[0]
        .axis_iter(Axis(0))
        .zip(labels)
        .filter(|(x, label)| {
            let input: Vec<i8> = ports
                .quantize(0, &x.to_owned())
                .unwrap()
                .into_iter()
                .map(|b| b as i8)
                .collect();
            let mut output = vec![0i8; model.header().output_len.get() as usize];
            engine.run(&mut arena, &input, &mut output).unwrap();
            let bytes: Vec<u8> = output.iter().map(|&c| c as u8).collect();
            let y = ports.dequantize(0, &bytes).unwrap();
            elastiq_quant::verify::argmax(y.as_slice().unwrap()) as i64 == **label
        });
    hits.count() as f64 / labels.len() as f64
}

#[test]
fn image_classification_reaches_its_bound() {
    if folder().is_none() {
        return;
    }
    let calib = synthetic("ic_resnet8.onnx", 20, 0.0, 255.0);
    let compiled = timed("ic_resnet8.onnx", &calib, &CompileOptions::default());
    arena(&compiled.report, 49_152);
    assert_eq!(compiled.report.macs_imported, 12_501_632);
}

#[test]
fn person_detection_reaches_its_bound() {
    if folder().is_none() {
        return;
    }
    let calib = synthetic("vww_mobilenetv1_025_96.onnx", 20, 0.0, 1.0);
    let compiled = timed(
        "vww_mobilenetv1_025_96.onnx",
        &calib,
        &CompileOptions::default(),
    );
    arena(&compiled.report, 55_296);
}

#[test]
fn anomaly_detection_reaches_its_bound() {
    if folder().is_none() {
        return;
    }
    let mut calib = synthetic("ad_autoencoder.onnx", 64, -1.0, 1.0);
    calib.inputs[0]
        .slice_axis_mut(Axis(0), Slice::from(..))
        .mapv_inplace(|v| 10.0 * v - 15.0);
    let compiled = timed("ad_autoencoder.onnx", &calib, &CompileOptions::default());
    arena(&compiled.report, 768);
    assert_eq!(compiled.report.macs, 264_192);
}
