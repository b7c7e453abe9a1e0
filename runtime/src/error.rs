//! Errors: small, `Copy`, stable numbers; the text is for hosts and is not linked unless it is printed.

use core::fmt;

/// Why an artifact was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[repr(u8)]
pub enum LoadErrorKind {
    /// Fewer bytes than header, section table and block table need.
    TooShort = 1,
    /// Not an `.eqm` artifact.
    Magic = 2,
    /// Another major version of the format.
    Version = 3,
    /// Another version of the arithmetic.
    Arith = 4,
    /// The length in the header is not the length of the bytes.
    Length = 5,
    /// The bytes before the body are damaged.
    HeaderCrc = 6,
    /// A block of the body is damaged.
    BlockCrc = 7,
    /// A section is misaligned, outside of the body, doubled, or overlaps another.
    Section = 8,
    /// A section that must be understood is not known to this version.
    UnknownSection = 9,
    /// A count or size in the header disagrees with the sections.
    Count = 10,
    /// A dimension is zero, or the product of dimensions is too large.
    Dims = 11,
    /// A storage or span leaves the arena or section that it points into.
    Range = 12,
    /// A view whose root is missing, itself a view, or has other bytes.
    View = 13,
    /// An unknown element type, or one that the operator does not take.
    Dtype = 14,
    /// A tensor is used outside of its first..last operators, or never written.
    Lifetime = 15,
    /// Two storages that live at the same time share bytes.
    Overlap = 16,
    /// An unknown operator, coding or flag.
    OpKind = 17,
    /// An operand that does not exist, or an output in read-only memory.
    Operand = 18,
    /// Shapes that do not fit the operator.
    Shape = 19,
    /// A parameter outside of its range.
    Param = 20,
    /// A weight, requantization or table span of the wrong size, or misaligned.
    Span = 21,
    /// An entry of a table is outside of its range.
    Table = 22,
    /// An input or output row is malformed, or there is none.
    Io = 23,
    /// The self-test section does not fit the inputs and outputs.
    SelfTest = 24,
    /// Text is not UTF-8.
    Utf8 = 25,
    /// The operator set in the header is not the set used.
    OpSet = 26,
    /// The model needs operators that this engine does not link.
    NotLinked = 27,
    /// Variants of the wrong number, or that name operators or ports that they cannot have.
    Variant = 28,
}

impl LoadErrorKind {
    /// One sentence, lower case, without a full stop.
    pub const fn message(self) -> &'static str {
        match self {
            Self::TooShort => "artifact is too short for its header and tables",
            Self::Magic => "not an .eqm artifact",
            Self::Version => "artifact has another major format version",
            Self::Arith => "artifact was made for another version of the arithmetic",
            Self::Length => "length in the header differs from the length of the artifact",
            Self::HeaderCrc => "checksum of the header does not match",
            Self::BlockCrc => "checksum of a block of the body does not match",
            Self::Section => "section is misaligned, out of range, doubled or overlapping",
            Self::UnknownSection => "mandatory section is not known to this version",
            Self::Count => "count or size in the header disagrees with the sections",
            Self::Dims => "tensor has a zero dimension or too many elements",
            Self::Range => "storage lies outside of the arena or section",
            Self::View => "view does not match its root tensor",
            Self::Dtype => "element type is unknown or not taken by the operator",
            Self::Lifetime => "tensor is used outside of its lifetime or never written",
            Self::Overlap => "two storages that live at the same time share bytes",
            Self::OpKind => "operator, coding or flag is not known to this version",
            Self::Operand => "operand does not exist or cannot be written",
            Self::Shape => "shapes do not fit the operator",
            Self::Param => "operator parameter is out of range",
            Self::Span => "weights, requantization or table have the wrong size or alignment",
            Self::Table => "table entry is out of range",
            Self::Io => "input or output row is malformed or missing",
            Self::SelfTest => "self-test does not fit the inputs and outputs",
            Self::Utf8 => "text is not UTF-8",
            Self::OpSet => "operator set in the header is not the set used",
            Self::NotLinked => "model needs operators that this engine does not link",
            Self::Variant => "variant is malformed or names what is not there",
        }
    }
}

/// An artifact was refused: why, and the byte of the row or field that is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct LoadError {
    /// Reason.
    pub kind: LoadErrorKind,
    /// Byte offset of the offending row or field from the start of the artifact.
    pub offset: u32,
}

impl LoadError {
    pub(crate) const fn at(kind: LoadErrorKind, offset: usize) -> Self {
        LoadError {
            kind,
            offset: offset as u32,
        }
    }
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (byte {})", self.kind.message(), self.offset)
    }
}

impl core::error::Error for LoadError {}

/// Why a run did not happen or stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum RunError {
    /// The arena is smaller than the model needs.
    ArenaTooSmall {
        /// Bytes needed.
        need: u32,
        /// Bytes given.
        have: u32,
    },
    /// The input has the wrong length.
    InputLen {
        /// Bytes needed.
        need: u32,
        /// Bytes given.
        have: u32,
    },
    /// The output buffer has the wrong length.
    OutputLen {
        /// Bytes needed.
        need: u32,
        /// Bytes given.
        have: u32,
    },
    /// [`crate::Engine::run`] takes models with one input; this one has `count`. Use a [`crate::Session`].
    InputCount {
        /// Inputs of the model.
        count: u16,
    },
    /// There is no variant `index`.
    NoVariant {
        /// Index asked for.
        index: u32,
        /// Variants of the model.
        count: u32,
    },
    /// Operator `op` cannot be executed. Does not happen with a model that `Model::parse` accepted, unless the engine
    /// lacks the kernels for it: its [`crate::OpSet::PARTS`] are of another artifact, or the arena is not aligned.
    Invalid {
        /// Its position in the order of execution.
        op: u16,
    },
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ArenaTooSmall { need, have } => {
                write!(f, "arena has {have} bytes, the model needs {need}")
            }
            Self::InputLen { need, have } => {
                write!(f, "input has {have} bytes, the model takes {need}")
            }
            Self::OutputLen { need, have } => {
                write!(f, "output buffer has {have} bytes, the model gives {need}")
            }
            Self::InputCount { count } => write!(
                f,
                "the model has {count} inputs, a single-input run was asked for"
            ),
            Self::NoVariant { index, count } => {
                write!(
                    f,
                    "the model has {count} variants, there is none with index {index}"
                )
            }
            Self::Invalid { op } => write!(f, "operator {op} cannot be executed"),
        }
    }
}

impl core::error::Error for RunError {}
