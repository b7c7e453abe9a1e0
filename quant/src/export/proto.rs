//! Small pieces of an ONNX file.

use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::tensor_shape_proto::{Dimension, dimension};
use tract_onnx::pb::{
    AttributeProto, TensorProto, TensorShapeProto, TypeProto, ValueInfoProto, type_proto,
};

pub fn int(name: &str, i: usize) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        r#type: AttributeType::Int as i32,
        i: i as i64,
        ..Default::default()
    }
}

pub fn ints(name: &str, list: &[usize]) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        r#type: AttributeType::Ints as i32,
        ints: list.iter().map(|&i| i as i64).collect(),
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

pub fn string(name: &str, s: &str) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        r#type: AttributeType::String as i32,
        s: s.into(),
        ..Default::default()
    }
}

/// A tensor of `f32`.
pub fn floats(name: &str, shape: &[usize], values: impl Iterator<Item = f32>) -> TensorProto {
    TensorProto {
        name: name.into(),
        dims: shape.iter().map(|&d| d as i64).collect(),
        data_type: DataType::Float as i32,
        raw_data: values.flat_map(f32::to_le_bytes).collect(),
        ..Default::default()
    }
}

/// A vector of `i64`.
pub fn indices(name: &str, values: &[usize]) -> TensorProto {
    TensorProto {
        name: name.into(),
        dims: vec![values.len() as i64],
        data_type: DataType::Int64 as i32,
        raw_data: values
            .iter()
            .flat_map(|&v| (v as i64).to_le_bytes())
            .collect(),
        ..Default::default()
    }
}

/// An input or output of the file.
pub fn port(name: &str, shape: &[usize], kind: DataType) -> ValueInfoProto {
    let dim = |&d: &usize| Dimension {
        value: Some(dimension::Value::DimValue(d as i64)),
        ..Default::default()
    };
    let tensor = type_proto::Tensor {
        elem_type: kind as i32,
        shape: Some(TensorShapeProto {
            dim: shape.iter().map(dim).collect(),
        }),
    };
    ValueInfoProto {
        name: name.into(),
        r#type: Some(TypeProto {
            value: Some(type_proto::Value::TensorType(tensor)),
            ..Default::default()
        }),
        ..Default::default()
    }
}
