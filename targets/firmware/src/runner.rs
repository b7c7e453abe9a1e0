//! Executes a [`Job`]: every operator linked, any model, many inputs, results as records.

use crate::job::{
    Calibration, FLAG_COUNT, FLAG_MEASURE, FLAG_OPS, FLAG_TENSORS, Failure, Job, Kind, MAGIC, Op,
    Reading, Record, Run,
};
use crate::session::{infer, start};
use elastiq::format::crc::crc32c;
use elastiq::{Backend, Engine, OpSet, RunError, Session};
use zerocopy::{FromBytes, IntoBytes};

/// Engine with every operator.
type Any<'a> = Engine<'a, { OpSet::ALL }>;

/// What the runner needs from a core.
pub trait Machine {
    /// Start of a measurement.
    type Mark;
    /// Start measuring.
    fn begin(&mut self) -> Self::Mark;
    /// Instructions since `mark`, the cost of measuring included.
    fn end(&mut self, mark: Self::Mark) -> Reading;
    /// Execute exactly `2 * turns` instructions, `turns` > 0.
    fn known(&mut self, turns: u32);
    /// Run `f` and tell its deepest stack use in bytes.
    fn stack_of(&mut self, f: &mut dyn FnMut()) -> u32;
    /// Append to the result file.
    fn write(&mut self, bytes: &[u8]);
}

/// Turns of the known sequence per calibration, each loaded by one instruction on most cores; 0 measures an empty
/// section.
const CALIBRATION: [u32; 4] = [0, 1_000, 20_000, 1 << 19];

/// Bytes of records collected before they are written.
const BUFFER_LEN: usize = 4096;

/// Collects small records so that few calls reach the host.
struct Results<'m, M> {
    machine: &'m mut M,
    buffer: [u8; BUFFER_LEN],
    used: usize,
}

impl<M: Machine> Results<'_, M> {
    fn put(&mut self, bytes: &[u8]) {
        if bytes.len() > BUFFER_LEN - self.used.min(BUFFER_LEN) {
            self.flush();
        }
        match self
            .buffer
            .get_mut(self.used..)
            .and_then(|free| free.get_mut(..bytes.len()))
        {
            Some(free) => {
                free.iter_mut()
                    .zip(bytes)
                    .for_each(|(to, from)| *to = *from);
                self.used += bytes.len();
            }
            None => self.machine.write(bytes),
        }
    }

    fn flush(&mut self) {
        if let Some(full) = self.buffer.get(..self.used).filter(|full| !full.is_empty()) {
            self.machine.write(full);
        }
        self.used = 0;
    }

    fn record(&mut self, kind: Kind, input: u32, op: u16, parts: &[&[u8]]) {
        let len: usize = parts.iter().map(|part| part.len()).sum();
        let head = Record {
            kind: (kind as u16).into(),
            op: op.into(),
            input: input.into(),
            len: (len as u32).into(),
        };
        self.put(head.as_bytes());
        parts.iter().for_each(|part| self.put(part));
    }
}

/// A failure as the row that is sent.
impl From<RunError> for Failure {
    fn from(error: RunError) -> Failure {
        let (code, at, more) = match error {
            RunError::ArenaTooSmall { need, have } => (1, need, have),
            RunError::InputLen { need, have } => (2, need, have),
            RunError::OutputLen { need, have } => (3, need, have),
            RunError::InputCount { count } => (4, u32::from(count), 0),
            RunError::Invalid { op } => (5, u32::from(op), 0),
            RunError::NoVariant { index, count } => (6, index, count),
        };
        Failure {
            code: code.into(),
            at: at.into(),
            more: more.into(),
        }
    }
}

impl Failure {
    /// The error of the engine that this row was made from.
    pub fn run_error(&self) -> Option<RunError> {
        let (need, have) = (self.at.get(), self.more.get());
        Some(match self.code.get() {
            1 => RunError::ArenaTooSmall { need, have },
            2 => RunError::InputLen { need, have },
            3 => RunError::OutputLen { need, have },
            4 => RunError::InputCount { count: need as u16 },
            5 => RunError::Invalid { op: need as u16 },
            6 => RunError::NoVariant {
                index: need,
                count: have,
            },
            _ => return None,
        })
    }
}

/// Execute the job at the start of `load` and write all results.
pub fn run(machine: &mut impl Machine, load: &[u8], arena: &mut [u8]) {
    let mut results = Results {
        machine,
        buffer: [0; BUFFER_LEN],
        used: 0,
    };
    match sections(load) {
        Some((job, model, inputs)) => match Any::new(model) {
            Ok(mut engine) => match engine.select(job.variant.get() as usize) {
                Ok(()) => inputs_of(&mut results, &engine, job, inputs, arena),
                Err(error) => {
                    results.record(Kind::RunError, 0, 0, &[Failure::from(error).as_bytes()]);
                }
            },
            Err(error) => {
                let why = Failure {
                    code: (error.kind as u32).into(),
                    at: error.offset.into(),
                    more: 0.into(),
                };
                results.record(Kind::LoadError, 0, 0, &[why.as_bytes()]);
            }
        },
        None => results.record(Kind::JobError, 0, 0, &[]),
    }
    let kernels = Backend::native().name();
    results.record(Kind::End, 0, 0, &[kernels.as_bytes()]);
    results.flush();
}

/// Job, model and inputs; `None` if they do not fit `load`.
fn sections(load: &[u8]) -> Option<(&Job, &[u8], &[u8])> {
    let (job, _) = Job::ref_from_prefix(load).ok()?;
    if job.magic != MAGIC || job.input_len.get() == 0 {
        return None;
    }
    let span = |off: u32, len: u32| load.get(off as usize..)?.get(..len as usize);
    let model = span(job.model_off.get(), job.model_len.get())?;
    let inputs = span(
        job.inputs_off.get(),
        job.input_len.get().checked_mul(job.inputs.get())?,
    )?;
    Some((job, model, inputs))
}

fn inputs_of(
    results: &mut Results<'_, impl Machine>,
    engine: &Any<'_>,
    job: &Job,
    inputs: &[u8],
    arena: &mut [u8],
) {
    let flags = job.flags.get();
    let input_len = job.input_len.get() as usize;
    // A job has at least one byte per input; the maximum keeps `chunks_exact` away from zero for the optimizer.
    for (index, input) in inputs.chunks_exact(input_len.max(1)).enumerate() {
        let first = index == 0;
        let index = index as u32;
        if first && flags & (FLAG_COUNT | FLAG_MEASURE) != 0 {
            calibrate(results);
        }
        if first
            && flags & FLAG_MEASURE != 0
            && let Err(error) = whole(results, engine, input, arena)
        {
            results.record(Kind::RunError, index, 0, &[Failure::from(error).as_bytes()]);
            continue;
        }
        // Bytes that no operator writes must not depend on what ran before.
        arena.fill(0);
        let ops = flags & FLAG_OPS != 0 || (first && flags & FLAG_TENSORS != 0);
        let done = start(engine, input, arena).and_then(|session| match ops {
            true => stepped(
                results,
                engine,
                session,
                index,
                first && flags & FLAG_TENSORS != 0,
            ),
            false => unmeasured(results, engine, session, index),
        });
        if let Err(error) = done {
            results.record(Kind::RunError, index, 0, &[Failure::from(error).as_bytes()]);
        }
    }
}

/// Run without looking in between.
fn unmeasured(
    results: &mut Results<'_, impl Machine>,
    engine: &Any<'_>,
    mut session: Session<'_, '_, { OpSet::ALL }>,
    index: u32,
) -> Result<(), RunError> {
    session.finish()?;
    outputs(results, engine, &session, index);
    Ok(())
}

fn calibrate<M: Machine>(results: &mut Results<'_, M>) {
    for (index, turns) in CALIBRATION.into_iter().enumerate() {
        let mark = results.machine.begin();
        if turns > 0 {
            results.machine.known(turns);
        }
        let reading = results.machine.end(mark);
        let row = Calibration {
            instructions: (2 * turns).into(),
            reading,
        };
        results.record(Kind::Calibration, 0, index as u16, &[row.as_bytes()]);
    }
}

/// Measure one undivided run and its stack.
fn whole<M: Machine>(
    results: &mut Results<'_, M>,
    engine: &Any<'_>,
    input: &[u8],
    arena: &mut [u8],
) -> Result<(), RunError> {
    let mut done = Ok(());
    let stack = results.machine.stack_of(&mut || {
        done = infer(engine, input, arena);
    });
    done?;
    let mut session = start(engine, input, arena)?;
    let mark = results.machine.begin();
    let done = session.finish();
    let reading = results.machine.end(mark);
    done?;
    let row = Run {
        reading,
        stack: stack.into(),
    };
    results.record(Kind::Run, 0, 0, &[row.as_bytes()]);
    Ok(())
}

/// Run op by op and record each.
fn stepped<M: Machine>(
    results: &mut Results<'_, M>,
    engine: &Any<'_>,
    mut session: Session<'_, '_, { OpSet::ALL }>,
    index: u32,
    tensors: bool,
) -> Result<(), RunError> {
    loop {
        let mark = results.machine.begin();
        let step = session.step();
        let reading = results.machine.end(mark);
        let Some(op) = step? else { break };
        let row = engine
            .model()
            .operator(op.into())
            .ok_or(RunError::Invalid { op })?;
        // What several operators fill in turn is whole after the last; before, it holds scratch of other kernels.
        let mut later = engine.model().steps().skip(usize::from(op) + 1);
        let bytes = match later.any(|later| later.out == row.out) {
            true => &[][..],
            false => session
                .tensor(row.out.get())
                .ok_or(RunError::Invalid { op })?,
        };
        let crc = crc32c(bytes);
        results.record(
            Kind::Op,
            index,
            op,
            &[Op {
                reading,
                crc: crc.into(),
            }
            .as_bytes()],
        );
        if tensors {
            results.record(Kind::Tensor, index, op, &[bytes]);
        }
    }
    outputs(results, engine, &session, index);
    Ok(())
}

fn outputs(
    results: &mut Results<'_, impl Machine>,
    engine: &Any<'_>,
    session: &Session<'_, '_, { OpSet::ALL }>,
    index: u32,
) {
    let lens = engine.model().outputs().map(|io| io.len).sum::<usize>();
    let head = Record {
        kind: (Kind::Output as u16).into(),
        op: 0.into(),
        input: index.into(),
        len: (lens as u32).into(),
    };
    results.put(head.as_bytes());
    for (i, _) in engine.model().outputs().enumerate() {
        results.put(session.output(i).unwrap_or_default());
    }
}
