//! Convolution.
//!
//! A block in scratch holds tiles of eight rows. In a tile, the weights of four inputs follow those of the four before:
//! `[k / 4][8 rows][4 inputs]`, as `i8` for dot products and as `i16` otherwise.

use super::load::{codes, copy, dot_lane, four};
use super::scale::{Scale, parameters, store};
use crate::Backend;
use crate::format::QuantRow;
use crate::kernels::conv::Conv;
use crate::kernels::matrix::{Block, Columns, Tile, conv};
use crate::kernels::weights::Weights;
use core::arch::aarch64::*;

/// Rows in a tile.
const ROWS: usize = 8;

/// With products of 16 bits.
pub(super) fn products<const OPS: u32>(
    c: &Conv,
    x: &[i8],
    y: &mut [i8],
    scratch: &mut [u32],
) -> bool {
    conv::<Products, OPS>(c, x, y, scratch)
}

/// With dot products, for weights that fit 8 bits. The core has the extension.
pub(super) fn dots<const OPS: u32>(c: &Conv, x: &[i8], y: &mut [i8], scratch: &mut [u32]) -> bool {
    conv::<Dots, OPS>(c, x, y, scratch)
}

/// 16 bits per weight.
struct Products;
/// 8 bits per weight.
struct Dots;

/// `x` from element `at` on.
#[inline(always)]
fn from<T>(x: &[T], at: usize) -> &[T] {
    x.get(at..).unwrap_or_default()
}

/// Decode `n` rows: `put` gets the place of every four weights in the block, counted in fours, and the weights.
#[inline(always)]
fn fours<const OPS: u32>(
    weights: &Weights,
    first: usize,
    n: usize,
    mut put: impl FnMut(usize, [i16; 4]),
) {
    let tile = weights.len.div_ceil(4).wrapping_mul(ROWS);
    for r in 0..n {
        let row = first.wrapping_add(r);
        let mut at = (r / ROWS).wrapping_mul(tile).wrapping_add(r % ROWS);
        if weights.plain().is_none() {
            weights.fours::<OPS>(row, |i, w| put(at.wrapping_add(i / 4 * ROWS), w));
            continue;
        }
        let (whole, rest) = weights.row(row).as_chunks::<4>();
        for w in whole {
            put(at, w.map(i16::from));
            at = at.wrapping_add(ROWS);
        }
        if !rest.is_empty() {
            put(at, codes::<4>(rest).map(i16::from));
        }
    }
}

/// Copy column `j` of `x` to codes `j * stride ..` of `to`.
#[inline(always)]
fn gather(x: &Columns, to: &mut [i8], stride: usize) {
    for j in 0..x.n {
        let run = from(x.bytes, j.wrapping_mul(x.stride)).get(..x.len);
        let to = to.get_mut(j.wrapping_mul(stride)..);
        let to = to.and_then(|to| to.get_mut(..x.len));
        let (Some(run), Some(to)) = (run, to) else {
            return;
        };
        copy(run, to);
    }
}

impl Tile for Products {
    const BACKEND: Backend = Backend::Neon;

    fn load<const OPS: u32>(weights: &Weights, first: usize, n: usize, to: &mut [u32]) {
        let (to, _) = to.as_chunks_mut::<2>();
        fours::<OPS>(weights, first, n, |at, w| {
            if let Some(to) = to.get_mut(at) {
                let [a, b, c, d] = w.map(|w| u32::from(w as u16));
                *to = [a | b << 16, c | d << 16];
            }
        });
    }

    fn widen<const OPS: u32>(_: &Columns, _: usize, _: &mut [u32]) {}

    #[inline(always)]
    fn gather(x: &Columns, to: &mut [i8], stride: usize) {
        gather(x, to, stride);
    }

    #[inline(always)]
    fn multiply<const OPS: u32>(
        block: &Block,
        x: &Columns,
        _: &[u32],
        out: &mut [i8],
        stride: usize,
    ) {
        let tile = block.k.div_ceil(4).wrapping_mul(ROWS * 2);
        let scale = Scale::new(&block.rq);
        for (i, quant) in block.quant.chunks(ROWS).enumerate() {
            let weights = from(block.decoded, i.wrapping_mul(tile)).get(..tile);
            let (Some(weights), Some(out)) = (weights, out.get_mut(i * ROWS..)) else {
                return;
            };
            match x.n {
                4 => products_tile::<4>(weights, x, quant, &scale, out, stride),
                3 => products_tile::<3>(weights, x, quant, &scale, out, stride),
                2 => products_tile::<2>(weights, x, quant, &scale, out, stride),
                _ => products_tile::<1>(weights, x, quant, &scale, out, stride),
            }
        }
    }
}

/// Where `C` columns start, `None` if there are fewer or a column is shorter than `len`.
#[inline(always)]
fn columns<const C: usize>(x: &Columns, len: usize) -> Option<[*const i8; C]> {
    let reach = (C - 1).wrapping_mul(x.stride).wrapping_add(len);
    let start = x.bytes.get(..reach)?.as_ptr();
    Some(core::array::from_fn(|j| {
        start.wrapping_add(j.wrapping_mul(x.stride))
    }))
}

/// Codes `at ..` of column `j` and whatever is behind the column, which meets weights of 0.
#[inline(always)]
fn tail<'x>(x: &Columns<'x>, j: usize, at: usize) -> &'x [i8] {
    from(x.bytes, j.wrapping_mul(x.stride).wrapping_add(at))
}

/// Eight rows for each of the first `C` columns.
#[inline(never)]
fn products_tile<const C: usize>(
    weights: &[u32],
    x: &Columns,
    quant: &[QuantRow],
    scale: &Scale,
    out: &mut [i8],
    stride: usize,
) {
    let k = x.len;
    let Some(start) = columns::<C>(x, k) else {
        return;
    };
    if weights.len() < k.div_ceil(4).wrapping_mul(ROWS * 2) {
        return;
    }
    let mut acc = [parameters(quant).0; C];
    let mut at = 0;
    while at + 8 <= k {
        // SAFETY: inputs `at .. at + 8` of `k` in every column, and their weights: half a word each for eight rows.
        unsafe {
            let inputs = start.map(|x| vmovl_s8(vld1_s8(x.add(at))));
            let w = weights.as_ptr().add(at * ROWS / 2).cast();
            let (a, b) = (vld4q_s16(w), vld4q_s16(w.add(ROWS * 4)));
            step::<C, 0>(&mut acc, a.0, &inputs);
            step::<C, 1>(&mut acc, a.1, &inputs);
            step::<C, 2>(&mut acc, a.2, &inputs);
            step::<C, 3>(&mut acc, a.3, &inputs);
            step::<C, 4>(&mut acc, b.0, &inputs);
            step::<C, 5>(&mut acc, b.1, &inputs);
            step::<C, 6>(&mut acc, b.2, &inputs);
            step::<C, 7>(&mut acc, b.3, &inputs);
        }
        at += 8;
    }
    while at < k {
        // SAFETY: the weights of inputs `at .. at + 4`, which are there because `at` is a multiple of 4 below `k`.
        unsafe {
            let inputs: [_; C] =
                core::array::from_fn(|j| vmovl_s8(vget_low_s8(four(tail(x, j, at)))));
            let w = vld4q_s16(weights.as_ptr().add(at * ROWS / 2).cast());
            step::<C, 0>(&mut acc, w.0, &inputs);
            step::<C, 1>(&mut acc, w.1, &inputs);
            step::<C, 2>(&mut acc, w.2, &inputs);
            step::<C, 3>(&mut acc, w.3, &inputs);
        }
        at += 4;
    }
    let mult = parameters(quant).1;
    for (j, acc) in acc.into_iter().enumerate() {
        let out = out.get_mut(j.wrapping_mul(stride)..).unwrap_or_default();
        let n = quant.len().min(out.len());
        store(scale.codes(acc, mult), out.get_mut(..n).unwrap_or_default());
    }
}

/// Multiply-accumulate one input of every column with its weights in eight rows.
#[inline(always)]
fn step<const C: usize, const LANE: i32>(
    acc: &mut [[int32x4_t; 2]; C],
    w: int16x8_t,
    x: &[int16x8_t; C],
) {
    for (acc, x) in acc.iter_mut().zip(x) {
        let [a, b] = *acc;
        // SAFETY: Advanced SIMD is part of the target.
        unsafe {
            *acc = [
                vmlal_laneq_s16::<LANE>(a, vget_low_s16(w), *x),
                vmlal_high_laneq_s16::<LANE>(b, w, *x),
            ];
        }
    }
}

impl Tile for Dots {
    const BACKEND: Backend = Backend::NeonDot;

    fn load<const OPS: u32>(weights: &Weights, first: usize, n: usize, to: &mut [u32]) {
        fours::<OPS>(weights, first, n, |at, w| {
            if let Some(to) = to.get_mut(at) {
                *to = u32::from_le_bytes(w.map(|w| w as u8));
            }
        });
    }

    fn widen<const OPS: u32>(_: &Columns, _: usize, _: &mut [u32]) {}

    #[inline(always)]
    fn gather(x: &Columns, to: &mut [i8], stride: usize) {
        gather(x, to, stride);
    }

    #[inline(always)]
    fn multiply<const OPS: u32>(
        block: &Block,
        x: &Columns,
        _: &[u32],
        out: &mut [i8],
        stride: usize,
    ) {
        let tile = block.k.div_ceil(4).wrapping_mul(ROWS);
        let scale = Scale::new(&block.rq);
        for (i, quant) in block.quant.chunks(ROWS * 2).enumerate() {
            let tiles = quant.len().div_ceil(ROWS);
            let weights =
                from(block.decoded, i.wrapping_mul(tile * 2)).get(..tile.wrapping_mul(tiles));
            let (Some(weights), Some(out)) = (weights, out.get_mut(i * (ROWS * 2)..)) else {
                return;
            };
            // SAFETY: this backend is used where the core has the extension.
            unsafe {
                match (x.n, tiles) {
                    (4, 2) => dots_tile::<4, 2>(weights, x, quant, &scale, out, stride),
                    (3, 2) => dots_tile::<3, 2>(weights, x, quant, &scale, out, stride),
                    (2, 2) => dots_tile::<2, 2>(weights, x, quant, &scale, out, stride),
                    (_, 2) => dots_tile::<1, 2>(weights, x, quant, &scale, out, stride),
                    (4, _) => dots_tile::<4, 1>(weights, x, quant, &scale, out, stride),
                    (3, _) => dots_tile::<3, 1>(weights, x, quant, &scale, out, stride),
                    (2, _) => dots_tile::<2, 1>(weights, x, quant, &scale, out, stride),
                    (_, _) => dots_tile::<1, 1>(weights, x, quant, &scale, out, stride),
                }
            }
        }
    }
}

/// `T` tiles of rows for each of the first `C` columns.
///
/// # Safety
/// The core has the dot product extension.
#[inline(never)]
#[target_feature(enable = "dotprod")]
unsafe fn dots_tile<const C: usize, const T: usize>(
    weights: &[u32],
    x: &Columns,
    quant: &[QuantRow],
    scale: &Scale,
    out: &mut [i8],
    stride: usize,
) {
    let k = x.len;
    let tile = k.div_ceil(4).wrapping_mul(ROWS);
    let Some(start) = columns::<C>(x, k) else {
        return;
    };
    if weights.len() < tile.wrapping_mul(T) {
        return;
    }
    let bias: [_; T] = core::array::from_fn(|t| parameters(from(quant, t * ROWS)).0);
    let mut acc = [bias; C];
    let mut at = 0;
    while at + 16 <= k {
        // SAFETY: inputs `at .. at + 16` of `k` in every column, and their weights: a quarter word each for eight rows
        // of every tile.
        unsafe {
            let inputs = start.map(|x| vld1q_s8(x.add(at)));
            let w = weights.as_ptr().add(at * ROWS / 4);
            dots_step::<C, T, 0>(&mut acc, w, tile, &inputs);
            dots_step::<C, T, 1>(&mut acc, w.add(ROWS), tile, &inputs);
            dots_step::<C, T, 2>(&mut acc, w.add(ROWS * 2), tile, &inputs);
            dots_step::<C, T, 3>(&mut acc, w.add(ROWS * 3), tile, &inputs);
        }
        at += 16;
    }
    while at < k {
        let inputs: [_; C] = core::array::from_fn(|j| four(tail(x, j, at)));
        // SAFETY: the weights of inputs `at .. at + 4`, which are there because `at` is a multiple of 4 below `k`.
        unsafe {
            let w = weights.as_ptr().add(at * ROWS / 4);
            dots_step::<C, T, 0>(&mut acc, w, tile, &inputs);
        }
        at += 4;
    }
    for t in 0..T {
        let (quant, out) = (
            from(quant, t * ROWS),
            out.get_mut(t * ROWS..).unwrap_or_default(),
        );
        let mult = parameters(quant).1;
        for (j, acc) in acc.iter().enumerate() {
            let Some(acc) = acc.get(t) else { return };
            let out = out.get_mut(j.wrapping_mul(stride)..).unwrap_or_default();
            let n = quant.len().min(out.len()).min(ROWS);
            store(
                scale.codes(*acc, mult),
                out.get_mut(..n).unwrap_or_default(),
            );
        }
    }
}

/// Multiply-accumulate four inputs, in lane `LANE` of every column, with their weights in the rows of `T` tiles that
/// are `tile` words apart.
///
/// # Safety
/// The core has the dot product extension; `w` points to the weights of the inputs in every tile.
#[inline]
#[target_feature(enable = "dotprod")]
unsafe fn dots_step<const C: usize, const T: usize, const LANE: u32>(
    acc: &mut [[[int32x4_t; 2]; T]; C],
    w: *const u32,
    tile: usize,
    x: &[int8x16_t; C],
) {
    // SAFETY: as the caller says.
    unsafe {
        let w: [[int8x16_t; 2]; T] = core::array::from_fn(|t| {
            let w = w.add(t * tile).cast();
            [vld1q_s8(w), vld1q_s8(w.add(16))]
        });
        for (acc, x) in acc.iter_mut().zip(x) {
            for (acc, w) in acc.iter_mut().zip(w) {
                acc[0] = dot_lane::<LANE>(acc[0], w[0], *x);
                acc[1] = dot_lane::<LANE>(acc[1], w[1], *x);
            }
        }
    }
}
