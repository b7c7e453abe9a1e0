//! A network scored as the board runs it: lowered to integers and executed by the engine.

use super::data::Data;
use super::network::{Head, Network};
use super::objective::{Objective, class_of};
use crate::calibrate::{Method, calibrate};
use crate::io::Ports;
use crate::ir::{Graph, passes};
use crate::lower::format::Formats;
use crate::lower::given::Given;
use crate::lower::lower;
use crate::pack::{Extras, pack};
use crate::plan::{merge_in_place, plan};
use crate::{Error, Samples};
use elastiq::{Backend, Engine, OpSet};
use rayon::prelude::*;

/// Samples that activation ranges are taken from.
const CALIBRATION_SAMPLES: usize = 128;

/// Data that networks are scored on, and ranges chosen with.
pub struct Scorer<'a> {
    calibration: Samples,
    samples: &'a Samples,
    data: &'a Data,
    objective: Objective,
}

impl<'a> Scorer<'a> {
    /// Ranges come from `train`, evenly spaced; scores from `samples`, which `data` was made of.
    pub fn new(
        train: &Samples,
        samples: &'a Samples,
        data: &'a Data,
        objective: Objective,
    ) -> Self {
        Scorer {
            calibration: train.evenly(CALIBRATION_SAMPLES),
            samples,
            data,
            objective,
        }
    }

    /// Samples that ranges come from.
    pub fn calibration(&self) -> &Samples {
        &self.calibration
    }

    /// Top-1 accuracy, or the negative mean squared error, of the 8-bit network with `params`: higher is better.
    ///
    /// # Errors
    /// Names the node that cannot be lowered.
    pub fn score(&self, network: &Network, params: &[Vec<f32>]) -> Result<f64, Error> {
        let (graph, _) = passes::optimize(network.with_params(params));
        self.score_given(&graph, network.head(), &Given::default())
    }

    /// [`Scorer::score`] of a graph whose quantization is partly `given`.
    ///
    /// # Errors
    /// As [`Scorer::score`].
    pub fn score_given(&self, graph: &Graph, head: Head, given: &Given) -> Result<f64, Error> {
        let score = |out: &[f32], i: usize| match self.objective {
            Objective::Reconstruct => {
                let input = &self.samples.file_item(graph, i)[0];
                let square = |(a, b): (&f32, &f32)| f64::from(a - b).powi(2);
                -out.iter().zip(input).map(square).sum::<f64>() / out.len().max(1) as f64
            }
            Objective::Classify => f64::from(u8::from(class(head, out) == self.data.labels[i])),
        };
        let outputs = self.outputs(graph, given)?;
        let each = outputs.iter().enumerate();
        let scores: Vec<f64> = each.map(|(i, out)| score(out, i)).collect();
        Ok(scores.iter().sum::<f64>() / scores.len().max(1) as f64)
    }

    /// Class that the integer network puts each sample into.
    ///
    /// # Errors
    /// As [`Scorer::score`].
    pub fn classes(&self, graph: &Graph, head: Head, given: &Given) -> Result<Vec<usize>, Error> {
        let outputs = self.outputs(graph, given)?;
        Ok(outputs.iter().map(|out| class(head, out)).collect())
    }

    /// First output of the integer network for each sample.
    fn outputs(&self, graph: &Graph, given: &Given) -> Result<Vec<Vec<f32>>, Error> {
        let ranges = calibrate(graph, &self.calibration, Method::default(), &mut |_, _| {})?;
        let mut net = lower(graph, &ranges, &Formats::default(), given)?;
        merge_in_place(&mut net);
        let bytes = pack(
            &net,
            &plan(&net, Backend::Portable),
            graph,
            &Extras::default(),
        )?;
        outputs(&bytes, graph, self.samples)
    }
}

/// Class that an output of the network stands for.
fn class(head: Head, out: &[f32]) -> usize {
    match (head, out) {
        (Head::Classes, [index]) => *index as usize,
        (Head::Binary, _) => class_of(out, 0.5),
        _ => class_of(out, 0.0),
    }
}

/// First output of the artifact `bytes` of `graph` for every sample, as real numbers, by the engine.
///
/// # Errors
/// Bytes that are no artifact of `graph`.
pub(crate) fn outputs(
    bytes: &[u8],
    graph: &Graph,
    samples: &Samples,
) -> Result<Vec<Vec<f32>>, Error> {
    let failed = |e: &dyn std::fmt::Debug| Error::input(format!("internal error: running: {e:?}"));
    let engine = Engine::<{ OpSet::ALL }>::new(bytes).map_err(|e| failed(&e))?;
    let ports = Ports::of(engine.model())?;
    let one = |arena: &mut Vec<u8>, i: usize| -> Result<Vec<f32>, Error> {
        let mut session = engine.start(arena).map_err(|e| failed(&e))?;
        ports.feed(&mut session, &samples.file_item(graph, i))?;
        session.finish().map_err(|e| failed(&e))?;
        let out = ports.dequantize(0, session.output(0).unwrap_or_default())?;
        Ok(out.iter().copied().collect())
    };
    let arena = || vec![0; engine.model().arena_len()];
    // Collected in the order of the samples, whatever thread had them.
    (0..samples.len())
        .into_par_iter()
        .map_init(arena, one)
        .collect()
}
