//! Depthwise convolution, see [`channels`](super::channels).

use super::channels::{Cell, Lanes};
use super::decode::Row;
use super::lanes;
use crate::kernels::Requant;
use crate::kernels::weights::{Channels, Values, Weights};

macro_rules! cell {
    ($name:ident ($($z:ident)?), $($minus:literal)?) => {
        /// Outputs; `z_x`, if any, is subtracted from the inputs.
        ///
        /// # Safety
        /// `rows` times `cols` taps are in bounds for `lanes`, and so are the parameters and `y`.
        #[inline(always)]
        unsafe fn $name(cell: &Cell, rq: &Requant $(, $z: i32)?) {
            // SAFETY: as above.
            unsafe {
                vector!(
                    "vsetvli zero, {lanes}, e32, m8, ta, ma",
                    "vle32.v v24, ({bias})",
                    "vle32.v v16, ({mult})",
                    "vsetvli zero, zero, e16, m4, ta, ma",
                    "beqz {rows}, 4f",
                    "2: mv {t}, {cols}",
                    "3: vle8.v v0, ({x})",
                    "vle16.v v8, ({w})",
                    "add {x}, {x}, {step}",
                    "vsext.vf2 v4, v0",
                    "add {w}, {w}, {w_step}",
                    $($minus,)?
                    "addi {t}, {t}, -1",
                    "vwmacc.vv v24, v4, v8",
                    "bnez {t}, 3b",
                    "addi {rows}, {rows}, -1",
                    "add {x}, {x}, {jump}",
                    "add {w}, {w}, {w_jump}",
                    "bnez {rows}, 2b",
                    "4: vsetvli zero, zero, e32, m8, ta, ma",
                    "beqz {shift}, 6f",
                    "bltz {shift}, 5f",
                    "vsll.vx v24, v24, {shift}",
                    "j 6f",
                    "5: neg {t}, {shift}",
                    "vsra.vx v24, v24, {t}",
                    "6: csrwi vxrm, 0",
                    "vsmul.vv v24, v24, v16",
                    "vadd.vx v24, v24, {z}",
                    "vsetvli zero, zero, e16, m4, ta, ma",
                    "vnclip.wi v24, v24, 0",
                    "vsetvli zero, zero, e8, m2, ta, ma",
                    "vnclip.wi v24, v24, 0",
                    "vmax.vx v24, v24, {lo}",
                    "vmin.vx v24, v24, {hi}",
                    "vse8.v v24, ({y})",
                    lanes = in(reg) cell.lanes,
                    bias = in(reg) cell.bias,
                    mult = in(reg) cell.mult,
                    x = inout(reg) cell.x => _,
                    step = in(reg) cell.step,
                    jump = in(reg) cell.jump,
                    w = inout(reg) cell.weights => _,
                    w_step = in(reg) cell.weights_step,
                    w_jump = in(reg) cell.weights_jump,
                    rows = inout(reg) cell.rows => _,
                    cols = in(reg) cell.cols,
                    y = in(reg) cell.y,
                    shift = in(reg) i32::from(rq.shift),
                    z = in(reg) i32::from(rq.z_y),
                    lo = in(reg) i32::from(rq.lo),
                    hi = in(reg) i32::from(rq.hi),
                    $($z = in(reg) $z,)?
                    t = out(reg) _,
                );
            }
        }
    };
}

/// Depthwise convolution of the vector extension.
pub(super) struct Rvv;

impl Lanes for Rvv {
    fn lanes() -> usize {
        lanes()
    }

    fn decode(weights: &Weights, tap: usize, first: usize, to: &mut [i16]) -> bool {
        let n = to.len();
        let Some(row) = Row::new(weights, tap, first, n).filter(|_| n > 0) else {
            return false;
        };
        // SAFETY: the row has `n` > 0 weights and `to` room for them.
        unsafe { row.spread(n, to.as_mut_ptr(), 2) };
        if let Values::Zeros(Channels::Columns, zeros) = weights.values {
            let zeros = zeros.get(first..).unwrap_or_default();
            to.iter_mut()
                .zip(zeros)
                .for_each(|(w, zero)| *w = w.wrapping_sub(zero.get()));
        }
        true
    }

    #[inline(always)]
    unsafe fn outputs<const PADDED: bool>(cell: &Cell, rq: &Requant, z_x: i32) {
        // SAFETY: as the caller says.
        unsafe {
            match PADDED {
                true => padded(cell, rq, z_x),
                false => inner(cell, rq),
            }
        }
    }
}

cell!(inner(),);
cell!(padded(z_x), "vsub.vx v4, v4, {z_x}");
