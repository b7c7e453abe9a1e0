//! No kernels of its own: targets without a backend, and forced-scalar builds.

use crate::Backend;
use crate::kernels::add::Add;
use crate::kernels::conv::Conv;
use crate::kernels::dense::Dense;
use crate::kernels::depthwise::Depthwise;

/// The fastest backend of this program on this machine.
#[inline(always)]
pub(crate) fn best() -> Backend {
    Backend::Portable
}

/// Whether this program can use `backend` on this machine.
pub(crate) fn available(_backend: Backend) -> bool {
    false
}

/// Convolution.
#[inline(always)]
pub(crate) fn conv<const OPS: u32>(
    _backend: Backend,
    _conv: &Conv,
    _x: &[i8],
    _y: &mut [i8],
    _scratch: &mut [u32],
) -> bool {
    false
}

/// Depthwise convolution.
#[inline(always)]
pub(crate) fn depthwise<const OPS: u32>(
    _backend: Backend,
    _depthwise: &Depthwise,
    _x: &[i8],
    _y: &mut [i8],
    _scratch: &mut [u32],
) -> bool {
    false
}

/// Dense layer.
#[inline(always)]
pub(crate) fn dense<const OPS: u32>(
    _backend: Backend,
    _dense: &Dense,
    _x: &[i8],
    _y: &mut [i8],
    _scratch: &mut [u32],
) -> bool {
    false
}

/// Sum of two tensors of one shape; `y` holds the first.
#[inline(always)]
pub(crate) fn add(_backend: Backend, _add: &Add, _x2: &[i8], _y: &mut [i8]) -> bool {
    false
}

/// `y[i] = max(y[i], x[i])`.
#[inline(always)]
pub(crate) fn max(_backend: Backend, _x: &[i8], _y: &mut [i8]) -> bool {
    false
}
