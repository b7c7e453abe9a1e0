//! Ranges of activations, observed while the float network runs over samples.
//!
//! Minimum, maximum and histogram counts do not depend on the order of the samples, so the result is the same
//! for any number of threads.

mod histogram;

use crate::ir::{Graph, ValueId, exec};
use crate::{Error, Samples};
use histogram::Histogram;
use rayon::prelude::*;

/// How a range is chosen from what was observed.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Method {
    /// Smallest and largest value seen.
    MinMax,
    /// Cut off this share of the non-zero values on either side: 99.99 keeps all but 0.01 % per side.
    Percentile(f32),
    /// The range whose rounding and clipping errors together have the smallest mean square.
    #[default]
    Mse,
}

/// Range per value of the graph; `None` for constants and values that no sample reached.
#[derive(Clone, Debug, PartialEq)]
pub struct Ranges(pub Vec<Option<(f32, f32)>>);

impl Ranges {
    /// Range of `id`.
    pub fn get(&self, id: ValueId) -> Option<(f32, f32)> {
        self.0.get(id.0).copied().flatten()
    }
}

/// Samples handed to the threads between two calls of the progress function.
const CHUNK: usize = 16;

/// Run `graph` over `samples` and choose a range per value.
///
/// `progress(done, total)` counts executions of the network: one per sample, two where `method` needs a
/// histogram.
///
/// # Errors
/// Samples that do not fit the network, a percentile outside (50, 100], or an activation that is not finite.
pub fn calibrate(
    graph: &Graph,
    samples: &Samples,
    method: Method,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Ranges, Error> {
    samples.check(graph)?;
    if let Method::Percentile(p) = method
        && !(p > 50.0 && p <= 100.0)
    {
        return Err(Error::input(format!(
            "calibration: percentile {p} is not above 50 and at most 100"
        )));
    }
    let passes = if method == Method::MinMax { 1 } else { 2 };
    let total = samples.len() * passes;
    let extremes = pass(graph, samples, &|_| Extremes::default(), &mut |done| {
        progress(done, total)
    });
    let seen: Vec<Option<(f32, f32)>> = extremes.iter().map(Extremes::range).collect();
    if let Some(at) = extremes.iter().position(|e| e.broken) {
        let name = &graph.values[at].name;
        return Err(Error::input(format!(
            "calibration: '{name}' takes a value that is not finite"
        )));
    }
    if method == Method::MinMax {
        return Ok(Ranges(seen));
    }
    let start = |id: usize| seen[id].map(|(lo, hi)| Histogram::new(lo, hi));
    let first = samples.len();
    let counts = pass(graph, samples, &start, &mut |done| {
        progress(first + done, total)
    });
    let choose = |h: &Histogram| match method {
        Method::Percentile(p) => h.percentile(f64::from(p) / 100.0),
        _ => h.least_error(),
    };
    Ok(Ranges(
        counts.iter().map(|h| h.as_ref().map(choose)).collect(),
    ))
}

/// Something that is fed with tensors and merged with its like, in any order.
trait Observe: Send {
    fn feed(&mut self, values: &mut dyn Iterator<Item = f32>);
    fn merge(&mut self, other: Self);
}

#[derive(Clone, Copy, Default)]
struct Extremes {
    range: Option<(f32, f32)>,
    broken: bool,
}

impl Extremes {
    fn range(&self) -> Option<(f32, f32)> {
        self.range
    }

    fn widen(&mut self, lo: f32, hi: f32) {
        let (a, b) = self.range.unwrap_or((lo, hi));
        self.range = Some((a.min(lo), b.max(hi)));
    }
}

impl Observe for Extremes {
    fn feed(&mut self, values: &mut dyn Iterator<Item = f32>) {
        let (mut lo, mut hi, mut finite) = (f32::INFINITY, f32::NEG_INFINITY, true);
        for v in values {
            finite &= v.is_finite();
            lo = lo.min(v);
            hi = hi.max(v);
        }
        self.broken |= !finite;
        if lo <= hi {
            self.widen(lo, hi);
        }
    }

    fn merge(&mut self, other: Self) {
        self.broken |= other.broken;
        if let Some((lo, hi)) = other.range {
            self.widen(lo, hi);
        }
    }
}

impl Observe for Option<Histogram> {
    fn feed(&mut self, values: &mut dyn Iterator<Item = f32>) {
        if let Some(h) = self {
            values.for_each(|v| h.add(v));
        }
    }

    fn merge(&mut self, other: Self) {
        if let (Some(mine), Some(other)) = (self.as_mut(), other) {
            mine.merge(&other);
        }
    }
}

/// One execution per sample, observed by one `T` per value.
fn pass<T: Observe>(
    graph: &Graph,
    samples: &Samples,
    start: &(dyn Fn(usize) -> T + Sync),
    progress: &mut dyn FnMut(usize),
) -> Vec<T> {
    let fresh = || (0..graph.values.len()).map(start).collect::<Vec<T>>();
    let mut all = fresh();
    let mut done = 0;
    while done < samples.len() {
        let end = (done + CHUNK).min(samples.len());
        let part = (done..end)
            .into_par_iter()
            .fold(fresh, |mut seen, i| {
                observe(graph, &samples.ir_item(graph, i), &mut |id, values| {
                    seen[id.0].feed(values)
                });
                seen
            })
            .reduce(fresh, merged);
        all = merged(all, part);
        done = end;
        progress(done);
    }
    all
}

fn merged<T: Observe>(mut a: Vec<T>, b: Vec<T>) -> Vec<T> {
    a.iter_mut().zip(b).for_each(|(a, b)| a.merge(b));
    a
}

/// Called with each value and its elements.
type Feed<'a> = dyn FnMut(ValueId, &mut dyn Iterator<Item = f32>) + 'a;

/// Hand every activation of one execution to `feed`, graph inputs included, each once.
fn observe(graph: &Graph, inputs: &[ndarray::ArrayD<f32>], feed: &mut Feed) {
    exec::run_quantized(graph, inputs, &mut |id, x| {
        if graph.value(id).constant.is_none() {
            feed(id, &mut x.iter().copied());
        }
    });
}
