//! Gradients of one mini-batch, for checks of a device.

use super::compute::Compute;
use super::config::Config;
use super::data::Data;
use super::device::Place;
use super::network::Network;
use super::objective::Task;
use super::var::{host, vector};
use crate::{Error, Samples};

/// Mean loss of `samples` as one mini-batch on `place`, and its gradient for each of [`Network::params`], with the weights
/// that the network came with.
///
/// # Errors
/// Data or choices that do not fit; a device that is not there; a loss or gradient that is not finite.
pub fn gradients(
    network: &Network,
    samples: &Samples,
    config: &Config,
    place: Place,
) -> Result<(f32, Vec<Vec<f32>>), Error> {
    let data = Data::new(network.graph(), samples)?;
    let (weights, smoothing) = (&config.class_weights, config.label_smoothing);
    let task = Task::new(network, &data, config.objective, weights, smoothing)?;
    let device = place.device()?;
    let initial = network.initial();
    let zero: Vec<usize> = initial.iter().map(Vec::len).collect();
    let params: Vec<_> = initial.into_iter().map(|v| vector(v, &device)).collect();
    let picks: Vec<usize> = (0..data.len()).collect();
    let step = Compute::new(network, task, device).step(&params, &data, &picks, None, None)?;
    let grads = step.grads.into_iter().zip(zero);
    let values = |(g, len): (Option<_>, usize)| g.map_or_else(|| vec![0.0; len], host);
    Ok((step.loss, grads.map(values).collect()))
}
