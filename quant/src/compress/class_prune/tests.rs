use super::learner::{Learner, Lesson, Progress};
use super::loss::Loss;
use super::*;
use crate::ir::{passes, stats};
use crate::train::var::host;
use crate::train::{Network, Place, Run, describe};
use crate::{Error, Samples};
use ndarray::ArrayD;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

const MLP: &str = r#"
input = [6]
[[layer]]
type = "dense"
units = 16
activation = "relu"
[[layer]]
type = "dense"
units = 9
activation = "relu"
[[layer]]
type = "dense"
units = 1
"#;

const CNN: &str = r#"
input = [1, 6, 1]
[[layer]]
type = "conv"
filters = 8
kernel = [3, 1]
padding = "same"
activation = "relu"
[[layer]]
type = "depthwise"
kernel = [3, 1]
padding = "same"
activation = "relu"
[[layer]]
type = "conv"
filters = 6
kernel = 1
activation = "relu"
[[layer]]
type = "flatten"
[[layer]]
type = "dense"
units = 2
"#;

/// Six numbers; class 1 where two of them lie in a ring, with noise: a fifth of the samples.
fn ring(n: usize, seed: u64, shape: &[usize]) -> Samples {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let (mut values, mut labels) = (Vec::new(), Vec::new());
    for _ in 0..n {
        let row: Vec<f32> = (0..6).map(|_| rng.random_range(-1.0..1.0)).collect();
        let noise = rng.random_range(-0.05..0.05);
        let radius = (row[0] * row[0] + row[1] * row[1]).sqrt() + noise;
        labels.push(i64::from((0.4..0.65).contains(&radius)));
        values.extend(row);
    }
    let shape = [&[n], shape].concat();
    Samples::new(vec![ArrayD::from_shape_vec(shape, values).expect("shape")]).with_labels(labels)
}

struct Case {
    network: Network,
    train: Train,
    val: Val,
    test: Test,
}

impl Case {
    fn new(text: &str, shape: &[usize]) -> Case {
        let graph = describe::describe(text, "net", 3).expect("description");
        let network = Network::new(graph).expect("network");
        Case {
            train: Train::new(&network, ring(200, 1, shape)).expect("training samples"),
            val: Val::new(&network, ring(120, 2, shape)).expect("validation samples"),
            test: Test::new(&network, ring(120, 4, shape)).expect("test samples"),
            network,
        }
    }

    fn mlp() -> Case {
        Case::new(MLP, &[6])
    }

    fn job<'a>(&'a self, settings: &'a Settings, run: &'a Run) -> Job<'a> {
        Job {
            network: &self.network,
            settings,
            train: &self.train,
            val: &self.val,
            test: Some(&self.test),
            run,
        }
    }

    fn pruned(&self, settings: &Settings) -> Pruned {
        let done = prune(&self.job(settings, &Run::default()), &mut After(usize::MAX));
        done.expect("pruning").expect("not stopped")
    }
}

/// Stops after a number of mini-batches.
struct After(usize);

impl Watch for After {
    fn event(&mut self, event: &Event) -> Control {
        if matches!(event, Event::Step { .. }) {
            self.0 = self.0.saturating_sub(1);
        }
        match self.0 {
            0 => Control::Stop,
            _ => Control::Continue,
        }
    }
}

fn quick() -> Settings {
    Settings {
        epochs: [3, 2],
        floor: 0.1,
        budget: None,
        baselines: false,
        lr: 1e-2,
        ..Settings::default()
    }
}

/// Bits of every constant of a graph.
fn bits(graph: &crate::ir::Graph) -> Vec<u32> {
    let constants = graph.values.iter().filter_map(|v| v.constant.as_ref());
    constants
        .flat_map(|a| a.iter().map(|v| v.to_bits()))
        .collect()
}

#[test]
fn every_round_keeps_the_exact_number_of_units() {
    let case = Case::mlp();
    for (structure, units, size) in [
        (Structure::Element, [96usize, 144, 9], 1),
        // Rows of 6, 16 and 9 weights: the last block of a row is smaller.
        (Structure::Block, [32, 36, 3], 4),
    ] {
        let settings = Settings {
            structure,
            ..quick()
        };
        let report = case.pruned(&settings).report;
        let mut left = units;
        for round in &report.rows[0].rounds {
            let most: usize = left.iter().map(|n| n * size).sum();
            let count = round.nonzeros;
            match size {
                1 => assert_eq!(count, most, "{structure:?} {}", round.round),
                _ => assert!(count <= most && count > most / 2, "{count} of {most}"),
            }
            left = std::array::from_fn(|l| {
                let least = (0.1 * units[l] as f64).ceil() as usize;
                (left[l] - left[l] / 2).max(least.min(left[l]))
            });
        }
        let last = report.rows[0].rounds.last().expect("rounds");
        assert!(report.rows[0].rounds.len() == 5 && last.remaining < 0.15);
    }
}

#[test]
fn a_global_ranking_leaves_a_unit_in_every_layer() {
    let mask = Mask(vec![vec![true; 8], vec![true; 2]]);
    // The two of the second layer are worth least.
    let scores = vec![(1..9).map(f64::from).collect(), vec![0.1, 0.2]];
    assert_eq!(mask.targets(&scores, Scope::Global, 0.5, 0.01), [4, 1]);
    assert_eq!(mask.targets(&scores, Scope::Layer, 0.5, 0.01), [4, 1]);
    let kept = mask.keep(&scores, &[4, 1]);
    assert_eq!(kept.0[1], [false, true]);
    assert_eq!(kept.counts(), [4, 1]);
    assert_eq!(kept.targets(&scores, Scope::Global, 0.5, 0.45), [4, 1]);
    let text: Vec<String> = kept.clone().into();
    assert_eq!((text[1].as_str(), Mask::from(text.clone())), ("01", kept));
}

#[test]
fn what_is_gone_is_zero_in_every_bit_and_the_rest_starts_from_the_first_weights() {
    let case = Case::mlp();
    let critical = Critical::new(&case.network, &[1]).expect("class");
    for optimizer in [
        crate::train::Rule::ADAM,
        crate::train::Rule::SGD,
        crate::train::Rule::Sgd { momentum: 0.0 },
    ] {
        let settings = Settings {
            optimizer,
            ..quick()
        };
        let learner = Learner::new(
            &case.network,
            &critical,
            &settings,
            Place::Cpu,
            &case.train,
            &case.val,
        )
        .expect("learner");
        let first = case.network.initial();
        let scores = learner.units.scores(&first, &first, |_, b| b.abs());
        let mask = learner.units.all().keep(&scores, &[40, 50, 3]);
        let kept = learner.elements(&mask);
        let mut at = learner.begin(first.clone(), mask);
        let values = |p: &[burn::tensor::Tensor<1>]| -> Vec<Vec<f32>> {
            p.iter().map(|p| host(p.clone())).collect()
        };
        let same = |now: &[Vec<f32>]| {
            let (mut moved, mut gone) = (0, 0);
            for ((now, first), kept) in now.iter().zip(&first).zip(&kept) {
                for (i, v) in now.iter().enumerate() {
                    match kept.as_ref().is_none_or(|k| k[i]) {
                        true => moved += usize::from(v.to_bits() != first[i].to_bits()),
                        false => {
                            assert_eq!(v.to_bits(), 0);
                            gone += 1;
                        }
                    }
                }
            }
            assert_eq!(gone, 96 + 144 + 9 - 93);
            moved
        };
        assert_eq!(same(&values(&at.params)), 0);
        let loss = Loss::new(&[4, 1], &critical, 0.0, 5.0, 5.0);
        two_epochs(&learner, loss, &first, &mut at);
        // Not every unit of the hidden layers is read by one that remains.
        assert!(same(&values(&at.params)) > 20);
    }
}

/// Two epochs of `loss` from `first`.
fn two_epochs(learner: &Learner, loss: Loss, first: &[Vec<f32>], at: &mut Progress) {
    let lesson = Lesson {
        loss,
        epochs: 2,
        stream: 0,
        ramp: None,
        score: Score::Increase,
    };
    for _ in 0..2 {
        learner
            .epoch(&lesson, first, at, &mut After(usize::MAX))
            .expect("epoch");
    }
}

/// Training does not see validation samples: with others, every weight is the same.
#[test]
fn validation_samples_change_no_weight() {
    let case = Case::mlp();
    let critical = Critical::new(&case.network, &[1]).expect("class");
    let settings = quick();
    let other = Val::new(&case.network, ring(60, 9, &[6])).expect("samples");
    let trained = |train: &Train, val: &Val| {
        let network = &case.network;
        let learner = Learner::new(network, &critical, &settings, Place::Cpu, train, val);
        let learner = learner.expect("learner");
        let first = network.initial();
        let mut at = learner.begin(first.clone(), learner.units.all());
        two_epochs(&learner, Loss::plain(2), &first, &mut at);
        at.params
            .iter()
            .flat_map(|p| host(p.clone()))
            .map(f32::to_bits)
            .collect::<Vec<_>>()
    };
    let own = trained(&case.train, &case.val);
    assert!(own == trained(&case.train, &other));
    let more = Train::new(&case.network, ring(201, 1, &[6])).expect("samples");
    assert!(own != trained(&more, &case.val));
}

#[test]
fn pruning_stops_before_the_budget_is_exceeded() {
    let case = Case::mlp();
    let mut stopped = 0;
    for (extra, rate) in [(0, None), (2, None), (0, Some(0.2)), (3, Some(0.1))] {
        let settings = Settings {
            budget: Some(Budget { extra, rate }),
            epochs: [12, 6],
            floor: 0.02,
            ..quick()
        };
        let report = case.pruned(&settings).report;
        let row = &report.rows[0];
        let missed = |r: &RoundReport| r.val.missed(rate);
        let most = missed(&row.rounds[0]) + extra;
        for r in &row.rounds[..=row.chosen] {
            assert!(missed(r) <= most && r.within_budget == Some(true));
        }
        let next = row.rounds.get(row.chosen + 1);
        if let Some(next) = next {
            assert!(missed(next) > most && next.within_budget == Some(false));
            assert_eq!(row.rounds.len(), row.chosen + 2);
            stopped += 1;
        } else {
            assert!(row.chosen().remaining < 0.05, "the floor is reached");
        }
    }
    assert!(
        stopped > 0,
        "no budget was exceeded, the test shows nothing"
    );
}

#[test]
fn gradual_rounds_reach_the_same_sizes_without_going_back() {
    let case = Case::mlp();
    let settings = Settings {
        schedule: Schedule::Gradual,
        baselines: true,
        ..quick()
    };
    let done = case.pruned(&settings);
    let lottery = case.pruned(&quick()).report;
    let sizes =
        |r: &Report| -> Vec<usize> { r.rows[0].rounds.iter().map(|r| r.nonzeros).collect() };
    assert_eq!(sizes(&done.report), sizes(&lottery));
    let chosen = done.report.rows[0].chosen().nonzeros;
    for row in [Row::Plain, Row::Gradual] {
        let found = done.report.row(row).expect("row").chosen();
        assert_eq!(found.nonzeros, chosen, "{row:?}");
    }
    let small = done.report.row(Row::SmallDense).expect("row").chosen();
    assert!(small.weights <= chosen, "{} for {chosen}", small.weights);
    let nonzeros: usize = done
        .graph
        .nodes
        .iter()
        .filter(|n| matches!(n.op, crate::ir::Op::Dense))
        .filter_map(|n| done.graph.value(n.inputs[1]).constant.as_ref())
        .map(|w| w.iter().filter(|v| **v != 0.0).count())
        .sum();
    assert_eq!(nonzeros, chosen);
}

#[test]
fn channels_leave_the_graph() {
    let case = Case::new(CNN, &[1, 6, 1]);
    let settings = Settings {
        structure: Structure::Channel,
        floor: 0.3,
        ..quick()
    };
    let done = case.pruned(&settings);
    let before = stats(case.network.graph());
    let (graph, _) = passes::optimize(done.graph.clone());
    let after = stats(&graph);
    let last = done.report.rows[0].rounds.last().expect("rounds");
    assert_eq!(after.weights as usize, last.nonzeros);
    assert!(
        after.macs * 2 < before.macs && after.weights * 2 < before.weights,
        "{after:?} of {before:?}"
    );
    // A lone depthwise channel whose neighbours are gone goes with them: 4 of 8, 2 of 4, then the floor at 3.
    assert!(last.integers.is_some(), "{:?}", last.int_error);
}

#[test]
fn small_networks_hold_no_more_weights_than_asked() {
    let case = Case::mlp();
    for weights in [1000, 249, 100, 30] {
        let found = small(&case.network, weights, 1).expect("network");
        let size = stats(found.graph()).weights as usize;
        assert!(size <= weights, "{size} of {weights}");
    }
    let one = small(&case.network, 0, 1).expect("one channel per layer");
    assert_eq!(stats(one.graph()).weights, 6 + 1 + 1);
    let again = |seed| bits(small(&case.network, 100, seed).expect("network").graph());
    assert_eq!(again(1), again(1));
    assert_ne!(again(1), again(2));
}

#[test]
fn interrupted_prunings_end_with_the_same_bytes() {
    let case = Case::mlp();
    for schedule in [Schedule::Lottery, Schedule::Gradual] {
        let settings = Settings {
            schedule,
            baselines: true,
            floor: 0.4,
            ..quick()
        };
        let whole = case.pruned(&settings);
        let folder = tempfile::tempdir().expect("folder");
        let mut run = Run {
            checkpoint: Some(folder.path().into()),
            ..Run::default()
        };
        let mut stops = 0;
        let done = loop {
            // Seven mini-batches are an epoch; each attempt gets one epoch and a part of the next.
            let found = prune(&case.job(&settings, &run), &mut After(10)).expect("pruning");
            run.resume = true;
            match found {
                Some(done) => break done,
                None => stops += 1,
            }
        };
        assert!(stops > 10, "{stops}");
        assert!(done.report == whole.report, "{schedule:?}");
        assert!(bits(&done.graph) == bits(&whole.graph), "{schedule:?}");

        let refused = |settings: &Settings, case: &Case| -> Error {
            prune(&case.job(settings, &run), &mut After(1)).expect_err("refused")
        };
        let other = Settings {
            seed: 1,
            ..settings.clone()
        };
        assert!(
            refused(&other, &case)
                .to_string()
                .contains("other settings")
        );
        let mut moved = Case::mlp();
        moved.test = Test::new(&case.network, ring(120, 5, &[6])).expect("samples");
        assert!(
            refused(&settings, &moved)
                .to_string()
                .contains("other data")
        );
    }
}

#[test]
fn one_thread_or_several_give_the_same_bytes() {
    let case = Case::mlp();
    let settings = Settings {
        floor: 0.4,
        ..quick()
    };
    let [one, three] = [1, 3].map(|n| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(n).build();
        pool.expect("threads").install(|| case.pruned(&settings))
    });
    assert!(one.report == three.report && bits(&one.graph) == bits(&three.graph));
}

#[test]
fn choices_out_of_bounds_are_named() {
    let text = |change: fn(&mut Settings)| {
        let mut s = Settings::default();
        change(&mut s);
        s.check().expect_err("out of bounds").to_string()
    };
    Settings::default().check().expect("defaults hold");
    assert!(text(|s| s.floor = 0.0).starts_with("floor"));
    assert!(text(|s| s.share = 1.0).starts_with("share"));
    assert!(text(|s| s.loss.gamma[1] = f64::NAN).starts_with("gamma"));
    assert!(text(|s| s.loss.ranking = -1.0).starts_with("weight of the ranking"));
    assert!(text(|s| s.loss.balance = 1.0).starts_with("balance"));
    assert!(text(|s| s.rewind = 15).starts_with("epoch to rewind to"));
    assert!(text(|s| s.epochs[1] = 0).starts_with("epochs"));
    assert!(text(|s| s.batch = 0).starts_with("batch"));
}
