//! What a model costs: time on this machine, instructions on an emulated core; and whether both give the same bytes.

use crate::artifact::{Artifact, Host, macs, op_name};
use crate::data::Dataset;
use crate::failure::{Failure, Outcome, io_text};
use crate::output::Progress;
use crate::qemu::{self, Core, RunOptions, RunReport};
use elastiq::format::{OpKind, OpRow};
use elastiq::{Backend, Model};
use elastiq_quant::plan::{Shape, need};
use object::{Object, ObjectSection, SectionFlags, SectionKind};
use serde::Serialize;
use std::path::Path;
use std::time::{Duration, Instant};

/// Cost of a model on one core.
#[derive(Clone, Debug, Default, Serialize)]
pub struct CoreReport {
    /// `host`, or the name of a core file.
    pub core: String,
    /// Kernels that ran, as the program that ran them says.
    pub backend: String,
    /// Variant that ran, where the artifact has several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// Inputs that were run.
    pub inputs: usize,
    /// Instructions of one run (emulated cores).
    pub instructions: Option<u64>,
    /// Median time of one run (host), and the distance between its quartiles.
    pub median_us: Option<f64>,
    pub spread_us: Option<f64>,
    /// Multiply-accumulates of one run.
    pub macs: u64,
    /// Instructions per multiply-accumulate over the whole run.
    pub per_mac: Option<f64>,
    /// Emulated cores: every op of every input gave the bytes that this machine gave. Host: the self-test passed.
    pub matches_host: bool,
    /// The first difference, where there is one.
    pub difference: Option<String>,
    /// Set where the firmware has other kernels than its core file names.
    pub other_kernels: Option<String>,
    /// Layers that lend their kernel less scratch than it needs on this core, so that the portable one runs.
    pub short_of_scratch: usize,
    /// Deepest stack use of one run, measured.
    pub stack_bytes: Option<u32>,
    /// Stack that no run of any model exceeds, from the frame sizes and calls of the runner.
    pub stack_bound_bytes: Option<u32>,
    /// Sizes of the runner, which links every operator, without model and arena.
    pub firmware: Option<Sizes>,
    pub layers: Vec<LayerReport>,
}

/// Cost of one operator.
#[derive(Clone, Debug, Serialize)]
pub struct LayerReport {
    pub name: String,
    pub op: String,
    pub macs: u64,
    /// Scratch that the artifact lends to the kernel.
    pub scratch_bytes: u64,
    pub instructions: Option<u64>,
    pub median_us: Option<f64>,
    /// Distance between the quartiles of the time.
    pub spread_us: Option<f64>,
    pub per_mac: Option<f64>,
}

impl LayerReport {
    fn new(artifact: &Artifact, model: &Model<'_>, i: usize, op: &OpRow) -> LayerReport {
        LayerReport {
            name: artifact.layer_name(i),
            op: op_name(op),
            macs: macs(model, op),
            scratch_bytes: op.scratch.len.get().into(),
            instructions: None,
            median_us: None,
            spread_us: None,
            per_mac: None,
        }
    }
}

impl CoreReport {
    /// What the run proves wrong, in words: bytes that differ, or other kernels than the core file names.
    pub fn fault(&self) -> Option<&str> {
        self.difference.as_deref().or(self.other_kernels.as_deref())
    }
}

/// Bytes of a firmware image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Sizes {
    /// Instructions.
    pub code: u64,
    /// Constants.
    pub rodata: u64,
    /// Variables with a start value, in flash and in RAM.
    pub data: u64,
    /// Variables that start as zero, in RAM; the stack and room between addresses are
    /// sections of their own and do not count.
    pub bss: u64,
}

/// Longest time that timing on the host takes, and the number of runs it aims for.
const HOST_TIME: Duration = Duration::from_secs(1);
const HOST_RUNS: (usize, usize) = (9, 501);

/// Input bytes for measurements: the first `n` samples of `data`, else the inputs of the self-test, filled up to `n`
/// with patterns of codes.
pub fn inputs(artifact: &Artifact, data: Option<&Dataset>, n: usize) -> Outcome<Vec<Vec<u8>>> {
    let engine = artifact.engine()?;
    let model = engine.model();
    if let Some(data) = data {
        let head = data.head(n);
        let samples = head.fit(&artifact.input_specs(model))?;
        let ports = artifact.ports(model)?;
        return (0..head.n())
            .map(|i| artifact.encode(&ports, &samples, i))
            .collect();
    }
    let recorded = model.self_test_cases().map(|(input, _)| input.to_vec());
    let len: usize = model.inputs().map(|io| io.len).sum();
    let pattern = |seed: usize| {
        (0..len)
            .map(|i| (i.wrapping_mul(167) + seed.wrapping_mul(89)) as u8)
            .collect()
    };
    Ok(recorded.chain((0..n).map(pattern)).take(n).collect())
}

/// Times operators on this machine.
pub fn host(artifact: &Artifact, inputs: &[Vec<u8>]) -> Outcome<CoreReport> {
    let mut host = Host::new(artifact.engine()?);
    let fail = |e: elastiq::RunError| Failure::at(&artifact.path, e);
    let (passed, cases) = host.self_test().map_err(fail)?;
    let ops: Vec<&OpRow> = host.model().steps().collect();
    let (mut totals, mut layers) = (Vec::new(), vec![Vec::new(); ops.len()]);
    let (start, mut progress) = (Instant::now(), Progress::new("timing"));
    while totals.len() < HOST_RUNS.0 || (totals.len() < HOST_RUNS.1 && start.elapsed() < HOST_TIME)
    {
        let input = inputs
            .get(totals.len() % inputs.len().max(1))
            .map_or(&[][..], Vec::as_slice);
        let begin = Instant::now();
        let mut last = begin;
        let timed = |op: u16, _: &[u8]| {
            let now = Instant::now();
            layers[usize::from(op)].push(micros(now - last));
            last = now;
        };
        host.run_with(input, timed).map_err(fail)?;
        totals.push(micros(begin.elapsed()));
        progress.at("timing", totals.len(), HOST_RUNS.1);
    }
    let (q1, median, q3) = quartiles(&mut totals);
    let model = *host.model();
    let layer = |(i, times): (usize, &mut Vec<f64>)| {
        let (q1, median, q3) = quartiles(times);
        LayerReport {
            median_us: Some(median),
            spread_us: Some(q3 - q1),
            ..LayerReport::new(artifact, &model, i, ops[i])
        }
    };
    Ok(CoreReport {
        core: "host".into(),
        backend: Backend::native().name().into(),
        short_of_scratch: short_of_scratch(&model, Backend::native()),
        inputs: inputs.len(),
        median_us: Some(median),
        spread_us: Some(q3 - q1),
        macs: ops.iter().map(|op| macs(&model, op)).sum(),
        variant: artifact.variant_name(&model),
        matches_host: passed == cases,
        difference: (passed < cases).then(|| {
            format!(
                "self-test: {} of {cases} cases gave other bytes",
                cases - passed
            )
        }),
        layers: layers.iter_mut().enumerate().map(layer).collect(),
        ..Default::default()
    })
}

/// Counts instructions on an emulated core and compares every byte with this machine. Builds the runner first
/// where needed.
pub fn emulated(
    core: &Core,
    artifact: &Artifact,
    inputs: &[Vec<u8>],
    progress: &mut dyn FnMut(&str),
) -> Outcome<CoreReport> {
    let options = RunOptions {
        variant: artifact.variant as u32,
        ..Default::default()
    };
    emulated_with(core, artifact, inputs, &options, progress)
}

/// [`emulated`], recording what `options` say.
pub fn emulated_with(
    core: &Core,
    artifact: &Artifact,
    inputs: &[Vec<u8>],
    options: &RunOptions,
    progress: &mut dyn FnMut(&str),
) -> Outcome<CoreReport> {
    let engine = artifact.engine()?;
    let model = engine.model();
    let there = qemu::run(core, &artifact.bytes, inputs, options, progress)?;
    let here = qemu::run_here(core, &artifact.bytes, inputs, options)?;
    for report in [&here, &there] {
        if let Some((i, e)) = report
            .inputs
            .iter()
            .enumerate()
            .find_map(|(i, r)| Some((i, r.output.as_ref().err()?)))
        {
            return Err(Failure::check(format!(
                "{}: input {i} on {}: {e}",
                artifact.path.display(),
                report.core
            )));
        }
    }
    let difference = there.first_difference(&here);
    let elf = qemu::build_runner(core, progress)?;
    let ops: Vec<&OpRow> = model.steps().collect();
    let total: u64 = ops.iter().map(|op| macs(model, op)).sum();
    let counts = op_counts(&there, ops.len());
    let layer = |(i, instructions): (usize, Option<u64>)| {
        let layer = LayerReport::new(artifact, model, i, ops[i]);
        LayerReport {
            instructions,
            per_mac: ratio(instructions, layer.macs),
            ..layer
        }
    };
    Ok(CoreReport {
        core: core.name.clone(),
        variant: artifact.variant_name(model),
        other_kernels: other_kernels(core, &there.backend),
        short_of_scratch: short_of_scratch(model, qemu::backend(&core.name)?),
        backend: there.backend,
        inputs: inputs.len(),
        instructions: there.instructions,
        macs: total,
        per_mac: ratio(there.instructions, total),
        matches_host: difference.is_none(),
        difference,
        stack_bytes: there.stack_bytes,
        stack_bound_bytes: Some(qemu::stack::report(&elf, qemu::stack::INFER)?.bytes),
        firmware: Some(sizes(&elf)?),
        layers: counts.into_iter().enumerate().map(layer).collect(),
        ..Default::default()
    })
}

/// The finding that the firmware of `core` has the kernels `found`, not those that its core file names.
pub fn other_kernels(core: &Core, found: &str) -> Option<String> {
    (found != core.backend).then(|| {
        format!(
            "{}: the firmware was built with the kernels `{found}`, its core file names `{}`",
            core.name, core.backend
        )
    })
}

/// Matrix layers with less scratch than `backend` needs for one tile of weights: the artifact is aimed at another.
fn short_of_scratch(model: &Model<'_>, backend: Backend) -> usize {
    let short = |op: &&OpRow| {
        Shape::of_row(model, op).is_some_and(|shape| {
            matches!(shape.kind, OpKind::Conv | OpKind::Dense)
                && (op.scratch.len.get() as usize) < need(&shape, backend).least
        })
    };
    model.steps().filter(short).count()
}

/// Instructions per operator of the first input.
fn op_counts(report: &RunReport, ops: usize) -> Vec<Option<u64>> {
    let mut counts = vec![None; ops];
    for op in report.inputs.first().map_or(&[][..], |r| &r.ops) {
        if let Some(slot) = counts.get_mut(usize::from(op.op)) {
            *slot = op.instructions;
        }
    }
    counts
}

fn ratio(instructions: Option<u64>, macs: u64) -> Option<f64> {
    instructions
        .filter(|_| macs > 0)
        .map(|n| n as f64 / macs as f64)
}

/// Sizes of the sections of an ELF file that end up on the device.
pub fn sizes(elf: &Path) -> Outcome<Sizes> {
    let bytes = std::fs::read(elf).map_err(|e| Failure::at(elf, io_text(&e)))?;
    let file = object::File::parse(bytes.as_slice()).map_err(|e| Failure::at(elf, e))?;
    let mut sizes = Sizes::default();
    for section in file.sections() {
        let SectionFlags::Elf { sh_flags, .. } = section.flags() else {
            continue;
        };
        if sh_flags & u64::from(object::elf::SHF_ALLOC) == 0
            || matches!(section.name(), Ok(".stack" | ".apart"))
        {
            continue;
        }
        let count = match section.kind() {
            SectionKind::Text => &mut sizes.code,
            SectionKind::Data => &mut sizes.data,
            SectionKind::UninitializedData => &mut sizes.bss,
            // Constants, and what a target has beside them, such as unwind tables.
            _ => &mut sizes.rodata,
        };
        *count += section.size();
    }
    Ok(sizes)
}

fn micros(d: Duration) -> f64 {
    d.as_secs_f64() * 1e6
}

/// Lower quartile, median and upper quartile.
fn quartiles(values: &mut [f64]) -> (f64, f64, f64) {
    values.sort_by(f64::total_cmp);
    let at = |share: usize| {
        values
            .get((values.len().max(1) - 1) * share / 4)
            .copied()
            .unwrap_or(0.0)
    };
    (at(1), at(2), at(3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quartiles_of_five() {
        assert_eq!(quartiles(&mut [5.0, 1.0, 4.0, 2.0, 3.0]), (2.0, 3.0, 4.0));
        assert_eq!(quartiles(&mut []), (0.0, 0.0, 0.0));
    }
}
