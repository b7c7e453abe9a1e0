//! The checked artifact.

use super::check;
use super::crc::{Crc, crc32c};
use super::rows::*;
use crate::error::{LoadError, LoadErrorKind as Kind, RunError};
use crate::info::OpSet;
use crate::kernels::pieces::pieces;
use crate::spec::ARITH;
use zerocopy::FromBytes;
use zerocopy::byteorder::little_endian::U16;

/// A checked artifact: the only way to get one is [`Model::parse`], so every index and range in it is valid.
#[derive(Clone, Copy, Debug)]
pub struct Model<'a> {
    pub(crate) header: &'a Header,
    pub(crate) tensors: &'a [TensorRow],
    pub(crate) ops: &'a [OpRow],
    pub(crate) quant: &'a [QuantRow],
    pub(crate) luts: &'a [u8],
    pub(crate) weights: &'a [i8],
    pub(crate) io: &'a [IoRow],
    pub(crate) strings: &'a [u8],
    pub(crate) self_test: &'a [u8],
    pub(crate) meta: Option<&'a [u8]>,
    pub(crate) variants: Variants<'a>,
}

/// Operating points, and the one that is chosen. No rows where OPS is the order of execution.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Variants<'a> {
    pub rows: &'a [VariantRow],
    /// The operators of all variants behind each other.
    pub ops: &'a [U16],
    /// Operators of a variant.
    pub len: u16,
    /// Rows of all variants.
    pub io: &'a [IoRow],
    /// How many of them each variant has.
    pub ports: u16,
    pub chosen: u16,
}

/// A named input or output of the network.
#[derive(Clone, Copy, Debug)]
pub struct Io<'a> {
    /// Index in [`Model::tensors`].
    pub tensor: u16,
    /// Shape, scale and zero point.
    pub row: &'a TensorRow,
    /// Bytes.
    pub len: usize,
    name: &'a [u8],
    labels: &'a [u8],
}

impl<'a> Io<'a> {
    /// Name in the original file.
    pub fn name(&self) -> &'a str {
        core::str::from_utf8(self.name).unwrap_or_default()
    }

    /// Whether name and labels are text.
    pub(crate) fn is_text(&self) -> bool {
        let is_text = |bytes| core::str::from_utf8(bytes).is_ok();
        is_text(self.name) && is_text(self.labels)
    }

    /// Class labels, separated by newlines; empty if there are none.
    pub fn labels(&self) -> &'a str {
        core::str::from_utf8(self.labels).unwrap_or_default()
    }
}

/// Iterator of [`Model::inputs`] and [`Model::outputs`].
#[derive(Clone, Debug)]
pub(crate) struct Ports<'a> {
    tensors: &'a [TensorRow],
    strings: &'a [u8],
    rest: &'a [IoRow],
    dir: u8,
}

impl<'a> Iterator for Ports<'a> {
    type Item = Io<'a>;

    #[inline(never)]
    fn next(&mut self) -> Option<Io<'a>> {
        while let [row, rest @ ..] = self.rest {
            self.rest = rest;
            if row.dir == self.dir {
                return port(self.tensors, self.strings, row);
            }
        }
        None
    }
}

impl Variants<'_> {
    /// Row in IO that the chosen variant starts with.
    pub fn first_port(&self) -> usize {
        let row = self.rows.get(usize::from(self.chosen));
        row.map_or(0, |row| row.io.get().into())
    }
}

/// Byte offsets of the sections whose rows an error can point at.
#[derive(Clone, Copy, Default)]
pub(crate) struct Places {
    pub tensors: usize,
    pub ops: usize,
    pub io: usize,
    pub self_test: usize,
    pub strings: usize,
    pub meta: usize,
    pub variants: usize,
}

impl<'a> Model<'a> {
    /// Check everything and give access to the artifact. The one validator of the format.
    ///
    /// Time is linear in the artifact but for lifetimes, which are compared pairwise ([`MAX_ROWS`] bounds them).
    ///
    /// # Errors
    /// The first thing found wrong, with its byte offset.
    pub fn parse(bytes: &'a [u8]) -> Result<Model<'a>, LoadError> {
        let (model, places) = Self::parse_within::<{ OpSet::ALL }>(bytes)?;
        check::text(&model, &places)?;
        Ok(model)
    }

    /// [`Model::parse`] that refuses operators outside of `OPS` and links no code for them, and that leaves it to those who
    /// read text to see whether it is text.
    pub(crate) fn parse_within<const OPS: u32>(
        bytes: &'a [u8],
    ) -> Result<(Model<'a>, Places), LoadError> {
        let (header, rows, body_off) = frame(bytes)?;
        if header.op_set.get() & (!OPS | OpSet::PARTS) != 0 {
            return Err(LoadError::at(Kind::NotLinked, 16));
        }
        let (model, places) = sections::<OPS>(bytes, header, rows, body_off)?;
        check::check::<OPS>(&model, &places)?;
        Ok(match OPS & OpSet::ELASTIC {
            0 => (model, places),
            _ => (model.choose(0), places),
        })
    }

    /// First row of the artifact.
    pub fn header(&self) -> &'a Header {
        self.header
    }

    /// Tensors; operator and IO rows hold indices into them.
    pub fn tensors(&self) -> &'a [TensorRow] {
        self.tensors
    }

    /// Operators of all variants; the order of execution is [`Model::steps`].
    pub fn ops(&self) -> &'a [OpRow] {
        self.ops
    }

    /// Operators of the chosen variant in execution order.
    pub fn steps(&self) -> impl Iterator<Item = &'a OpRow> + use<'a> {
        let model = *self;
        (0..self.len::<{ OpSet::ALL }>()).filter_map(move |i| model.operator(i))
    }

    /// Operator at `position` of [`Model::steps`].
    pub fn operator(&self, position: usize) -> Option<&'a OpRow> {
        self.step::<{ OpSet::ALL }>(position)
    }

    /// Operators in the order of execution.
    #[inline(always)]
    pub(crate) fn len<const OPS: u32>(&self) -> usize {
        match OPS & OpSet::ELASTIC != 0 && !self.variants.rows.is_empty() {
            true => self.variants.len.into(),
            false => self.ops.len(),
        }
    }

    /// Operator at `position` of the order of execution.
    #[inline(always)]
    pub(crate) fn step<const OPS: u32>(&self, position: usize) -> Option<&'a OpRow> {
        self.ops.get(self.index::<OPS>(position)?)
    }

    /// Row in OPS of the operator at `position`.
    #[inline(always)]
    pub(crate) fn index<const OPS: u32>(&self, position: usize) -> Option<usize> {
        let Variants {
            rows,
            ops,
            len,
            chosen,
            ..
        } = self.variants;
        if OPS & OpSet::ELASTIC == 0 || rows.is_empty() {
            return Some(position);
        }
        let len = usize::from(len);
        let at = usize::from(chosen).wrapping_mul(len).wrapping_add(position);
        let op = ops.get(at).filter(|_| position < len)?;
        Some(op.get().into())
    }

    /// Operating points, at least one.
    pub fn variants(&self) -> usize {
        self.variants.rows.len().max(1)
    }

    /// Name of variant `i`; empty where the artifact has no section for variants.
    pub fn variant_name(&self, i: usize) -> Option<&'a str> {
        match self.variants.rows.is_empty() {
            true => (i == 0).then_some(""),
            false => core::str::from_utf8(self.text(self.variants.rows.get(i)?.name)?).ok(),
        }
    }

    /// Index of the chosen variant; 0 after [`Model::parse`].
    pub fn variant(&self) -> usize {
        self.variants.chosen.into()
    }

    /// The same artifact with variant `i` chosen: [`Model::steps`], [`Model::inputs`], [`Model::outputs`] and
    /// [`Model::self_test_cases`] are those of that variant.
    ///
    /// # Errors
    /// If there is no such variant.
    pub fn with_variant(self, i: usize) -> Result<Self, RunError> {
        if i >= self.variants() {
            return Err(RunError::NoVariant {
                index: i as u32,
                count: self.variants() as u32,
            });
        }
        Ok(self.choose(i))
    }

    /// [`Model::with_variant`] for one that exists.
    pub(crate) fn choose(mut self, i: usize) -> Self {
        let Variants {
            rows, io, ports, ..
        } = self.variants;
        if let Some(row) = rows.get(i) {
            let first = usize::from(row.io.get());
            self.variants.chosen = i as u16;
            self.io = io
                .get(first..first.wrapping_add(ports.into()))
                .unwrap_or_default();
        }
        self
    }

    /// Requantization rows of all operators.
    pub fn quant(&self) -> &'a [QuantRow] {
        self.quant
    }

    /// Tables of all operators.
    pub fn luts(&self) -> &'a [u8] {
        self.luts
    }

    /// Weights and constants.
    pub fn weights(&self) -> &'a [u8] {
        zerocopy::IntoBytes::as_bytes(self.weights)
    }

    /// Rows behind [`Model::inputs`] and [`Model::outputs`].
    pub fn io(&self) -> &'a [IoRow] {
        self.io
    }

    /// Text that IO rows point into.
    pub fn strings(&self) -> &'a [u8] {
        self.strings
    }

    /// UTF-8 JSON for host tools.
    pub fn meta(&self) -> Option<&'a str> {
        core::str::from_utf8(self.meta?).ok()
    }

    /// Bytes of arena that a run needs.
    pub fn arena_len(&self) -> usize {
        self.header.arena_len.get() as usize
    }

    /// Inputs in order.
    pub fn inputs(&self) -> impl Iterator<Item = Io<'a>> + use<'a> {
        self.ports(IO_INPUT)
    }

    /// Outputs in order.
    pub fn outputs(&self) -> impl Iterator<Item = Io<'a>> + use<'a> {
        self.ports(IO_OUTPUT)
    }

    /// Recorded runs: all input bytes in IO order, and all output bytes that must come back.
    pub fn self_test_cases(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + use<'a> {
        self.cases::<{ OpSet::ALL }>()
    }

    /// [`Model::self_test_cases`], without variants where `OPS` has none.
    pub(crate) fn cases<const OPS: u32>(
        &self,
    ) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + use<'a, OPS> {
        let (inputs, outputs) = (self.ports_len(IO_INPUT), self.ports_len(IO_OUTPUT));
        let cases = self.self_test.get(4..).unwrap_or_default();
        let (chosen, all) = match OPS & OpSet::ELASTIC {
            0 => (0, 1),
            _ => (self.variant(), self.variants()),
        };
        let len = inputs.wrapping_add(outputs.wrapping_mul(all));
        pieces(cases, len).filter_map(move |case| {
            let (input, all) = case.split_at_checked(inputs)?;
            let from = outputs.wrapping_mul(chosen);
            Some((input, all.get(from..from.wrapping_add(outputs))?))
        })
    }

    fn ports(&self, dir: u8) -> Ports<'a> {
        Ports {
            tensors: self.tensors,
            strings: self.strings,
            rest: self.io,
            dir,
        }
    }

    /// Bytes of all inputs, or of all outputs.
    #[inline(never)]
    pub(crate) fn ports_len(&self, dir: u8) -> usize {
        let add = |sum: usize, io: Io| sum.saturating_add(io.len);
        self.ports(dir).fold(0, add)
    }

    /// The port behind an IO row; `None` if one of its indices is out of range.
    pub(crate) fn port(&self, row: &IoRow) -> Option<Io<'a>> {
        port(self.tensors, self.strings, row)
    }

    pub(crate) fn text(&self, span: Span) -> Option<&'a [u8]> {
        text(self.strings, span)
    }
}

fn text(strings: &[u8], span: Span) -> Option<&[u8]> {
    let (off, end) = span.bounds()?;
    strings.get(off..end)
}

#[inline(never)]
fn port<'a>(tensors: &'a [TensorRow], strings: &'a [u8], row: &IoRow) -> Option<Io<'a>> {
    let tensor = tensors.get(usize::from(row.tensor.get()))?;
    Some(Io {
        tensor: row.tensor.get(),
        row: tensor,
        len: tensor.byte_len()?,
        name: text(strings, row.name)?,
        labels: text(strings, row.labels)?,
    })
}

/// Header, section table and body offset, all checksums right.
fn frame(bytes: &[u8]) -> Result<(&Header, &[SectionRow], usize), LoadError> {
    let short = || LoadError::at(Kind::TooShort, bytes.len());
    let (header, rest) = Header::ref_from_prefix(bytes).map_err(|_| short())?;
    if header.magic != MAGIC {
        return Err(LoadError::at(Kind::Magic, 0));
    }
    if header.major != MAJOR {
        return Err(LoadError::at(Kind::Version, 4));
    }
    if header.arith != ARITH {
        return Err(LoadError::at(Kind::Arith, 6));
    }
    if header.total_len.get() as usize != bytes.len() || bytes.len() > i32::MAX as usize {
        return Err(LoadError::at(Kind::Length, 8));
    }
    let sections = usize::from(header.sections);
    let (rows, rest) = rest
        .split_at_checked(size_of::<SectionRow>() * sections)
        .ok_or_else(short)?;
    let rows = <[SectionRow]>::ref_from_bytes(rows).map_err(|_| short())?;
    let body_off = header.body_off.get() as usize;
    let body = bytes
        .get(body_off..)
        .ok_or(LoadError::at(Kind::Length, 24))?;
    let blocks = body.len().div_ceil(BLOCK);
    let crcs = rest.get(..4 * blocks).ok_or_else(short)?;
    let (crcs, _) = crcs.as_chunks::<4>();
    let tables = size_of::<Header>() + size_of::<SectionRow>() * sections + 4 * blocks;
    if body_off != tables.next_multiple_of(ALIGN) {
        return Err(LoadError::at(Kind::Length, 24));
    }
    // A fuzzer cannot guess checksums; everything behind them is what it should reach.
    if !cfg!(fuzzing) {
        let part = |from, to| bytes.get(from..to).unwrap_or_default();
        let crc = Crc::new()
            .update(part(0, 20))
            .update(&[0; 4])
            .update(part(24, body_off));
        if crc.finish() != header.header_crc.get() {
            return Err(LoadError::at(Kind::HeaderCrc, 20));
        }
        // `chunks` divides by its argument, which is a panic path where it is not inlined.
        let mut rest = body;
        for (i, crc) in crcs.iter().enumerate() {
            let (block, tail) = rest.split_at_checked(BLOCK).unwrap_or((rest, &[]));
            rest = tail;
            if crc32c(block) != u32::from_le_bytes(*crc) {
                return Err(LoadError::at(Kind::BlockCrc, body_off + i * BLOCK));
            }
        }
    }
    Ok((header, rows, body_off))
}

/// Resolve the section table.
fn sections<'a, const OPS: u32>(
    bytes: &'a [u8],
    header: &'a Header,
    rows: &'a [SectionRow],
    body_off: usize,
) -> Result<(Model<'a>, Places), LoadError> {
    let mut model = Model {
        header,
        tensors: &[],
        ops: &[],
        quant: &[],
        luts: &[],
        weights: &[],
        io: &[],
        strings: &[],
        self_test: &[],
        meta: None,
        variants: Variants::default(),
    };
    let mut places = Places::default();
    let mut seen = 0u16;
    for (i, row) in rows.iter().enumerate() {
        let at = size_of::<Header>() + i * size_of::<SectionRow>();
        let fail = |kind| Err(LoadError::at(kind, at));
        let (off, end) = (row.off.get(), row.off.get().saturating_add(row.len.get()));
        let section = match bytes.get(off as usize..end as usize) {
            Some(section) if off as usize >= body_off && (off as usize).is_multiple_of(ALIGN) => {
                section
            }
            _ => return fail(Kind::Section),
        };
        let overlaps = rows.iter().take(i).any(|other| {
            off < other.off.get().saturating_add(other.len.get()) && other.off.get() < end
        });
        if overlaps && !section.is_empty() {
            return fail(Kind::Section);
        }
        let Some(kind) = SectionKind::from_u16(row.kind.get()) else {
            if row.flags.get() & SECTION_MANDATORY != 0 {
                return fail(Kind::UnknownSection);
            }
            continue;
        };
        let bit = 1 << kind as u16;
        if seen & bit != 0 {
            return fail(Kind::Section);
        }
        seen |= bit;
        let uneven = |_| LoadError::at(Kind::Count, at);
        let place = off as usize;
        match kind {
            SectionKind::Tensors => {
                places.tensors = place;
                model.tensors = FromBytes::ref_from_bytes(section).map_err(|_| uneven(()))?;
            }
            SectionKind::Ops => {
                places.ops = place;
                model.ops = FromBytes::ref_from_bytes(section).map_err(|_| uneven(()))?;
            }
            SectionKind::Quant => {
                model.quant = FromBytes::ref_from_bytes(section).map_err(|_| uneven(()))?;
            }
            SectionKind::Io => {
                places.io = place;
                model.io = FromBytes::ref_from_bytes(section).map_err(|_| uneven(()))?;
            }
            SectionKind::Luts => model.luts = section,
            SectionKind::Weights => {
                model.weights = FromBytes::ref_from_bytes(section).map_err(|_| uneven(()))?;
            }
            SectionKind::Strings => {
                places.strings = place;
                model.strings = section;
            }
            SectionKind::SelfTest => {
                places.self_test = place;
                model.self_test = section;
            }
            SectionKind::Meta => {
                places.meta = place;
                model.meta = Some(section);
            }
            SectionKind::Variants if OPS & OpSet::ELASTIC != 0 => {
                places.variants = place;
                model.variants = variants(section).ok_or(LoadError::at(Kind::Variant, place))?;
            }
            SectionKind::Variants => return fail(Kind::NotLinked),
        }
    }
    if OPS & OpSet::ELASTIC != 0 {
        model.variants.io = model.io;
    }
    Ok((model, places))
}

/// Rows and lists of VARIANTS; `None` unless the section has exactly their length.
fn variants(section: &[u8]) -> Option<Variants<'_>> {
    let (head, rest) = VariantsHead::ref_from_prefix(section).ok()?;
    let (count, len) = (usize::from(head.count.get()), head.ops.get());
    let (rows, rest) = <[VariantRow]>::ref_from_prefix_with_elems(rest, count).ok()?;
    let ops = <[U16]>::ref_from_bytes(rest).ok()?;
    let fits = (1..=MAX_VARIANTS).contains(&count)
        && count.checked_mul(len.into()) == Some(ops.len())
        && usize::from(len) <= MAX_ROWS;
    fits.then_some(Variants {
        rows,
        ops,
        len,
        io: &[],
        ports: head.ports.get(),
        chosen: 0,
    })
}
