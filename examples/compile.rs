//! From an ONNX file and some samples to an artifact, and one run of it, without the command line.
//!
//! ```sh
//! cargo run -p elastiq-examples --example compile
//! ```

use elastiq::{Engine, OpSet};
use elastiq_quant::Samples;
use elastiq_quant::compile::{CompileOptions, Compiled, compile};
use elastiq_quant::io::{dequantize_output, quantize_input};
use ndarray::{Array, ArrayD, Axis};
use smartcore::dataset::digits::load_dataset;
use std::error::Error;
use std::path::Path;

/// The digits as `[n, 1, 8, 8]` in 0..=1, and their classes.
fn digits() -> Result<(ArrayD<f32>, Vec<u32>), Box<dyn Error>> {
    let data = load_dataset();
    let x = Array::from_vec(data.data).mapv(|v| v / 16.0);
    let x = x.into_shape_with_order([data.num_samples, 1, 8, 8])?;
    let classes = data.target.iter().map(|&class| class as u32).collect();
    Ok((x.into_dyn(), classes))
}

/// Calibrate with the first thousand digits.
fn artifact(x: &ArrayD<f32>) -> Result<Compiled, Box<dyn Error>> {
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/digits_resnet.onnx");
    let first = x.slice_axis(Axis(0), (0..1000).into()).to_owned();
    let samples = Samples::new(vec![first]);
    let options = CompileOptions::default();
    Ok(compile(&model, &samples, &options, &mut |_, _, _| {})?)
}

/// Class of sample `i`.
fn classify(bytes: &[u8], x: &ArrayD<f32>, i: usize) -> Result<u32, Box<dyn Error>> {
    let engine = Engine::<{ OpSet::ALL }>::new(bytes)?;
    let model = engine.model();
    let image = x.index_axis(Axis(0), i).insert_axis(Axis(0)).to_owned();
    let mut arena = vec![0; model.arena_len()];
    let mut session = engine.start(&mut arena)?;
    let codes = quantize_input(model, 0, &image)?;
    session
        .input_mut(0)
        .ok_or("no input")?
        .copy_from_slice(&codes);
    session.finish()?;
    let logits = dequantize_output(model, 0, session.output(0).ok_or("no output")?)?;
    let best = logits.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1));
    Ok(best.ok_or("empty output")?.0 as u32)
}

fn main() -> Result<(), Box<dyn Error>> {
    let (x, y) = digits()?;
    let compiled = artifact(&x)?;
    println!(
        "{} bytes, arena {} (at least {})",
        compiled.bytes.len(),
        compiled.report.arena_bytes,
        compiled.report.arena_bound_bytes
    );
    let class = classify(&compiled.bytes, &x, 1796)?;
    println!("sample 1796 is a {class}, labelled {}", y[1796]);
    Ok(())
}

#[test]
fn most_digits_are_right() {
    let (x, y) = digits().unwrap();
    let bytes = artifact(&x).unwrap().bytes;
    let right = (1000..1797)
        .filter(|&i| classify(&bytes, &x, i).unwrap() == y[i])
        .count();
    assert!(right >= 780, "{right} of 797");
}
