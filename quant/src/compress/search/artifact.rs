//! Bytes of artifacts that were never made, from parts of artifacts that were.
//!
//! What a layer takes depends on its own weights and their format, nothing else: an artifact per format, all layers alike,
//! gives the parts of every mixture. Sections, checksums and the arena are then laid out by the rules of the packer and
//! the planner.

use crate::Error;
use crate::pack::frame::total_len;
use crate::pack::{LUT_ALIGN, Meta};
use crate::plan::{Need, Shape, arena_with, need};
use elastiq::format::{ALIGN, Header, PLACE_CONST, SectionKind, SectionRow, TensorRow};
use elastiq::{Backend, Model};
use std::collections::BTreeMap;
use zerocopy::FromBytes;

/// Format of a layer's weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Form {
    pub bits: u8,
    pub per_channel: bool,
    pub symmetric: bool,
}

/// Sizes of an artifact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Bytes of the file. Tables of one content that several layers have are counted for each of them.
    pub flash: usize,
    pub arena: usize,
}

/// What one operator takes.
#[derive(Clone, Copy, Debug)]
struct Part {
    weights: usize,
    table: usize,
    need: Need,
}

/// Parts of artifacts of one network.
#[derive(Clone, Debug)]
pub struct Artifacts {
    backend: Backend,
    /// Operators with weights by name.
    layers: BTreeMap<String, usize>,
    parts: BTreeMap<(usize, Form), Part>,
    /// Every operator of the first artifact, and what is the same in all of them.
    base: Vec<Part>,
    tensors: Vec<TensorRow>,
    constants: Vec<usize>,
    sections: Vec<(Option<SectionKind>, usize)>,
    bound: u64,
}

impl Artifacts {
    /// Start with an artifact made for `backend`; its layers have weights in a granularity and symmetry as in `form`, and
    /// the widths that the artifact says.
    ///
    /// # Errors
    /// What the reader refuses; an artifact without names.
    pub fn new(bytes: &[u8], form: Form, backend: Backend) -> Result<Artifacts, Error> {
        let model = parse(bytes)?;
        let meta = Meta::of(&model)?;
        let rows = model.ops().iter().zip(&meta.layers).enumerate();
        let layers = rows.filter(|(_, (row, _))| row.bits > 0);
        let constants = model.tensors().iter().filter(|t| t.place == PLACE_CONST);
        let constants: BTreeMap<u32, usize> = constants
            .map(|t| (t.off.get(), t.byte_len().unwrap_or_default()))
            .collect();
        let mut artifacts = Artifacts {
            backend,
            layers: layers.map(|(i, (_, l))| (l.name.clone(), i)).collect(),
            parts: BTreeMap::new(),
            base: Vec::new(),
            tensors: model.tensors().to_vec(),
            constants: constants.into_values().collect(),
            sections: sections(bytes),
            bound: meta.arena_bound_bytes,
        };
        artifacts.base = (0..model.ops().len())
            .map(|i| artifacts.part(&model, i))
            .collect();
        artifacts.add(bytes, form)?;
        Ok(artifacts)
    }

    /// Take the parts of another artifact of the same network.
    ///
    /// # Errors
    /// What the reader refuses; another network.
    pub fn add(&mut self, bytes: &[u8], form: Form) -> Result<(), Error> {
        let model = parse(bytes)?;
        if model.ops().len() != self.base.len() {
            return Err(Error::input("artifact: of another network"));
        }
        let weighted: Vec<usize> = self.layers.values().copied().collect();
        for i in weighted {
            let bits = model.ops()[i].bits;
            let part = self.part(&model, i);
            self.parts.insert((i, Form { bits, ..form }), part);
        }
        Ok(())
    }

    fn part(&self, model: &Model, i: usize) -> Part {
        let row = &model.ops()[i];
        let shape = Shape::of_row(model, row);
        Part {
            weights: row.weights.len.get() as usize,
            table: row.lut.len.get() as usize,
            need: shape.map_or_else(Need::default, |shape| need(&shape, self.backend)),
        }
    }

    /// Sizes with every layer with weights in the form given for its name. `None` where a layer is missing, or was never
    /// seen in its form.
    pub fn sizes<'a>(&self, forms: impl IntoIterator<Item = (&'a str, Form)>) -> Option<Sizes> {
        let mut parts = self.base.clone();
        let mut named = 0;
        for (name, form) in forms {
            let &i = self.layers.get(name)?;
            parts[i] = *self.parts.get(&(i, form))?;
            named += 1;
        }
        if named != self.layers.len() {
            return None;
        }
        let weights = parts.iter().map(|p| p.weights);
        let weights = behind(weights.chain(self.constants.iter().copied()), ALIGN);
        let tables = behind(parts.iter().map(|p| p.table), LUT_ALIGN);
        let needs: Vec<Need> = parts.iter().map(|p| p.need).collect();
        let (arena, bound) = arena_with(&self.tensors, &needs);
        let mut lens: Vec<usize> = self.sections.iter().map(|&(_, len)| len).collect();
        let mut set = |kind, len| match self.sections.iter().position(|s| s.0 == Some(kind)) {
            Some(i) => lens[i] = len,
            None => lens.push(len),
        };
        set(SectionKind::Weights, weights);
        set(SectionKind::Luts, tables);
        // META says the lower bound of the arena in decimal digits.
        let digits = |n: u64| n.to_string().len();
        if let Some((_, len)) = self
            .sections
            .iter()
            .find(|s| s.0 == Some(SectionKind::Meta))
        {
            let len = len - digits(self.bound) + digits(bound as u64);
            set(SectionKind::Meta, len);
        }
        Some(Sizes {
            flash: total_len(&lens),
            arena,
        })
    }
}

/// Bytes of blobs behind each other, each aligned.
fn behind(lens: impl Iterator<Item = usize>, align: usize) -> usize {
    lens.filter(|&len| len > 0)
        .fold(0, |end: usize, len| end.next_multiple_of(align) + len)
}

/// Kinds and lengths of the sections of an artifact that has been checked.
fn sections(bytes: &[u8]) -> Vec<(Option<SectionKind>, usize)> {
    let Ok((header, rest)) = Header::ref_from_prefix(bytes) else {
        return Vec::new();
    };
    let rows = <[SectionRow]>::ref_from_prefix_with_elems(rest, usize::from(header.sections));
    let rows = rows.map_or(&[][..], |(rows, _)| rows);
    let of = |row: &SectionRow| {
        let kind = SectionKind::from_u16(row.kind.get());
        (kind, row.len.get() as usize)
    };
    rows.iter().map(of).collect()
}

fn parse(bytes: &[u8]) -> Result<Model<'_>, Error> {
    Model::parse(bytes).map_err(|e| Error::at("artifact", e))
}
