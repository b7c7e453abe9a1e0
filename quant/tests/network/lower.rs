//! From networks built in code to artifacts: every operator against the float network, fusion, refusals.

use crate::common::{Net, build, window};
use elastiq::format::OpKind;
use elastiq_quant::ir::{FileQuant, NearestMap, Op, Unary, ValueId};

fn kinds(net: &elastiq_quant::lower::Lowered) -> Vec<OpKind> {
    net.ops.iter().map(|op| op.kind).collect()
}

/// Lower the network, check the quality of every layer and of the output, return the operator kinds.
#[track_caller]
fn good(mut n: Net, out: ValueId, min_db: f64) -> Vec<OpKind> {
    n.output(out);
    let built = build(&n.graph, 24).unwrap();
    for (op, db) in built.net.ops.iter().zip(&built.check.layers) {
        if let Some(db) = db {
            assert!(
                *db >= min_db,
                "layer {} ({:?}): {db:.1} dB",
                op.name,
                op.kind
            );
        }
    }
    let db = built.check.sqnr_db.unwrap();
    assert!(db >= min_db, "output: {db:.1} dB");
    kinds(&built.net)
}

#[test]
fn convolutions_with_fused_activations() {
    let mut n = Net::new(1);
    let x = n.input(&[1, 9, 7, 3]);
    let a = n.conv(x, 8, window(3, 2, 1), 1);
    let a = n.map(Op::Unary(Unary::Relu), &[a]);
    let b = n.conv(a, 8, window(3, 1, 1), 8);
    let b = n.map(Op::Unary(Unary::Clip(0.0, 0.6)), &[b]);
    let c = n.conv(b, 12, window(1, 1, 0), 1);
    let d = n.conv(c, 8, window(3, 1, 1), 4);
    let e = n.conv(d, 16, window(3, 1, 0), 8);
    use OpKind::{Conv, Depthwise};
    assert_eq!(good(n, e, 28.0), [Conv, Depthwise, Conv, Conv, Depthwise]);
}

#[test]
fn classifier_head() {
    let mut n = Net::new(2);
    let x = n.input(&[1, 6, 6, 4]);
    let a = n.pool(
        Op::AvgPool {
            window: window(6, 6, 0),
            count_pad: false,
        },
        x,
    );
    let r = n.op(Op::Reshape, &[a], &[1, 4]);
    let d = n.dense(r, 10);
    let s = n.map(Op::Softmax { axis: 1 }, &[d]);
    use OpKind::{AvgPool, Dense, Softmax};
    assert_eq!(good(n, s, 28.0), [AvgPool, Dense, Softmax]);
}

#[test]
fn pools() {
    for count_pad in [false, true] {
        let mut n = Net::new(3);
        let x = n.input(&[1, 8, 8, 4]);
        let a = n.pool(
            Op::AvgPool {
                window: window(3, 2, 1),
                count_pad,
            },
            x,
        );
        let b = n.pool(Op::MaxPool(window(2, 1, 0)), a);
        assert_eq!(good(n, b, 35.0), [OpKind::AvgPool, OpKind::MaxPool]);
    }
}

#[test]
fn relu_behind_max_pool_becomes_its_clamp() {
    let mut n = Net::new(4);
    let x = n.input(&[1, 8, 8, 4]);
    let a = n.pool(Op::MaxPool(window(2, 2, 0)), x);
    let b = n.map(Op::Unary(Unary::Relu), &[a]);
    assert_eq!(good(n, b, 35.0), [OpKind::MaxPool]);
}

#[test]
fn residual_block_runs_in_place() {
    let mut n = Net::new(5);
    let x = n.input(&[1, 8, 8, 4]);
    let a = n.conv(x, 4, window(3, 1, 1), 1);
    let b = n.conv(a, 4, window(3, 1, 1), 1);
    let s = n.map(Op::Add, &[a, b]);
    let r = n.map(Op::Unary(Unary::Relu), &[s]);
    n.output(r);
    let built = build(&n.graph, 16).unwrap();
    assert_eq!(kinds(&built.net), [OpKind::Conv, OpKind::Conv, OpKind::Add]);
    assert_eq!((built.plan.arena_len, built.plan.bound), (512, 512));
    assert!(built.check.sqnr_db.unwrap() > 28.0);
}

#[test]
fn elementwise_functions_of_one_value_become_one_table() {
    let mut n = Net::new(6);
    let x = n.input(&[1, 4, 4, 8]);
    let c = n.conv(x, 8, window(1, 1, 0), 1);
    // SiLU, then a decomposed hard swish, then two functions.
    let s = n.map(Op::Unary(Unary::Sigmoid), &[c]);
    let silu = n.map(Op::Mul, &[c, s]);
    let d = n.conv(silu, 8, window(1, 1, 0), 1);
    let three = n.constant(&[1], vec![3.0]);
    let sixth = n.constant(&[], vec![1.0 / 6.0]);
    let p = n.map(Op::Add, &[d, three]);
    let q = n.map(Op::Unary(Unary::Clip(0.0, 6.0)), &[p]);
    let m = n.map(Op::Mul, &[d, q]);
    let h = n.map(Op::Mul, &[m, sixth]);
    let t = n.map(Op::Unary(Unary::Abs), &[h]);
    let u = n.map(Op::Unary(Unary::Sqrt), &[t]);
    use OpKind::{Conv, Lut};
    assert_eq!(good(n, u, 20.0), [Conv, Lut, Conv, Lut]);
}

#[test]
fn a_function_with_two_readers_stays_a_value() {
    let mut n = Net::new(7);
    let x = n.input(&[1, 4, 4, 8]);
    let s = n.map(Op::Unary(Unary::Sigmoid), &[x]);
    let t = n.map(Op::Unary(Unary::Tanh), &[s]);
    let m = n.map(Op::Mul, &[s, t]);
    let k = n.map(Op::Add, &[m, s]);
    use OpKind::Lut;
    assert_eq!(good(n, k, 30.0), [Lut, Lut]);
}

#[test]
fn channel_constants_merge_into_one_depthwise() {
    let mut n = Net::new(8);
    let x = n.input(&[1, 4, 4, 6]);
    let g = n.constant(&[6], vec![1.0, -2.0, 1e-6, 0.0, 0.3, 5.0]);
    let o = n.constant(&[1, 1, 1, 6], vec![0.1, 0.2, 3.0, -1.0, 0.0, 0.7]);
    let a = n.map(Op::Mul, &[x, g]);
    let b = n.map(Op::Add, &[a, o]);
    let c = n.map(Op::Unary(Unary::Relu), &[b]);
    assert_eq!(good(n, c, 35.0), [OpKind::Depthwise]);
}

#[test]
fn constant_tensors_are_operands() {
    let mut n = Net::new(9);
    let x = n.input(&[1, 4, 3, 6]);
    let plane = n.random(&[4, 3, 1], 1.0);
    let full = n.random(&[1, 4, 3, 6], 0.5);
    let a = n.map(Op::Add, &[x, plane]);
    let b = n.map(Op::Mul, &[full, a]);
    let c = n.map(Op::Sub, &[plane, b]);
    n.graph.values[c.0].shape = vec![1, 4, 3, 6];
    use OpKind::{Add, Mul};
    assert_eq!(good(n, c, 30.0), [Add, Mul, Add]);
}

#[test]
fn broadcast_between_activations() {
    let mut n = Net::new(10);
    let x = n.input(&[1, 5, 5, 4]);
    let p = n.pool(
        Op::AvgPool {
            window: window(5, 5, 0),
            count_pad: true,
        },
        x,
    );
    let g = n.map(Op::Unary(Unary::Sigmoid), &[p]);
    let y = n.map(Op::Mul, &[x, g]);
    let z = n.op(Op::Sub, &[p, y], &[1, 5, 5, 4]);
    use OpKind::{Add, AvgPool, Lut, Mul};
    assert_eq!(good(n, z, 30.0), [AvgPool, Lut, Mul, Add]);
}

#[test]
fn codes_that_only_move() {
    let mut n = Net::new(11);
    let x = n.input(&[1, 4, 6, 3]);
    let p = n.op(
        Op::Pad {
            before: vec![0, 1, 0, 0],
            after: vec![0, 1, 2, 0],
            value: 0.5,
        },
        &[x],
        &[1, 6, 8, 3],
    );
    let s = n.op(
        Op::Slice {
            start: vec![0, 1, 0, 1],
            step: vec![1, 2, 3, 1],
        },
        &[p],
        &[1, 3, 3, 2],
    );
    let t = n.op(
        Op::Transpose {
            perm: vec![0, 3, 1, 2],
        },
        &[s],
        &[1, 2, 3, 3],
    );
    let map = NearestMap {
        rows: vec![0, 0, 1, 1],
        cols: vec![0, 1, 1, 2, 2],
    };
    let z = n.op(Op::ResizeNearest(map), &[t], &[1, 4, 5, 3]);
    let v = n.op(Op::Reshape, &[z], &[3, 20]);
    use OpKind::{Copy, Resize, Transpose};
    assert_eq!(good(n, v, 40.0), [Copy, Copy, Transpose, Resize]);
}

#[test]
fn channel_shuffle_of_rank_five() {
    let mut n = Net::new(12);
    let x = n.input(&[2, 3, 3, 6]);
    let a = n.op(Op::Reshape, &[x], &[2, 3, 3, 2, 3]);
    let b = n.op(
        Op::Transpose {
            perm: vec![0, 1, 2, 4, 3],
        },
        &[a],
        &[2, 3, 3, 3, 2],
    );
    let c = n.op(Op::Reshape, &[b], &[2, 3, 3, 6]);
    let y = n.map(Op::Add, &[x, c]);
    use OpKind::{Add, Transpose};
    assert_eq!(good(n, y, 35.0), [Transpose, Add]);
}

#[test]
fn concatenation_shares_or_rescales() {
    let mut n = Net::new(13);
    let x = n.input(&[1, 4, 4, 4]);
    let a = n.conv(x, 3, window(1, 1, 0), 1);
    let b = n.conv(x, 5, window(3, 1, 1), 1);
    let two = n.constant(&[5], vec![2.0, 3.0, 4.0, 5.0, 6.0]);
    let b = n.map(Op::Mul, &[b, two]);
    let c = n.op(Op::Concat { axis: 3 }, &[a, b, x], &[1, 4, 4, 12]);
    n.output(c);
    let built = build(&n.graph, 16).unwrap();
    let copies: Vec<bool> = built
        .net
        .ops
        .iter()
        .filter(|op| op.kind == OpKind::Copy)
        .map(|op| op.lut.is_empty())
        .collect();
    assert_eq!(copies, [true, true, false]);
    assert!(built.check.sqnr_db.unwrap() > 25.0);
}

#[test]
fn per_channel_slopes() {
    let mut n = Net::new(14);
    let x = n.input(&[1, 4, 4, 3]);
    let slopes = n.constant(&[1, 1, 3], vec![0.25, -0.5, 0.0]);
    let y = n.map(Op::PRelu, &[x, slopes]);
    let one = n.constant(&[1], vec![0.1]);
    let z = n.map(Op::PRelu, &[y, one]);
    assert_eq!(good(n, z, 35.0), [OpKind::PRelu, OpKind::Lut]);
}

#[test]
fn index_output() {
    let mut n = Net::new(15);
    let x = n.input(&[1, 16]);
    let d = n.dense(x, 6);
    let a = n.op(
        Op::ArgMax {
            axis: 1,
            select_last: false,
        },
        &[d],
        &[1],
    );
    n.output(a);
    let built = build(&n.graph, 100).unwrap();
    assert_eq!(kinds(&built.net), [OpKind::Dense, OpKind::ArgMax]);
    assert!(built.check.agree.unwrap() >= 0.95, "{:?}", built.check);
}

#[test]
fn arithmetic_on_indices_is_refused() {
    let mut n = Net::new(16);
    let x = n.input(&[1, 16]);
    let a = n.op(
        Op::ArgMax {
            axis: 1,
            select_last: false,
        },
        &[x],
        &[1, 1],
    );
    let b = n.map(Op::Unary(Unary::Neg), &[a]);
    n.output(b);
    let message = build(&n.graph, 2).err().unwrap().to_string();
    assert!(
        message.contains("`n1` (Unary)") && message.contains("ArgMax"),
        "{message}"
    );
}

#[test]
fn what_has_no_integer_form_is_refused_by_name() {
    let mut n = Net::new(17);
    let (x, y) = (n.input(&[1, 16]), n.input(&[4, 16]));
    let d = n.op(Op::Dense, &[x, y], &[1, 4]);
    n.output(d);
    let message = build(&n.graph, 2).err().unwrap().to_string();
    assert!(
        message.contains("`n0` (Dense)") && message.contains("run time"),
        "{message}"
    );

    let mut n = Net::new(18);
    let x = n.input(&[1, 2]);
    let w = n.constant(&[2, 2], vec![1.0, 1.0, f32::INFINITY, 0.0]);
    let d = n.op(Op::Dense, &[x, w], &[1, 2]);
    n.output(d);
    let ranges = elastiq_quant::calibrate::Ranges(vec![Some((-1.0, 1.0)); n.graph.values.len()]);
    let message =
        elastiq_quant::lower::lower(&n.graph, &ranges, &Default::default(), &Default::default())
            .err()
            .unwrap()
            .to_string();
    assert!(
        message.contains("`n0` (Dense)") && message.contains("channel 1"),
        "{message}"
    );
}

#[test]
fn quantization_of_the_file_is_kept() {
    let fixed = |scale: f32, zero: i32| {
        Some(FileQuant {
            scale: vec![scale],
            zero: vec![zero],
            axis: None,
        })
    };
    let mut n = Net::new(19);
    let x = n.input(&[1, 4, 4, 2]);
    let w = n.constant(
        &[3, 1, 1, 2],
        [3.0f32, -4.0, 100.0, 127.0, -128.0, 0.0]
            .map(|v| v * 0.01)
            .to_vec(),
    );
    n.graph.values[w.0].quant = fixed(0.01, 0);
    let c = n.op(
        elastiq_quant::ir::Op::Conv {
            window: window(1, 1, 0),
            groups: 1,
        },
        &[x, w],
        &[1, 4, 4, 3],
    );
    let p = n.pool(Op::MaxPool(window(2, 2, 0)), c);
    n.graph.values[x.0].quant = fixed(1.0 / 128.0, 0);
    n.graph.values[c.0].quant = fixed(0.02, -5);
    n.graph.values[p.0].quant = fixed(0.03, 7);
    n.output(p);
    let built = build(&n.graph, 16).unwrap();
    // The pool cannot change the quantization; a table behind it does.
    assert_eq!(
        kinds(&built.net),
        [OpKind::Conv, OpKind::MaxPool, OpKind::Lut]
    );
    assert_eq!(built.net.ops[0].weights.codes, [3, -4, 100, 127, -128, 0]);
    let q = |v: ValueId| {
        built
            .net
            .tensors
            .iter()
            .find(|t| t.value == Some(v))
            .unwrap()
            .quant
    };
    assert_eq!(
        (q(c).scale, q(c).zero, q(p).scale, q(p).zero),
        (0.02, -5, 0.03, 7)
    );
    assert!(built.check.sqnr_db.unwrap() > 25.0);
}

#[test]
fn outputs_that_are_inputs_and_views() {
    let mut n = Net::new(20);
    let x = n.input(&[1, 4, 4, 2]);
    let v = n.op(Op::Reshape, &[x], &[1, 32]);
    let y = n.map(Op::Unary(Unary::Tanh), &[x]);
    n.output(v);
    n.output(y);
    n.output(x);
    let built = build(&n.graph, 4).unwrap();
    assert_eq!(kinds(&built.net), [OpKind::Lut]);
    assert_eq!(built.plan.arena_len, 64);
    assert!(built.check.sqnr_db.unwrap() > 35.0);
}

#[test]
fn huge_and_constant_activations_do_not_break_the_arithmetic() {
    let mut n = Net::new(21);
    let x = n.input(&[1, 8]);
    let w = n.constant(
        &[2, 8],
        (0..16).map(|i| if i < 8 { 1e4 } else { 0.0 }).collect(),
    );
    let b = n.constant(&[2], vec![0.0, 0.0]);
    let d = n.op(Op::Dense, &[x, w, b], &[1, 2]);
    let z = n.constant(&[1], vec![0.0]);
    let k = n.map(Op::Mul, &[d, z]);
    let r = n.map(Op::Add, &[d, k]);
    n.output(r);
    let built = build(&n.graph, 16).unwrap();
    assert!(built.check.sqnr_db.unwrap() > 35.0);
}

/// Merged axes could be matched to the wrong ones; that must never be a silently wrong answer.
#[test]
fn broadcast_beyond_rank_four_is_refused() {
    let mut n = Net::new(22);
    let x = n.input(&[2, 1, 1, 1, 2]);
    let y = n.input(&[1, 2, 1, 1, 2]);
    let s = n.op(Op::Add, &[x, y], &[2, 2, 1, 1, 2]);
    n.output(s);
    let ranges = elastiq_quant::calibrate::Ranges(vec![Some((-1.0, 1.0)); n.graph.values.len()]);
    let message =
        elastiq_quant::lower::lower(&n.graph, &ranges, &Default::default(), &Default::default())
            .err()
            .unwrap()
            .to_string();
    assert!(
        message.contains("`n0` (Add)") && message.contains("rank 5"),
        "{message}"
    );
}
