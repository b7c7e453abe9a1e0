//! x86-64: AVX2, and AVX-512 with VNNI.
//!
//! Kernels work in buffers on the stack ([`work::WORK_LEN`] bytes) and ask for no scratch, so that an artifact is as
//! fast here as any other, whatever core it was planned for.
//!
//! Sums are exact modulo 2^32: products of 8-bit or 16-bit codes are added in 32-bit lanes and nothing saturates.
//! VNNI multiplies unsigned with signed bytes; inputs are therefore taken as `x + 128`, and the start of the
//! accumulator is `bias - 128 · Σ w`.

#[path = "x86/dense.rs"]
mod dense_rows;
#[path = "x86/depthwise.rs"]
mod depthwise_lines;
#[path = "x86/detect.rs"]
mod detect;
#[path = "x86/elementwise.rs"]
mod elementwise;
#[path = "x86/gemm.rs"]
mod gemm;
#[path = "x86/lanes.rs"]
mod lanes;
#[path = "x86/rows.rs"]
mod rows;
#[path = "x86/work.rs"]
mod work;

use self::detect::Level;
use self::lanes::{Avx2, Vnni, VnniWide};
use crate::Backend;
use crate::kernels::add::Add;
use crate::kernels::conv::Conv;
use crate::kernels::dense::Dense;
use crate::kernels::depthwise::Depthwise;
use crate::kernels::window::{Axis, Window};

/// The fastest backend of this program on this machine.
#[inline(always)]
pub(crate) fn best() -> Backend {
    match detect::level() {
        Level::Avx512Vnni => Backend::Avx512Vnni,
        Level::Avx2 => Backend::Avx2,
        Level::None => Backend::Portable,
    }
}

/// Whether this program can use `backend` on this machine.
pub(crate) fn available(backend: Backend) -> bool {
    match backend {
        Backend::Avx512Vnni => detect::level() == Level::Avx512Vnni,
        Backend::Avx2 => detect::level() != Level::None,
        _ => false,
    }
}

/// What runs: `backend`, as far as this machine has it.
///
/// Whoever gets a vector level from here has the proof that its instructions exist.
#[inline(always)]
fn level(backend: Backend) -> Level {
    match backend {
        Backend::Avx512Vnni if detect::level() == Level::Avx512Vnni => Level::Avx512Vnni,
        Backend::Avx2 if detect::level() != Level::None => Level::Avx2,
        _ => Level::None,
    }
}

/// Functions for each kind of lanes: generic code compiled for its instructions.
macro_rules! for_lanes {
    ($($name:ident = $function:path, $lanes:ty, $features:literal;)*) => {
        $(
            #[target_feature(enable = $features)]
            #[inline(never)]
            fn $name<const OPS: u32>(kernel: &KernelOf<'_, '_>, x: &[i8], y: &mut [i8]) -> bool {
                let mut work = work::Work::new();
                // SAFETY: the instructions of these lanes are the features of this function.
                unsafe { $function(kernel.into(), x, y, &mut work) }
            }
        )*
    };
}
