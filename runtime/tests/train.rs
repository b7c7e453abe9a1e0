//! Learning with integers: heads learn, keys stay, and what was saved survives a power cut at any write.
#![cfg(feature = "train")]

mod common;

use common::nor::{Nor, PowerLost};
use common::rng::Rng;
use elastiq::train::{Bottleneck, Journal, JournalError, Keys, LinearHead, Rows};

const FEATURES: usize = 24;
const CLASSES: usize = 4;

/// Codes around a centre of its own for each class.
fn sample(rng: &mut Rng, class: usize) -> Vec<u8> {
    let mut centres = Rng(77 + class as u64);
    (0..FEATURES)
        .map(|_| (centres.below(180) as i32 - 100 + rng.below(31) as i32 - 15) as i8 as u8)
        .collect()
}

type Small = Bottleneck<4, 8, CLASSES>;
type SmallKeys = Keys<4, 8, 6>;

fn bottleneck(rng: &mut Rng) -> (SmallKeys, Small) {
    let mut keys = Keys::new(-128, 4, 5);
    for i in 0..100 {
        keys.observe(&sample(rng, i % CLASSES));
    }
    (keys, Bottleneck::new(5))
}

fn right(rng: &mut Rng, classify: impl Fn(&[u8]) -> usize) -> usize {
    (0..400)
        .filter(|i| classify(&sample(rng, i % CLASSES)) == i % CLASSES)
        .count()
}

#[test]
fn heads_learn_mixed_classes() {
    let mut rng = Rng(3);
    let mut linear = LinearHead::<FEATURES, CLASSES>::new(-128, 12);
    let (keys, mut bottleneck) = bottleneck(&mut rng);
    for i in 0..200 {
        let x = sample(&mut rng, i % CLASSES);
        linear.learn(&x, i % CLASSES);
        bottleneck.learn(&keys, &x, i % CLASSES);
    }
    let linear = right(&mut rng, |x| linear.classify(x));
    let bottleneck = right(&mut rng, |x| bottleneck.classify(&keys, x));
    println!("of 400: linear {linear}, bottleneck {bottleneck}");
    assert!(linear >= 390 && bottleneck >= 390, "{linear} {bottleneck}");
}

#[test]
fn learning_leaves_keys_and_untouched_rows() {
    let mut rng = Rng(4);
    let (keys, mut head) = bottleneck(&mut rng);
    let bytes: Vec<u8> = keys.bytes().collect();
    let rows = |head: &Small| -> Vec<Vec<u8>> {
        let row = |row| {
            let mut bytes = vec![0; head.row_len()];
            head.get(row, &mut bytes);
            bytes
        };
        (0..head.rows()).map(row).collect()
    };
    for i in 0..50 {
        let before = rows(&head);
        let touched = head.learn(&keys, &sample(&mut rng, i % CLASSES), i % CLASSES);
        let after = rows(&head);
        for (row, (a, b)) in before.iter().zip(&after).enumerate() {
            assert!(a == b || touched.contains(&row), "row {row}");
        }
        // Later, errors may be too small for a step.
        assert!(before != after || i > 0);
    }
    assert!(keys.bytes().eq(bytes));
}

#[test]
fn extreme_features_and_labels_do_no_harm() {
    let mut rng = Rng(5);
    let mut linear = LinearHead::<FEATURES, CLASSES>::new(-128, 0);
    let (keys, mut head) = bottleneck(&mut rng);
    for i in 0..3000 {
        let x = [[0x7F; FEATURES], [0x80; FEATURES], [0; FEATURES]][i % 3];
        linear.learn(&x, i % 7);
        head.learn(&keys, &x, i % 7);
        linear.learn(&x[..i % FEATURES], 1);
        head.learn(&keys, &[], usize::MAX);
    }
    assert!(linear.classify(&[]) < CLASSES && head.classify(&keys, &[0x7F; 300]) < CLASSES);
}

const RECORD: usize = 16;

fn copies(head: &impl Rows) -> Vec<Vec<u8>> {
    let row = |row| {
        let mut bytes = vec![0; head.row_len()];
        head.get(row, &mut bytes);
        bytes
    };
    (0..head.rows()).map(row).collect()
}

/// Learn and save until the power goes; gives the number of samples whose rows were all saved.
fn session(left: usize) -> Option<usize> {
    let mut rng = Rng(6);
    let (keys, mut head) = bottleneck(&mut rng);
    let fresh = head.clone();
    let mut flash = Nor::<8>::new(1024);
    flash.cut(left);
    let mut journal = Journal::<_, RECORD>::open(flash, &mut head).unwrap();
    let mut saved = copies(&head);
    let mut done = 0;
    let cut = 'learning: {
        for i in 0..60 {
            let rows = head.learn(&keys, &sample(&mut rng, i % CLASSES), i % CLASSES);
            let now = copies(&head);
            for row in rows {
                if journal.save(&head, row).is_err() {
                    break 'learning Some((row, now));
                }
                // Moving to the other area saves every row.
                saved[row] = now[row].clone();
            }
            done += 1;
        }
        None
    };
    let mut flash = journal.into_flash();
    flash.left = usize::MAX;
    let mut again = fresh;
    let mut journal = Journal::<_, RECORD>::open(flash, &mut again).unwrap();
    let found = copies(&again);
    let now = copies(&head);
    for (row, bytes) in found.iter().enumerate() {
        let before = bytes == &saved[row] || cut.is_none();
        assert!(before || bytes == &now[row], "row {row} after {left}");
    }
    if cut.is_none() {
        assert!(found == now);
        return None;
    }
    // And on from there.
    journal.save(&again, 0).unwrap();
    let mut third = bottleneck(&mut Rng(6)).1;
    Journal::<_, RECORD>::open(journal.into_flash(), &mut third).unwrap();
    assert!(copies(&third) == found);
    Some(done)
}

#[test]
fn a_cut_at_any_write_leaves_whole_rows() {
    let mut cuts = 0;
    let mut most = 0;
    while let Some(done) = session(cuts + 1) {
        cuts += 1;
        most = most.max(done);
    }
    println!("power cuts survived: {cuts}, samples learned before the last: {most}");
    // 60 samples, 4 rows each, records of two units; and the moves.
    assert!(cuts > 480 && most == 59, "{cuts} {most}");
}

#[test]
fn journals_that_do_not_fit_are_refused() {
    let mut head = bottleneck(&mut Rng(7)).1;
    let small = Journal::<_, 16>::open(Nor::<8>::new(0), &mut head);
    assert_eq!(
        small.err(),
        Some(JournalError::<PowerLost>::TooSmall { need: 16 + 32 * 16 })
    );
    let mut linear = LinearHead::<FEATURES, CLASSES>::new(0, 5);
    let record = Journal::<_, 96>::open(Nor::<8>::new(4096), &mut linear);
    assert_eq!(record.err(), Some(JournalError::<PowerLost>::Record));
    assert!(Journal::<_, 112>::open(Nor::<8>::new(4096), &mut linear).is_ok());
}
