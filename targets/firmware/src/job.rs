//! What host and core send each other: little-endian rows.
//!
//! To the core, at the start of the load region of the board: [`Job`], the model, the inputs. From the core,
//! in the result file: [`Record`]s, each followed by `len` bytes. The last one is [`Kind::End`]; a file
//! without it comes from a core that did not finish.

use core::mem::size_of;
use zerocopy::byteorder::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// First four bytes of a job.
pub const MAGIC: [u8; 4] = *b"EQJ\x01";

/// Flag: record checksum and instruction count of every op, for every input.
pub const FLAG_OPS: u32 = 1;
/// Flag: send the output tensor of every op for the first input.
pub const FLAG_TENSORS: u32 = 2;
/// Flag: measure one undivided run of the first input and its stack. Calibrates the counter first.
pub const FLAG_MEASURE: u32 = 4;
/// Flag: calibrate the counter.
pub const FLAG_COUNT: u32 = 8;

/// Order to the core. Offsets count from the start of this row.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Job {
    pub magic: [u8; 4],
    pub flags: U32,
    /// A multiple of 16.
    pub model_off: U32,
    pub model_len: U32,
    pub inputs_off: U32,
    /// Bytes per input: all input tensors in IO order.
    pub input_len: U32,
    pub inputs: U32,
    /// Variant of the model that is run.
    pub variant: U32,
}
const _: () = assert!(size_of::<Job>() == 32);

/// What a [`Record`] carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Kind {
    /// [`Calibration`]; `op` is its index.
    Calibration = 1,
    /// [`Run`]: one undivided run of the first input.
    Run = 2,
    /// [`Op`].
    Op = 3,
    /// Bytes of the output tensor of op `op`.
    Tensor = 4,
    /// Bytes of all output tensors in IO order. Ends an input.
    Output = 5,
    /// [`Failure`]: input `input` could not be run. Ends an input.
    RunError = 6,
    /// [`Failure`]: the model was refused. Followed by the end.
    LoadError = 7,
    /// [`Failure`]: the job itself was refused. Followed by the end.
    JobError = 8,
    /// Name of the kernels that the program was built with, as [`elastiq::Backend::name`] gives it.
    End = 9,
}

impl Kind {
    /// Kind of a stored number.
    pub fn from_u16(v: u16) -> Option<Kind> {
        use Kind::*;
        [
            Calibration,
            Run,
            Op,
            Tensor,
            Output,
            RunError,
            LoadError,
            JobError,
            End,
        ]
        .into_iter()
        .find(|k| *k as u16 == v)
    }
}

/// Head of a record; `len` bytes of payload follow.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Record {
    pub kind: U16,
    pub op: U16,
    pub input: U32,
    pub len: U32,
}
const _: () = assert!(size_of::<Record>() == 12);

/// Reading of the instruction counter: `ticks` whole ticks, minus `spins` turns of the waiting loop.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    FromBytes,
    IntoBytes,
    KnownLayout,
    Immutable,
    Unaligned,
)]
#[repr(C)]
pub struct Reading {
    pub ticks: U64,
    pub spins: U32,
}
const _: () = assert!(size_of::<Reading>() == 12);

/// A code sequence of known length and its reading. Length 0 measures the cost of measuring.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Calibration {
    pub instructions: U32,
    pub reading: Reading,
}
const _: () = assert!(size_of::<Calibration>() == 16);

/// One undivided run.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Run {
    pub reading: Reading,
    /// Deepest stack use below the caller of the engine, in bytes.
    pub stack: U32,
}
const _: () = assert!(size_of::<Run>() == 16);

/// One executed op.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Op {
    pub reading: Reading,
    /// CRC-32C of the output tensor.
    pub crc: U32,
}
const _: () = assert!(size_of::<Op>() == 16);

/// Why something was refused. `code` is the discriminant of the error of the runtime.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Failure {
    pub code: U32,
    /// Byte offset in the model, or the first value of the error.
    pub at: U32,
    /// Second value of the error.
    pub more: U32,
}
const _: () = assert!(size_of::<Failure>() == 12);
