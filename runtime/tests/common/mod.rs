//! Artifacts written row by row, for tests of the reader and the kernels.
#![allow(dead_code, reason = "every test uses another part")]

pub mod cases;
pub mod networks;
pub mod nor;
pub mod reference;
pub mod rng;

use elastiq::format::crc::{Crc, crc32c};
use elastiq::format::*;
use elastiq::{Engine, OpSet, spec};
use zerocopy::{FromZeros, IntoBytes};

/// Lifetimes, offsets, counts and checksums are filled in by [`Builder::build`]; every storage has its own bytes.
#[derive(Clone, Default)]
pub struct Builder {
    pub tensors: Vec<TensorRow>,
    pub ops: Vec<OpRow>,
    pub quant: Vec<QuantRow>,
    pub luts: Vec<u8>,
    pub weights: Vec<i8>,
    pub io: Vec<IoRow>,
    pub strings: String,
    pub self_test: Vec<u8>,
    pub meta: String,
    pub arena: usize,
    pub scratch: usize,
    pub variants: Vec<Variant>,
}

/// An operating point: its name, the indices of its operators, its first row in IO and how many it has.
#[derive(Clone)]
pub struct Variant {
    pub name: &'static str,
    pub ops: Vec<u16>,
    pub io: u16,
    pub ports: u16,
}

pub fn span(off: usize, len: usize) -> Span {
    Span {
        off: (off as u32).into(),
        len: (len as u32).into(),
    }
}

impl Builder {
    /// New storage in the arena.
    pub fn tensor(&mut self, dims: [usize; 4], zero: i8) -> u16 {
        self.storage(dims, zero, DTYPE_I8)
    }

    /// New storage of `i32` in the arena.
    pub fn tensor_i32(&mut self, dims: [usize; 4]) -> u16 {
        self.storage(dims, 0, DTYPE_I32)
    }

    fn storage(&mut self, dims: [usize; 4], zero: i8, dtype: u8) -> u16 {
        let mut row = TensorRow::new_zeroed();
        row.dims = dims.map(|dim| (dim as u32).into());
        row.root.set(NONE);
        (row.zero, row.dtype) = (zero, dtype);
        row.off.set(self.arena as u32);
        self.arena += row.byte_len().unwrap();
        self.push(row)
    }

    /// The bytes of `root` under other dimensions.
    pub fn view(&mut self, root: u16, dims: [usize; 4], zero: i8) -> u16 {
        let mut row = self.tensors[usize::from(root)];
        row.dims = dims.map(|dim| (dim as u32).into());
        row.root.set(root);
        row.zero = zero;
        self.push(row)
    }

    /// Read-only data.
    pub fn constant(&mut self, dims: [usize; 4], zero: i8, data: &[i8]) -> u16 {
        let mut row = TensorRow::new_zeroed();
        row.dims = dims.map(|dim| (dim as u32).into());
        row.root.set(NONE);
        (row.zero, row.place) = (zero, PLACE_CONST);
        row.off = self.weights(data).off;
        self.push(row)
    }

    fn push(&mut self, row: TensorRow) -> u16 {
        self.tensors.push(row);
        self.tensors.len() as u16 - 1
    }

    pub fn weights(&mut self, data: &[i8]) -> Span {
        let off = self.weights.len().next_multiple_of(ALIGN);
        self.weights.resize(off, 0);
        self.weights.extend(data);
        span(off, data.len())
    }

    pub fn quant(&mut self, rows: &[(i32, i32)]) -> Span {
        let off = self.quant.len();
        let row = |&(bias, mult): &(i32, i32)| QuantRow {
            bias: bias.into(),
            mult: mult.into(),
        };
        self.quant.extend(rows.iter().map(row));
        span(off, rows.len())
    }

    pub fn lut(&mut self, bytes: &[u8]) -> Span {
        let off = self.luts.len();
        self.luts.extend(bytes);
        span(off, bytes.len())
    }

    /// Append an operator with full clamp bounds; `edit` fills in what the kind needs.
    pub fn op(&mut self, kind: OpKind, x: u16, y: u16, p: &[usize], edit: impl FnOnce(&mut OpRow)) {
        let mut row = OpRow::new_zeroed();
        row.kind = kind as u8;
        row.in0.set(x);
        row.in1.set(NONE);
        row.out.set(y);
        (row.lo, row.hi) = (-128, 127);
        if matches!(kind, OpKind::Conv | OpKind::Depthwise | OpKind::Dense) {
            row.bits = 8;
        }
        for (slot, v) in row.p.iter_mut().zip(p) {
            slot.set(*v as u16);
        }
        edit(&mut row);
        self.ops.push(row);
    }

    pub fn input(&mut self, tensor: u16, name: &str) {
        self.port(tensor, IO_INPUT, name, "");
    }

    pub fn output(&mut self, tensor: u16, name: &str, labels: &str) {
        self.port(tensor, IO_OUTPUT, name, labels);
    }

    fn port(&mut self, tensor: u16, dir: u8, name: &str, labels: &str) {
        let mut text = |text: &str| {
            self.strings.push_str(text);
            span(self.strings.len() - text.len(), text.len())
        };
        let (name, labels) = (text(name), text(labels));
        self.io.push(IoRow {
            tensor: tensor.into(),
            dir,
            pad: 0,
            name,
            labels,
        });
    }

    /// Positions and rows of operators, of all variants.
    fn order(&self) -> Vec<(u16, u16)> {
        let place = |(i, op): (usize, &u16)| (i as u16, *op);
        match &self.variants[..] {
            [] => (0..self.ops.len() as u16).map(|i| (i, i)).collect(),
            some => {
                let of = |v: &Variant| v.ops.iter().enumerate().map(place).collect::<Vec<_>>();
                some.iter().flat_map(of).collect()
            }
        }
    }

    /// The section of the variants; empty if there are none.
    fn section(&mut self) -> Vec<u8> {
        let Some(first) = self.variants.first() else {
            return vec![];
        };
        let head = VariantsHead {
            count: (self.variants.len() as u16).into(),
            ops: (first.ops.len() as u16).into(),
            ports: first.ports.into(),
            pad: 0.into(),
        };
        let mut bytes = head.as_bytes().to_vec();
        for v in &self.variants {
            let name = span(self.strings.len(), v.name.len());
            self.strings.push_str(v.name);
            let row = VariantRow {
                name,
                io: v.io.into(),
                pad: 0.into(),
            };
            bytes.extend(row.as_bytes());
        }
        let lists = self.variants.iter().flat_map(|v| &v.ops);
        bytes.extend(lists.flat_map(|op| op.to_le_bytes()));
        bytes
    }

    fn lifetimes(&mut self) {
        let order = self.order();
        let end = order.iter().map(|(i, _)| i + 1).max().unwrap_or(0);
        let mut uses: Vec<(u16, u16)> = Vec::new();
        for (i, row) in order {
            let op = &self.ops[usize::from(row)];
            let two = [OpKind::Add as u8, OpKind::Mul as u8].contains(&op.kind);
            let operands = [
                op.in0.get(),
                op.out.get(),
                if two { op.in1.get() } else { NONE },
            ];
            uses.extend(operands.iter().filter(|t| **t != NONE).map(|t| (*t, i)));
        }
        for io in &self.io {
            uses.push((io.tensor.get(), if io.dir == IO_INPUT { 0 } else { end }));
        }
        let root = |t: u16| match self.tensors[usize::from(t)].root.get() {
            NONE => t,
            root => root,
        };
        let uses: Vec<(u16, u16)> = uses.iter().map(|&(t, at)| (root(t), at)).collect();
        for (i, row) in self.tensors.iter_mut().enumerate() {
            let mine = || {
                uses.iter()
                    .filter(|(t, _)| usize::from(*t) == i)
                    .map(|(_, at)| *at)
            };
            row.first.set(mine().min().unwrap_or(0));
            row.last.set(mine().max().unwrap_or(0));
        }
    }

    pub fn build(mut self) -> Vec<u8> {
        self.lifetimes();
        let variants = self.section();
        let size = |dir| {
            let io = self.io.iter().find(|io| io.dir == dir);
            io.and_then(|io| self.tensors[usize::from(io.tensor.get())].byte_len())
                .unwrap_or(0)
        };
        let mut header = Header::new_zeroed();
        (header.magic, header.major, header.minor) = (MAGIC, MAJOR, MINOR);
        header.arith = spec::ARITH;
        header.arena_len.set((self.arena + self.scratch) as u32);
        header.scratch_len.set(self.scratch as u32);
        let several = match variants.is_empty() {
            true => 0,
            false => OpSet::ELASTIC,
        };
        header
            .op_set
            .set(self.ops.iter().fold(several, |set, op| set | OpSet::of(op)));
        header.input_len.set(size(IO_INPUT) as u32);
        header.output_len.set(size(IO_OUTPUT) as u32);
        header.tensors.set(self.tensors.len() as u16);
        header.ops.set(self.ops.len() as u16);
        header.io.set(self.io.len() as u16);
        let sections: Vec<(SectionKind, &[u8])> = [
            (SectionKind::Tensors, self.tensors.as_bytes()),
            (SectionKind::Ops, self.ops.as_bytes()),
            (SectionKind::Quant, self.quant.as_bytes()),
            (SectionKind::Luts, &self.luts),
            (SectionKind::Weights, self.weights.as_bytes()),
            (SectionKind::Io, self.io.as_bytes()),
            (SectionKind::Strings, self.strings.as_bytes()),
            (SectionKind::SelfTest, &self.self_test),
            (SectionKind::Variants, &variants),
            (SectionKind::Meta, self.meta.as_bytes()),
        ]
        .into_iter()
        .filter(|(_, bytes)| !bytes.is_empty())
        .collect();
        assemble(header, &sections)
    }
}

/// Header, section table, block table and body, sealed.
pub fn assemble(mut header: Header, sections: &[(SectionKind, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    let mut rows = Vec::new();
    for (kind, bytes) in sections {
        body.resize(body.len().next_multiple_of(ALIGN), 0);
        rows.push((*kind, body.len(), bytes.len()));
        body.extend_from_slice(bytes);
    }
    let tables = 64 + 12 * rows.len() + 4 * body.len().div_ceil(BLOCK);
    let body_off = tables.next_multiple_of(ALIGN);
    header.sections = rows.len() as u8;
    header.body_off.set(body_off as u32);
    header.total_len.set((body_off + body.len()) as u32);
    let mut bytes = header.as_bytes().to_vec();
    for (kind, off, len) in rows {
        let flags = SECTION_MANDATORY.into();
        let (off, len) = (((body_off + off) as u32).into(), (len as u32).into());
        let row = SectionRow {
            kind: (kind as u16).into(),
            flags,
            off,
            len,
        };
        bytes.extend(row.as_bytes());
    }
    bytes.resize(body_off, 0);
    bytes.extend(body);
    seal(&mut bytes);
    bytes
}

/// Recompute both levels of checksums, as far as the header makes sense.
pub fn seal(bytes: &mut [u8]) {
    let word = |bytes: &[u8], at: usize| {
        u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize
    };
    if bytes.len() < 64 {
        return;
    }
    let (body, table) = (word(bytes, 24), 64 + 12 * usize::from(bytes[7]));
    if body > bytes.len() {
        return;
    }
    let sums: Vec<u32> = bytes[body..].chunks(BLOCK).map(crc32c).collect();
    for (i, sum) in sums.iter().enumerate() {
        if let Some(slot) = bytes[..body].get_mut(table + 4 * i..table + 4 * i + 4) {
            slot.copy_from_slice(&sum.to_le_bytes());
        }
    }
    if body >= 24 {
        let sum = Crc::new()
            .update(&bytes[..20])
            .update(&[0; 4])
            .update(&bytes[24..body])
            .finish();
        bytes[20..24].copy_from_slice(&sum.to_le_bytes());
    }
}

/// Run with two different arena contents before, which must not matter; all output bytes.
pub fn run(bytes: &[u8], inputs: &[&[i8]]) -> Vec<u8> {
    run_variant(bytes, 0, inputs)
}

/// [`run`] for one variant.
pub fn run_variant(bytes: &[u8], variant: usize, inputs: &[&[i8]]) -> Vec<u8> {
    let mut engine = Engine::<{ OpSet::ALL }>::new(bytes).unwrap_or_else(|e| panic!("{e}"));
    engine.select(variant).unwrap();
    let [first, second] = [0x5A, 0xFF].map(|garbage| {
        let mut arena = vec![garbage; engine.model().arena_len()];
        let mut session = engine.start(&mut arena).unwrap();
        for (i, x) in inputs.iter().enumerate() {
            session.input_mut(i).unwrap().copy_from_slice(x.as_bytes());
        }
        session.finish().unwrap();
        let outputs = engine.model().outputs().count();
        (0..outputs)
            .flat_map(|i| session.output(i).unwrap().to_vec())
            .collect::<Vec<u8>>()
    });
    assert_eq!(first, second, "result depends on what the arena held");
    first
}

/// [`run`] for `i8` outputs.
pub fn run_i8(bytes: &[u8], inputs: &[&[i8]]) -> Vec<i8> {
    run(bytes, inputs)
        .into_iter()
        .map(|byte| byte as i8)
        .collect()
}
