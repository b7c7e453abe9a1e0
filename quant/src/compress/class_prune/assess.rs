//! A finished network put to the test: in float, and as the integers that the board computes.

use super::critical::{Critical, Verdict};
use super::figures::{Figures, threshold};
use super::learner::Learner;
use super::split::{Test, Train, Val};
use crate::compile::{CompileOptions, compile_graph};
use crate::ir::Graph;
use crate::train::Network;
use crate::train::data::Data;
use crate::train::score::outputs;
use crate::train::var::vector;
use crate::{Error, Samples};

/// Training samples that activation ranges are taken from.
const CALIBRATION_SAMPLES: usize = 128;

/// Figures of one network.
pub struct Assessment {
    pub val: Figures,
    pub test: Option<Figures>,
    /// 8-bit network on the engine.
    pub integers: Result<Integers, Error>,
}

/// Figures of an artifact.
pub struct Integers {
    pub bytes: Vec<u8>,
    pub weights_bytes: usize,
    pub val: Figures,
    pub test: Option<Figures>,
}

/// Where networks are tested.
pub struct Assessor<'a> {
    critical: &'a Critical,
    rates: Vec<f64>,
    calibration: Samples,
    val: &'a Val,
    test: Option<&'a Test>,
}

impl<'a> Assessor<'a> {
    /// Thresholds for `rates` come from `val`; nothing comes from `test`.
    pub fn new(
        critical: &'a Critical,
        rates: Vec<f64>,
        train: &Train,
        val: &'a Val,
        test: Option<&'a Test>,
    ) -> Assessor<'a> {
        Assessor {
            critical,
            rates,
            calibration: train.samples.evenly(CALIBRATION_SAMPLES),
            val,
            test,
        }
    }

    /// Figures of the network with `params`.
    pub fn assess(&self, learner: &Learner, params: &[Vec<f32>]) -> Assessment {
        let device = learner.device();
        let tensors: Vec<_> = params.iter().map(|v| vector(v.clone(), device)).collect();
        let verdicts = |data: &Data| self.critical.verdicts(&learner.outputs(&tensors, data));
        let (val, test) = self.figures(
            &verdicts(&self.val.data),
            self.test.map(|t| verdicts(&t.data)).as_deref(),
        );
        Assessment {
            val,
            test,
            integers: self.integers(learner.network(), learner.graph(params)),
        }
    }

    fn integers(&self, network: &Network, graph: Graph) -> Result<Integers, Error> {
        let options = CompileOptions {
            self_test_cases: 0,
            verify_samples: 1,
            ..Default::default()
        };
        let done = compile_graph(graph, "", &self.calibration, &options, &mut |_, _, _| {})?;
        let verdicts = |samples: &Samples| -> Result<Vec<Verdict>, Error> {
            let outputs = outputs(&done.bytes, &done.graph, samples)?;
            let one = |out: &Vec<f32>| self.critical.verdict_on_output(network.head(), out);
            Ok(outputs.iter().map(one).collect())
        };
        let on_val = verdicts(&self.val.samples)?;
        let on_test = self.test.map(|t| verdicts(&t.samples)).transpose()?;
        let (val, test) = self.figures(&on_val, on_test.as_deref());
        Ok(Integers {
            weights_bytes: done.report.weights_bytes,
            bytes: done.bytes,
            val,
            test,
        })
    }

    fn figures(&self, val: &[Verdict], test: Option<&[Verdict]>) -> (Figures, Option<Figures>) {
        let labels = self.val.labels();
        let thresholds: Vec<(f64, f64)> = self
            .rates
            .iter()
            .map(|&rate| (rate, threshold(self.critical, labels, val, rate)))
            .collect();
        let of =
            |labels: &[usize], v: &[Verdict]| Figures::new(self.critical, labels, v, &thresholds);
        let on_test = self.test.zip(test).map(|(t, v)| of(t.labels(), v));
        (of(labels, val), on_test)
    }
}
