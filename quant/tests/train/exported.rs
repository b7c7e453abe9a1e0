//! What is written is read back, by the importer and by the reference, as the same function.

use elastiq_quant::import::{self, Oracle};
use elastiq_quant::ir::{
    Graph, NearestMap, Node, Op, Port, Unary, Value, Window, exec, infer, passes, stats,
};
use elastiq_quant::train::describe::describe;
use elastiq_quant::{Samples, export};
use ndarray::ArrayD;
use std::path::Path;
use std::sync::Arc;

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

/// A graph of one operator that reads the input and the constants; a function before it keeps the operator busy.
fn single(
    op: Op,
    input: &[usize],
    constants: &[&[usize]],
    out: Option<&[usize]>,
    first: bool,
) -> Graph {
    let mut graph = Graph::default();
    let value = |name: &str, shape: &[usize], constant: bool| Value {
        name: name.into(),
        shape: shape.to_vec(),
        constant: constant.then(|| {
            let n: usize = shape.iter().product();
            let data = (0..n)
                .map(|i| ((i * 7 + 3) % 11) as f32 / 11.0 - 0.4)
                .collect();
            Arc::new(ArrayD::from_shape_vec(shape, data).expect("shape"))
        }),
        quant: None,
    };
    let perm: Vec<usize> = match first {
        true => vec![0, 2, 3, 1],
        false => (0..input.len()).collect(),
    };
    let mut file_shape = vec![0; input.len()];
    perm.iter()
        .zip(input)
        .for_each(|(&p, &d)| file_shape[p] = d);
    let x = graph.add_value(value("x", input, false));
    let y = graph.add_value(value("y", input, false));
    graph.inputs.push(Port {
        value: x,
        name: "x".into(),
        file_shape,
        perm,
    });
    let tanh = Op::Unary(Unary::Tanh);
    graph.nodes.push(Node {
        name: "t".into(),
        op: tanh,
        inputs: vec![x],
        output: y,
    });
    let mut inputs = vec![y];
    for (i, shape) in constants.iter().enumerate() {
        inputs.push(graph.add_value(value(&format!("c{i}"), shape, true)));
    }
    let shapes: Vec<&[usize]> = inputs
        .iter()
        .map(|&i| graph.value(i).shape.as_slice())
        .collect();
    let inferred = infer::output_shape(&op, &shapes).expect("shapes");
    let shape = inferred
        .or(out.map(<[usize]>::to_vec))
        .expect("shape of the output");
    let z = graph.add_value(value("z", &shape, false));
    graph.nodes.push(Node {
        name: "op".into(),
        op,
        inputs,
        output: z,
    });
    let perm = (0..shape.len()).collect();
    graph.outputs.push(Port {
        value: z,
        name: "out".into(),
        file_shape: shape,
        perm,
    });
    infer::check_graph(&graph).expect("a sound graph");
    graph
}

#[test]
fn every_other_operator() {
    let picture: &[usize] = &[1, 4, 3, 2];
    let window = |kernel, pads, dilation| Window {
        kernel,
        stride: [1, 1],
        dilation,
        pads,
    };
    let pad = Op::Pad {
        before: vec![0, 1, 0, 1],
        after: vec![0, 0, 2, 0],
        value: 0.25,
    };
    let slice = Op::Slice {
        start: vec![0, 1, 0, 1],
        step: vec![1, 2, 1, 1],
    };
    let map = NearestMap {
        rows: vec![0, 0, 1, 1, 2, 2, 3, 3],
        cols: vec![0, 0, 1, 1, 2, 2],
    };
    let average = |count_pad| Op::AvgPool {
        window: window([3, 2], [1, 0, 1, 1], [1, 1]),
        count_pad,
    };
    type Case<'a> = (&'a str, Op, Vec<&'a [usize]>, Option<&'a [usize]>);
    let cases: Vec<Case> = vec![
        ("pad", pad, vec![], None),
        ("slice", slice, vec![], Some(&[1, 2, 2, 1])),
        ("resize", Op::ResizeNearest(map), vec![], None),
        (
            "concat channels",
            Op::Concat { axis: 3 },
            vec![&[1, 4, 3, 1]],
            None,
        ),
        (
            "concat rows",
            Op::Concat { axis: 1 },
            vec![&[1, 2, 3, 2]],
            None,
        ),
        ("softmax channels", Op::Softmax { axis: 3 }, vec![], None),
        ("softmax rows", Op::Softmax { axis: 1 }, vec![], None),
        ("per channel", Op::Mul, vec![&[2]], None),
        ("per column", Op::Sub, vec![&[3, 1]], None),
        ("number", Op::Add, vec![&[]], None),
        ("slopes", Op::PRelu, vec![&[2]], None),
        (
            "move channels",
            Op::Transpose {
                perm: vec![0, 3, 1, 2],
            },
            vec![],
            None,
        ),
        (
            "turn",
            Op::Transpose {
                perm: vec![0, 2, 1, 3],
            },
            vec![],
            None,
        ),
        ("reshape", Op::Reshape, vec![], Some(&[1, 6, 4])),
        ("average", average(false), vec![], None),
        ("average counted", average(true), vec![], None),
        (
            "max dilated",
            Op::MaxPool(window([2, 2], [0; 4], [2, 1])),
            vec![],
            None,
        ),
        ("dense", Op::Dense, vec![&[5, 2], &[5]], None),
        ("dense without bias", Op::Dense, vec![&[5, 2]], None),
        (
            "clip above",
            Op::Unary(Unary::Clip(f32::NEG_INFINITY, 0.5)),
            vec![],
            None,
        ),
        (
            "clip below",
            Op::Unary(Unary::Clip(-0.25, f32::INFINITY)),
            vec![],
            None,
        ),
        ("exp", Op::Unary(Unary::Exp), vec![], None),
        ("abs", Op::Unary(Unary::Abs), vec![], None),
        ("erf", Op::Unary(Unary::Erf), vec![], None),
        ("neg", Op::Unary(Unary::Neg), vec![], None),
    ];
    for (name, op, constants, out) in cases {
        for first in [false, true] {
            round_trip(name, &single(op.clone(), picture, &constants, out, first));
        }
    }
    let index = Op::ArgMax {
        axis: 1,
        select_last: false,
    };
    round_trip("index", &single(index, &[1, 6], &[], Some(&[1]), false));
}

#[test]
fn a_resize_that_onnx_has_no_mode_for_is_refused() {
    let map = NearestMap {
        rows: vec![3, 0, 1, 2],
        cols: vec![0, 1, 2],
    };
    let graph = single(Op::ResizeNearest(map), &[1, 4, 3, 2], &[], None, false);
    let line = export::onnx(&graph).expect_err("no mode").to_string();
    assert_eq!(
        line,
        "node `op` (Resize): no mode of Resize gives the same indices"
    );
}
