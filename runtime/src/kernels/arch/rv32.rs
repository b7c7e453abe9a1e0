//! RV32IM.

#[path = "rv32/tile.rs"]
mod tile;

use crate::Backend;
use crate::format::QuantRow;
use crate::kernels::add::Add;
use crate::kernels::conv::Conv;
use crate::kernels::dense::Dense;
use crate::kernels::depthwise::Depthwise;
use crate::kernels::matrix::{self, Block, Columns, Tile};
use crate::kernels::weights::Weights;
use crate::spec;
use core::arch::asm;
use tile::{Tiles, UNROLL, tiles};
use zerocopy::{FromBytes, IntoBytes};

/// Rows and columns of a tile.
const TILE: usize = 4;

/// The fastest backend of this program on this machine.
#[inline(always)]
pub(crate) fn best() -> Backend {
    Backend::Rv32
}

/// Whether this program can use `backend` on this machine.
pub(crate) fn available(backend: Backend) -> bool {
    backend == Backend::Rv32
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
    backend == Backend::Rv32
        && is_aligned(conv.quant)
        && matrix::conv::<Rv32, OPS>(conv, x, y, scratch)
}

/// Depthwise convolution.
#[inline(always)]
pub(crate) fn depthwise<const OPS: u32>(
    _backend: Backend,
    _depthwise: &Depthwise,
    _x: &[i8],
    _y: &mut [i8],
    _scratch: &mut [u32],
) -> bool {
    false
}

/// Dense layer.
#[inline(always)]
pub(crate) fn dense<const OPS: u32>(
    _backend: Backend,
    _dense: &Dense,
    _x: &[i8],
    _y: &mut [i8],
    _scratch: &mut [u32],
) -> bool {
    false
}

/// Sum of two tensors of one shape; `y` holds the first.
#[inline(always)]
pub(crate) fn add(backend: Backend, add: &Add, x2: &[i8], y: &mut [i8]) -> bool {
    let (a, b, c, s, lo, hi) = (add.a, add.b, add.c, add.s, add.lo, add.hi);
    for (y, x2) in y.iter_mut().zip(x2) {
        *y = spec::add(*y, *x2, a, b, c, s, lo, hi);
    }
    backend == Backend::Rv32
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
struct Rv32;

impl Tile for Rv32 {
    const BACKEND: Backend = Backend::Rv32;

    fn load<const OPS: u32>(weights: &Weights, first: usize, n: usize, to: &mut [u32]) {
        let len = Self::BACKEND.layout().padded(weights.len);
        let Ok(to) = <[[i16; TILE]]>::mut_from_bytes(to.as_mut_bytes()) else {
            return;
        };
        for (i, to) in to.chunks_mut(len.max(1)).enumerate() {
            let at = i * TILE;
            if at >= n {
                return;
            }
            load_tile::<OPS>(weights, first + at, TILE.min(n - at), to);
        }
    }

    fn widen(_x: &Columns, _at: usize, _to: &mut [u32]) {}

    #[inline(always)]
    fn gather(x: &Columns, to: &mut [i8], stride: usize) {
        for j in 0..x.n {
            let from = x.bytes.get(j.wrapping_mul(x.stride)..).unwrap_or_default();
            let to = to.get_mut(j.wrapping_mul(stride)..).unwrap_or_default();
            copy(from, to, x.len);
        }
    }

    fn multiply(block: &Block, x: &Columns, _wide: &[u32], out: &mut [i8], stride: usize) {
        let (k, rows) = (block.k, block.quant.len());
        let step = Self::BACKEND.layout().padded(k) * TILE * size_of::<i16>();
        let last = x.n.wrapping_sub(1);
        let fits = x.n <= TILE
            && last < TILE
            && x.len == k
            && last * x.stride + k <= x.bytes.len()
            && last * stride + rows <= out.len()
            && rows.div_ceil(TILE) * step <= size_of_val(block.decoded)
            && is_aligned(block.quant);
        if !fits || rows == 0 {
            return;
        }
        // Missing columns repeat the last one.
        let column = |j: usize| j.min(last);
        let mut arguments = Tiles {
            weights: block.decoded.as_ptr().cast(),
            weights_step: step,
            x: [0, 1, 2, 3].map(|j| x.bytes.as_ptr().wrapping_add(column(j) * x.stride)),
            unrolled: k & !(UNROLL - 1),
            rest: k % UNROLL,
            quant: block.quant.as_ptr().cast(),
            y: [0, 1, 2, 3].map(|j| out.as_mut_ptr().wrapping_add(column(j) * stride)),
            count: rows / TILE,
            shift: block.rq.shift.into(),
            z_y: block.rq.z_y.into(),
            lo: block.rq.lo.into(),
            hi: block.rq.hi.into(),
        };
        if arguments.count > 0 {
            // SAFETY: columns, outputs, weights and rows of `quant` are inside of their slices (`fits`), words are
            // aligned: scratch consists of words, `quant` was looked at.
            unsafe { tiles(&mut arguments) };
        }
        let left = rows % TILE;
        if left == 0 {
            return;
        }
        let mut quant = [QuantWords::default(); TILE];
        for (to, q) in quant.iter_mut().zip(block.quant.iter().skip(rows - left)) {
            *to = QuantWords(q.bias.get(), q.mult.get());
        }
        let mut y = [[0i8; TILE]; TILE];
        arguments.quant = quant.as_ptr().cast();
        let [y0, y1, y2, y3] = &mut y;
        arguments.y = [y0, y1, y2, y3].map(|y| y.as_mut_ptr());
        arguments.count = 1;
        // SAFETY: as above, with a whole tile of outputs and `quant` on the stack. The tiles before advanced the
        // weights to the last tile, which scratch holds whole.
        unsafe { tiles(&mut arguments) };
        for (out, y) in out.chunks_mut(stride.max(1)).zip(&y).take(x.n) {
            let out = out.iter_mut().take(rows).skip(rows - left);
            out.zip(y).for_each(|(out, y)| *out = *y);
        }
    }
}

/// Copy the first `len` codes, by words where both are aligned.
///
/// Runs of a column are short: a call of `memcpy` costs more than it saves.
#[inline(always)]
fn copy(from: &[i8], to: &mut [i8], len: usize) {
    let len = from.len().min(to.len()).min(len);
    let (mut x, mut y) = (from.as_ptr(), to.as_mut_ptr());
    let mut bytes = len;
    if (x.addr() | y.addr()).is_multiple_of(4) {
        bytes = len % 8;
        if len >= 8 {
            // SAFETY: reads and writes the first `len & !7` bytes of slices of at least `len` bytes; words are aligned.
            unsafe {
                asm!(
                    "2:",
                    "lw {a}, 0({x})",
                    "lw {b}, 4({x})",
                    "addi {x}, {x}, 8",
                    "sw {a}, 0({y})",
                    "sw {b}, 4({y})",
                    "addi {y}, {y}, 8",
                    "bne {x}, {end}, 2b",
                    x = inout(reg) x,
                    y = inout(reg) y,
                    end = in(reg) x.wrapping_add(len - bytes),
                    a = out(reg) _,
                    b = out(reg) _,
                    options(nostack),
                );
            }
        }
    }
    if bytes > 0 {
        // SAFETY: reads and writes the last `bytes` bytes of the same slices.
        unsafe {
            asm!(
                "2:",
                "lb {a}, 0({x})",
                "addi {x}, {x}, 1",
                "sb {a}, 0({y})",
                "addi {y}, {y}, 1",
                "bne {x}, {end}, 2b",
                x = inout(reg) x => _,
                y = inout(reg) y => _,
                end = in(reg) x.wrapping_add(bytes),
                a = out(reg) _,
                options(nostack),
            );
        }
    }
}

/// Bias and multiplier, aligned.
#[derive(Clone, Copy, Default)]
#[repr(C)]
struct QuantWords(i32, i32);

/// Decode `n` rows from `first` on to one tile `[k][4]`.
#[inline(always)]
fn load_tile<const OPS: u32>(weights: &Weights, first: usize, n: usize, to: &mut [[i16; TILE]]) {
    if let Some(bytes) = weights.plain() {
        let row = |r: usize| {
            let at = (first + r.min(n - 1)).wrapping_mul(weights.len);
            bytes.get(at..at + weights.len).unwrap_or_default()
        };
        let (a, b, c, d) = (row(0), row(1), row(2), row(3));
        for ((((to, a), b), c), d) in to.iter_mut().zip(a).zip(b).zip(c).zip(d) {
            *to = [*a, *b, *c, *d].map(i16::from);
        }
        return;
    }
    for r in 0..n {
        weights.fours::<OPS>(first + r, |i, w| {
            for (to, w) in to.iter_mut().skip(i).zip(w) {
                if let Some(to) = to.get_mut(r) {
                    *to = w;
                }
            }
        });
    }
}
