//! Slices over the regions of the board file.
#![allow(unsafe_code)]

use crate::Region;
use core::sync::atomic::{AtomicBool, Ordering};

static ARENA_LENT: AtomicBool = AtomicBool::new(false);

/// The load region, written by the host before reset.
///
/// # Safety
/// `region` is readable memory that nothing writes while the program runs.
pub unsafe fn load(region: Region) -> &'static [u8] {
    // SAFETY: readable and constant by the caller's word; the board check keeps it inside the address space and
    // apart from code, variables, stack and arena.
    unsafe { core::slice::from_raw_parts(core::ptr::without_provenance(region.start), region.len) }
}

/// The arena region, `None` from the second call on.
///
/// # Safety
/// `region` is memory that nothing else uses.
pub unsafe fn arena(region: Region) -> Option<&'static mut [u8]> {
    if ARENA_LENT.load(Ordering::Relaxed) {
        return None;
    }
    ARENA_LENT.store(true, Ordering::Relaxed);
    // SAFETY: exclusive by the caller's word and lent once (one core, no caller in an interrupt); any byte value
    // is a valid u8.
    Some(unsafe {
        core::slice::from_raw_parts_mut(core::ptr::without_provenance_mut(region.start), region.len)
    })
}
