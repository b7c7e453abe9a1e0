//! The writer of the artifact: rows, tables, weights and checksums in the layout of [`elastiq::format`].

pub(crate) mod frame;
mod meta;
mod strip;
mod tables;
mod tensors;
mod variants;
mod weights;

pub use meta::{Meta, MetaLayer, MetaPort};
pub use strip::without_meta;

use crate::Error;
use crate::ir::{Graph, Port};
use crate::lower::Lowered;
use crate::plan::Plan;
use elastiq::format::{
    CODING_CODEBOOK, CODING_NESTED, Header, IO_INPUT, IO_OUTPUT, IoRow, NONE, OpKind, OpRow,
    SectionKind, Span,
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

/// An operating point: its name, empty where there is only one, and the network.
#[derive(Clone, Debug)]
pub struct Variant {
    pub name: String,
    pub net: Lowered,
}

/// Write the artifact of one network and read it back with the reader of the board.
///
/// # Errors
/// As [`pack_variants`].
pub fn pack(net: &Lowered, plan: &Plan, graph: &Graph, extras: &Extras) -> Result<Vec<u8>, Error> {
    pack_all(&[("", net)], plan, graph, extras)
}

/// [`pack`] for several operating points of one network, which differ in weights and scales alone. Rows and bytes that
/// are equal are stored once.
///
/// # Errors
/// A network beyond the limits of the format (65,534 tensors, 64 variants, 4 GiB). That the reader refuses the result
/// would be a defect of this crate, and is reported as one.
pub fn pack_variants(
    variants: &[Variant],
    plan: &Plan,
    graph: &Graph,
    extras: &Extras,
) -> Result<Vec<u8>, Error> {
    let nets: Vec<(&str, &Lowered)> = variants.iter().map(|v| (&*v.name, &v.net)).collect();
    pack_all(&nets, plan, graph, extras)
}

fn pack_all(
    nets: &[(&str, &Lowered)],
    plan: &Plan,
    graph: &Graph,
    extras: &Extras,
) -> Result<Vec<u8>, Error> {
    let (_, first) = *nets
        .first()
        .ok_or_else(|| Error::input("an artifact needs a network"))?;
    let mut blobs = Blobs::new(elastiq::format::ALIGN);
    let mut luts = Blobs::new(LUT_ALIGN);
    let mut quant = Rows::default();
    let places: Vec<Vec<usize>> = tensors::places(nets);
    let (mut ops, mut lists) = (Vec::<OpRow>::new(), Vec::<u16>::new());
    for ((_, net), place) in nets.iter().zip(&places) {
        for (op, &(scratch_off, scratch_len)) in net.ops.iter().zip(&plan.scratch) {
            let w = weights::pack(net, op, plan.backend);
            let lut = if w.lut.is_empty() { &op.lut } else { &w.lut };
            let row = OpRow {
                kind: op.kind as u8,
                flags: op.flags | w.flags,
                coding: w.coding,
                shift: op.shift,
                in0: index(place[op.in0])?.into(),
                in1: op.in1.map_or(Ok(0), |t| index(place[t]))?.into(),
                out: index(place[op.out])?.into(),
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
            };
            let same = |other: &OpRow| other.as_bytes() == row.as_bytes();
            // In a network of its own every operator has a row of its own.
            let known = ops.iter().position(same).filter(|_| nets.len() > 1);
            lists.push(index(known.unwrap_or(ops.len()))?);
            if known.is_none() {
                ops.push(row);
            }
        }
    }
    let (tensors, names) = tensors::rows(nets, &places, plan, &mut blobs)?;
    let (io, mut strings, starts) = ports(nets, &places, graph, &extras.labels)?;
    let meta = serde_json::to_string(&describe(first, names, plan, graph, extras))
        .map_err(|e| Error::input(format!("META: {e}")))?;
    let variants = match nets.len() {
        1 => Vec::new(),
        _ => variants::section(nets, &starts, &lists, &mut strings)?,
    };

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
        section(SectionKind::Variants, &variants),
        section(SectionKind::Meta, meta.as_bytes()),
    ];
    let several = if nets.len() > 1 { OpSet::ELASTIC } else { 0 };
    let first_len = |ports: &[usize]| ports.first().map_or(0, |&t| first.tensors[t].bytes());
    let header = Header {
        magic: elastiq::format::MAGIC,
        major: elastiq::format::MAJOR,
        minor: elastiq::format::MINOR,
        arith: elastiq::spec::ARITH,
        sections: 0,
        total_len: 0.into(),
        arena_len: long(plan.arena_len)?.into(),
        op_set: ops
            .iter()
            .fold(several, |set, op| set | OpSet::of(op))
            .into(),
        header_crc: 0.into(),
        body_off: 0.into(),
        input_len: long(first_len(&first.inputs))?.into(),
        output_len: long(first_len(&first.outputs))?.into(),
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

/// IO rows, the text that they point into, and the first row of each variant.
fn ports(
    nets: &[(&str, &Lowered)],
    places: &[Vec<usize>],
    graph: &Graph,
    labels: &[String],
) -> Result<(Vec<IoRow>, String, Vec<u16>), Error> {
    let mut strings = String::new();
    let mut text = |s: &str| {
        let found = span(strings.len(), s.len());
        strings.push_str(s);
        found
    };
    if let Some(bad) = labels.iter().find(|l| l.contains('\n')) {
        return Err(Error::input(format!("label {bad:?} contains a line break")));
    }
    let mut texts = Vec::new();
    let inputs = graph.inputs.iter().map(|p| (p, IO_INPUT, String::new()));
    let first = |i: usize| match i {
        0 => labels.join("\n"),
        _ => String::new(),
    };
    let outputs = graph.outputs.iter().enumerate();
    for (port, dir, labels) in inputs.chain(outputs.map(|(i, p)| (p, IO_OUTPUT, first(i)))) {
        texts.push((dir, text(&port.name)?, text(&labels)?));
    }
    let mut blocks: Vec<Vec<usize>> = Vec::new();
    let mut starts = Vec::new();
    let mut rows = Vec::new();
    for ((_, net), place) in nets.iter().zip(places) {
        let ports = net.inputs.iter().chain(&net.outputs);
        let block: Vec<usize> = ports.map(|&t| place[t]).collect();
        if let Some(known) = blocks.iter().position(|other| *other == block) {
            starts.push(index(known * block.len())?);
            continue;
        }
        starts.push(index(rows.len())?);
        for (&t, &(dir, name, labels)) in block.iter().zip(&texts) {
            rows.push(IoRow {
                tensor: index(t)?.into(),
                dir,
                pad: 0,
                name,
                labels,
            });
        }
        blocks.push(block);
    }
    Ok((rows, strings, starts))
}

fn self_test(cases: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = (cases.len() as u32).to_le_bytes().to_vec();
    for (input, output) in cases {
        bytes.extend(input);
        bytes.extend(output);
    }
    bytes
}

fn describe(
    net: &Lowered,
    tensors: Vec<String>,
    plan: &Plan,
    graph: &Graph,
    extras: &Extras,
) -> Meta {
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
        tensors,
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

/// Name of a weight coding in reports: `int8`, `int4`, `book4`, `nested4`.
pub fn coding_name(coding: u8, bits: u8) -> String {
    match coding {
        CODING_CODEBOOK => format!("book{bits}"),
        CODING_NESTED => format!("nested{bits}"),
        _ => format!("int{bits}"),
    }
}
