//! Scratch memory: what the kernels of a core want for an operator, and what they get.

use crate::lower::{LOp, Lowered};
use elastiq::format::{CODING_LINEAR, CODING_NESTED, FLAG_ZEROS, OpKind, OpRow, PAIRS_MOST};
use elastiq::{Backend, Model, Windows};

/// Bytes that an operator may add to the arena where it has no free ones; beyond that it gets what is free.
pub const LIMIT: usize = 4096;

/// Bytes of scratch of one operator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Need {
    /// Less than this is of no use.
    pub least: usize,
    /// More than this is of no use.
    pub full: usize,
}

impl Need {
    /// What to give when `free` bytes cost nothing and [`LIMIT`] may be exceeded only by `least`.
    pub fn given(self, free: usize) -> usize {
        let most = free.max(LIMIT).max(self.least);
        if self.full <= most { self.full } else { most }
    }
}

/// What decides the scratch of an operator; fields as in [`OpRow`], dimensions as in [`elastiq::format::TensorRow`].
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub kind: OpKind,
    pub p: [u16; 16],
    pub x: [u32; 4],
    pub y: [u32; 4],
    /// Kernels can use the codes as weights: 8 bits, linear, symmetric.
    pub plain: bool,
    /// All weights fit 8 bits.
    pub narrow: bool,
    /// Weights are the upper bits of 8-bit codes.
    pub nested: bool,
}

impl Shape {
    /// Of an operator before packing.
    pub fn of(net: &Lowered, op: &LOp) -> Shape {
        Shape {
            kind: op.kind,
            p: op.p,
            x: net.tensors[op.in0].dims,
            y: net.tensors[op.out].dims,
            plain: op.weights.is_plain(),
            narrow: op.weights.fits_i8(),
            nested: op.weights.nested,
        }
    }

    /// Of a row of an artifact.
    pub fn of_row(model: &Model, row: &OpRow) -> Option<Shape> {
        let dims = |i: u16| model.tensors()[usize::from(i)].dims.map(|d| d.get());
        let linear = row.coding == CODING_LINEAR;
        let nested = row.coding == CODING_NESTED;
        let symmetric = row.w_zero.get() == 0 && row.flags & FLAG_ZEROS == 0;
        let plain = linear && row.bits == 8 && symmetric;
        Some(Shape {
            kind: OpKind::from_u8(row.kind)?,
            p: row.p.map(|p| p.get()),
            x: dims(row.in0.get()),
            y: dims(row.out.get()),
            plain,
            narrow: plain || nested || linear && row.bits < 8,
            nested,
        })
    }
}

/// What an operator of `shape` wants on `backend`.
pub fn need(shape: &Shape, backend: Backend) -> Need {
    let layout = backend.layout();
    let [_, ih, iw, c] = shape.x.map(|d| d as usize);
    let y = shape.y.map(|d| d as usize);
    let [_, oh, ow, m] = y;
    let p = shape.p.map(usize::from);
    let direct = layout.direct && shape.plain;
    match shape.kind {
        OpKind::Conv => {
            let groups = p[8].max(1);
            let k = p[0] * p[1] * (c / groups);
            let (least, full) = if direct { (0, 0) } else { (1, m / groups) };
            // Columns of one position are used where they are.
            let point = p[..8] == [1, 1, 1, 1, 1, 1, 0, 0] && [ih, iw] == [oh, ow];
            let unused = match point && layout.column == 0 {
                true => layout.staging_len(k),
                false => 0,
            };
            Need {
                least: layout.matrix_len(k, least) - unused,
                full: layout.matrix_len(k, full) - unused,
            }
        }
        OpKind::Depthwise if backend == Backend::Helium => {
            let wide = !shape.narrow;
            match Windows::new([p[0], p[1]], [p[2], p[3]], [oh, ow], wide) {
                Some(windows) if [p[4], p[5], c] == [1, 1, m] => Need {
                    least: windows.len(c.min(Windows::CHANNELS)),
                    full: windows.len(c),
                },
                _ => Need::default(),
            }
        }
        OpKind::Depthwise if (p[4], p[5], m) == (1, 1, c) => {
            match layout.planes([p[0], p[1]], [p[2], p[3]], [oh, ow]) {
                Some(planes) => Need {
                    least: planes.least(),
                    full: planes.full(),
                },
                None => Need::default(),
            }
        }
        OpKind::Dense => {
            let one = y.iter().product::<usize>() == m;
            // Codes that are masked where they are.
            let masked = shape.nested
                && match backend {
                    Backend::Dsp => c.is_multiple_of(2) && c <= PAIRS_MOST,
                    Backend::Helium => false,
                    _ => true,
                };
            let (least, full) = match (one, direct) {
                (true, _) if shape.plain || masked => (layout.dense_len(c), layout.dense_len(c)),
                (_, true) => (layout.matrix_len(c, 0), layout.matrix_len(c, 0)),
                (true, false) => (layout.matrix_len(c, 1), layout.matrix_len(c, 1)),
                (false, false) => (layout.matrix_len(c, 1), layout.matrix_len(c, m)),
            };
            Need { least, full }
        }
        _ => Need::default(),
    }
}
