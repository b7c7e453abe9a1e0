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
    use elastiq::{Aligned, Engine, ModelInfo, include_model};
    use elastiq_fw::once::Once;
    use elastiq_fw::session::start;
    use platform::board::SETUP;

    static MODEL: &Aligned<[u8]> = &include_model!(env!("ELASTIQ_MODEL"));
    const INFO: ModelInfo = ModelInfo::of(&MODEL.0);
    static ARENA: Once<Aligned<[u8; INFO.arena_len]>> = Once::new(Aligned([0; INFO.arena_len]));

    /// Exit codes: 0 done, 4 arena already taken, 5 model refused, 6 no self-test in it, 8 run refused.
    pub fn run() -> ! {
        SETUP.start();
        SETUP.end(match every_variant() {
            Ok(()) => 0,
            Err(code) => code,
        })
    }

    fn every_variant() -> Result<(), u8> {
        let arena = ARENA.take().ok_or(4)?;
        let mut engine = Engine::<{ INFO.ops }>::new(&MODEL.0).map_err(|_| 5)?;
        for i in 0..engine.variants() {
            // An index is kept: weights stay where they are, and all variants use the same arena.
            engine.select(i).map_err(|_| 8)?;
            let (input, _) = engine.self_test_cases().next().ok_or(6)?;
            let mut session = start(&engine, input, &mut arena.0).map_err(|_| 8)?;
            session.finish().map_err(|_| 8)?;
            SETUP.print(engine.variant_name(i).unwrap_or_default());
            SETUP.print(":");
            for byte in session.output(0).unwrap_or_default() {
                print(*byte as i8);
            }
            SETUP.print("\n");
        }
        Ok(())
    }

    /// Print a space and a code.
    fn print(code: i8) {
        const DIGITS: [&str; 10] = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"];
        let digit = |n: u8| DIGITS.get(usize::from(n)).copied().unwrap_or_default();
        let n = code.unsigned_abs();
        SETUP.print(if code < 0 { " -" } else { " " });
        if n >= 100 {
            SETUP.print(digit(n / 100));
        }
        if n >= 10 {
            SETUP.print(digit(n / 10 % 10));
        }
        SETUP.print(digit(n % 10));
    }
}
