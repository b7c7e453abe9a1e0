//! Cortex-M with Helium (MVE).
//!
//! Vectors of 16 codes; tails by predication, so that nothing behind a row or column is read.

#[path = "helium/decode.rs"]
mod decode;
#[path = "helium/elementwise.rs"]
mod elementwise;
#[path = "helium/matrix.rs"]
mod matrix;
#[path = "helium/tile.rs"]
mod tile;
#[path = "helium/windows.rs"]
mod windows;

use crate::Backend;
use crate::kernels::add::Add;
use crate::kernels::conv::Conv;
use crate::kernels::dense::Dense;
use crate::kernels::depthwise::Depthwise;

// Macros of the first file are used in the second.
core::arch::global_asm!(
    concat!(
        include_str!("helium/tile.s"),
        include_str!("helium/windows.s")
    ),
    options(raw)
);

/// The fastest backend of this program on this machine.
#[inline(always)]
pub(crate) fn best() -> Backend {
    Backend::Helium
}

/// Whether this program can use `backend` on this machine.
pub(crate) fn available(backend: Backend) -> bool {
    backend == Backend::Helium
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
    backend == Backend::Helium
        && matrix::aligned(conv.quant)
        && crate::kernels::matrix::conv::<matrix::Helium, OPS>(conv, x, y, scratch)
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
    backend == Backend::Helium && windows::depthwise::<OPS>(depthwise, x, y, scratch)
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
    backend == Backend::Helium && matrix::dense::<OPS>(dense, x, y, scratch)
}

/// Sum of two tensors of one shape; `y` holds the first.
#[inline(always)]
pub(crate) fn add(backend: Backend, add: &Add, x2: &[i8], y: &mut [i8]) -> bool {
    backend == Backend::Helium && elementwise::add(add, x2, y)
}

/// `y[i] = max(y[i], x[i])`.
#[inline(always)]
pub(crate) fn max(backend: Backend, x: &[i8], y: &mut [i8]) -> bool {
    backend == Backend::Helium && elementwise::max(x, y)
}
