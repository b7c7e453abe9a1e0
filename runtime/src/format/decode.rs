//! From an operator row to a kernel with all its parameters.
//!
//! `Model::parse` decodes every row to prove that it can be done; the engine decodes again right before it
//! runs the operator, which costs little and needs no memory.

use super::check::root_of;
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
use crate::kernels::window::{Axis, Window};
use crate::kernels::{Requant, add::Add, mul::Mul};
use crate::spec::SHIFT_RANGE;
use zerocopy::FromBytes;
use zerocopy::byteorder::little_endian::U16;

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
        _ => 0,
    };
    if row.flags & !known != 0 || row.coding != CODING_I8 {
        return Err(Kind::OpKind);
    }
    if !SHIFT_RANGE.contains(&row.shift) {
        return Err(Kind::Param);
    }
    let at = At::new(model, row)?;
    let has = |kind| OpSet::has(OPS, kind);
    let mut x2 = Source::Out;
    let mut in_place = false;
    let kernel = match kind {
        OpKind::Conv if has(kind) => Kernel::Conv(at.conv()?),
        OpKind::Depthwise if has(kind) => Kernel::Depthwise(at.depthwise()?),
        OpKind::Dense if has(kind) => Kernel::Dense(at.dense()?),
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
    Ok(Step { kernel, x, x2, out })
}

/// A row with its operands resolved.
struct At<'m, 'a> {
    model: &'m Model<'a>,
    row: &'a OpRow,
    x: &'a TensorRow,
    y: &'a TensorRow,
    x_dims: [usize; 4],
    y_dims: [usize; 4],
    p: [usize; 16],
    rq: Requant,
}

impl<'m, 'a> At<'m, 'a> {
    fn new(model: &'m Model<'a>, row: &'a OpRow) -> Result<Self, Kind> {
        let tensor = |i: U16| model.tensors.get(usize::from(i.get())).ok_or(Kind::Operand);
        let (x, y) = (tensor(row.in0)?, tensor(row.out)?);
        if y.place != PLACE_ARENA {
            return Err(Kind::Operand);
        }
        let y_type = if row.kind == OpKind::ArgMax as u8 {
            DTYPE_I32
        } else {
            DTYPE_I8
        };
        if x.dtype != DTYPE_I8 || y.dtype != y_type {
            return Err(Kind::Dtype);
        }
        Ok(At {
            model,
            row,
            x,
            y,
            x_dims: x.shape().ok_or(Kind::Dims)?,
            y_dims: y.shape().ok_or(Kind::Dims)?,
            p: row.p.map(|v| usize::from(v.get())),
            rq: Requant {
                shift: row.shift,
                z_y: y.zero,
                lo: row.lo,
                hi: row.hi,
            },
        })
    }

    fn source(&self, i: u16, row: &'a TensorRow) -> Result<Source<'a>, Kind> {
        let len = row.byte_len().ok_or(Kind::Dims)?;
        let off = row.off.get() as usize;
        if row.place == PLACE_CONST {
            let end = off.checked_add(len).ok_or(Kind::Range)?;
            return self
                .model
                .weights
                .get(off..end)
                .map(Source::Const)
                .ok_or(Kind::Range);
        }
        let same = root_of(self.model, i) == root_of(self.model, self.row.out.get());
        Ok(if same {
            Source::Out
        } else {
            Source::Arena(off, len)
        })
    }

    fn second(&self) -> Result<(Source<'a>, &'a TensorRow, [usize; 4]), Kind> {
        let i = self.row.in1.get();
        let row = self
            .model
            .tensors
            .get(usize::from(i))
            .ok_or(Kind::Operand)?;
        if row.dtype != DTYPE_I8 {
            return Err(Kind::Dtype);
        }
        Ok((self.source(i, row)?, row, row.shape().ok_or(Kind::Dims)?))
    }

    /// Weights of exactly `rows * row` bytes, aligned for vector loads.
    fn weights(&self, rows: usize, row: usize) -> Result<&'a [i8], Kind> {
        let (off, end) = self.row.weights.bounds().ok_or(Kind::Span)?;
        if off % ALIGN != 0 || rows.checked_mul(row) != Some(end - off) {
            return Err(Kind::Span);
        }
        self.model.weights.get(off..end).ok_or(Kind::Span)
    }

    fn quant(&self) -> Result<&'a [QuantRow], Kind> {
        let (off, end) = self.row.quant.bounds().ok_or(Kind::Span)?;
        self.model.quant.get(off..end).ok_or(Kind::Span)
    }

    fn quant_rows(&self, n: usize) -> Result<&'a [QuantRow], Kind> {
        self.quant().and_then(|rows| {
            if rows.len() == n {
                Ok(rows)
            } else {
                Err(Kind::Span)
            }
        })
    }

    fn quant_row(&self) -> Result<&'a QuantRow, Kind> {
        self.quant_rows(1)
            .and_then(|rows| rows.first().ok_or(Kind::Span))
    }

    fn table(&self) -> Result<&'a [u8], Kind> {
        let (off, end) = self.row.lut.bounds().ok_or(Kind::Span)?;
        self.model.luts.get(off..end).ok_or(Kind::Span)
    }

    fn table_i8(&self) -> Result<&'a [i8; 256], Kind> {
        FromBytes::ref_from_bytes(self.table()?).map_err(|_| Kind::Span)
    }

    fn same_shape(&self) -> Result<(), Kind> {
        if self.x_dims == self.y_dims {
            Ok(())
        } else {
            Err(Kind::Shape)
        }
    }

    /// Window over H and W, the output size taken from the output tensor.
    fn window(&self) -> Result<Window, Kind> {
        let [kh, kw, sh, sw, dh, dw, pt, pl, ..] = self.p;
        let ([n, h, w, c], [n_y, oh, ow, _]) = (self.x_dims, self.y_dims);
        if n != n_y {
            return Err(Kind::Shape);
        }
        let axis = |input, output, kernel, stride, dilation, pad| {
            Axis::new(input, output, kernel, stride, dilation, pad).ok_or(Kind::Param)
        };
        Ok(Window {
            v: axis(h, oh, kh, sh, dh, pt)?,
            h: axis(w, ow, kw, sw, dw, pl)?,
            c,
        })
    }

    fn conv(&self) -> Result<Conv<'a>, Kind> {
        let window = self.window()?;
        let [.., m] = self.y_dims;
        let [_, _, _, _, _, _, _, _, groups, ..] = self.p;
        let uneven = |v: usize| v.checked_rem(groups) != Some(0);
        if uneven(window.c) || uneven(m) {
            return Err(Kind::Param);
        }
        let cg = window.c.checked_div(groups).ok_or(Kind::Param)?;
        let mg = m.checked_div(groups).ok_or(Kind::Param)?;
        let k = window.taps().checked_mul(cg).ok_or(Kind::Span)?;
        Ok(Conv {
            window,
            cg,
            mg,
            k,
            weights: self.weights(m, k)?,
            w_zero: i32::from(self.row.w_zero.get()),
            z_x: i32::from(self.x.zero),
            quant: self.quant_rows(m)?,
            rq: self.rq,
        })
    }

    fn depthwise(&self) -> Result<Depthwise<'a>, Kind> {
        let window = self.window()?;
        let [.., m] = self.y_dims;
        let multiplier = m.checked_div(window.c).ok_or(Kind::Shape)?;
        if multiplier.checked_mul(window.c) != Some(m) || multiplier == 0 {
            return Err(Kind::Shape);
        }
        Ok(Depthwise {
            window,
            m,
            multiplier,
            weights: self.weights(window.taps(), m)?,
            w_zero: i32::from(self.row.w_zero.get()),
            z_x: i32::from(self.x.zero),
            quant: self.quant_rows(m)?,
            rq: self.rq,
        })
    }

    fn dense(&self) -> Result<Dense<'a>, Kind> {
        let ([n, h, w, k], [n_y, h_y, w_y, m]) = (self.x_dims, self.y_dims);
        if (n, h, w) != (n_y, h_y, w_y) {
            return Err(Kind::Shape);
        }
        let (weights, quant) = (self.weights(m, k)?, self.quant_rows(m)?);
        Ok(Dense {
            k,
            weights,
            w_zero: i32::from(self.row.w_zero.get()),
            quant,
            rq: self.rq,
        })
    }

    /// Window of a pool, which keeps the number of channels.
    fn pool_window(&self) -> Result<Window, Kind> {
        let window = self.window()?;
        let [.., m] = self.y_dims;
        if m == window.c {
            Ok(window)
        } else {
            Err(Kind::Shape)
        }
    }

    fn max_pool(&self) -> Result<MaxPool, Kind> {
        Ok(MaxPool {
            window: self.pool_window()?,
            lo: self.row.lo,
            hi: self.row.hi,
        })
    }

    fn avg_pool(&self) -> Result<AvgPool<'a>, Kind> {
        let window = self.pool_window()?;
        let quant = self.quant()?;
        if quant.len() != 1 && quant.len() != window.taps() {
            return Err(Kind::Span);
        }
        Ok(AvgPool {
            window,
            z_x: i32::from(self.x.zero),
            quant,
            rq: self.rq,
        })
    }

    fn add(&self, from1: Broadcast, from2: Broadcast) -> Result<Add, Kind> {
        let [a, b, s, ..] = self.row.p.map(U16::get);
        if s > 23 {
            return Err(Kind::Param);
        }
        let (c, rq) = (self.quant_row()?.bias.get(), self.rq);
        Ok(Add {
            from1,
            from2,
            a: a as i16,
            b: b as i16,
            c,
            s: s as u8,
            lo: rq.lo,
            hi: rq.hi,
        })
    }

    fn mul(&self, from1: Broadcast, from2: Broadcast, x2: &TensorRow) -> Result<Mul, Kind> {
        let mult = self.quant_row()?.mult.get();
        Ok(Mul {
            from1,
            from2,
            z1: self.x.zero,
            z2: x2.zero,
            mult,
            rq: self.rq,
        })
    }

    fn lut(&self) -> Result<Lut<'a>, Kind> {
        self.same_shape()?;
        Ok(Lut {
            table: self.table_i8()?,
        })
    }

    fn prelu(&self) -> Result<PRelu<'a>, Kind> {
        self.same_shape()?;
        let [.., c] = self.x_dims;
        let (above, below) = self.quant()?.split_first().ok_or(Kind::Span)?;
        if below.len() != 1 && below.len() != c {
            return Err(Kind::Span);
        }
        Ok(PRelu {
            c,
            above,
            below,
            z_x: i32::from(self.x.zero),
            rq: self.rq,
        })
    }

    /// Elements before, along and behind axis `p[0]`.
    fn around_axis(&self) -> Result<(usize, usize), Kind> {
        let [axis, ..] = self.p;
        let len = *self.x_dims.get(axis).ok_or(Kind::Param)?;
        let inner = self.x_dims.iter().skip(axis.wrapping_add(1)).product();
        Ok((len, inner))
    }

    fn softmax(&self) -> Result<Softmax<'a>, Kind> {
        self.same_shape()?;
        let (len, inner) = self.around_axis()?;
        let [_, inv, ..] = self.row.p.map(U16::get);
        let table = FromBytes::ref_from_bytes(self.table()?).map_err(|_| Kind::Span)?;
        Ok(Softmax {
            len,
            inner,
            inv,
            table,
            rq: self.rq,
        })
    }

    fn argmax(&self) -> Result<ArgMax, Kind> {
        let (len, inner) = self.around_axis()?;
        let [axis, ..] = self.p;
        let mut want = self.x_dims;
        want.iter_mut().skip(axis).take(1).for_each(|dim| *dim = 1);
        if want != self.y_dims {
            return Err(Kind::Shape);
        }
        Ok(ArgMax {
            len,
            inner,
            select_last: self.row.flags & FLAG_SELECT_LAST != 0,
        })
    }

    fn copy(&self) -> Result<Copy<'a>, Kind> {
        let [
            i0,
            i1,
            i2,
            i3,
            o0,
            o1,
            o2,
            o3,
            s0,
            s1,
            s2,
            s3,
            d0,
            d1,
            d2,
            d3,
        ] = self.p;
        let (from, to) = ([i0, i1, i2, i3], [o0, o1, o2, o3]);
        let (step, dims) = ([s0, s1, s2, s3], [d0, d1, d2, d3]);
        let sizes = self.x_dims.iter().zip(&self.y_dims);
        let axes = from.iter().zip(&to).zip(step.iter().zip(&dims)).zip(sizes);
        for (((from, to), (step, dim)), (x, y)) in axes {
            // 16-bit values: the last element read is at most 2^16 + 2^32 away.
            let last = *from as u64 + (*dim as u64).saturating_sub(1) * *step as u64;
            if *step == 0 || *dim == 0 || last >= *x as u64 || to + dim > *y {
                return Err(Kind::Param);
            }
        }
        let table = if self.row.lut.len.get() == 0 {
            None
        } else {
            Some(self.table_i8()?)
        };
        let fill = (self.row.flags & FLAG_FILL != 0).then_some(self.row.lo);
        Ok(Copy {
            x_dims: self.x_dims,
            y_dims: self.y_dims,
            from,
            to,
            step,
            dims,
            table,
            fill,
        })
    }

    fn transpose(&self) -> Result<Transpose, Kind> {
        let [a, b, c, d, ..] = self.p;
        let perm = [a, b, c, d];
        let mut seen = 0u32;
        for (axis, y) in perm.iter().zip(&self.y_dims) {
            let dim = *self.x_dims.get(*axis).ok_or(Kind::Param)?;
            if dim != *y {
                return Err(Kind::Shape);
            }
            seen |= 1 << axis;
        }
        if seen != 0b1111 {
            return Err(Kind::Param);
        }
        Transpose::new(self.x_dims, self.y_dims, perm).ok_or(Kind::Param)
    }

    fn resize(&self) -> Result<Resize<'a>, Kind> {
        let ([n, h, w, c], [n_y, oh, ow, c_y]) = (self.x_dims, self.y_dims);
        if (n, c) != (n_y, c_y) {
            return Err(Kind::Shape);
        }
        let table = <[U16]>::ref_from_bytes(self.table()?).map_err(|_| Kind::Span)?;
        let (rows, cols) = table.split_at_checked(oh).ok_or(Kind::Span)?;
        if cols.len() != ow {
            return Err(Kind::Span);
        }
        Ok(Resize {
            h,
            w,
            c,
            rows,
            cols,
        })
    }
}

impl Kernel<'_> {
    /// Contents of the tables behind `row`; proven once, when the artifact is parsed.
    pub(crate) fn check_tables(&self, row: &OpRow) -> Result<(), Kind> {
        let even = |rows: &[QuantRow]| {
            rows.iter()
                .all(|q| q.mult.get() % 2 == 0 && q.mult.get() >= 0)
        };
        let ok = match self {
            Kernel::Conv(k) => even(k.quant),
            Kernel::Depthwise(k) => even(k.quant),
            Kernel::Dense(k) => even(k.quant),
            Kernel::AvgPool(k) => even(k.quant),
            Kernel::Mul(k) => k.mult % 2 == 0 && k.mult >= 0,
            // Slopes may be negative.
            Kernel::PRelu(k) => k
                .below
                .iter()
                .chain([k.above])
                .all(|q| q.mult.get() % 2 == 0 && q.mult.get() != i32::MIN),
            Kernel::Resize(k) => k.in_range(),
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
