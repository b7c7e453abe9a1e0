//! Inner products: the block under Conv and Dense.

use crate::spec::mac;

/// `Σ x·w` over the shorter of the two.
#[inline(always)]
pub(crate) fn dot(x: &[i8], w: &[i8]) -> i32 {
    x.iter().zip(w).fold(0, |acc, (x, w)| mac(acc, *w, *x))
}

/// `Σ x`.
#[inline(always)]
pub(crate) fn sum(x: &[i8]) -> i32 {
    x.iter()
        .fold(0, |acc: i32, x| acc.wrapping_add(i32::from(*x)))
}
