//! Convolution.
//!
//! A block in scratch is cut into slabs of [`lanes`] rows, the last one with what is left. A slab holds the weights
//! of its rows one input after the other: `[k][rows]`.

use super::decode::Row;
use super::lanes;
use crate::Backend;
use crate::format::QuantRow;
use crate::kernels::Requant;
use crate::kernels::conv::Conv;
use crate::kernels::matrix::{Block, Columns, Tile, conv};
use crate::kernels::weights::Weights;

pub(super) fn run<const OPS: u32>(c: &Conv, x: &[i8], y: &mut [i8], scratch: &mut [u32]) -> bool {
    conv::<Rvv, OPS>(c, x, y, scratch)
}

/// Tile of the vector extension.
struct Rvv;

/// Rows and columns of an artifact have at least one code, and a block's slabs fit.
fn fits(block: &[u32], k: usize, rows: usize) -> bool {
    let codes = block.len().wrapping_mul(2);
    k > 0 && rows.checked_mul(k).is_some_and(|need| need <= codes)
}

impl Tile for Rvv {
    const BACKEND: Backend = Backend::Rvv;

    fn load<const OPS: u32>(weights: &Weights, first: usize, n: usize, to: &mut [u32]) {
        let k = weights.len;
        if !fits(to, k, n) {
            return;
        }
        let lanes = lanes();
        let mut at = 0;
        while at < n {
            let rows = lanes.min(n - at);
            for j in 0..rows {
                let Some(row) = Row::new(weights, first.wrapping_add(at).wrapping_add(j), 0, k)
                else {
                    continue;
                };
                // SAFETY: the row has `k` > 0 weights. Weight `i` goes to code `at * k + i * rows + j`, which is below
                // `(at + rows) * k`, at most `n * k`; that many fit.
                unsafe {
                    let to = to.as_mut_ptr().cast::<i16>().add(at * k + j);
                    row.spread(k, to, rows * 2);
                }
            }
            at += rows;
        }
    }

    fn widen<const OPS: u32>(_: &Columns, _: usize, _: &mut [u32]) {}

    #[inline(always)]
    fn gather(x: &Columns, to: &mut [i8], stride: usize) {
        let last = x.n.saturating_sub(1).wrapping_mul(stride);
        if x.n == 0 || x.len == 0 || to.len() < last.wrapping_add(x.len) {
            return;
        }
        // SAFETY: reads `n` > 0 columns of `len` > 0 codes, which are inside of their bytes, and writes as many with the
        // last one inside of `to`.
        unsafe {
            vector!(
                "2: mv {from}, {x}",
                "mv {into}, {to}",
                "mv {left}, {len}",
                "3: vsetvli {t}, {left}, e8, m8, ta, ma",
                "vle8.v v0, ({from})",
                "add {from}, {from}, {t}",
                "sub {left}, {left}, {t}",
                "vse8.v v0, ({into})",
                "add {into}, {into}, {t}",
                "bnez {left}, 3b",
                "addi {n}, {n}, -1",
                "add {x}, {x}, {step}",
                "add {to}, {to}, {stride}",
                "bnez {n}, 2b",
                n = inout(reg) x.n => _,
                x = inout(reg) x.bytes.as_ptr() => _,
                to = inout(reg) to.as_mut_ptr() => _,
                len = in(reg) x.len,
                step = in(reg) x.stride,
                stride = in(reg) stride,
                from = out(reg) _,
                into = out(reg) _,
                left = out(reg) _,
                t = out(reg) _,
            );
        }
    }

    #[inline(always)]
    fn multiply<const OPS: u32>(
        block: &Block,
        x: &Columns,
        _: &[u32],
        out: &mut [i8],
        stride: usize,
    ) {
        let (k, n) = (block.k, block.quant.len());
        let reach = x.n.saturating_sub(1).wrapping_mul(stride).wrapping_add(n);
        if !fits(block.decoded, k, n) || x.len != k || out.len() < reach {
            return;
        }
        let lanes = lanes();
        let mut at = 0;
        while at < n {
            let rows = lanes.min(n - at);
            // SAFETY: slab `at` starts at code `at * k` of the block and has `rows * k` codes. The columns are inside of
            // their bytes, and `out` reaches to row `n` of the last column.
            unsafe {
                let slab = Slab {
                    weights: block.decoded.as_ptr().cast::<i16>().add(at * k),
                    k,
                    rows,
                    whole: rows == lanes,
                    quant: block.quant.as_ptr().add(at),
                };
                let x0 = x.bytes.as_ptr();
                let out = out.as_mut_ptr().add(at);
                match x.n {
                    3 => slab.three(
                        [x0, x0.add(x.stride), x0.add(x.stride * 2)],
                        [out, out.add(stride), out.add(stride * 2)],
                        &block.rq,
                    ),
                    2 => slab.two([x0, x0.add(x.stride)], [out, out.add(stride)], &block.rq),
                    1 => slab.one([x0], [out], &block.rq),
                    _ => {}
                }
            }
            at += rows;
        }
    }
}

/// Weights of up to as many outputs as there are lanes.
struct Slab {
    weights: *const i16,
    k: usize,
    rows: usize,
    /// One row per lane.
    whole: bool,
    quant: *const QuantRow,
}

/// Multiply-accumulate input `at` of every column with the weights in the registers from `w` on.
macro_rules! mac {
    ($w:literal, $at:literal, $($x:ident $t:ident $acc:literal),+) => {
        concat!(
            $("lb {", stringify!($t), "}, ", $at, "({", stringify!($x), "})\n",)+
            $("vwmacc.vx ", $acc, ", {", stringify!($t), "}, ", $w, "\n",)+
        )
    };
}

/// A method of [`Slab`] for some columns: names of pointer, code and output of each, and its accumulators.
macro_rules! columns {
    ($name:ident, $n:literal, $($x:ident $t:ident $y:ident $acc:literal),+) => {
        /// Outputs `y` of columns `x`.
        ///
        /// # Safety
        /// The slab has `k` times `rows` weights and `rows` rows of `quant`, aligned to 4 bytes; every `x` has `k`
        /// codes, every `y` room for `rows`.
        #[inline(never)]
        unsafe fn $name(&self, x: [*const i8; $n], y: [*mut i8; $n], rq: &Requant) {
            let ([$($x),+], [$($y),+]) = (x, y);
            let fours = self.k / 4;
            // SAFETY: reads `k` codes of each column, the slab and its multipliers, and writes `rows` outputs of each
            // column. Whole registers are loaded where every lane has a row: two inputs' weights at a time.
            unsafe {
                vector!(
                    "vsetvli zero, {rows}, e32, m8, ta, ma",
                    "vlse32.v v24, ({bias}), {stride}",
                    $(concat!("vmv.v.v ", $acc, ", v24"),)+
                    "vsetvli zero, {rows}, e16, m4, ta, ma",
                    "beqz {fours}, 4f",
                    "beqz {whole}, 3f",
                    "2: vl8re16.v v0, ({w})",
                    "add {w}, {w}, {step}",
                    mac!("v0", "0", $($x $t $acc),+),
                    mac!("v4", "1", $($x $t $acc),+),
                    "vl8re16.v v0, ({w})",
                    "add {w}, {w}, {step}",
                    mac!("v0", "2", $($x $t $acc),+),
                    mac!("v4", "3", $($x $t $acc),+),
                    $(concat!("addi {", stringify!($x), "}, {", stringify!($x), "}, 4"),)+
                    "addi {fours}, {fours}, -1",
                    "bnez {fours}, 2b",
                    "srli {step}, {step}, 1",
                    "j 4f",
                    "3: vle16.v v0, ({w})",
                    "add {w}, {w}, {step}",
                    "vle16.v v4, ({w})",
                    "add {w}, {w}, {step}",
                    mac!("v0", "0", $($x $t $acc),+),
                    mac!("v4", "1", $($x $t $acc),+),
                    "vle16.v v0, ({w})",
                    "add {w}, {w}, {step}",
                    "vle16.v v4, ({w})",
                    "add {w}, {w}, {step}",
                    mac!("v0", "2", $($x $t $acc),+),
                    mac!("v4", "3", $($x $t $acc),+),
                    $(concat!("addi {", stringify!($x), "}, {", stringify!($x), "}, 4"),)+
                    "addi {fours}, {fours}, -1",
                    "bnez {fours}, 3b",
                    "4: beqz {rest}, 6f",
                    "5: vle16.v v0, ({w})",
                    "add {w}, {w}, {step}",
                    mac!("v0", "0", $($x $t $acc),+),
                    $(concat!("addi {", stringify!($x), "}, {", stringify!($x), "}, 1"),)+
                    "addi {rest}, {rest}, -1",
                    "bnez {rest}, 5b",
                    "6: addi {bias}, {bias}, 4",
                    "vsetvli zero, {rows}, e32, m8, ta, ma",
                    "vlse32.v v0, ({bias}), {stride}",
                    "vsra.vi v0, v0, 1",
                    "beqz {shift}, 8f",
                    "bltz {shift}, 7f",
                    $(concat!("vsll.vx ", $acc, ", ", $acc, ", {shift}"),)+
                    "j 8f",
                    "7: neg {shift}, {shift}",
                    $(concat!("vsra.vx ", $acc, ", ", $acc, ", {shift}"),)+
                    "8: csrwi vxrm, 0",
                    $(concat!("vsmul.vv ", $acc, ", ", $acc, ", v0\nvadd.vx ", $acc, ", ", $acc, ", {z}"),)+
                    "vsetvli zero, {rows}, e16, m4, ta, ma",
                    $(concat!("vnclip.wi ", $acc, ", ", $acc, ", 0"),)+
                    "vsetvli zero, {rows}, e8, m2, ta, ma",
                    $(concat!("vnclip.wi ", $acc, ", ", $acc, ", 0"),)+
                    $(concat!("vmax.vx ", $acc, ", ", $acc, ", {lo}\nvmin.vx ", $acc, ", ", $acc, ", {hi}"),)+
                    $(concat!("vse8.v ", $acc, ", ({", stringify!($y), "})"),)+
                    w = inout(reg) self.weights => _,
                    $($x = inout(reg) $x => _, $y = in(reg) $y, $t = out(reg) _,)+
                    fours = inout(reg) fours => _,
                    rest = inout(reg) self.k % 4 => _,
                    rows = in(reg) self.rows,
                    whole = in(reg) u32::from(self.whole),
                    step = inout(reg) self.rows * if self.whole && fours > 0 { 4 } else { 2 } => _,
                    bias = inout(reg) self.quant => _,
                    stride = in(reg) size_of::<QuantRow>(),
                    shift = inout(reg) i32::from(rq.shift) => _,
                    z = in(reg) i32::from(rq.z_y),
                    lo = in(reg) i32::from(rq.lo),
                    hi = in(reg) i32::from(rq.hi),
                );
            }
        }
    };
}

impl Slab {
    columns!(one, 1, x0 t0 y0 "v8");
    columns!(two, 2, x0 t0 y0 "v8", x1 t1 y1 "v16");
    columns!(three, 3, x0 t0 y0 "v8", x1 t1 y1 "v16", x2 t2 y2 "v24");
}
