//! What came back from a run.

use super::cores::Core;
use crate::failure::{Failure, Outcome};
use elastiq::{Engine, OpSet, RunError};
use elastiq_board::Timer;
use elastiq_fw::job::{Calibration, Failure as Refusal, Kind, Op, Reading, Record, Run};
use zerocopy::FromBytes;

/// Results of a model on a core.
#[derive(Clone, Debug, PartialEq)]
pub struct RunReport {
    /// Name of the core.
    pub core: String,
    /// One per input, in order.
    pub inputs: Vec<InputReport>,
    /// Output bytes of every op for the first input, by op index. Empty if not asked for.
    pub first_tensors: Vec<(u16, Vec<u8>)>,
    /// Instructions of one undivided run of the first input. `None` if not counted.
    pub instructions: Option<u64>,
    /// Deepest stack use of that run in bytes, from the caller of the engine down.
    pub stack_bytes: Option<u32>,
    /// Kernels that the program runs with, by name.
    pub backend: String,
    /// Code sequences of known length: instructions in truth and as counted.
    pub calibration: Vec<(u32, u64)>,
}

/// Results for one input.
#[derive(Clone, Debug, PartialEq)]
pub struct InputReport {
    /// All output tensors in IO order, concatenated; or why there is none.
    pub output: Result<Vec<u8>, RunError>,
    /// Empty if not asked for.
    pub ops: Vec<OpReport>,
}

/// One op of one input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpReport {
    /// Index of the op in the model.
    pub op: u16,
    /// CRC-32C of its output tensor.
    pub crc: u32,
    /// `None` if not counted.
    pub instructions: Option<u64>,
}

/// Largest error of a calibration, in turns of the waiting loop: half a turn at each end of a measurement, for
/// the measurement itself and for the empty one it is compared with.
const CALIBRATION_TURNS: f64 = 2.0;

/// Turns readings into instructions.
struct Counter<'a> {
    timer: &'a Timer,
    /// Reading of an empty section; `None` before calibration.
    empty: Option<f64>,
}

impl Counter<'_> {
    fn raw(&self, reading: &Reading) -> f64 {
        let spins = f64::from(reading.spins.get()) * f64::from(self.timer.instructions_per_spin);
        reading.ticks.get() as f64 * self.timer.instructions_per_tick - spins
    }

    fn instructions(&self, reading: &Reading) -> Option<u64> {
        self.empty
            .map(|empty| (self.raw(reading) - empty).max(0.0).round() as u64)
    }
}

impl RunReport {
    pub(super) fn new(core: &Core) -> RunReport {
        RunReport {
            core: core.name.clone(),
            inputs: vec![],
            first_tensors: vec![],
            instructions: None,
            stack_bytes: None,
            backend: String::new(),
            calibration: vec![],
        }
    }

    /// Sum over the ops of input `i`; `None` if not counted.
    pub fn op_instructions(&self, i: usize) -> Option<u64> {
        self.inputs
            .get(i)?
            .ops
            .iter()
            .map(|op| op.instructions)
            .sum()
    }

    /// The first difference in a result between two runs, as a line; `None` if every byte is the same.
    pub fn first_difference(&self, other: &RunReport) -> Option<String> {
        let between = format!("{} and {} differ", self.core, other.core);
        if self.inputs.len() != other.inputs.len() {
            return Some(format!("{between} in the number of inputs"));
        }
        for ((op, a), (_, b)) in self.first_tensors.iter().zip(&other.first_tensors) {
            if let Some(at) = (0..a.len().max(b.len())).find(|&at| a.get(at) != b.get(at)) {
                return Some(format!(
                    "{between}: input 0, op {op}, byte {at} of its output"
                ));
            }
        }
        for (i, (a, b)) in self.inputs.iter().zip(&other.inputs).enumerate() {
            if let Some((op, _)) = a
                .ops
                .iter()
                .zip(&b.ops)
                .find(|(a, b)| (a.op, a.crc) != (b.op, b.crc))
            {
                return Some(format!("{between}: input {i}, output of op {}", op.op));
            }
            if a.ops.len() != b.ops.len() || a.output != b.output {
                return Some(format!("{between}: input {i}, final output"));
            }
        }
        (self.first_tensors.len() != other.first_tensors.len())
            .then(|| format!("{between} in the number of ops"))
    }

    /// Append the records of one start of the runner.
    pub(super) fn add(&mut self, core: &Core, model: &[u8], bytes: &[u8]) -> Outcome<()> {
        let broken = || Failure::check(format!("{}: results are incomplete", core.name));
        let mut counter = Counter {
            timer: &core.timer,
            empty: self.counter_offset(),
        };
        let mut ops = vec![];
        let mut rest = bytes;
        loop {
            let (head, tail) = Record::read_from_prefix(rest).map_err(|_| broken())?;
            let (body, tail) = tail
                .split_at_checked(head.len.get() as usize)
                .ok_or_else(broken)?;
            rest = tail;
            match Kind::from_u16(head.kind.get()).ok_or_else(broken)? {
                Kind::Calibration => {
                    let row = Calibration::read_from_bytes(body).map_err(|_| broken())?;
                    self.calibrate(core, &mut counter, &row)?;
                }
                Kind::Run => {
                    let row = Run::read_from_bytes(body).map_err(|_| broken())?;
                    self.instructions = counter.instructions(&row.reading);
                    self.stack_bytes = Some(row.stack.get());
                }
                Kind::Op => {
                    let row = Op::read_from_bytes(body).map_err(|_| broken())?;
                    let instructions = counter.instructions(&row.reading);
                    ops.push(OpReport {
                        op: head.op.get(),
                        crc: row.crc.get(),
                        instructions,
                    });
                }
                Kind::Tensor => self.first_tensors.push((head.op.get(), body.to_vec())),
                Kind::Output => {
                    let ops = std::mem::take(&mut ops);
                    self.inputs.push(InputReport {
                        output: Ok(body.to_vec()),
                        ops,
                    });
                }
                Kind::RunError => {
                    let row = Refusal::read_from_bytes(body).map_err(|_| broken())?;
                    let error = row.run_error().ok_or_else(broken)?;
                    self.inputs.push(InputReport {
                        output: Err(error),
                        ops: std::mem::take(&mut ops),
                    });
                }
                Kind::LoadError => {
                    let row = Refusal::read_from_bytes(body).map_err(|_| broken())?;
                    return Err(load_failure(core, model, &row));
                }
                Kind::JobError => {
                    return Err(Failure::check(format!(
                        "{}: the job was refused",
                        core.name
                    )));
                }
                Kind::End => {
                    self.backend = String::from_utf8_lossy(body).into_owned();
                    return if rest.is_empty() {
                        Ok(())
                    } else {
                        Err(broken())
                    };
                }
            }
        }
    }

    fn counter_offset(&self) -> Option<f64> {
        self.calibration.first().map(|&(_, raw)| raw as f64)
    }

    fn calibrate(
        &mut self,
        core: &Core,
        counter: &mut Counter<'_>,
        row: &Calibration,
    ) -> Outcome<()> {
        let truth = row.instructions.get();
        let Some(counted) = counter.instructions(&row.reading) else {
            let empty = counter.raw(&row.reading);
            counter.empty = Some(empty);
            self.calibration
                .push((truth, empty.max(0.0).round() as u64));
            return Ok(());
        };
        self.calibration.push((truth, counted));
        let allowed = CALIBRATION_TURNS * f64::from(core.timer.instructions_per_spin) + 1.0;
        if (counted as f64 - f64::from(truth)).abs() > allowed {
            return Err(Failure::check(format!(
                "{}: {truth} instructions were counted as {counted}; check [timer] in its core file",
                core.name
            )));
        }
        Ok(())
    }
}

/// The refusal of a model in words; the same reader on this machine knows them.
fn load_failure(core: &Core, model: &[u8], row: &Refusal) -> Failure {
    let (code, offset) = (row.code.get(), row.at.get());
    match Engine::<{ OpSet::ALL }>::new(model) {
        Err(error) if error.kind as u32 == code && error.offset == offset => {
            Failure::input(format!("{}: the model was refused: {error}", core.name))
        }
        _ => Failure::check(format!(
            "{}: the model was refused with code {code} (byte {offset}), not so on this machine",
            core.name
        )),
    }
}
