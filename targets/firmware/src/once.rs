//! A static that is lent out mutably, once.
#![allow(unsafe_code)]

use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicBool, Ordering};

/// Memory for a static buffer; [`Once::take`] gives it away.
pub struct Once<T> {
    taken: AtomicBool,
    value: UnsafeCell<T>,
}

// SAFETY: the only access to `value` is through the one exclusive reference that `take` gives. The programs here
// run on one core and take their buffers in `main`, not in interrupts, so test and set of the flag are not torn.
unsafe impl<T: Send> Sync for Once<T> {}

impl<T> Once<T> {
    /// Holds `value`.
    pub const fn new(value: T) -> Self {
        Once {
            taken: AtomicBool::new(false),
            value: UnsafeCell::new(value),
        }
    }

    /// The value, `None` from the second call on.
    pub fn take(&'static self) -> Option<&'static mut T> {
        if self.taken.load(Ordering::Relaxed) {
            return None;
        }
        self.taken.store(true, Ordering::Relaxed);
        // SAFETY: this point is reached once, so the reference is exclusive; the value is static.
        Some(unsafe { &mut *self.value.get() })
    }
}
