//! Every kernel of every backend that this machine has: the bytes of the definition, whatever the shape, the width
//! and coding of the weights, the scratch lent and the alignment of everything; and not one byte changed elsewhere.
//!
//! 2,000 cases per operator; `PROPTEST_CASES=100000 cargo test -p elastiq --test backends` runs more.

#[path = "../common/mod.rs"]
mod common;

use common::Builder;
use common::cases::{Appended, Case, Home, cases};
use elastiq::format::{OpKind, TensorRow};
use elastiq::{Backend, Engine, Model, OpSet};
use proptest::prelude::*;
use zerocopy::IntoBytes;

/// Bytes at a chosen distance from a multiple of 16, other bytes around them.
struct Buffer {
    bytes: Vec<u8>,
    start: usize,
    len: usize,
}

impl Buffer {
    fn new(len: usize, odd: usize, content: u8) -> Buffer {
        let bytes = vec![content; len + 48];
        let start = bytes.as_ptr().align_offset(16) + odd;
        Buffer { bytes, start, len }
    }

    /// Nothing behind them, so that an address sanitizer sees every access beyond their end. On the allocators of
    /// 64-bit hosts, an allocation begins at a multiple of 16.
    fn tight(len: usize, odd: usize, content: u8) -> Buffer {
        let bytes = vec![content; odd + len];
        Buffer {
            bytes,
            start: odd,
            len,
        }
    }

    fn get(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..][..self.len]
    }
}

/// Run on `backend` in `arena`.
fn run(
    model: &[u8],
    case: &Appended,
    backend: Backend,
    mut arena: Buffer,
) -> Result<(), TestCaseError> {
    let engine = Engine::<{ OpSet::ALL }>::new(model);
    let engine = engine
        .unwrap_or_else(|e| panic!("{e}"))
        .with_backend(backend);
    let rows = engine.model().tensors();
    let range = |row: &TensorRow| {
        let off = row.off.get() as usize;
        off..off + row.byte_len().unwrap()
    };
    for (x, data) in &case.inputs {
        arena.get()[range(&rows[usize::from(*x)])].copy_from_slice(data.as_bytes());
    }
    let mut expected = arena.bytes.clone();
    let mut session = engine.start(arena.get()).unwrap();
    session.finish().unwrap();

    let y = range(&rows[usize::from(case.y)]);
    let got: Vec<i8> = arena.get()[y.clone()]
        .iter()
        .map(|byte| *byte as i8)
        .collect();
    let place = format!("{} with an arena at {:p}", backend.name(), arena.get());
    prop_assert_eq!(&got, &case.want, "{}", place);

    let (from, to) = case.scratch.bounds().unwrap();
    for own in [y, from..to] {
        let own = arena.start + own.start..arena.start + own.end;
        expected[own.clone()].copy_from_slice(&arena.bytes[own]);
    }
    let changed = (0..expected.len()).find(|i| expected[*i] != arena.bytes[*i]);
    let changed = changed.map(|i| i as isize - arena.start as isize);
    prop_assert_eq!(changed, None, "{} changed this byte of it", place);
    Ok(())
}

/// All backends, artifact and arena at the given distances from a multiple of 16.
fn check(case: &Case, odd: [usize; 2]) -> Result<(), TestCaseError> {
    let mut b = Builder::default();
    let appended = case.append(&mut b, Home::Arena);
    let model = appended.build(b);
    let arena_len = Model::parse(&model)
        .unwrap_or_else(|e| panic!("{e}"))
        .arena_len();
    let mut artifact = Buffer::tight(model.len(), odd[0], 0x77);
    artifact.get().copy_from_slice(&model);
    for backend in Backend::available() {
        let arena = Buffer::new(arena_len, odd[1], 0x5A);
        run(artifact.get(), &appended, backend, arena)?;
        if backend != Backend::Portable {
            let arena = Buffer::tight(arena_len, 0, 0xFF);
            run(artifact.get(), &appended, backend, arena)?;
        }
    }
    Ok(())
}

fn kind(kind: OpKind) -> impl Strategy<Value = (Case, [usize; 2])> {
    let mut backends: Vec<Backend> = Backend::available().skip(1).collect();
    if backends.is_empty() {
        backends.extend(Backend::ALL);
    }
    let odd = || prop_oneof![2 => Just(0usize), 1 => 1..=15usize];
    (
        cases(kind, &backends),
        (odd(), odd()).prop_map(|(a, b)| [a, b]),
    )
}

fn config() -> ProptestConfig {
    match std::env::var_os("PROPTEST_CASES") {
        Some(_) => ProptestConfig::default(),
        None => ProptestConfig::with_cases(2000),
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn conv((case, odd) in kind(OpKind::Conv)) {
        check(&case, odd)?;
    }

    #[test]
    fn depthwise((case, odd) in kind(OpKind::Depthwise)) {
        check(&case, odd)?;
    }

    #[test]
    fn dense((case, odd) in kind(OpKind::Dense)) {
        check(&case, odd)?;
    }

    #[test]
    fn max_pool((case, odd) in kind(OpKind::MaxPool)) {
        check(&case, odd)?;
    }

    #[test]
    fn avg_pool((case, odd) in kind(OpKind::AvgPool)) {
        check(&case, odd)?;
    }

    #[test]
    fn add((case, odd) in kind(OpKind::Add)) {
        check(&case, odd)?;
    }

    #[test]
    fn mul((case, odd) in kind(OpKind::Mul)) {
        check(&case, odd)?;
    }
}
