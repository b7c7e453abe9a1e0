//! The runner of the firmware, executed on this machine.

use super::cores::Core;
use super::launch::{RunOptions, job};
use super::results::RunReport;
use crate::failure::Outcome;
use elastiq::ModelInfo;
use elastiq_fw::job::Reading;
use elastiq_fw::runner::Machine;

/// Keeps what is written, counts nothing.
struct Here(Vec<u8>);

impl Machine for Here {
    type Mark = ();

    fn begin(&mut self) {}

    fn end(&mut self, (): ()) -> Reading {
        Reading::default()
    }

    fn known(&mut self, _turns: u32) {}

    fn stack_of(&mut self, f: &mut dyn FnMut()) -> u32 {
        f();
        0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }
}

/// As [`super::run`] for `core`, on this machine: the same records, no counts. Its name in the report is `host`.
///
/// # Errors
/// A model that the engine refuses.
pub fn run_here(
    core: &Core,
    model: &[u8],
    inputs: &[Vec<u8>],
    options: &RunOptions,
) -> Outcome<RunReport> {
    let host = Core {
        name: "host".into(),
        ..core.clone()
    };
    let options = RunOptions {
        count: false,
        ..*options
    };
    let job = job(model, inputs, options.flags(true), options.variant);
    let mut arena = vec![0; ModelInfo::read(model).map_or(0, |info| info.arena_len)];
    let mut here = Here(vec![]);
    elastiq_fw::runner::run(&mut here, &job, &mut arena);
    let mut report = RunReport::new(&host);
    report.add(&host, model, &here.0)?;
    Ok(report)
}
