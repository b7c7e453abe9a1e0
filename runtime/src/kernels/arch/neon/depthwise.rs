//! Depthwise convolution, see [`channels`](super::channels).

use super::channels::{Cell, Lanes};
use super::scale::{Scale, store};
use crate::kernels::Requant;
use crate::kernels::weights::Weights;
use core::arch::aarch64::*;

pub(super) struct Neon;

impl Lanes for Neon {
    fn lanes() -> usize {
        32
    }

    fn decode(weights: &Weights, tap: usize, first: usize, to: &mut [i16]) -> bool {
        if let Some(plain) = weights.plain() {
            let at = tap.wrapping_mul(weights.len).wrapping_add(first);
            let channels = plain.get(at..).unwrap_or_default();
            to.iter_mut()
                .zip(channels)
                .for_each(|(to, w)| *to = i16::from(*w));
            return channels.len() >= to.len();
        }
        for (i, to) in to.iter_mut().enumerate() {
            *to = weights.at(tap, first.wrapping_add(i));
        }
        true
    }

    #[inline(always)]
    unsafe fn outputs<const PADDED: bool>(cell: &Cell, rq: &Requant, z_x: i32) {
        let scale = Scale::new(rq);
        let z_x = if PADDED { z_x as i16 } else { 0 };
        let mut lane = 0;
        // SAFETY: lanes below the number of lanes, all in bounds as the caller says.
        unsafe {
            while lane + 32 <= cell.lanes {
                outputs::<4, PADDED>(cell, lane, z_x, &scale);
                lane += 32;
            }
            while lane + 16 <= cell.lanes {
                outputs::<2, PADDED>(cell, lane, z_x, &scale);
                lane += 16;
            }
            // Of the last eight lanes, some may be done twice.
            while lane < cell.lanes && cell.lanes >= 8 {
                outputs::<1, PADDED>(cell, lane.min(cell.lanes - 8), z_x, &scale);
                lane += 8;
            }
            if lane < cell.lanes {
                few::<PADDED>(cell, z_x, &scale);
            }
        }
    }
}

/// `V` times eight lanes from `lane` on.
///
/// # Safety
/// As for [`Lanes::outputs`]; the cell has the lanes.
#[inline(never)]
unsafe fn outputs<const V: usize, const PADDED: bool>(
    cell: &Cell,
    lane: usize,
    z_x: i16,
    scale: &Scale,
) {
    // SAFETY: as the caller says.
    unsafe {
        let load = |from: *const i32| -> [[int32x4_t; 2]; V] {
            core::array::from_fn(|v| {
                let from = from.add(lane + v * 8);
                [vld1q_s32(from), vld1q_s32(from.add(4))]
            })
        };
        let mut acc = load(cell.bias);
        let z_x = vdupq_n_s16(z_x);
        let (mut x, mut w) = (cell.x.wrapping_add(lane), cell.weights.wrapping_add(lane));
        for _ in 0..cell.rows {
            for _ in 0..cell.cols {
                for (v, acc) in acc.iter_mut().enumerate() {
                    let (x, w) = (vmovl_s8(vld1_s8(x.add(v * 8))), vld1q_s16(w.add(v * 8)));
                    let x = if PADDED { vsubq_s16(x, z_x) } else { x };
                    acc[0] = vmlal_s16(acc[0], vget_low_s16(w), vget_low_s16(x));
                    acc[1] = vmlal_high_s16(acc[1], w, x);
                }
                x = x.wrapping_byte_add(cell.step);
                w = w.wrapping_byte_add(cell.weights_step);
            }
            x = x.wrapping_byte_add(cell.jump);
            w = w.wrapping_byte_add(cell.weights_jump);
        }
        for (v, (acc, mult)) in acc.into_iter().zip(load(cell.mult)).enumerate() {
            vst1_s8(cell.y.add(lane + v * 8), scale.codes(acc, mult));
        }
    }
}

/// Fewer than eight lanes.
///
/// # Safety
/// As for [`Lanes::outputs`].
#[inline(never)]
unsafe fn few<const PADDED: bool>(cell: &Cell, z_x: i16, scale: &Scale) {
    let n = cell.lanes.min(8);
    let (mut acc, mut mult) = ([0i32; 8], [0i32; 8]);
    // SAFETY: as the caller says; everything is read and written `n` lanes at a time.
    unsafe {
        acc.iter_mut()
            .zip(core::slice::from_raw_parts(cell.bias, n))
            .for_each(|(to, bias)| *to = *bias);
        mult.iter_mut()
            .zip(core::slice::from_raw_parts(cell.mult, n))
            .for_each(|(to, mult)| *to = *mult);
        let (mut x, mut w) = (cell.x, cell.weights);
        for _ in 0..cell.rows {
            for _ in 0..cell.cols {
                let codes = core::slice::from_raw_parts(x, n);
                let weights = core::slice::from_raw_parts(w, n);
                for ((acc, x), w) in acc.iter_mut().zip(codes).zip(weights) {
                    let x = i32::from(*x) - i32::from(z_x);
                    *acc = acc.wrapping_add(x * i32::from(*w));
                }
                x = x.wrapping_byte_add(cell.step);
                w = w.wrapping_byte_add(cell.weights_step);
            }
            x = x.wrapping_byte_add(cell.jump);
            w = w.wrapping_byte_add(cell.weights_jump);
        }
        let load = |from: &[i32; 8]| [vld1q_s32(from.as_ptr()), vld1q_s32(from.as_ptr().add(4))];
        let codes = scale.codes(load(&acc), load(&mult));
        store(codes, core::slice::from_raw_parts_mut(cell.y, n));
    }
}
