#![cfg_attr(target_os = "none", no_std, no_main)]
#![deny(unsafe_code)]
//! Two models in one arena, run operator by operator, with the watchdog fed in between.
//!
//! `ELASTIQ_MODEL` and `ELASTIQ_MODEL2` name the artifacts at build time. With `ELASTIQ_STARVE` set the watchdog is not
//! fed, and the board resets before the end.

elastiq_fw::entry!(board::run);

#[cfg(target_os = "none")]
mod board {
    use elastiq::{Aligned, Engine, ModelInfo, RunError, include_model};
    use elastiq_fw::once::Once;
    use elastiq_fw::session::start;
    use platform::board::SETUP;

    static FIRST: &Aligned<[u8]> = &include_model!(env!("ELASTIQ_MODEL"));
    static SECOND: &Aligned<[u8]> = &include_model!(env!("ELASTIQ_MODEL2"));
    const A: ModelInfo = ModelInfo::of(&FIRST.0);
    const B: ModelInfo = ModelInfo::of(&SECOND.0);
    /// What a run leaves in the arena is nobody's: the larger of the two is enough.
    const ARENA_LEN: usize = if A.arena_len > B.arena_len {
        A.arena_len
    } else {
        B.arena_len
    };
    static ARENA: Once<Aligned<[u8; ARENA_LEN]>> = Once::new(Aligned([0; ARENA_LEN]));

    const ROUNDS: u32 = 10;

    pub fn run() -> ! {
        SETUP.start();
        SETUP.print("started\n");
        let Some(arena) = ARENA.take() else {
            SETUP.end(4)
        };
        let (Ok(a), Ok(b)) = (
            Engine::<{ A.ops }>::new(&FIRST.0),
            Engine::<{ B.ops }>::new(&SECOND.0),
        ) else {
            SETUP.print("model refused\n");
            SETUP.end(5)
        };
        // Checking the artifacts is one long step; the watchdog starts behind it.
        SETUP.start_watchdog();
        let (mut steps, mut right) = (0, 0);
        for _ in 0..ROUNDS {
            right += watched(&a, &mut arena.0, &mut steps).unwrap_or(0);
            right += watched(&b, &mut arena.0, &mut steps).unwrap_or(0);
        }
        SETUP.print_number(right);
        SETUP.print(" runs as recorded, watchdog fed ");
        SETUP.print_number(steps);
        SETUP.print(" times\n");
        loop {
            SETUP.feed_watchdog();
        }
    }

    /// The first recorded case, step by step: 1 if the first output is as recorded.
    fn watched<const OPS: u32>(
        engine: &Engine<'_, OPS>,
        arena: &mut [u8],
        steps: &mut u32,
    ) -> Result<u32, RunError> {
        let Some((input, expected)) = engine.model().self_test_cases().next() else {
            return Ok(0);
        };
        let mut session = start(engine, input, arena)?;
        while session.step()?.is_some() {
            if option_env!("ELASTIQ_STARVE").is_none() {
                SETUP.feed_watchdog();
                *steps += 1;
            }
        }
        let output = session.output(0).unwrap_or_default();
        Ok((!output.is_empty() && expected.starts_with(output)).into())
    }
}
