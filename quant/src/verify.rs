//! The packed artifact against the float network, on the same samples.

use crate::io::{Ports, reals};
use crate::ir::{Graph, ValueId, exec};
use crate::lower::Lowered;
use crate::{Error, Samples};
use elastiq::{Engine, OpSet};
use rayon::prelude::*;
use serde::Serialize;
use std::collections::HashMap;

/// How far the integer network is from the float network.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Verification {
    /// Samples compared.
    pub samples: usize,
    /// Largest and mean absolute difference over all elements of all outputs, in the outputs' unit.
    pub max_error: f64,
    pub mean_error: f64,
    /// Signal to quantization noise of the outputs, dB.
    pub sqnr_db: Option<f64>,
    /// Share of samples whose largest element of the first output is the same one; `None` for single values.
    pub agree: Option<f64>,
    /// Share of samples whose largest element is the label, integer and float network; `None` without labels.
    pub top1: Option<f64>,
    pub float_top1: Option<f64>,
    /// Signal to quantization noise per operator of the artifact, dB; `None` where the float network has no such
    /// value.
    #[serde(skip)]
    pub layers: Vec<Option<f64>>,
}

/// Ratios are reported up to this; an exact match has no noise at all.
const MAX_DB: f64 = 200.0;

/// Energies of a signal and of its error.
#[derive(Clone, Copy, Debug, Default)]
struct Energy {
    signal: f64,
    noise: f64,
}

impl Energy {
    fn of(float: &[f32], got: &[f32]) -> Energy {
        let square = |v: f64| v * v;
        float
            .iter()
            .zip(got)
            .fold(Energy::default(), |e, (&f, &g)| Energy {
                signal: e.signal + square(f64::from(f)),
                noise: e.noise + square(f64::from(f) - f64::from(g)),
            })
    }

    fn add(&mut self, other: Energy) {
        self.signal += other.signal;
        self.noise += other.noise;
    }

    fn db(self) -> Option<f64> {
        (self.signal > 0.0).then(|| (10.0 * (self.signal / self.noise).log10()).min(MAX_DB))
    }
}

/// What one sample contributes.
struct Outcome {
    layers: Vec<Option<Energy>>,
    output: Energy,
    max: f64,
    sum: f64,
    count: usize,
    best: Option<(usize, usize)>,
}

/// Samples handed to the threads between two calls of the progress function.
const CHUNK: usize = 16;

/// Run variant `variant` of `bytes` and `graph` over all of `samples` and compare. `net` is what that variant was packed
/// from.
///
/// # Errors
/// Samples that do not fit the network.
pub fn verify(
    graph: &Graph,
    net: &Lowered,
    (bytes, variant): (&[u8], usize),
    samples: &Samples,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Verification, Error> {
    samples.check(graph)?;
    let mut engine = Engine::<{ OpSet::ALL }>::new(bytes)
        .map_err(|e| Error::input(format!("artifact: {e:?}")))?;
    engine
        .select(variant)
        .map_err(|e| Error::input(format!("artifact: {e}")))?;
    let ports = Ports::of(engine.model())?;
    let compared = compared(net);
    let mut total = Outcome {
        layers: vec![None; net.ops.len()],
        output: Energy::default(),
        max: 0.0,
        sum: 0.0,
        count: 0,
        best: None,
    };
    let (mut same, mut hits, mut float_hits, mut ranked) = (0, 0, 0, 0);
    let mut done = 0;
    while done < samples.len() {
        let end = (done + CHUNK).min(samples.len());
        let run = |i| one(graph, &engine, &ports, &compared, samples, i);
        let outcomes = (done..end)
            .into_par_iter()
            .map(run)
            .collect::<Result<Vec<_>, Error>>()?;
        // Added up in sample order: the same sums for any number of threads.
        for (i, outcome) in (done..end).zip(outcomes) {
            for (sum, part) in total.layers.iter_mut().zip(outcome.layers) {
                if let Some(part) = part {
                    sum.get_or_insert_default().add(part);
                }
            }
            total.output.add(outcome.output);
            total.max = total.max.max(outcome.max);
            total.sum += outcome.sum;
            total.count += outcome.count;
            if let Some((float, got)) = outcome.best {
                ranked += 1;
                same += usize::from(float == got);
                let label = samples.labels.as_ref().map(|l| l[i]);
                hits += usize::from(label == Some(got as i64));
                float_hits += usize::from(label == Some(float as i64));
            }
        }
        done = end;
        progress(done, samples.len());
    }
    let share = |n: usize| (ranked > 0).then(|| n as f64 / ranked as f64);
    let labelled = |n: usize| samples.labels.as_ref().and_then(|_| share(n));
    Ok(Verification {
        samples: samples.len(),
        max_error: total.max,
        mean_error: total.sum / total.count.max(1) as f64,
        sqnr_db: total.output.db(),
        agree: share(same),
        top1: labelled(hits),
        float_top1: labelled(float_hits),
        layers: total
            .layers
            .iter()
            .map(|e| e.and_then(Energy::db))
            .collect(),
    })
}

/// Per operator the value to compare its output with: where it is the last to write it.
fn compared(net: &Lowered) -> Vec<Option<ValueId>> {
    let last_writer = |i: usize| {
        net.ops
            .iter()
            .skip(i + 1)
            .all(|later| later.out != net.ops[i].out)
    };
    let value = |i: usize| {
        let out = net.ops[i].out;
        let whole = net.tensors[out].width == 1 && last_writer(i);
        net.tensors[out].value.filter(|_| whole)
    };
    (0..net.ops.len()).map(value).collect()
}

fn one(
    graph: &Graph,
    engine: &Engine<'_, { OpSet::ALL }>,
    ports: &Ports,
    compared: &[Option<ValueId>],
    samples: &Samples,
    i: usize,
) -> Result<Outcome, Error> {
    let mut wanted: HashMap<ValueId, Vec<f32>> = HashMap::new();
    compared
        .iter()
        .flatten()
        .for_each(|v| drop(wanted.insert(*v, Vec::new())));
    graph
        .outputs
        .iter()
        .for_each(|p| drop(wanted.insert(p.value, Vec::new())));
    exec::run_quantized(graph, &samples.ir_item(graph, i), &mut |id, x| {
        wanted
            .entry(id)
            .and_modify(|v| *v = x.iter().copied().collect());
    });

    let run = |e| Error::input(format!("artifact: {e:?}"));
    let model = engine.model();
    let mut arena = vec![0; model.arena_len()];
    let mut session = engine.start(&mut arena).map_err(run)?;
    ports.feed(&mut session, &samples.file_item(graph, i))?;
    let mut layers = Vec::with_capacity(compared.len());
    while let Some(op) = session.step().map_err(run)? {
        let value = compared.get(usize::from(op)).copied().flatten();
        let out = model.operator(op.into()).map(|row| row.out.get());
        layers.push(value.zip(out).map(|(v, t)| {
            let row = &model.tensors()[usize::from(t)];
            let got = reals(row, session.tensor(t).unwrap_or_default());
            Energy::of(&wanted[&v], &got)
        }));
    }
    let mut outcome = Outcome {
        layers,
        output: Energy::default(),
        max: 0.0,
        sum: 0.0,
        count: 0,
        best: None,
    };
    for (k, (port, io)) in graph.outputs.iter().zip(model.outputs()).enumerate() {
        let (float, got) = (
            &wanted[&port.value],
            reals(io.row, session.output(k).unwrap_or_default()),
        );
        outcome.output.add(Energy::of(float, &got));
        for (f, g) in float.iter().zip(&got) {
            let off = (f64::from(*f) - f64::from(*g)).abs();
            outcome.max = outcome.max.max(off);
            outcome.sum += off;
        }
        outcome.count += got.len();
        if k == 0 {
            outcome.best = best(float, &got, io.row.dtype);
        }
    }
    Ok(outcome)
}

/// Chosen class of the float and the integer network: the first largest element, or the index itself.
fn best(float: &[f32], got: &[f32], dtype: u8) -> Option<(usize, usize)> {
    match (float, got) {
        ([f], [g]) => (dtype == elastiq::format::DTYPE_I32).then_some((*f as usize, *g as usize)),
        _ => Some((argmax(float), argmax(got))),
    }
}

/// Index of the first largest element.
pub fn argmax(values: &[f32]) -> usize {
    let mut at = 0;
    for (i, v) in values.iter().enumerate() {
        if *v > values[at] {
            at = i;
        }
    }
    at
}
