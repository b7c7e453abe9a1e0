//! Scratch memory: what the kernels of a core want for an operator, and what they get.

use crate::lower::{LOp, Lowered};
use elastiq::format::OpKind;
use elastiq::{Backend, Windows};

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

/// What operator `op` wants on `backend`.
pub fn need(net: &Lowered, op: &LOp, backend: Backend) -> Need {
    let layout = backend.layout();
    let [_, ih, iw, c] = net.tensors[op.in0].dims.map(|d| d as usize);
    let [_, oh, ow, m] = net.tensors[op.out].dims.map(|d| d as usize);
    let p = op.p.map(usize::from);
    match op.kind {
        OpKind::Conv => {
            let groups = p[8].max(1);
            let k = p[0] * p[1] * (c / groups);
            let direct = layout.direct && op.weights.is_plain();
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
            let wide = !op.weights.fits_i8();
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
            let one = net.tensors[op.out].len() == m;
            let plain = op.weights.is_plain();
            let direct = layout.direct && plain;
            let (least, full) = match (one, direct) {
                (true, _) if plain => (layout.dense_len(c), layout.dense_len(c)),
                (_, true) => (layout.matrix_len(c, 0), layout.matrix_len(c, 0)),
                (true, false) => (layout.matrix_len(c, 1), layout.matrix_len(c, 1)),
                (false, false) => (layout.matrix_len(c, 1), layout.matrix_len(c, m)),
            };
            Need { least, full }
        }
        _ => Need::default(),
    }
}
