#![cfg_attr(target_os = "none", no_std, no_main)]
#![deny(unsafe_code)]
//! A detector that must not miss: the alarm goes off long before the alarming class has the higher score.
//!
//! `ELASTIQ_MODEL` names a network with two classes and `ELASTIQ_RECORDING` rows to judge (`elastiq_fw::session::recorded`)
//! with one word before them: the margin, in codes of the output, from which on class 1 is alarmed.

elastiq_fw::entry!(board::run);

#[cfg(target_os = "none")]
mod board {
    use elastiq::{Aligned, Engine, ModelInfo, include_model};
    use elastiq_fw::once::Once;
    use elastiq_fw::session::recorded;
    use platform::board::SETUP;

    static MODEL: &Aligned<[u8]> = &include_model!(env!("ELASTIQ_MODEL"));
    static RECORDING: &[u8] = include_bytes!(env!("ELASTIQ_RECORDING"));
    const INFO: ModelInfo = ModelInfo::of(&MODEL.0);
    static ARENA: Once<Aligned<[u8; INFO.arena_len]>> = Once::new(Aligned([0; INFO.arena_len]));

    pub fn run() -> ! {
        SETUP.start();
        let Some(arena) = ARENA.take() else {
            SETUP.end(4)
        };
        match judge(&mut arena.0) {
            Some(counts) => {
                let [missed, alarming, raised, quiet] = counts;
                for (number, text) in [
                    (missed, " of "),
                    (alarming, " missed, "),
                    (raised, " false alarms in "),
                    (quiet, "\n"),
                ] {
                    SETUP.print_number(number);
                    SETUP.print(text);
                }
                SETUP.end(0)
            }
            None => {
                SETUP.print("model or recording refused\n");
                SETUP.end(5)
            }
        }
    }

    /// Missed and all of class 1, false alarms and all of class 0.
    fn judge(arena: &mut [u8]) -> Option<[u32; 4]> {
        let engine = Engine::<{ INFO.ops }>::new(&MODEL.0).ok()?;
        let ([margin], rows) = recorded::<1>(RECORDING, INFO.input_len)?;
        let [mut missed, mut alarming, mut raised, mut quiet] = [0; 4];
        for (class, row) in rows {
            let mut session = elastiq_fw::session::start(&engine, row, arena).ok()?;
            session.finish().ok()?;
            let [no, yes] = *session.output(0)?.first_chunk()?;
            let alarm = i32::from(yes as i8) - i32::from(no as i8) >= margin;
            match class {
                1 => (alarming, missed) = (alarming + 1, missed + u32::from(!alarm)),
                _ => (quiet, raised) = (quiet + 1, raised + u32::from(alarm)),
            }
        }
        Some([missed, alarming, raised, quiet])
    }
}
