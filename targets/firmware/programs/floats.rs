#![cfg_attr(target_os = "none", no_std, no_main)]
#![deny(unsafe_code)]
//! Negative control of the symbol scan: divides `f64`, which no supported core does without a library.

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
        let at = |i: usize| f64::from(load.get(i).copied().unwrap_or_default());
        exit((at(0) / at(1)) as u8)
    }
}
