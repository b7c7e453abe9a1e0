//! Cortex-M with DSP extension: dual 16-bit multiply-accumulate.
//!
//! Single loads and stores may be unaligned on these cores, loads and stores of several words may not.

#[path = "dsp/dense.rs"]
mod dense;
#[path = "dsp/elementwise.rs"]
mod elementwise;
#[path = "dsp/lines.rs"]
mod lines;
#[path = "dsp/ops.rs"]
mod ops;
#[path = "dsp/tile.rs"]
mod tile;

pub(crate) use elementwise::{add, max};

use crate::Backend;
use crate::OpSet;
use crate::kernels::conv::Conv;
use crate::kernels::dense::Dense;
use crate::kernels::depthwise::Depthwise;
use crate::kernels::{Requant, planes};

/// The fastest backend of this program on this machine.
#[inline(always)]
pub(crate) fn best() -> Backend {
    Backend::Dsp
}

/// Whether this program can use `backend` on this machine.
pub(crate) fn available(backend: Backend) -> bool {
    backend == Backend::Dsp
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
    backend == Backend::Dsp && tile::conv::<OPS>(conv, x, y, scratch) && bounded::<OPS>(&conv.rq, y)
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
    backend == Backend::Dsp
        && planes::depthwise::<lines::Dsp, OPS>(depthwise, x, y, scratch)
        && bounded::<OPS>(&depthwise.rq, y)
}

/// Dense layer.
#[inline(always)]
pub(crate) fn dense<const OPS: u32>(
    backend: Backend,
    dense: &Dense,
    x: &[i8],
    y: &mut [i8],
    scratch: &mut [u32],
) -> bool {
    backend == Backend::Dsp
        && dense::dense::<OPS>(dense, x, y, scratch)
        && bounded::<OPS>(&dense.rq, y)
}

/// Clamp to the bounds of `rq` what is clamped to those of a code. Always true.
#[inline(always)]
fn bounded<const OPS: u32>(rq: &Requant, y: &mut [i8]) -> bool {
    if OPS & OpSet::CLAMP != 0 && (rq.lo, rq.hi) != (i8::MIN, i8::MAX) {
        elementwise::clamp(y, rq.lo, rq.hi);
    }
    true
}
