//! Row types of the artifact and the constants that appear in them.

use core::mem::size_of;
use zerocopy::byteorder::little_endian::{I16, I32, U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// First four bytes of every artifact.
pub const MAGIC: [u8; 4] = *b"EQM\0";
/// Readers refuse another major version; a larger minor version only adds optional sections.
pub const MAJOR: u8 = 1;
/// See [`MAJOR`].
pub const MINOR: u8 = 0;
/// Sections and weight blobs start at multiples of this, counted from the start of the artifact.
pub const ALIGN: usize = 16;
/// Bytes of the body covered by one entry of the block CRC table.
pub const BLOCK: usize = 4096;
/// "No tensor" in a tensor index field.
pub const NONE: u16 = u16::MAX;

/// First row of the artifact.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Header {
    pub magic: [u8; 4],
    pub major: u8,
    pub minor: u8,
    /// Arithmetic version, [`crate::spec::ARITH`].
    pub arith: u8,
    /// Rows in the section table.
    pub sections: u8,
    /// Bytes of the whole artifact.
    pub total_len: U32,
    /// Bytes of arena that a run needs, scratch included.
    pub arena_len: U32,
    /// Operator kinds used: bit `kind` of [`OpKind`].
    pub op_set: U32,
    /// CRC-32C of everything before the body, this field as zero.
    pub header_crc: U32,
    /// Offset of the body from the start of the artifact, a multiple of [`ALIGN`].
    pub body_off: U32,
    /// Bytes of the first input and first output tensor, for static buffers in firmware.
    pub input_len: U32,
    pub output_len: U32,
    /// Part of `arena_len` that exists only because of scratch: arena minus the activations-only plan.
    pub scratch_len: U32,
    /// Rows in TENSORS, OPS, QUANT, IO.
    pub tensors: U16,
    pub ops: U16,
    pub io: U16,
    pub zero: [u8; 18],
}
const _: () = assert!(size_of::<Header>() == 64);

/// What a section holds. Unknown kinds with [`SECTION_MANDATORY`] set make the artifact unreadable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum SectionKind {
    Tensors = 1,
    Ops = 2,
    Quant = 3,
    Luts = 4,
    Weights = 5,
    Io = 6,
    /// UTF-8 names and labels that IO rows point into.
    Strings = 7,
    /// `U32` case count, then per case all input bytes and all expected output bytes in IO order.
    SelfTest = 8,
    /// UTF-8 JSON for host tools only: names of tensors and layers, source, layout of the original inputs.
    Meta = 9,
}
/// Flag of a section row: a reader that does not know the kind must refuse the artifact.
pub const SECTION_MANDATORY: u16 = 1;

/// Section table entry. `off` counts from the start of the artifact and is a multiple of [`ALIGN`].
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct SectionRow {
    pub kind: U16,
    pub flags: U16,
    pub off: U32,
    pub len: U32,
}
const _: () = assert!(size_of::<SectionRow>() == 12);

/// Element type of a tensor.
pub const DTYPE_I8: u8 = 0;
/// Little-endian `i32`; only the output of ArgMax.
pub const DTYPE_I32: u8 = 1;

/// `off` of the tensor counts from the start of the arena.
pub const PLACE_ARENA: u8 = 0;
/// `off` of the tensor counts from the start of WEIGHTS; read-only.
pub const PLACE_CONST: u8 = 1;

/// A tensor: row-major `[n, h, w, c]`, shapes of lower rank are padded with ones on the left.
///
/// `first`/`last` are the first and last op index at which the storage is used; graph inputs have `first = 0`,
/// graph outputs `last = ops`. A view (`root != NONE`) has the bytes of `root` under other dimensions.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct TensorRow {
    pub dims: [U32; 4],
    pub off: U32,
    /// Bits of the `f32` scale; the runtime hands it on and never computes with it.
    pub scale_bits: U32,
    pub first: U16,
    pub last: U16,
    pub root: U16,
    pub zero: i8,
    pub dtype: u8,
    pub place: u8,
    pub pad: [u8; 3],
}
const _: () = assert!(size_of::<TensorRow>() == 36);

/// Offset and length. Unit and base depend on the field.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Span {
    pub off: U32,
    pub len: U32,
}

/// Requantization of one output channel: `bias` already holds `- z_x * sum(w - z_w)`.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct QuantRow {
    pub bias: I32,
    pub mult: I32,
}
const _: () = assert!(size_of::<QuantRow>() == 8);

/// Operators of the runtime. The discriminant is the bit in [`Header::op_set`].
///
/// Parameters `p[i]` of [`OpRow`] per kind (`k` kernel, `s` stride, `d` dilation, `pt`/`pl` padding at top and left; padding at
/// the other sides follows from the output size; whatever lies outside the input is padding):
///
/// | kind | inputs | `p` | weights, quant, lut |
/// |---|---|---|---|
/// | Conv | x | kh kw sh sw dh dw pt pl groups | w `[m][kh][kw][c/groups]`, quant `[m]` |
/// | Depthwise | x | kh kw sh sw dh dw pt pl | w `[kh][kw][m]`, quant `[m]`; m = c * multiplier, output o reads channel o / multiplier |
/// | Dense | x `[.., k]` | - | w `[m][k]`, quant `[m]` |
/// | MaxPool | x | kh kw sh sw dh dw pt pl | padding is skipped; an all-padding window gives -128 |
/// | AvgPool | x | kh kw sh sw dh dw pt pl | quant `[1]`: padding counts as z_x; quant `[kh*kw]`: only elements inside count, row = count - 1 |
/// | Add | x1 x2 | a b (`i16`) s | quant `[1]`: bias = c; dims equal or 1 (broadcast) |
/// | Mul | x1 x2 | - | quant `[1]`: mult; dims equal or 1 (broadcast) |
/// | Lut | x | - | lut 256 x `i8` |
/// | PRelu | x | - | quant `[1 + n]`, n = 1 or c: row 0 where x >= z_x, row 1 + channel below |
/// | Softmax | x | axis inv | lut 256 x `u16` |
/// | ArgMax | x | axis | output `i32` |
/// | Copy | x | in_off[4] out_off[4] step[4] dims[4] | optional lut 256 x `i8` |
/// | Transpose | x | perm[4] | out dim i = in dim perm\[i\] |
/// | Resize | x | - | lut: `u16` source row per output row, then `u16` source column per output column |
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum OpKind {
    Conv = 0,
    Depthwise = 1,
    Dense = 2,
    MaxPool = 3,
    AvgPool = 4,
    Add = 5,
    Mul = 6,
    Lut = 7,
    PRelu = 8,
    Softmax = 9,
    ArgMax = 10,
    Copy = 11,
    Transpose = 12,
    Resize = 13,
}

impl OpKind {
    /// All kinds, index = discriminant.
    pub const ALL: [OpKind; 14] = [
        OpKind::Conv,
        OpKind::Depthwise,
        OpKind::Dense,
        OpKind::MaxPool,
        OpKind::AvgPool,
        OpKind::Add,
        OpKind::Mul,
        OpKind::Lut,
        OpKind::PRelu,
        OpKind::Softmax,
        OpKind::ArgMax,
        OpKind::Copy,
        OpKind::Transpose,
        OpKind::Resize,
    ];

    /// Kind of a stored discriminant.
    pub const fn from_u8(v: u8) -> Option<OpKind> {
        let mut i = 0;
        while i < Self::ALL.len() {
            if Self::ALL[i] as u8 == v {
                return Some(Self::ALL[i]);
            }
            i += 1;
        }
        None
    }

    /// Bit of this kind in an [`crate::OpSet`].
    pub const fn bit(self) -> u32 {
        1 << self as u8
    }
}

/// Weight coding: `i8`, one byte a weight.
pub const CODING_I8: u8 = 0;

/// Flag: ArgMax takes the last of equal maxima.
pub const FLAG_SELECT_LAST: u8 = 1;
/// Flag: Copy first fills the whole output with code `lo`.
pub const FLAG_FILL: u8 = 2;

/// One operator. Fields that a kind does not use are zero.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct OpRow {
    pub kind: u8,
    pub flags: u8,
    pub coding: u8,
    /// Accumulator shift `l` of [`crate::spec::scale`].
    pub shift: i8,
    pub in0: U16,
    pub in1: U16,
    pub out: U16,
    /// Clamp bounds of the output code.
    pub lo: i8,
    pub hi: i8,
    /// Weight zero point, the same for all channels; 0 for symmetric weights.
    pub w_zero: I16,
    pub pad: [u8; 2],
    /// Bytes in WEIGHTS.
    pub weights: Span,
    /// Rows in QUANT.
    pub quant: Span,
    /// Bytes in LUTS.
    pub lut: Span,
    /// Bytes in the arena, alive during this op only.
    pub scratch: Span,
    pub p: [U16; 16],
}
const _: () = assert!(size_of::<OpRow>() == 80);

/// `dir` of an input port.
pub const IO_INPUT: u8 = 0;
/// `dir` of an output port.
pub const IO_OUTPUT: u8 = 1;

/// A named input or output of the network. `name` and `labels` are byte spans in STRINGS; labels are
/// separated by newlines.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct IoRow {
    pub tensor: U16,
    pub dir: u8,
    pub pad: u8,
    pub name: Span,
    pub labels: Span,
}
const _: () = assert!(size_of::<IoRow>() == 20);
