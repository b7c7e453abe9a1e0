//! What must hold between the rows of an artifact.

use super::decode::{Kernel, decode};
use super::model::{Model, Places, Variants};
use super::rows::*;
use crate::error::{LoadError, LoadErrorKind as Kind};
use crate::info::OpSet;
use core::ops::Range;

/// Check all rows of `model`.
pub(crate) fn check<const OPS: u32>(model: &Model<'_>, places: &Places) -> Result<(), LoadError> {
    counts(model)?;
    let mut set = 0;
    if OPS & OpSet::ELASTIC != 0 && !model.variants.rows.is_empty() {
        set = OpSet::ELASTIC;
        variants(model, places)?;
        for i in 0..model.variants() {
            set |= rows::<OPS>(&model.choose(i), places)?;
        }
    } else {
        set |= rows::<OPS>(model, places)?;
    }
    if set != model.header.op_set.get() {
        return Err(LoadError::at(Kind::OpSet, 16));
    }
    match OPS & OpSet::ELASTIC {
        0 => self_test::<OPS>(model, places),
        _ => self_test::<OPS>(&model.choose(0), places),
    }
}

/// Lists and ports of all variants. Going through them, every row of OPS and IO is met, in order: so none is left that
/// is not checked.
fn variants(model: &Model<'_>, places: &Places) -> Result<(), LoadError> {
    let Variants {
        rows,
        ops,
        io,
        ports,
        ..
    } = model.variants;
    let wrong = |at: usize| LoadError::at(Kind::Variant, places.variants + at);
    let lists = size_of::<VariantsHead>() + size_of_val(rows);
    let mut next = 0;
    for (i, op) in ops.iter().enumerate() {
        match usize::from(op.get()) {
            op if op < next => {}
            op if op == next => next += 1,
            _ => return Err(wrong(lists + 2 * i)),
        }
    }
    let mut io_next = 0;
    for (i, row) in rows.iter().enumerate() {
        let at = size_of::<VariantsHead>() + i * size_of_val(row);
        let first = usize::from(row.io.get());
        let end = first + usize::from(ports);
        // The same storages, so that sizes and lifetimes are the same.
        let storage = |row: &IoRow| (row.dir, root_of(model, row.tensor.get()));
        let own = io.get(first..end).unwrap_or_default();
        let same = own.len() == usize::from(ports)
            && io.iter().zip(own).all(|(a, b)| storage(a) == storage(b));
        if first > io_next || !same || model.text(row.name).is_none() {
            return Err(wrong(at));
        }
        io_next = io_next.max(end);
    }
    match (next, io_next) == (model.ops.len(), io.len()) {
        true => Ok(()),
        false => Err(wrong(0)),
    }
}

/// The rows that the chosen variant uses. What an artifact needs of [`OpSet`] for it.
fn rows<const OPS: u32>(model: &Model<'_>, places: &Places) -> Result<u32, LoadError> {
    for (i, row) in model.tensors.iter().enumerate() {
        tensor::<OPS>(model, i, row)
            .map_err(|kind| at(kind, places.tensors, i, size_of_val(row)))?;
    }
    let mut set = 0;
    for i in 0..model.len::<OPS>() {
        let index = model.index::<OPS>(i).unwrap_or_default();
        let row = model
            .ops
            .get(index)
            .ok_or(LoadError::at(Kind::Variant, places.variants))?;
        op::<OPS>(model, i, row).map_err(|kind| at(kind, places.ops, index, size_of_val(row)))?;
        set |= OpSet::of(row);
    }
    let first = match OPS & OpSet::ELASTIC {
        0 => 0,
        _ => model.variants.first_port(),
    };
    for (i, row) in model.io.iter().enumerate() {
        port::<OPS>(model, row).map_err(|kind| at(kind, places.io, first + i, size_of_val(row)))?;
    }
    ports(model, places)?;
    Ok(set)
}

/// Check what is text.
pub(crate) fn text(model: &Model<'_>, places: &Places) -> Result<(), LoadError> {
    let texts = [
        (model.strings, places.strings),
        (model.meta.unwrap_or_default(), places.meta),
    ];
    for (text, place) in texts {
        core::str::from_utf8(text).map_err(|_| LoadError::at(Kind::Utf8, place))?;
    }
    let io = match model.variants.rows.is_empty() {
        true => model.io,
        false => model.variants.io,
    };
    for (i, row) in io.iter().enumerate() {
        let whole = model.port(row).is_some_and(|port| port.is_text());
        if !whole {
            return Err(at(Kind::Io, places.io, i, size_of_val(row)));
        }
    }
    for (i, row) in model.variants.rows.iter().enumerate() {
        if model.variant_name(i).is_none() {
            let first = places.variants + size_of::<VariantsHead>();
            return Err(at(Kind::Variant, first, i, size_of_val(row)));
        }
    }
    Ok(())
}

fn at(kind: Kind, section: usize, i: usize, row: usize) -> LoadError {
    LoadError::at(kind, section + i * row)
}

fn counts(model: &Model<'_>) -> Result<(), LoadError> {
    let header = model.header;
    let pairs = [
        (header.tensors.get(), model.tensors.len()),
        (header.ops.get(), model.ops.len()),
        (header.io.get(), model.io.len()),
    ];
    for (i, (said, real)) in pairs.into_iter().enumerate() {
        if usize::from(said) != real || real > MAX_ROWS {
            return Err(LoadError::at(Kind::Count, 40 + 2 * i));
        }
    }
    if header.arena_len.get() > i32::MAX as u32 {
        return Err(LoadError::at(Kind::Range, 12));
    }
    if header.scratch_len.get() > header.arena_len.get() {
        return Err(LoadError::at(Kind::Count, 36));
    }
    Ok(())
}

/// Index of the tensor that owns the bytes of tensor `i`.
pub(crate) fn root_of(model: &Model<'_>, i: u16) -> Option<u16> {
    match model.tensors.get(usize::from(i))?.root.get() {
        NONE => Some(i),
        root => Some(root),
    }
}

/// Bytes of the arena that `row` covers.
fn storage(row: &TensorRow) -> Option<Range<usize>> {
    let off = row.off.get() as usize;
    Some(off..off.checked_add(row.byte_len()?)?)
}

fn disjoint(a: &Range<usize>, b: &Range<usize>) -> bool {
    a.end <= b.start || b.end <= a.start
}

fn owns_arena(row: &TensorRow) -> bool {
    row.place == PLACE_ARENA && row.root.get() == NONE
}

/// One tensor row on its own, against its root, and against the storages before it.
fn tensor<const OPS: u32>(model: &Model<'_>, i: usize, row: &TensorRow) -> Result<(), Kind> {
    if row.dtype != DTYPE_I8 && row.dtype != DTYPE_I32 {
        return Err(Kind::Dtype);
    }
    let bytes = storage(row).ok_or(Kind::Dims)?;
    let limit = match row.place {
        PLACE_ARENA => model.arena_len(),
        PLACE_CONST if row.dtype == DTYPE_I8 => model.weights.len(),
        _ => return Err(Kind::Range),
    };
    if bytes.end > limit {
        return Err(Kind::Range);
    }
    if row.root.get() != NONE {
        let root = model
            .tensors
            .get(usize::from(row.root.get()))
            .ok_or(Kind::View)?;
        let same = root.root.get() == NONE
            && (root.place, root.dtype, root.off) == (row.place, row.dtype, row.off)
            && root.byte_len() == row.byte_len();
        return if same { Ok(()) } else { Err(Kind::View) };
    }
    if row.place == PLACE_CONST {
        return Ok(());
    }
    let (first, last) = (row.first.get(), row.last.get());
    if first > last || usize::from(last) > model.len::<OPS>() || !born::<OPS>(model, i, first) {
        return Err(Kind::Lifetime);
    }
    let clash = model
        .tensors
        .iter()
        .take(i)
        .filter(|other| owns_arena(other))
        .any(|other| {
            let meet = first <= other.last.get() && other.first.get() <= last;
            meet && !storage(other).is_some_and(|other| disjoint(&bytes, &other))
        });
    if clash { Err(Kind::Overlap) } else { Ok(()) }
}

/// Whether storage `i` holds something from `first` on: op `first` writes it, or it is an input.
fn born<const OPS: u32>(model: &Model<'_>, i: usize, first: u16) -> bool {
    let out = model
        .step::<OPS>(first.into())
        .and_then(|op| root_of(model, op.out.get()));
    out.map(usize::from) == Some(i) || (first == 0 && is_input(model, i))
}

/// Whether the caller fills storage `i`.
fn is_input(model: &Model<'_>, i: usize) -> bool {
    let owner = |io: &IoRow| root_of(model, io.tensor.get()).map(usize::from);
    model
        .io
        .iter()
        .any(|io| io.dir == IO_INPUT && owner(io) == Some(i))
}

/// One operator: decodes, its tables are in range, its operands are alive, its scratch is free.
fn op<const OPS: u32>(model: &Model<'_>, i: usize, row: &OpRow) -> Result<(), Kind> {
    let step = decode::<OPS>(model, row)?;
    step.kernel.check_tables::<OPS>(row)?;
    operand(model, i, row.in0.get(), false)?;
    operand(model, i, row.out.get(), true)?;
    if matches!(step.kernel, Kernel::Add(_) | Kernel::Mul(_)) {
        operand(model, i, row.in1.get(), false)?;
    }
    let (off, end) = row.scratch.bounds().ok_or(Kind::Range)?;
    if end > model.arena_len() {
        return Err(Kind::Range);
    }
    let scratch = off..end;
    let clash = |tensor: &TensorRow| {
        owns_arena(tensor)
            && alive(tensor, i)
            && !storage(tensor).is_some_and(|bytes| disjoint(&bytes, &scratch))
    };
    if off < end && model.tensors.iter().any(clash) {
        Err(Kind::Overlap)
    } else {
        Ok(())
    }
}

/// Operand `tensor` of op `i` is alive, and holds something unless the op writes it.
fn operand(model: &Model<'_>, i: usize, tensor: u16, written: bool) -> Result<(), Kind> {
    let owner = root_of(model, tensor)
        .map(usize::from)
        .ok_or(Kind::Operand)?;
    let root = model.tensors.get(owner).ok_or(Kind::Operand)?;
    let filled = || written || usize::from(root.first.get()) < i || is_input(model, owner);
    if root.place == PLACE_CONST || (alive(root, i) && filled()) {
        Ok(())
    } else {
        Err(Kind::Lifetime)
    }
}

fn alive(root: &TensorRow, op: usize) -> bool {
    (usize::from(root.first.get())..=usize::from(root.last.get())).contains(&op)
}

/// One input or output: in the arena, alive when the caller touches it.
fn port<const OPS: u32>(model: &Model<'_>, row: &IoRow) -> Result<(), Kind> {
    let port = model.port(row).ok_or(Kind::Io)?;
    let root = root_of(model, port.tensor).and_then(|i| model.tensors.get(usize::from(i)));
    let root = root.ok_or(Kind::Io)?;
    match row.dir {
        _ if root.place != PLACE_ARENA => Err(Kind::Io),
        IO_INPUT if port.row.dtype != DTYPE_I8 => Err(Kind::Dtype),
        IO_INPUT if root.first.get() != 0 => Err(Kind::Lifetime),
        IO_OUTPUT if usize::from(root.last.get()) != model.len::<OPS>() => Err(Kind::Lifetime),
        IO_INPUT | IO_OUTPUT => Ok(()),
        _ => Err(Kind::Io),
    }
}

/// The sizes that firmware takes from the header.
fn ports(model: &Model<'_>, places: &Places) -> Result<(), LoadError> {
    let header = model.header;
    let (input, output) = (model.inputs().next(), model.outputs().next());
    let (Some(input), Some(output)) = (input, output) else {
        return Err(LoadError::at(Kind::Io, places.io));
    };
    if input.len != header.input_len.get() as usize {
        return Err(LoadError::at(Kind::Count, 28));
    }
    if output.len != header.output_len.get() as usize {
        return Err(LoadError::at(Kind::Count, 32));
    }
    Ok(())
}

fn self_test<const OPS: u32>(model: &Model<'_>, places: &Places) -> Result<(), LoadError> {
    if model.self_test.is_empty() {
        return Ok(());
    }
    let wrong = LoadError::at(Kind::SelfTest, places.self_test);
    let (count, cases) = model.self_test.split_first_chunk::<4>().ok_or(wrong)?;
    let mut outputs = model.ports_len(IO_OUTPUT);
    if OPS & OpSet::ELASTIC != 0 {
        outputs = outputs.saturating_mul(model.variants());
    }
    let case = (model.ports_len(IO_INPUT)).saturating_add(outputs);
    let count = u32::from_le_bytes(*count) as usize;
    if count.checked_mul(case) == Some(cases.len()) {
        Ok(())
    } else {
        Err(wrong)
    }
}
