//! RISC-V vector extension 1.0, from Zve32x on and for any vector length.
//!
//! A group of eight registers holds [`lanes`] accumulators of 32 bits. Convolution keeps one output channel in each
//! lane: weights are decoded to 16 bits and transposed, inputs are scalars, so that nothing has to be summed across
//! lanes. Depthwise convolution keeps one channel in each lane, and several positions where there are few channels.
//! Dense layers sum across lanes, because their weights are used only once.

use crate::Backend;
use crate::format::QuantRow;
use crate::kernels::conv::Conv;
use crate::kernels::dense::Dense;
use crate::kernels::depthwise::Depthwise;
use crate::kernels::weights::{Order, Values, Weights};

/// `asm!` that may change all vector registers.
macro_rules! vector {
    ($($line:tt)*) => {
        core::arch::asm!(
            $($line)*
            out("v0") _, out("v1") _, out("v2") _, out("v3") _, out("v4") _, out("v5") _, out("v6") _, out("v7") _,
            out("v8") _, out("v9") _, out("v10") _, out("v11") _, out("v12") _, out("v13") _, out("v14") _,
            out("v15") _, out("v16") _, out("v17") _, out("v18") _, out("v19") _, out("v20") _, out("v21") _,
            out("v22") _, out("v23") _, out("v24") _, out("v25") _, out("v26") _, out("v27") _, out("v28") _,
            out("v29") _, out("v30") _, out("v31") _,
            options(nostack),
        )
    };
}

#[path = "channels.rs"]
mod channels;
#[path = "rvv/decode.rs"]
mod decode;
#[path = "rvv/dense.rs"]
mod dense;
#[path = "rvv/depthwise.rs"]
mod depthwise;
#[path = "rvv/elementwise.rs"]
mod elementwise;
#[path = "rvv/matrix.rs"]
mod matrix;

pub(crate) use elementwise::{add, max};

/// The fastest backend of this program on this machine.
#[inline(always)]
pub(crate) fn best() -> Backend {
    Backend::Rvv
}

/// Whether this program can use `backend` on this machine.
pub(crate) fn available(backend: Backend) -> bool {
    backend == Backend::Rvv
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
    backend == Backend::Rvv
        && is_usable(&conv.weights, conv.quant)
        && matrix::run::<OPS>(conv, x, y, scratch)
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
    backend == Backend::Rvv
        && is_usable(&depthwise.weights, depthwise.quant)
        && channels::run::<depthwise::Rvv>(depthwise, x, y)
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
    backend == Backend::Rvv
        && is_usable(&dense.weights, dense.quant)
        && dense::run::<OPS>(dense, x, y)
}

/// Whether vector loads can read what they are to read: elements at multiples of their size, a whole codebook.
fn is_usable(weights: &Weights, quant: &[QuantRow]) -> bool {
    let book = match weights.values {
        Values::Codebook(book) => {
            book.as_ptr().addr().is_multiple_of(2) && book.len() == 1 << weights.bits
        }
        _ => true,
    };
    book && weights.order == Order::Rows
        && (2..=8).contains(&weights.bits)
        && quant.as_ptr().addr().is_multiple_of(4)
}

/// Lanes of 32 bits in a group of eight registers: at least 8, a power of two.
#[inline(always)]
fn lanes() -> usize {
    let lanes: usize;
    // SAFETY: changes nothing but the vector configuration, which `asm!` may change.
    unsafe {
        core::arch::asm!("vsetvli {}, zero, e32, m8, ta, ma", out(reg) lanes, options(nomem, nostack));
    }
    lanes
}
