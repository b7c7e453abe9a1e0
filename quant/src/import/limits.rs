//! What a file may be before anything is built from it: size, node count, tensors.

use super::Res;
use crate::Error;
use crate::ir::infer;
use std::io::Read;
use std::path::Path;
use tract_onnx::pb::tensor_proto::{DataLocation, DataType};
use tract_onnx::pb::{GraphProto, ModelProto, TensorProto};
use tract_onnx::prelude::Framework;

/// Largest file that is read, bytes.
pub const FILE_MAX_BYTES: u64 = 256 << 20;
/// Most nodes in a graph.
pub const NODES_MAX: usize = 4096;
/// Most elements of all constants that the importer computes, together.
pub const CONSTANTS_MAX: usize = 1 << 28;
/// Operator set versions of the `ai.onnx` domain that are understood.
pub const OPSETS: std::ops::RangeInclusive<i64> = 7..=23;

/// Read and decode a file, within the limits.
///
/// # Errors
/// One line that names the file: missing, a folder, empty, too large, not ONNX, external data, wrong tensors.
pub fn read(path: &Path) -> Result<ModelProto, Error> {
    let fail = |text: String| Error::file(path, text);
    let meta = std::fs::metadata(path).map_err(|e| fail(format!("cannot be opened: {e}")))?;
    if !meta.is_file() {
        return Err(fail("is not a file".into()));
    }
    if meta.len() > FILE_MAX_BYTES {
        let mib = FILE_MAX_BYTES >> 20;
        return Err(fail(format!(
            "has {} bytes, the limit is {mib} MiB",
            meta.len()
        )));
    }
    let file = std::fs::File::open(path).map_err(|e| fail(format!("cannot be opened: {e}")))?;
    let mut bytes = Vec::new();
    file.take(FILE_MAX_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(|e| fail(format!("cannot be read: {e}")))?;
    if bytes.is_empty() {
        return Err(fail("is empty, not an ONNX model".into()));
    }
    if bytes.len() as u64 > FILE_MAX_BYTES {
        return Err(fail("grew above the size limit while it was read".into()));
    }
    let model = tract_onnx::onnx()
        .proto_model_for_read(&mut bytes.as_slice())
        .map_err(|_| {
            fail("is not an ONNX model, or is damaged (protobuf decoding failed)".into())
        })?;
    check(&model).map_err(fail)?;
    Ok(model)
}

/// Check counts, versions and tensors of a decoded model.
pub fn check(model: &ModelProto) -> Res<()> {
    let graph = model
        .graph
        .as_ref()
        .ok_or("is not an ONNX model: it holds no graph")?;
    if graph.node.is_empty() && graph.output.is_empty() {
        return Err("is not an ONNX model: its graph is empty".into());
    }
    let opset = opset(model)?;
    if !OPSETS.contains(&opset) {
        return Err(format!(
            "uses operator set {opset}; supported are {} to {} (convert it with onnx.version_converter)",
            OPSETS.start(),
            OPSETS.end()
        ));
    }
    if graph.node.len() > NODES_MAX {
        return Err(format!(
            "has {} nodes, the limit is {NODES_MAX}",
            graph.node.len()
        ));
    }
    if !graph.sparse_initializer.is_empty() {
        return Err("holds sparse initializers, which are not supported".into());
    }
    tensors(graph).try_for_each(check_tensor)
}

/// Version of the standard operator set.
pub fn opset(model: &ModelProto) -> Res<i64> {
    model
        .opset_import
        .iter()
        .find(|o| o.domain.is_empty() || o.domain == "ai.onnx")
        .map(|o| o.version)
        .ok_or_else(|| "does not say which operator set it uses".into())
}

fn tensors(graph: &GraphProto) -> impl Iterator<Item = &TensorProto> {
    let attributes = graph.node.iter().flat_map(|n| &n.attribute);
    let held = attributes.flat_map(|a| a.t.iter().chain(&a.tensors));
    graph.initializer.iter().chain(held)
}

/// Name of an element type, as ONNX spells it.
pub fn type_name(data_type: i32) -> String {
    DataType::try_from(data_type).map_or(format!("type {data_type}"), |t| {
        t.as_str_name().to_lowercase()
    })
}

/// Check that a tensor's data is in the file, of a known type and as long as its shape says.
fn check_tensor(t: &TensorProto) -> Res<()> {
    let at = |text: String| format!("tensor `{}`: {text}", t.name);
    if t.data_location == Some(DataLocation::External as i32) || !t.external_data.is_empty() {
        return Err(at(
            "its data is in another file; save the model as one file \
            (onnx.save_model with save_as_external_data=False)"
                .into(),
        ));
    }
    if t.segment.is_some() {
        return Err(at("it is stored in segments, which is not supported".into()));
    }
    let dims: Option<Vec<usize>> = t.dims.iter().map(|&d| usize::try_from(d).ok()).collect();
    let dims = dims.ok_or_else(|| at(format!("shape {:?} has a negative extent", t.dims)))?;
    let n = infer::elements(&dims).map_err(at)?;
    let kind = DataType::try_from(t.data_type).unwrap_or(DataType::Undefined);
    let (bytes, typed) = match kind {
        DataType::Float => (4, t.float_data.len()),
        DataType::Int32 => (4, t.int32_data.len()),
        DataType::Int8 | DataType::Uint8 | DataType::Bool => (1, t.int32_data.len()),
        DataType::Int16 | DataType::Uint16 | DataType::Float16 => (2, t.int32_data.len()),
        DataType::Int64 => (8, t.int64_data.len()),
        DataType::Double => (8, t.double_data.len()),
        _ => {
            return Err(at(format!(
                "element type {} is not supported",
                type_name(t.data_type)
            )));
        }
    };
    let held = match t.raw_data.len() {
        0 => typed,
        len if len % bytes == 0 => len / bytes,
        len => {
            return Err(at(format!(
                "{len} bytes of data for {n} elements of {bytes} bytes"
            )));
        }
    };
    if held != n {
        return Err(at(format!(
            "{held} elements of data where shape {dims:?} needs {n}"
        )));
    }
    Ok(())
}
