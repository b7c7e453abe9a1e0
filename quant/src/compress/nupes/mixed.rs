//! Widths of all layers within a budget: each width of each layer with an exponent of its own, found once, then any
//! mixture of them judged by the outputs of the whole network.

use super::{Options, Width, acts, widths};
use crate::calibrate::{Ranges, calibrate};
use crate::compile::{CompileOptions, Progress, compile_graph};
use crate::compress::fake::Fake;
use crate::compress::search::{
    Artifacts, Budget, Event, Evolve, Form, Found, Gene, Method, Problem, Unit, search,
};
use crate::ir::{Graph, exec};
use crate::lower::format::Formats;
use crate::lower::given::Given;
use crate::train::Control;
use crate::{Error, Samples};
use std::collections::BTreeMap;

/// Widths that a layer can have; 8 is linear.
pub const WIDTHS: [u8; 6] = [2, 3, 4, 5, 6, 8];
/// Samples that mixtures are judged by.
const SAMPLES: usize = 128;

/// A mixture of widths.
#[derive(Clone, Debug)]
pub struct Mixture {
    /// Bits by layer.
    pub bits: BTreeMap<String, u8>,
    /// Weights whose bytes the budget was checked with.
    pub given: Given,
    /// Everything that the search saw.
    pub found: Found,
}

struct Mixed<'a> {
    graph: &'a Graph,
    ranges: &'a Ranges,
    samples: Samples,
    /// Outputs of the float network, and their energy.
    float: Vec<Vec<f64>>,
    layers: Vec<(String, Vec<Width>)>,
    sizes: Artifacts,
    per_channel: bool,
    genes: Vec<Gene>,
}

/// Find the widths of `graph` (after passes) that lose least within `budget`, for artifacts as `compile` says.
///
/// # Errors
/// As [`super::decide`]; a budget that nothing fits or that is in a unit without a known cost.
pub fn mix(
    graph: &Graph,
    source: &str,
    calib: &Samples,
    compile: &CompileOptions,
    options: &Options,
    budget: &Budget,
    progress: &mut Progress,
) -> Result<Mixture, Error> {
    let quiet = CompileOptions {
        verify_samples: 1,
        verify_on: None,
        given: Given::default(),
        ..compile.clone()
    };
    let ranges = calibrate(graph, calib, compile.method, &mut |done, total| {
        progress("calibrate", done, total)
    })?;
    let narrow = &WIDTHS[..WIDTHS.len() - 1];
    let layers = widths(graph, calib, &ranges, options, narrow, progress)?;
    let per_channel = !options.per_tensor;
    let form = |bits| Form {
        bits,
        per_channel,
        symmetric: true,
    };
    let mut sizes = None;
    for (at, &bits) in WIDTHS.iter().enumerate().rev() {
        progress("artifacts", WIDTHS.len() - at, WIDTHS.len());
        let of = |(name, all): (&String, &Vec<Width>)| {
            Some((name.clone(), all.get(at)?.weights.clone()))
        };
        let opts = CompileOptions {
            given: Given {
                weights: layers.iter().filter_map(of).collect(),
                ..Default::default()
            },
            ..quiet.clone()
        };
        let made = compile_graph(graph.clone(), source, calib, &opts, &mut |_, _, _| {})?;
        match &mut sizes {
            None => sizes = Some(Artifacts::new(&made.bytes, form(bits), compile.backend)?),
            Some(sizes) => sizes.add(&made.bytes, form(bits))?,
        }
    }
    let sizes = sizes.ok_or_else(|| Error::input("no widths to choose from"))?;
    let n = calib.len().min(SAMPLES);
    let picks: Vec<usize> = (0..n).map(|i| i * calib.len() / n.max(1)).collect();
    let select = |x: &ndarray::ArrayD<f32>| x.select(ndarray::Axis(0), &picks);
    let samples = Samples::new(calib.inputs.iter().map(select).collect());
    let float = (0..n)
        .map(|i| {
            flat(&exec::run(
                graph,
                &samples.ir_item(graph, i),
                &mut |_, _| {},
            ))
        })
        .collect();
    let gene = |name: &String| Gene {
        name: format!("{name} weights"),
        levels: WIDTHS.len() as u8,
        group: 0,
        ordered: true,
    };
    let problem = Mixed {
        graph,
        ranges: &ranges,
        samples,
        float,
        genes: layers.keys().map(gene).collect(),
        layers: layers.into_iter().collect(),
        sizes,
        per_channel,
    };
    let mut watch = |event: Event| {
        progress(event.stage, event.done, event.total);
        Control::Continue
    };
    let method = Method::Evolve(Evolve::default());
    let found = search(&problem, budget, &method, options.seed, &[], &mut watch)?;
    let best = found.best.as_ref();
    let genome = &best
        .ok_or_else(|| Error::input("budget: nothing found"))?
        .genome;
    let mut given = problem.given(genome);
    if options.acts < 8 {
        given.activations = acts::narrow(graph, calib, options.acts)?;
    }
    Ok(Mixture {
        bits: problem.bits(genome).map(|(n, b)| (n.into(), b)).collect(),
        given,
        found,
    })
}

impl Mixed<'_> {
    fn bits<'g>(&'g self, genome: &'g [u8]) -> impl Iterator<Item = (&'g str, u8)> {
        let names = self.layers.iter().map(|(name, _)| name.as_str());
        names.zip(genome.iter().map(|&level| WIDTHS[usize::from(level)]))
    }

    fn given(&self, genome: &[u8]) -> Given {
        let of = |((name, all), &level): (&(String, Vec<Width>), &u8)| {
            Some((name.clone(), all.get(usize::from(level))?.weights.clone()))
        };
        Given {
            weights: self.layers.iter().zip(genome).filter_map(of).collect(),
            ..Default::default()
        }
    }
}

impl Problem for Mixed<'_> {
    fn genes(&self) -> &[Gene] {
        &self.genes
    }

    fn cost(&self, genome: &[u8], unit: Unit) -> Option<f64> {
        let form = |bits| Form {
            bits,
            per_channel: self.per_channel,
            symmetric: true,
        };
        let sizes = || {
            self.sizes
                .sizes(self.bits(genome).map(|(n, b)| (n, form(b))))
        };
        match unit {
            Unit::Flash => Some(sizes()?.flash as f64),
            Unit::Arena => Some(sizes()?.arena as f64),
            Unit::Instructions => None,
            Unit::Bits => {
                let count = |all: &Vec<Width>| all.first().map_or(0, |w| w.weights.codes.len());
                let counts = self.layers.iter().map(|(_, all)| count(all) as f64);
                let all: f64 = counts.clone().sum();
                let bits = self.bits(genome).map(|(_, bits)| f64::from(bits));
                Some(counts.zip(bits).map(|(n, b)| n * b).sum::<f64>() / all.max(1.0))
            }
        }
    }

    fn samples(&self) -> usize {
        self.float.len()
    }

    /// Squared error of all outputs over their squared size.
    fn loss(&self, genome: &[u8], samples: usize) -> Result<f64, Error> {
        let given = self.given(genome);
        let fake = Fake::new(self.graph, self.ranges, &Formats::default(), &given)?;
        let (mut error, mut size) = (0.0, f64::MIN_POSITIVE);
        for (i, want) in self.float.iter().enumerate().take(samples) {
            for (a, b) in flat(&fake.run(&self.samples, i)).iter().zip(want) {
                error += (a - b).powi(2);
                size += b * b;
            }
        }
        Ok(error / size)
    }
}

fn flat(outputs: &[ndarray::ArrayD<f32>]) -> Vec<f64> {
    let values = outputs.iter().flat_map(|y| y.iter());
    values.map(|&v| f64::from(v)).collect()
}
