//! Write the starting corpus of the fuzz target: one small artifact per operator kind and shape of operand.
//!
//! `fuzz_seeds FOLDER`

use elastiq_quant::Samples;
use elastiq_quant::compile::{CompileOptions, VariantOptions, compile_variants};
use elastiq_quant::import;
use elastiq_quant::lower::format::{Coding, Formats, WeightFormat};
use elastiq_quant::pack::without_meta;
use elastiq_tests::networks::Network;
use elastiq_tests::{download, networks, onnx, pipeline};
use ndarray::Axis;
use std::path::Path;
use std::process::ExitCode;

/// Larger artifacts slow the fuzzer down more than they show it.
const LARGEST: usize = 8 << 10;

fn main() -> ExitCode {
    let Some(folder) = std::env::args_os().nth(1) else {
        eprintln!("usage: fuzz_seeds FOLDER");
        return ExitCode::from(2);
    };
    match write_all(Path::new(&folder)) {
        Ok(count) => {
            println!("{count} seeds");
            ExitCode::SUCCESS
        }
        Err(text) => {
            eprintln!("fuzz_seeds: {text}");
            ExitCode::FAILURE
        }
    }
}

/// The network with nested weights of two widths.
fn elastic(network: &Network) -> Result<Vec<u8>, elastiq_quant::Error> {
    let variant = |bits: u8| VariantOptions {
        name: bits.to_string(),
        weights: Formats {
            default: WeightFormat {
                bits,
                coding: Coding::Nested,
                ..Default::default()
            },
            ..Default::default()
        },
        ..Default::default()
    };
    let graph = import::load(&network.file)?;
    let options = CompileOptions {
        verify_samples: 1,
        ..Default::default()
    };
    let all = [variant(5), variant(2)];
    let compiled = compile_variants(
        graph,
        &network.name,
        &network.calib,
        &all,
        &options,
        &mut |_, _, _| {},
    )?;
    without_meta(&compiled.bytes)
}

fn write_all(folder: &Path) -> Result<usize, String> {
    let mut count = 0;
    let mut write = |name: &str, bytes: &[u8]| {
        if bytes.len() > LARGEST {
            return Ok(());
        }
        count += 1;
        let path = folder.join(name);
        std::fs::write(&path, bytes).map_err(|e| format!("{}: {e}", path.display()))
    };
    for network in networks::examples(1) {
        let built = pipeline::build(&network.file, &network.calib).map_err(|e| e.to_string())?;
        write(&network.name, &built.bytes)?;
        let elastic = elastic(&network).map_err(|e| e.to_string())?;
        write(&format!("{}-variants", network.name), &elastic)?;
    }
    let wheel = download::wheel(&download::ONNX)?;
    let files = download::files(&wheel, |name| name.contains("/backend/test/data/node/"))?;
    let file = folder.join("node.onnx");
    for case in onnx::node_cases(files)? {
        for variant in case.variants() {
            let (bytes, Some(inputs)) = case.file(&variant) else {
                continue;
            };
            std::fs::write(&file, bytes).map_err(|e| format!("{}: {e}", file.display()))?;
            // Tests that the importer does not take are no seeds.
            if import::load(&file).is_err() {
                continue;
            }
            let samples =
                Samples::new(inputs.into_iter().map(|x| x.insert_axis(Axis(0))).collect());
            if let Ok(built) = pipeline::build(&file, &samples) {
                let operands: Vec<String> = variant.0.iter().map(usize::to_string).collect();
                write(
                    &format!("{}-{}", case.name, operands.join("-")),
                    &built.bytes,
                )?;
            }
        }
    }
    std::fs::remove_file(&file).map_err(|e| format!("{}: {e}", file.display()))?;
    Ok(count)
}
