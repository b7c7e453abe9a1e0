//! Arenas of random networks, checked on the rows of the artifact by an independent reading of the rules.

use crate::common::{Net, build, window};
use elastiq::Model;
use elastiq::format::{NONE, PLACE_ARENA, TensorRow};
use elastiq_quant::ir::{Graph, Op, Unary, ValueId};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// A random network of convolutions, sums, pools, functions and concatenations over `[1, 8, 8, c]`.
fn random_graph(seed: u64) -> Graph {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut n = Net::new(seed);
    let mut pool: Vec<ValueId> = vec![n.input(&[1, 8, 8, 4])];
    for _ in 0..rng.random_range(3..18) {
        let recent = pool.len().saturating_sub(3);
        let x = pool[rng.random_range(recent..pool.len())];
        let shape = n.shape(x);
        let y = match rng.random_range(0..6) {
            0 => n.conv(x, 4 * rng.random_range(1..5), window(3, 1, 1), 1),
            1 => n.conv(x, shape[3], window(3, 1, 1), shape[3]),
            2 => n.map(Op::Unary(Unary::Tanh), &[x]),
            3 => {
                let same: Vec<ValueId> = pool
                    .iter()
                    .copied()
                    .filter(|v| n.shape(*v) == shape)
                    .collect();
                let other = same[rng.random_range(0..same.len())];
                n.map(Op::Add, &[x, other])
            }
            4 => n.pool(Op::MaxPool(window(3, 1, 1)), x),
            _ => {
                let other = pool[rng.random_range(0..pool.len())];
                let c = shape[3] + n.shape(other)[3];
                n.op(Op::Concat { axis: 3 }, &[x, other], &[1, 8, 8, c])
            }
        };
        pool.push(y);
    }
    n.output(*pool.last().unwrap());
    if rng.random_bool(0.3) {
        n.output(pool[pool.len() / 2]);
    }
    n.graph
}

/// Bytes of a row.
fn bytes(row: &TensorRow) -> usize {
    row.dims.iter().map(|d| d.get() as usize).product()
}

/// Operators at which storage `root` is needed, from the operator rows alone.
fn needed(model: &Model, root: usize) -> (usize, usize) {
    let of = |t: u16| match model.tensors()[usize::from(t)].root.get() {
        NONE => usize::from(t),
        r => usize::from(r),
    };
    let mut times = Vec::new();
    for (i, op) in model.ops().iter().enumerate() {
        let two = matches!(op.kind, 5 | 6);
        let uses = [
            Some(op.in0.get()),
            two.then_some(op.in1.get()),
            Some(op.out.get()),
        ];
        times.extend(
            uses.into_iter()
                .flatten()
                .filter(|&t| of(t) == root)
                .map(|_| i),
        );
    }
    times.extend(model.inputs().filter(|io| of(io.tensor) == root).map(|_| 0));
    times.extend(
        model
            .outputs()
            .filter(|io| of(io.tensor) == root)
            .map(|_| model.ops().len()),
    );
    (
        times.iter().copied().min().unwrap_or(0),
        times.iter().copied().max().unwrap_or(0),
    )
}

#[test]
fn random_networks_are_planned_soundly() {
    let (rounds, mut tight) = (60, 0);
    for seed in 0..rounds {
        let graph = random_graph(seed);
        let built = build(&graph, 4).unwrap();
        let model = Model::parse(&built.bytes).unwrap();
        let owners: Vec<usize> = (0..model.tensors().len())
            .filter(|&t| {
                model.tensors()[t].place == PLACE_ARENA && model.tensors()[t].root.get() == NONE
            })
            .collect();
        let mut most = 0;
        for (k, &a) in owners.iter().enumerate() {
            let (row, (first, last)) = (&model.tensors()[a], needed(&model, a));
            assert_eq!(
                (row.first.get() as usize, row.last.get() as usize),
                (first, last),
                "seed {seed}"
            );
            let (start, end) = (row.off.get() as usize, row.off.get() as usize + bytes(row));
            assert!(end <= model.arena_len() && start % 4 == 0);
            for &b in &owners[k + 1..] {
                let (other, (f, l)) = (&model.tensors()[b], needed(&model, b));
                let (s, e) = (
                    other.off.get() as usize,
                    other.off.get() as usize + bytes(other),
                );
                assert!(
                    last < f || l < first || end <= s || e <= start,
                    "seed {seed}: {a} and {b} overlap"
                );
            }
            let alive = |t: &usize| {
                let (f, l) = needed(&model, *t);
                f <= first && first <= l
            };
            most = most.max(
                owners
                    .iter()
                    .filter(|t| alive(t))
                    .map(|&t| bytes(&model.tensors()[t]))
                    .sum(),
            );
        }
        assert_eq!(built.plan.bound, most, "seed {seed}");
        assert!(built.plan.arena_len >= most);
        tight += usize::from(built.plan.arena_len == most);
    }
    assert!(
        tight * 10 >= rounds as usize * 9,
        "{tight} of {rounds} arenas reach the bound"
    );
}

/// Storages that are shared by mistake would show up as noise.
#[test]
fn random_networks_compute_the_right_thing() {
    for seed in 0..60 {
        let built = build(&random_graph(seed), 4).unwrap();
        let db = built.check.sqnr_db.unwrap();
        assert!(db > 12.0, "seed {seed}: {db:.1} dB");
    }
}

#[test]
fn overwriting_is_refused_while_the_input_is_needed() {
    let mut n = Net::new(1);
    let x = n.input(&[1, 4, 4, 4]);
    let a = n.conv(x, 4, window(1, 1, 0), 1);
    let t = n.map(Op::Unary(Unary::Tanh), &[a]);
    let s = n.map(Op::Add, &[t, a]);
    n.output(s);
    let built = build(&n.graph, 8).unwrap();
    // The table cannot overwrite `a`, which the sum reads; the sum can.
    assert_eq!(built.plan.bound, 128);
    assert_eq!(built.plan.arena_len, 128);
    assert!(built.check.sqnr_db.unwrap() > 28.0);

    let mut n = Net::new(2);
    let x = n.input(&[1, 4, 4, 4]);
    let a = n.conv(x, 4, window(1, 1, 0), 1);
    let t = n.map(Op::Unary(Unary::Tanh), &[a]);
    n.output(a);
    n.output(t);
    let built = build(&n.graph, 8).unwrap();
    assert_eq!(built.plan.arena_len, 128);
    assert!(built.check.sqnr_db.unwrap() > 28.0);
}

/// The second operand dies, the first one lives on: operands are exchanged.
#[test]
fn either_operand_can_be_overwritten() {
    let mut n = Net::new(3);
    let x = n.input(&[1, 4, 4, 4]);
    let a = n.conv(x, 4, window(1, 1, 0), 1);
    let b = n.conv(a, 4, window(3, 1, 1), 1);
    let d = n.map(Op::Sub, &[a, b]);
    n.output(d);
    n.output(a);
    let built = build(&n.graph, 8).unwrap();
    assert_eq!(built.plan.arena_len, 128);
    assert!(built.check.sqnr_db.unwrap() > 28.0, "{:?}", built.check);
}

#[test]
fn scratch_is_placed_beside_what_is_alive() {
    let mut n = Net::new(4);
    let x = n.input(&[1, 4, 4, 4]);
    let a = n.conv(x, 8, window(3, 1, 1), 1);
    let b = n.conv(a, 4, window(1, 1, 0), 1);
    n.output(b);
    let samples = elastiq_quant::Samples::synthetic(&n.graph, 4, 1, -1.0, 1.0);
    let ranges =
        elastiq_quant::calibrate::calibrate(&n.graph, &samples, Default::default(), &mut |_, _| {})
            .unwrap();
    let net =
        elastiq_quant::lower::lower(&n.graph, &ranges, &Default::default(), &Default::default())
            .unwrap();
    let need = |len| elastiq_quant::plan::Need {
        least: len,
        full: len,
    };
    let plan = elastiq_quant::plan::plan_with(&net, elastiq::Backend::Dsp, &[need(100), need(30)]);
    assert_eq!(
        (plan.arena_len, plan.scratch_len, plan.bound),
        (64 + 128 + 100, 100, 64 + 128 + 100)
    );
    let bytes = elastiq_quant::pack::pack(&net, &plan, &n.graph, &Default::default()).unwrap();
    let model = Model::parse(&bytes).unwrap();
    assert_eq!(model.header().scratch_len.get(), 100);
    assert_eq!(model.ops()[0].scratch.len.get(), 100);
}
