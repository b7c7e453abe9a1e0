//! Depthwise convolution in planes of 8-bit codes, for windows that a backend has no kernel for.

use crate::kernels::pieces::{every, every_mut};
use crate::kernels::planes::Plane;

/// Whether there are outputs, and what is read of `codes` and `taps` and written to `y` is inside of them.
#[inline(always)]
pub(super) fn fits(p: &Plane<i8>, y: &[i8]) -> bool {
    let ([lines, n], [across, along], [down, right]) = (p.outputs, p.kernel, p.stride);
    lines > 0
        && n > 0
        && across > 0
        && ((lines - 1) * down + across - 1) * p.pitch + (n - 1) * right + along <= p.codes.len()
        && (across - 1) * p.row + along <= p.taps.len()
        && (lines - 1) * p.next + (n - 1) * p.step < y.len()
}

/// Outputs of windows of any size.
pub(super) fn outputs(p: &Plane<i8>, y: &mut [i8]) {
    let mult = p.quant.mult.get();
    for l in 0..p.outputs[0] {
        let codes = p.codes.get(l * p.stride[0] * p.pitch..).unwrap_or_default();
        let y = every_mut(y.get_mut(l * p.next..).unwrap_or_default(), p.step);
        for (i, y) in y.take(p.outputs[1]).enumerate() {
            let mut acc = p.quant.bias.get();
            for a in 0..p.kernel[0] {
                let at = a * p.pitch + i * p.stride[1];
                let codes = codes.get(at..).unwrap_or_default().iter().take(p.kernel[1]);
                let taps = p.taps.get(a * p.row..).unwrap_or_default();
                acc = codes.zip(taps).fold(acc, |acc, (x, w)| {
                    acc.wrapping_add(i32::from(*x).wrapping_mul(i32::from(*w)))
                });
            }
            *y = p.rq.apply(acc, mult);
        }
    }
}

/// [`crate::kernels::planes::Lines::spread`].
pub(super) fn spread(x: &[i8], step: usize, n: usize, channels: usize, to: &mut [i8], line: usize) {
    for j in 0..channels {
        let to = to.get_mut(j.wrapping_mul(line)..).unwrap_or_default();
        let x = every(x.get(j..).unwrap_or_default(), step);
        to.iter_mut().take(n).zip(x).for_each(|(to, x)| *to = *x);
    }
}
