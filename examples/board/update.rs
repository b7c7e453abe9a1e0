#![cfg_attr(target_os = "none", no_std, no_main)]
#![deny(unsafe_code)]
//! A model in its own part of flash, replaced while the program stays as it is.
//!
//! On every start the newest whole model runs its self-test; then a new one arrives and takes its place. A power cut at
//! any moment of the update leaves the model from before. The new model is the file that `ELASTIQ_MODEL` names at build
//! time; a product would get it by radio or serial port, piece by piece.

elastiq_fw::entry!(board::run);

#[cfg(target_os = "none")]
mod board {
    use elastiq::slots::{Flash, Slots};
    use elastiq::{Aligned, OpSet, include_model};
    use elastiq_fw::once::Once;
    use elastiq_fw::session::{SelfTest, self_test};
    use platform::board::{SETUP, SlotFlash};

    static ARRIVED: &Aligned<[u8]> = &include_model!(env!("ELASTIQ_MODEL"));
    /// Models to come are not known: room for what the board can spare, and every operator.
    static ARENA: Once<Aligned<[u8; 6144]>> = Once::new(Aligned([0; 6144]));
    const OPS: u32 = OpSet::ALL;

    #[allow(unsafe_code)]
    pub fn run() -> ! {
        SETUP.start();
        let Some(arena) = ARENA.take() else {
            SETUP.end(4)
        };
        // SAFETY: the linker keeps the program out of the slots (`ELASTIQ_SLOTS`), and this is the only driver.
        let mut slots = Slots::new(unsafe { SlotFlash::new() });
        report(&slots, &mut arena.0);
        SETUP.print(match install(&mut slots) {
            Some(_) => "installed\n",
            None => "not installed\n",
        });
        report(&slots, &mut arena.0);
        SETUP.end(0)
    }

    fn install<F: Flash>(slots: &mut Slots<F>) -> Option<u32> {
        let mut update = slots.update::<OPS>(ARRIVED.0.len()).ok()?;
        for piece in ARRIVED.0.chunks(64) {
            update.write(piece).ok()?;
        }
        update.finish().ok()
    }

    fn report<F: Flash>(slots: &Slots<F>, arena: &mut [u8]) {
        let Some((engine, found)) = slots.engine::<OPS>() else {
            return SETUP.print("no model\n");
        };
        SETUP.print("slot ");
        SETUP.print_number(found.slot as u32);
        SETUP.print(", update ");
        SETUP.print_number(found.sequence);
        SETUP.print(match self_test(&engine, arena) {
            SelfTest::Passed(1..) => ": self-test passed\n",
            _ => ": self-test failed\n",
        });
    }
}
