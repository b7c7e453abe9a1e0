#![cfg_attr(target_os = "none", no_std, no_main)]
#![deny(unsafe_code)]
//! Anomaly detection: an autoencoder that has seen only what is normal gives the rest back badly.
//!
//! `ELASTIQ_MODEL` names the autoencoder and `ELASTIQ_RECORDING` rows to judge (`elastiq_fw::session::recorded`) with
//! three words before them: what a code of the input and one of the output stand for, in one unit, and the sum of
//! absolute errors in that unit from which on a row is an anomaly. Class 0 in the recording is the anomaly.

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
            Some([found, anomalies, wrong, normal]) => {
                for (number, text) in [
                    (found, " of "),
                    (anomalies, " anomalies found, "),
                    (wrong, " of "),
                    (normal, " normal rows taken for one\n"),
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

    /// Anomalies found and all, normal rows taken for one and all.
    fn judge(arena: &mut [u8]) -> Option<[u32; 4]> {
        let engine = Engine::<{ INFO.ops }>::new(&MODEL.0).ok()?;
        let ([of_input, of_output, most], rows) = recorded::<3>(RECORDING, INFO.input_len)?;
        let zero_in = i32::from(engine.model().inputs().next()?.row.zero);
        let zero_out = i32::from(engine.model().outputs().next()?.row.zero);
        let [mut found, mut anomalies, mut wrong, mut normal] = [0; 4];
        for (class, row) in rows {
            let mut session = elastiq_fw::session::start(&engine, row, arena).ok()?;
            session.finish().ok()?;
            let pairs = row.iter().zip(session.output(0)?);
            let errors = pairs.map(|(x, y)| {
                let x = of_input * (i32::from(*x as i8) - zero_in);
                let y = of_output * (i32::from(*y as i8) - zero_out);
                (x - y).abs()
            });
            let alarm = u32::from(errors.sum::<i32>() >= most);
            match class {
                0 => (anomalies, found) = (anomalies + 1, found + alarm),
                _ => (normal, wrong) = (normal + 1, wrong + alarm),
            }
        }
        Some([found, anomalies, wrong, normal])
    }
}
