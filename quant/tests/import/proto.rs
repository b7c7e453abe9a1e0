//! Small ONNX files, made in code.

use super::networks::{difference, inputs, run};
use elastiq_quant::import::{self, Oracle};
use elastiq_quant::ir::{self, Graph, passes};
use ndarray::ArrayD;
use prost::Message;
use std::path::PathBuf;
use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::pb::tensor_shape_proto::{Dimension, dimension};
use tract_onnx::pb::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto,
    TensorShapeProto, TypeProto, ValueInfoProto, type_proto,
};

pub fn int(name: &str, i: i64) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        r#type: AttributeType::Int as i32,
        i,
        ..Default::default()
    }
}

pub fn ints(name: &str, list: &[i64]) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        r#type: AttributeType::Ints as i32,
        ints: list.into(),
        ..Default::default()
    }
}

pub fn float(name: &str, f: f32) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        r#type: AttributeType::Float as i32,
        f,
        ..Default::default()
    }
}

pub fn floats(name: &str, list: &[f32]) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        r#type: AttributeType::Floats as i32,
        floats: list.into(),
        ..Default::default()
    }
}

pub fn string(name: &str, s: &str) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        r#type: AttributeType::String as i32,
        s: s.into(),
        ..Default::default()
    }
}

pub fn tensor(name: &str, t: TensorProto) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        r#type: AttributeType::Tensor as i32,
        t: Some(t),
        ..Default::default()
    }
}

pub fn f32s(name: &str, dims: &[i64], data: Vec<f32>) -> TensorProto {
    TensorProto {
        name: name.into(),
        dims: dims.into(),
        data_type: 1,
        float_data: data,
        ..Default::default()
    }
}

/// Outputs that follow from inputs.
pub type Expected<'a> = dyn Fn(&[ArrayD<f32>]) -> Vec<ArrayD<f32>> + 'a;

/// One extent of an input: fixed or a symbol.
fn extent(text: &str) -> Dimension {
    let value = match text.parse() {
        Ok(v) => dimension::Value::DimValue(v),
        Err(_) => dimension::Value::DimParam(text.into()),
    };
    Dimension {
        value: Some(value),
        ..Default::default()
    }
}

/// A model under construction; the input `x` and the output `y` are there unless others are named.
#[derive(Clone)]
pub struct Net {
    pub model: ModelProto,
    seed: u32,
}

impl Net {
    /// `shape` like `"N 3 8 8"`.
    pub fn new(opset: i64, shape: &str) -> Net {
        let opset_import = vec![OperatorSetIdProto {
            domain: String::new(),
            version: opset,
        }];
        let graph = Some(GraphProto {
            name: "net".into(),
            ..Default::default()
        });
        let model = ModelProto {
            ir_version: 8,
            opset_import,
            graph,
            ..Default::default()
        };
        Net { model, seed: 1 }.input("x", 1, shape)
    }

    fn graph(&mut self) -> &mut GraphProto {
        self.model.graph.as_mut().expect("made by new")
    }

    fn info(name: &str, elem_type: i32, shape: Option<&str>) -> ValueInfoProto {
        let dim = |s: &str| TensorShapeProto {
            dim: s.split_whitespace().map(extent).collect(),
        };
        let kind = type_proto::Tensor {
            elem_type,
            shape: shape.map(dim),
        };
        let value = Some(type_proto::Value::TensorType(kind));
        ValueInfoProto {
            name: name.into(),
            r#type: Some(TypeProto {
                value,
                ..Default::default()
            }),
            ..Default::default()
        }
    }

    pub fn input(mut self, name: &str, elem_type: i32, shape: &str) -> Net {
        self.graph()
            .input
            .push(Net::info(name, elem_type, Some(shape)));
        self
    }

    pub fn output(mut self, name: &str) -> Net {
        self.graph().output.push(Net::info(name, 1, None));
        self
    }

    pub fn initializer(mut self, t: TensorProto) -> Net {
        self.graph().initializer.push(t);
        self
    }

    /// A float constant of numbers in [-1, 1).
    pub fn random(mut self, name: &str, dims: &[i64]) -> Net {
        let n: i64 = dims.iter().product();
        let data = (0..n).map(|_| {
            self.seed = self.seed.wrapping_mul(1664525).wrapping_add(1013904223);
            (self.seed >> 8) as f32 / (1 << 23) as f32 - 1.0
        });
        let t = f32s(name, dims, data.collect());
        self.initializer(t)
    }

    pub fn values(self, name: &str, dims: &[i64], data: &[f32]) -> Net {
        self.initializer(f32s(name, dims, data.into()))
    }

    pub fn i64s(self, name: &str, data: &[i64]) -> Net {
        self.initializer(TensorProto {
            name: name.into(),
            dims: vec![data.len() as i64],
            data_type: 7,
            int64_data: data.into(),
            ..Default::default()
        })
    }

    /// Codes: `data_type` 2 is uint8, 3 int8, 6 int32; no `dims` for one number.
    pub fn codes(self, name: &str, data_type: i32, dims: &[i64], data: &[i32]) -> Net {
        self.initializer(TensorProto {
            name: name.into(),
            dims: dims.into(),
            data_type,
            int32_data: data.into(),
            ..Default::default()
        })
    }

    /// A node, `"a b -> y"`; `_` is an input that is not given.
    pub fn node(mut self, op_type: &str, wires: &str, attribute: Vec<AttributeProto>) -> Net {
        let (input, output) = wires.split_once("->").expect("`inputs -> outputs`");
        let names = |list: &str| {
            list.split_whitespace()
                .map(|n| n.replace('_', ""))
                .collect::<Vec<_>>()
        };
        let node = NodeProto {
            name: format!("node{}", self.graph().node.len()),
            op_type: op_type.into(),
            input: names(input),
            output: names(output),
            attribute,
            ..Default::default()
        };
        self.graph().node.push(node);
        self
    }

    /// A file of this model; it goes with the folder.
    pub fn save(&self) -> (tempfile::TempDir, PathBuf) {
        let mut model = self.model.clone();
        if let Some(graph) = model.graph.as_mut().filter(|g| g.output.is_empty()) {
            graph.output.push(Net::info("y", 1, None));
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("net.onnx");
        std::fs::write(&path, model.encode_to_vec()).unwrap();
        (folder, path)
    }

    pub fn load(&self) -> Result<Graph, String> {
        let (_folder, path) = self.save();
        import::load(&path).map_err(|e| e.to_string())
    }

    /// Import, optimize and compare with the reference, inputs in [-2, 2). Returns the optimized graph.
    #[track_caller]
    pub fn check(&self) -> Graph {
        let (_folder, path) = self.save();
        let oracle = Oracle::load(&path).unwrap_or_else(|e| panic!("{e}"));
        let want = |x: &[ArrayD<f32>]| oracle.run(x).unwrap_or_else(|e| panic!("{e}"));
        self.compare(&want)
    }

    /// Like [`Net::check`], against expected outputs.
    #[track_caller]
    pub fn compare(&self, want: &Expected) -> Graph {
        let (_folder, path) = self.save();
        let graph = import::load(&path).unwrap_or_else(|e| panic!("{e}"));
        ir::infer::check_graph(&graph).unwrap();
        let (small, report) = passes::optimize(graph.clone());
        ir::infer::check_graph(&small).unwrap();
        for seed in 0..2 {
            let mut x = inputs(&graph, seed, 4.0);
            x.iter_mut().for_each(|x| *x -= 2.0);
            let want = want(&x);
            let plain = difference(&run(&graph, &x, true), &want);
            assert!(plain < 1e-4, "as imported: {plain}");
            let optimized = difference(&run(&small, &x, true), &want);
            assert!(optimized < 1e-4, "optimized: {optimized}, {report:?}");
        }
        small
    }

    /// The file is refused, with a line that holds all of `parts`.
    #[track_caller]
    pub fn refused(&self, parts: &[&str]) {
        let text = self.load().err().unwrap_or_else(|| panic!("was accepted"));
        for part in parts {
            assert!(text.contains(part), "`{part}` is not in: {text}");
        }
        assert_eq!(text.lines().count(), 1, "{text}");
    }
}
