//! Bytes that are predicted, against artifacts that are made.

use super::{Artifacts, Form, Sizes};
use crate::Samples;
use crate::compile::{CompileOptions, Compiled, compile_graph};
use crate::ir::Graph;
use crate::lower::format::{Formats, WeightFormat};
use crate::train::describe::describe;
use elastiq::Backend;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// A convolution, one that takes its columns in place, a depthwise one and dense layers, of odd sizes.
const NET: &str = r#"
input = [3, 11, 9]
[[layer]]
type = "conv"
name = "first"
filters = 7
kernel = 3
activation = "relu"
[[layer]]
type = "conv"
name = "point"
filters = 5
kernel = 1
activation = "relu"
[[layer]]
type = "depthwise"
name = "depth"
kernel = 3
padding = "same"
[[layer]]
type = "flatten"
[[layer]]
type = "dense"
name = "hidden"
units = 61
activation = "relu"
[[layer]]
type = "dense"
name = "scores"
units = 3
"#;

const LAYERS: [&str; 5] = ["first", "point", "depth", "hidden", "scores"];

fn format(form: Form) -> WeightFormat {
    WeightFormat {
        bits: form.bits,
        asymmetric: !form.symmetric,
        per_tensor: !form.per_channel,
        ..Default::default()
    }
}

fn compiled(graph: &Graph, weights: Formats, backend: Backend) -> Compiled {
    let samples = Samples::synthetic(graph, 2, 0, -1.0, 1.0);
    let options = CompileOptions {
        weights,
        backend,
        ..Default::default()
    };
    compile_graph(graph.clone(), "net", &samples, &options, &mut |_, _, _| {}).expect("compiles")
}

#[test]
fn bytes_of_mixtures_are_exact() {
    let graph = describe(NET, "net", 1).expect("description");
    let mut forms = Vec::new();
    for bits in 2..=8 {
        for (per_channel, symmetric) in [(true, true), (true, false), (false, false)] {
            forms.push(Form {
                bits,
                per_channel,
                symmetric,
            });
        }
    }
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    let mut arenas = Vec::new();
    for backend in [Backend::Dsp, Backend::Helium] {
        let of = |form: Form| {
            let weights = Formats {
                default: format(form),
                ..Default::default()
            };
            compiled(&graph, weights, backend).bytes
        };
        let mut artifacts = Artifacts::new(&of(forms[0]), forms[0], backend).expect("parts");
        for &form in &forms[1..] {
            artifacts.add(&of(form), form).expect("parts");
        }
        for _ in 0..8 {
            let mix = LAYERS.map(|name| (name, forms[rng.random_range(0..forms.len())]));
            let weights = Formats {
                by_layer: mix.iter().map(|&(n, f)| (n.into(), format(f))).collect(),
                ..Default::default()
            };
            let made = compiled(&graph, weights, backend);
            let predicted = artifacts.sizes(mix).expect("every form was seen");
            let is = Sizes {
                flash: made.bytes.len(),
                arena: made.report.arena_bytes,
            };
            assert_eq!(predicted, is, "{mix:?}");
            arenas.push(is.arena);
        }
        assert_eq!(
            artifacts.sizes(LAYERS[1..].iter().map(|n| (*n, forms[0]))),
            None
        );
    }
    arenas.sort_unstable();
    arenas.dedup();
    assert!(arenas.len() > 1, "no format changes the arena");
}
