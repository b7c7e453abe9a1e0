//! What firmware must know about an artifact at compile time.

use crate::format::{CODING_CODEBOOK, CODING_NESTED, MAGIC, MAJOR, OpKind, OpRow};
use crate::parts;
use crate::spec::ARITH;

/// Sets of operators: bit [`OpKind::bit`] of a `u32`, the weight codings beside plain 8 bits, variants, and parts of
/// kernels.
#[derive(Clone, Copy, Debug)]
pub struct OpSet;

impl OpSet {
    /// Several operating points, and weights that are the upper bits of 8-bit codes, which they share.
    pub const ELASTIC: u32 = 1 << 29;
    /// Weights of 2 to 7 bits.
    pub const LOW_BITS: u32 = 1 << 30;
    /// Weights by codebook.
    pub const CODEBOOK: u32 = 1 << 31;

    /// A convolution that the backend leaves to the portable kernel, for its shape or for want of scratch.
    pub const PORTABLE_CONV: u32 = 1 << 16;
    /// The same of a depthwise convolution.
    pub const PORTABLE_DEPTHWISE: u32 = 1 << 17;
    /// The same of a dense layer.
    pub const PORTABLE_DENSE: u32 = 1 << 18;
    /// Weights of convolutions, or dense layers computed as such, that are not plain 8-bit rows.
    pub const CODED_CONV: u32 = 1 << 19;
    /// The same of depthwise convolutions.
    pub const CODED_DEPTHWISE: u32 = 1 << 20;
    /// Convolutions with windows of more than the input at the same position.
    pub const WINDOWS: u32 = 1 << 21;
    /// Such windows with gaps between their codes: dilated, or of a group of channels.
    pub const BROKEN_WINDOWS: u32 = 1 << 22;
    /// Dense layers with weights row by row.
    pub const DENSE_ROWS: u32 = 1 << 23;
    /// Dense layers with weights in [`crate::format::ORDER_PAIRS`].
    pub const DENSE_PAIRS: u32 = 1 << 24;
    /// Dense layers computed as convolutions.
    pub const DENSE_BLOCKS: u32 = 1 << 25;
    /// Outputs of Conv, Depthwise and Dense with bounds of their own.
    pub const CLAMP: u32 = 1 << 26;
    /// Depthwise convolutions with windows of 3 x 3 and stride 1 along the longer axis of the output.
    pub const PLANES_1: u32 = 1 << 27;
    /// The same with stride 2.
    pub const PLANES_2: u32 = 1 << 28;
    /// Depthwise convolutions with other windows, or fewer than 4 channels.
    pub const PLANES_ANY: u32 = 1 << 15;
    /// Conv and Dense with an odd number of outputs, or rows whose length is not a multiple of 4.
    pub const RAGGED: u32 = 1 << 14;
    /// Parts of kernels; which ones an artifact needs depends on the backend, and is not in its header.
    pub const PARTS: u32 = 0x1fff << 16 | Self::PLANES_ANY | Self::RAGGED;

    /// Everything in the runtime.
    pub const ALL: u32 = {
        let mut set = Self::ELASTIC | Self::LOW_BITS | Self::CODEBOOK | Self::PARTS;
        let mut rest: &[OpKind] = &OpKind::ALL;
        while let [kind, tail @ ..] = rest {
            set |= kind.bit();
            rest = tail;
        }
        set
    };

    /// Whether `set` holds `kind`.
    #[inline(always)]
    pub const fn has(set: u32, kind: OpKind) -> bool {
        set & kind.bit() != 0
    }

    /// What an operator row needs, but for [`OpSet::PARTS`]: its kind and its weight coding.
    pub fn of(row: &OpRow) -> u32 {
        let kind = OpKind::from_u8(row.kind).map_or(0, OpKind::bit);
        kind | match (row.coding, row.bits) {
            (CODING_CODEBOOK, _) => Self::CODEBOOK,
            (CODING_NESTED, _) => Self::ELASTIC,
            (_, 1..=7) => Self::LOW_BITS,
            _ => 0,
        }
    }
}

/// Sizes and operator set from the header of an artifact.
///
/// ```ignore
/// static MODEL: &Aligned<[u8]> = &include_model!("kws.eqm");
/// const INFO: ModelInfo = ModelInfo::of(&MODEL.0);
/// static ARENA: ConstStaticCell<[u8; INFO.arena_len]> = ConstStaticCell::new([0; INFO.arena_len]);
/// let engine = Engine::<{ INFO.ops }>::new(&MODEL.0)?;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ModelInfo {
    /// Operators, weight codings, variants and parts of kernels used, the parameter of [`crate::Engine`].
    pub ops: u32,
    /// Bytes of arena that a run needs.
    pub arena_len: usize,
    /// Bytes of the first input.
    pub input_len: usize,
    /// Bytes of the first output.
    pub output_len: usize,
    /// Bytes of the whole artifact.
    pub total_len: usize,
}

impl ModelInfo {
    /// Read the header and the rows of operators; for a `const`, where a malformed header is a compile error.
    ///
    /// Parts of kernels are left out for an artifact that lies at a multiple of [`crate::format::ALIGN`], as
    /// [`crate::include_model!`] puts it, and an arena at a multiple of 4.
    ///
    /// # Panics
    /// Where [`ModelInfo::read`] gives `None`. Use that one outside of constants.
    #[allow(clippy::panic, reason = "the compile error this function promises")]
    pub const fn of(bytes: &[u8]) -> ModelInfo {
        match Self::read(bytes) {
            Some(info) => ModelInfo {
                ops: info.ops & !OpSet::PARTS | parts::of_artifact(bytes),
                ..info
            },
            None => panic!("not an elastiq artifact that this version can read"),
        }
    }

    /// Read the header; `None` if it is too short, or of another format or version.
    ///
    /// Bytes behind the header are not looked at, so that a loader that has only the header can size its buffers; all
    /// parts of kernels are in its operators.
    pub const fn read(bytes: &[u8]) -> Option<ModelInfo> {
        let Some([m0, m1, m2, m3, major, _, arith, ..]) = bytes.first_chunk::<64>() else {
            return None;
        };
        let [a, b, c, d] = MAGIC;
        if *m0 != a || *m1 != b || *m2 != c || *m3 != d || *major != MAJOR || *arith != ARITH {
            return None;
        }
        Some(ModelInfo {
            ops: u32_at(bytes, 16) | OpSet::PARTS,
            arena_len: u32_at(bytes, 12) as usize,
            input_len: u32_at(bytes, 28) as usize,
            output_len: u32_at(bytes, 32) as usize,
            total_len: u32_at(bytes, 8) as usize,
        })
    }
}

/// Little-endian word at `off`, 0 behind the end.
const fn u32_at(bytes: &[u8], off: usize) -> u32 {
    match bytes.split_at_checked(off) {
        Some((_, rest)) => match rest.first_chunk::<4>() {
            Some(word) => u32::from_le_bytes(*word),
            None => 0,
        },
        None => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::Header;
    use zerocopy::{FromZeros, IntoBytes};

    #[test]
    fn agrees_with_the_header_row() {
        let mut header = Header::new_zeroed();
        assert_eq!(ModelInfo::read(header.as_bytes()), None);
        header.magic = MAGIC;
        header.major = MAJOR;
        header.arith = ARITH;
        header.total_len.set(1);
        header.arena_len.set(2);
        header.op_set.set(3);
        header.input_len.set(4);
        header.output_len.set(5);
        let want = ModelInfo {
            ops: 3 | OpSet::PARTS,
            arena_len: 2,
            input_len: 4,
            output_len: 5,
            total_len: 1,
        };
        assert_eq!(ModelInfo::of(header.as_bytes()), want);
        assert_eq!(ModelInfo::read(&header.as_bytes()[..63]), None);
    }

    #[test]
    fn all_is_every_bit() {
        assert_eq!(OpSet::ALL, u32::MAX);
        assert_eq!(OpSet::PARTS.count_ones(), 15);
    }
}
