#![cfg_attr(target_os = "none", no_std, no_main)]
#![deny(unsafe_code)]
//! Negative control of the no-panic proof: indexes out of bounds, hence must not link.

elastiq_fw::entry!(board::run);

#[cfg(target_os = "none")]
mod board {
    use elastiq_fw::memory;
    use elastiq_fw::semihosting::exit;
    use platform::board::LOAD;

    #[allow(unsafe_code)]
    pub fn run() -> ! {
        // SAFETY: the load region is written before reset only.
        let load = unsafe { memory::load(LOAD) };
        let index = usize::from(load.first().copied().unwrap_or_default()) << 16 << 8;
        exit(load[index])
    }
}
