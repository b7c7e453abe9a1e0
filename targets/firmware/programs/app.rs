#![cfg_attr(target_os = "none", no_std, no_main)]
#![deny(unsafe_code)]
//! One model in flash: runs its self-test cases, prints the verdict and leaves with 0 if every output is as recorded.
//!
//! The artifact is the file that `ELASTIQ_MODEL` names at build time. Only its operators are linked.

elastiq_fw::entry!(board::run);

#[cfg(target_os = "none")]
mod board {
    use elastiq::{Aligned, Engine, ModelInfo, include_model};
    use elastiq_fw::once::Once;
    use elastiq_fw::session::{SelfTest, self_test};
    use platform::board::SETUP;

    static MODEL: &Aligned<[u8]> = &include_model!(env!("ELASTIQ_MODEL"));
    const INFO: ModelInfo = ModelInfo::of(&MODEL.0);
    static ARENA: Once<Aligned<[u8; INFO.arena_len]>> = Once::new(Aligned([0; INFO.arena_len]));

    /// Exit codes: 0 passed, 4 arena already taken, 5 model refused, 6 no self-test in it, 7 output differs,
    /// 8 run refused.
    pub fn run() -> ! {
        SETUP.start();
        let (verdict, code) = test();
        SETUP.print(verdict);
        SETUP.end(code)
    }

    fn test() -> (&'static str, u8) {
        let Some(arena) = ARENA.take() else {
            return ("arena already taken\n", 4);
        };
        let Ok(engine) = Engine::<{ INFO.ops }>::new(&MODEL.0) else {
            return ("model refused\n", 5);
        };
        match self_test(&engine, &mut arena.0) {
            SelfTest::Passed(0) => ("no self-test in the model\n", 6),
            SelfTest::Passed(_) => ("self-test passed\n", 0),
            SelfTest::Differs(_) => ("self-test: an output differs\n", 7),
            SelfTest::Failed(..) => ("self-test could not be run\n", 8),
        }
    }
}
