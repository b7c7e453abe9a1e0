//! What is written is read back, by the importer and by the reference, as the same function.

use elastiq_quant::import::{self, Oracle};
use elastiq_quant::ir::{Graph, exec, passes, stats};
use elastiq_quant::train::describe::describe;
use elastiq_quant::{Samples, export};
use ndarray::ArrayD;
use std::path::Path;

fn run(graph: &Graph, inputs: &[ArrayD<f32>]) -> Vec<ArrayD<f32>> {
    let ports = graph.inputs.iter().zip(inputs);
    let moved: Vec<_> = ports.map(|(port, x)| exec::to_ir_layout(port, x)).collect();
    let outputs = exec::run(graph, &moved, &mut |_, _| {});
    let ports = graph.outputs.iter().zip(&outputs);
    ports
        .map(|(port, y)| exec::from_ir_layout(port, y))
        .collect()
}

fn close(name: &str, got: &[ArrayD<f32>], want: &[ArrayD<f32>]) {
    assert_eq!(got.len(), want.len(), "{name}");
    for (g, w) in got.iter().zip(want) {
        assert_eq!(g.shape(), w.shape(), "{name}");
        let top = w.iter().fold(1f32, |m, v| m.max(v.abs()));
        let gap = g.iter().zip(w).fold(0f32, |m, (g, w)| m.max((g - w).abs()));
        assert!(gap <= 1e-5 * top, "{name}: {gap}");
    }
}

/// Write, read, run: the graph as it is and after all passes.
fn round_trip(name: &str, graph: &Graph) {
    let optimized = passes::optimize(graph.clone()).0;
    let folder = tempfile::tempdir().expect("folder");
    for graph in [graph, &optimized] {
        let file = folder.path().join("net.onnx");
        std::fs::write(&file, export::onnx(graph).expect(name)).expect("write");
        let again = import::load(&file).expect(name);
        let oracle = Oracle::load(&file).expect(name);
        let samples = Samples::synthetic(graph, 3, 1, -1.0, 1.0);
        for i in 0..3 {
            let inputs = samples.file_item(graph, i);
            let want = run(graph, &inputs);
            close(name, &run(&again, &inputs), &want);
            close(name, &oracle.run(&inputs).expect(name), &want);
        }
        let read = passes::optimize(again).0;
        assert_eq!(stats(&read).macs, stats(&optimized).macs, "{name}: work");
        assert!(
            read.nodes.len() <= optimized.nodes.len(),
            "{name}: {} nodes",
            read.nodes.len()
        );
    }
}

#[test]
fn the_example_networks() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/models");
    let files = std::fs::read_dir(folder)
        .expect("models")
        .map(|f| f.expect("file").path());
    let mut n = 0;
    for file in files.filter(|f| f.extension().is_some_and(|e| e == "onnx")) {
        let name = file.display().to_string();
        if name.contains("qdq") {
            continue;
        }
        round_trip(&name, &import::load(&file).expect(&name));
        n += 1;
    }
    assert!(n >= 5, "{n} networks");
}

#[test]
fn described_networks() {
    let functions = [
        "relu",
        "relu6",
        "leaky-relu",
        "prelu",
        "sigmoid",
        "tanh",
        "elu",
        "hard-swish",
        "hard-sigmoid",
        "softplus",
    ];
    let mut text = String::from("input = [2, 9, 8]\n");
    for f in functions {
        text += &format!(
            "[[layer]]\ntype = \"conv\"\nfilters = 4\nkernel = 3\npadding = \"same\"\nactivation = \"{f}\"\n"
        );
    }
    text += "[[layer]]\ntype = \"depthwise\"\nname = \"a\"\nkernel = [3, 2]\nstride = 2\npadding = \"same\"\n\
        [[layer]]\ntype = \"conv\"\nfilters = 4\nkernel = 2\ndilation = 2\npadding = [1, 1, 1, 1]\ngroups = 2\n\
        [[layer]]\ntype = \"add\"\nwith = \"a\"\n\
        [[layer]]\ntype = \"avg-pool\"\nkernel = 2\nstride = 1\npadding = [0, 0, 1, 1]\n\
        [[layer]]\ntype = \"max-pool\"\nkernel = 3\nstride = 2\npadding = [1, 1, 1, 1]\n\
        [[layer]]\ntype = \"flatten\"\n\
        [[layer]]\ntype = \"dense\"\nunits = 5\n[[layer]]\ntype = \"softmax\"\n";
    round_trip("layers", &describe(&text, "net", 4).expect("description"));
    round_trip(
        "vector",
        &describe(
            "input = [7]\n[[layer]]\ntype = \"dense\"\nunits = 3\n",
            "net",
            4,
        )
        .expect("description"),
    );
    let picture = "input = [2, 4, 4]\n[[layer]]\ntype = \"conv\"\nfilters = 3\nkernel = 3\n";
    round_trip(
        "picture",
        &describe(picture, "net", 4).expect("description"),
    );
}
