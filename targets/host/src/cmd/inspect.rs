//! `elastiq inspect`: what is in an artifact, and whether it still is what was packed.

use crate::artifact::{
    Artifact, Host, coding_name, dims, elements, in_place, macs, op_name, root, shape_text,
};
use crate::failure::{Failure, Outcome};
use crate::memory_map::{Block, blocks, drawing, text as map_text};
use crate::output::{TextTable, check_writable, grouped, print, print_json, write_file};
use clap::Args;
use elastiq::format::{
    DTYPE_I32, Header, OpKind, OpRow, PLACE_ARENA, QuantRow, SectionKind, SectionRow, Span,
};
use elastiq::{Io, Model};
use elastiq_quant::io::quant;
use elastiq_quant::pack::MetaPort;
use serde::Serialize;
use std::collections::HashSet;
use std::fmt::Write;
use std::path::PathBuf;
use zerocopy::{FromBytes, IntoBytes};

/// Show the contents of an artifact: layers, codings, memory map; check it and run its self-test
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  elastiq inspect digits.eqm --svg digits.svg")]
pub struct InspectArgs {
    /// Artifact made by `elastiq compile`
    model: PathBuf,
    /// Draw the memory map: operators along x, bytes of the arena along y
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    file: String,
    format: String,
    arith: u8,
    file_bytes: usize,
    arena_bytes: usize,
    arena_bound_bytes: u64,
    scratch_bytes: usize,
    weights_bytes: usize,
    macs: u64,
    /// Operating points, at least one.
    variants: Vec<Variant>,
    self_test: SelfTest,
    inputs: Vec<Port>,
    outputs: Vec<Port>,
    sections: Vec<Section>,
    layers: Vec<Layer>,
    arena: Vec<Block>,
}

/// An operating point and what of it no variant before it has.
#[derive(Serialize)]
struct Variant {
    name: String,
    /// Coding of the weights per layer, empty without weights.
    codings: Vec<String>,
    /// Bits per weight, averaged over all weights.
    average_bits: f64,
    own_ops: usize,
    own_tensors: usize,
    own_quant_bytes: usize,
    own_weights_bytes: usize,
    self_test: SelfTest,
}

#[derive(Clone, Copy, Serialize)]
struct SelfTest {
    passed: usize,
    cases: usize,
}

#[derive(Serialize)]
struct Port {
    name: String,
    shape: [usize; 4],
    file_shape: Vec<usize>,
    dtype: &'static str,
    scale: f32,
    zero: i8,
    labels: Vec<String>,
}

#[derive(Serialize)]
struct Section {
    kind: String,
    off: u32,
    bytes: u32,
}

#[derive(Serialize)]
struct Layer {
    name: String,
    op: String,
    shape: String,
    macs: u64,
    weights_bytes: u32,
    coding: String,
    in_place: bool,
    arena_off: Option<u32>,
    out_bytes: usize,
}

/// Runs the subcommand.
pub fn run(args: &InspectArgs) -> Outcome<()> {
    let artifact = Artifact::load(&args.model)?;
    if let Some(svg) = &args.svg {
        check_writable(svg)?;
    }
    let model = *artifact.engine()?.model();
    let variants = variants(&artifact, &model)?;
    let sum = |f: fn(&SelfTest) -> usize| variants.iter().map(|v| f(&v.self_test)).sum();
    let (passed, cases) = (sum(|t| t.passed), sum(|t| t.cases));
    let report = Report::of(&artifact, &model, SelfTest { passed, cases }, variants);
    if let Some(svg) = &args.svg {
        write_file(svg, drawing(&artifact, &model, &report.arena).as_bytes())?;
    }
    if args.json {
        print_json(&report)?;
    } else {
        print(&report.text())?;
    }
    if passed < cases {
        let what = format!(
            "{}: self-test: {} of {cases} cases gave other bytes",
            report.file,
            cases - passed
        );
        return Err(Failure::check(what));
    }
    Ok(())
}

impl Report {
    fn of(
        artifact: &Artifact,
        model: &Model<'_>,
        self_test: SelfTest,
        variants: Vec<Variant>,
    ) -> Report {
        let header = model.header();
        Report {
            file: artifact.path.display().to_string(),
            format: format!("{}.{}", header.major, header.minor),
            arith: header.arith,
            file_bytes: artifact.bytes.len(),
            arena_bytes: model.arena_len(),
            arena_bound_bytes: artifact.meta.arena_bound_bytes,
            scratch_bytes: header.scratch_len.get() as usize,
            weights_bytes: model.weights().len(),
            macs: model.steps().map(|op| macs(model, op)).sum(),
            variants,
            self_test,
            inputs: model
                .inputs()
                .enumerate()
                .map(|(i, io)| port(io, artifact.meta.inputs.get(i)))
                .collect(),
            outputs: model
                .outputs()
                .enumerate()
                .map(|(i, io)| port(io, artifact.meta.outputs.get(i)))
                .collect(),
            sections: sections(&artifact.bytes),
            layers: model
                .steps()
                .enumerate()
                .map(|(i, op)| layer(artifact, model, i, op))
                .collect(),
            arena: blocks(artifact, model),
        }
    }

    fn text(&self) -> String {
        let mut t = format!(
            "{}: format {}, arithmetic {}, checksums right\n{} bytes, weights {}, arena {} (lower bound {}, scratch {}), {} MACs, variants: {}\n",
            self.file,
            self.format,
            self.arith,
            grouped(self.file_bytes as u64),
            grouped(self.weights_bytes as u64),
            grouped(self.arena_bytes as u64),
            grouped(self.arena_bound_bytes),
            grouped(self.scratch_bytes as u64),
            grouped(self.macs),
            self.variants.len(),
        );
        let _ = writeln!(
            t,
            "self-test: passed {}/{}",
            self.self_test.passed, self.self_test.cases
        );
        for (dir, ports) in [("input", &self.inputs), ("output", &self.outputs)] {
            for p in ports {
                let quant = format!("{} = {} * (code - {})", p.dtype, p.scale, p.zero);
                let _ = write!(
                    t,
                    "{dir:6} {} {:?}, in the file {:?}, {quant}",
                    p.name, p.shape, p.file_shape
                );
                t.push_str(&if p.labels.is_empty() {
                    String::new()
                } else {
                    format!(", labels {}", p.labels.join(" "))
                });
                t.push('\n');
            }
        }
        if self.variants.len() > 1 {
            let _ = write!(t, "\n{}", self.points());
        }
        let mut table = TextTable::new(&["section", "offset", "bytes"]);
        for s in &self.sections {
            table.row([s.kind.clone(), s.off.to_string(), s.bytes.to_string()]);
        }
        let _ = write!(t, "\n{}", table.render(&[0]));
        let mut table = TextTable::new(&[
            "#", "layer", "op", "out", "MACs", "weights", "coding", "in place", "arena",
        ]);
        for (i, l) in self.layers.iter().enumerate() {
            table.row([
                i.to_string(),
                l.name.clone(),
                l.op.clone(),
                l.shape.clone(),
                grouped(l.macs),
                l.weights_bytes.to_string(),
                self.codings(i),
                if l.in_place { "yes" } else { "" }.to_string(),
                l.arena_off
                    .map_or(String::new(), |o| format!("{o}+{}", l.out_bytes)),
            ]);
        }
        let _ = write!(
            t,
            "\n{}\n{}",
            table.render(&[1, 2, 6, 7]),
            map_text(&self.arena, self.layers.len())
        );
        t
    }
}

impl Report {
    /// Codings of layer `i` in all variants, each once.
    fn codings(&self, i: usize) -> String {
        let mut found: Vec<&str> = Vec::new();
        for coding in self.variants.iter().filter_map(|v| v.codings.get(i)) {
            if !found.contains(&coding.as_str()) {
                found.push(coding);
            }
        }
        found.join(" ")
    }

    /// One line per variant: what it has that those before it have not.
    fn points(&self) -> String {
        let mut table = TextTable::new(&[
            "variant",
            "mean bits",
            "own operators",
            "own tensors",
            "own requantization",
            "own weights",
            "self-test",
        ]);
        for v in &self.variants {
            table.row([
                v.name.clone(),
                format!("{:.2}", v.average_bits),
                v.own_ops.to_string(),
                v.own_tensors.to_string(),
                v.own_quant_bytes.to_string(),
                v.own_weights_bytes.to_string(),
                format!("{}/{}", v.self_test.passed, v.self_test.cases),
            ]);
        }
        table.render(&[0])
    }
}

/// Every operating point; its rows and bytes count where no variant before it uses them.
fn variants(artifact: &Artifact, model: &Model<'_>) -> Outcome<Vec<Variant>> {
    let fail = |e| Failure::at(&artifact.path, e);
    let mut seen = Seen::default();
    let mut found = Vec::new();
    for i in 0..model.variants() {
        let chosen = model.with_variant(i).map_err(fail)?;
        let mut engine = artifact.engine()?;
        engine.select(i).map_err(fail)?;
        let (passed, cases) = Host::new(engine).self_test().map_err(fail)?;
        let (mut weights, mut bits) = (0, 0);
        let mut v = Variant {
            name: chosen.variant_name(i).unwrap_or_default().to_string(),
            codings: chosen.steps().map(coding_name).collect(),
            average_bits: 0.0,
            own_ops: 0,
            own_tensors: 0,
            own_quant_bytes: 0,
            own_weights_bytes: 0,
            self_test: SelfTest { passed, cases },
        };
        for op in chosen.steps() {
            let codes = codes(model, op);
            weights += codes;
            bits += codes * u64::from(op.bits);
            let key = |span: Span| (span.off.get(), span.len.get());
            let operands = [Some(op.in0), operands(op).then_some(op.in1), Some(op.out)];
            v.own_ops += usize::from(seen.ops.insert(op.as_bytes()));
            if seen.quant.insert(key(op.quant)) {
                v.own_quant_bytes += op.quant.len.get() as usize * size_of::<QuantRow>();
            }
            if seen.weights.insert(key(op.weights)) {
                v.own_weights_bytes += op.weights.len.get() as usize;
            }
            let new = operands.into_iter().flatten().map(|t| t.get());
            v.own_tensors += new.filter(|t| seen.tensors.insert(*t)).count();
        }
        v.average_bits = bits as f64 / weights.max(1) as f64;
        found.push(v);
    }
    Ok(found)
}

/// What the variants so far use.
#[derive(Default)]
struct Seen<'m> {
    ops: HashSet<&'m [u8]>,
    tensors: HashSet<u16>,
    quant: HashSet<(u32, u32)>,
    weights: HashSet<(u32, u32)>,
}

/// Whether an operator has a second operand.
fn operands(op: &OpRow) -> bool {
    [OpKind::Add as u8, OpKind::Mul as u8].contains(&op.kind)
}

/// Weights of an operator.
fn codes(model: &Model<'_>, op: &OpRow) -> u64 {
    let out = elements(&model.tensors()[usize::from(op.out.get())]) as u64;
    let channels = u64::from(op.quant.len.get());
    macs(model, op) / (out / channels.max(1)).max(1)
}

fn port(io: Io<'_>, meta: Option<&MetaPort>) -> Port {
    let quant = quant(io.row);
    Port {
        name: io.name().to_string(),
        shape: dims(io.row),
        file_shape: meta.map_or_else(|| dims(io.row).to_vec(), |m| m.file_shape.clone()),
        dtype: if io.row.dtype == DTYPE_I32 {
            "i32"
        } else {
            "i8"
        },
        scale: quant.scale,
        zero: quant.zero,
        labels: io.labels().lines().map(str::to_string).collect(),
    }
}

fn layer(artifact: &Artifact, model: &Model<'_>, i: usize, op: &OpRow) -> Layer {
    let out = &model.tensors()[usize::from(op.out.get())];
    let storage = root(model, op.out.get()).1;
    Layer {
        name: artifact.layer_name(i),
        op: op_name(op),
        shape: shape_text(out),
        macs: macs(model, op),
        weights_bytes: op.weights.len.get(),
        coding: coding_name(op),
        in_place: in_place(model, op),
        arena_off: (storage.place == PLACE_ARENA).then(|| storage.off.get()),
        out_bytes: out.byte_len().unwrap_or_default(),
    }
}

/// The section table of an artifact that has been checked.
fn sections(bytes: &[u8]) -> Vec<Section> {
    let Ok((header, rest)) = Header::ref_from_prefix(bytes) else {
        return vec![];
    };
    let Ok((rows, _)) =
        <[SectionRow]>::ref_from_prefix_with_elems(rest, usize::from(header.sections))
    else {
        return vec![];
    };
    let name = |kind: u16| {
        SectionKind::from_u16(kind).map_or_else(|| format!("unknown {kind}"), |k| format!("{k:?}"))
    };
    rows.iter()
        .map(|r| Section {
            kind: name(r.kind.get()),
            off: r.off.get(),
            bytes: r.len.get(),
        })
        .collect()
}
