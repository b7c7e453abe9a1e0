//! ONNX file to artifact in one call.

mod variants;

pub use variants::{VariantOptions, VariantReport, compile_variants};

use crate::calibrate::{Method, Ranges};
use crate::import;
use crate::io::Ports;
use crate::ir::Graph;
use crate::lower::format::Formats;
use crate::lower::given::Given;
use crate::lower::{LOp, Lowered};
use crate::pack::{coding_name, kind_name};
use crate::verify::Verification;
use crate::{Error, Samples};
use elastiq::format::OpRow;
use elastiq::{Backend, Engine, Model, OpSet};
use serde::Serialize;
use std::path::Path;

/// Choices of a compilation.
#[derive(Clone, Debug)]
pub struct CompileOptions {
    /// How activation ranges are chosen.
    pub method: Method,
    /// Width and coding of the weights.
    pub weights: Formats,
    /// Quantization of layers and activations that is decided already.
    pub given: Given,
    /// Kernels that the artifact is aimed at; it runs on all others too, slower.
    pub backend: Backend,
    /// Remove channels that are constant.
    pub dead_channels: bool,
    /// Class names of the first output.
    pub labels: Vec<String>,
    /// Recorded runs that travel in the artifact.
    pub self_test_cases: usize,
    /// Shapes of inputs that the file leaves open, by name.
    pub input_shapes: Vec<(String, Vec<usize>)>,
    /// Calibration samples, taken evenly, that the result is compared with the float network on.
    pub verify_samples: usize,
    /// Samples to compare on in place of those, all of them.
    pub verify_on: Option<Samples>,
}

impl Default for CompileOptions {
    fn default() -> Self {
        CompileOptions {
            method: Method::default(),
            weights: Formats::default(),
            given: Given::default(),
            backend: Backend::Dsp,
            dead_channels: true,
            labels: Vec::new(),
            self_test_cases: 1,
            input_shapes: Vec::new(),
            verify_samples: 64,
            verify_on: None,
        }
    }
}

/// A finished artifact.
#[derive(Clone, Debug)]
pub struct Compiled {
    pub bytes: Vec<u8>,
    pub report: CompileReport,
    /// The float network after passes, which the integers approximate.
    pub graph: Graph,
}

/// What a compilation found out; keys of the command line's `--json`.
#[derive(Clone, Debug, Serialize)]
pub struct CompileReport {
    pub model: String,
    pub arena_bytes: usize,
    /// Bytes that no placement can do without.
    pub arena_bound_bytes: usize,
    /// Part of `arena_bytes` that exists only because of scratch.
    pub scratch_bytes: usize,
    pub weights_bytes: usize,
    pub file_bytes: usize,
    pub macs: u64,
    pub macs_imported: u64,
    pub layers: Vec<LayerReport>,
    /// One line per pass that changed something.
    pub passes: Vec<String>,
    pub calibration_samples: usize,
    pub self_test_cases: usize,
    /// Comparison with the float network.
    pub output: Verification,
    /// Every operating point, where there are several; `layers` and `output` are those of the first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub variants: Vec<VariantReport>,
}

/// One operator of the artifact.
#[derive(Clone, Debug, Serialize)]
pub struct LayerReport {
    pub name: String,
    /// Integer operator.
    pub op: String,
    pub macs: u64,
    /// Bits per weight, 0 without weights.
    pub bits: u8,
    /// Weight coding, `-` without weights.
    pub coding: String,
    pub weights_bytes: usize,
    pub out_shape: [u32; 4],
    /// Signal to quantization noise of the output, dB.
    pub sqnr_db: Option<f64>,
}

/// Progress: stage, steps done, steps in the stage.
pub type Progress<'a> = dyn FnMut(&str, usize, usize) + 'a;

/// Compile the ONNX file `model`, calibrated with `calib`.
///
/// # Errors
/// One line that names the file, and the node, channel or input that is the reason.
pub fn compile(
    model: &Path,
    calib: &Samples,
    opts: &CompileOptions,
    progress: &mut Progress,
) -> Result<Compiled, Error> {
    check(&opts.weights)?;
    progress("import", 0, 1);
    let options = import::Options {
        input_shapes: opts.input_shapes.clone(),
    };
    let imported = import::load_with(model, &options)?;
    progress("import", 1, 1);
    let source = model
        .file_name()
        .map(|n| n.to_string_lossy().into_owned())
        .unwrap_or_default();
    compile_graph(imported, &source, calib, opts, progress).map_err(|e| e.within(&source))
}

/// Compile a network that is already in memory; `source` is its name in reports.
///
/// # Errors
/// As [`compile`], without the name of the file.
pub fn compile_graph(
    imported: Graph,
    source: &str,
    calib: &Samples,
    opts: &CompileOptions,
    progress: &mut Progress,
) -> Result<Compiled, Error> {
    let given = &mut |_: &Graph, _: &Ranges, _: &mut Progress| Ok(opts.given.clone());
    compile_deciding(imported, source, calib, opts, given, progress)
}

/// What decides a quantization, for the network after passes and its calibrated ranges.
pub type Decide<'a> = dyn FnMut(&Graph, &Ranges, &mut Progress) -> Result<Given, crate::Error> + 'a;

/// Compile a network that is already in memory, with a quantization that `decide` chooses once the network is
/// calibrated; it takes the place of [`CompileOptions::given`].
///
/// # Errors
/// As [`compile_graph`], and what `decide` refuses.
pub fn compile_deciding(
    imported: Graph,
    source: &str,
    calib: &Samples,
    opts: &CompileOptions,
    decide: &mut Decide,
    progress: &mut Progress,
) -> Result<Compiled, Error> {
    let points = &mut |graph: &Graph, ranges: &Ranges, progress: &mut Progress| {
        Ok(vec![VariantOptions {
            name: String::new(),
            weights: opts.weights.clone(),
            given: decide(graph, ranges, progress)?,
        }])
    };
    variants::build(imported, source, calib, opts, points, progress)
}

fn check(weights: &Formats) -> Result<(), Error> {
    let formats = [&weights.default]
        .into_iter()
        .chain(weights.by_layer.values());
    match formats.map(|f| f.bits).find(|bits| !(2..=8).contains(bits)) {
        Some(bits) => Err(Error::input(format!(
            "weights of {bits} bits are not supported, only 2 to 8"
        ))),
        None => Ok(()),
    }
}

/// Input bytes and expected output bytes of a recorded run.
type Case = (Vec<u8>, Vec<u8>);

/// Inputs and the outputs of all variants of the first samples, computed by the runtime itself.
fn self_test(
    graph: &Graph,
    bytes: &[u8],
    samples: &Samples,
    cases: usize,
) -> Result<Vec<Case>, Error> {
    let failed =
        |e: &dyn std::fmt::Debug| Error::input(format!("internal error: self test: {e:?}"));
    let mut engine = Engine::<{ OpSet::ALL }>::new(bytes).map_err(|e| failed(&e))?;
    let ports = Ports::of(engine.model())?;
    let mut arena = vec![0; engine.model().arena_len()];
    let mut found = Vec::new();
    for i in 0..cases.min(samples.len()) {
        let (mut input, mut outputs) = (Vec::new(), Vec::new());
        for variant in 0..engine.variants() {
            engine.select(variant).map_err(|e| failed(&e))?;
            let mut session = engine.start(&mut arena).map_err(|e| failed(&e))?;
            // With the scales of the first: a case has one input.
            input = ports.feed(&mut session, &samples.file_item(graph, i))?;
            session.finish().map_err(|e| failed(&e))?;
            let output = (0..ports.outputs()).map(|k| session.output(k).unwrap_or_default());
            outputs.extend(output.flatten());
        }
        found.push((input, outputs));
    }
    Ok(found)
}

fn layers(net: &Lowered, model: &Model, checked: &Verification) -> Vec<LayerReport> {
    let layer = |(i, (op, row)): (usize, (&LOp, &OpRow))| LayerReport {
        name: op.name.clone(),
        op: kind_name(op.kind).to_owned(),
        macs: op.macs,
        bits: op.weights.bits,
        coding: match row.bits {
            0 => "-".to_owned(),
            bits => coding_name(row.coding, bits),
        },
        weights_bytes: row.weights.len.get() as usize,
        out_shape: net.tensors[op.out].dims,
        sqnr_db: checked.layers.get(i).copied().flatten(),
    };
    let rows = net.ops.iter().zip(model.steps());
    rows.enumerate().map(layer).collect()
}
