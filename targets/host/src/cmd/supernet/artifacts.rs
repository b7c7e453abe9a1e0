//! Artifacts of sub-networks, as `supernet export` makes them.

use crate::cmd::compile;
use crate::data::Dataset;
use crate::failure::{Failure, Outcome};
use elastiq_quant::Samples;
use elastiq_quant::compile::{CompileOptions, Compiled, Progress};
use elastiq_quant::compress::eqnet::{SubnetConfig, Supernet};
use std::path::Path;

/// Samples that activations are calibrated with where nothing else is said.
pub const CALIBRATION_SAMPLES: u32 = 500;

/// Makes artifacts of one supernet with the same data and options.
pub struct Exports<'a> {
    pub supernet: &'a Supernet,
    pub options: CompileOptions,
    folder: &'a Path,
    calib: Samples,
}

impl<'a> Exports<'a> {
    /// For `core`, with samples of the file `calib`.
    ///
    /// # Errors
    /// Data that does not fit, an unknown core.
    pub fn new(
        folder: &'a Path,
        supernet: &'a Supernet,
        calib: &Path,
        core: Option<&str>,
    ) -> Outcome<Exports<'a>> {
        Exports::with(folder, supernet, calib, CALIBRATION_SAMPLES, core)
    }

    /// With `samples` samples at most, evenly spaced over the data.
    ///
    /// # Errors
    /// As [`Exports::new`].
    pub fn with(
        folder: &'a Path,
        supernet: &'a Supernet,
        calib: &Path,
        samples: u32,
        core: Option<&str>,
    ) -> Outcome<Exports<'a>> {
        let mut options = CompileOptions::default();
        if let Some(core) = core {
            options.backend = crate::qemu::backend(core)?;
        }
        let data = Dataset::load(calib)?.evenly(samples as usize);
        let calib = compile::samples(supernet.network().graph(), &data, &mut options)?;
        Ok(Exports {
            supernet,
            options,
            folder,
            calib,
        })
    }

    /// The artifact of a sub-network.
    pub fn make(&self, config: &SubnetConfig) -> Outcome<Compiled> {
        self.make_with(config, &mut |_, _, _| {})
    }

    /// The artifact of a sub-network, with progress.
    pub fn make_with(&self, config: &SubnetConfig, progress: &mut Progress) -> Outcome<Compiled> {
        self.supernet
            .export(config, &self.name(), &self.calib, &self.options, progress)
            .map_err(|e| Failure::at(self.folder, e))
    }

    /// One artifact of several sub-networks, by name.
    pub fn make_variants(
        &self,
        points: &[(String, SubnetConfig)],
        progress: &mut Progress,
    ) -> Outcome<Compiled> {
        self.supernet
            .export_variants(points, &self.name(), &self.calib, &self.options, progress)
            .map_err(|e| Failure::at(self.folder, e))
    }

    fn name(&self) -> String {
        let name = self.folder.file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    }
}
