//! Weights and codes in pairs, for cores that multiply two of them at once with an ordinary multiplication.
//!
//! A word holds two weights, `w[i] + w[i + 1] · 2^16`, or two codes in reverse, `x[i + 1] + x[i] · 2^16`. Modulo 2^32
//! their product is `w[i] · x[i + 1] + (w[i] · x[i] + w[i + 1] · x[i + 1]) · 2^16`. With weights of 8 bits both sums lie
//! within -32512 ..= 32768, so that after subtraction of 2^15 an arithmetic shift by 16 gives the wanted one less 1.
//! Wider weights are two halves of a word and are multiplied one by one.

use crate::kernels::pieces::{every_mut, pieces_mut};
use crate::kernels::weights::Weights;

/// Decode rows `first .. first + n` to tiles `[pair][TILE]`, `len` codes a row. Weights behind a row are 0.
#[inline(always)]
pub(super) fn load<const OPS: u32, const TILE: usize>(
    weights: &Weights,
    first: usize,
    n: usize,
    len: usize,
    to: &mut [u32],
) {
    let tile = len.wrapping_mul(TILE / 2);
    for (i, to) in pieces_mut(to, tile).enumerate() {
        let at = i * TILE;
        if at >= n {
            return;
        }
        if !weights.len.is_multiple_of(4) {
            to.fill(0);
        }
        for r in 0..TILE.min(n - at) {
            load_row::<OPS, TILE>(weights, first + at + r, to.get_mut(r..).unwrap_or_default());
        }
    }
}

/// `high · 2^16 + low`.
#[inline(always)]
pub(super) fn pair(low: i32, high: i32) -> u32 {
    (high << 16).wrapping_add(low) as u32
}

/// Decode a row to every `TILE`-th word of `to`: pairs of weights, as [`pair`] where all fit `i8`, otherwise as two
/// halves.
#[inline(always)]
fn load_row<const OPS: u32, const TILE: usize>(weights: &Weights, row: usize, to: &mut [u32]) {
    let mut to = every_mut(to, TILE);
    if let Some(bytes) = weights.plain() {
        let at = row.wrapping_mul(weights.len);
        let row = bytes.get(at..at + weights.len).unwrap_or_default();
        let (twos, rest) = row.as_chunks::<2>();
        for (w, to) in twos.iter().zip(to.by_ref()) {
            *to = pair(w[0].into(), w[1].into());
        }
        if let (Some(to), [w]) = (to.next(), rest) {
            *to = pair(i32::from(*w), 0);
        }
        return;
    }
    let narrow = weights.fits_i8::<OPS>();
    weights.fours::<OPS>(row, |_, [a, b, c, d]| {
        for (low, high) in [(a, b), (c, d)] {
            if let Some(to) = to.next() {
                *to = match narrow {
                    true => pair(low.into(), high.into()),
                    false => u32::from(low as u16) | u32::from(high as u16) << 16,
                };
            }
        }
    });
}
