//! The body of the fuzz target, shared with the tests that replay its findings.

use elastiq::format::{OpKind, OpRow};
use elastiq::{Backend, Engine, Model, OpSet};

/// Largest arena lent to a fuzzed model.
const ARENA_LIMIT: usize = 1 << 20;
/// Largest number of inner-loop steps of a fuzzed model: keeps one execution in the milliseconds.
const WORK_LIMIT: u64 = 1 << 20;

/// Parse `data`; where it is a model of bounded size, run it on an input made from `data`.
///
/// Returns whether a run took place. The result bytes do not matter here, only that no step traps and that
/// a second run and another backend give the same bytes.
pub fn parse_run(data: &[u8]) -> bool {
    let Ok(model) = Model::parse(data) else {
        return false;
    };
    if model.arena_len() > ARENA_LIMIT || work(&model) > WORK_LIMIT {
        return false;
    }
    let Ok(engine) = Engine::<{ OpSet::ALL }>::new(data) else {
        return false;
    };
    let mut engine = engine;
    for variant in 0..engine.variants() {
        engine.select(variant).expect("a variant that is there");
        let first = run(&engine, data);
        assert_eq!(first, run(&engine, data), "two runs differ");
        // What Copy does not write holds whatever was there, scratch of other kernels for one.
        let copies = |op: &OpRow| op.kind == OpKind::Copy as u8;
        if !model.ops().iter().any(copies) {
            let portable = engine.with_backend(Backend::Portable);
            assert_eq!(first, run(&portable, data), "two backends differ");
        }
    }
    true
}

/// Run step by step with every input filled from `data`; all output bytes.
fn run(engine: &Engine<'_, { OpSet::ALL }>, data: &[u8]) -> Vec<u8> {
    let mut arena = vec![0u8; engine.model().arena_len()];
    let mut session = engine
        .start(&mut arena)
        .expect("the arena has the size that was asked for");
    let mut fill = data.iter().rev().cycle();
    for i in 0.. {
        let Some(input) = session.input_mut(i) else {
            break;
        };
        for (b, v) in input.iter_mut().zip(&mut fill) {
            *b = *v;
        }
    }
    while session.step().expect("a checked model runs").is_some() {}
    (0..)
        .map_while(|i| session.output(i))
        .flatten()
        .copied()
        .collect()
}

/// Upper bound of the inner-loop steps of the ops of all variants.
fn work(model: &Model<'_>) -> u64 {
    let ops = model.ops().iter().map(|op| op_work(model, op));
    ops.fold(0u64, u64::saturating_add)
        .saturating_mul(model.variants() as u64)
}

fn op_work(model: &Model<'_>, op: &OpRow) -> u64 {
    let elements = |tensor: u16| -> u64 {
        let dims = model
            .tensors()
            .get(usize::from(tensor))
            .map(|t| t.dims)
            .unwrap_or_default();
        dims.iter()
            .fold(1, |n, d| n.saturating_mul(u64::from(d.get())))
    };
    let p = |i: usize| u64::from(op.p[i].get()).max(1);
    let out = elements(op.out.get());
    let steps = match OpKind::from_u8(op.kind) {
        // Weights per output channel, up to four in a byte, times every output element.
        Some(OpKind::Conv | OpKind::Dense) => out.saturating_mul(
            u64::from(op.weights.len.get()) * 4 / u64::from(op.quant.len.get()).max(1),
        ),
        Some(OpKind::Depthwise | OpKind::MaxPool | OpKind::AvgPool) => {
            out.saturating_mul(p(0) * p(1))
        }
        _ => out,
    };
    steps.saturating_add(elements(op.in0.get()))
}
