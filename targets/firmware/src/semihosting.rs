//! Semihosting calls to the emulator or debugger.
#![allow(unsafe_code)]

use core::arch::asm;

const SYS_OPEN: usize = 0x01;
const SYS_WRITEC: usize = 0x03;
const SYS_WRITE: usize = 0x05;
const SYS_EXIT_EXTENDED: usize = 0x20;
const APPLICATION_EXIT: usize = 0x2_0026;
/// `fopen` mode "wb".
const MODE_WB: usize = 5;

/// One call: operation and parameter, as in "Semihosting for AArch32 and AArch64" and its RISC-V counterpart.
///
/// # Safety
/// `parameter` is what operation `op` expects: a value, or the address of a block that stays valid and holds
/// valid addresses and lengths.
#[inline(always)]
unsafe fn call(op: usize, parameter: usize) -> usize {
    let result;
    #[cfg(target_arch = "arm")]
    // SAFETY: the breakpoint instruction hands r0, r1 to the host and gets r0 back; the host accesses only the
    // memory that the caller vouches for.
    unsafe {
        asm!("bkpt 0xAB", inout("r0") op => result, in("r1") parameter);
    }
    #[cfg(target_arch = "riscv32")]
    // SAFETY: as above with a0, a1; the three uncompressed instructions are the defined marker and do not
    // change state by themselves.
    unsafe {
        asm!(
            ".balign 16", ".option push", ".option norvc",
            "slli x0, x0, 0x1f", "ebreak", "srai x0, x0, 7",
            ".option pop",
            inout("a0") op => result, in("a1") parameter
        );
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: as above with x0, x1.
    unsafe {
        asm!("hlt #0xf000", inout("x0") op => result, in("x1") parameter);
    }
    result
}

/// An open file on the host.
#[derive(Clone, Copy)]
pub struct File(usize);

impl File {
    /// Create or truncate a file. `name` ends with a zero byte, which is not counted in its length.
    /// `None` if the host refuses.
    pub fn create(name: &core::ffi::CStr) -> Option<File> {
        let block = [name.as_ptr() as usize, MODE_WB, name.count_bytes()];
        // SAFETY: the block holds a zero-terminated string and its length and outlives the call.
        let handle = unsafe { call(SYS_OPEN, block.as_ptr() as usize) };
        (handle != usize::MAX).then_some(File(handle))
    }

    /// Write all of `bytes` in one call; `false` if the host could not.
    #[must_use]
    pub fn write(self, bytes: &[u8]) -> bool {
        let block = [self.0, bytes.as_ptr() as usize, bytes.len()];
        // SAFETY: the block describes `bytes`, which is readable for the whole call.
        unsafe { call(SYS_WRITE, block.as_ptr() as usize) == 0 }
    }
}

/// Put one byte on the debug console.
pub fn put(byte: u8) {
    // SAFETY: the parameter is the address of a byte.
    unsafe { call(SYS_WRITEC, (&raw const byte) as usize) };
}

/// Leave the emulator with `code`.
pub fn exit(code: u8) -> ! {
    let block = [APPLICATION_EXIT, usize::from(code)];
    loop {
        // SAFETY: the block holds reason and code and outlives the call.
        unsafe { call(SYS_EXIT_EXTENDED, block.as_ptr() as usize) };
    }
}
