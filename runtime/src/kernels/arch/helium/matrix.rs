//! Products of weight rows and columns: bounds, and which assembly does which part.

use super::tile::*;
use crate::Backend;
use crate::format::QuantRow;
use crate::kernels::Requant;
use crate::kernels::dense::Dense;
use crate::kernels::matrix::{Block, Columns, Tile};
use crate::kernels::pieces::pieces_mut;
use crate::kernels::weights::Weights;
use core::arch::asm;
use zerocopy::{FromBytes, IntoBytes};

/// Codes in a vector.
const VECTOR: usize = 16;
/// Rows multiplied at once.
const QUAD: usize = 4;
/// Columns multiplied at once.
const TILE: usize = 3;
/// Columns multiplied at once where each is one vector.
const FEW: usize = 4;

pub(crate) enum Helium {}

impl Tile for Helium {
    const BACKEND: Backend = Backend::Helium;

    fn load<const OPS: u32>(weights: &Weights, first: usize, n: usize, to: &mut [u32]) {
        let words = const { Self::BACKEND.layout() }.row_len(weights.len) / 4;
        for (i, to) in pieces_mut(to, words).take(n).enumerate() {
            let row = first.wrapping_add(i);
            if weights.fits_i8() {
                let bytes = to.as_mut_bytes();
                weights.fours::<OPS>(row, |at, four| {
                    if let Some(to) = bytes.get_mut(at..).and_then(|to| to.first_chunk_mut()) {
                        *to = four.map(|w| w as u8);
                    }
                });
            } else {
                let mut to = to.as_mut_bytes();
                weights.fours::<OPS>(row, |_, [a, b, c, d]| {
                    let codes = u64::from(a as u16)
                        | u64::from(b as u16) << 16
                        | u64::from(c as u16) << 32
                        | u64::from(d as u16) << 48;
                    if let Some((head, rest)) = core::mem::take(&mut to).split_first_chunk_mut() {
                        *head = codes.to_le_bytes();
                        to = rest;
                    }
                });
            }
        }
    }

    const IN_PLACE: usize = usize::MAX;

    fn widen(_x: &Columns, _at: usize, _to: &mut [u32]) {}

    fn gather(x: &Columns, to: &mut [i8], stride: usize) {
        copy(x, to, stride);
    }

    fn multiply(block: &Block, x: &Columns, _wide: &[u32], out: &mut [i8], stride: usize) {
        let row_len = const { Self::BACKEND.layout() }.row_len(block.k);
        let rows = match block.plain {
            Some(w) => Rows {
                bytes: w,
                stride: block.k,
                narrow: true,
            },
            None => Rows {
                bytes: <[i8]>::ref_from_bytes(block.decoded.as_bytes()).unwrap_or_default(),
                stride: row_len,
                narrow: block.narrow,
            },
        };
        product(&rows, x, block.quant, &block.rq, out, stride);
    }
}

/// Dense layer with plain weights.
pub(super) fn dense<const OPS: u32>(dense: &Dense, x: &[i8], y: &mut [i8]) -> bool {
    let Some(w) = dense.weights.plain() else {
        return false;
    };
    let (k, m) = (dense.k, dense.quant.len());
    let rows = Rows {
        bytes: w,
        stride: k,
        narrow: true,
    };
    let n = x.len().checked_div(k).unwrap_or(0);
    let Some(columns) = Columns::new(x, k, n, k) else {
        return false;
    };
    product(&rows, &columns, dense.quant, &dense.rq, y, m)
}

/// Whether words of the rows can be loaded.
pub(super) fn aligned(quant: &[QuantRow]) -> bool {
    quant.as_ptr().addr() % 4 == 0
}

/// Rows of weights, `stride` bytes apart.
struct Rows<'w> {
    bytes: &'w [i8],
    stride: usize,
    /// `i8`; otherwise `i16`.
    narrow: bool,
}

/// `out[j * stride + r] = requant(bias[r] + Σ_i w[r, i] · x[j, i])`. `false` if that cannot be done.
fn product(
    w: &Rows,
    x: &Columns,
    quant: &[QuantRow],
    rq: &Requant,
    out: &mut [i8],
    stride: usize,
) -> bool {
    let (k, n, rows) = (x.len, x.n, quant.len());
    let bytes = if w.narrow { k } else { k.wrapping_mul(2) };
    let reach = |n: usize, step: usize, len: usize| -> Option<usize> {
        n.checked_sub(1)?.checked_mul(step)?.checked_add(len)
    };
    let inside = |need: Option<usize>, have: usize| need.is_some_and(|need| need <= have);
    let aligned = aligned(quant) && (w.narrow || w.bytes.as_ptr().addr() % 2 == 0);
    if k == 0
        || !aligned
        || !inside(reach(n, x.stride, k), x.bytes.len())
        || !inside(reach(rows, w.stride, bytes), w.bytes.len())
        || !inside(reach(n, stride, rows), out.len())
        || (!w.narrow && w.stride % 2 != 0)
    {
        return false;
    }
    let vector = if w.narrow { VECTOR } else { VECTOR / 2 };
    let job = Job::new(x, w.bytes.as_ptr(), w.stride, quant, rq, out, stride);
    // SAFETY: checked above: `n` columns of `k` codes, `rows` rows of `k` weights, outputs `j * stride + r` for every
    // column `j` and row `r`, and quantization rows and 16-bit weights are aligned.
    unsafe {
        if w.narrow && k <= VECTOR && n >= FEW && rq.shift == 0 {
            let mut all = job.clone();
            (all.n, all.rows) = (n / FEW, rows);
            elastiq_mve_few(&mut all);
            if n % FEW > 0 {
                let mut last = job.columns(n.wrapping_sub(FEW));
                (last.n, last.rows) = (1, rows);
                elastiq_mve_few(&mut last);
            }
            return true;
        }
        if rows < QUAD {
            single(w, x, quant, rq, out, stride);
            return true;
        }
        // Whole fours of rows; then, where some are left, the last four.
        let whole = rows & !(QUAD - 1);
        let last = rows.wrapping_sub(QUAD);
        for (row, count) in [(0, whole), (last, if whole < rows { QUAD } else { 0 })] {
            if count == 0 {
                continue;
            }
            let tiles = if k >= vector { n / TILE } else { 0 };
            let done = tiles.wrapping_mul(TILE);
            let mut tile = job.rows(row, count);
            if tiles > 0 {
                tile.n = tiles;
                tile.k_rest = k.wrapping_sub(vector);
                match w.narrow {
                    true => elastiq_mve_tile_i8(&mut tile),
                    false => elastiq_mve_tile_i16(&mut tile),
                }
            }
            if done < n {
                let mut column = job.rows(row, count).columns(done);
                column.n = n.wrapping_sub(done);
                match w.narrow {
                    true => elastiq_mve_column_i8(&mut column),
                    false => elastiq_mve_column_i16(&mut column),
                }
            }
        }
    }
    true
}

impl Job {
    /// All columns and rows, but for their numbers.
    fn new(
        x: &Columns,
        w: *const i8,
        w_stride: usize,
        quant: &[QuantRow],
        rq: &Requant,
        out: &mut [i8],
        y_stride: usize,
    ) -> Job {
        Job {
            x: [0usize, 1, 2].map(|j| x.bytes.as_ptr().wrapping_add(j.wrapping_mul(x.stride))),
            x_stride: x.stride,
            w,
            w_stride,
            w_end: w,
            k: x.len,
            k_rest: 0,
            quant: quant.as_ptr().cast(),
            quant_at: quant.as_ptr().cast(),
            y: out.as_mut_ptr(),
            y_stride,
            y_at: out.as_mut_ptr(),
            n: 0,
            rows: 0,
            z: rq.z_y.into(),
            shift: rq.shift.into(),
            lo: [rq.lo.into(); 4],
            hi: [rq.hi.into(); 4],
        }
    }

    /// From column `first` on.
    fn columns(&self, first: usize) -> Job {
        let mut job = self.clone();
        job.x = job
            .x
            .map(|x| x.wrapping_add(first.wrapping_mul(self.x_stride)));
        job.y = job.y.wrapping_add(first.wrapping_mul(self.y_stride));
        job
    }

    /// Rows `first .. first + n`.
    fn rows(&self, first: usize, n: usize) -> Job {
        let mut job = self.clone();
        job.w = job.w.wrapping_add(first.wrapping_mul(self.w_stride));
        job.w_end = job.w.wrapping_add(n.wrapping_mul(self.w_stride));
        job.quant = job.quant.wrapping_add(first.wrapping_mul(2));
        job.y = job.y.wrapping_add(first);
        job
    }
}

/// [`product`] one by one, for less than four rows.
fn single(w: &Rows, x: &Columns, quant: &[QuantRow], rq: &Requant, out: &mut [i8], stride: usize) {
    for (r, q) in quant.iter().enumerate() {
        let w_row = w.bytes.get(r.wrapping_mul(w.stride)..).unwrap_or_default();
        for j in 0..x.n {
            let column = x.bytes.get(j.wrapping_mul(x.stride)..).unwrap_or_default();
            let acc = match w.narrow {
                true => dot_i8(w_row, column, x.len),
                false => dot_i16(w_row, column, x.len),
            };
            let to = out.get_mut(j.wrapping_mul(stride).wrapping_add(r));
            if let Some(to) = to {
                *to = rq.apply(q.bias.get().wrapping_add(acc), q.mult.get());
            }
        }
    }
}

/// `Σ w[i] · x[i]` over `k` codes, 0 if there are less.
pub(super) fn dot_i8(w: &[i8], x: &[i8], k: usize) -> i32 {
    if k == 0 || w.len() < k || x.len() < k {
        return 0;
    }
    let mut acc = 0;
    // SAFETY: reads `k` bytes each; their number is checked above.
    unsafe {
        asm!(
            "dlstp.8 lr, {k}",
            "2:",
            "vldrb.u8 q0, [{w}], #16",
            "vldrb.u8 q1, [{x}], #16",
            "vmladava.s8 r12, q0, q1",
            "letp lr, 2b",
            k = in(reg) k,
            w = inout(reg) w.as_ptr() => _,
            x = inout(reg) x.as_ptr() => _,
            inout("r12") acc,
            out("lr") _, out("d0") _, out("d1") _, out("d2") _, out("d3") _,
            options(nostack, readonly),
        );
    }
    acc
}

/// The same with 16-bit weights, whose bytes `w` holds.
pub(super) fn dot_i16(w: &[i8], x: &[i8], k: usize) -> i32 {
    if k == 0 || w.len() / 2 < k || x.len() < k || w.as_ptr().addr() % 2 != 0 {
        return 0;
    }
    let mut acc = 0;
    // SAFETY: reads `k` 16-bit weights at an even address and `k` codes; their number is checked above.
    unsafe {
        asm!(
            "dlstp.16 lr, {k}",
            "2:",
            "vldrh.u16 q0, [{w}], #16",
            "vldrb.s16 q1, [{x}], #8",
            "vmladava.s16 r12, q0, q1",
            "letp lr, 2b",
            k = in(reg) k,
            w = inout(reg) w.as_ptr() => _,
            x = inout(reg) x.as_ptr() => _,
            inout("r12") acc,
            out("lr") _, out("d0") _, out("d1") _, out("d2") _, out("d3") _,
            options(nostack, readonly),
        );
    }
    acc
}

/// Copy column `j` of `x` to codes `j * stride ..` of `to`; nothing if they do not fit.
fn copy(x: &Columns, to: &mut [i8], stride: usize) {
    let Some(last) = x.n.checked_sub(1) else {
        return;
    };
    if last.wrapping_mul(x.stride).wrapping_add(x.len) > x.bytes.len()
        || last.wrapping_mul(stride).wrapping_add(x.len) > to.len()
    {
        return;
    }
    // SAFETY: reads `len` bytes at `j * x.stride` and writes as many at `j * stride`, for `j < n`; checked above for
    // the last one, and the products are below the lengths of slices.
    unsafe {
        asm!(
            "2:",
            "mov r12, {from}",
            "mov r3, {to}",
            "wlstp.8 lr, {len}, 4f",
            "3:",
            "vldrb.u8 q0, [r12], #16",
            "vstrb.8 q0, [r3], #16",
            "letp lr, 3b",
            "4:",
            "add {to}, {to}, {stride}",
            "add {from}, {from}, {step}",
            "subs {n}, {n}, #1",
            "bne 2b",
            to = inout(reg) to.as_mut_ptr() => _,
            from = inout(reg) x.bytes.as_ptr() => _,
            n = inout(reg) x.n => _,
            len = in(reg) x.len,
            stride = in(reg) stride,
            step = in(reg) x.stride,
            out("r3") _, out("r12") _, out("lr") _, out("d0") _, out("d1") _,
            options(nostack),
        );
    }
}
