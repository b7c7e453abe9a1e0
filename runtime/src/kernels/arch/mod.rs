//! Kernels for one instruction set each, and the choice between them.
//!
//! The only `unsafe` code of the runtime is below this module. Every kernel here says whether it did the work;
//! where it did not (a shape or coding that the backend leaves to others, too little scratch), the portable kernel
//! runs.

#[cfg_attr(elastiq_backend = "thumb", path = "thumb.rs")]
#[cfg_attr(elastiq_backend = "dsp", path = "dsp.rs")]
#[cfg_attr(elastiq_backend = "helium", path = "helium.rs")]
#[cfg_attr(elastiq_backend = "rv32", path = "rv32.rs")]
#[cfg_attr(elastiq_backend = "rvv", path = "rvv.rs")]
#[cfg_attr(elastiq_backend = "neon", path = "neon.rs")]
#[cfg_attr(elastiq_backend = "x86", path = "x86.rs")]
#[cfg_attr(not(elastiq_backend), path = "none.rs")]
#[allow(
    unsafe_code,
    reason = "vector instructions; every block proves its bounds"
)]
mod native;

pub(crate) use native::{add, conv, dense, depthwise, max};

use crate::Backend;

/// The fastest backend of this program on this machine.
#[inline(always)]
pub(crate) fn best() -> Backend {
    native::best()
}

/// Whether this program can use `backend` on this machine.
pub(crate) fn available(backend: Backend) -> bool {
    backend == Backend::Portable || native::available(backend)
}
