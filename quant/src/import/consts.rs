//! Constants of the file, and small sub-graphs of constants that exporters leave in it.

use super::Res;
use super::limits::type_name;
use crate::ir::{FileQuant, infer};
use ndarray::ArrayD;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{
    GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, ValueInfoProto,
};
use tract_onnx::prelude::*;

/// A tensor whose contents do not depend on the inputs.
#[derive(Clone, Debug)]
pub struct Constant {
    pub tensor: Arc<Tensor>,
    /// Set where the contents come from codes in the file.
    pub quant: Option<FileQuant>,
}

impl Constant {
    pub fn new(tensor: Tensor) -> Self {
        Constant {
            tensor: Arc::new(tensor),
            quant: None,
        }
    }

    pub fn shape(&self) -> &[usize] {
        self.tensor.shape()
    }

    /// Contents as `f32`.
    pub fn floats(&self) -> Res<ArrayD<f32>> {
        let cast = self.tensor.cast_to::<f32>().map_err(text)?;
        let view = cast.to_plain_array_view::<f32>().map_err(text)?;
        Ok(view.to_owned())
    }

    /// Contents as integers; floats are refused.
    pub fn ints(&self) -> Res<Vec<i64>> {
        let kind = self.tensor.datum_type();
        if !(kind.is_integer() || kind == TDim::datum_type() || kind == bool::datum_type()) {
            return Err(format!("{kind:?} values where integers are needed"));
        }
        let cast = self.tensor.cast_to::<i64>().map_err(text)?;
        let view = cast.to_plain_array_view::<i64>().map_err(text)?;
        Ok(view.iter().copied().collect())
    }
}

/// One line from an error of the ONNX library: its innermost cause.
pub fn text(e: TractError) -> String {
    e.chain()
        .last()
        .map_or_else(|| e.to_string(), |c| c.to_string())
}

/// Contents of a tensor of the file, which `limits` has checked.
pub fn tensor(t: &TensorProto) -> Res<Constant> {
    let provider = tract_onnx::data_resolver::MmapDataResolver;
    let loaded = tract_onnx::tensor::load_tensor(&provider, t, None);
    let fail = |e| {
        format!(
            "tensor `{}` of type {}: {}",
            t.name,
            type_name(t.data_type),
            text(e)
        )
    };
    let constant = Constant::new(loaded.map_err(fail)?);
    // One number may be infinite: bounds and fill values are.
    if constant.tensor.len() > 1
        && constant.tensor.datum_type().is_float()
        && let Some(bad) = constant.floats()?.iter().find(|v| !v.is_finite())
    {
        return Err(format!("tensor `{}` holds {bad}", t.name));
    }
    Ok(constant)
}

/// Operators on constants whose output is not larger than their inputs together.
const SHRINKING: &[&str] = &[
    "Abs",
    "ArgMax",
    "ArgMin",
    "Cast",
    "Ceil",
    "Clip",
    "Concat",
    "Cos",
    "CumSum",
    "Erf",
    "Exp",
    "Flatten",
    "Floor",
    "Identity",
    "Log",
    "Neg",
    "Not",
    "Reciprocal",
    "ReduceMax",
    "ReduceMean",
    "ReduceMin",
    "ReduceProd",
    "ReduceSum",
    "Relu",
    "Reshape",
    "Round",
    "Sigmoid",
    "Sign",
    "Sin",
    "Slice",
    "Softmax",
    "Split",
    "Sqrt",
    "Squeeze",
    "Tanh",
    "Transpose",
    "Unsqueeze",
];
/// Operators on constants that broadcast.
const BROADCASTING: &[&str] = &[
    "Add",
    "And",
    "Div",
    "Equal",
    "Greater",
    "GreaterOrEqual",
    "Less",
    "LessOrEqual",
    "Max",
    "Min",
    "Mod",
    "Mul",
    "Or",
    "Pow",
    "Sub",
    "Sum",
    "Where",
];

/// Other operators that are evaluated on constants.
const GROWING: &[&str] = &["ConstantOfShape", "Expand", "Gather", "Range", "Tile"];

/// Whether the operator is one that [`bound`] lets be evaluated.
pub fn evaluates(op_type: &str) -> bool {
    [SHRINKING, BROADCASTING, GROWING]
        .iter()
        .any(|list| list.contains(&op_type))
}

/// Most elements that `node` can make of `inputs`, `None` for operators that are not evaluated.
pub fn bound(node: &NodeProto, inputs: &[Constant]) -> Res<Option<usize>> {
    let op = node.op_type.as_str();
    let all = inputs.iter().map(|c| c.tensor.len()).sum::<usize>();
    if SHRINKING.contains(&op) {
        return Ok(Some(all));
    }
    if BROADCASTING.contains(&op) {
        let shape = inputs
            .iter()
            .try_fold(vec![], |shape, c| infer::broadcast(&shape, c.shape()))?;
        return infer::elements(&shape).map(Some);
    }
    let dims = |i: usize| -> Res<Vec<usize>> {
        let ints = inputs.get(i).ok_or("an input is missing")?.ints()?;
        let dims: Option<_> = ints.iter().map(|&d| usize::try_from(d).ok()).collect();
        dims.ok_or_else(|| format!("shape {ints:?}"))
    };
    let product = |a: usize, b: usize| a.checked_mul(b).ok_or("constant is too large".to_string());
    match op {
        "ConstantOfShape" => infer::elements(&dims(0)?).map(Some),
        "Expand" => infer::elements(&dims(1)?)
            .and_then(|n| product(n, all))
            .map(Some),
        "Tile" => infer::elements(&dims(1)?)
            .and_then(|n| product(n, all))
            .map(Some),
        "Range" => {
            let at = |i: usize| -> Res<f64> {
                let c = inputs.get(i).ok_or("an input is missing")?.floats()?;
                Ok(f64::from(*c.first().ok_or("an input is empty")?))
            };
            let n = (at(1)? - at(0)?) / at(2)?;
            match n.is_finite() && n < infer::ELEMENTS_MAX as f64 {
                true => Ok(Some(n.max(0.0) as usize + 1)),
                false => Err("range is too large".into()),
            }
        }
        "Gather" if inputs.len() == 2 => {
            product(inputs[0].tensor.len(), inputs[1].tensor.len()).map(Some)
        }
        _ => Ok(None),
    }
}

/// Run a node whose inputs are constants; `inputs` in the order of its non-empty input names.
pub fn evaluate(node: &NodeProto, opset: i64, inputs: &[Constant]) -> Res<Vec<Constant>> {
    let names: Vec<&String> = node.input.iter().filter(|n| !n.is_empty()).collect();
    let mut initializer = Vec::<TensorProto>::new();
    for (name, constant) in names.iter().zip(inputs) {
        if !initializer.iter().any(|t| t.name == **name) {
            initializer.push(proto(name, &constant.tensor)?);
        }
    }
    let output = node.output.iter().filter(|n| !n.is_empty());
    let output = output
        .map(|name| ValueInfoProto {
            name: name.clone(),
            ..Default::default()
        })
        .collect();
    let graph = GraphProto {
        node: vec![node.clone()],
        initializer,
        output,
        ..Default::default()
    };
    let model = ModelProto {
        ir_version: 8,
        opset_import: vec![OperatorSetIdProto {
            domain: String::new(),
            version: opset,
        }],
        graph: Some(graph),
        ..Default::default()
    };
    let run = || -> TractResult<TVec<TValue>> {
        let parsed = tract_onnx::onnx().parse(&model, None)?;
        parsed.model.into_typed()?.into_runnable()?.run(tvec![])
    };
    let outputs = catch_unwind(AssertUnwindSafe(run))
        .map_err(|_| "its constant inputs cannot be evaluated".to_string())?
        .map_err(|e| format!("its constant inputs cannot be evaluated: {}", text(e)))?;
    outputs
        .into_iter()
        .map(|value| {
            let tensor = value.into_tensor();
            match tensor.datum_type() == TDim::datum_type() {
                true => Ok(tensor.cast_to::<i64>().map_err(text)?.into_owned()),
                false => Ok(tensor),
            }
        })
        .map(|t: Res<Tensor>| t.map(Constant::new))
        .collect()
}

fn proto(name: &str, tensor: &Tensor) -> Res<TensorProto> {
    let kind = match tensor.datum_type() {
        DatumType::F32 => DataType::Float,
        DatumType::F64 => DataType::Double,
        DatumType::F16 => DataType::Float16,
        DatumType::I8 => DataType::Int8,
        DatumType::U8 => DataType::Uint8,
        DatumType::I16 => DataType::Int16,
        DatumType::U16 => DataType::Uint16,
        DatumType::I32 => DataType::Int32,
        DatumType::I64 => DataType::Int64,
        DatumType::Bool => DataType::Bool,
        other => return Err(format!("constant of type {other:?} is not supported")),
    };
    Ok(TensorProto {
        name: name.into(),
        dims: tensor.shape().iter().map(|&d| d as i64).collect(),
        data_type: kind as i32,
        raw_data: tensor.as_bytes().to_vec(),
        ..Default::default()
    })
}
