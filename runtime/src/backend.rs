//! The instruction sets that kernels are written for, and what each wants of scratch memory.

use crate::kernels::arch;

/// A set of kernels. All give the same bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Backend {
    /// Plain Rust without scratch: the reference, and the fallback of every other backend.
    Portable = 0,
    /// ARMv6-M and ARMv7-M without DSP extension: Cortex-M0, M0+, M3.
    Thumb = 1,
    /// ARMv7E-M and ARMv8-M with DSP extension: Cortex-M4, M7, M33.
    Dsp = 2,
    /// ARMv8.1-M with Helium (MVE): Cortex-M55, M85.
    Helium = 3,
    /// RV32IM.
    Rv32 = 4,
    /// RISC-V vector extension 1.0, from Zve32x on.
    Rvv = 5,
    /// AArch64 Advanced SIMD.
    Neon = 6,
    /// AArch64 Advanced SIMD with the dot product extension.
    NeonDot = 7,
    /// x86-64 with AVX2 and BMI2. Takes no scratch, but up to 160 KiB of stack.
    Avx2 = 8,
    /// x86-64 with AVX-512 VNNI. Takes no scratch, but up to 160 KiB of stack.
    Avx512Vnni = 9,
}

impl Backend {
    /// All backends, index = discriminant.
    pub const ALL: [Backend; 10] = [
        Backend::Portable,
        Backend::Thumb,
        Backend::Dsp,
        Backend::Helium,
        Backend::Rv32,
        Backend::Rvv,
        Backend::Neon,
        Backend::NeonDot,
        Backend::Avx2,
        Backend::Avx512Vnni,
    ];

    /// The fastest backend of this program on this machine.
    #[inline]
    pub fn native() -> Backend {
        arch::best()
    }

    /// The backends that this program can use on this machine, [`Backend::Portable`] first.
    pub fn available() -> impl Iterator<Item = Backend> {
        Self::ALL.into_iter().filter(|b| arch::available(*b))
    }

    /// Name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Backend::Portable => "portable",
            Backend::Thumb => "thumb",
            Backend::Dsp => "dsp",
            Backend::Helium => "helium",
            Backend::Rv32 => "rv32",
            Backend::Rvv => "rvv",
            Backend::Neon => "neon",
            Backend::NeonDot => "neon-dot",
            Backend::Avx2 => "avx2",
            Backend::Avx512Vnni => "avx512-vnni",
        }
    }

    /// How the matrix kernels of this backend lay out scratch.
    pub const fn layout(self) -> Layout {
        match self {
            Backend::Portable => Layout::NONE,
            Backend::Thumb => Layout {
                cols: 2,
                rows: 2,
                step: 4,
                column: 2,
                weight: 2,
                row_extra: 0,
                direct: false,
                plane: 1,
            },
            Backend::Dsp => Layout {
                cols: 2,
                rows: 2,
                step: 4,
                column: 2,
                weight: 2,
                row_extra: 0,
                direct: false,
                plane: 2,
            },
            Backend::Rv32 => Layout {
                cols: 4,
                rows: 4,
                step: 4,
                column: 2,
                weight: 2,
                row_extra: 0,
                direct: false,
                plane: 1,
            },
            Backend::Helium => Layout {
                cols: 6,
                rows: 4,
                step: 16,
                column: 0,
                weight: 2,
                row_extra: 0,
                direct: true,
                plane: 0,
            },
            Backend::Rvv => Layout {
                cols: 3,
                rows: 8,
                step: 4,
                column: 0,
                weight: 2,
                row_extra: 0,
                direct: false,
                plane: 0,
            },
            Backend::Neon => Layout {
                cols: 4,
                rows: 8,
                step: 4,
                column: 0,
                weight: 2,
                row_extra: 0,
                direct: false,
                plane: 0,
            },
            Backend::NeonDot => Layout {
                cols: 4,
                rows: 8,
                step: 4,
                column: 0,
                weight: 1,
                row_extra: 0,
                direct: false,
                plane: 0,
            },
            // Buffers on the stack.
            Backend::Avx2 | Backend::Avx512Vnni => Layout::NONE,
        }
    }
}

/// Scratch layout of matrix kernels: some columns (the inputs under the window at one position, `k` codes), then a
/// block of decoded weight rows that all positions are multiplied with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Columns multiplied together.
    pub cols: usize,
    /// Rows in a tile; a block holds whole tiles.
    pub rows: usize,
    /// Rows and columns are padded to a multiple of this many codes.
    pub step: usize,
    /// Bytes per code of a widened column; 0 where columns stay 8-bit.
    pub column: usize,
    /// Bytes per decoded weight.
    pub weight: usize,
    /// Further bytes per decoded row.
    pub row_extra: usize,
    /// Plain 8-bit weights are used where they are, without decoding.
    pub direct: bool,
    /// Bytes per code of the planes of a depthwise convolution, 0 if it needs none.
    pub plane: usize,
}

impl Layout {
    const NONE: Layout = Layout {
        cols: 0,
        rows: 1,
        step: 1,
        column: 0,
        weight: 0,
        row_extra: 0,
        direct: true,
        plane: 0,
    };

    /// `k` rounded up to whole steps, which are powers of two.
    #[inline(always)]
    pub const fn padded(&self, k: usize) -> usize {
        k.saturating_add(self.step - 1) & !(self.step - 1)
    }

    /// Bytes of the 8-bit columns, whole words.
    #[inline(always)]
    pub const fn staging_len(&self, k: usize) -> usize {
        self.cols.saturating_mul(self.padded(k)).saturating_add(3) & !3
    }

    /// Bytes of the widened columns.
    #[inline(always)]
    pub const fn columns_len(&self, k: usize) -> usize {
        self.cols
            .saturating_mul(self.padded(k))
            .saturating_mul(self.column)
    }

    /// Bytes of scratch for a dense layer with one row of inputs and plain weights: the widened inputs.
    #[inline(always)]
    pub const fn dense_len(&self, k: usize) -> usize {
        self.padded(k).saturating_mul(self.column)
    }

    /// Bytes of a decoded row of weights.
    #[inline(always)]
    pub const fn row_len(&self, k: usize) -> usize {
        self.padded(k)
            .saturating_mul(self.weight)
            .saturating_add(self.row_extra)
    }

    /// Bytes of scratch for a block of `rows` rows.
    pub const fn matrix_len(&self, k: usize, rows: usize) -> usize {
        let rows = match rows.checked_next_multiple_of(self.rows) {
            Some(rows) => rows,
            None => rows,
        };
        self.row_len(k)
            .saturating_mul(rows)
            .saturating_add(self.staging_len(k))
            .saturating_add(self.columns_len(k))
    }

    /// How a depthwise convolution is spread into planes, if this backend does that. All arguments are
    /// `[vertical, horizontal]`.
    pub const fn planes(
        &self,
        kernel: [usize; 2],
        stride: [usize; 2],
        output: [usize; 2],
    ) -> Option<Planes> {
        let ([kv, kh], [sv, sh], [ov, oh]) = (kernel, stride, output);
        let (across, along) = match ov > oh {
            true => ((kh, sh, oh), (kv, sv, ov)),
            false => ((kv, sv, ov), (kh, sh, oh)),
        };
        let row = match along.0.checked_next_multiple_of(4) {
            Some(row) => row,
            None => along.0,
        };
        match self.plane {
            0 => None,
            plane => Some(Planes {
                vertical: ov > oh,
                across: across.0,
                line: reach(along).saturating_add(PLANE_SLACK) & !3,
                lines: reach(across),
                row,
                plane,
            }),
        }
    }
}

/// Scratch of a depthwise convolution whose windows are vectors: of every channel, the lines under the window lie
/// interleaved code by code, behind the taps of all channels, which are there once for each line that may be first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Windows {
    /// Lines lie along the vertical axis: the longer one of the output.
    pub vertical: bool,
    /// Lines under the window.
    pub across: usize,
    /// Bytes of the lines of a channel.
    pub pitch: usize,
    /// Taps have 16 bits: low bytes of all channels, then high bytes.
    pub wide: bool,
}

impl Windows {
    /// Bytes of a vector, the most taps of a window.
    pub const VECTOR: usize = 16;
    /// Channels that scratch should hold at least, if there are as many.
    pub const CHANNELS: usize = 8;

    /// For windows that fit; all arguments but the last are `[vertical, horizontal]`.
    pub const fn new(
        kernel: [usize; 2],
        stride: [usize; 2],
        output: [usize; 2],
        wide: bool,
    ) -> Option<Windows> {
        let ([kv, kh], [sv, sh], [ov, oh]) = (kernel, stride, output);
        if kv.saturating_mul(kh) > Self::VECTOR {
            return None;
        }
        let (across, along) = match ov > oh {
            true => (kh, (kv, sv, ov)),
            false => (kv, (kh, sh, oh)),
        };
        // A vector is loaded from the start of the last window.
        let pitch = reach(along)
            .saturating_mul(across)
            .saturating_add(Self::VECTOR + 3)
            & !3;
        Some(Windows {
            vertical: ov > oh,
            across,
            pitch,
            wide,
        })
    }

    /// Bytes of the taps of a channel.
    pub const fn taps_len(&self) -> usize {
        let vector = if self.wide {
            2 * Self::VECTOR
        } else {
            Self::VECTOR
        };
        self.across.saturating_mul(vector)
    }

    /// Bytes of scratch for `channels` channels.
    pub const fn len(&self, channels: usize) -> usize {
        self.pitch
            .saturating_add(self.taps_len())
            .saturating_mul(channels)
    }
}

/// Inputs under the windows of an axis with (kernel, stride, outputs), padding included.
const fn reach((kernel, stride, output): (usize, usize, usize)) -> usize {
    output
        .saturating_sub(1)
        .saturating_mul(stride)
        .saturating_add(kernel)
}

/// Scratch of a depthwise convolution: the taps of [`PLANE_CHANNELS`] channels as `i16`, then lines with the codes of
/// one channel after the other, [`PLANE_CHANNELS`] of them. As many lines as fit are kept, at least those under the
/// window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Planes {
    /// Lines lie along the vertical axis: the longer one of the output.
    pub vertical: bool,
    /// Kernel size across the lines.
    pub across: usize,
    /// Codes of a channel in a line, padding and slack included, a multiple of 4.
    pub line: usize,
    /// Lines of the whole input, padding included.
    pub lines: usize,
    /// Taps of a channel in a line, rounded up to a multiple of 4.
    pub row: usize,
    /// Bytes per code.
    plane: usize,
}

impl Planes {
    /// Bytes of the taps.
    #[inline(always)]
    pub const fn taps_len(&self) -> usize {
        (2 * PLANE_CHANNELS)
            .saturating_mul(self.across)
            .saturating_mul(self.row)
    }

    /// Bytes of scratch with `lines` lines.
    const fn len(&self, lines: usize) -> usize {
        PLANE_CHANNELS
            .saturating_mul(self.line)
            .saturating_mul(self.plane)
            .saturating_mul(lines)
            .saturating_add(self.taps_len())
    }

    /// Fewest bytes of scratch.
    pub const fn least(&self) -> usize {
        self.len(self.across)
    }

    /// Bytes of scratch for the whole input.
    pub const fn full(&self) -> usize {
        self.len(self.lines)
    }
}

/// Channels of a depthwise convolution that are spread into planes together.
pub const PLANE_CHANNELS: usize = 4;
/// Codes behind the end of a line that kernels may read and whose values do not matter, before rounding down to
/// whole words.
pub const PLANE_SLACK: usize = 7;
