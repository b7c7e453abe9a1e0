//! Sum and maximum of two tensors.

use crate::kernels::add::Add;
use core::arch::asm;

/// Sum of two tensors of one shape; `y` holds the first. `false` if their lengths differ.
pub(super) fn add(add: &Add, x: &[i8], y: &mut [i8]) -> bool {
    let n = y.len();
    if x.len() != n || n == 0 {
        return false;
    }
    // SAFETY: reads `n` codes of both and writes `n`; lanes behind them are masked.
    unsafe {
        asm!(
            "vdup.32 q4, {lo}",
            "vdup.32 q5, {hi}",
            "vdup.32 q6, {b}",
            "dlstp.32 lr, {n}",
            "2:",
            "vldrb.s32 q0, [r1], #4",
            "vldrb.s32 q1, [r0]",
            "vmlas.i32 q0, q6, {c}",
            "vmla.i32 q0, q1, {a}",
            "vshl.s32 q0, {down}",
            "vmax.s32 q0, q0, q4",
            "vmin.s32 q0, q0, q5",
            "vstrb.32 q0, [r0], #4",
            "letp lr, 2b",
            lo = in(reg) i32::from(add.lo),
            hi = in(reg) i32::from(add.hi),
            n = in(reg) n,
            a = in(reg) i32::from(add.a),
            b = in(reg) i32::from(add.b),
            c = in(reg) add.c,
            down = in(reg) -i32::from(add.s),
            // Registers that widening loads and narrowing stores take.
            inout("r0") y.as_mut_ptr() => _,
            inout("r1") x.as_ptr() => _,
            out("lr") _, out("d0") _, out("d1") _, out("d2") _, out("d3") _,
            out("d8") _, out("d9") _, out("d10") _, out("d11") _, out("d12") _,
            out("d13") _,
            options(nostack),
        );
    }
    true
}

/// `y[i] = max(y[i], x[i])`. `false` if their lengths differ.
#[inline(always)]
pub(super) fn max(x: &[i8], y: &mut [i8]) -> bool {
    let n = y.len();
    if x.len() != n {
        return false;
    }
    // SAFETY: reads `n` codes of both and writes `n`; lanes behind them are masked.
    unsafe {
        asm!(
            "wlstp.8 lr, {n}, 3f",
            "2:",
            "vldrb.u8 q0, [{x}], #16",
            "vldrb.u8 q1, [{y}]",
            "vmax.s8 q0, q0, q1",
            "vstrb.8 q0, [{y}], #16",
            "letp lr, 2b",
            "3:",
            n = in(reg) n,
            x = inout(reg) x.as_ptr() => _,
            y = inout(reg) y.as_mut_ptr() => _,
            out("lr") _, out("d0") _, out("d1") _, out("d2") _, out("d3") _,
            options(nostack),
        );
    }
    true
}
