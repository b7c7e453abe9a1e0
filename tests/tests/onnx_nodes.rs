//! The operator tests of ONNX itself, on the integer runtime.
//!
//! Every operand of a node test is a graph input. Each test is tried with all of them as inputs, and with each
//! float operand as the only input and the others as constants, the way weights are in a real network. What
//! the importer accepts must give the expected output within a bound that follows from the quantization scales
//! (`elastiq_tests::bound`); what it does not accept it must refuse with an error that names the place.

use elastiq::{Engine, OpSet};
use elastiq_quant::ir::{Graph, exec};
use elastiq_quant::{Error, Samples, import};
use elastiq_tests::onnx::{NodeCase, Variant, node_cases, numbers};
use elastiq_tests::{bound, download, pipeline};
use ndarray::{ArrayD, Axis};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Fewer passing tests than this mean that something is refused which was not before.
const PASSED_FLOOR: usize = 245;

/// The importer's float result may differ from the expected one by this share of the largest value, as in the runner
/// of ONNX.
const FLOAT_TOLERANCE: f32 = 1e-3;

/// A bound is tight that is at most this share of the output's range, five of 256 codes.
const TIGHT: f32 = 0.02;
/// Fewer runs with a tight bound would mean that the suite proves little.
const TIGHT_FLOOR: usize = 270;

enum Outcome {
    /// Largest error as a share of its bound, largest bound as a share of the output's range.
    Passed {
        used: f32,
        bound: f32,
    },
    Refused(String),
    Failed(String),
}

#[test]
fn every_node_test_is_right_within_its_bound_or_refused() {
    let wheel = download::wheel(&download::ONNX).unwrap_or_else(|e| panic!("{e}"));
    let files = download::files(&wheel, |name| name.contains("/backend/test/data/node/"));
    let cases =
        node_cases(files.unwrap_or_else(|e| panic!("{e}"))).unwrap_or_else(|e| panic!("{e}"));
    assert!(
        cases.len() >= 1400,
        "the wheel holds {} node tests",
        cases.len()
    );

    let next = AtomicUsize::new(0);
    let results = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for thread in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            let (cases, next, results) = (&cases, &next, &results);
            scope.spawn(move || {
                let file =
                    Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("node{thread}.onnx"));
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let outcomes: Vec<Outcome> = case
                        .variants()
                        .iter()
                        .map(|v| guarded(case, v, &file))
                        .collect();
                    results
                        .lock()
                        .unwrap_or_else(|e| e.into_inner())
                        .insert(case.name.clone(), outcomes);
                }
            });
        }
    });
    let results = results.into_inner().unwrap_or_else(|e| e.into_inner());
    report(&cases, &results);
}

/// Print the counts and check them.
fn report(cases: &[NodeCase], results: &BTreeMap<String, Vec<Outcome>>) {
    let (mut passed, mut runs, mut tight, mut worst) = (0, 0, 0, 0.0f32);
    let mut refused: BTreeMap<String, usize> = BTreeMap::new();
    let mut failed = Vec::new();
    for case in cases {
        let outcomes = &results[&case.name];
        let mut ran = false;
        for outcome in outcomes {
            match outcome {
                Outcome::Passed { used, bound } => {
                    ran = true;
                    runs += 1;
                    tight += usize::from(*bound <= TIGHT);
                    worst = worst.max(*used);
                }
                Outcome::Failed(text) => failed.push(format!("{}: {text}", case.name)),
                Outcome::Refused(_) => {}
            }
        }
        if ran {
            passed += 1;
        } else if let Some(Outcome::Refused(_)) = outcomes.first() {
            *refused.entry(case.operator()).or_default() += 1;
        }
        if std::env::var_os("ELASTIQ_VERBOSE").is_some() {
            for (outcome, variant) in outcomes.iter().zip(case.variants()) {
                let text = match outcome {
                    Outcome::Passed { used, bound } => {
                        format!("passed, {used:.2} of the bound, bound {bound:.3} of the range")
                    }
                    Outcome::Refused(text) => format!("refused: {text}"),
                    Outcome::Failed(text) => format!("FAILED: {text}"),
                };
                println!("{} inputs {:?}: {text}", case.name, variant.0);
            }
        }
    }
    let list: Vec<String> = refused
        .iter()
        .map(|(operator, n)| format!("{operator} {n}"))
        .collect();
    println!("refused, by operator of the test: {}", list.join(", "));
    let refusals: usize = refused.values().sum();
    println!(
        "{runs} runs, {tight} of them with a bound of at most {TIGHT} of the output's range; the largest error is {worst:.2} of its bound"
    );
    println!(
        "node tests: {passed} passed, {refusals} refused, {} failed",
        failed.len()
    );
    assert!(
        failed.is_empty(),
        "{} failed:\n{}",
        failed.len(),
        failed.join("\n")
    );
    assert!(
        tight >= TIGHT_FLOOR,
        "{tight} tight bounds, {TIGHT_FLOOR} were expected"
    );
    assert!(
        passed >= PASSED_FLOOR,
        "{passed} passed, {PASSED_FLOOR} were expected"
    );
}

/// [`attempt`], where a panic is a failure.
fn guarded(case: &NodeCase, variant: &Variant, file: &Path) -> Outcome {
    match catch_unwind(AssertUnwindSafe(|| attempt(case, variant, file))) {
        Ok(outcome) => outcome,
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text
                .or_else(|| panic.downcast_ref::<&str>().copied())
                .unwrap_or("no text");
            Outcome::Failed(format!("inputs {:?}: panic: {text}", variant.0))
        }
    }
}

fn attempt(case: &NodeCase, variant: &Variant, file: &Path) -> Outcome {
    let failed = |text: String| Outcome::Failed(format!("inputs {:?}: {text}", variant.0));
    let (bytes, inputs) = case.file(variant);
    std::fs::write(file, bytes).expect("target is writable");
    let graph = match import::load(file) {
        Ok(graph) => graph,
        Err(error) => {
            return refusal(&error).unwrap_or_else(|| failed(format!("not a refusal: {error}")));
        }
    };
    let Some(inputs) = inputs else {
        return failed("accepts an input that is no float tensor".into());
    };
    let expected: Option<Vec<ArrayD<f32>>> = case
        .outputs
        .iter()
        .map(|t| t.as_ref().and_then(numbers))
        .collect();
    let Some(expected) = expected else {
        return failed("imports, but the expected output is no tensor of numbers".into());
    };
    if let Some(text) = float_difference(&graph, &inputs, &expected) {
        return failed(format!("float import: {text}"));
    }
    let samples = Samples::new(
        inputs
            .iter()
            .map(|x| x.clone().insert_axis(Axis(0)))
            .collect(),
    );
    let built = match pipeline::build(file, &samples) {
        Ok(built) => built,
        Err(error) => {
            return refusal(&error).unwrap_or_else(|| failed(format!("not a refusal: {error}")));
        }
    };
    if let Some(text) = float_difference(&built.graph, &inputs, &expected) {
        return failed(format!("float passes: {text}"));
    }
    let ir = in_ir_layout(&built.graph, &inputs);
    let engine = match Engine::<{ OpSet::ALL }>::new(&built.bytes) {
        Ok(engine) => engine,
        Err(error) => return failed(format!("the artifact does not load: {error:?}")),
    };
    let codes = pipeline::quantize(engine.model(), &ir);
    let outputs = match pipeline::run(&engine, &codes, &mut |_, _| {}) {
        Ok(outputs) => outputs,
        Err(text) => return failed(text),
    };
    let got = pipeline::dequantize(engine.model(), &built.graph, &outputs);
    let grids = built.grids();
    let bounds = bound::bounds(&built.graph, &ir, &|v| grids.get(&v).copied());
    let (mut used, mut loosest) = (0.0f32, 0.0f32);
    for ((port, got), want) in built.graph.outputs.iter().zip(&got).zip(&expected) {
        let bound = exec::from_ir_layout(port, &bounds.error[&port.value]);
        let slack = largest(want) * FLOAT_TOLERANCE;
        let limit: Vec<f32> = bound.iter().map(|b| b + slack).collect();
        if let Some(text) = compare(got, want, |i| limit[i]) {
            return failed(text);
        }
        let range =
            want.iter().fold(0.0f32, |m, v| m.max(*v)) - want.iter().fold(0.0f32, |m, v| m.min(*v));
        for ((g, w), l) in got.iter().zip(want).zip(&limit) {
            used = used.max(if g == w { 0.0 } else { (g - w).abs() / l });
            loosest = loosest.max(if range > 0.0 { l / range } else { 0.0 });
        }
    }
    Outcome::Passed {
        used,
        bound: loosest,
    }
}

/// First difference between the float execution of `graph` and the expected outputs.
fn float_difference(
    graph: &Graph,
    inputs: &[ArrayD<f32>],
    expected: &[ArrayD<f32>],
) -> Option<String> {
    let outputs = exec::run(graph, &in_ir_layout(graph, inputs), &mut |_, _| {});
    graph
        .outputs
        .iter()
        .zip(&outputs)
        .zip(expected)
        .find_map(|((port, got), want)| {
            let near = largest(want) * FLOAT_TOLERANCE;
            compare(&exec::from_ir_layout(port, got), want, |_| near)
        })
}

fn in_ir_layout(graph: &Graph, inputs: &[ArrayD<f32>]) -> Vec<ArrayD<f32>> {
    graph
        .inputs
        .iter()
        .zip(inputs)
        .map(|(port, x)| exec::to_ir_layout(port, x))
        .collect()
}

/// A refusal is one line about the file, a node or the data; an internal error or an unreadable file is a failure.
fn refusal(error: &Error) -> Option<Outcome> {
    let line = error.to_string();
    let refused = !line.is_empty() && !line.contains('\n') && !line.contains("internal error");
    refused.then_some(Outcome::Refused(line))
}

/// `None` where all elements agree within `limit`, else the first difference.
fn compare(got: &ArrayD<f32>, want: &ArrayD<f32>, limit: impl Fn(usize) -> f32) -> Option<String> {
    if got.shape() != want.shape() {
        return Some(format!(
            "shape {:?}, expected {:?}",
            got.shape(),
            want.shape()
        ));
    }
    let mut pairs = got.iter().zip(want).enumerate();
    let far = |i: usize, g: f32, w: f32| {
        let equal = g == w || (g.is_nan() && w.is_nan());
        !equal && ((g - w).is_nan() || (g - w).abs() > limit(i))
    };
    let (i, (g, w)) = pairs.find(|(i, (g, w))| far(*i, **g, **w))?;
    Some(format!(
        "element {i} of {:?} is {g}, expected {w}, bound {}",
        want.shape(),
        limit(i)
    ))
}

fn largest(x: &ArrayD<f32>) -> f32 {
    x.iter().fold(f32::MIN_POSITIVE, |m, v| m.max(v.abs()))
}
