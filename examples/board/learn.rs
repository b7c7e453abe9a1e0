#![cfg_attr(target_os = "none", no_std, no_main)]
#![deny(unsafe_code)]
//! Learning on the device: ten classes, two at a time, on features of an encoder that has seen five of them.
//!
//! `ELASTIQ_MODEL` names the encoder and `ELASTIQ_SESSION` a recorded session (`elastiq_fw::learning`) at build time. A
//! product would call `observe`, `learn` and `classify` as samples come, and save the rows that changed in a
//! `elastiq::train::Journal`.

elastiq_fw::entry!(board::run);

#[cfg(target_os = "none")]
mod board {
    use elastiq::{Aligned, Engine, ModelInfo, include_model};
    use elastiq_fw::learning::{Learner, replay};
    use elastiq_fw::once::Once;
    use platform::board::SETUP;

    static ENCODER: &Aligned<[u8]> = &include_model!(env!("ELASTIQ_MODEL"));
    static SESSION: &[u8] = include_bytes!(env!("ELASTIQ_SESSION"));
    const INFO: ModelInfo = ModelInfo::of(&ENCODER.0);
    static ARENA: Once<Aligned<[u8; INFO.arena_len]>> = Once::new(Aligned([0; INFO.arena_len]));
    static LEARNER: Once<Learner> = Once::new(Learner::new());

    pub fn run() -> ! {
        SETUP.start();
        let (Some(arena), Some(learner)) = (ARENA.take(), LEARNER.take()) else {
            SETUP.end(4)
        };
        let Ok(encoder) = Engine::<{ INFO.ops }>::new(&ENCODER.0) else {
            SETUP.print("model refused\n");
            SETUP.end(5)
        };
        let Some(found) = replay(&encoder, &mut arena.0, learner, SESSION) else {
            SETUP.print("session refused\n");
            SETUP.end(8)
        };
        for (name, number) in [
            ("learned ", found.learned),
            (", right of ", found.tested),
            (": bottleneck ", found.bottleneck),
            (", linear ", found.linear),
            (", state ", found.state),
        ] {
            SETUP.print(name);
            SETUP.print_number(number);
        }
        SETUP.print("\n");
        SETUP.end(0)
    }
}
