//! From an operator row to a kernel with all its parameters.
//!
//! `Model::parse` decodes every row to prove that it can be done; the engine decodes again right before it
//! runs the operator, which costs little and needs no memory.

mod operators;

use self::operators::At;
use super::model::Model;
use super::rows::*;
use crate::error::LoadErrorKind as Kind;
use crate::info::OpSet;
use crate::kernels::argmax::ArgMax;
use crate::kernels::broadcast::Broadcast;
use crate::kernels::conv::Conv;
use crate::kernels::copy::Copy;
use crate::kernels::dense::Dense;
use crate::kernels::depthwise::Depthwise;
use crate::kernels::lut::Lut;
use crate::kernels::pool::{AvgPool, MaxPool};
use crate::kernels::prelu::PRelu;
use crate::kernels::resize::Resize;
use crate::kernels::softmax::Softmax;
use crate::kernels::transpose::Transpose;
use crate::kernels::{add::Add, mul::Mul};
use crate::spec::SHIFT_RANGE;

/// A kernel with its parameters.
pub(crate) enum Kernel<'a> {
    Conv(Conv<'a>),
    Depthwise(Depthwise<'a>),
    Dense(Dense<'a>),
    MaxPool(MaxPool),
    AvgPool(AvgPool<'a>),
    Add(Add),
    Mul(Mul),
    Lut(Lut<'a>),
    PRelu(PRelu<'a>),
    Softmax(Softmax<'a>),
    ArgMax(ArgMax),
    Copy(Copy<'a>),
    Transpose(Transpose),
    Resize(Resize<'a>),
}

/// Where an operand is.
#[derive(Clone, Copy)]
pub(crate) enum Source<'a> {
    /// Offset and length in the arena.
    Arena(usize, usize),
    /// Constant data of the artifact.
    Const(&'a [i8]),
    /// The bytes of the output.
    Out,
}

/// One operator, ready to run.
pub(crate) struct Step<'a> {
    pub kernel: Kernel<'a>,
    pub x: Source<'a>,
    /// Second operand of Add and Mul.
    pub x2: Source<'a>,
    /// Offset and length of the output in the arena.
    pub out: (usize, usize),
    /// Offset and length of the scratch in the arena.
    pub scratch: (usize, usize),
}

/// Decode `row`. Kinds outside of `OPS` are refused and cost no code.
pub(crate) fn decode<'a, const OPS: u32>(
    model: &Model<'a>,
    row: &'a OpRow,
) -> Result<Step<'a>, Kind> {
    let kind = OpKind::from_u8(row.kind).ok_or(Kind::OpKind)?;
    let known = match kind {
        OpKind::ArgMax => FLAG_SELECT_LAST,
        OpKind::Copy => FLAG_FILL,
        OpKind::Conv | OpKind::Depthwise | OpKind::Dense => FLAG_ZEROS,
        _ => 0,
    };
    let weighty = matches!(kind, OpKind::Conv | OpKind::Depthwise | OpKind::Dense);
    let no_weights = (row.coding, row.bits, row.order) == (CODING_LINEAR, 0, ORDER_ROWS);
    if row.flags & !known != 0 || weighty == no_weights {
        return Err(Kind::OpKind);
    }
    if OpSet::of(row) & !OPS != 0 {
        return Err(Kind::NotLinked);
    }
    if !SHIFT_RANGE.contains(&row.shift) {
        return Err(Kind::Param);
    }
    let at = At::new(model, row)?;
    let has = |kind| OpSet::has(OPS, kind);
    let mut x2 = Source::Out;
    let mut in_place = false;
    let kernel = match kind {
        OpKind::Conv if has(kind) => Kernel::Conv(at.conv::<OPS>()?),
        OpKind::Depthwise if has(kind) => Kernel::Depthwise(at.depthwise::<OPS>()?),
        OpKind::Dense if has(kind) => Kernel::Dense(at.dense::<OPS>()?),
        OpKind::MaxPool if has(kind) => Kernel::MaxPool(at.max_pool()?),
        OpKind::AvgPool if has(kind) => Kernel::AvgPool(at.avg_pool()?),
        OpKind::Add | OpKind::Mul if has(kind) => {
            in_place = true;
            let (source, second, dims) = at.second()?;
            x2 = source;
            let from1 = Broadcast::new(at.x_dims, at.y_dims).ok_or(Kind::Shape)?;
            let from2 = Broadcast::new(dims, at.y_dims).ok_or(Kind::Shape)?;
            if OpSet::has(OPS, OpKind::Add) && kind == OpKind::Add {
                Kernel::Add(at.add(from1, from2)?)
            } else {
                Kernel::Mul(at.mul(from1, from2, second)?)
            }
        }
        OpKind::Lut if has(kind) => {
            in_place = true;
            Kernel::Lut(at.lut()?)
        }
        OpKind::PRelu if has(kind) => {
            in_place = true;
            Kernel::PRelu(at.prelu()?)
        }
        OpKind::Softmax if has(kind) => {
            in_place = true;
            Kernel::Softmax(at.softmax()?)
        }
        OpKind::ArgMax if has(kind) => Kernel::ArgMax(at.argmax()?),
        OpKind::Copy if has(kind) => Kernel::Copy(at.copy()?),
        OpKind::Transpose if has(kind) => Kernel::Transpose(at.transpose()?),
        OpKind::Resize if has(kind) => Kernel::Resize(at.resize()?),
        _ => return Err(Kind::NotLinked),
    };
    let x = at.source(row.in0.get(), at.x)?;
    match (x, x2) {
        (Source::Out, _) if !in_place => return Err(Kind::Overlap),
        // Only the first operand may be overwritten; with equal operands both are read before the write.
        (Source::Arena(..) | Source::Const(_), Source::Out)
            if matches!(kind, OpKind::Add | OpKind::Mul) =>
        {
            return Err(Kind::Overlap);
        }
        _ => {}
    }
    let out = (at.y.off.get() as usize, at.y.byte_len().ok_or(Kind::Dims)?);
    let (off, end) = row.scratch.bounds().ok_or(Kind::Range)?;
    let scratch = (off, end - off);
    Ok(Step {
        kernel,
        x,
        x2,
        out,
        scratch,
    })
}

impl Kernel<'_> {
    /// Contents of the tables behind `row`; proven once, when the artifact is parsed.
    pub(crate) fn check_tables<const OPS: u32>(&self, row: &OpRow) -> Result<(), Kind> {
        let even = |rows: &[QuantRow]| {
            rows.iter()
                .all(|q| q.mult.get() % 2 == 0 && q.mult.get() >= 0)
        };
        let has = |kind| OpSet::has(OPS, kind);
        let ok = match self {
            Kernel::Conv(k) => even(k.quant) && k.weights.zeros_in_range(),
            Kernel::Depthwise(k) => even(k.quant) && k.weights.zeros_in_range(),
            Kernel::Dense(k) => even(k.quant) && k.weights.zeros_in_range(),
            Kernel::AvgPool(k) => even(k.quant),
            Kernel::Mul(k) if has(OpKind::Mul) => k.mult % 2 == 0 && k.mult >= 0,
            // Slopes may be negative.
            Kernel::PRelu(k) if has(OpKind::PRelu) => k
                .below
                .iter()
                .chain([k.above])
                .all(|q| q.mult.get() % 2 == 0 && q.mult.get() != i32::MIN),
            Kernel::Resize(k) if has(OpKind::Resize) => k.in_range(),
            _ => true,
        };
        let clamps = !matches!(
            self,
            Kernel::Lut(_)
                | Kernel::ArgMax(_)
                | Kernel::Copy(_)
                | Kernel::Transpose(_)
                | Kernel::Resize(_)
        );
        match ok {
            true if clamps && row.lo > row.hi => Err(Kind::Param),
            true => Ok(()),
            false => Err(Kind::Table),
        }
    }
}
