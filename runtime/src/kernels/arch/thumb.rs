//! ARMv6-M and ARMv7-M without DSP extension.

#[macro_use]
#[path = "thumb/scale.rs"]
mod scale;
#[path = "coded.rs"]
mod coded;
#[path = "thumb/lines.rs"]
mod lines;
#[path = "pairs.rs"]
mod pairs;
#[path = "thumb/dense.rs"]
mod rows;
#[path = "thumb/tile.rs"]
mod tile;
#[path = "windows.rs"]
mod windows;

use crate::format::QuantRow;
use crate::kernels::add::Add;
use crate::kernels::conv::Conv;
use crate::kernels::dense::Dense;
use crate::kernels::depthwise::Depthwise;
use crate::kernels::matrix::{self, Block, Columns, Tile};
use crate::kernels::pieces::{pieces, pieces_mut};
use crate::kernels::planes::{self, Plane};
use crate::kernels::weights::Weights;
use crate::spec;
use crate::{Backend, PLANE_CHANNELS};
use lines::Lines;
use pairs::{load, pair};
use rows::{Rows, rows};
use tile::{Tiles, tiles, wide_tiles};

/// Rows and columns of a tile.
const TILE: usize = 2;

/// Rows of a dense layer that are computed together.
const ROWS: usize = 4;

/// The fastest backend of this program on this machine.
#[inline(always)]
pub(crate) fn best() -> Backend {
    Backend::Thumb
}

/// Whether this program can use `backend` on this machine.
pub(crate) fn available(backend: Backend) -> bool {
    backend == Backend::Thumb
}

/// Convolution.
#[inline(always)]
pub(crate) fn conv<const OPS: u32>(
    backend: Backend,
    conv: &Conv,
    x: &[i8],
    y: &mut [i8],
    scratch: &mut [u32],
) -> bool {
    backend == Backend::Thumb
        && is_aligned(conv.quant)
        && matrix::conv::<Thumb, OPS>(conv, x, y, scratch)
}

/// Depthwise convolution.
#[inline(always)]
pub(crate) fn depthwise<const OPS: u32>(
    backend: Backend,
    depthwise: &Depthwise,
    x: &[i8],
    y: &mut [i8],
    scratch: &mut [u32],
) -> bool {
    backend == Backend::Thumb && planes::depthwise::<Thumb, OPS>(depthwise, x, y, scratch)
}

/// Dense layer.
#[inline(always)]
pub(crate) fn dense<const OPS: u32>(
    backend: Backend,
    dense: &Dense,
    x: &[i8],
    y: &mut [i8],
    _scratch: &mut [u32],
) -> bool {
    if backend != Backend::Thumb {
        return false;
    }
    let Some(weights) = dense.weights.plain() else {
        coded::dense::<OPS>(dense, x, y);
        return true;
    };
    let (k, m) = (dense.k, dense.quant.len());
    let usable = k > 0
        && m >= ROWS
        && k.checked_mul(m).is_some_and(|len| len <= weights.len())
        && dense.rq.shift == 0
        && is_aligned(dense.quant);
    if !usable {
        return false;
    }
    for (x, y) in pieces(x, k).zip(pieces_mut(y, m)) {
        // Where rows are left, the last whole group of rows ends with them.
        for (first, count) in [(0, m / ROWS), (m - ROWS, 1)] {
            if first > 0 && m.is_multiple_of(ROWS) {
                break;
            }
            let mut arguments = Rows {
                weights: weights.as_ptr().wrapping_add(first * k),
                k,
                x: x.as_ptr(),
                quant: dense.quant.as_ptr().wrapping_add(first).cast(),
                y: y.as_mut_ptr().wrapping_add(first),
                count,
                z_y: dense.rq.z_y.into(),
                lo: dense.rq.lo.into(),
                hi: dense.rq.hi.into(),
            };
            // SAFETY: `m` rows of `k` weights, `k` inputs, `m` outputs and `m` aligned rows of `quant` are there;
            // rows `first .. first + count * ROWS` are below `m`.
            unsafe { rows(&mut arguments) };
        }
    }
    true
}

/// Sum of two tensors of one shape; `y` holds the first.
#[inline(always)]
pub(crate) fn add(backend: Backend, add: &Add, x2: &[i8], y: &mut [i8]) -> bool {
    if backend != Backend::Thumb {
        return false;
    }
    let (a, b, c, s, lo, hi) = (add.a, add.b, add.c, add.s, add.lo, add.hi);
    for (y, x2) in y.iter_mut().zip(x2) {
        *y = spec::add(*y, *x2, a, b, c, s, lo, hi);
    }
    true
}

/// `y[i] = max(y[i], x[i])`.
#[inline(always)]
pub(crate) fn max(_backend: Backend, _x: &[i8], _y: &mut [i8]) -> bool {
    false
}

/// Whether words can be loaded from `quant`.
fn is_aligned(quant: &[QuantRow]) -> bool {
    quant.as_ptr().addr().is_multiple_of(4)
}

/// Convolution as a matrix product.
struct Thumb;

impl Tile for Thumb {
    const BACKEND: Backend = Backend::Thumb;

    fn load<const OPS: u32>(weights: &Weights, first: usize, n: usize, to: &mut [u32]) {
        load::<OPS, TILE>(
            weights,
            first,
            n,
            Self::BACKEND.layout().padded(weights.len),
            to,
        );
    }

    fn widen<const OPS: u32>(x: &Columns, at: usize, to: &mut [u32]) {
        let last = x.n.wrapping_sub(1);
        let Some(to) = to.get_mut(at..) else {
            return;
        };
        let even = x.len & !1;
        let fits = x.n <= TILE
            && last < TILE
            && last * x.stride + x.len <= x.bytes.len()
            && x.len + x.len % 2 <= to.len();
        if !fits {
            return;
        }
        let second = x.bytes.get(last * x.stride..).unwrap_or_default();
        if even > 0 {
            // SAFETY: both columns have `len` codes, `to` has room for as many words (`fits`).
            unsafe { tile::pairs(x.bytes.as_ptr(), second.as_ptr(), to.as_mut_ptr(), even) };
        }
        if even < x.len {
            for (to, x) in to.iter_mut().skip(even).zip([x.bytes, second]) {
                *to = x.get(even).map_or(0, |x| pair(0, i32::from(*x)));
            }
        }
    }

    fn multiply<const OPS: u32>(
        block: &Block,
        x: &Columns,
        wide: &[u32],
        out: &mut [i8],
        stride: usize,
    ) {
        let (k, rows) = (block.k, block.quant.len());
        let len = Self::BACKEND.layout().padded(k);
        let last = x.n.wrapping_sub(1);
        let fits = x.n <= TILE
            && last < TILE
            && k > 0
            && len <= wide.len()
            && last * stride + rows <= out.len()
            && rows.div_ceil(TILE) * len <= block.decoded.len()
            && is_aligned(block.quant);
        if !fits || rows == 0 {
            return;
        }
        let run = match block.narrow {
            true => tiles,
            false => wide_tiles,
        };
        // A missing column repeats the first.
        let y = out.as_mut_ptr();
        let mut arguments = Tiles {
            weights: block.decoded.as_ptr(),
            columns: wide.as_ptr(),
            len: len * 4,
            quant: block.quant.as_ptr().cast(),
            y: [y, y.wrapping_add(last * stride)],
            count: rows / TILE,
            excess: if block.narrow { (len / 2) as i32 } else { 0 },
            shift: block.rq.shift.into(),
            z_y: block.rq.z_y.into(),
            lo: block.rq.lo.into(),
            hi: block.rq.hi.into(),
        };
        if arguments.count > 0 {
            // SAFETY: columns, outputs, weights and rows of `quant` are inside of their slices (`fits`), words are
            // aligned: scratch consists of words, `quant` was looked at. `len` is a multiple of 4 codes.
            unsafe { run(&mut arguments) };
        }
        if rows.is_multiple_of(TILE) {
            return;
        }
        let Some(q) = block.quant.last() else {
            return;
        };
        let quant = [q.bias.get(), q.mult.get(), 0, 0];
        let mut y = [[0i8; TILE]; TILE];
        let [y0, y1] = &mut y;
        arguments.quant = quant.as_ptr().cast();
        arguments.y = [y0.as_mut_ptr(), y1.as_mut_ptr()];
        arguments.count = 1;
        // SAFETY: as above, with a whole tile of outputs and `quant` on the stack. The tiles before advanced the
        // weights to the last tile, which scratch holds whole.
        unsafe { run(&mut arguments) };
        for (j, [y, _]) in y.iter().enumerate().take(x.n) {
            if let Some(out) = out.get_mut(j * stride + rows - 1) {
                *out = *y;
            }
        }
    }
}

impl planes::Lines for Thumb {
    const BACKEND: Backend = Backend::Thumb;

    type Code = i8;

    #[inline(always)]
    fn spread(x: &[i8], step: usize, n: usize, channels: usize, to: &mut [i8], line: usize) {
        let fits = channels == PLANE_CHANNELS
            && n > 0
            && (n - 1) * step + channels <= x.len()
            && (channels - 1) * line + n <= to.len();
        if fits {
            // SAFETY: what is read of `x` and written to `to` is inside of them (`fits`).
            unsafe { lines::spread(x.as_ptr(), step, to.as_mut_ptr(), line, n) };
            return;
        }
        windows::spread(x, step, n, channels, to, line);
    }

    fn outputs<const OPS: u32>(p: &Plane<i8>, y: &mut [i8]) {
        if !windows::fits(p, y) {
            return;
        }
        let three = p.kernel == [3, 3] && p.row == 4 && p.step > 0 && p.rq.shift == 0;
        let run = match p.stride {
            #[cfg(elastiq_armv7m)]
            [_, 2] if three => lines::lines_2,
            #[cfg(elastiq_armv7m)]
            [_, 1] if three => lines::lines_1,
            #[cfg(not(elastiq_armv7m))]
            _ if three => lines::lines_1,
            _ => return windows::outputs(p, y),
        };
        let mut taps = [0; 9];
        for (to, w) in pieces_mut(&mut taps, 3).zip(p.taps.chunks(4)) {
            to.iter_mut().zip(w).for_each(|(to, w)| *to = i32::from(*w));
        }
        let mult = p.quant.mult.get();
        let arguments = Lines {
            mult,
            z_y: p.rq.z_y.into(),
            lo: p.rq.lo.into(),
            hi: p.rq.hi.into(),
            bias: p.quant.bias.get(),
            y: y.as_mut_ptr(),
            end: 0,
            step: p.step,
            taps,
            mult_low: mult as u32 & 0xffff,
            mult_high: mult as u32 >> 16,
            x: p.codes.as_ptr(),
            pitch: p.pitch,
            down: p.stride[0] * p.pitch,
            next: p.next,
            len: p.outputs[1] * p.step,
            count: p.outputs[0],
            skip: p.stride[1] as isize - 2,
            spare: [0; 2],
        };
        // SAFETY: what is read of `codes` and written to `y` is inside of them (`fits`).
        unsafe { run(&arguments) };
    }
}
