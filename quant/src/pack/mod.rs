//! The writer of the artifact: rows, tables, weights and checksums in the layout of [`elastiq::format`].

pub(crate) mod frame;
mod meta;
mod strip;
mod tables;
mod weights;

pub use meta::{Meta, MetaLayer, MetaPort};
pub use strip::without_meta;

use crate::Error;
use crate::ir::{Graph, Port};
use crate::lower::{Lowered, Place, Tensor};
use crate::plan::{Plan, Spot};
use elastiq::format::{
    CODING_CODEBOOK, DTYPE_I8, DTYPE_I32, Header, IO_INPUT, IO_OUTPUT, IoRow, NONE, OpKind, OpRow,
    PLACE_ARENA, PLACE_CONST, SectionKind, Span, TensorRow,
};
use elastiq::{Model, OpSet};
use frame::Section;
use tables::{Blobs, Rows};
use zerocopy::IntoBytes;

/// What the artifact says beyond the network itself.
#[derive(Clone, Debug, Default)]
pub struct Extras {
    /// Name of the model file, without its folder.
    pub source: String,
    /// Multiply-accumulates before passes.
    pub macs_imported: u64,
    /// Class names of the first output.
    pub labels: Vec<String>,
    /// Per self-test case all input bytes and all expected output bytes.
    pub self_test: Vec<(Vec<u8>, Vec<u8>)>,
}

/// Alignment of tables in LUTS.
pub(crate) const LUT_ALIGN: usize = 4;

/// Write the artifact and read it back with the reader of the board.
///
/// # Errors
/// A network beyond the limits of the format (65,534 tensors, 4 GiB). That the reader refuses the result would
/// be a defect of this crate, and is reported as one.
pub fn pack(net: &Lowered, plan: &Plan, graph: &Graph, extras: &Extras) -> Result<Vec<u8>, Error> {
    let mut blobs = Blobs::new(elastiq::format::ALIGN);
    let mut luts = Blobs::new(LUT_ALIGN);
    let mut quant = Rows::default();
    let ops = net
        .ops
        .iter()
        .zip(&plan.scratch)
        .map(|(op, &(scratch_off, scratch_len))| {
            let w = weights::pack(net, op, plan.backend);
            let lut = if w.lut.is_empty() { &op.lut } else { &w.lut };
            Ok(OpRow {
                kind: op.kind as u8,
                flags: op.flags | w.flags,
                coding: w.coding,
                shift: op.shift,
                in0: index(op.in0)?.into(),
                in1: op.in1.map_or(Ok(0), index)?.into(),
                out: index(op.out)?.into(),
                lo: op.lo,
                hi: op.hi,
                w_zero: w.w_zero.into(),
                bits: w.bits,
                order: w.order,
                weights: blobs.add(&w.bytes)?,
                quant: quant.add(&op.quant)?,
                lut: luts.add(lut)?,
                scratch: span(scratch_off, scratch_len)?,
                p: op.p.map(Into::into),
            })
        })
        .collect::<Result<Vec<OpRow>, Error>>()?;
    let mut tensors = Vec::with_capacity(net.tensors.len());
    for (i, tensor) in net.tensors.iter().enumerate() {
        tensors.push(tensor_row(net, plan, i, tensor, &mut blobs)?);
    }
    let (io, strings) = ports(net, graph, &extras.labels)?;
    let meta = serde_json::to_string(&describe(net, plan, graph, extras))
        .map_err(|e| Error::input(format!("META: {e}")))?;

    let section = |kind, bytes: &[u8]| Section {
        kind,
        mandatory: kind != SectionKind::Meta,
        bytes: bytes.to_vec(),
    };
    let sections = [
        section(SectionKind::Tensors, tensors.as_bytes()),
        section(SectionKind::Ops, ops.as_bytes()),
        section(SectionKind::Quant, quant.rows().as_bytes()),
        section(SectionKind::Luts, luts.bytes()),
        section(SectionKind::Weights, blobs.bytes()),
        section(SectionKind::Io, io.as_bytes()),
        section(SectionKind::Strings, strings.as_bytes()),
        section(SectionKind::SelfTest, &self_test(&extras.self_test)),
        section(SectionKind::Meta, meta.as_bytes()),
    ];
    let first_len = |ports: &[usize]| ports.first().map_or(0, |&t| net.tensors[t].bytes());
    let header = Header {
        magic: elastiq::format::MAGIC,
        major: elastiq::format::MAJOR,
        minor: elastiq::format::MINOR,
        arith: elastiq::spec::ARITH,
        sections: 0,
        total_len: 0.into(),
        arena_len: long(plan.arena_len)?.into(),
        op_set: ops.iter().fold(0, |set, op| set | OpSet::of(op)).into(),
        header_crc: 0.into(),
        body_off: 0.into(),
        input_len: long(first_len(&net.inputs))?.into(),
        output_len: long(first_len(&net.outputs))?.into(),
        scratch_len: long(plan.scratch_len)?.into(),
        tensors: index(tensors.len())?.into(),
        ops: index(ops.len())?.into(),
        io: index(io.len())?.into(),
        zero: [0; 18],
    };
    let bytes = frame::write(header, &sections)?;
    match Model::parse(&bytes) {
        Ok(_) => Ok(bytes),
        Err(e) => Err(Error::input(format!(
            "internal error: the packed artifact is refused by its own reader ({e:?})"
        ))),
    }
}

fn index(i: usize) -> Result<u16, Error> {
    u16::try_from(i).ok().filter(|&i| i != NONE).ok_or_else(|| {
        Error::input(format!(
            "the network has {i} rows of a kind, at most 65534 fit"
        ))
    })
}

fn long(v: usize) -> Result<u32, Error> {
    u32::try_from(v).map_err(|_| Error::input(format!("{v} bytes exceed the 4 GiB of the format")))
}

fn span(off: usize, len: usize) -> Result<Span, Error> {
    Ok(Span {
        off: long(off)?.into(),
        len: long(len)?.into(),
    })
}

fn tensor_row(
    net: &Lowered,
    plan: &Plan,
    i: usize,
    tensor: &Tensor,
    blobs: &mut Blobs,
) -> Result<TensorRow, Error> {
    let root = net.root(i);
    let spot = plan.spots[root].unwrap_or(Spot {
        off: 0,
        first: 0,
        last: 0,
    });
    let (off, place) = match &tensor.place {
        Place::Const(codes) => {
            let bytes: Vec<u8> = codes.iter().map(|&c| c as u8).collect();
            (blobs.add(&bytes)?.off, PLACE_CONST)
        }
        Place::Arena | Place::View(_) => (long(spot.off)?.into(), PLACE_ARENA),
    };
    Ok(TensorRow {
        dims: tensor.dims.map(Into::into),
        off,
        scale_bits: tensor.quant.scale.to_bits().into(),
        first: index(spot.first)?.into(),
        last: index(spot.last)?.into(),
        root: if root == i { NONE } else { index(root)? }.into(),
        zero: tensor.quant.zero,
        dtype: if tensor.width == 4 {
            DTYPE_I32
        } else {
            DTYPE_I8
        },
        place,
        pad: [0; 3],
    })
}

/// IO rows and the text that they point into.
fn ports(net: &Lowered, graph: &Graph, labels: &[String]) -> Result<(Vec<IoRow>, String), Error> {
    let mut strings = String::new();
    let mut text = |s: &str| {
        let found = span(strings.len(), s.len());
        strings.push_str(s);
        found
    };
    if let Some(bad) = labels.iter().find(|l| l.contains('\n')) {
        return Err(Error::input(format!("label {bad:?} contains a line break")));
    }
    let inputs = net
        .inputs
        .iter()
        .zip(&graph.inputs)
        .map(|(t, p)| (t, p, IO_INPUT, String::new()));
    let first = |i: usize| {
        if i == 0 {
            labels.join("\n")
        } else {
            String::new()
        }
    };
    let outputs = net.outputs.iter().zip(&graph.outputs).enumerate();
    let outputs = outputs.map(|(i, (t, p))| (t, p, IO_OUTPUT, first(i)));
    let mut rows = Vec::new();
    for (&t, port, dir, labels) in inputs.chain(outputs) {
        rows.push(IoRow {
            tensor: index(t)?.into(),
            dir,
            pad: 0,
            name: text(&port.name)?,
            labels: text(&labels)?,
        });
    }
    Ok((rows, strings))
}

fn self_test(cases: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = (cases.len() as u32).to_le_bytes().to_vec();
    for (input, output) in cases {
        bytes.extend(input);
        bytes.extend(output);
    }
    bytes
}

fn describe(net: &Lowered, plan: &Plan, graph: &Graph, extras: &Extras) -> Meta {
    let port = |p: &Port| MetaPort {
        name: p.name.clone(),
        file_shape: p.file_shape.clone(),
        perm: p.perm.clone(),
    };
    let layer = |op: &crate::lower::LOp| MetaLayer {
        name: op.name.clone(),
        op: op.op.to_owned(),
        macs: op.macs,
    };
    Meta {
        tool: format!("elastiq {}", env!("CARGO_PKG_VERSION")),
        source: extras.source.clone(),
        macs_imported: extras.macs_imported,
        arena_bound_bytes: plan.bound as u64,
        tensors: net.tensors.iter().map(|t| t.name.clone()).collect(),
        layers: net.ops.iter().map(layer).collect(),
        inputs: graph.inputs.iter().map(port).collect(),
        outputs: graph.outputs.iter().map(port).collect(),
    }
}

/// Name of an operator kind in reports.
pub fn kind_name(kind: OpKind) -> &'static str {
    match kind {
        OpKind::Conv => "Conv",
        OpKind::Depthwise => "Depthwise",
        OpKind::Dense => "Dense",
        OpKind::MaxPool => "MaxPool",
        OpKind::AvgPool => "AvgPool",
        OpKind::Add => "Add",
        OpKind::Mul => "Mul",
        OpKind::Lut => "Lut",
        OpKind::PRelu => "PRelu",
        OpKind::Softmax => "Softmax",
        OpKind::ArgMax => "ArgMax",
        OpKind::Copy => "Copy",
        OpKind::Transpose => "Transpose",
        OpKind::Resize => "Resize",
    }
}

/// Name of a weight coding in reports: `int8`, `int4`, `book4`.
pub fn coding_name(coding: u8, bits: u8) -> String {
    match coding {
        CODING_CODEBOOK => format!("book{bits}"),
        _ => format!("int{bits}"),
    }
}
