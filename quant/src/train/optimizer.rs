//! SGD and Adam on tensors of the device, with gradient clipping and weight decay.

use super::var::{host, vector};
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

/// Rule that turns gradients into steps.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Rule {
    /// `v = momentum v + g; w -= lr v`; weight decay adds to `g`.
    Sgd { momentum: f32 },
    /// Kingma and Ba, 2015, with bias correction; weight decay is decoupled (Loshchilov and Hutter, 2019).
    Adam { beta1: f32, beta2: f32 },
}

impl Rule {
    /// SGD with the usual momentum.
    pub const SGD: Rule = Rule::Sgd { momentum: 0.9 };
    /// Adam with the usual decay rates.
    pub const ADAM: Rule = Rule::Adam {
        beta1: 0.9,
        beta2: 0.999,
    };
}

/// Keeps the division of Adam finite.
const ADAM_EPSILON: f32 = 1e-8;

/// Bound on gradients.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Clip {
    None,
    /// All gradients together are scaled down to this Euclidean norm.
    Norm(f32),
    /// Each element is limited to plus and minus this value.
    Value(f32),
}

/// An optimizer and what it remembers.
pub struct Optimizer {
    rule: Rule,
    weight_decay: f32,
    clip: Clip,
    /// Steps taken, per parameter.
    steps: Vec<u64>,
    /// Momentum, or first and second moment, per parameter.
    slots: Vec<Vec<Tensor<1>>>,
}

/// What an optimizer remembers: per parameter the steps it has taken, and its vectors.
pub type State = (Vec<u64>, Vec<Vec<Vec<f32>>>);

impl Optimizer {
    /// An optimizer that has taken no step, for parameters of the lengths in `params`.
    pub fn new(rule: Rule, weight_decay: f32, clip: Clip, params: &[Tensor<1>]) -> Optimizer {
        let slots = match rule {
            Rule::Sgd { momentum: 0.0 } => 0,
            Rule::Sgd { .. } => 1,
            Rule::Adam { .. } => 2,
        };
        Optimizer {
            rule,
            weight_decay,
            clip,
            steps: vec![0; params.len()],
            slots: params.iter().map(|p| vec![p.zeros_like(); slots]).collect(),
        }
    }

    /// What the optimizer remembers.
    pub fn state(&self) -> State {
        let save = |slots: &Vec<Tensor<1>>| slots.iter().map(|t| host(t.clone())).collect();
        (self.steps.clone(), self.slots.iter().map(save).collect())
    }

    /// Take up what [`Optimizer::state`] gave. False where it does not fit the parameters.
    #[must_use]
    pub fn restore(&mut self, (steps, slots): State, device: &Device) -> bool {
        let lengths = |slots: &[Vec<Vec<f32>>]| -> Vec<Vec<usize>> {
            slots
                .iter()
                .map(|s| s.iter().map(Vec::len).collect())
                .collect()
        };
        let own: Vec<Vec<usize>> = self
            .slots
            .iter()
            .map(|s| s.iter().map(|t| t.dims()[0]).collect())
            .collect();
        if lengths(&slots) != own || steps.len() != own.len() {
            return false;
        }
        self.steps = steps;
        self.slots = slots
            .into_iter()
            .map(|s| s.into_iter().map(|v| vector(v, device)).collect())
            .collect();
        true
    }

    /// One step with the gradients in `grads`, all finite, at rate `lr`; parameters that took no part, and have none, stay
    /// as they are. `decays` says which parameters weight decay acts on.
    pub fn step(
        &mut self,
        decays: &[bool],
        params: &mut [Tensor<1>],
        grads: Vec<Option<Tensor<1>>>,
        norm: f32,
        lr: f32,
    ) {
        let state = self.slots.iter_mut().zip(&mut self.steps);
        let all = decays.iter().zip(params).zip(grads).zip(state);
        for (((decays, w), g), (slots, steps)) in all {
            let Some(g) = g else { continue };
            let g = match self.clip {
                Clip::Norm(most) if norm > most => g.mul_scalar(most / norm),
                Clip::Value(most) => g.clamp(-most, most),
                Clip::None | Clip::Norm(_) => g,
            };
            *steps += 1;
            let decay = if *decays { self.weight_decay } else { 0.0 };
            *w = match self.rule {
                Rule::Sgd { momentum } => sgd(w.clone(), g, slots, momentum, decay, lr),
                Rule::Adam { beta1, beta2 } => {
                    let correct = |beta: f32| (1.0 - f64::from(beta).powf(*steps as f64)) as f32;
                    let bias = [correct(beta1), correct(beta2)];
                    adam(w.clone(), g, slots, [beta1, beta2], bias, decay, lr)
                }
            };
        }
    }
}

fn sgd(
    w: Tensor<1>,
    mut g: Tensor<1>,
    slots: &mut [Tensor<1>],
    momentum: f32,
    decay: f32,
    lr: f32,
) -> Tensor<1> {
    if decay > 0.0 {
        g = g + w.clone().mul_scalar(decay);
    }
    if let [v] = slots {
        *v = v.clone().mul_scalar(momentum) + g;
        g = v.clone();
    }
    w - g.mul_scalar(lr)
}

fn adam(
    w: Tensor<1>,
    g: Tensor<1>,
    slots: &mut [Tensor<1>],
    betas: [f32; 2],
    bias: [f32; 2],
    decay: f32,
    lr: f32,
) -> Tensor<1> {
    let [m, v] = slots else {
        unreachable!("Adam keeps two moments");
    };
    *m = m.clone().mul_scalar(betas[0]) + g.clone().mul_scalar(1.0 - betas[0]);
    *v = v.clone().mul_scalar(betas[1]) + g.square().mul_scalar(1.0 - betas[1]);
    let spread = v
        .clone()
        .div_scalar(bias[1])
        .sqrt()
        .add_scalar(ADAM_EPSILON);
    let step = m.clone().mul_scalar(lr / bias[0]) / spread;
    let kept = if decay > 0.0 {
        w.mul_scalar(1.0 - lr * decay)
    } else {
        w
    };
    kept - step
}
