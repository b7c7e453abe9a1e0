//! A model in flash is replaced: power cuts at every write and erase, torn in every way, leave one that runs.

mod common;

use common::nor::{Nor, PowerLost};
use elastiq::slots::{Flash, InUse, Seal, Slots, UpdateError};
use elastiq::{Engine, LoadErrorKind, OpSet};
use zerocopy::IntoBytes;

const ALL: u32 = OpSet::ALL;
const OLD: &[u8] = include_bytes!("data/classifier.eqm");
const NEW: &[u8] = include_bytes!("data/pipeline.eqm");

fn install<F: Flash>(slots: &mut Slots<F>, artifact: &[u8]) -> Result<u32, UpdateError<F::Error>> {
    let mut update = slots.update::<ALL>(artifact.len())?;
    artifact
        .chunks(37)
        .try_for_each(|piece| update.write(piece))?;
    update.finish()
}

/// The artifact in use, which must pass its own self-test.
fn in_use<F: Flash>(slots: &Slots<F>) -> (Vec<u8>, InUse) {
    let (engine, found) = slots.engine::<ALL>().expect("an artifact that runs");
    let len = engine.model().header().total_len.get() as usize;
    let room = slots.room();
    let mut arena = vec![0; engine.model().arena_len()];
    engine.start(&mut arena).unwrap().finish().unwrap();
    assert!(len <= room);
    let bytes = if len == OLD.len() { OLD } else { NEW };
    assert_eq!(
        Engine::<ALL>::new(bytes)
            .unwrap()
            .model()
            .header()
            .header_crc,
        engine.model().header().header_crc
    );
    (bytes.to_vec(), found)
}

fn slot_len() -> usize {
    (OLD.len().max(NEW.len()) + 16).next_multiple_of(1024)
}

fn every_cut<const U: usize>() -> usize {
    let mut cuts = 0;
    for left in 1.. {
        let mut slots = Slots::new(Nor::<U>::new(slot_len()));
        install(&mut slots, OLD).unwrap();
        install(&mut slots, NEW).unwrap();
        install(&mut slots, OLD).unwrap();
        let mut flash = slots.into_flash();
        flash.cut(left);
        let mut slots = Slots::new(flash);
        let result = install(&mut slots, NEW);
        // Power comes back.
        let mut flash = slots.into_flash();
        flash.left = usize::MAX;
        let mut slots = Slots::new(flash);
        let (bytes, found) = in_use(&slots);
        match result {
            Ok(sequence) => {
                assert_eq!((sequence, found.sequence), (4, 4));
                assert!(bytes == NEW);
                return cuts;
            }
            Err(e) => {
                assert_eq!(e, UpdateError::Flash(PowerLost));
                // A seal whose last unit lost no bit is whole.
                assert!(bytes == OLD && found.sequence == 3 || bytes == NEW && found.sequence == 4);
                cuts += 1;
            }
        }
        let next = install(&mut slots, NEW).unwrap();
        assert!(next == found.sequence + 1 && in_use(&slots).0 == NEW);
    }
    cuts
}

#[test]
fn a_cut_at_any_write_leaves_a_model_that_runs() {
    let cuts = [every_cut::<4>(), every_cut::<8>(), every_cut::<16>()];
    println!("power cuts survived with units of 4, 8, 16 bytes: {cuts:?}");
    let pages = (NEW.len() + 16).div_ceil(1024);
    for (cuts, unit) in cuts.iter().zip([4, 8, 16]) {
        let writes = (NEW.len().next_multiple_of(16) + 16) / unit;
        assert_eq!(*cuts, pages + writes);
    }
}

#[test]
fn slots_take_turns_and_numbers_wrap() {
    let mut flash = Nor::<4>::new(slot_len());
    let seal = Seal::new(u32::MAX, OLD.len() as u32);
    flash.write(0, seal.as_bytes()).unwrap();
    let mut padded = OLD.to_vec();
    padded.resize(OLD.len().next_multiple_of(16), 0xFF);
    flash.write(16, &padded).unwrap();
    let mut slots = Slots::new(flash);
    let place = |slots: &Slots<Nor<4>>| in_use(slots).1;
    assert_eq!(
        place(&slots),
        InUse {
            slot: 0,
            sequence: u32::MAX
        }
    );
    assert_eq!(install(&mut slots, NEW), Ok(0));
    assert_eq!(
        place(&slots),
        InUse {
            slot: 1,
            sequence: 0
        }
    );
    assert_eq!(install(&mut slots, OLD), Ok(1));
    assert_eq!(
        place(&slots),
        InUse {
            slot: 0,
            sequence: 1
        }
    );
}

#[test]
fn bad_updates_change_nothing() {
    let mut slots = Slots::new(Nor::<4>::new(slot_len()));
    assert!(slots.engine::<ALL>().is_none());
    install(&mut slots, OLD).unwrap();
    let mut bad = NEW.to_vec();
    let at = bad.len() / 2;
    bad[at] ^= 1;
    let refused = |result| match result {
        Err(UpdateError::<PowerLost>::Refused(e)) => e.kind,
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(install(&mut slots, &bad)), LoadErrorKind::BlockCrc);
    let long = vec![0; slots.room() + 1];
    let room = slots.room() as u32;
    assert_eq!(
        install(&mut slots, &long),
        Err(UpdateError::TooLong { room })
    );
    let mut update = slots.update::<ALL>(10).unwrap();
    assert_eq!(
        update.write(&[0; 11]),
        Err(UpdateError::TooLong { room: 10 })
    );
    assert!(in_use(&slots).0 == OLD);
    // A program that links no operator refuses the artifact and keeps what it has: nothing, here.
    assert!(slots.engine::<0>().is_none());
}

/// One that is damaged later, by wear: the older one takes its place.
#[test]
fn a_worn_slot_is_left_for_the_other() {
    let mut slots = Slots::new(Nor::<4>::new(slot_len()));
    install(&mut slots, OLD).unwrap();
    install(&mut slots, NEW).unwrap();
    let mut flash = slots.into_flash();
    let at = slot_len() + 16 + NEW.len() / 2;
    flash.words.as_mut_bytes()[at] ^= 0x10;
    let slots = Slots::new(flash);
    assert_eq!(
        in_use(&slots).1,
        InUse {
            slot: 0,
            sequence: 1
        }
    );
}
