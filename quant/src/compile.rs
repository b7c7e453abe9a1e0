//! ONNX file to artifact in one call.

use crate::calibrate::{Method, Ranges, calibrate};
use crate::import;
use crate::io::Ports;
use crate::ir::{self, Graph, passes};
use crate::lower::format::Formats;
use crate::lower::given::Given;
use crate::lower::{Lowered, lower};
use crate::pack::{Extras, coding_name, kind_name, pack};
use crate::plan::{Plan, merge_in_place, plan};
use crate::verify::{Verification, verify};
use crate::{Error, Samples};
use elastiq::format::OpRow;
use elastiq::{Backend, Engine, OpSet};
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
    check(opts)?;
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
    check(opts)?;
    let macs_imported = ir::stats(&imported).macs;
    let chosen: &[passes::Pass] = match opts.dead_channels {
        true => &passes::PASSES,
        false => &passes::PASSES_KEEPING_CHANNELS,
    };
    let (graph, notes) = passes::optimize_with(imported, chosen);
    let ranges = calibrate(&graph, calib, opts.method, &mut |done, total| {
        progress("calibrate", done, total)
    })?;
    let given = decide(&graph, &ranges, progress)?;
    let mut net = lower(&graph, &ranges, &opts.weights, &given)?;
    merge_in_place(&mut net);
    let plan = plan(&net, opts.backend);
    let mut extras = Extras {
        source: source.to_owned(),
        macs_imported,
        labels: opts.labels.clone(),
        self_test: Vec::new(),
    };
    let mut bytes = pack(&net, &plan, &graph, &extras)?;
    if opts.self_test_cases > 0 {
        extras.self_test = self_test(&graph, &bytes, calib, opts.self_test_cases)?;
        bytes = pack(&net, &plan, &graph, &extras)?;
    }
    let subset;
    let samples = match &opts.verify_on {
        Some(samples) => samples,
        None => {
            subset = calib.evenly(opts.verify_samples);
            &subset
        }
    };
    let output = verify(&graph, &net, &bytes, samples, &mut |done, total| {
        progress("verify", done, total)
    })?;
    let mut report = report(&net, &plan, &bytes, &output)?;
    report.model = source.to_owned();
    report.macs_imported = macs_imported;
    report.passes = notes;
    report.calibration_samples = calib.len();
    report.self_test_cases = extras.self_test.len();
    report.output = output;
    Ok(Compiled {
        bytes,
        report,
        graph,
    })
}

fn check(opts: &CompileOptions) -> Result<(), Error> {
    let formats = [&opts.weights.default]
        .into_iter()
        .chain(opts.weights.by_layer.values());
    match formats.map(|f| f.bits).find(|bits| !(2..=8).contains(bits)) {
        Some(bits) => Err(Error::input(format!(
            "weights of {bits} bits are not supported, only 2 to 8"
        ))),
        None => Ok(()),
    }
}

/// Input bytes and expected output bytes of a recorded run.
type Case = (Vec<u8>, Vec<u8>);

/// Inputs and outputs of the first samples, computed by the runtime itself.
fn self_test(
    graph: &Graph,
    bytes: &[u8],
    samples: &Samples,
    cases: usize,
) -> Result<Vec<Case>, Error> {
    let failed =
        |e: &dyn std::fmt::Debug| Error::input(format!("internal error: self test: {e:?}"));
    let engine = Engine::<{ OpSet::ALL }>::new(bytes).map_err(|e| failed(&e))?;
    let ports = Ports::of(engine.model())?;
    let mut arena = vec![0; engine.model().arena_len()];
    let mut found = Vec::new();
    for i in 0..cases.min(samples.len()) {
        let mut session = engine.start(&mut arena).map_err(|e| failed(&e))?;
        let input = ports.feed(&mut session, &samples.file_item(graph, i))?;
        session.finish().map_err(|e| failed(&e))?;
        let output = (0..ports.outputs())
            .flat_map(|k| session.output(k).unwrap_or_default().to_vec())
            .collect();
        found.push((input, output));
    }
    Ok(found)
}

fn report(
    net: &Lowered,
    plan: &Plan,
    bytes: &[u8],
    checked: &Verification,
) -> Result<CompileReport, Error> {
    let model =
        elastiq::Model::parse(bytes).map_err(|e| Error::input(format!("artifact: {e:?}")))?;
    let layer = |(i, (op, row)): (usize, (&crate::lower::LOp, &OpRow))| LayerReport {
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
    Ok(CompileReport {
        model: String::new(),
        arena_bytes: plan.arena_len,
        arena_bound_bytes: plan.bound,
        scratch_bytes: plan.scratch_len,
        weights_bytes: model.weights().len(),
        file_bytes: bytes.len(),
        macs: net.ops.iter().map(|op| op.macs).sum(),
        macs_imported: 0,
        layers: net
            .ops
            .iter()
            .zip(model.ops())
            .enumerate()
            .map(layer)
            .collect(),
        passes: Vec::new(),
        calibration_samples: 0,
        self_test_cases: 0,
        output: Verification::default(),
    })
}
