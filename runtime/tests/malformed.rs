//! Damaged artifacts: refused, or run to the end. Never a panic, never out of bounds, never without end, and the same
//! bytes from every backend.

mod common;

use common::{networks, rng::Rng, seal};
use elastiq::format::*;
use elastiq::{Backend, Engine, LoadErrorKind, Model, OpSet};
use std::path::Path;
use zerocopy::IntoBytes;

/// Largest arena lent to a damaged artifact, and most cells that its kernels may visit.
const ARENA_LIMIT: usize = 1 << 20;
const WORK_LIMIT: u64 = 1 << 24;

/// What became of the artifacts that were tried.
#[derive(Default, Debug)]
struct Tally {
    tried: usize,
    refused: usize,
    ran: usize,
    /// Accepted, but too large or too slow to run here.
    skipped: usize,
}

impl Tally {
    fn try_one(&mut self, bytes: &[u8]) {
        self.tried += 1;
        let engine = match Engine::<{ OpSet::ALL }>::new(bytes) {
            Ok(engine) => engine,
            Err(error) => {
                assert!(error.offset as usize <= bytes.len().max(64), "{error}");
                self.refused += 1;
                return;
            }
        };
        let model = engine.model();
        if model.arena_len() > ARENA_LIMIT || work(model) > WORK_LIMIT {
            self.skipped += 1;
            return;
        }
        let mut engine = engine;
        for variant in 0..engine.variants() {
            engine.select(variant).unwrap();
            let portable = run(engine.with_backend(Backend::Portable), bytes.len());
            for backend in Backend::available().skip(1) {
                let got = run(engine.with_backend(backend), bytes.len());
                assert_eq!(got, portable, "{}", backend.name());
            }
            let model = engine.model();
            for (input, output) in model.self_test_cases().take(2) {
                assert_eq!(input.len(), model.inputs().map(|io| io.len).sum::<usize>());
                assert_eq!(
                    output.len(),
                    model.outputs().map(|io| io.len).sum::<usize>()
                );
            }
        }
        self.ran += 1;
    }
}

/// All output bytes for inputs made from `seed`.
fn run(engine: Engine<'_, { OpSet::ALL }>, seed: usize) -> Vec<u8> {
    let model = engine.model();
    let mut rng = Rng(seed as u64);
    let mut arena = vec![0; model.arena_len()];
    let mut session = engine.start(&mut arena).unwrap();
    for i in 0..model.inputs().count() {
        session.input_mut(i).unwrap().fill_with(|| rng.word() as u8);
    }
    while let Some(op) = session.step().unwrap() {
        let out = model.steps().nth(usize::from(op)).unwrap().out.get();
        assert!(session.tensor(out).is_some());
    }
    let mut bytes = vec![];
    for (i, io) in model.outputs().enumerate() {
        let output = session.output(i).unwrap();
        assert_eq!(output.len(), io.len);
        bytes.extend(output);
    }
    bytes
}

/// Upper bound of the cells that the kernels visit.
fn work(model: &Model<'_>) -> u64 {
    let dims = |t: u16| model.tensors()[usize::from(t)].shape().unwrap();
    let size = |t: u16| dims(t).iter().product::<usize>() as u64;
    let cost = |op: &OpRow| {
        let taps = match OpKind::from_u8(op.kind).unwrap() {
            // Up to four codes in a byte.
            OpKind::Conv | OpKind::Dense => u64::from(op.weights.len.get()) * 4,
            OpKind::Depthwise | OpKind::MaxPool | OpKind::AvgPool => {
                u64::from(op.p[0].get()) * u64::from(op.p[1].get())
            }
            _ => 1,
        };
        taps.saturating_mul(size(op.out.get()))
            .saturating_add(size(op.in0.get()))
    };
    model.ops().iter().map(cost).fold(0, u64::saturating_add)
}

fn artifacts() -> [Vec<u8>; 3] {
    [
        networks::classifier(),
        networks::pipeline(),
        networks::elastic(),
    ]
}

/// What `firmware.rs` embeds. Write it anew with `ELASTIQ_OVERWRITE=1`.
#[test]
fn stored_artifacts_are_what_the_builder_writes() {
    for (name, bytes) in [
        ("classifier", networks::classifier()),
        ("pipeline", networks::pipeline()),
        ("elastic", networks::elastic()),
    ] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/data")
            .join(name);
        let path = path.with_extension("eqm");
        if std::env::var_os("ELASTIQ_OVERWRITE").is_some() {
            std::fs::write(&path, &bytes).unwrap();
        }
        let same = std::fs::read(&path).unwrap() == bytes;
        assert!(same, "{} is another artifact", path.display());
    }
}

#[test]
fn the_undamaged_artifacts_pass_their_self_tests_and_use_every_operator() {
    let mut set = 0;
    for bytes in artifacts() {
        let model = Model::parse(&bytes).unwrap();
        set |= model.header().op_set.get();
        let cases = (0..model.variants()).flat_map(|v| {
            let model = model.with_variant(v).unwrap();
            assert_eq!(model.self_test_cases().count(), 2);
            model.self_test_cases().map(move |case| (v, case))
        });
        for (variant, (input, output)) in cases {
            let mut rest = input;
            let inputs: Vec<Vec<i8>> = model
                .inputs()
                .map(|io| {
                    let (part, tail) = rest.split_at(io.len);
                    rest = tail;
                    part.iter().map(|byte| *byte as i8).collect()
                })
                .collect();
            let inputs: Vec<&[i8]> = inputs.iter().map(Vec::as_slice).collect();
            assert_eq!(common::run_variant(&bytes, variant, &inputs), output);
        }
    }
    assert_eq!(set, OpSet::ALL & !OpSet::PARTS);
}

#[test]
fn every_truncation_is_refused() {
    for bytes in artifacts() {
        for len in 0..bytes.len() {
            assert!(Model::parse(&bytes[..len]).is_err(), "{len} bytes");
            let mut short = bytes[..len].to_vec();
            seal(&mut short);
            assert!(Model::parse(&short).is_err(), "{len} bytes, sealed");
        }
        let mut long = bytes.clone();
        long.push(0);
        assert_eq!(Model::parse(&long).unwrap_err().kind, LoadErrorKind::Length);
    }
}

/// Cut short, and the header agrees.
#[test]
fn every_truncation_with_a_header_to_match_is_survived() {
    let mut tally = Tally::default();
    for bytes in artifacts() {
        for len in 64..bytes.len() {
            let mut short = bytes[..len].to_vec();
            short[8..12].copy_from_slice(&(len as u32).to_le_bytes());
            seal(&mut short);
            tally.try_one(&short);
        }
    }
    println!("truncations: {tally:?}");
    assert_eq!(tally.tried, tally.refused);
}

#[test]
fn every_flipped_bit_is_noticed() {
    for bytes in artifacts() {
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(Model::parse(&damaged).is_err(), "bit {bit}");
        }
    }
}

#[test]
fn every_flipped_bit_under_right_checksums_is_survived() {
    let mut tally = Tally::default();
    for bytes in artifacts() {
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            seal(&mut damaged);
            tally.try_one(&damaged);
        }
    }
    println!("bit flips: {tally:?}");
    assert!(tally.ran > 0 && tally.refused > 0);
}

/// Field widths of a row, in order.
fn fields(kind: u16) -> Vec<usize> {
    match kind {
        1 => [vec![4; 6], vec![2; 3], vec![1; 6]].concat(),
        2 => [
            vec![1; 4],
            vec![2; 3],
            vec![1; 2],
            vec![2; 2],
            vec![4; 8],
            vec![2; 16],
        ]
        .concat(),
        3 => vec![4; 2],
        6 => [vec![2, 1, 1], vec![4; 4]].concat(),
        10 => vec![2],
        _ => vec![4],
    }
}

#[test]
fn every_field_at_its_extremes_is_survived() {
    let mut tally = Tally::default();
    for bytes in artifacts() {
        let model = Model::parse(&bytes).unwrap();
        let header = [vec![4], vec![1; 4], vec![4; 8], vec![2; 3], vec![1; 18]].concat();
        let mut places = Vec::new();
        let mut walk = |mut at: usize, end: usize, widths: &[usize]| {
            while at < end {
                for width in widths {
                    places.push((at, *width));
                    at += width;
                }
            }
        };
        walk(0, 64, &header);
        let sections = usize::from(model.header().sections);
        walk(64, 64 + 12 * sections, &[2, 2, 4, 4]);
        for i in 0..sections {
            let row = &bytes[64 + 12 * i..][..12];
            let word = |at: usize| u32::from_le_bytes(row[at..at + 4].try_into().unwrap()) as usize;
            let kind = u16::from_le_bytes([row[0], row[1]]);
            walk(word(4), word(4) + word(8) / 4 * 4, &fields(kind));
        }
        let lengths = [
            bytes.len(),
            model.arena_len(),
            model.tensors().len(),
            model.ops().len(),
            model.weights().len(),
        ];
        for (at, width) in places {
            let around = lengths
                .iter()
                .flat_map(|len| [len - 1, *len, len + 1])
                .map(|v| v as u32);
            for value in around.chain([
                0,
                1,
                0x7F,
                0x80,
                0x7FFF,
                0x8000,
                1 << 31,
                i32::MAX as u32,
                u32::MAX,
            ]) {
                let mut damaged = bytes.clone();
                damaged[at..at + width].copy_from_slice(&value.as_bytes()[..width]);
                seal(&mut damaged);
                tally.try_one(&damaged);
            }
        }
    }
    println!("fields: {tally:?}");
    assert!(tally.ran > 0 && tally.refused > 0);
}

/// Several bytes at once: what single faults cannot reach.
#[test]
fn random_damage_under_right_checksums_is_survived() {
    let mut tally = Tally::default();
    for (i, bytes) in artifacts().iter().enumerate() {
        let mut rng = Rng(i as u64);
        for _ in 0..40_000 {
            let mut damaged = bytes.clone();
            for _ in 0..=rng.below(4) {
                let at = rng.below(damaged.len());
                damaged[at] = rng.word() as u8 >> rng.below(8);
            }
            seal(&mut damaged);
            tally.try_one(&damaged);
        }
    }
    println!("random: {tally:?}");
    assert!(tally.ran > 0 && tally.refused > 0);
}
