//! Quantization that is decided before lowering.

use crate::common::{Net, window};
use elastiq_quant::calibrate::{Method, Ranges, calibrate};
use elastiq_quant::ir::{Graph, Op, Unary};
use elastiq_quant::lower::format::{Formats, Grid, Levels, WeightFormat};
use elastiq_quant::lower::given::{Given, GivenActivation, GivenWeights, activations, layers};
use elastiq_quant::lower::quant::Quant;
use elastiq_quant::lower::{Lowered, lower};
use elastiq_quant::{Error, Samples};

/// Convolution with ReLU, depthwise convolution, pool, dense layer.
fn network() -> (Graph, Ranges) {
    let mut n = Net::new(31);
    let x = n.input(&[1, 6, 6, 3]);
    let a = n.conv(x, 8, window(3, 1, 1), 1);
    let a = n.map(Op::Unary(Unary::Relu), &[a]);
    let b = n.conv(a, 8, window(3, 1, 1), 8);
    let p = n.pool(Op::MaxPool(window(2, 2, 0)), b);
    let r = n.op(Op::Reshape, &[p], &[1, 72]);
    let d = n.dense(r, 5);
    n.output(d);
    let samples = Samples::synthetic(&n.graph, 8, 1, -1.0, 1.0);
    let ranges = calibrate(&n.graph, &samples, Method::MinMax, &mut |_, _| {}).unwrap();
    (n.graph, ranges)
}

fn lowered(graph: &Graph, ranges: &Ranges, given: &Given) -> Result<Lowered, Error> {
    lower(graph, ranges, &Formats::default(), given)
}

/// Weights in `format` and the activations of an ordinary lowering, as given ones.
fn given_of(graph: &Graph, net: &Lowered, format: WeightFormat) -> Given {
    let mut given = Given::default();
    for layer in layers(graph).unwrap() {
        let value = graph.value(layer.weights);
        let flat: Vec<f64> = value
            .constant
            .iter()
            .flat_map(|c| c.iter().map(|&v| f64::from(v)))
            .collect();
        let real: Vec<Vec<f64>> = flat
            .chunks(flat.len() / value.shape[0])
            .map(<[f64]>::to_vec)
            .collect();
        let grid = Grid::of(&real, format);
        let rows = real.iter().enumerate();
        let codes = rows
            .flat_map(|(c, row)| grid.codes(c, row, grid.scale[c]).0)
            .collect();
        let weights = GivenWeights {
            bits: format.bits,
            grid,
            codes,
            nested: false,
        };
        given.weights.insert(layer.name, weights);
    }
    for t in &net.tensors {
        let all = GivenActivation {
            quant: t.quant,
            lo: -128,
            hi: 127,
        };
        given.activations.insert(t.name.clone(), all);
    }
    given
}

#[test]
fn what_lowering_would_choose_gives_the_same_operators() {
    let (graph, ranges) = network();
    for text in [
        "8",
        "5",
        "3,asymmetric",
        "2,per-tensor",
        "4,codebook",
        "8,asymmetric,per-tensor",
    ] {
        let format: WeightFormat = text.parse().unwrap();
        let formats = Formats {
            default: format,
            ..Default::default()
        };
        let chosen = lower(&graph, &ranges, &formats, &Given::default()).unwrap();
        let given = given_of(&graph, &chosen, format);
        // Ranges that would give other scales show that none of them is used.
        let other = Ranges(vec![Some((-9.0, 9.0)); graph.values.len()]);
        let same = lower(&graph, &other, &Formats::default(), &given).unwrap();
        assert_eq!(chosen.ops.len(), same.ops.len());
        for (a, b) in chosen.ops.iter().zip(&same.ops) {
            let equal = a.weights == b.weights
                && a.quant == b.quant
                && a.shift == b.shift
                && (a.lo, a.hi) == (b.lo, b.hi);
            assert!(equal, "{text}: {}", a.name);
        }
    }
}

#[test]
fn activations_below_eight_bits_stay_in_their_codes() {
    let (graph, ranges) = network();
    let classes = activations(&graph).unwrap();
    let depthwise = layers(&graph).unwrap()[1].output;
    let class = classes.iter().find(|c| c.contains(&depthwise)).unwrap();
    assert_eq!(class.len(), 3, "pooling and reshaping move codes");
    let mut given = Given::default();
    let four = GivenActivation {
        quant: Quant {
            scale: 0.1,
            zero: -2,
        },
        lo: -8,
        hi: 7,
    };
    given
        .activations
        .insert(graph.value(depthwise).name.clone(), four);
    let net = lowered(&graph, &ranges, &given).unwrap();
    let bounds: Vec<_> = net.ops.iter().map(|op| (op.lo, op.hi)).collect();
    assert_eq!(bounds[1..3], [(-8, 7), (-8, 7)]);
    assert_eq!(bounds[3], (-128, 127));
    assert!(net.tensors.iter().filter(|t| t.quant == four.quant).count() == 3);
}

#[test]
fn what_does_not_fit_the_network_is_refused_by_name() {
    let (graph, ranges) = network();
    let net = lowered(&graph, &ranges, &Given::default()).unwrap();
    let good = given_of(&graph, &net, "4,codebook".parse().unwrap());
    assert!(lowered(&graph, &ranges, &good).is_ok());
    let refused = |given: &Given| lowered(&graph, &ranges, given).unwrap_err().to_string();
    let layer = layers(&graph).unwrap()[0].name.clone();
    let with = |change: &dyn Fn(&mut GivenWeights)| {
        let mut given = good.clone();
        change(given.weights.get_mut(&layer).unwrap());
        refused(&given)
    };
    for (message, word) in [
        (with(&|w| w.codes.truncate(9)), "9 codes"),
        (
            with(&|w| w.codes[30] = 16),
            "channel 1: a code has no level",
        ),
        (with(&|w| w.grid.scale[2] = 0.0), "scale 0"),
        (with(&|w| w.bits = 5), "book"),
        (
            with(&|w| {
                w.grid.levels = Levels::Linear {
                    lo: -8,
                    hi: 7,
                    zeros: vec![0; 3],
                }
            }),
            "zero points",
        ),
    ] {
        assert!(
            message.contains(word) && message.contains(&layer),
            "{message}"
        );
    }
    let mut given = good.clone();
    let weights = given.weights[&layer].clone();
    given.weights.insert("nobody".into(), weights);
    assert!(refused(&given).contains("'nobody'"));
    let mut given = good.clone();
    let name = graph.value(graph.inputs[0].value).name.clone();
    given.activations.insert(
        name.clone(),
        GivenActivation {
            quant: Quant {
                scale: 0.1,
                zero: 9,
            },
            lo: -8,
            hi: 7,
        },
    );
    assert!(refused(&given).contains(&format!("'{name}': zero point 9")));
}
