//! The parameters of each kernel from its operator row.

use super::Source;
use crate::error::LoadErrorKind as Kind;
use crate::format::check::root_of;
use crate::format::model::Model;
use crate::format::rows::*;
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
use crate::kernels::weights::{Channels, Order, Values, Weights};
use crate::kernels::window::{Axis, Window};
use crate::kernels::{Requant, add::Add, mul::Mul};
use zerocopy::FromBytes;
use zerocopy::byteorder::little_endian::{I16, U16};

/// A row with its operands resolved.
pub(super) struct At<'m, 'a> {
    pub model: &'m Model<'a>,
    pub row: &'a OpRow,
    pub x: &'a TensorRow,
    pub y: &'a TensorRow,
    pub x_dims: [usize; 4],
    pub y_dims: [usize; 4],
    pub p: [usize; 16],
    pub rq: Requant,
}

impl<'m, 'a> At<'m, 'a> {
    pub fn new(model: &'m Model<'a>, row: &'a OpRow) -> Result<Self, Kind> {
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

    pub fn source(&self, i: u16, row: &'a TensorRow) -> Result<Source<'a>, Kind> {
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

    pub fn second(&self) -> Result<(Source<'a>, &'a TensorRow, [usize; 4]), Kind> {
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

    /// `rows` rows of `len` codes, aligned for vector loads; `channels` says which of the two axes is the output.
    pub fn weights<const OPS: u32>(
        &self,
        rows: usize,
        len: usize,
        channels: Channels,
    ) -> Result<Weights<'a>, Kind> {
        let row = self.row;
        let (off, end) = row.weights.bounds().ok_or(Kind::Span)?;
        if !(2..=8).contains(&row.bits) {
            return Err(Kind::Param);
        }
        let nested = OPS & OpSet::ELASTIC != 0 && row.coding == CODING_NESTED;
        let bits = if nested { 8 } else { row.bits };
        let row_bits = len.checked_mul(usize::from(bits)).ok_or(Kind::Span)?;
        let (rows_stored, order) = match row.order {
            ORDER_ROWS => (rows, Order::Rows),
            ORDER_PAIRS if bits == 8 && channels == Channels::Rows => {
                (rows.wrapping_add(rows & 1), Order::Pairs)
            }
            _ => return Err(Kind::Param),
        };
        if off % ALIGN != 0 || rows_stored.checked_mul(row_bits.div_ceil(8)) != Some(end - off) {
            return Err(Kind::Span);
        }
        let table = <[I16]>::ref_from_bytes(self.table()?).map_err(|_| Kind::Span)?;
        let values = match (row.coding, row.flags & FLAG_ZEROS != 0) {
            (CODING_LINEAR, false) if table.is_empty() => Values::Linear(row.w_zero.get()),
            (CODING_LINEAR, true) if row.w_zero.get() == 0 => {
                let n = if channels == Channels::Rows {
                    rows
                } else {
                    len
                };
                if table.len() != n {
                    return Err(Kind::Span);
                }
                Values::Zeros(channels, table)
            }
            (CODING_CODEBOOK, false) if row.w_zero.get() == 0 => {
                if table.len() != 1 << row.bits {
                    return Err(Kind::Span);
                }
                Values::Codebook(table)
            }
            (CODING_NESTED, false)
                if nested && row.bits < 8 && row.w_zero.get() == 0 && table.is_empty() =>
            {
                Values::Linear(-0x80i16.wrapping_shr(row.bits.into()))
            }
            _ => return Err(Kind::Param),
        };
        Ok(Weights {
            bytes: self.model.weights.get(off..end).ok_or(Kind::Span)?,
            len,
            bits,
            mask: match nested {
                true => 0xffu8.wrapping_shl(8u32.wrapping_sub(row.bits.into())),
                false => 0xff,
            },
            order,
            values,
        })
    }

    pub fn quant(&self) -> Result<&'a [QuantRow], Kind> {
        let (off, end) = self.row.quant.bounds().ok_or(Kind::Span)?;
        self.model.quant.get(off..end).ok_or(Kind::Span)
    }

    pub fn quant_rows(&self, n: usize) -> Result<&'a [QuantRow], Kind> {
        self.quant().and_then(|rows| {
            if rows.len() == n {
                Ok(rows)
            } else {
                Err(Kind::Span)
            }
        })
    }

    pub fn quant_row(&self) -> Result<&'a QuantRow, Kind> {
        self.quant_rows(1)
            .and_then(|rows| rows.first().ok_or(Kind::Span))
    }

    pub fn table(&self) -> Result<&'a [u8], Kind> {
        let (off, end) = self.row.lut.bounds().ok_or(Kind::Span)?;
        self.model.luts.get(off..end).ok_or(Kind::Span)
    }

    pub fn table_i8(&self) -> Result<&'a [i8; 256], Kind> {
        FromBytes::ref_from_bytes(self.table()?).map_err(|_| Kind::Span)
    }

    pub fn same_shape(&self) -> Result<(), Kind> {
        if self.x_dims == self.y_dims {
            Ok(())
        } else {
            Err(Kind::Shape)
        }
    }

    /// Window over H and W, the output size taken from the output tensor.
    pub fn window(&self) -> Result<Window, Kind> {
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

    pub fn conv<const OPS: u32>(&self) -> Result<Conv<'a>, Kind> {
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
            weights: self.weights::<OPS>(m, k, Channels::Rows)?,
            z_x: i32::from(self.x.zero),
            quant: self.quant_rows(m)?,
            rq: self.rq,
        })
    }

    pub fn depthwise<const OPS: u32>(&self) -> Result<Depthwise<'a>, Kind> {
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
            weights: self.weights::<OPS>(window.taps(), m, Channels::Columns)?,
            z_x: i32::from(self.x.zero),
            quant: self.quant_rows(m)?,
            rq: self.rq,
        })
    }

    pub fn dense<const OPS: u32>(&self) -> Result<Dense<'a>, Kind> {
        let ([n, h, w, k], [n_y, h_y, w_y, m]) = (self.x_dims, self.y_dims);
        if (n, h, w) != (n_y, h_y, w_y) {
            return Err(Kind::Shape);
        }
        Ok(Dense {
            k,
            weights: self.weights::<OPS>(m, k, Channels::Rows)?,
            quant: self.quant_rows(m)?,
            rq: self.rq,
        })
    }

    /// Window of a pool, which keeps the number of channels.
    pub fn pool_window(&self) -> Result<Window, Kind> {
        let window = self.window()?;
        let [.., m] = self.y_dims;
        if m == window.c {
            Ok(window)
        } else {
            Err(Kind::Shape)
        }
    }

    pub fn max_pool(&self) -> Result<MaxPool, Kind> {
        Ok(MaxPool {
            window: self.pool_window()?,
            lo: self.row.lo,
            hi: self.row.hi,
        })
    }

    pub fn avg_pool(&self) -> Result<AvgPool<'a>, Kind> {
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

    pub fn add(&self, from1: Broadcast, from2: Broadcast) -> Result<Add, Kind> {
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

    pub fn mul(&self, from1: Broadcast, from2: Broadcast, x2: &TensorRow) -> Result<Mul, Kind> {
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

    pub fn lut(&self) -> Result<Lut<'a>, Kind> {
        self.same_shape()?;
        Ok(Lut {
            table: self.table_i8()?,
        })
    }

    pub fn prelu(&self) -> Result<PRelu<'a>, Kind> {
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
    pub fn around_axis(&self) -> Result<(usize, usize), Kind> {
        let [axis, ..] = self.p;
        let len = *self.x_dims.get(axis).ok_or(Kind::Param)?;
        let inner = self.x_dims.iter().skip(axis.wrapping_add(1)).product();
        Ok((len, inner))
    }

    pub fn softmax(&self) -> Result<Softmax<'a>, Kind> {
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

    pub fn argmax(&self) -> Result<ArgMax, Kind> {
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

    pub fn copy(&self) -> Result<Copy<'a>, Kind> {
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

    pub fn transpose(&self) -> Result<Transpose, Kind> {
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

    pub fn resize(&self) -> Result<Resize<'a>, Kind> {
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
