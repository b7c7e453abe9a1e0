//! Buffers of a kernel call.

use core::mem::MaybeUninit;

/// Bytes for weights: rows packed for the lanes.
pub(super) const WEIGHTS: usize = 96 << 10;
/// Bytes for inputs: a part of the tensor as codes of the lanes, padding included.
pub(super) const INPUTS: usize = 32 << 10;
/// Bytes at the end of the inputs that only whole-vector reads and writes reach.
pub(super) const SLACK: usize = 256;
/// Bytes on the stack.
pub(super) const WORK_LEN: usize = WEIGHTS + INPUTS + SLACK;

/// What a kernel keeps on the stack. Nothing is written before it is used.
#[repr(C, align(64))]
pub(super) struct Work {
    weights: [MaybeUninit<u8>; WEIGHTS],
    inputs: [MaybeUninit<u8>; INPUTS + SLACK],
}

const _: () = assert!(size_of::<Work>() == WORK_LEN);

impl Work {
    #[inline(always)]
    pub fn new() -> Work {
        Work {
            weights: [const { MaybeUninit::uninit() }; WEIGHTS],
            inputs: [const { MaybeUninit::uninit() }; INPUTS + SLACK],
        }
    }

    /// [`WEIGHTS`] bytes, aligned to 64.
    #[inline(always)]
    pub fn weights(&mut self) -> *mut u8 {
        self.weights.as_mut_ptr().cast()
    }

    /// [`INPUTS`] + [`SLACK`] bytes, aligned to 64.
    #[inline(always)]
    pub fn inputs(&mut self) -> *mut u8 {
        self.inputs.as_mut_ptr().cast()
    }
}
