//! The operators of `runtime/tests/backends` on every emulated core with the kernels that it has: any shape, width and
//! coding of the weights, any scratch and alignment give the bytes of the definition.
//!
//! All cases of a core are one artifact, so that the emulator starts once; a case that fails is run and shrunk on its
//! own. 512 cases per core; `PROPTEST_CASES=100000 cargo test -p elastiq-tests --test backends_qemu` runs more, and
//! `ELASTIQ_CORES=m4,rv32` fewer cores.

use elastiq::format::OpKind;
use elastiq::{Backend, Engine, OpSet};
use elastiq_cli::failure::Outcome;
use elastiq_cli::qemu::{self, Core, RunOptions};
use elastiq_tests::artifact;
use elastiq_tests::common::Builder;
use elastiq_tests::common::cases::{Case, Home, cases};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Emulators that run at the same time.
const AT_ONCE: usize = 2;
/// Most operators in an artifact.
const BATCH: usize = 512;
/// Most steps towards a smaller case that fails.
const SHRINKING: usize = 200;

/// One operator of each kind in turn; those with most kernels twice.
const KINDS: [OpKind; 10] = [
    OpKind::Conv,
    OpKind::Depthwise,
    OpKind::Dense,
    OpKind::Add,
    OpKind::MaxPool,
    OpKind::Conv,
    OpKind::Depthwise,
    OpKind::Dense,
    OpKind::AvgPool,
    OpKind::Mul,
];

type Tree = Box<dyn ValueTree<Value = Case>>;

/// An artifact of one operator per case, and the output of each. They share the arena, nothing else.
fn artifact_of<'c>(cases: impl Iterator<Item = &'c Case>) -> (Vec<u8>, Vec<Vec<i8>>) {
    let mut b = Builder::default();
    let x = b.tensor([1, 1, 1, 1], 0);
    let (start, mut end) = (b.arena, b.arena);
    let mut last = x;
    let mut wants = vec![];
    for case in cases {
        b.arena = start;
        let appended = case.append(&mut b, Home::Constants);
        end = end.max(b.arena);
        last = appended.y;
        wants.push(appended.want);
    }
    b.arena = end;
    b.input(x, "x");
    b.output(last, "y", "");
    (b.build(), wants)
}

/// Output of every operator as the core gives it.
fn outputs(core: &Core, model: &[u8], timeout: u64) -> Outcome<Vec<Vec<u8>>> {
    let options = RunOptions {
        count: false,
        ops: false,
        tensors: true,
        timeout: Duration::from_secs(timeout),
        ..RunOptions::default()
    };
    let report = qemu::run(core, model, &[vec![0]], &options, &mut |_| {})?;
    let tensors = report.first_tensors.into_iter();
    Ok(tensors.map(|(_, bytes)| bytes).collect())
}

/// Output of every operator on this machine.
fn outputs_here(model: &[u8]) -> Vec<Vec<u8>> {
    let engine = Engine::<{ OpSet::ALL }>::new(model).unwrap_or_else(|e| panic!("{e}"));
    let engine = engine.with_backend(Backend::Portable);
    let mut arena = vec![0; engine.model().arena_len()];
    let mut session = engine.start(&mut arena).expect("the arena is large enough");
    let mut outputs = vec![];
    while let Some(op) = session.step().expect("a checked model runs") {
        let y = engine
            .model()
            .operator(op.into())
            .expect("an executed operator")
            .out
            .get();
        outputs.push(session.tensor(y).expect("a checked model").to_vec());
    }
    outputs
}

/// Operators with other bytes.
fn differing(got: &[Vec<u8>], want: &[Vec<i8>]) -> Vec<usize> {
    let same = |i: usize| {
        got.get(i).is_some_and(|got| {
            got.iter()
                .map(|byte| *byte as i8)
                .eq(want[i].iter().copied())
        })
    };
    (0..want.len()).filter(|i| !same(*i)).collect()
}

/// What is wrong with a case on its own.
fn failure(core: &Core, case: &Case) -> Option<String> {
    let (model, want) = artifact_of([case].into_iter());
    match outputs(core, &model, 20) {
        Ok(got) if differing(&got, &want).is_empty() => None,
        Ok(got) => {
            let got: Vec<i8> = got.iter().flatten().map(|byte| *byte as i8).collect();
            let want = &want[0];
            let at = (0..want.len()).find(|i| got.get(*i) != want.get(*i));
            let count = (0..want.len())
                .filter(|i| got.get(*i) != want.get(*i))
                .count();
            Some(format!(
                "{count} of {} bytes differ from byte {} on\n  got  {got:?}\n  want {want:?}",
                want.len(),
                at.unwrap_or(want.len()),
            ))
        }
        Err(failure) => Some(format!("{failure:?}")),
    }
}

/// The simplest failing case on the way from `tree`, in words.
fn shrink(core: &Core, mut tree: Tree) -> Option<String> {
    let mut found = (tree.current(), failure(core, &tree.current())?);
    let mut more = tree.simplify();
    for _ in 0..SHRINKING {
        if !more {
            break;
        }
        let case = tree.current();
        more = match failure(core, &case) {
            Some(why) => {
                found = (case, why);
                tree.simplify()
            }
            None => tree.complicate(),
        };
    }
    Some(format!("{:#?}\n{}", found.0, found.1))
}

/// Run `trees` on `core`; what is wrong, if anything.
fn check(core: &Core, trees: Vec<Tree>) -> Result<(), String> {
    let cases: Vec<Case> = trees.iter().map(|tree| tree.current()).collect();
    let (model, want) = artifact_of(cases.iter());
    qemu::build_runner(core, &mut |_| {}).map_err(|failure| format!("{failure:?}"))?;
    let (summary, suspects) = match outputs(core, &model, 120) {
        Ok(got) => {
            let found = differing(&got, &want);
            if found.is_empty() {
                return Ok(());
            }
            let kinds: Vec<OpKind> = found.iter().map(|i| cases[*i].kind()).collect();
            (
                format!("{} operators differ: {kinds:?}", found.len()),
                found,
            )
        }
        Err(failure) => (format!("{failure:?}"), (0..cases.len()).collect()),
    };
    let mut trees: Vec<Option<Tree>> = trees.into_iter().map(Some).collect();
    let mut alone = suspects
        .iter()
        .filter_map(|i| shrink(core, trees[*i].take()?));
    let first = alone.next();
    let first = first.unwrap_or_else(|| "none of them when it runs alone".into());
    Err(format!("{}: {summary}\n{first}", core.name))
}

/// Cases for `core`, the same every time.
fn trees(core: &Core, runner: &mut TestRunner, n: usize) -> Vec<Tree> {
    let backend = qemu::backend(&core.name).unwrap_or_else(|e| panic!("{e:?}"));
    let tree = |kind: &OpKind| -> Tree {
        let tree = cases(*kind, &[backend]).new_tree(runner);
        Box::new(tree.expect("nothing is rejected"))
    };
    KINDS.iter().cycle().take(n).map(tree).collect()
}

fn count() -> usize {
    let given = std::env::var("PROPTEST_CASES").ok();
    given.and_then(|n| n.parse().ok()).unwrap_or(BATCH)
}

#[test]
fn every_kernel_of_every_core_gives_the_bytes_of_the_definition() {
    let cores = qemu::cores().unwrap_or_else(|e| panic!("{e:?}"));
    let only = std::env::var("ELASTIQ_CORES").ok();
    let wanted = |core: &Core| {
        only.as_ref()
            .is_none_or(|names| names.split(',').any(|n| n == core.name))
    };
    let cores: Vec<Core> = cores.into_iter().filter(wanted).collect();
    let next = AtomicUsize::new(0);
    let problems = Mutex::new(vec![]);
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(core) = cores.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let mut runner = TestRunner::deterministic();
                    let (mut left, mut result) = (count(), Ok(()));
                    while left > 0 && result.is_ok() {
                        let n = left.min(BATCH);
                        left -= n;
                        result = check(core, trees(core, &mut runner, n));
                    }
                    match result {
                        Ok(()) => println!("{:<10}{:>7} operators, every byte", core.name, count()),
                        Err(problem) => problems.lock().unwrap().push(problem),
                    }
                }
            });
        }
    });
    let problems = problems.into_inner().unwrap();
    assert!(problems.is_empty(), "{}", problems.join("\n\n"));
}

/// The comparison sees turned bits of weights, and in no other operator than those that have them.
#[test]
fn changed_weights_on_the_core_are_reported() {
    let core = qemu::core("m4").unwrap_or_else(|e| panic!("{e:?}"));
    let trees = trees(&core, &mut TestRunner::deterministic(), 40);
    let cases: Vec<Case> = trees.iter().map(|tree| tree.current()).collect();
    let (mut model, want) = artifact_of(cases.iter());
    for i in 0..16 {
        model = artifact::flip_weight(&model, i * 1009).expect("there are weights");
    }
    let here = differing(&outputs_here(&model), &want);
    let there = outputs(&core, &model, 60).unwrap_or_else(|e| panic!("{e:?}"));
    assert!(!here.is_empty() && here.len() < want.len());
    assert_eq!(differing(&there, &want), here);
}
