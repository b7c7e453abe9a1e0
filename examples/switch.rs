#![cfg_attr(target_os = "none", no_std, no_main)]
#![deny(unsafe_code)]
//! Firmware that switches between the operating points of one model while it runs: with the input of the first
//! self-test case it prints, for each, its name and the codes of its output.
//!
//! `ELASTIQ_MODEL` names the artifact at build time, as for the application; made for instance with
//! `elastiq compile digits.onnx --calib digits_train.npz --variants 8,4,3,2 -o elastic.eqm`.

elastiq_fw::entry!(board::run);

#[cfg(target_os = "none")]
mod board {
    use core::ffi::CStr;
    use elastiq::{Aligned, Engine, ModelInfo, include_model};
    use elastiq_fw::once::Once;
    use elastiq_fw::semihosting::{exit, print};
    use elastiq_fw::session::start;

    static MODEL: &Aligned<[u8]> = &include_model!(env!("ELASTIQ_MODEL"));
    const INFO: ModelInfo = ModelInfo::of(&MODEL.0);
    static ARENA: Once<Aligned<[u8; INFO.arena_len]>> = Once::new(Aligned([0; INFO.arena_len]));

    /// Exit codes: 0 done, 4 arena already taken, 5 model refused, 6 no self-test in it, 8 run refused.
    pub fn run() -> ! {
        let Some(arena) = ARENA.take() else { exit(4) };
        let Ok(mut engine) = Engine::<{ INFO.ops }>::new(&MODEL.0) else {
            exit(5)
        };
        for i in 0..engine.variants() {
            // An index and a row are looked up; weights stay where they are, and so does the arena.
            if engine.select(i).is_err() {
                exit(8)
            }
            let Some((input, _)) = engine.model().self_test_cases().next() else {
                exit(6)
            };
            let Ok(mut session) = start(&engine, input, &mut arena.0) else {
                exit(8)
            };
            if session.finish().is_err() {
                exit(8)
            }
            let mut line = Line::new();
            line.text(engine.variant_name(i).unwrap_or_default());
            line.text(":");
            for byte in session.output(0).unwrap_or_default() {
                line.number(*byte as i8);
            }
            line.print();
        }
        exit(0)
    }

    /// A line of text that ends with a zero byte; what does not fit is left out.
    struct Line {
        bytes: [u8; 256],
        len: usize,
    }

    impl Line {
        fn new() -> Line {
            Line {
                bytes: [0; 256],
                len: 0,
            }
        }

        fn byte(&mut self, byte: u8) {
            // One for the line break, one for the zero.
            if self.len.wrapping_add(2) < self.bytes.len()
                && let Some(to) = self.bytes.get_mut(self.len)
            {
                *to = byte;
                self.len = self.len.wrapping_add(1);
            }
        }

        fn text(&mut self, text: &str) {
            text.bytes().for_each(|byte| self.byte(byte));
        }

        /// A space and a code.
        fn number(&mut self, code: i8) {
            self.byte(b' ');
            if code < 0 {
                self.byte(b'-');
            }
            let n = code.unsigned_abs();
            for unit in [100, 10, 1] {
                if n >= unit || unit == 1 {
                    self.byte(b'0' + n / unit % 10);
                }
            }
        }

        fn print(mut self) {
            if let Some(to) = self.bytes.get_mut(self.len) {
                *to = b'\n';
            }
            if let Ok(text) = CStr::from_bytes_until_nul(&self.bytes) {
                print(text);
            }
        }
    }
}
