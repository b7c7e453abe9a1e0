//! Dense layer on one row of inputs: inner products along rows of weights, which are read where they are if they can be.

use super::lanes::{Avx2, Lanes, Scale, Vector, Vnni, VnniWide};
use super::rows::{decode, quant};
use super::work::{INPUTS, WEIGHTS, Work};
use crate::kernels::dense::Dense;
use core::arch::x86_64::*;

/// Codes that inner products take at once, at most.
const CHUNK: usize = 64;

/// Inner products of four rows.
///
/// # Safety
/// Methods may be called only in functions that have the target features of the implementation.
pub(super) trait Dot: Lanes {
    /// `Σ w · x` of four rows of `k` weights. Behind `x` are zeros up to a multiple of [`CHUNK`]; behind rows in
    /// memory of the caller's own, anything.
    unsafe fn four(rows: [*const Self::Weight; 4], x: *const Self::Weight, k: usize) -> __m128i;
    /// What [`Dot::four`] adds to every sum, from `Σ x`.
    fn excess(sum: i32) -> i32;
}

/// Run `dense`; `false` if rows are too long.
///
/// # Safety
/// The features of `L`.
#[inline(always)]
pub(super) unsafe fn dense<L: Dot>(dense: &Dense, x: &[i8], y: &mut [i8], work: &mut Work) -> bool {
    let (k, m) = (dense.k, dense.quant.len());
    let size = size_of::<L::Weight>();
    let pitch = k.next_multiple_of(CHUNK);
    if k == 0 || m == 0 || pitch * size > INPUTS || 4 * pitch * size > WEIGHTS {
        return false;
    }
    let plain = dense
        .weights
        .plain()
        .filter(|w| size == 1 && w.len() == k * m);
    let scale = Scale::new(&dense.rq);
    let (codes, staging) = (
        work.inputs().cast::<L::Weight>(),
        work.weights().cast::<L::Weight>(),
    );
    for (x, y) in x.chunks_exact(k).zip(y.chunks_exact_mut(m)) {
        let sum = x.iter().fold(0i32, |sum, x| sum.wrapping_add((*x).into()));
        let excess = L::excess(sum);
        // SAFETY: `pitch` codes fit the inputs, and four rows of as many the weights. Plain rows have `k` weights;
        // behind multipliers is one value that is only read; `y` has `m` codes. Features as promised.
        unsafe {
            for (i, x) in x.iter().enumerate() {
                codes.add(i).write(L::weight((*x).into()));
            }
            for i in k..pitch {
                codes.add(i).write(L::weight(0));
            }
            let (mut first, mut sums, mut rq) = (0, [0i32; 16], [0i32; 2 * 16 + 1]);
            while first < m {
                let n = L::N.min(m - first);
                let rows = dense.quant.get(first..first + n).unwrap_or_default();
                quant(rows, L::N, rq.as_mut_ptr());
                for j in (0..n).step_by(4) {
                    let last = n - 1 - j;
                    let (base, stride) = match plain {
                        Some(w) => (w.as_ptr().add((first + j) * k).cast(), k),
                        None => {
                            for r in 0..4.min(n - j) {
                                let to = staging.add(r * pitch);
                                decode::<L>(&dense.weights, first + j + r, to);
                                for i in k..pitch {
                                    to.add(i).write(L::weight(0));
                                }
                            }
                            (staging.cast_const(), pitch)
                        }
                    };
                    let row = |r: usize| base.wrapping_add(r.min(last) * stride);
                    let four = L::four([row(0), row(1), row(2), row(3)], codes, k);
                    let four = _mm_sub_epi32(four, _mm_set1_epi32(excess));
                    _mm_storeu_si128(sums.as_mut_ptr().add(j).cast(), four);
                }
                let acc = L::V::load(sums.as_ptr()).plus(L::V::load(rq.as_ptr()));
                let to = y.as_mut_ptr().add(first);
                L::store(acc, rq.as_ptr().add(L::N), &scale, to, n);
                first += n;
            }
        }
    }
    true
}

/// The sum of each of four vectors.
#[inline(always)]
unsafe fn sums256([a, b, c, d]: [__m256i; 4]) -> __m128i {
    // SAFETY: the caller has AVX2.
    unsafe {
        let ab = _mm256_add_epi32(_mm256_unpacklo_epi32(a, b), _mm256_unpackhi_epi32(a, b));
        let cd = _mm256_add_epi32(_mm256_unpacklo_epi32(c, d), _mm256_unpackhi_epi32(c, d));
        let all = _mm256_add_epi32(_mm256_unpacklo_epi64(ab, cd), _mm256_unpackhi_epi64(ab, cd));
        let high = _mm256_extracti128_si256::<1>(all);
        _mm_add_epi32(_mm256_castsi256_si128(all), high)
    }
}

/// The sum of each of four vectors.
#[inline(always)]
unsafe fn sums512([a, b, c, d]: [__m512i; 4]) -> __m128i {
    // SAFETY: the caller has AVX-512.
    unsafe {
        let ab = _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
        let cd = _mm512_add_epi32(_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
        let all = _mm512_add_epi32(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd));
        let high = _mm512_extracti64x4_epi64::<1>(all);
        let all = _mm256_add_epi32(_mm512_castsi512_si256(all), high);
        _mm_add_epi32(
            _mm256_castsi256_si128(all),
            _mm256_extracti128_si256::<1>(all),
        )
    }
}

impl Dot for Vnni {
    /// Here weights are the unsigned side, as `w + 128`.
    #[inline(always)]
    unsafe fn four(rows: [*const i8; 4], x: *const i8, k: usize) -> __m128i {
        // SAFETY: the caller has AVX-512 BW and VNNI, and `k` weights in each row.
        unsafe {
            let flip = _mm512_set1_epi8(-128);
            let mut acc = [_mm512_setzero_si512(); 4];
            let mut i = 0;
            while i + 64 <= k {
                let x = _mm512_loadu_si512(x.add(i).cast());
                for (acc, row) in acc.iter_mut().zip(&rows) {
                    let w = _mm512_xor_si512(_mm512_loadu_si512(row.add(i).cast()), flip);
                    *acc = _mm512_dpbusd_epi32(*acc, w, x);
                }
                i += 64;
            }
            if i < k {
                let x = _mm512_loadu_si512(x.add(i).cast());
                let mask = u64::MAX >> (64 - (k - i));
                for (acc, row) in acc.iter_mut().zip(&rows) {
                    let w = _mm512_maskz_loadu_epi8(mask, row.add(i));
                    *acc = _mm512_dpbusd_epi32(*acc, _mm512_xor_si512(w, flip), x);
                }
            }
            sums512(acc)
        }
    }

    #[inline(always)]
    fn excess(sum: i32) -> i32 {
        sum.wrapping_mul(128)
    }
}

impl Dot for VnniWide {
    #[inline(always)]
    unsafe fn four(rows: [*const i16; 4], x: *const i16, k: usize) -> __m128i {
        // SAFETY: the caller has AVX-512 VNNI; rows that are not plain have memory up to a multiple of `CHUNK`.
        unsafe {
            let mut acc = [_mm512_setzero_si512(); 4];
            for i in (0..k).step_by(32) {
                let x = _mm512_loadu_si512(x.add(i).cast());
                for (acc, row) in acc.iter_mut().zip(&rows) {
                    let w = _mm512_loadu_si512(row.add(i).cast());
                    *acc = _mm512_dpwssd_epi32(*acc, w, x);
                }
            }
            sums512(acc)
        }
    }

    #[inline(always)]
    fn excess(_: i32) -> i32 {
        0
    }
}

impl Dot for Avx2 {
    #[inline(always)]
    unsafe fn four(rows: [*const i16; 4], x: *const i16, k: usize) -> __m128i {
        // SAFETY: the caller has AVX2; rows that are not plain have memory up to a multiple of `CHUNK`.
        unsafe {
            let mut acc = [_mm256_setzero_si256(); 4];
            for i in (0..k).step_by(16) {
                let x = _mm256_loadu_si256(x.add(i).cast());
                for (acc, row) in acc.iter_mut().zip(&rows) {
                    let w = _mm256_loadu_si256(row.add(i).cast());
                    *acc = _mm256_add_epi32(*acc, _mm256_madd_epi16(w, x));
                }
            }
            sums256(acc)
        }
    }

    #[inline(always)]
    fn excess(_: i32) -> i32 {
        0
    }
}
