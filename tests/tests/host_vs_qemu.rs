//! Every network on every emulated core: each byte that an operator writes is the one of the host.
//!
//! One start of the emulator per network and core, two at a time. The host side is the library itself, run
//! operator by operator; the core reports the checksum of every operator's output for every input, and the
//! bytes for the first one.

use elastiq::format::crc::crc32c;
use elastiq::{Engine, OpSet};
use elastiq_cli::qemu::{self, Core, RunOptions, RunReport};
use elastiq_tests::networks::{self, Network};
use elastiq_tests::{artifact, pipeline};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const CORES: [&str; 8] = ["m0", "m3", "m4", "m7", "m33", "m55", "rv32", "rvv"];

/// Emulators that run at the same time.
const AT_ONCE: usize = 2;

/// A compiled network, its inputs as codes, and what the host makes of them.
struct Subject {
    name: String,
    model: Vec<u8>,
    inputs: Vec<Vec<u8>>,
    expected: Vec<Expected>,
}

/// Results of the host for one input.
struct Expected {
    /// Output bytes of every op; `None` where a later op writes the rest of that tensor (concatenation).
    tensors: Vec<Option<Vec<u8>>>,
    output: Vec<u8>,
}

/// What differed between host and core.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Difference {
    /// Bytes in outputs of all inputs and in all tensors of the first one.
    bytes: usize,
    /// Checksums of operator outputs.
    checksums: usize,
}

fn subject(network: &Network) -> Subject {
    let compiled =
        pipeline::compile(&network.file, &network.calib).unwrap_or_else(|e| panic!("{e}"));
    let engine = Engine::<{ OpSet::ALL }>::new(&compiled.bytes)
        .unwrap_or_else(|e| panic!("{}: {e}", network.name));
    let ops = engine.model().ops();
    let complete = |op: u16| {
        let (at, out) = (usize::from(op), ops[usize::from(op)].out);
        ops[at + 1..].iter().all(|later| later.out != out)
    };
    let mut inputs = Vec::new();
    let mut expected = Vec::new();
    for i in 0..network.inputs.len() {
        let codes = pipeline::quantize(engine.model(), &network.inputs.ir_item(&compiled.graph, i));
        let mut tensors = Vec::new();
        let outputs = pipeline::run(&engine, &codes, &mut |op, bytes| {
            tensors.push(complete(op).then(|| bytes.to_vec()))
        });
        let output = outputs
            .unwrap_or_else(|e| panic!("{}: {e}", network.name))
            .concat();
        inputs.push(codes.concat());
        expected.push(Expected { tensors, output });
    }
    Subject {
        name: network.name.clone(),
        model: compiled.bytes,
        inputs,
        expected,
    }
}

fn on_core(core: &Core, model: &[u8], inputs: &[Vec<u8>]) -> RunReport {
    let options = RunOptions {
        count: true,
        whole: true,
        ops: true,
        tensors: true,
        variant: 0,
        timeout: Duration::from_secs(300),
    };
    qemu::run(core, model, inputs, &options, &mut |_| {})
        .unwrap_or_else(|e| panic!("{}: {e:?}", core.name))
}

/// Compare everything that came back. A missing result differs in all its bytes.
fn difference(expected: &[Expected], report: &RunReport) -> Difference {
    let mut found = Difference::default();
    for (i, want) in expected.iter().enumerate() {
        let got = report.inputs.get(i);
        let output = got
            .and_then(|r| r.output.as_deref().ok())
            .unwrap_or_default();
        found.bytes += differing(&want.output, output);
        for (op, tensor) in want.tensors.iter().enumerate() {
            let Some(tensor) = tensor else { continue };
            let seen = got.and_then(|r| r.ops.get(op));
            found.checksums += usize::from(
                seen.is_none_or(|s| usize::from(s.op) != op || s.crc != crc32c(tensor)),
            );
            if i == 0 {
                let bytes = report
                    .first_tensors
                    .get(op)
                    .map(|(_, bytes)| bytes.as_slice());
                found.bytes += differing(tensor, bytes.unwrap_or_default());
            }
        }
    }
    found
}

fn differing(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).filter(|(a, b)| a != b).count() + a.len().abs_diff(b.len())
}

/// Run all subjects on all cores, print the table and give the sum of the differences.
fn compare_all(subjects: &[Subject]) -> Difference {
    let cores: Vec<Core> = CORES
        .iter()
        .map(|c| qemu::core(c).unwrap_or_else(|e| panic!("{e:?}")))
        .collect();
    let jobs: Vec<(&Subject, &Core)> = subjects
        .iter()
        .flat_map(|s| cores.iter().map(move |c| (s, c)))
        .collect();
    let next = AtomicUsize::new(0);
    let cells = Mutex::new(vec![(Difference::default(), None); jobs.len()]);
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let i = next.fetch_add(1, Ordering::Relaxed);
                    let Some((subject, core)) = jobs.get(i) else {
                        break;
                    };
                    let report = on_core(core, &subject.model, &subject.inputs);
                    let cell = (difference(&subject.expected, &report), report.instructions);
                    cells.lock().unwrap_or_else(|e| e.into_inner())[i] = cell;
                }
            });
        }
    });
    let cells = cells.into_inner().unwrap_or_else(|e| e.into_inner());
    print!(
        "{:<28}{:>7}{:>8}{:>10}",
        "differing bytes, checksums", "inputs", "ops", "bytes"
    );
    CORES.iter().for_each(|core| print!("{core:>8}"));
    println!("   million instructions");
    let mut sum = Difference::default();
    for (subject, row) in subjects.iter().zip(cells.chunks(CORES.len())) {
        let ops = subject.expected.first().map_or(0, |e| e.tensors.len());
        let per_input: usize = subject
            .expected
            .iter()
            .flat_map(|e| &e.tensors)
            .flatten()
            .map(Vec::len)
            .sum();
        print!(
            "{:<28}{:>7}{ops:>8}{per_input:>10}",
            subject.name,
            subject.inputs.len()
        );
        for (cell, _) in row {
            sum.bytes += cell.bytes;
            sum.checksums += cell.checksums;
            print!("{:>8}", format!("{}, {}", cell.bytes, cell.checksums));
        }
        let counts = row
            .iter()
            .map(|(_, n)| n.map_or("-".into(), |n| format!("{:.3}", n as f64 / 1e6)));
        println!("   {}", counts.collect::<Vec<String>>().join(" "));
    }
    sum
}

#[test]
fn example_networks_give_the_same_bytes_on_every_core() {
    let subjects: Vec<Subject> = networks::examples(100).iter().map(subject).collect();
    assert!(subjects.len() >= 6, "{} networks", subjects.len());
    assert_eq!(compare_all(&subjects), Difference::default());
}

#[test]
fn mlperf_networks_give_the_same_bytes_on_every_core() {
    let Some(networks) = networks::mlperf(20) else {
        println!("not run: {} is not set", networks::MLPERF);
        return;
    };
    let subjects: Vec<Subject> = networks.iter().map(subject).collect();
    assert_eq!(compare_all(&subjects), Difference::default());
}

/// The comparison sees a single turned bit in the core's copy of the weights.
#[test]
fn a_changed_weight_on_the_core_is_reported() {
    let network = networks::examples(3)
        .into_iter()
        .find(|n| n.name == "digits_cnn");
    let subject = subject(&network.expect("digits_cnn is an example"));
    let core = qemu::core("m4").unwrap_or_else(|e| panic!("{e:?}"));
    let same = on_core(&core, &subject.model, &subject.inputs);
    assert_eq!(difference(&subject.expected, &same), Difference::default());
    let changed = artifact::flip_weight(&subject.model, 0).expect("the network has weights");
    let found = difference(
        &subject.expected,
        &on_core(&core, &changed, &subject.inputs),
    );
    assert!(found.bytes > 0 && found.checksums > 0, "{found:?}");
}
