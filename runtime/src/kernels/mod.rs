//! Kernels: portable ones, one operator per file, and below `arch` those for one instruction set.
//!
//! Each takes its parameters as a plain struct made by `format::decode` and its operands as slices. Sizes come
//! from a checked model; a slice that is too short anyway ends a kernel early instead of trapping, so that no
//! panic is linked.

pub(crate) mod add;
pub(crate) mod arch;
pub(crate) mod argmax;
pub(crate) mod broadcast;
pub(crate) mod conv;
pub(crate) mod copy;
pub(crate) mod dense;
pub(crate) mod depthwise;
pub(crate) mod dot;
pub(crate) mod lut;
#[cfg(all(elastiq_backend, not(elastiq_backend = "x86")))]
#[cfg_attr(
    not(elastiq_backend = "helium"),
    allow(dead_code, reason = "some of it is for the kernels of other backends")
)]
pub(crate) mod matrix;
pub(crate) mod mul;
pub(crate) mod pieces;
#[cfg(any(
    elastiq_backend = "dsp",
    elastiq_backend = "thumb",
    elastiq_backend = "rv32"
))]
pub(crate) mod planes;
pub(crate) mod pool;
pub(crate) mod prelu;
pub(crate) mod resize;
pub(crate) mod softmax;
pub(crate) mod transpose;
#[cfg_attr(
    not(elastiq_backend = "helium"),
    allow(dead_code, reason = "some of it is for the kernels of other backends")
)]
pub(crate) mod weights;
#[cfg_attr(
    any(not(elastiq_backend), elastiq_backend = "x86"),
    allow(dead_code, reason = "some of it is for the kernels of other backends")
)]
pub(crate) mod window;

use crate::spec;

/// Accumulator to output code, but for the multiplier.
#[derive(Clone, Copy)]
pub(crate) struct Requant {
    pub shift: i8,
    pub z_y: i8,
    pub lo: i8,
    pub hi: i8,
}

impl Requant {
    #[inline(always)]
    pub fn apply(&self, acc: i32, mult: i32) -> i8 {
        spec::requant(acc, mult, self.shift, self.z_y, self.lo, self.hi)
    }
}
