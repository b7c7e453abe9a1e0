#![cfg_attr(target_os = "none", no_std, no_main)]
#![deny(unsafe_code)]
//! Runs the job that the host has put into memory, with any model; see `elastiq_fw::runner`.

elastiq_fw::entry!(board::run);

#[cfg(target_os = "none")]
mod board {
    use elastiq_fw::job::Reading;
    use elastiq_fw::runner::Machine;
    use elastiq_fw::semihosting::{File, exit};
    use elastiq_fw::{memory, stack};
    use platform::Counter;
    use platform::board::{ARENA, LOAD};

    struct Core {
        counter: Counter,
        results: File,
    }

    impl Machine for Core {
        type Mark = u64;

        #[inline(always)]
        fn begin(&mut self) -> u64 {
            self.counter.begin()
        }

        #[inline(always)]
        fn end(&mut self, mark: u64) -> Reading {
            self.counter.end(mark)
        }

        #[inline(always)]
        fn known(&mut self, turns: u32) {
            self.counter.known(turns);
        }

        fn stack_of(&mut self, f: &mut dyn FnMut()) -> u32 {
            stack::measure(f)
        }

        fn write(&mut self, bytes: &[u8]) {
            if !self.results.write(bytes) {
                exit(3);
            }
        }
    }

    /// Exit codes: 0 done, 2 no result file, 3 result file not writable.
    #[allow(unsafe_code)]
    pub fn run() -> ! {
        let Some(results) = File::create(c"results.bin") else {
            exit(2)
        };
        let mut core = Core {
            counter: Counter::start(),
            results,
        };
        // SAFETY: the board check keeps both regions apart from each other and from code, variables and stack; the
        // host writes the load region before reset only.
        let (load, arena) = unsafe { (memory::load(LOAD), memory::arena(ARENA)) };
        elastiq_fw::runner::run(&mut core, load, arena.unwrap_or_default());
        exit(0)
    }
}
