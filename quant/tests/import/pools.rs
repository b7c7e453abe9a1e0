//! Pools and reductions.

use super::proto::{Net, int, ints, string};
use ndarray::{Array1, ArrayD, IxDyn};

#[test]
fn pools() {
    let pool = |op: &str, shape: &str, attrs| Net::new(19, shape).node(op, "x -> y", attrs).check();
    let k = ints("kernel_shape", &[3, 2]);
    for op in ["MaxPool", "AveragePool"] {
        pool(op, "1 3 8 9", vec![k.clone()]);
        pool(
            op,
            "1 3 8 9",
            vec![
                k.clone(),
                ints("strides", &[2, 2]),
                ints("pads", &[1, 0, 1, 1]),
            ],
        );
        pool(
            op,
            "1 3 8 9",
            vec![
                k.clone(),
                string("auto_pad", "SAME_UPPER"),
                ints("strides", &[2, 2]),
            ],
        );
        pool(
            op,
            "1 3 8 9",
            vec![
                k.clone(),
                string("auto_pad", "SAME_LOWER"),
                ints("strides", &[2, 2]),
            ],
        );
        pool(
            op,
            "1 3 12",
            vec![ints("kernel_shape", &[3]), ints("strides", &[2])],
        );
        pool(
            op,
            "1 3 8 8",
            vec![k.clone(), ints("strides", &[2, 2]), int("ceil_mode", 1)],
        );
    }
    pool(
        "MaxPool",
        "1 3 9 9",
        vec![k.clone(), ints("dilations", &[2, 2])],
    );
    pool(
        "AveragePool",
        "1 3 8 9",
        vec![k, ints("pads", &[1, 1, 1, 1]), int("count_include_pad", 1)],
    );
    pool("GlobalAveragePool", "1 3 8 9", vec![]);
    pool("GlobalMaxPool", "1 3 8 9", vec![]);
    pool("GlobalAveragePool", "1 3 8", vec![]);
}

/// The last window of ceil mode reaches beyond the declared padding: cells there never count.
#[test]
fn average_pool_ceil_mode_counts_declared_padding_only() {
    let attrs = vec![
        ints("kernel_shape", &[3]),
        ints("strides", &[2]),
        ints("pads", &[1, 1]),
        int("ceil_mode", 1),
        int("count_include_pad", 1),
    ];
    let net = Net::new(13, "1 1 6").node("AveragePool", "x -> y", attrs);
    net.compare(&|x| {
        let x: Vec<f32> = x[0].iter().copied().collect();
        let at = |a: &[f32], n: f32| a.iter().sum::<f32>() / n;
        let y = [
            at(&x[..2], 3.0),
            at(&x[1..4], 3.0),
            at(&x[3..], 3.0),
            at(&x[5..], 2.0),
        ];
        vec![ArrayD::from_shape_vec(IxDyn(&[1, 1, 4]), y.to_vec()).unwrap()]
    });
}

#[test]
fn reductions() {
    for (axes, keep) in [
        (vec![2, 3], 1),
        (vec![2, 3], 0),
        (vec![-1], 1),
        (vec![1], 0),
        (vec![1, 2], 0),
        (vec![1, 3], 1),
    ] {
        let attrs = vec![ints("axes", &axes), int("keepdims", keep)];
        Net::new(13, "1 3 4 5")
            .node("ReduceMean", "x -> y", attrs.clone())
            .check();
        Net::new(13, "1 3 4 5")
            .node("ReduceMax", "x -> y", attrs)
            .check();
    }
    Net::new(18, "1 3 4 5")
        .i64s("axes", &[2, 3])
        .node("ReduceMean", "x axes -> y", vec![int("keepdims", 0)])
        .check();
    Net::new(13, "1 3 4")
        .node("ReduceMean", "x -> y", vec![])
        .check();
    Net::new(13, "2 5")
        .node("ReduceMean", "x -> y", vec![ints("axes", &[1])])
        .check();
    for attrs in [
        vec![int("axis", 1)],
        vec![int("axis", -1), int("keepdims", 0)],
        vec![int("axis", 1), int("keepdims", 0)],
    ] {
        Net::new(13, "1 6 4 4")
            .node("ArgMax", "x -> y", attrs)
            .check();
    }
    let last = vec![
        int("axis", 1),
        int("select_last_index", 1),
        int("keepdims", 0),
    ];
    Net::new(13, "1 4")
        .node("Relu", "x -> r", vec![])
        .node("ArgMax", "r -> y", last)
        .compare(&|x| {
            let best = x[0].iter().fold(0f32, |m, v| m.max(*v));
            let list: Vec<f32> = x[0].iter().copied().collect();
            let index = list.iter().rposition(|v| v.max(0.0) == best).unwrap();
            vec![Array1::from_elem(1, index as f32).into_dyn()]
        });
}
