//! Operators that move codes: pools of maxima, copies, transpositions, resampling, views.

use super::{Emit, axis4, dims4, u16s, wide4, window16};
use crate::Error;
use crate::ir::ValueId;
use crate::lower::Place;
use crate::lower::func::Func;
use crate::lower::steps::{Kind, Step};
use elastiq::format::{FLAG_FILL, OpKind};

impl Emit<'_> {
    /// Steps whose output has the codes of their input; a table follows where the file fixes both differently.
    pub(super) fn moving(&mut self, step: &Step, x: usize) -> Result<(), Error> {
        let (v, out) = (step.inputs[0], step.output);
        let (qx, qy) = (self.quant(x), self.params.get(out));
        let same = qx == qy || self.params.is_index(v);
        let dims = dims4(self.shape(out))?;
        let name = self.graph.value(out).name.clone();
        let value = same.then_some(out);
        let t = match &step.kind {
            Kind::Reshape => {
                let t = self.tensor(&name, dims, qx, Place::View(x), value);
                self.out.tensors[t].width = self.out.tensors[x].width;
                t
            }
            Kind::Transpose { perm } => self.transpose(step, x, perm, dims, &name, value)?,
            _ => {
                let t = self.tensor(&name, dims, qx, Place::Arena, value);
                self.window_move(step, x, t)?;
                t
            }
        };
        if same {
            self.tensors.insert(out, t);
            return Ok(());
        }
        let y = self.activation(out)?;
        let mut op = self.op(step, OpKind::Lut, t, y);
        (op.lo, op.hi, op.macs) = (0, 0, 0);
        op.lut = Func::identity().table(qx, qy);
        self.out.ops.push(op);
        Ok(())
    }

    fn window_move(&mut self, step: &Step, x: usize, y: usize) -> Result<(), Error> {
        let qx = self.quant(x);
        let mut op = self.op(step, OpKind::Copy, x, y);
        let (x_dims, y_dims) = (self.out.tensors[x].dims, self.out.tensors[y].dims);
        let sizes = |d: [u32; 4]| d.map(|v| v as usize);
        match &step.kind {
            Kind::MaxPool(window) => {
                op.kind = OpKind::MaxPool;
                op.p = window16(window, None)?;
            }
            Kind::Pad { before, value } => {
                (op.lo, op.hi) = (qx.code(f64::from(*value)), 127);
                op.flags = FLAG_FILL;
                let to = wide4(before, 0)?;
                op.p = u16s([[0; 4], to, [1; 4], sizes(x_dims)].into_iter().flatten())?;
            }
            Kind::Slice { start, step } => {
                (op.lo, op.hi) = (0, 0);
                let (from, step) = (wide4(start, 0)?, wide4(step, 1)?);
                op.p = u16s([from, [0; 4], step, sizes(y_dims)].into_iter().flatten())?;
            }
            Kind::Resize(map) => {
                (op.lo, op.hi) = (0, 0);
                op.kind = OpKind::Resize;
                for &source in map.rows.iter().chain(&map.cols) {
                    let [source] = u16s([source])?;
                    op.lut.extend(source.to_le_bytes());
                }
            }
            _ => unreachable!("only steps that move windows of codes"),
        }
        self.out.ops.push(op);
        Ok(())
    }

    /// A transposition in at most four axes: unit axes are dropped, axes that stay together merged.
    fn transpose(
        &mut self,
        step: &Step,
        x: usize,
        perm: &[usize],
        dims: [u32; 4],
        name: &str,
        value: Option<ValueId>,
    ) -> Result<usize, Error> {
        let shape = self.shape(step.inputs[0]).to_vec();
        let mut groups: Vec<Vec<usize>> = Vec::new();
        for &axis in perm.iter().filter(|&&a| shape[a] != 1) {
            let follows = |g: &Vec<usize>| {
                g.last()
                    .is_some_and(|&l| l < axis && (l + 1..axis).all(|a| shape[a] == 1))
            };
            match groups.last_mut().filter(|g| follows(g)) {
                Some(group) => group.push(axis),
                None => groups.push(vec![axis]),
            }
        }
        if groups.len() > 4 {
            return Err(Error::input(format!(
                "permutes {} separate axes, at most 4 are supported",
                groups.len()
            )));
        }
        let size = |g: &Vec<usize>| g.iter().map(|&a| shape[a]).product::<usize>();
        let mut sorted = groups.clone();
        sorted.sort();
        let from = dims4(&sorted.iter().map(size).collect::<Vec<_>>())?;
        let to = dims4(&groups.iter().map(size).collect::<Vec<_>>())?;
        let lead = 4 - groups.len();
        let places = groups
            .iter()
            .filter_map(|g| sorted.iter().position(|s| s == g))
            .map(|at| lead + at);
        let perm4 = u16s((0..lead).chain(places))?;
        let q = self.quant(x);
        let x = if self.out.tensors[x].dims == from {
            x
        } else {
            self.tensor(name, from, q, Place::View(x), None)
        };
        let direct = to == dims;
        let t = self.tensor(name, to, q, Place::Arena, value.filter(|_| direct));
        let mut op = self.op(step, OpKind::Transpose, x, t);
        (op.lo, op.hi, op.p) = (0, 0, perm4);
        self.out.ops.push(op);
        Ok(if direct {
            t
        } else {
            self.tensor(name, dims, q, Place::View(t), value)
        })
    }

    pub(super) fn concat(&mut self, step: &Step, axis: usize) -> Result<(), Error> {
        let y = self.activation(step.output)?;
        let qy = self.quant(y);
        let at = axis4(axis, self.shape(step.output))?;
        let mut to = [0usize; 4];
        for &v in &step.inputs {
            let x = self.activation(v)?;
            let dims = self.out.tensors[x].dims.map(|d| d as usize);
            let mut op = self.op(step, OpKind::Copy, x, y);
            (op.lo, op.hi) = (0, 0);
            op.p = u16s([[0; 4], to, [1; 4], dims].into_iter().flatten())?;
            if self.quant(x) != qy {
                op.lut = Func::identity().table(self.quant(x), qy);
            }
            self.out.ops.push(op);
            to[at] += dims[at];
        }
        Ok(())
    }
}
