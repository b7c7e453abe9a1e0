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
/// Most rows in TENSORS, OPS and IO: a reader without memory compares lifetimes pairwise, this bounds it.
pub const MAX_ROWS: usize = 4096;
/// "No tensor" in a tensor index field.
pub const NONE: u16 = u16::MAX;

/// First row of the artifact.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Header {
    /// [`MAGIC`].
    pub magic: [u8; 4],
    /// [`MAJOR`].
    pub major: u8,
    /// [`MINOR`].
    pub minor: u8,
    /// Arithmetic version, [`crate::spec::ARITH`].
    pub arith: u8,
    /// Rows in the section table.
    pub sections: u8,
    /// Bytes of the whole artifact.
    pub total_len: U32,
    /// Bytes of arena that a run needs, scratch included.
    pub arena_len: U32,
    /// What a reader must know: operator kinds, weight codings, variants; see [`crate::OpSet`].
    pub op_set: U32,
    /// CRC-32C of everything before the body, this field as zero.
    pub header_crc: U32,
    /// Offset of the body from the start of the artifact, a multiple of [`ALIGN`].
    pub body_off: U32,
    /// Bytes of the first input tensor, for static buffers in firmware.
    pub input_len: U32,
    /// Bytes of the first output tensor.
    pub output_len: U32,
    /// Part of `arena_len` that exists only because of scratch: arena minus the activations-only plan.
    pub scratch_len: U32,
    /// Rows in TENSORS.
    pub tensors: U16,
    /// Rows in OPS.
    pub ops: U16,
    /// Rows in IO.
    pub io: U16,
    /// Zero.
    pub zero: [u8; 18],
}
const _: () = assert!(size_of::<Header>() == 64);

/// What a section holds. Unknown kinds with [`SECTION_MANDATORY`] set make the artifact unreadable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum SectionKind {
    /// [`TensorRow`]s.
    Tensors = 1,
    /// [`OpRow`]s, in execution order unless there are variants.
    Ops = 2,
    /// [`QuantRow`]s.
    Quant = 3,
    /// Tables of 256 `i8` or `u16` and index tables, little-endian.
    Luts = 4,
    /// Weights and constant tensors.
    Weights = 5,
    /// [`IoRow`]s.
    Io = 6,
    /// UTF-8 names and labels that IO rows point into.
    Strings = 7,
    /// `U32` case count, then per case all input bytes and all expected output bytes in IO order, the outputs of one
    /// variant after the other.
    SelfTest = 8,
    /// UTF-8 JSON for host tools only: names of tensors and layers, source, layout of the original inputs.
    Meta = 9,
    /// [`VariantsHead`], [`VariantRow`]s, then the operators of each variant: `U16` indices of rows in OPS. Absent
    /// where OPS itself is the only order of execution.
    Variants = 10,
}

impl SectionKind {
    /// Kind of a stored number.
    pub const fn from_u16(v: u16) -> Option<SectionKind> {
        Some(match v {
            1 => SectionKind::Tensors,
            2 => SectionKind::Ops,
            3 => SectionKind::Quant,
            4 => SectionKind::Luts,
            5 => SectionKind::Weights,
            6 => SectionKind::Io,
            7 => SectionKind::Strings,
            8 => SectionKind::SelfTest,
            9 => SectionKind::Meta,
            10 => SectionKind::Variants,
            _ => return None,
        })
    }
}
/// Flag of a section row: a reader that does not know the kind must refuse the artifact.
pub const SECTION_MANDATORY: u16 = 1;

/// Section table entry. `off` counts from the start of the artifact and is a multiple of [`ALIGN`].
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct SectionRow {
    /// [`SectionKind`].
    pub kind: U16,
    /// [`SECTION_MANDATORY`] or 0.
    pub flags: U16,
    /// From the start of the artifact.
    pub off: U32,
    /// Bytes.
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
/// `first`/`last` are the first and last position in the order of execution at which the storage is used; graph inputs
/// have `first = 0`, graph outputs `last =` number of positions; constants ignore both. A view (`root != NONE`) has the bytes of `root` under other
/// dimensions; its own `first`/`last` are ignored.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct TensorRow {
    /// `[n, h, w, c]`, none of them 0.
    pub dims: [U32; 4],
    /// Bytes from the start of the arena or of WEIGHTS, see `place`.
    pub off: U32,
    /// Bits of the `f32` scale; the runtime hands it on and never computes with it.
    pub scale_bits: U32,
    /// Position of the first op that uses the storage; it writes it, unless the tensor is a graph input.
    pub first: U16,
    /// Position of the last op that uses the storage, or the number of positions.
    pub last: U16,
    /// Tensor that owns the bytes of this view, or [`NONE`].
    pub root: U16,
    /// Zero point: code of real 0.
    pub zero: i8,
    /// [`DTYPE_I8`] or [`DTYPE_I32`].
    pub dtype: u8,
    /// [`PLACE_ARENA`] or [`PLACE_CONST`].
    pub place: u8,
    /// Zero.
    pub pad: [u8; 3],
}
const _: () = assert!(size_of::<TensorRow>() == 36);

impl TensorRow {
    /// Dimensions `[n, h, w, c]`; `None` if one is 0 or the tensor has more than `i32::MAX` bytes.
    pub fn shape(&self) -> Option<[usize; 4]> {
        self.byte_len()?;
        Some(self.dims.map(|dim| dim.get() as usize))
    }

    /// Bytes; `None` where [`TensorRow::shape`] is.
    pub fn byte_len(&self) -> Option<usize> {
        let element = if self.dtype == DTYPE_I32 { 4 } else { 1 };
        let len = self
            .dims
            .iter()
            .try_fold(element, |len: u32, dim| len.checked_mul(dim.get()))?;
        if len == 0 || len > i32::MAX as u32 {
            None
        } else {
            Some(len as usize)
        }
    }
}

/// Offset and length. Unit and base depend on the field.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Span {
    /// First.
    pub off: U32,
    /// How many.
    pub len: U32,
}

impl Span {
    /// First and one past the last; `None` if that leaves `u32`.
    pub fn bounds(self) -> Option<(usize, usize)> {
        let end = self.off.get().checked_add(self.len.get())?;
        Some((self.off.get() as usize, end as usize))
    }
}

/// Requantization of one output channel: `bias` already holds `- z_x * sum(w - z_w)`.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct QuantRow {
    /// Start of the accumulator; `c` of Add; not used by Mul and PRelu.
    pub bias: I32,
    /// `m` of [`crate::spec::scale`]: even, not negative but for PRelu; not used by Add.
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
/// | MaxPool | x | kh kw sh sw dh dw pt pl | padding is skipped; an all-padding window gives -128; then the clamp |
/// | AvgPool | x | kh kw sh sw dh dw pt pl | accumulator = bias + sum of codes; quant `[1]`: padding counts as z_x; quant `[kh*kw]`: only elements inside count, row = count - 1, none inside gives z_y |
/// | Add | x1 x2 | a b (`i16`) s | quant `[1]`: bias = c; dims equal to the output or 1 (broadcast) |
/// | Mul | x1 x2 | - | quant `[1]`: mult; dims equal to the output or 1 (broadcast) |
/// | Lut | x | - | lut 256 x `i8` |
/// | PRelu | x | - | quant `[1 + n]`, n = 1 or c: row 0 where x >= z_x, row 1 + channel below; accumulator = x - z_x |
/// | Softmax | x | axis inv | lut 256 x `u16` |
/// | ArgMax | x | axis | output `i32` |
/// | Copy | x | `in_off[4] out_off[4] step[4] dims[4]` | optional lut 256 x `i8` |
/// | Transpose | x | `perm[4]` | out dim i = in dim `perm[i]` |
/// | Resize | x | - | lut: `u16` source row per output row, then `u16` source column per output column |
///
/// Lut of Conv, Depthwise and Dense: a codebook ([`CODING_CODEBOOK`]) or zero points ([`FLAG_ZEROS`]), else none.
///
/// `lo <= hi` bound the codes of Conv, Depthwise, Dense, MaxPool, AvgPool, Add, Mul, PRelu and Softmax; `lo` is the
/// fill of Copy. Weights start at a multiple of [`ALIGN`] in their section. The output of Add, Mul, Lut, PRelu and
/// Softmax may be a view of the storage of `in0` (in place); no other output shares bytes with an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum OpKind {
    /// Convolution, grouped or not.
    Conv = 0,
    /// Convolution of each channel on its own.
    Depthwise = 1,
    /// Matrix times vector over the last axis.
    Dense = 2,
    /// Maximum over a window.
    MaxPool = 3,
    /// Mean over a window.
    AvgPool = 4,
    /// Sum or difference of two tensors.
    Add = 5,
    /// Product of two tensors.
    Mul = 6,
    /// Function of one code.
    Lut = 7,
    /// Leaky rectifier with a slope per channel.
    PRelu = 8,
    /// Normalized exponential along an axis.
    Softmax = 9,
    /// Index of the maximum along an axis.
    ArgMax = 10,
    /// Strided box from input to output: slice, concatenation, padding.
    Copy = 11,
    /// Permutation of axes.
    Transpose = 12,
    /// Nearest-neighbour resampling of H and W.
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
        let mut rest: &[OpKind] = &Self::ALL;
        while let [kind, tail @ ..] = rest {
            if *kind as u8 == v {
                return Some(*kind);
            }
            rest = tail;
        }
        None
    }

    /// Bit of this kind in an [`crate::OpSet`].
    pub const fn bit(self) -> u32 {
        1 << self as u8
    }
}

/// Weight coding: a code is a two's complement number of `bits` bits, weight = code - zero point.
pub const CODING_LINEAR: u8 = 0;
/// Weight coding: a code of `bits` bits is an index into the 2^bits `i16` of the op's lut; no zero point.
pub const CODING_CODEBOOK: u8 = 1;
/// Weight coding: stored as [`CODING_LINEAR`] with 8 bits, of which a weight has the upper `bits`, 2 to 7, and the
/// middle of what is below: `(code & !0 << (8 - bits)) | 1 << (7 - bits)`. Several widths share the same bytes.
pub const CODING_NESTED: u8 = 2;

/// Weight order: rows as in the table of [`OpKind`], each a string of codes from its least significant bit on,
/// padded with zeros to whole bytes.
pub const ORDER_ROWS: u8 = 0;
/// Weight order: 8-bit rows 2r and 2r + 1 interleaved byte by byte, the codes of the even row with their top bit
/// flipped (code + 128); a missing last row is zero bytes. One SMLAD takes two weights of a halfword (Dense on
/// Cortex-M with DSP extension).
pub const ORDER_PAIRS: u8 = 1;
/// Most codes in a row of [`ORDER_PAIRS`] for which kernels are made.
pub const PAIRS_MOST: usize = 5760;

/// Flag: ArgMax takes the last of equal maxima.
pub const FLAG_SELECT_LAST: u8 = 1;
/// Flag: each output channel has a zero point of its own, `i16` in the op's lut; `w_zero` is 0.
pub const FLAG_ZEROS: u8 = 4;
/// Flag: Copy first fills the whole output with code `lo`.
pub const FLAG_FILL: u8 = 2;

/// One operator. Fields that a kind does not use are zero.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct OpRow {
    /// [`OpKind`].
    pub kind: u8,
    /// [`FLAG_SELECT_LAST`], [`FLAG_FILL`], [`FLAG_ZEROS`].
    pub flags: u8,
    /// Weight coding, [`CODING_LINEAR`], [`CODING_CODEBOOK`] or [`CODING_NESTED`].
    pub coding: u8,
    /// Accumulator shift `l` of [`crate::spec::scale`].
    pub shift: i8,
    /// First input tensor.
    pub in0: U16,
    /// Second input tensor of Add and Mul.
    pub in1: U16,
    /// Output tensor.
    pub out: U16,
    /// Smallest output code.
    pub lo: i8,
    /// Largest output code.
    pub hi: i8,
    /// Weight zero point of all channels, a code of the weights' width; 0 for symmetric weights.
    pub w_zero: I16,
    /// Bits of a weight code that count, 2 to 8; 0 without weights.
    pub bits: u8,
    /// [`ORDER_ROWS`] or [`ORDER_PAIRS`].
    pub order: u8,
    /// Bytes in WEIGHTS.
    pub weights: Span,
    /// Rows in QUANT.
    pub quant: Span,
    /// Bytes in LUTS.
    pub lut: Span,
    /// Bytes in the arena, alive during this op only.
    pub scratch: Span,
    /// Parameters, see [`OpKind`].
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
    /// Tensor in the arena.
    pub tensor: U16,
    /// [`IO_INPUT`] or [`IO_OUTPUT`].
    pub dir: u8,
    /// Zero.
    pub pad: u8,
    /// Name in the original file.
    pub name: Span,
    /// Class labels.
    pub labels: Span,
}
const _: () = assert!(size_of::<IoRow>() == 20);

/// Most variants of an artifact; bounds the time of the reader.
pub const MAX_VARIANTS: usize = 64;

/// Start of VARIANTS.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct VariantsHead {
    /// Variants, 1 to [`MAX_VARIANTS`].
    pub count: U16,
    /// Operators of each variant.
    pub ops: U16,
    /// Rows in IO of each variant.
    pub ports: U16,
    /// Zero.
    pub pad: U16,
}
const _: () = assert!(size_of::<VariantsHead>() == 8);

/// An operating point: one order of execution over the rows of the artifact. The ports of all variants lie in the
/// same storages of the arena; scale and zero point may differ.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct VariantRow {
    /// Name, bytes in STRINGS.
    pub name: Span,
    /// Its first row in IO.
    pub io: U16,
    /// Zero.
    pub pad: U16,
}
const _: () = assert!(size_of::<VariantRow>() == 12);
