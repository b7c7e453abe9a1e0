//! A network on a device: gradients of a mini-batch, and figures without gradients.

use super::data::Data;
use super::network::{Hooks, Network, NoHooks};
use super::objective::{Objective, Task};
use super::var::{Var, host, vector};
use crate::Error;
use crate::ir::ValueId;
use burn::tensor::{Device, Tensor};
use std::collections::HashMap;

/// Samples of a mini-batch without gradients.
const EVALUATION_BATCH: usize = 256;

/// Share of the first sample, and second samples, of mixup.
pub type Mix<'a> = Option<(f32, &'a [usize])>;

/// What a network needs to run.
pub struct Compute<'a> {
    pub network: &'a Network,
    pub task: Task,
    pub device: Device,
    constants: HashMap<ValueId, Var>,
}

/// Result of a mini-batch.
pub struct Step {
    pub loss: f32,
    /// Samples whose highest score is the label; 0 without classes.
    pub correct: usize,
    /// One gradient per parameter, all finite.
    pub grads: Vec<Tensor<1>>,
    /// Euclidean norm of all gradients together.
    pub norm: f32,
}

impl<'a> Compute<'a> {
    /// Bring the constants of `network` to `device`.
    pub fn new(network: &'a Network, task: Task, device: Device) -> Compute<'a> {
        Compute {
            constants: network.constants(&device),
            network,
            task,
            device,
        }
    }

    /// Loss and gradients of the samples `picks`.
    ///
    /// # Errors
    /// A loss or gradient that is not finite, with the first layer where it is not.
    pub fn step(
        &self,
        params: &[Tensor<1>],
        data: &Data,
        picks: &[usize],
        mix: Mix,
    ) -> Result<Step, Error> {
        self.step_with(params, data, picks, mix, |out| {
            self.loss(out, data, picks, mix)
        })
    }

    /// [`Compute::step`] with a loss of its own: `loss` gets what [`Network::forward`] gives.
    pub fn step_with(
        &self,
        params: &[Tensor<1>],
        data: &Data,
        picks: &[usize],
        mix: Mix,
        loss: impl FnOnce(Tensor<2>) -> Tensor<1>,
    ) -> Result<Step, Error> {
        let inputs = self.inputs(data, picks, mix);
        let leaves: Vec<Tensor<1>> = params
            .iter()
            .map(|p| p.clone().autodiff().require_grad())
            .collect();
        let out = self.forward(&leaves, &inputs, picks.len(), &mut NoHooks);
        let scores = out.clone().inner();
        let loss = loss(out);
        let value = host(loss.clone().inner())[0];
        if !value.is_finite() {
            return Err(self.blame(params, &inputs, picks.len()));
        }
        let mut found = loss.backward();
        let grads: Vec<Tensor<1>> = leaves
            .iter()
            .zip(params)
            .map(|(leaf, p)| {
                let grad = leaf.grad_remove(&mut found);
                grad.unwrap_or_else(|| p.zeros_like())
            })
            .collect();
        let squares = grads.iter().map(|g| g.clone().square().sum()).collect();
        let squares = host(Tensor::cat(squares, 0));
        if let Some(i) = squares.iter().position(|s| !s.is_finite()) {
            let node = self.network.reader(i);
            let name = &self.network.params()[i].name;
            let text = format!("the gradient of `{name}` is not finite");
            return Err(Error::layer(&node.name, node.op.name(), text));
        }
        let norm = squares.iter().map(|&s| f64::from(s)).sum::<f64>().sqrt();
        Ok(Step {
            loss: value,
            correct: self.correct(scores, data, picks),
            grads,
            norm: norm as f32,
        })
    }

    /// Mean loss, and share of correct samples where there are classes, over all of `data`.
    pub fn evaluate(&self, params: &[Tensor<1>], data: &Data) -> (f32, Option<f32>) {
        let all: Vec<usize> = (0..data.len()).collect();
        let (mut sum, mut correct) = (0.0, 0);
        for picks in all.chunks(EVALUATION_BATCH) {
            let inputs = self.inputs(data, picks, None);
            let out = self.forward(params, &inputs, picks.len(), &mut NoHooks);
            correct += self.correct(out.clone(), data, picks);
            let loss = host(self.loss(out, data, picks, None))[0];
            sum += f64::from(loss) * picks.len() as f64;
        }
        let mean = (sum / all.len() as f64) as f32;
        (mean, self.accuracy(correct, all.len()))
    }

    /// `correct` of `seen` samples as a share; `None` without classes.
    pub fn accuracy(&self, correct: usize, seen: usize) -> Option<f32> {
        let share = correct as f64 / seen.max(1) as f64;
        (self.task.objective == Objective::Classify).then_some(share as f32)
    }

    fn forward(
        &self,
        params: &[Tensor<1>],
        inputs: &[Tensor<1>],
        lead: usize,
        hooks: &mut dyn Hooks,
    ) -> Tensor<2> {
        let constants = &self.constants;
        self.network.forward(params, constants, inputs, lead, hooks)
    }

    fn loss(&self, out: Tensor<2>, data: &Data, picks: &[usize], mix: Mix) -> Tensor<1> {
        let targets = self.task.targets(data, picks, mix);
        let columns = targets.values.len() / picks.len();
        let values = vector(targets.values, &self.device).reshape([picks.len(), columns]);
        self.task.loss(out, values, targets.norm)
    }

    fn correct(&self, scores: Tensor<2>, data: &Data, picks: &[usize]) -> usize {
        match self.task.objective {
            Objective::Classify => self.task.correct(&host(scores), data, picks),
            Objective::Reconstruct => 0,
        }
    }

    fn inputs(&self, data: &Data, picks: &[usize], mix: Mix) -> Vec<Tensor<1>> {
        let arrays = data.batch(picks, mix).into_iter();
        arrays.map(|v| vector(v, &self.device)).collect()
    }

    /// The first layer whose parameters or output are not finite.
    fn blame(&self, params: &[Tensor<1>], inputs: &[Tensor<1>], lead: usize) -> Error {
        let bad = |p: &Tensor<1>| host(p.clone()).iter().any(|v| !v.is_finite());
        let mut search = Search {
            network: self.network,
            bad_params: params.iter().map(bad).collect(),
            found: None,
        };
        self.forward(params, inputs, lead, &mut search);
        match search.found {
            Some((node, text)) => {
                let node = self.network.node(node);
                Error::layer(&node.name, node.op.name(), text)
            }
            None => Error::input("the loss is not finite, though the output of every layer is"),
        }
    }
}

/// Looks for the first value that is not finite.
struct Search<'a> {
    network: &'a Network,
    bad_params: Vec<bool>,
    found: Option<(usize, String)>,
}

impl Hooks for Search<'_> {
    fn output(&mut self, node: usize, x: &Var) {
        if self.found.is_some() {
            return;
        }
        let bad = self.network.params_of(node).find(|&p| self.bad_params[p]);
        if let Some(p) = bad {
            let name = &self.network.params()[p].name;
            self.found = Some((node, format!("parameter `{name}` is not finite")));
        } else if x.to_vec().iter().any(|v| !v.is_finite()) {
            self.found = Some((node, "its output is not finite".into()));
        }
    }
}
