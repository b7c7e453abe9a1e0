//! AArch64 Advanced SIMD, with and without dot product.
//!
//! Convolution keeps one output channel in each lane and takes the inputs as scalars of a vector, so that nothing has
//! to be summed across lanes: weights are decoded to 16 bits, or with dot product to 8 bits, four inputs in a lane at
//! once. Depthwise convolution keeps one channel in each lane. Dense layers sum across lanes, because their weights are
//! used only once.

use crate::Backend;
use crate::kernels::conv::Conv;
use crate::kernels::dense::Dense;
use crate::kernels::depthwise::Depthwise;

#[path = "channels.rs"]
mod channels;
#[path = "neon/dense.rs"]
mod dense;
#[path = "neon/depthwise.rs"]
mod depthwise;
#[path = "neon/elementwise.rs"]
mod elementwise;
#[path = "neon/load.rs"]
mod load;
#[path = "neon/matrix.rs"]
mod matrix;
#[path = "neon/scale.rs"]
mod scale;

pub(crate) use elementwise::{add, max};

/// The fastest backend of this program on this machine.
#[inline(always)]
pub(crate) fn best() -> Backend {
    match has_dot_product() {
        true => Backend::NeonDot,
        false => Backend::Neon,
    }
}

/// Whether this program can use `backend` on this machine.
pub(crate) fn available(backend: Backend) -> bool {
    backend == Backend::Neon || backend == Backend::NeonDot && has_dot_product()
}

/// Whether the core has SDOT: known when compiling, or read from the core.
///
/// ID_AA64ISAR0_EL1 can be read at EL1, and Linux and Android emulate the read for programs. Elsewhere only what the
/// program was compiled for counts (always on Apple's cores).
#[inline]
fn has_dot_product() -> bool {
    #[cfg(target_feature = "dotprod")]
    return true;
    #[cfg(all(
        not(target_feature = "dotprod"),
        any(target_os = "none", target_os = "linux", target_os = "android")
    ))]
    {
        let features: u64;
        // SAFETY: reads an identification register, which these systems permit.
        unsafe {
            core::arch::asm!("mrs {}, id_aa64isar0_el1", out(reg) features, options(nomem, nostack, preserves_flags));
        }
        features >> 44 & 0xf != 0
    }
    #[cfg(not(any(
        target_feature = "dotprod",
        target_os = "none",
        target_os = "linux",
        target_os = "android"
    )))]
    return false;
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
    match backend {
        Backend::NeonDot if conv.weights.fits_i8::<OPS>() => {
            matrix::dots::<OPS>(conv, x, y, scratch)
        }
        Backend::Neon | Backend::NeonDot => matrix::products::<OPS>(conv, x, y, scratch),
        _ => false,
    }
}

/// Depthwise convolution.
#[inline(always)]
pub(crate) fn depthwise<const OPS: u32>(
    backend: Backend,
    depthwise: &Depthwise,
    x: &[i8],
    y: &mut [i8],
    _scratch: &mut [u32],
) -> bool {
    is_neon(backend) && channels::run::<depthwise::Neon>(depthwise, x, y)
}

/// Dense layer.
#[inline(always)]
pub(crate) fn dense<const OPS: u32>(
    backend: Backend,
    dense: &Dense,
    x: &[i8],
    y: &mut [i8],
    _scratch: &mut [u32],
) -> bool {
    is_neon(backend) && dense::run::<OPS>(dense, x, y, backend == Backend::NeonDot)
}

#[inline(always)]
fn is_neon(backend: Backend) -> bool {
    matches!(backend, Backend::Neon | Backend::NeonDot)
}
