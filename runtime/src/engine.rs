//! Execution of a checked model in an arena lent by the caller.

use crate::backend::Backend;
use crate::error::{LoadError, RunError};
use crate::format::OpKind;
use crate::format::decode::{Kernel, Source, Step, decode};
use crate::format::model::{Io, Model};
use crate::format::{PLACE_CONST, TensorRow};
use crate::info::OpSet;
use zerocopy::{FromBytes, IntoBytes};

/// A model together with the code that runs it. Only the kernels in `OPS` are linked.
///
/// `OPS` is [`crate::ModelInfo::ops`] in firmware for one model, or [`OpSet::ALL`].
#[derive(Clone, Copy, Debug)]
pub struct Engine<'a, const OPS: u32> {
    model: Model<'a>,
    backend: Backend,
}

impl<'a, const OPS: u32> Engine<'a, OPS> {
    /// Check the artifact, as [`Model::parse`] but for its text, which a run does not read.
    ///
    /// # Errors
    /// Those of [`Model::parse`], and `NotLinked` if the model uses operators outside of `OPS`.
    pub fn new(bytes: &'a [u8]) -> Result<Self, LoadError> {
        Ok(Engine {
            model: Model::parse_within::<OPS>(bytes)?.0,
            backend: Backend::native(),
        })
    }

    /// The same with the kernels of `backend`; one that this machine does not have stands for the portable kernels,
    /// which may not be in `OPS`.
    pub fn with_backend(mut self, backend: Backend) -> Self {
        self.backend = match Backend::available().any(|b| b == backend) {
            true => backend,
            false => Backend::Portable,
        };
        self
    }

    /// The kernels in use.
    pub fn backend(&self) -> Backend {
        self.backend
    }

    /// The checked artifact.
    pub fn model(&self) -> &Model<'a> {
        &self.model
    }

    /// Operating points of the model, at least one.
    #[inline(always)]
    pub fn variants(&self) -> usize {
        match OPS & OpSet::ELASTIC {
            0 => 1,
            _ => self.model.variants(),
        }
    }

    /// Name of variant `i`, as [`Model::variant_name`].
    pub fn variant_name(&self, i: usize) -> Option<&'a str> {
        self.model.variant_name(i)
    }

    /// Run variant `i` from the next [`Engine::start`] or [`Engine::run`] on; at first it is variant 0. Takes the same
    /// time whatever the size of the model.
    ///
    /// # Errors
    /// If there is no such variant; the chosen one stays.
    pub fn select(&mut self, i: usize) -> Result<(), RunError> {
        self.model = self.model.with_variant(i)?;
        Ok(())
    }

    /// Recorded runs of the chosen variant, as [`Model::self_test_cases`].
    pub fn self_test_cases(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + use<'a, OPS> {
        self.model.cases::<OPS>()
    }

    /// Run a model with one input; `output` takes its first output (an `i32` output as little-endian bytes).
    ///
    /// The contents of `arena` do not matter before and are undefined afterwards.
    ///
    /// # Errors
    /// If the arena is too small or a buffer has another length than the tensor.
    pub fn run(&self, arena: &mut [u8], input: &[i8], output: &mut [i8]) -> Result<(), RunError> {
        let header = self.model.header;
        let count = self.model.inputs().count();
        if count != 1 {
            return Err(RunError::InputCount {
                count: count as u16,
            });
        }
        if input.len() != header.input_len.get() as usize {
            return Err(RunError::InputLen {
                need: header.input_len.get(),
                have: input.len() as u32,
            });
        }
        if output.len() != header.output_len.get() as usize {
            let (need, have) = (header.output_len.get(), output.len() as u32);
            return Err(RunError::OutputLen { need, have });
        }
        let mut session = self.start(arena)?;
        let slot = session.input_mut(0).unwrap_or_default();
        slot.iter_mut()
            .zip(input)
            .for_each(|(slot, code)| *slot = *code as u8);
        session.finish()?;
        let result = session.output(0).unwrap_or_default();
        output
            .iter_mut()
            .zip(result)
            .for_each(|(code, byte)| *code = *byte as i8);
        Ok(())
    }

    /// Begin a run that is executed operator by operator.
    ///
    /// # Errors
    /// If the arena is too small.
    pub fn start<'m>(&'m self, arena: &'m mut [u8]) -> Result<Session<'m, 'a, OPS>, RunError> {
        let (need, have) = (self.model.arena_len(), arena.len());
        match arena.get_mut(..need) {
            Some(arena) => Ok(Session {
                model: &self.model,
                backend: self.backend,
                arena,
                next: 0,
            }),
            None => Err(RunError::ArenaTooSmall {
                need: need as u32,
                have: have as u32,
            }),
        }
    }
}

/// A run in progress: fill the inputs, [`step`](Session::step) or [`finish`](Session::finish), read the outputs.
#[derive(Debug)]
pub struct Session<'m, 'a, const OPS: u32> {
    model: &'m Model<'a>,
    backend: Backend,
    arena: &'m mut [u8],
    next: u16,
}

impl<'a, const OPS: u32> Session<'_, 'a, OPS> {
    /// Bytes of input `i`, to be written before the first step.
    pub fn input_mut(&mut self, i: usize) -> Option<&mut [u8]> {
        let Io { row, len, .. } = self.model.inputs().nth(i)?;
        let off = row.off.get() as usize;
        self.arena.get_mut(off..off.checked_add(len)?)
    }

    /// Bytes of output `i`, valid after the last step.
    pub fn output(&self, i: usize) -> Option<&[u8]> {
        self.bytes_of(self.model.outputs().nth(i)?.row)
    }

    /// Current bytes of tensor `i`; they are the tensor's from the operator that writes it to its last use.
    pub fn tensor(&self, i: u16) -> Option<&[u8]> {
        self.bytes_of(self.model.tensors.get(usize::from(i))?)
    }

    /// Execute one operator and give its position in [`Model::steps`], `None` if all are done.
    ///
    /// # Errors
    /// None with a model from [`Model::parse`] that `OPS` was made for.
    pub fn step(&mut self) -> Result<Option<u16>, RunError> {
        let op = self.next;
        let Some(row) = self.model.step::<OPS>(op.into()) else {
            return Ok(None);
        };
        let step = decode::<OPS>(self.model, row).map_err(|_| RunError::Invalid { op })?;
        let arena = <[i8]>::mut_from_bytes(self.arena).unwrap_or_default();
        execute::<OPS>(&step, arena, self.backend).ok_or(RunError::Invalid { op })?;
        self.next = op.wrapping_add(1);
        Ok(Some(op))
    }

    /// Execute the remaining operators.
    ///
    /// # Errors
    /// None with a model from [`Model::parse`] that `OPS` was made for.
    pub fn finish(&mut self) -> Result<(), RunError> {
        while self.step()?.is_some() {}
        Ok(())
    }

    fn bytes_of(&self, row: &TensorRow) -> Option<&[u8]> {
        let off = row.off.get() as usize;
        let end = off.checked_add(row.byte_len()?)?;
        if row.place == PLACE_CONST {
            self.model.weights.as_bytes().get(off..end)
        } else {
            self.arena.get(off..end)
        }
    }
}

/// Operands of one operator; `None` stands for the bytes of the output.
struct Operands<'m> {
    x: Option<&'m [i8]>,
    x2: Option<&'m [i8]>,
    y: &'m mut [i8],
    scratch: &'m mut [u32],
}

/// Lend output and scratch mutably and the inputs from the arena around them.
fn lend<'m, 'a: 'm>(arena: &'m mut [i8], step: &Step<'a>) -> Option<Operands<'m>> {
    let (out, mut scratch) = (step.out, step.scratch);
    if scratch.1 == 0 {
        scratch = (out.0.checked_add(out.1)?, 0);
    }
    let (low, high) = if out.0 < scratch.0 {
        (out, scratch)
    } else {
        (scratch, out)
    };
    let (low_end, high_end) = (low.0.checked_add(low.1)?, high.0.checked_add(high.1)?);
    let (rest, after) = arena.split_at_mut_checked(high_end)?;
    let (rest, high_bytes) = rest.split_at_mut_checked(high.0)?;
    let (rest, between) = rest.split_at_mut_checked(low_end)?;
    let (before, low_bytes) = rest.split_at_mut_checked(low.0)?;
    let (before, between, after): (&'m [i8], &'m [i8], &'m [i8]) = (before, between, after);
    let find = |source| -> Option<Option<&'m [i8]>> {
        Some(match source {
            Source::Out => None,
            Source::Const(codes) => Some(codes),
            Source::Arena(off, len) => {
                let (part, start) = match off {
                    off if off >= high_end => (after, high_end),
                    off if off >= low_end => (between, low_end),
                    _ => (before, 0),
                };
                let at = off.checked_sub(start)?;
                Some(part.get(at..at.checked_add(len)?)?)
            }
        })
    };
    let (x, x2) = (find(step.x)?, find(step.x2)?);
    let (y, scratch) = match low == out {
        true => (low_bytes, high_bytes),
        false => (high_bytes, low_bytes),
    };
    Some(Operands {
        x,
        x2,
        y,
        scratch: words(scratch),
    })
}

/// The whole words of `bytes`; none if their memory is not aligned.
fn words(bytes: &mut [i8]) -> &mut [u32] {
    let len = bytes.len() & !3;
    let bytes = bytes.get_mut(..len).unwrap_or_default();
    <[u32]>::mut_from_bytes(bytes.as_mut_bytes()).unwrap_or_default()
}

/// Run one kernel; `None` if the operands are not where they should be or the kernel is not linked.
fn execute<const OPS: u32>(step: &Step<'_>, arena: &mut [i8], backend: Backend) -> Option<()> {
    let Operands { x, x2, y, scratch } = lend(arena, step)?;
    let has = |kind| OpSet::has(OPS, kind);
    match &step.kernel {
        Kernel::Conv(k) if has(OpKind::Conv) => k.run::<OPS>(x?, y, scratch, backend)?,
        Kernel::Depthwise(k) if has(OpKind::Depthwise) => k.run::<OPS>(x?, y, scratch, backend)?,
        Kernel::Dense(k) if has(OpKind::Dense) => k.run::<OPS>(x?, y, scratch, backend)?,
        Kernel::MaxPool(k) if has(OpKind::MaxPool) => k.run(x?, y, backend),
        Kernel::AvgPool(k) if has(OpKind::AvgPool) => k.run(x?, y),
        Kernel::Add(k) if has(OpKind::Add) => {
            if let Some(x) = x {
                k.from1.zip(x, y, |y, x| *y = x);
            }
            k.run(x2, y, backend);
        }
        Kernel::Mul(k) if has(OpKind::Mul) => {
            if let Some(x) = x {
                k.from1.zip(x, y, |y, x| *y = x);
            }
            k.run(x2, y);
        }
        Kernel::Lut(k) if has(OpKind::Lut) => k.run(moved(x, y)),
        Kernel::PRelu(k) if has(OpKind::PRelu) => k.run(moved(x, y)),
        Kernel::Softmax(k) if has(OpKind::Softmax) => k.run(moved(x, y)),
        Kernel::ArgMax(k) if has(OpKind::ArgMax) => k.run(x?, y),
        Kernel::Copy(k) if has(OpKind::Copy) => k.run(x?, y),
        Kernel::Transpose(k) if has(OpKind::Transpose) => k.run(x?, y),
        Kernel::Resize(k) if has(OpKind::Resize) => k.run(x?, y),
        _ => return None,
    }
    Some(())
}

/// The output with the input moved into it, for kernels that work in place.
fn moved<'m>(x: Option<&[i8]>, y: &'m mut [i8]) -> &'m mut [i8] {
    y.iter_mut()
        .zip(x.unwrap_or_default())
        .for_each(|(y, x)| *y = *x);
    y
}
