//! Products of weight rows and columns: bounds, and which assembly does which part.

use super::decode;
use super::tile::*;
use crate::Backend;
use crate::format::QuantRow;
use crate::kernels::Requant;
use crate::kernels::conv::Runs;
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
            if let Ok(to) = <[i8]>::mut_from_bytes(to.as_mut_bytes()) {
                decode::row::<OPS>(weights, first.wrapping_add(i), to);
            }
        }
    }

    const IN_PLACE: usize = usize::MAX;

    fn widen<const OPS: u32>(_x: &Columns, _at: usize, _to: &mut [u32]) {}

    fn gather_runs(image: &[i8], step: usize, n: usize, runs: &Runs, to: &mut [i8], stride: usize) {
        gather_runs(image, step, n, runs, to, stride);
    }

    fn multiply<const OPS: u32>(
        block: &Block,
        x: &Columns,
        _wide: &[u32],
        out: &mut [i8],
        stride: usize,
    ) {
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

/// Dense layer; `false` if scratch does not hold four decoded rows.
pub(super) fn dense<const OPS: u32>(
    dense: &Dense,
    x: &[i8],
    y: &mut [i8],
    scratch: &mut [u32],
) -> bool {
    let (k, m) = (dense.k, dense.quant.len());
    let n = x.len().checked_div(k).unwrap_or(0);
    let Some(x) = Columns::new(x, k, n, k) else {
        return false;
    };
    if let Some(w) = dense.weights.plain() {
        let rows = Rows {
            bytes: w,
            stride: k,
            narrow: true,
        };
        return product(&rows, &x, dense.quant, &dense.rq, y, m);
    }
    let stride = const { Backend::Helium.layout() }.row_len(k);
    let fit = (scratch.len() * 4).checked_div(stride).unwrap_or(0) & !(QUAD - 1);
    if fit == 0 || !aligned(dense.quant) {
        return false;
    }
    let mut row = 0;
    for quant in dense.quant.chunks(fit) {
        Helium::load::<OPS>(&dense.weights, row, quant.len(), scratch);
        let rows = Rows {
            bytes: <[i8]>::ref_from_bytes(scratch.as_bytes()).unwrap_or_default(),
            stride,
            narrow: dense.weights.fits_i8::<OPS>(),
        };
        let y = y.get_mut(row..).unwrap_or_default();
        product(&rows, &x, quant, &dense.rq, y, m);
        row = row.wrapping_add(quant.len());
    }
    true
}

/// Whether words of the rows can be loaded.
pub(super) fn aligned(quant: &[QuantRow]) -> bool {
    quant.as_ptr().addr().is_multiple_of(4)
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
    let aligned = aligned(quant) && (w.narrow || w.bytes.as_ptr().addr().is_multiple_of(2));
    if k == 0
        || !aligned
        || !inside(reach(n, x.stride, k), x.bytes.len())
        || !inside(reach(rows, w.stride, bytes), w.bytes.len())
        || !inside(reach(n, stride, rows), out.len())
        || (!w.narrow && !w.stride.is_multiple_of(2))
    {
        return false;
    }
    let few = w.narrow && k <= VECTOR && n >= FEW && rq.shift == 0;
    if rows < QUAD && !few {
        single(w, x, quant, rq, out, stride);
        return true;
    }
    let vector = if w.narrow { VECTOR } else { VECTOR / 2 };
    let columns = |first: usize| {
        let at = |j: usize| first.wrapping_add(j).wrapping_mul(x.stride);
        [0, 1, 2].map(|j| x.bytes.as_ptr().wrapping_add(at(j)))
    };
    let (from, y) = (w.bytes.as_ptr(), out.as_mut_ptr());
    let mut job = Job {
        x: columns(0),
        x_stride: x.stride,
        w: from,
        w_stride: w.stride,
        w_end: from,
        k,
        k_rest: k.saturating_sub(vector),
        quant: quant.as_ptr().cast(),
        quant_at: quant.as_ptr().cast(),
        y,
        y_stride: stride,
        y_at: y,
        n: n / FEW,
        rows,
        z: rq.z_y.into(),
        shift: rq.shift.into(),
        lo: [rq.lo.into(); 4],
        hi: [rq.hi.into(); 4],
    };
    let (tile, column): (Assembly, Assembly) = match w.narrow {
        true => (elastiq_mve_tile_i8, elastiq_mve_column_i8),
        false => (elastiq_mve_tile_i16, elastiq_mve_column_i16),
    };
    // SAFETY: checked above: `n` columns of `k` codes, `rows` rows of `k` weights, outputs `j * stride + r` for every
    // column `j` and row `r`, and quantization rows and 16-bit weights are aligned. Where a number is no multiple of
    // what is computed at once, the last ones are computed again together with those before them, or column by
    // column.
    unsafe {
        if few {
            elastiq_mve_few(&mut job);
            if n % FEW > 0 {
                let first = n.wrapping_sub(FEW);
                job.x = columns(first);
                job.y = y.wrapping_add(first.wrapping_mul(stride));
                job.n = 1;
                elastiq_mve_few(&mut job);
            }
            return true;
        }
        let tiles = if k >= vector { n / TILE } else { 0 };
        let rest = n.wrapping_sub(tiles.wrapping_mul(TILE));
        let whole = rows & !(QUAD - 1);
        job.w_end = from.wrapping_add(whole.wrapping_mul(w.stride));
        loop {
            // Both leave the job at the next column.
            if tiles > 0 {
                job.n = tiles;
                tile(&mut job);
            }
            if rest > 0 {
                job.n = rest;
                column(&mut job);
            }
            let end = from.wrapping_add(rows.wrapping_mul(w.stride));
            if job.w_end == end {
                return true;
            }
            let first = rows.wrapping_sub(QUAD);
            job.x = columns(0);
            job.w = from.wrapping_add(first.wrapping_mul(w.stride));
            job.w_end = end;
            job.quant = quant.as_ptr().wrapping_add(first).cast();
            job.y = y.wrapping_add(first);
        }
    }
}

/// What computes a [`Job`].
type Assembly = unsafe extern "C" fn(*mut Job);

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
    if k == 0 || w.len() / 2 < k || x.len() < k || !w.as_ptr().addr().is_multiple_of(2) {
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

/// Copy `runs` of `n` columns, `step` codes apart in `image` and `stride` codes apart in `to`; nothing if they do not
/// fit.
fn gather_runs(image: &[i8], step: usize, n: usize, runs: &Runs, to: &mut [i8], stride: usize) {
    let (Some(last), Some(last_run)) = (n.checked_sub(1), runs.count.checked_sub(1)) else {
        return;
    };
    let read = last
        .wrapping_mul(step)
        .wrapping_add(last_run.wrapping_mul(runs.from_step))
        .wrapping_add(runs.len);
    let written = last
        .wrapping_mul(stride)
        .wrapping_add(last_run.wrapping_mul(runs.to_step))
        .wrapping_add(runs.len);
    let (Some(from), Some(to)) = (image.get(runs.start..), to.get_mut(runs.at..)) else {
        return;
    };
    if read > from.len() || written > to.len() {
        return;
    }
    let mut job = Gather {
        from: from.as_ptr(),
        to: to.as_mut_ptr(),
        step,
        stride,
        n,
        count: runs.count,
        len: runs.len,
        from_step: runs.from_step,
        to_step: runs.to_step,
    };
    // SAFETY: reads and writes `len` bytes per column and run; the last of them are inside, as checked above, and all
    // distances are those of a checked model, whose products do not leave 31 bits.
    unsafe { elastiq_mve_gather(&mut job) }
}
