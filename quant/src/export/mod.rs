//! [`ir::Graph`](crate::ir::Graph) to an ONNX file that the importer, and others, read back.
//!
//! Spatial operators of ONNX have the channels in front, those of the graph at the end. Each value exists in the file
//! in one or both orders; what can be done in either order stays in the one that is there, so that a network which
//! came with channels in front leaves without transpositions.

mod node;
mod proto;
mod writer;

use crate::Error;
use crate::ir::{Graph, Op};
use prost::Message;
use tract_onnx::pb::{ModelProto, OperatorSetIdProto};
use writer::Writer;

/// Operator set that is written; dilated average pools came with a later one.
const OPSET: i64 = 17;
const OPSET_DILATED_AVERAGE: i64 = 19;
/// Version of the file format that belongs to these operator sets.
const IR_VERSION: i64 = 8;

/// The ONNX file of `graph`. Quantization that values carry is not written.
///
/// # Errors
/// Names the node that ONNX has no operator for.
pub fn onnx(graph: &Graph) -> Result<Vec<u8>, Error> {
    let mut writer = Writer::new(graph);
    for node in &graph.nodes {
        node::write(&mut writer, node)
            .map_err(|text| Error::layer(&node.name, node.op.name(), text))?;
    }
    let dilated = graph
        .nodes
        .iter()
        .any(|n| matches!(&n.op, Op::AvgPool { window, .. } if window.dilation != [1, 1]));
    let model = ModelProto {
        ir_version: IR_VERSION,
        opset_import: vec![OperatorSetIdProto {
            domain: String::new(),
            version: if dilated {
                OPSET_DILATED_AVERAGE
            } else {
                OPSET
            },
        }],
        producer_name: "elastiq".into(),
        graph: Some(writer.finish()),
        ..Default::default()
    };
    Ok(model.encode_to_vec())
}
