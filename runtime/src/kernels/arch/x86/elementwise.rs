//! Add and maximum, code by code.

use crate::kernels::add::Add;
use crate::spec;
use core::arch::x86_64::*;

/// Sum of two tensors of one shape; `y` holds the first.
///
/// Both codes are put side by side as halfwords, and one multiply-add takes them times `a` and `b`.
#[target_feature(enable = "avx2")]
pub(super) fn add(add: &Add, x2: &[i8], y: &mut [i8]) {
    let factors = u32::from(add.a as u16) | u32::from(add.b as u16) << 16;
    let factors = _mm256_set1_epi32(factors as i32);
    let (c, s) = (_mm256_set1_epi32(add.c), _mm_cvtsi32_si128(add.s.into()));
    let (lo, hi) = (_mm256_set1_epi8(add.lo), _mm256_set1_epi8(add.hi));
    let sum = |pairs: __m256i| {
        _mm256_sra_epi32(_mm256_add_epi32(_mm256_madd_epi16(pairs, factors), c), s)
    };
    // Unpacking and packing both work within halves of 128 bits, so that codes come out where they went in.
    let words = |x1: __m256i, x2: __m256i| {
        let low = sum(_mm256_unpacklo_epi16(x1, x2));
        let high = sum(_mm256_unpackhi_epi16(x1, x2));
        _mm256_packs_epi32(low, high)
    };
    let (mut y, mut x2) = (y.chunks_exact_mut(32), x2.chunks_exact(32));
    for (y, x2) in y.by_ref().zip(x2.by_ref()) {
        // SAFETY: 32 bytes each.
        let (x1, x2) = unsafe {
            let load = |x: *const i8| _mm256_loadu_si256(x.cast());
            (load(y.as_ptr()), load(x2.as_ptr()))
        };
        // Bytes in the upper half of a word, then shifted down: sign-extended in place.
        let zero = _mm256_setzero_si256();
        let low = |x| _mm256_srai_epi16::<8>(_mm256_unpacklo_epi8(zero, x));
        let high = |x| _mm256_srai_epi16::<8>(_mm256_unpackhi_epi8(zero, x));
        let codes = _mm256_packs_epi16(words(low(x1), low(x2)), words(high(x1), high(x2)));
        let codes = _mm256_min_epi8(_mm256_max_epi8(codes, lo), hi);
        // SAFETY: 32 bytes.
        unsafe { _mm256_storeu_si256(y.as_mut_ptr().cast(), codes) };
    }
    for (y, x2) in y.into_remainder().iter_mut().zip(x2.remainder()) {
        *y = spec::add(*y, *x2, add.a, add.b, add.c, add.s, add.lo, add.hi);
    }
}

/// `y[i] = max(y[i], x[i])`.
#[target_feature(enable = "avx2")]
pub(super) fn max(x: &[i8], y: &mut [i8]) {
    for (y, x) in y.iter_mut().zip(x) {
        *y = (*y).max(*x);
    }
}
