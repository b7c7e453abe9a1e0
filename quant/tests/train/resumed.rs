//! A training that is interrupted and resumed ends with the bytes of one that is not.

use super::common::{NET, bars, bytes, go_on, network};
use elastiq_quant::train::{Config, Control, Event, Rule, Run, Trained, train};
use std::path::Path;

fn config() -> Config {
    Config {
        epochs: 3,
        batch: 20,
        lr: 0.01,
        mixup: 0.4,
        seed: 9,
        ..Config::default()
    }
}

fn run(config: &Config, folder: &Path, resume: bool, stop_after: usize) -> Result<Trained, String> {
    let mut steps = 0;
    let mut watch = |event: Event| {
        steps += usize::from(matches!(event, Event::Step { .. }));
        if stop_after > 0 && steps == stop_after {
            Control::Stop
        } else {
            Control::Continue
        }
    };
    let settings = Run {
        checkpoint: Some(folder.into()),
        resume,
        ..Run::default()
    };
    let (data, val) = (bars(150, 1), bars(60, 2));
    let net = network(NET, 1);
    train(&net, &data, &val, config, &settings, &mut watch).map_err(|e| e.to_string())
}

/// Bytes of the checkpoint in a folder.
fn state(folder: &Path) -> Vec<u8> {
    std::fs::read(folder.join("last.ckpt")).expect("checkpoint")
}

#[test]
fn resumed_state_equals_uninterrupted_state_in_every_byte() {
    let sgd = Config {
        optimizer: Rule::SGD,
        mixup: 0.0,
        ..config()
    };
    for config in [config(), sgd] {
        let whole = tempfile::tempdir().expect("folder");
        let expected = run(&config, whole.path(), false, 0).expect("training");
        assert!(expected.finished);
        // In the first epoch, after its last batch (8 are in one), in the second, at the end.
        for stops in [vec![3], vec![8], vec![11], vec![1, 9, 4], vec![23]] {
            let parts = tempfile::tempdir().expect("folder");
            let mut resume = false;
            for &stop in &stops {
                let part = run(&config, parts.path(), resume, stop).expect("part");
                assert!(!part.finished, "{stops:?}");
                resume = true;
            }
            let last = run(&config, parts.path(), true, 0).expect("rest");
            assert!(last.finished);
            assert_eq!(bytes(&last), bytes(&expected), "{stops:?}");
            assert_eq!(last.history, expected.history, "{stops:?}");
            assert_eq!(state(parts.path()), state(whole.path()), "{stops:?}");
            assert_eq!(std::fs::read_dir(parts.path()).expect("folder").count(), 1);
        }
    }
}

#[test]
fn a_finished_training_resumes_to_its_result() {
    let folder = tempfile::tempdir().expect("folder");
    let first = run(&config(), folder.path(), false, 0).expect("training");
    let again = run(&config(), folder.path(), true, 0).expect("nothing left");
    assert_eq!(bytes(&first), bytes(&again));
}

#[test]
fn checkpoints_of_something_else_are_refused() {
    let folder = tempfile::tempdir().expect("folder");
    let missing = run(&config(), folder.path(), true, 0).expect_err("nothing there");
    assert!(missing.contains("last.ckpt: "), "{missing}");
    run(&config(), folder.path(), false, 2).expect("part");
    let other = Config {
        lr: 0.02,
        ..config()
    };
    let line = run(&other, folder.path(), true, 0).expect_err("other rate");
    assert!(
        line.ends_with("belongs to a training with lr = 0.01"),
        "{line}"
    );
    let settings = Run {
        checkpoint: Some(folder.path().into()),
        resume: true,
        ..Run::default()
    };
    let (data, val) = (bars(150, 3), bars(60, 2));
    let resume = |text: &str, data: &elastiq_quant::Samples| {
        let net = network(text, 1);
        let result = train(&net, data, &val, &config(), &settings, &mut go_on);
        result.expect_err("refused").to_string()
    };
    assert!(resume(NET, &data).contains("on other training data"));
    let wide = NET.replace("filters = 6", "filters = 5");
    assert!(resume(&wide, &bars(150, 1)).contains("belongs to another network"));
}

#[test]
fn damaged_checkpoints_are_refused() {
    let folder = tempfile::tempdir().expect("folder");
    run(&config(), folder.path(), false, 2).expect("part");
    let file = folder.path().join("last.ckpt");
    let good = state(folder.path());
    let refused = |bytes: &[u8]| {
        std::fs::write(&file, bytes).expect("write");
        run(&config(), folder.path(), true, 0).expect_err("damaged")
    };
    for len in [0, 4, 12, 40, good.len() / 2, good.len() - 1] {
        let line = refused(&good[..len]);
        assert!(line.contains("last.ckpt: "), "{line}");
    }
    for at in [2, 9, 30, good.len() / 2, good.len() - 2] {
        let mut bad = good.clone();
        bad[at] ^= 4;
        let line = refused(&bad);
        assert!(
            line.contains("is damaged") || line.contains("is not a checkpoint"),
            "{line}"
        );
    }
}
