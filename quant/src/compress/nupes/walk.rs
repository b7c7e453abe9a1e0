//! The float network and the quantized one, side by side over calibration data, layer after layer.

use super::moments::Moments;
use crate::Samples;
use crate::compress::fake::Codes;
use crate::ir::{Graph, Node, Op, exec};
use ndarray::{Array2, ArrayD, Axis, IxDyn};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use std::sync::Arc;

type Store = Vec<Option<Arc<ArrayD<f32>>>>;

/// Windows that are looked at, per layer.
const ROWS: usize = 16_384;
/// Bytes of values that are held at a time, over all samples and both networks.
const BYTES: usize = 1 << 30;

/// Values of both networks before a node, for every sample.
pub struct Walk<'a> {
    graph: &'a Graph,
    codes: &'a Codes,
    float: Vec<Store>,
    quantized: Vec<Store>,
    last: Vec<Option<usize>>,
    seed: u64,
}

impl<'a> Walk<'a> {
    /// Both networks at their inputs. Of `samples`, which must fit, as many are used as memory allows, evenly spaced.
    pub fn new(graph: &'a Graph, codes: &'a Codes, samples: &Samples, seed: u64) -> Walk<'a> {
        let values = graph.values.iter().filter(|v| v.constant.is_none());
        let widest = values
            .map(|v| v.shape.iter().product::<usize>())
            .max()
            .unwrap_or(1);
        // Two networks, and about three values of the widest kind alive in each.
        let n = (BYTES / (widest * 4 * 6).max(1)).clamp(1, samples.len());
        let pick = |i: usize| samples.ir_item(graph, i * samples.len() / n);
        let store = |i: usize, round: bool| {
            let mut store: Store = graph.values.iter().map(|v| v.constant.clone()).collect();
            for (port, mut x) in graph.inputs.iter().zip(pick(i)) {
                if round {
                    codes.round(port.value, &mut x);
                }
                store[port.value.0] = Some(Arc::new(x));
            }
            store
        };
        Walk {
            graph,
            codes,
            float: (0..n).map(|i| store(i, false)).collect(),
            quantized: (0..n).map(|i| store(i, true)).collect(),
            last: exec::last_reads(graph),
            seed,
        }
    }

    /// Sums over the windows that layer `node` (number `at`) reads in both networks, for its float weights `[m, k]`.
    pub fn moments(&self, at: usize, w: &Array2<f64>) -> Moments {
        let node = &self.graph.nodes[at];
        let groups = match node.op {
            Op::Conv { groups, .. } => groups,
            _ => 1,
        };
        let mut moments = Moments::new(w.nrows(), w.ncols(), groups);
        let out = &self.graph.value(node.output).shape;
        let positions = out.iter().product::<usize>() / w.nrows().max(1);
        let per = ROWS.div_ceil(self.float.len()).min(positions).max(1);
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed ^ at as u64);
        let read = |store: &Store, group: usize, picks: &[usize]| -> Array2<f64> {
            let x = store[node.inputs[0].0]
                .as_deref()
                .expect("nodes are in execution order");
            windows(node, x, (group, groups), picks, out).mapv(f64::from)
        };
        // Blocks of samples: one product per block and group.
        let picks: Vec<Vec<usize>> = (0..self.float.len())
            .map(|_| {
                let mut picks = rand::seq::index::sample(&mut rng, positions, per).into_vec();
                picks.sort_unstable();
                picks
            })
            .collect();
        for block in (0..self.float.len()).collect::<Vec<_>>().chunks(BLOCK) {
            for group in 0..groups {
                let of = |stores: &[Store]| {
                    let parts: Vec<Array2<f64>> = block
                        .iter()
                        .map(|&i| read(&stores[i], group, &picks[i]))
                        .collect();
                    let views: Vec<_> = parts.iter().map(|p| p.view()).collect();
                    ndarray::concatenate(Axis(0), &views).expect("equal row lengths")
                };
                let (x, y) = (of(&self.float), of(&self.quantized));
                moments.add(group, x.view(), y.view(), w);
            }
        }
        moments
    }

    /// Execute node number `at` in both networks, in the quantized one with weights `v` where they are given.
    pub fn step(&mut self, at: usize, v: Option<Array2<f64>>) {
        let (graph, last, codes) = (self.graph, &self.last, self.codes);
        let node = &graph.nodes[at];
        let shape = &graph.value(node.output).shape;
        let replaced = v.map(|v| {
            let shape = &graph.value(node.inputs[1]).shape;
            let flat: Vec<f32> = v.iter().map(|&v| v as f32).collect();
            Arc::new(ArrayD::from_shape_vec(IxDyn(shape), flat).expect("one value per weight"))
        });
        let run = |store: &mut Store, weights: Option<&Arc<ArrayD<f32>>>, round: bool| {
            let args: Vec<Arc<ArrayD<f32>>> = node
                .inputs
                .iter()
                .enumerate()
                .map(|(i, id)| match (i, weights) {
                    (1, Some(w)) => w.clone(),
                    _ => store[id.0].clone().expect("nodes are in execution order"),
                })
                .collect();
            let args: Vec<&ArrayD<f32>> = args.iter().map(AsRef::as_ref).collect();
            let mut y = exec::apply(&node.op, &args, shape);
            if round {
                codes.round(node.output, &mut y);
            }
            store[node.output.0] = Some(Arc::new(y));
            for id in &node.inputs {
                if last[id.0] == Some(at) {
                    store[id.0] = None;
                }
            }
        };
        self.float.par_iter_mut().for_each(|s| run(s, None, false));
        self.quantized
            .par_iter_mut()
            .for_each(|s| run(s, replaced.as_ref(), true));
    }
}

/// Samples whose windows are multiplied at once.
const BLOCK: usize = 32;

/// Rows that `node` multiplies with the weights of `group`, at `positions` of its output.
fn windows(
    node: &Node,
    x: &ArrayD<f32>,
    (group, groups): (usize, usize),
    positions: &[usize],
    out: &[usize],
) -> Array2<f32> {
    match &node.op {
        Op::Conv { window, .. } => exec::windows(x, window, (group, groups), positions, out),
        _ => {
            let k = x.shape().last().copied().unwrap_or(1);
            let flat: Vec<f32> = x.iter().copied().collect();
            let rows = positions.iter().flat_map(|&p| flat[p * k..][..k].to_vec());
            Array2::from_shape_vec((positions.len(), k), rows.collect())
                .expect("k values per position")
        }
    }
}
