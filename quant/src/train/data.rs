//! Samples as the trainer reads them: row-major in the layout of the graph.

use crate::ir::Graph;
use crate::samples::permuted;
use crate::{Error, Samples};
use elastiq::format::crc::Crc;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Samples of a network, checked.
#[derive(Clone, Debug)]
pub struct Data {
    /// Per graph input: elements of one sample, then all samples.
    inputs: Vec<(usize, Vec<f32>)>,
    /// Class per sample; empty without labels.
    pub labels: Vec<usize>,
    /// The input in the layout of the output, where their shapes agree.
    pub targets: Option<Vec<f32>>,
    len: usize,
}

impl Data {
    /// Take over `samples`, in the layout of the file.
    ///
    /// # Errors
    /// See [`Samples::check`]; labels below zero are refused.
    pub fn new(graph: &Graph, samples: &Samples) -> Result<Data, Error> {
        samples.check(graph)?;
        let len = samples.len();
        let mut inputs: Vec<(usize, Vec<f32>)> = graph
            .inputs
            .iter()
            .map(|p| (p.file_shape.iter().product(), Vec::new()))
            .collect();
        let same = match (graph.inputs.as_slice(), graph.outputs.first()) {
            ([input], Some(output)) if input.file_shape == output.file_shape => Some(output),
            _ => None,
        };
        let mut targets = same.map(|_| Vec::new());
        for i in 0..len {
            for ((_, all), x) in inputs.iter_mut().zip(samples.ir_item(graph, i)) {
                all.extend(x.iter());
            }
            if let (Some(all), Some(port)) = (&mut targets, same) {
                all.extend(permuted(&samples.file_item(graph, i)[0], &port.perm));
            }
        }
        let labels: Option<Vec<usize>> = match &samples.labels {
            None => Some(Vec::new()),
            Some(labels) => labels.iter().map(|&l| usize::try_from(l).ok()).collect(),
        };
        Ok(Data {
            inputs,
            labels: labels.ok_or_else(|| Error::input("data: a label is negative"))?,
            targets,
            len,
        })
    }

    /// Number of samples.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Labels exist and name one of `classes` classes.
    ///
    /// # Errors
    /// Names the sample.
    pub fn check_labels(&self, classes: usize) -> Result<(), Error> {
        if self.labels.len() != self.len {
            return Err(Error::input("data: has no labels to train with"));
        }
        match self.labels.iter().position(|&l| l >= classes) {
            Some(i) => Err(Error::at(
                "data",
                format!(
                    "label {} of sample {i}, the network has {classes} classes",
                    self.labels[i]
                ),
            )),
            None => Ok(()),
        }
    }

    /// Inputs of the samples `picks`, mixed where `mix` gives the share of the first sample and the second samples.
    pub fn batch(&self, picks: &[usize], mix: Option<(f32, &[usize])>) -> Vec<Vec<f32>> {
        let (share, others) = mix.unwrap_or((1.0, picks));
        let one = |(size, all): &(usize, Vec<f32>)| mixed(all, *size, picks, share, others);
        self.inputs.iter().map(one).collect()
    }

    /// Values that a network should give back, mixed like [`Data::batch`]; empty where [`Data::targets`] is `None`.
    pub fn mixed_targets(&self, picks: &[usize], share: f32, others: &[usize]) -> Vec<f32> {
        let all = self.targets.as_deref().unwrap_or_default();
        mixed(all, all.len() / self.len.max(1), picks, share, others)
    }

    /// Checksum of everything, to recognize the data of a checkpoint.
    pub fn checksum(&self) -> u32 {
        let floats = self.inputs.iter().flat_map(|(_, all)| all);
        let crc = floats.fold(Crc::new(), |crc, v| crc.update(&v.to_le_bytes()));
        let labels = self.labels.iter();
        labels
            .fold(crc, |crc, &l| crc.update(&(l as u64).to_le_bytes()))
            .finish()
    }
}

fn mixed(all: &[f32], size: usize, picks: &[usize], share: f32, others: &[usize]) -> Vec<f32> {
    let mut out = Vec::with_capacity(picks.len() * size);
    for (&a, &b) in picks.iter().zip(others) {
        let first = &all[a * size..][..size];
        if share == 1.0 {
            out.extend_from_slice(first);
        } else {
            let second = &all[b * size..][..size];
            let pairs = first.iter().zip(second);
            out.extend(pairs.map(|(x, y)| share * x + (1.0 - share) * y));
        }
    }
    out
}

/// `samples` without a share of about `fraction`, and that share, drawn by `seed`; both hold a sample or more.
///
/// # Errors
/// A share that is not between 0 and 1; fewer than two samples.
pub fn split(samples: &Samples, fraction: f64, seed: u64) -> Result<(Samples, Samples), Error> {
    let n = samples.len();
    if !(fraction > 0.0 && fraction < 1.0) {
        let text = format!("a share of {fraction} for validation is not between 0 and 1");
        return Err(Error::input(text));
    }
    if n < 2 {
        return Err(Error::input(
            "one sample cannot be split into training and validation",
        ));
    }
    let aside = ((n as f64 * fraction).round() as usize).clamp(1, n - 1);
    let order = shuffled(n, &mut ChaCha8Rng::seed_from_u64(seed));
    let part = |picks: &[usize]| {
        let mut picks = picks.to_vec();
        picks.sort_unstable();
        samples.select(&picks)
    };
    Ok((part(&order[aside..]), part(&order[..aside])))
}

/// Order of the samples in an epoch.
pub fn shuffled(len: usize, rng: &mut ChaCha8Rng) -> Vec<usize> {
    let mut order: Vec<usize> = (0..len).collect();
    order.shuffle(rng);
    order
}

/// Share and partners of mixup: Zhang et al., 2018. The share is drawn from Beta(alpha, alpha), 0 < alpha <= 1.
pub fn draw_mix(picks: &[usize], alpha: f32, rng: &mut ChaCha8Rng) -> (f32, Vec<usize>) {
    let mut others = picks.to_vec();
    others.shuffle(rng);
    // Jöhnk, 1964; accepts every second pair or more for alpha of at most 1.
    let power = 1.0 / f64::from(alpha);
    let share = loop {
        let (u, v): (f64, f64) = (rng.random(), rng.random());
        let (x, y) = (u.powf(power), v.powf(power));
        if x + y > 0.0 && x + y <= 1.0 {
            break x / (x + y);
        }
        // Both powers underflow for tiny alpha, where the distribution is a coin.
        if x + y == 0.0 {
            break if u > v { 1.0 } else { 0.0 };
        }
    };
    (share as f32, others)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_of_mixup_have_the_moments_of_their_distribution() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for alpha in [0.1f32, 0.4, 1.0] {
            let n = 20_000;
            let draws: Vec<f64> = (0..n)
                .map(|_| f64::from(draw_mix(&[0], alpha, &mut rng).0))
                .collect();
            let mean = draws.iter().sum::<f64>() / f64::from(n);
            let variance = draws.iter().map(|d| (d - mean).powi(2)).sum::<f64>() / f64::from(n);
            let expected = 1.0 / (4.0 * (2.0 * f64::from(alpha) + 1.0));
            assert!((mean - 0.5).abs() < 0.02, "{alpha}: mean {mean}");
            assert!(
                (variance - expected).abs() < 0.01,
                "{alpha}: {variance} for {expected}"
            );
        }
    }

    #[test]
    fn orders_differ_by_seed_only() {
        let order = |seed| shuffled(100, &mut ChaCha8Rng::seed_from_u64(seed));
        assert_eq!(order(3), order(3));
        assert_ne!(order(3), order(4));
        let mut sorted = order(3);
        sorted.sort_unstable();
        assert!(sorted.into_iter().eq(0..100));
    }
}
