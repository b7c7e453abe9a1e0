//! Training of supernets: it learns, it can be interrupted, and it says what is wrong.

use super::common::{CNN, NET, digits, go_on, network, short, supernet, trained};
use elastiq_quant::compress::eqnet::{
    self, Format, NETWORK_FILE, Options, Space, SpaceOptions, Supernet, TrainedSupernet,
};
use elastiq_quant::train::{Config, Control, Event, Moments, Network, Run, Wdr};
use elastiq_quant::{export, import};
use std::path::Path;

/// Mean loss over all formats at `bits`.
fn loss(net: &Supernet, bits: u8) -> f32 {
    let samples = digits(800, 1100);
    let evaluator = net
        .evaluator(&samples, &Config::default())
        .expect("evaluator");
    let formats: Vec<Format> = net.space().formats().collect();
    let of = |&f: &Format| {
        evaluator
            .score(&net.space().uniform(bits, bits, f))
            .expect("score")
            .loss
    };
    formats.iter().map(of).sum::<f32>() / formats.len() as f32
}

#[test]
fn few_bits_gain_most_and_many_lose_nothing() {
    let net = trained(CNN);
    let options = Options {
        train: Config {
            epochs: 4,
            ..short(SpaceOptions::default()).train
        },
        ..short(SpaceOptions::default())
    };
    let before = Supernet::untrained(&net, &options.space, &digits(0, 500)).expect("supernet");
    let after = supernet(&net, &options).supernet;
    let gain = |bits| loss(&before, bits) - loss(&after, bits);
    assert!(gain(2) > 0.1, "2 bits: {}", gain(2));
    assert!(
        gain(2) > gain(4) && gain(8) > -0.1,
        "{} {} {}",
        gain(2),
        gain(4),
        gain(8)
    );
}

#[test]
fn training_moves_only_what_takes_part() {
    let net = trained(CNN);
    let space = SpaceOptions::default();
    let only = Space::new(&net, &space)
        .expect("space")
        .uniform(3, 3, Format::DEFAULT);
    let options = Options {
        only: Some(only.clone()),
        ..short(space.clone())
    };
    let start = Supernet::untrained(&net, &space, &digits(0, 500)).expect("supernet");
    let done = supernet(&net, &options);
    assert_eq!(done.history[1].configurations.len(), 1);
    let moved = |bits, format| {
        let config = start.space().uniform(bits, bits, format);
        let lines = |s: &Supernet| s.given(&config, &digits(0, 32)).expect("quantization");
        let (a, b) = (lines(&start), lines(&done.supernet));
        let scale = |g: &elastiq_quant::lower::given::Given| g.weights["second"].grid.scale.clone();
        scale(&a) != scale(&b)
    };
    assert!(moved(3, Format::DEFAULT), "what is trained");
    assert!(!moved(4, Format::DEFAULT), "steps of another width stay");
    let tensor = Format {
        per_channel: false,
        ..Format::DEFAULT
    };
    assert!(!moved(3, tensor), "steps of another format stay");
}

#[test]
fn weights_spread_evenly_under_regularization() {
    let net = trained(CNN);
    let run = |wdr| {
        let options = short(SpaceOptions::default());
        let options = Options {
            train: Config {
                wdr,
                lr: 5e-3,
                epochs: 3,
                ..options.train
            },
            ..options
        };
        let graph = supernet(&net, &options).supernet.graph();
        let node = graph
            .nodes
            .iter()
            .find(|n| n.name == "hidden")
            .expect("layer");
        let weights = graph
            .value(node.inputs[1])
            .constant
            .clone()
            .expect("weights");
        let weights: Vec<f32> = weights.iter().copied().collect();
        Moments::of(&weights).expect("spread").kurtosis
    };
    let strong = Wdr {
        kurtosis: 1.0,
        ..Wdr::default()
    };
    let (with, without) = (run(Some(strong)), run(None));
    assert!(
        (with - 1.8).abs() < 0.5 * (without - 1.8).abs(),
        "{with} for {without}"
    );
}

/// A described network as it comes back from the file in the folder of a supernet.
fn stored(folder: &Path, text: &str) -> Network {
    let file = folder.join(NETWORK_FILE);
    let bytes = export::onnx(network(text, 3).graph()).expect("ONNX");
    std::fs::write(&file, bytes).expect("file");
    Network::new(import::load(&file).expect("import")).expect("network")
}

fn run(folder: &Path, resume: bool, stop_after: usize) -> Result<TrainedSupernet, String> {
    let mut steps = 0;
    let mut watch = |event: Event| {
        steps += usize::from(matches!(event, Event::Step { .. }));
        match stop_after > 0 && steps == stop_after {
            true => Control::Stop,
            false => Control::Continue,
        }
    };
    let settings = Run {
        checkpoint: Some(folder.into()),
        resume,
        ..Run::default()
    };
    let options = short(SpaceOptions {
        bits: vec![2, 4, 8],
        ..SpaceOptions::default()
    });
    let (data, val) = (digits(0, 160), digits(700, 730));
    let net = stored(folder, CNN);
    eqnet::train(&net, &data, &val, &options, &settings, &mut watch).map_err(|e| e.to_string())
}

#[test]
fn interrupted_training_ends_with_the_same_bytes() {
    let state = |folder: &Path| std::fs::read(folder.join("last.ckpt")).expect("checkpoint");
    let whole = tempfile::tempdir().expect("folder");
    let expected = run(whole.path(), false, 0).expect("training");
    for stops in [vec![2], vec![5], vec![1, 4, 3]] {
        let parts = tempfile::tempdir().expect("folder");
        for (i, &stop) in stops.iter().enumerate() {
            assert!(!run(parts.path(), i > 0, stop).expect("part").finished);
        }
        let last = run(parts.path(), true, 0).expect("rest");
        assert!(last.finished && last.history == expected.history);
        assert!(state(parts.path()) == state(whole.path()), "{stops:?}");
    }
}

#[test]
fn equal_figures_with_any_number_of_threads() {
    let bytes = |threads| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .expect("threads");
        let folder = tempfile::tempdir().expect("folder");
        pool.install(|| run(folder.path(), false, 0).expect("training"));
        std::fs::read(folder.path().join("last.ckpt")).expect("checkpoint")
    };
    assert!(bytes(1) == bytes(3));
}

#[test]
fn a_folder_holds_all_that_is_needed() {
    let folder = tempfile::tempdir().expect("folder");
    let done = run(folder.path(), false, 0).expect("training");
    let (loaded, _) = Supernet::load(folder.path()).expect("supernet");
    let config = loaded.space().uniform(4, 2, Format::DEFAULT);
    let calib = digits(0, 32);
    let given = |s: &Supernet| s.given(&config, &calib).expect("quantization");
    assert!(given(&loaded) == given(&done.supernet));
    stored(folder.path(), NET);
    let other = Supernet::load(folder.path())
        .expect_err("another network")
        .to_string();
    assert!(other.contains("belongs to another network"), "{other}");
    std::fs::write(folder.path().join("last.ckpt"), b"ELQTRAIN").expect("file");
    let cut = Supernet::load(folder.path())
        .expect_err("damaged")
        .to_string();
    assert!(
        cut.contains("last.ckpt") && cut.contains("cut off"),
        "{cut}"
    );
    std::fs::remove_file(folder.path().join(NETWORK_FILE)).expect("file");
    let missing = Supernet::load(folder.path())
        .expect_err("no network")
        .to_string();
    assert!(missing.contains(NETWORK_FILE), "{missing}");
}

#[test]
fn what_is_not_finite_is_named() {
    let options = Options {
        train: Config {
            lr: 1e30,
            ..short(SpaceOptions::default()).train
        },
        ..short(SpaceOptions::default())
    };
    let (data, val) = (digits(0, 160), digits(700, 730));
    let net = network(CNN, 3);
    let failed = eqnet::train(&net, &data, &val, &options, &Run::default(), &mut go_on);
    let text = failed.expect_err("diverges").to_string();
    assert!(
        text.starts_with("epoch 1, batch ") && text.contains("finite"),
        "{text}"
    );
    assert!(text.contains('`'), "names what: {text}");
}
