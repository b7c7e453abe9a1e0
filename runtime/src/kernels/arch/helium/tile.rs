//! Products of weight rows and columns with requantization, in assembly.
//!
//! Sums of 8-bit (or 16-bit) products over a whole vector go to a general register (VMLADAVA), which has to be an
//! even one. Six of them are sums of two rows and three columns; lr counts the codes that are left, r12 points to
//! [`Job`], which also takes what does not fit registers.

/// Weight rows times columns.
#[repr(C)]
pub(super) struct Job {
    /// Columns in turn: up to three pointers that the assembly advances.
    pub x: [*const i8; 3],
    /// Codes from one column to the next.
    pub x_stride: usize,
    /// Weights: `i8` or `i16`.
    pub w: *const i8,
    /// Bytes from one row of weights to the next.
    pub w_stride: usize,
    /// Behind the last row.
    pub w_end: *const i8,
    /// Codes of a column, not 0.
    pub k: usize,
    /// `k` less one vector; only for [`elastiq_mve_tile_i8`] and [`elastiq_mve_tile_i16`], whose `k` is not smaller.
    pub k_rest: usize,
    /// Bias and multiplier per row, in words.
    pub quant: *const i32,
    /// Multiplied rows so far end here.
    pub quant_at: *const i32,
    /// First output of the first column.
    pub y: *mut i8,
    /// Outputs from one column to the next.
    pub y_stride: usize,
    /// The next output.
    pub y_at: *mut i8,
    /// Columns (tile: three columns each; few: four columns each) that are left.
    pub n: usize,
    /// Rows; only for [`elastiq_mve_few`].
    pub rows: usize,
    /// Zero point of the outputs.
    pub z: i32,
    pub shift: i32,
    /// Clamp bounds in every lane.
    pub lo: [i32; 4],
    pub hi: [i32; 4],
}

/// Runs of codes for columns.
#[repr(C)]
pub(super) struct Gather {
    pub from: *const i8,
    pub to: *mut i8,
    /// From one column to the next in the input.
    pub step: usize,
    /// From one column to the next.
    pub stride: usize,
    /// Columns, not 0.
    pub n: usize,
    /// Runs of a column, not 0.
    pub count: usize,
    /// Codes of a run.
    pub len: usize,
    /// From one run to the next in the input.
    pub from_step: usize,
    /// From one run to the next in the column.
    pub to_step: usize,
}

unsafe extern "C" {
    pub(super) fn elastiq_mve_gather(gather: *mut Gather);
    /// All rows (a multiple of four) times `3 * n` columns, 8-bit weights, `k >= 16`.
    pub(super) fn elastiq_mve_tile_i8(job: *mut Job);
    /// All rows (a multiple of four) times `3 * n` columns, 16-bit weights, `k >= 8`.
    pub(super) fn elastiq_mve_tile_i16(job: *mut Job);
    /// All rows (a multiple of four) times `n` columns, 8-bit weights.
    pub(super) fn elastiq_mve_column_i8(job: *mut Job);
    /// All rows (a multiple of four) times `n` columns, 16-bit weights.
    pub(super) fn elastiq_mve_column_i16(job: *mut Job);
    /// All rows times `4 * n` columns, 8-bit weights, `k <= 16`, `shift == 0`.
    pub(super) fn elastiq_mve_few(job: *mut Job);
}

// What `tile.s` takes for granted.
const _: () = {
    use core::mem::offset_of;
    assert!(size_of::<usize>() == 4 && offset_of!(Job, x_stride) == 12 && offset_of!(Job, w) == 16);
    assert!(offset_of!(Job, w_stride) == 20 && offset_of!(Job, w_end) == 24);
    assert!(offset_of!(Job, k) == 28 && offset_of!(Job, k_rest) == 32);
    assert!(offset_of!(Job, quant) == 36 && offset_of!(Job, quant_at) == 40);
    assert!(offset_of!(Job, y) == 44 && offset_of!(Job, y_stride) == 48);
    assert!(offset_of!(Job, y_at) == 52 && offset_of!(Job, n) == 56);
    assert!(offset_of!(Job, rows) == 60 && offset_of!(Job, z) == 64);
    assert!(offset_of!(Job, shift) == 68 && offset_of!(Job, lo) == 72);
    assert!(offset_of!(Job, hi) == 88);
    assert!(offset_of!(Gather, to) == 4 && offset_of!(Gather, step) == 8);
    assert!(offset_of!(Gather, stride) == 12 && offset_of!(Gather, n) == 16);
    assert!(offset_of!(Gather, count) == 20 && offset_of!(Gather, len) == 24);
    assert!(offset_of!(Gather, from_step) == 28 && offset_of!(Gather, to_step) == 32);
};
