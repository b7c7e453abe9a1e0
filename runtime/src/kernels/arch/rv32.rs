//! RV32IM.

#[path = "coded.rs"]
mod coded;
#[path = "rv32/lines.rs"]
mod lines;
#[path = "pairs.rs"]
mod pairs;
#[path = "rv32/dense.rs"]
mod rows;
#[path = "rv32/tile.rs"]
mod tile;
#[path = "windows.rs"]
mod windows;

use crate::format::QuantRow;
use crate::kernels::Requant;
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
use core::arch::asm;
use lines::{Lines, lines_1, lines_2};
use pairs::{load, pair};
use rows::{Rows, rows};
use tile::{Tiles, tiles, wide_tiles};

/// Rows and columns of a tile.
const TILE: usize = 4;

/// Rows of a dense layer that are computed together.
const ROWS: usize = 8;

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
    backend == Backend::Rv32 && is_fit(conv.quant) && matrix::conv::<Rv32, OPS>(conv, x, y, scratch)
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
    backend == Backend::Rv32 && planes::depthwise::<Rv32, OPS>(depthwise, x, y, scratch)
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
    if backend != Backend::Rv32 {
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
        && is_fit(dense.quant);
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
                round: i32::from(dense.rq.z_y) * 2 + 1,
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
    if backend != Backend::Rv32 || x2.len() != y.len() {
        return false;
    }
    let (fours, rest) = y.as_chunks_mut::<4>();
    let (x2_fours, x2_rest) = x2.as_chunks::<4>();
    add_fours(add, x2_fours, fours);
    for (y, x2) in rest.iter_mut().zip(x2_rest) {
        *y = spec::add(*y, *x2, add.a, add.b, add.c, add.s, add.lo, add.hi);
    }
    true
}

/// [`add()`] for as many elements as both have.
#[inline(always)]
fn add_fours(add: &Add, x2: &[[i8; 4]], y: &mut [[i8; 4]]) {
    let n = x2.len().min(y.len());
    if n == 0 {
        return;
    }
    let y = y.as_mut_ptr();
    // SAFETY: reads and writes the first `n` elements of slices that have as many; `s` is below 32.
    unsafe {
        asm!(
            "2:",
            ".irp i, 0, 1, 2, 3",
            "lb {t}, \\i({y})",
            "lb {u}, \\i({x})",
            "mul {t}, {t}, {a}",
            "mul {u}, {u}, {b}",
            "add {t}, {t}, {c}",
            "add {t}, {t}, {u}",
            "sra {t}, {t}, {s}",
            "bge {t}, {lo}, 3f",
            "mv {t}, {lo}",
            "3: bge {hi}, {t}, 4f",
            "mv {t}, {hi}",
            "4: sb {t}, \\i({y})",
            ".endr",
            "addi {x}, {x}, 4",
            "addi {y}, {y}, 4",
            "bne {y}, {end}, 2b",
            x = inout(reg) x2.as_ptr() => _,
            y = inout(reg) y => _,
            end = in(reg) y.wrapping_add(n),
            a = in(reg) i32::from(add.a),
            b = in(reg) i32::from(add.b),
            c = in(reg) add.c,
            s = in(reg) u32::from(add.s),
            lo = in(reg) i32::from(add.lo),
            hi = in(reg) i32::from(add.hi),
            t = out(reg) _,
            u = out(reg) _,
            options(nostack),
        );
    }
}

/// `y[i] = max(y[i], x[i])`.
#[inline(always)]
pub(crate) fn max(_backend: Backend, _x: &[i8], _y: &mut [i8]) -> bool {
    false
}

/// Whether words can be loaded from `quant`, and no multiplier is above [`MULT_MAX`].
fn is_fit(quant: &[QuantRow]) -> bool {
    is_aligned(quant) && quant.iter().all(|q| q.mult.get() <= MULT_MAX)
}

/// Whether words can be loaded from `quant`.
#[inline(always)]
fn is_aligned(quant: &[QuantRow]) -> bool {
    quant.as_ptr().addr().is_multiple_of(4)
}

/// Convolution as a matrix product.
struct Rv32;

impl Tile for Rv32 {
    const BACKEND: Backend = Backend::Rv32;

    fn load<const OPS: u32>(weights: &Weights, first: usize, n: usize, to: &mut [u32]) {
        load::<OPS, TILE>(
            weights,
            first,
            n,
            Self::BACKEND.layout().padded(weights.len),
            to,
        );
    }

    #[inline(always)]
    fn widen<const OPS: u32>(x: &Columns, at: usize, to: &mut [u32]) {
        let last = x.n.wrapping_sub(1);
        let to = to.get_mut(at.wrapping_mul(TILE / 2)..).unwrap_or_default();
        let (whole, room) = (
            x.len & !3,
            Self::BACKEND.layout().padded(x.len) * (TILE / 2),
        );
        if last >= TILE || last * x.stride + x.len > x.bytes.len() || room > to.len() {
            return;
        }
        // Missing columns repeat the last one.
        let column = |j: usize| x.bytes.as_ptr().wrapping_add(j.min(last) * x.stride);
        if whole > 0 {
            let to = to.as_mut_ptr();
            // SAFETY: every column has `len` codes, `to` has room for them (both looked at above).
            unsafe { tile::pairs(column(0), column(1), column(2), column(3), to, whole) };
        }
        let rest = x.len - whole;
        if rest == 0 {
            return;
        }
        for j in 0..TILE {
            let x = x.bytes.get(j.min(last) * x.stride + whole..);
            let code = |i: usize| match x.and_then(|x| x.get(i)) {
                Some(x) if i < rest => i32::from(*x),
                _ => 0,
            };
            for i in [0, 2] {
                if let Some(to) = to.get_mut((whole + i) * (TILE / 2) + j) {
                    *to = pair(code(i + 1), code(i));
                }
            }
        }
    }

    #[inline(always)]
    fn gather(x: &Columns, to: &mut [i8], stride: usize) {
        for j in 0..x.n {
            let from = x.bytes.get(j.wrapping_mul(x.stride)..).unwrap_or_default();
            let to = to.get_mut(j.wrapping_mul(stride)..).unwrap_or_default();
            copy(from, to, x.len);
        }
    }

    #[inline(always)]
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
        let words = len * (TILE / 2);
        let fits = last < TILE
            && k > 0
            && words <= wide.len()
            && last * stride + rows <= out.len()
            && rows.div_ceil(TILE) * words <= block.decoded.len()
            && is_aligned(block.quant);
        if !fits || rows == 0 {
            return;
        }
        let run = match block.narrow {
            true => tiles,
            false => wide_tiles,
        };
        // Missing columns repeat the last one.
        let mut arguments = Tiles {
            weights: block.decoded.as_ptr(),
            columns: wide.as_ptr(),
            len: words * 4,
            excess: if block.narrow { (len / 2) as i32 } else { 0 },
            quant: block.quant.as_ptr().cast(),
            y: [0, 1, 2, 3].map(|j| out.as_mut_ptr().wrapping_add(last.min(j) * stride)),
            count: rows / TILE,
            shift: block.rq.shift.into(),
            round: i32::from(block.rq.z_y) * 2 + 1,
            lo: block.rq.lo.into(),
            hi: block.rq.hi.into(),
        };
        if arguments.count > 0 {
            // SAFETY: columns, outputs, weights and rows of `quant` are inside of their slices (`fits`), words are
            // aligned: scratch consists of words, `quant` was looked at. `len` is a multiple of 4 codes.
            unsafe { run(&mut arguments) };
        }
        let left = rows % TILE;
        if left == 0 {
            return;
        }
        let mut quant = [[0; 2]; TILE];
        for (to, q) in quant.iter_mut().zip(block.quant.iter().skip(rows - left)) {
            *to = [q.bias.get(), q.mult.get()];
        }
        let mut y = [[0i8; TILE]; TILE];
        let [y0, y1, y2, y3] = &mut y;
        arguments.quant = quant.as_ptr().cast();
        arguments.y = [y0, y1, y2, y3].map(|y| y.as_mut_ptr());
        arguments.count = 1;
        // SAFETY: as above, with a whole tile of outputs and `quant` on the stack. The tiles before advanced the
        // weights to the last tile, which scratch holds whole.
        unsafe { run(&mut arguments) };
        // Split by hand: a zip of chunks divides, which not every optimizer level shows to be safe.
        let mut rest = out;
        for y in y.iter().take(x.n) {
            let (position, after) = rest.split_at_mut(stride.min(rest.len()));
            let out = position.iter_mut().take(rows).skip(rows - left);
            out.zip(y).for_each(|(out, y)| *out = *y);
            rest = after;
        }
    }
}

/// Largest multiplier of which [`doubled`] gives something.
const MULT_MAX: i32 = i32::MAX - 0x200;

/// Multiplier and rounding for `requant(acc) = clamp((mulhsu(acc, 2 m) + 2 z + 1) >> 1)`, which is exact as long as the
/// sum does not leave `i32`.
#[inline(always)]
fn doubled(mult: i32, rq: &Requant) -> Option<(u32, i32)> {
    (rq.shift == 0 && mult <= MULT_MAX).then(|| ((mult as u32) << 1, i32::from(rq.z_y) * 2 + 1))
}

impl planes::Lines for Rv32 {
    const BACKEND: Backend = Backend::Rv32;

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
        let [lines, n] = p.outputs;
        let [down, right] = p.stride;
        if !windows::fits(p, y) {
            return;
        }
        let scale = doubled(p.quant.mult.get(), &p.rq);
        let three = p.kernel == [3, 3] && p.row == 4 && p.step > 0;
        let (run, (mult, round)): (unsafe extern "C" fn(*mut Lines), _) = match (right, scale) {
            (1, Some(scale)) if three => (lines_1, scale),
            (2, Some(scale)) if three => (lines_2, scale),
            _ => return windows::outputs(p, y),
        };
        let mut arguments = Lines {
            x: p.codes.as_ptr(),
            pitch: p.pitch,
            down: down * p.pitch,
            taps: p.taps.as_ptr(),
            y: y.as_mut_ptr(),
            next: p.next,
            step: p.step,
            len: n * p.step,
            count: lines,
            bias: p.quant.bias.get(),
            mult,
            round,
            lo: p.rq.lo.into(),
            hi: p.rq.hi.into(),
        };
        // SAFETY: what is read of `codes` and `taps` and written to `y` is inside of them (`fits`).
        unsafe { run(&mut arguments) };
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
                "beq {x}, {fours}, 3f",
                "2:",
                "lb {a}, 0({x})",
                "lb {b}, 1({x})",
                "sb {a}, 0({y})",
                "sb {b}, 1({y})",
                "lb {a}, 2({x})",
                "lb {b}, 3({x})",
                "addi {x}, {x}, 4",
                "sb {a}, 2({y})",
                "sb {b}, 3({y})",
                "addi {y}, {y}, 4",
                "bne {x}, {fours}, 2b",
                "beq {x}, {end}, 4f",
                "3:",
                "lb {a}, 0({x})",
                "addi {x}, {x}, 1",
                "sb {a}, 0({y})",
                "addi {y}, {y}, 1",
                "bne {x}, {end}, 3b",
                "4:",
                x = inout(reg) x => _,
                y = inout(reg) y => _,
                fours = in(reg) x.wrapping_add(bytes & !3),
                end = in(reg) x.wrapping_add(bytes),
                a = out(reg) _,
                b = out(reg) _,
                options(nostack),
            );
        }
    }
}
