//! Operator tests of the `onnx` wheel: reading them, and turning operands into initializers.

use ndarray::ArrayD;
use prost::Message;
use std::collections::BTreeMap;
use tract_onnx::data_resolver::MmapDataResolver;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{ModelProto, TensorProto, ValueInfoProto, type_proto};
use tract_onnx::tensor::load_tensor;

/// One folder `onnx/backend/test/data/node/test_NAME`.
pub struct NodeCase {
    /// Folder name without `test_`.
    pub name: String,
    pub model: ModelProto,
    /// Operands in the order of the graph inputs; `None` where the file holds no tensor of the
    /// declared type (sequences, optional values, types that NumPy lacks).
    pub inputs: Vec<Option<TensorProto>>,
    pub outputs: Vec<Option<TensorProto>>,
}

const FOLDER: &str = "onnx/backend/test/data/node/";

/// Every operator test in the files of the wheel, sorted by name.
pub fn node_cases(files: Vec<(String, Vec<u8>)>) -> Result<Vec<NodeCase>, String> {
    let mut folders: BTreeMap<String, BTreeMap<String, Vec<u8>>> = BTreeMap::new();
    for (path, bytes) in files {
        if let Some((case, file)) = path
            .strip_prefix(FOLDER)
            .and_then(|rest| rest.split_once('/'))
        {
            let name = case.strip_prefix("test_").unwrap_or(case).to_owned();
            folders
                .entry(name)
                .or_default()
                .insert(file.to_owned(), bytes);
        }
    }
    folders
        .into_iter()
        .map(|(name, files)| node_case(name, &files))
        .collect()
}

fn node_case(name: String, files: &BTreeMap<String, Vec<u8>>) -> Result<NodeCase, String> {
    let bytes = files
        .get("model.onnx")
        .ok_or_else(|| format!("{name}: no model.onnx"))?;
    let model =
        ModelProto::decode(bytes.as_slice()).map_err(|e| format!("{name}: model.onnx: {e}"))?;
    let graph = model
        .graph
        .as_ref()
        .ok_or_else(|| format!("{name}: no graph"))?;
    let read = |kind: &str, i: usize, port: &ValueInfoProto| {
        let value = port.r#type.as_ref().and_then(|t| t.value.as_ref());
        let Some(type_proto::Value::TensorType(declared)) = value else {
            return None;
        };
        let file = files.get(&format!("test_data_set_0/{kind}_{i}.pb"))?;
        let tensor = TensorProto::decode(file.as_slice()).ok()?;
        // Types that NumPy lacks are stored as integers of the same size.
        let wide = kind == "output" && declared.elem_type == DataType::Bfloat16 as i32;
        match tensor.data_type == declared.elem_type {
            true => Some(tensor),
            false if wide => Some(from_bfloat16(tensor)),
            false => None,
        }
    };
    let inputs = graph
        .input
        .iter()
        .enumerate()
        .map(|(i, port)| read("input", i, port))
        .collect();
    let outputs = graph
        .output
        .iter()
        .enumerate()
        .map(|(i, port)| read("output", i, port))
        .collect();
    Ok(NodeCase {
        name,
        inputs,
        outputs,
        model,
    })
}

/// `bfloat16` in `uint16` to `float32`.
fn from_bfloat16(mut tensor: TensorProto) -> TensorProto {
    let bits = tensor
        .raw_data
        .as_chunks()
        .0
        .iter()
        .map(|b| u16::from_le_bytes(*b));
    tensor.float_data = bits.map(|b| f32::from_bits(u32::from(b) << 16)).collect();
    tensor.raw_data.clear();
    tensor.data_type = DataType::Float as i32;
    tensor
}

/// Contents of a tensor of any numeric type.
pub fn numbers(t: &TensorProto) -> Option<ArrayD<f32>> {
    let tensor = load_tensor(&MmapDataResolver, t, None).ok()?;
    let floats = tensor.cast_to::<f32>().ok()?;
    Some(floats.to_plain_array_view::<f32>().ok()?.to_owned())
}

/// `float16`, `float32` or `float64`.
fn is_float(t: &TensorProto) -> bool {
    [DataType::Float16, DataType::Float, DataType::Double]
        .into_iter()
        .any(|f| f as i32 == t.data_type)
}

/// Which operands stay inputs of the network; the others become initializers with their given values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variant(pub Vec<usize>);

impl NodeCase {
    /// All operands as inputs, then each operand of a float type as the only input.
    pub fn variants(&self) -> Vec<Variant> {
        let mut variants = vec![Variant((0..self.inputs.len()).collect())];
        let float = |i: &usize| self.inputs[*i].as_ref().is_some_and(is_float);
        if self.inputs.len() > 1 {
            variants.extend(
                (0..self.inputs.len())
                    .filter(float)
                    .map(|i| Variant(vec![i])),
            );
        }
        variants
    }

    /// The model file of a variant and the values of its remaining inputs; `None` if one of them is no float tensor.
    pub fn file(&self, variant: &Variant) -> (Vec<u8>, Option<Vec<ArrayD<f32>>>) {
        let mut model = self.model.clone();
        if let Some(graph) = &mut model.graph {
            let ports = std::mem::take(&mut graph.input);
            for (i, port) in ports.into_iter().enumerate() {
                match self.inputs.get(i).cloned().flatten() {
                    Some(mut tensor) if !variant.0.contains(&i) => {
                        tensor.name = port.name;
                        graph.initializer.push(tensor);
                    }
                    _ => graph.input.push(port),
                }
            }
        }
        let float = |i: &usize| {
            self.inputs[*i]
                .as_ref()
                .filter(|t| is_float(t))
                .and_then(numbers)
        };
        let kept = variant.0.iter().map(float).collect();
        (model.encode_to_vec(), kept)
    }

    /// The operator under test; `several` for operators written out as others.
    pub fn operator(&self) -> String {
        let nodes = self
            .model
            .graph
            .as_ref()
            .map(|g| g.node.as_slice())
            .unwrap_or_default();
        match nodes {
            [node] => node.op_type.clone(),
            _ => "several".into(),
        }
    }
}
