//! x86-64: AVX2, and AVX-512 with VNNI.
//!
//! Kernels work in buffers on the stack ([`work::WORK_LEN`] bytes) and ask for no scratch, so that an artifact is as
//! fast here as any other, whatever core it was planned for.
//!
//! Sums are exact modulo 2^32: products of 8-bit or 16-bit codes are added in 32-bit lanes and nothing saturates.
//! VNNI multiplies unsigned with signed bytes; inputs are therefore taken as `x + 128`, and the start of the
//! accumulator is `bias - 128 · Σ w`.

#[path = "x86/conv.rs"]
mod conv;
#[path = "x86/dense.rs"]
mod dense;
#[path = "x86/depthwise.rs"]
mod depthwise;
#[path = "x86/detect.rs"]
mod detect;
#[path = "x86/elementwise.rs"]
mod elementwise;
#[path = "x86/lanes.rs"]
mod lanes;
#[path = "x86/rows.rs"]
mod rows;
#[path = "x86/work.rs"]
mod work;

use self::detect::Level;
use self::lanes::{Avx2, Vnni, VnniWide};
use self::work::Work;
use crate::Backend;
use crate::kernels::add::Add;
use crate::kernels::conv::Conv;
use crate::kernels::dense::Dense;
use crate::kernels::depthwise::Depthwise;

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

/// Functions of one kernel for each kind of lanes: generic code, compiled for their instructions.
///
/// They are not generic themselves and decode all weight codings, so that they are compiled in this crate, once.
macro_rules! for_lanes {
    ($kernel:ident: $params:ty, $wide:ident, $vnni:ident, $avx2:ident) => {
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,bmi2")]
        #[inline(never)]
        fn $vnni(params: &$params, x: &[i8], y: &mut [i8]) -> bool {
            // SAFETY: this function has the features of the lanes.
            unsafe { $kernel::$kernel::<Vnni>(params, x, y, &mut Work::new()) }
        }

        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,bmi2")]
        #[inline(never)]
        fn $wide(params: &$params, x: &[i8], y: &mut [i8]) -> bool {
            // SAFETY: this function has the features of the lanes.
            unsafe { $kernel::$kernel::<VnniWide>(params, x, y, &mut Work::new()) }
        }

        #[target_feature(enable = "avx2,bmi2")]
        #[inline(never)]
        fn $avx2(params: &$params, x: &[i8], y: &mut [i8]) -> bool {
            // SAFETY: this function has the features of the lanes.
            unsafe { $kernel::$kernel::<Avx2>(params, x, y, &mut Work::new()) }
        }

        /// Run the kernel with the lanes that fit `backend` and the weights.
        #[inline(always)]
        pub(crate) fn $kernel<const OPS: u32>(
            backend: Backend,
            params: &$params,
            x: &[i8],
            y: &mut [i8],
            _scratch: &mut [u32],
        ) -> bool {
            // SAFETY: this machine has the instructions of its level.
            unsafe {
                match level(backend) {
                    Level::Avx512Vnni if rows::narrow(&params.weights) => $vnni(params, x, y),
                    Level::Avx512Vnni => $wide(params, x, y),
                    Level::Avx2 => $avx2(params, x, y),
                    Level::None => false,
                }
            }
        }
    };
}

for_lanes!(conv: Conv, conv_wide, conv_vnni, conv_avx2);
for_lanes!(depthwise: Depthwise, depthwise_wide, depthwise_vnni, depthwise_avx2);
for_lanes!(dense: Dense, dense_wide, dense_vnni, dense_avx2);

/// Sum of two tensors of one shape; `y` holds the first.
#[inline(always)]
pub(crate) fn add(backend: Backend, add: &Add, x2: &[i8], y: &mut [i8]) -> bool {
    if level(backend) == Level::None {
        return false;
    }
    // SAFETY: every level has AVX2.
    unsafe { elementwise::add(add, x2, y) };
    true
}

/// `y[i] = max(y[i], x[i])`.
#[inline(always)]
pub(crate) fn max(backend: Backend, x: &[i8], y: &mut [i8]) -> bool {
    if level(backend) == Level::None {
        return false;
    }
    // SAFETY: every level has AVX2.
    unsafe { elementwise::max(x, y) };
    true
}
