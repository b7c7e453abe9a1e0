//! Registers that a board wants set, and the console that its programs print on.
#![allow(unsafe_code)]

use crate::semihosting;
use core::ptr::{with_exposed_provenance, with_exposed_provenance_mut};

/// What the board file says about starting and printing. The only values are constants that the build script makes
/// from board files.
pub struct Setup {
    pub steps: &'static [Step],
    pub console: Console,
    /// Starts the watchdog; empty where the board file has none.
    pub watchdog: &'static [Step],
    /// Feeds it.
    pub feed: &'static [Step],
}

/// One register access.
#[derive(Clone, Copy)]
pub enum Step {
    /// Register, value.
    Write(usize, u32),
    /// Register, bits to set.
    Set(usize, u32),
    /// Register, bits to clear.
    Clear(usize, u32),
    /// Register, mask, value to wait for.
    Wait(usize, u32, u32),
}

/// Where text goes.
#[derive(Clone, Copy)]
pub enum Console {
    Semihosting,
    Uart(Uart),
}

/// A serial port with one data register, which takes a byte while `status & mask == ready`.
#[derive(Clone, Copy)]
pub struct Uart {
    pub data: usize,
    pub status: usize,
    pub mask: u32,
    pub ready: u32,
    /// `status` is an event: wait for it after each byte and clear it.
    pub event: bool,
    /// Written to `status` after each byte.
    pub flush: Option<u32>,
}

fn read(register: usize) -> u32 {
    // SAFETY: an aligned register of the board, as its file says; reading changes no memory of the program.
    unsafe { with_exposed_provenance::<u32>(register).read_volatile() }
}

fn write(register: usize, value: u32) {
    // SAFETY: an aligned register of the board, as its file says, outside of the memory that the program uses.
    unsafe { with_exposed_provenance_mut::<u32>(register).write_volatile(value) }
}

fn run(steps: &[Step]) {
    for step in steps {
        match *step {
            Step::Write(register, value) => write(register, value),
            Step::Set(register, bits) => write(register, read(register) | bits),
            Step::Clear(register, bits) => write(register, read(register) & !bits),
            Step::Wait(register, mask, value) => while read(register) & mask != value {},
        }
    }
}

impl Setup {
    /// Set the registers, in the order of the board file.
    pub fn start(&self) {
        run(self.steps);
    }

    /// Start the watchdog; from then on [`Setup::feed_watchdog`] has to come in time.
    pub fn start_watchdog(&self) {
        run(self.watchdog);
    }

    /// Feed the watchdog.
    pub fn feed_watchdog(&self) {
        run(self.feed);
    }

    /// Print a number.
    pub fn print_number(&self, n: u32) {
        let mut unit = 1_000_000_000;
        while unit > 0 {
            if n >= unit || unit == 1 {
                self.put(b'0' + (n / unit % 10) as u8);
            }
            unit /= 10;
        }
    }

    /// Print text; returns when its last byte was taken.
    pub fn print(&self, text: &str) {
        for byte in text.bytes() {
            self.put(byte);
        }
    }

    fn put(&self, byte: u8) {
        match &self.console {
            Console::Semihosting => semihosting::put(byte),
            Console::Uart(uart) => uart.put(byte),
        }
    }

    /// End of the program: leaves the emulator or debugger with `code`; where there is none, stands still.
    pub fn end(&self, code: u8) -> ! {
        match self.console {
            Console::Semihosting => semihosting::exit(code),
            Console::Uart(_) => loop {
                core::hint::spin_loop();
            },
        }
    }
}

impl Uart {
    fn put(&self, byte: u8) {
        if self.event {
            write(self.status, 0);
            write(self.data, byte.into());
            while read(self.status) & self.mask != self.ready {}
            return;
        }
        while read(self.status) & self.mask != self.ready {}
        write(self.data, byte.into());
        if let Some(value) = self.flush {
            write(self.status, value);
        }
    }
}
