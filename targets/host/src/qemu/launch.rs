//! One emulator run: job in, results out.

use super::build::build_runner;
use super::cores::Core;
use super::results::RunReport;
use crate::failure::{Failure, Outcome};
use elastiq_fw::job::{FLAG_COUNT, FLAG_MEASURE, FLAG_OPS, FLAG_TENSORS, Job, MAGIC};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use zerocopy::IntoBytes;

/// What to record besides the outputs.
#[derive(Clone, Copy, Debug)]
pub struct RunOptions {
    /// Count instructions. Makes the emulator deterministic and about twice as slow.
    pub count: bool,
    /// Measure an undivided run of the first input and its stack, which are two runs more.
    pub whole: bool,
    /// Checksum of the output of every op, for every input.
    pub ops: bool,
    /// Bytes of the output of every op, for the first input.
    pub tensors: bool,
    /// Variant of the model, by index.
    pub variant: u32,
    /// Longest time for one emulator start.
    pub timeout: Duration,
}

impl Default for RunOptions {
    fn default() -> Self {
        RunOptions {
            count: true,
            whole: true,
            ops: true,
            tensors: true,
            variant: 0,
            timeout: Duration::from_secs(300),
        }
    }
}

impl RunOptions {
    pub(super) fn flags(&self, first: bool) -> u32 {
        let flag = |on: bool, flag| if on { flag } else { 0 };
        flag(self.ops, FLAG_OPS)
            | flag(self.tensors && first, FLAG_TENSORS)
            | flag(self.count && first, FLAG_COUNT)
            | flag(self.count && self.whole && first, FLAG_MEASURE)
    }
}

/// Run `model` on `core` for each of `inputs` (all input tensors in IO order, concatenated, as `i8` codes).
///
/// The runner is built first where needed. Many inputs share one start of the emulator.
///
/// # Errors
/// What is missing, a model that the core refuses, a core that faults or does not end in time. An input
/// that cannot be run is part of the report.
pub fn run(
    core: &Core,
    model: &[u8],
    inputs: &[Vec<u8>],
    options: &RunOptions,
    progress: &mut dyn FnMut(&str),
) -> Outcome<RunReport> {
    let elf = build_runner(core, progress)?;
    let mut report = RunReport::new(core);
    for (index, part) in parts(model, inputs, core.memory.load.len as usize)?
        .into_iter()
        .enumerate()
    {
        progress(&format!("running {} inputs on {}", part.len(), core.name));
        let job = job(model, part, options.flags(index == 0), options.variant);
        report.add(core, model, &launch(core, &elf, &job, options)?)?;
    }
    Ok(report)
}

/// Inputs in groups that fit into the load region together with the model.
fn parts<'i>(model: &[u8], inputs: &'i [Vec<u8>], space: usize) -> Outcome<Vec<&'i [Vec<u8>]>> {
    let len = inputs.first().map_or(0, Vec::len);
    if len == 0 || inputs.iter().any(|input| input.len() != len) {
        return Err(Failure::input(
            "inputs for the core must be at least one, not empty, and of one length",
        ));
    }
    let room = space.saturating_sub(size_of::<Job>() + model.len() + 32) / len;
    if room == 0 {
        return Err(Failure::input(format!(
            "model ({} bytes) and input ({len} bytes) do not fit into the {space} bytes of the load region",
            model.len()
        )));
    }
    Ok(inputs.chunks(room).collect())
}

/// Job, model and inputs as the core expects them at the start of the load region.
pub(super) fn job(model: &[u8], inputs: &[Vec<u8>], flags: u32, variant: u32) -> Vec<u8> {
    let model_off = size_of::<Job>();
    let inputs_off = (model_off + model.len()).next_multiple_of(16);
    let row = Job {
        magic: MAGIC,
        flags: flags.into(),
        model_off: (model_off as u32).into(),
        model_len: (model.len() as u32).into(),
        inputs_off: (inputs_off as u32).into(),
        input_len: (inputs.first().map_or(0, Vec::len) as u32).into(),
        inputs: (inputs.len() as u32).into(),
        variant: variant.into(),
    };
    let mut bytes = row.as_bytes().to_vec();
    bytes.extend_from_slice(model);
    bytes.resize(inputs_off, 0);
    bytes.extend(inputs.iter().flatten());
    bytes
}

/// Start the emulator on `elf` with `job` in memory and return what the program wrote.
fn launch(core: &Core, elf: &Path, job: &[u8], options: &RunOptions) -> Outcome<Vec<u8>> {
    let fail = |e: std::io::Error| Failure::input(format!("{}: {e}", core.qemu.program));
    let dir = tempfile::tempdir().map_err(fail)?;
    let at = |name: &str| dir.path().join(name);
    std::fs::write(at("job.bin"), job).map_err(fail)?;
    let loader = format!(
        "loader,file=job.bin,addr={:#x},force-raw=on",
        core.memory.load.start
    );
    let mut qemu = emulator(core, elf);
    qemu.current_dir(dir.path()).args(["-device", &loader]);
    if options.count {
        qemu.args(["-icount", "shift=0"]);
    }
    let log = wait(core, qemu, &at("log.txt"), options.timeout)?;
    std::fs::read(at("results.bin"))
        .map_err(|_| Failure::check(format!("{}: no results; {log}", core.name)))
}

/// Run a program from [`super::build_app`] and give what it prints.
///
/// # Errors
/// A self-test that did not pass, with the reason.
pub fn run_app(core: &Core, elf: &Path) -> Outcome<String> {
    let dir = tempfile::tempdir().map_err(Failure::input)?;
    let mut qemu = emulator(core, elf);
    qemu.current_dir(dir.path());
    wait(
        core,
        qemu,
        &dir.path().join("log.txt"),
        RunOptions::default().timeout,
    )
}

/// The emulator with everything but the job.
pub(super) fn emulator(core: &Core, elf: &Path) -> Command {
    let mut qemu = Command::new(&core.qemu.program);
    qemu.args(["-M", &core.qemu.machine]);
    if !core.qemu.cpu.is_empty() {
        qemu.args(["-cpu", &core.qemu.cpu]);
    }
    qemu.args(&core.qemu.args)
        .args(["-display", "none", "-monitor", "none", "-serial", "none"])
        .args(["-semihosting-config", "enable=on,target=native", "-kernel"])
        .arg(elf);
    qemu
}

/// Wait for the program to leave with 0; gives what the emulator printed.
pub(super) fn wait(
    core: &Core,
    mut qemu: Command,
    log: &Path,
    timeout: Duration,
) -> Outcome<String> {
    let program = &core.qemu.program;
    let fail = |e: std::io::Error| match e.kind() {
        std::io::ErrorKind::NotFound => crate::toolchain::emulator_missing(core),
        _ => Failure::input(format!("{program}: {e}")),
    };
    let out = std::fs::File::create(log).map_err(fail)?;
    let err = out.try_clone().map_err(fail)?;
    let mut child = qemu
        .stdin(Stdio::null())
        .stdout(out)
        .stderr(err)
        .spawn()
        .map_err(fail)?;
    let end = Instant::now() + timeout;
    let status = loop {
        if let Some(status) = child.try_wait().map_err(fail)? {
            break status;
        }
        if Instant::now() > end {
            // It may have ended between the two calls.
            let _ = child.kill();
            let _ = child.wait();
            let seconds = timeout.as_secs();
            return Err(Failure::check(format!(
                "{}: the program did not end within {seconds} s",
                core.name
            )));
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let text = crate::failure::one_line(&String::from_utf8_lossy(
        &std::fs::read(log).unwrap_or_default(),
    ));
    let reason = match status.code() {
        Some(0) => return Ok(text),
        Some(code) => match CODES.iter().find(|(known, _)| *known == code) {
            Some((_, reason)) => (*reason).to_string(),
            None => format!("{program} ended with code {code}: {text}"),
        },
        None => format!("{program} was killed: {text}"),
    };
    Err(Failure::check(format!("{}: {reason}", core.name)))
}

/// Exit codes of the programs.
const CODES: [(i32, &str); 7] = [
    (2, "the result file could not be created"),
    (3, "the result file could not be written"),
    (5, "the model was refused"),
    (6, "the model has no self-test"),
    (7, "an output of the self-test differs"),
    (8, "the self-test could not be run"),
    (
        101,
        "the program took a fault (stack overflow, or memory that the board does not have)",
    ),
];

#[cfg(test)]
mod tests {
    use super::parts;

    #[test]
    fn inputs_are_split_where_they_do_not_fit() {
        let inputs = vec![vec![0; 100]; 5];
        let lens: Vec<usize> = parts(&[0; 36], &inputs, 300)
            .unwrap()
            .iter()
            .map(|part| part.len())
            .collect();
        assert_eq!(lens, [2, 2, 1]);
        assert!(parts(&[0; 250], &inputs, 300).is_err());
        assert!(parts(&[], &[], 300).is_err());
        assert!(parts(&[], &[vec![1], vec![]], 300).is_err());
    }
}
