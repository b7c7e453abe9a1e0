//! What a search needs to know about a supernet: losses on growing parts of the data, bytes of its artifacts.

use super::elastic::form;
use super::{Artifacts, Method};
use crate::compile::{CompileOptions, Compiled, Progress};
use crate::compress::eqnet::{Evaluator, Format, SubnetConfig, Supernet};
use crate::train::Config;
use crate::train::data::shuffled;
use crate::{Error, Samples};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// Parts of `data` that `method` takes losses from, all of it last. Samples are taken in one order drawn beforehand, so
/// that small parts have every class where files are sorted by class.
pub fn parts(method: &Method, data: &Samples) -> Vec<Samples> {
    let order = shuffled(data.len(), &mut ChaCha8Rng::seed_from_u64(0));
    let counts = method.sample_counts(data.len());
    counts
        .into_iter()
        .map(|n| data.select(&order[..n]))
        .collect()
}

/// Losses of the sub-networks of a supernet.
pub struct Losses<'a>(Vec<(usize, Evaluator<'a>)>);

impl<'a> Losses<'a> {
    /// On each of `parts`; `config` is that of the training.
    ///
    /// # Errors
    /// Data that does not fit the network or the objective.
    pub fn new(
        supernet: &'a Supernet,
        parts: &'a [Samples],
        config: &Config,
    ) -> Result<Losses<'a>, Error> {
        let of = |part: &'a Samples| Ok((part.len(), supernet.evaluator(part, config)?));
        Ok(Losses(parts.iter().map(of).collect::<Result<_, Error>>()?))
    }

    /// Mean loss of `config` on the part of `samples` samples.
    ///
    /// # Errors
    /// No part of this size; a configuration of another space.
    pub fn loss(&self, config: &SubnetConfig, samples: usize) -> Result<f64, Error> {
        let part = self.0.iter().find(|(n, _)| *n == samples);
        let (_, evaluator) =
            part.ok_or_else(|| Error::input(format!("no part of {samples} samples")))?;
        Ok(f64::from(evaluator.score(config)?.loss))
    }
}

/// Parts of the artifacts of all widths in `format`, from one artifact per width.
///
/// # Errors
/// As [`Supernet::export`].
pub fn artifacts(
    supernet: &Supernet,
    format: Format,
    mut export: impl FnMut(&SubnetConfig) -> Result<Compiled, Error>,
    options: &CompileOptions,
    progress: &mut Progress,
) -> Result<Artifacts, Error> {
    let space = supernet.space();
    let bits = &space.options.bits;
    let mut found: Option<Artifacts> = None;
    for (i, &width) in bits.iter().enumerate() {
        let config = space.uniform(width, 8, format);
        let bytes = export(&config)?.bytes;
        // All layers have the granularity and symmetry of the format.
        let form = form(&config.layers[0]);
        match &mut found {
            Some(artifacts) => artifacts.add(&bytes, form)?,
            None => found = Some(Artifacts::new(&bytes, form, options.backend)?),
        }
        progress("artifacts", i + 1, bits.len());
    }
    found.ok_or_else(|| Error::input("the supernet has no widths"))
}
