//! Inputs of the file: names and static shapes.

use super::limits::type_name;
use super::{Options, Res};
use crate::ir::infer;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::tensor_shape_proto::dimension::Value as Dim;
use tract_onnx::pb::{GraphProto, ValueInfoProto, type_proto};

/// Inputs that are not initializers, with their shapes in the file's layout.
pub fn inputs<'a>(graph: &'a GraphProto, options: &Options) -> Res<Vec<(&'a str, Vec<usize>)>> {
    let stored = |name: &str| graph.initializer.iter().any(|t| t.name == name);
    let open: Vec<&ValueInfoProto> = graph.input.iter().filter(|i| !stored(&i.name)).collect();
    for (name, _) in &options.input_shapes {
        if !open.iter().any(|i| i.name == *name) {
            let known: Vec<&str> = open.iter().map(|i| i.name.as_str()).collect();
            return Err(format!(
                "a shape is given for `{name}`, but the inputs are: {}",
                known.join(", ")
            ));
        }
    }
    open.into_iter()
        .map(|info| Ok((info.name.as_str(), shape(info, options)?)))
        .collect()
}

fn shape(info: &ValueInfoProto, options: &Options) -> Res<Vec<usize>> {
    let name = &info.name;
    let Some(type_proto::Value::TensorType(kind)) =
        info.r#type.as_ref().and_then(|t| t.value.as_ref())
    else {
        return Err(format!("input `{name}` is not a tensor"));
    };
    let float = [DataType::Float, DataType::Float16, DataType::Double];
    if !float.iter().any(|&f| f as i32 == kind.elem_type) {
        let kind = type_name(kind.elem_type);
        return Err(format!(
            "input `{name}` has element type {kind}; only float inputs are supported"
        ));
    }
    let declared = kind.shape.as_ref().map(|s| s.dim.as_slice());
    let given = options
        .input_shapes
        .iter()
        .find(|(n, _)| n == name)
        .map(|(_, s)| s);
    let shape = match (declared, given) {
        (None, None) => {
            return Err(format!(
                "input `{name}` has no shape in the file; give it one"
            ));
        }
        (None, Some(given)) => given.clone(),
        (Some(dims), given) => {
            if let Some(given) = given.filter(|g| g.len() != dims.len()) {
                return Err(format!(
                    "shape {given:?} is given for input `{name}` of rank {}",
                    dims.len()
                ));
            }
            let extent = |axis: usize| -> Res<usize> {
                let fixed = match &dims[axis].value {
                    Some(Dim::DimValue(v)) => usize::try_from(*v).ok().filter(|&v| v > 0),
                    _ => None,
                };
                match (fixed, given.map(|g| g[axis])) {
                    (Some(f), Some(g)) if f != g => Err(format!(
                        "extent {g} is given for axis {axis} of input `{name}`, the file fixes it to {f}"
                    )),
                    (Some(f), _) => Ok(f),
                    (None, Some(g)) => Ok(g),
                    (None, None) if axis == 0 => Ok(1),
                    (None, None) => Err(format!(
                        "axis {axis} of input `{name}` is open ({}); give the input a fixed shape such as {}",
                        symbol(&dims[axis].value),
                        example(dims.iter().map(|d| &d.value)),
                    )),
                }
            };
            (0..dims.len()).map(extent).collect::<Res<Vec<usize>>>()?
        }
    };
    if infer::elements(&shape)? == 0 {
        return Err(format!("input `{name}` of shape {shape:?} has no elements"));
    }
    Ok(shape)
}

fn symbol(dim: &Option<Dim>) -> String {
    match dim {
        Some(Dim::DimParam(name)) if !name.is_empty() => format!("`{name}`"),
        _ => "no value".into(),
    }
}

/// The declared shape with a placeholder where an extent is open.
fn example<'a>(dims: impl Iterator<Item = &'a Option<Dim>>) -> String {
    let parts: Vec<String> = dims
        .enumerate()
        .map(|(axis, dim)| match dim {
            Some(Dim::DimValue(v)) if *v > 0 => v.to_string(),
            _ if axis == 0 => "1".into(),
            _ => "N".into(),
        })
        .collect();
    format!("[{}]", parts.join(", "))
}
