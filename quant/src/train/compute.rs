//! A network on a device: gradients of a mini-batch, and figures without gradients.

use super::data::Data;
use super::network::{Hooks, Network, NoHooks};
use super::objective::{Objective, Task};
use super::var::{Var, host, vector};
use super::wdr::Wdr;
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
    /// One gradient per parameter, all finite; `None` for what took no part.
    pub grads: Vec<Option<Tensor<1>>>,
    /// Euclidean norm of all gradients together.
    pub norm: f32,
}

/// Gradients of a loss, all finite.
pub struct Grads {
    /// One per parameter; `None` where it took no part.
    pub list: Vec<Option<Tensor<1>>>,
    /// Euclidean norm of all gradients together.
    pub norm: f32,
}

impl Grads {
    /// Gradients of `leaves`, that of parameter `i` with what `extra` gives added.
    ///
    /// # Errors
    /// The index of the first gradient that is not finite.
    pub fn of(
        loss: &Tensor<1>,
        leaves: &[Option<Tensor<1>>],
        mut extra: Vec<(usize, Tensor<1>)>,
    ) -> Result<Grads, usize> {
        let mut found = loss.backward();
        let mut list: Vec<Option<Tensor<1>>> = leaves
            .iter()
            .map(|leaf| leaf.as_ref()?.grad_remove(&mut found))
            .collect();
        for (i, more) in extra.drain(..) {
            list[i] = Some(match list[i].take() {
                Some(g) => g + more,
                None => more,
            });
        }
        let there = || (0..list.len()).filter_map(|i| Some((i, list[i].as_ref()?)));
        let squares: Vec<Tensor<1>> = there().map(|(_, g)| g.clone().square().sum()).collect();
        let squares = host(Tensor::cat(squares, 0));
        let mut at = there().map(|(i, _)| i);
        if let Some(bad) = squares.iter().position(|s| !s.is_finite()) {
            return Err(at.nth(bad).unwrap_or(0));
        }
        let norm = squares.iter().map(|&s| f64::from(s)).sum::<f64>().sqrt() as f32;
        Ok(Grads { list, norm })
    }
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

    /// Loss and gradients of the samples `picks`; `wdr` acts on the distribution of the weights.
    ///
    /// # Errors
    /// A loss or gradient that is not finite, with the first layer where it is not.
    pub fn step(
        &self,
        params: &[Tensor<1>],
        data: &Data,
        picks: &[usize],
        mix: Mix,
        wdr: Option<&Wdr>,
    ) -> Result<Step, Error> {
        self.step_of(params, data, picks, mix, wdr, |out| {
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
        self.step_of(params, data, picks, mix, None, loss)
    }

    fn step_of(
        &self,
        params: &[Tensor<1>],
        data: &Data,
        picks: &[usize],
        mix: Mix,
        wdr: Option<&Wdr>,
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
        let (shape_loss, extra) = self.shape(wdr, params);
        let value = host(loss.clone().inner())[0] + shape_loss;
        if !value.is_finite() {
            return Err(self.blame(params, &inputs, picks.len(), NoHooks));
        }
        let leaves: Vec<Option<Tensor<1>>> = leaves.into_iter().map(Some).collect();
        let grads = Grads::of(&loss, &leaves, extra).map_err(|i| self.not_finite(i))?;
        Ok(Step {
            loss: value,
            correct: self.correct(scores, data, picks),
            grads: grads.list,
            norm: grads.norm,
        })
    }

    /// The error that the gradient of parameter `i` is not finite.
    pub fn not_finite(&self, i: usize) -> Error {
        let node = self.network.reader(i);
        let name = &self.network.params()[i].name;
        let text = format!("the gradient of `{name}` is not finite");
        Error::layer(&node.name, node.op.name(), text)
    }

    /// Loss of the distribution of the weights, all layers but the first, and what it adds to their gradients.
    pub fn shape(&self, wdr: Option<&Wdr>, params: &[Tensor<1>]) -> (f32, Vec<(usize, Tensor<1>)>) {
        let Some(wdr) = wdr else {
            return (0.0, Vec::new());
        };
        let weights = self.network.weights_but_first();
        let share = 1.0 / weights.len().max(1) as f64;
        let (mut sum, mut grads) = (0.0, Vec::new());
        for i in weights {
            let (loss, slope) = wdr.of_layer(&host(params[i].clone()));
            sum += share * loss;
            let slope = slope.into_iter().map(|g| (share * g) as f32).collect();
            grads.push((i, vector(slope, &self.device)));
        }
        (sum as f32, grads)
    }

    /// Mean loss, and share of correct samples where there are classes, over all of `data`.
    pub fn evaluate(&self, params: &[Tensor<1>], data: &Data) -> (f32, Option<f32>) {
        self.evaluate_with(data, &mut |inputs, lead| {
            self.forward(params, inputs, lead, &mut NoHooks)
        })
    }

    /// [`Compute::evaluate`] of what `forward` makes of the inputs of a mini-batch.
    pub fn evaluate_with(
        &self,
        data: &Data,
        forward: &mut dyn FnMut(&[Tensor<1>], usize) -> Tensor<2>,
    ) -> (f32, Option<f32>) {
        let all: Vec<usize> = (0..data.len()).collect();
        let (mut sum, mut correct) = (0.0, 0);
        for picks in all.chunks(EVALUATION_BATCH) {
            let out = forward(&self.inputs(data, picks, None), picks.len());
            correct += self.correct(out.clone(), data, picks);
            let loss = host(self.loss(out, data, picks, None))[0];
            sum += f64::from(loss) * picks.len() as f64;
        }
        let mean = (sum / all.len() as f64) as f32;
        (mean, self.accuracy(correct, all.len()))
    }

    /// What [`Network::forward`] gives for every sample of `data`, `[samples, width]`.
    pub fn outputs(&self, params: &[Tensor<1>], data: &Data) -> Vec<f32> {
        let all: Vec<usize> = (0..data.len()).collect();
        let run = |picks: &[usize]| {
            let inputs = self.inputs(data, picks, None);
            host(self.forward(params, &inputs, picks.len(), &mut NoHooks))
        };
        all.chunks(EVALUATION_BATCH).flat_map(run).collect()
    }

    /// `correct` of `seen` samples as a share; `None` without classes.
    pub fn accuracy(&self, correct: usize, seen: usize) -> Option<f32> {
        let share = correct as f64 / seen.max(1) as f64;
        (self.task.objective == Objective::Classify).then_some(share as f32)
    }

    /// [`Network::forward`] with the constants that are here.
    pub fn forward(
        &self,
        params: &[Tensor<1>],
        inputs: &[Tensor<1>],
        lead: usize,
        hooks: &mut dyn Hooks,
    ) -> Tensor<2> {
        let constants = &self.constants;
        self.network.forward(params, constants, inputs, lead, hooks)
    }

    /// Loss of what [`Compute::forward`] gave for the samples `picks`.
    pub fn loss(&self, out: Tensor<2>, data: &Data, picks: &[usize], mix: Mix) -> Tensor<1> {
        let targets = self.task.targets(data, picks, mix);
        let columns = targets.values.len() / picks.len();
        let values = vector(targets.values, &self.device).reshape([picks.len(), columns]);
        self.task.loss(out, values, targets.norm)
    }

    /// Samples of `picks` that `scores` are right about.
    pub fn correct(&self, scores: Tensor<2>, data: &Data, picks: &[usize]) -> usize {
        match self.task.objective {
            Objective::Classify => self.task.correct(&host(scores), data, picks),
            Objective::Reconstruct => 0,
        }
    }

    /// Inputs of the samples `picks`.
    pub fn inputs(&self, data: &Data, picks: &[usize], mix: Mix) -> Vec<Tensor<1>> {
        let arrays = data.batch(picks, mix).into_iter();
        arrays.map(|v| vector(v, &self.device)).collect()
    }

    /// The first layer whose parameters or output are not finite, when the network runs with `hooks`.
    pub fn blame(
        &self,
        params: &[Tensor<1>],
        inputs: &[Tensor<1>],
        lead: usize,
        hooks: impl Hooks,
    ) -> Error {
        let bad = |p: &Tensor<1>| host(p.clone()).iter().any(|v| !v.is_finite());
        let mut search = Search {
            network: self.network,
            bad_params: params.iter().map(bad).collect(),
            hooks,
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
struct Search<'a, H> {
    network: &'a Network,
    bad_params: Vec<bool>,
    hooks: H,
    found: Option<(usize, String)>,
}

impl<H: Hooks> Hooks for Search<'_, H> {
    fn operand(&mut self, node: usize, index: usize, x: Var) -> Var {
        self.hooks.operand(node, index, x)
    }

    fn replace(&mut self, node: usize, x: Var) -> Var {
        self.hooks.replace(node, x)
    }

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
