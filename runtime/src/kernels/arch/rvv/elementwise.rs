//! Sum and maximum of two tensors.

use crate::Backend;
use crate::kernels::add::Add;

/// Sum of two tensors of one shape; `y` holds the first.
#[inline(always)]
pub(crate) fn add(backend: Backend, add: &Add, x2: &[i8], y: &mut [i8]) -> bool {
    let n = y.len();
    if backend != Backend::Rvv || x2.len() != n || n == 0 || add.s > 31 {
        return false;
    }
    // SAFETY: reads and writes `n` > 0 codes. The sum is taken modulo 2^32; the narrowing shift rounds down and
    // saturates, which the clamp that follows does not see.
    unsafe {
        vector!(
            "csrwi vxrm, 2",
            "2: vsetvli {t}, {n}, e32, m8, ta, ma",
            "vmv.v.x v24, {c}",
            "vsetvli zero, zero, e16, m4, ta, ma",
            "vle8.v v0, ({y})",
            "vle8.v v2, ({x})",
            "add {x}, {x}, {t}",
            "vsext.vf2 v4, v0",
            "vsext.vf2 v8, v2",
            "vwmacc.vx v24, {a}, v4",
            "vwmacc.vx v24, {b}, v8",
            "sub {n}, {n}, {t}",
            "vnclip.wx v24, v24, {s}",
            "vsetvli zero, zero, e8, m2, ta, ma",
            "vnclip.wi v24, v24, 0",
            "vmax.vx v24, v24, {lo}",
            "vmin.vx v24, v24, {hi}",
            "vse8.v v24, ({y})",
            "add {y}, {y}, {t}",
            "bnez {n}, 2b",
            n = inout(reg) n => _,
            x = inout(reg) x2.as_ptr() => _,
            y = inout(reg) y.as_mut_ptr() => _,
            a = in(reg) i32::from(add.a),
            b = in(reg) i32::from(add.b),
            c = in(reg) add.c,
            s = in(reg) u32::from(add.s),
            lo = in(reg) i32::from(add.lo),
            hi = in(reg) i32::from(add.hi),
            t = out(reg) _,
        );
    }
    true
}

/// `y[i] = max(y[i], x[i])`.
#[inline(always)]
pub(crate) fn max(backend: Backend, x: &[i8], y: &mut [i8]) -> bool {
    let n = x.len().min(y.len());
    if backend != Backend::Rvv || n == 0 {
        return false;
    }
    // SAFETY: reads and writes `n` > 0 codes.
    unsafe {
        vector!(
            "2: vsetvli {t}, {n}, e8, m8, ta, ma",
            "vle8.v v0, ({y})",
            "vle8.v v8, ({x})",
            "add {x}, {x}, {t}",
            "vmax.vv v0, v0, v8",
            "sub {n}, {n}, {t}",
            "vse8.v v0, ({y})",
            "add {y}, {y}, {t}",
            "bnez {n}, 2b",
            n = inout(reg) n => _,
            x = inout(reg) x.as_ptr() => _,
            y = inout(reg) y.as_mut_ptr() => _,
            t = out(reg) _,
        );
    }
    true
}
