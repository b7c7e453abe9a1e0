//! Vectors of accumulators, one output channel in each 32-bit lane.

use super::super::super::Requant;
use core::arch::x86_64::*;

/// A vector of `i32`.
///
/// # Safety
/// Methods may be called only in functions that have the target features of the implementation.
pub(super) trait Vector: Copy {
    /// All 0.
    unsafe fn zero() -> Self;
    /// As many values as there are lanes.
    unsafe fn load(from: *const i32) -> Self;
    /// Store as many values as there are lanes.
    unsafe fn save(self, to: *mut i32);
    /// The 4 bytes at `from`, aligned or not, in every lane.
    unsafe fn splat(from: *const u8) -> Self;
    /// Lane by lane, modulo 2^32.
    unsafe fn plus(self, other: Self) -> Self;
}

/// How lanes multiply and requantize. A step of a sum takes [`Lanes::PER`] codes of the input, which all lanes share
/// (or in a depthwise convolution each has its own), and as many weights per lane: 32 bits of either.
///
/// # Safety
/// Methods may be called only in functions that have the target features of the implementation.
pub(super) trait Lanes {
    /// Accumulators.
    type V: Vector;
    /// An input code as it lies in the input buffer.
    type Code: Copy;
    /// A weight as it lies in a packed row.
    type Weight: Copy;
    /// Lanes of a vector.
    const N: usize;
    /// Codes of a step.
    const PER: usize;
    /// Most vectors of a tile of the matrix product.
    const ROWS: usize;

    /// Input code of `x`.
    fn code(x: i8) -> Self::Code;
    /// `w`, which is known to fit.
    fn weight(w: i16) -> Self::Weight;
    /// A step of [`Lanes::PER`] equal inputs.
    fn step(x: i8) -> u32;
    /// Steps of inputs: `n` from as many codes of each of the first [`Lanes::PER`] lines. Up to [`Lanes::N`] words
    /// more may be written.
    unsafe fn inputs(lines: [*const i8; 4], n: usize, to: *mut u32);
    /// The same for weights.
    unsafe fn weights(rows: [*const Self::Weight; 4], n: usize, to: *mut u32);
    /// `acc` + the sum of the products of a step.
    unsafe fn dp(acc: Self::V, x: Self::V, w: Self::V) -> Self::V;
    /// What to start the accumulators with: `bias` without what the coding of inputs adds, for weights that `ones`
    /// (the sum over all steps with inputs of 1, see [`Lanes::one`]) tells.
    unsafe fn start(bias: Self::V, ones: Self::V) -> Self::V;
    /// A step of inputs that are 1 after coding.
    unsafe fn one() -> Self::V;
    /// Codes of `acc`, multipliers at `mult`, to `to`: `n <= N` of them.
    unsafe fn store(acc: Self::V, mult: *const i32, scale: &Scale, to: *mut i8, n: usize);
}

/// [`Requant`] in vectors.
#[derive(Clone, Copy)]
pub(super) struct Scale {
    z_y: i32,
    /// In all 16 bytes.
    lo: __m128i,
    hi: __m128i,
    /// Shift counts; 0 both for most layers.
    left: __m128i,
    right: __m128i,
    shifted: bool,
}

impl Scale {
    #[inline(always)]
    pub fn new(rq: &Requant) -> Scale {
        // SAFETY: SSE2 is part of x86-64.
        unsafe {
            let count = |l: i8| _mm_cvtsi32_si128(i32::from(l.max(0)));
            Scale {
                z_y: rq.z_y.into(),
                lo: _mm_set1_epi8(rq.lo),
                hi: _mm_set1_epi8(rq.hi),
                left: count(rq.shift),
                right: count(rq.shift.saturating_neg()),
                shifted: rq.shift != 0,
            }
        }
    }
}

/// AVX-512 VNNI on bytes: unsigned inputs `x + 128`, signed weights.
pub(super) struct Vnni;
/// AVX-512 VNNI on halfwords, for weights that do not fit a byte.
pub(super) struct VnniWide;
/// AVX2 on halfwords.
pub(super) struct Avx2;

/// Requantize and store; `acc` and `mult` as in [`Lanes::store`].
#[inline(always)]
unsafe fn store512(acc: __m512i, mult: *const i32, scale: &Scale, to: *mut i8, n: usize) {
    // SAFETY: the caller has AVX-512 F, BW and VL, multipliers for 16 lanes at `mult` with 4 readable bytes behind
    // them, and room for `n` codes at `to`.
    unsafe {
        let mut a = acc;
        if scale.shifted {
            a = _mm512_sra_epi32(_mm512_sll_epi32(a, scale.left), scale.right);
        }
        // Products of even lanes, and of odd lanes moved to even places.
        let (even, odd) = (
            _mm512_loadu_si512(mult.cast()),
            _mm512_loadu_si512(mult.add(1).cast()),
        );
        let half = _mm512_set1_epi64(1 << 31);
        let even = _mm512_add_epi64(_mm512_mul_epi32(a, even), half);
        let odd = _mm512_mul_epi32(_mm512_srli_epi64::<32>(a), odd);
        let odd = _mm512_add_epi64(odd, half);
        // The upper halves, even and odd in turn.
        let upper = _mm512_setr_epi32(1, 17, 3, 19, 5, 21, 7, 23, 9, 25, 11, 27, 13, 29, 15, 31);
        let scaled = _mm512_permutex2var_epi32(even, upper, odd);
        let codes = _mm512_cvtsepi32_epi8(_mm512_add_epi32(scaled, _mm512_set1_epi32(scale.z_y)));
        let codes = _mm_min_epi8(_mm_max_epi8(codes, scale.lo), scale.hi);
        if n >= 16 {
            _mm_storeu_si128(to.cast(), codes);
        } else {
            let mask = (1u32 << n).wrapping_sub(1) as u16;
            _mm_mask_storeu_epi8(to, mask, codes);
        }
    }
}

/// 64 bytes of a line from `i` on, those in `mask`, xor `flip`.
///
/// Interleaving works within parts of 128 bits. Words 4j + q are put to part q, place j, so that what comes out of
/// it is in order.
#[inline(always)]
unsafe fn line(line: *const i8, i: usize, mask: u64, flip: __m512i) -> __m512i {
    // SAFETY: the caller has AVX-512 F and BW, and the bytes in `mask`.
    unsafe {
        let parts = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
        let bytes = _mm512_maskz_loadu_epi8(mask, line.add(i));
        _mm512_permutexvar_epi32(parts, _mm512_xor_si512(bytes, flip))
    }
}

/// Byte `i` of each of four lines, xor `flip`, to word `i`.
#[inline(always)]
unsafe fn four_lines(lines: [*const i8; 4], flip: __m512i, n: usize, to: *mut u32) {
    // SAFETY: the caller has AVX-512 F and BW, `n` bytes in every line, and room for `n` words and one vector.
    unsafe {
        for i in (0..n).step_by(64) {
            let mask = u64::MAX >> (64 - (n - i).min(64));
            let [a, b, c, d] = lines;
            let (a, b) = (line(a, i, mask, flip), line(b, i, mask, flip));
            let (c, d) = (line(c, i, mask, flip), line(d, i, mask, flip));
            let (ab, cd) = (_mm512_unpacklo_epi8(a, b), _mm512_unpacklo_epi8(c, d));
            let (ef, gh) = (_mm512_unpackhi_epi8(a, b), _mm512_unpackhi_epi8(c, d));
            let words = [
                _mm512_unpacklo_epi16(ab, cd),
                _mm512_unpackhi_epi16(ab, cd),
                _mm512_unpacklo_epi16(ef, gh),
                _mm512_unpackhi_epi16(ef, gh),
            ];
            for (j, words) in words.iter().enumerate() {
                if i + 16 * j < n {
                    _mm512_storeu_si512(to.add(i + 16 * j).cast(), *words);
                }
            }
        }
    }
}

/// Two halfwords in a word.
#[inline(always)]
fn pair(a: i16, b: i16) -> u32 {
    u32::from(a as u16) | u32::from(b as u16) << 16
}

/// Steps of two halfwords, `n` of them from as many weights of `a` and of `b`.
///
/// # Safety
/// `n` weights at `a` and `b`, room for `n` words at `to`.
#[inline(always)]
unsafe fn two_rows(a: *const i16, b: *const i16, n: usize, to: *mut u32) {
    for i in 0..n {
        // SAFETY: `i < n`.
        unsafe { to.add(i).write(pair(a.add(i).read(), b.add(i).read())) };
    }
}

/// Byte `i` of each of two lines, widened, to word `i`.
#[inline(always)]
unsafe fn two_lines(a: *const i8, b: *const i8, n: usize, to: *mut u32) {
    // SAFETY: the caller has AVX2, `n` bytes in both lines, and room for `n` words.
    unsafe {
        let mut i = 0;
        while i + 16 <= n {
            let (x, y) = (
                _mm_loadu_si128(a.add(i).cast()),
                _mm_loadu_si128(b.add(i).cast()),
            );
            let low = _mm256_cvtepi8_epi16(_mm_unpacklo_epi8(x, y));
            let high = _mm256_cvtepi8_epi16(_mm_unpackhi_epi8(x, y));
            _mm256_storeu_si256(to.add(i).cast(), low);
            _mm256_storeu_si256(to.add(i + 8).cast(), high);
            i += 16;
        }
        while i < n {
            to.add(i)
                .write(pair(a.add(i).read().into(), b.add(i).read().into()));
            i += 1;
        }
    }
}

impl Vector for __m512i {
    #[inline(always)]
    unsafe fn zero() -> __m512i {
        // SAFETY: the caller has AVX-512.
        unsafe { _mm512_setzero_si512() }
    }
    #[inline(always)]
    unsafe fn load(from: *const i32) -> __m512i {
        // SAFETY: the caller has AVX-512 and 64 bytes at `from`.
        unsafe { _mm512_loadu_si512(from.cast()) }
    }
    #[inline(always)]
    unsafe fn save(self, to: *mut i32) {
        // SAFETY: the caller has AVX-512 and 64 bytes at `to`.
        unsafe { _mm512_storeu_si512(to.cast(), self) }
    }
    #[inline(always)]
    unsafe fn splat(from: *const u8) -> __m512i {
        // SAFETY: the caller has AVX-512 and 4 bytes at `from`.
        unsafe { _mm512_set1_epi32(from.cast::<i32>().read_unaligned()) }
    }
    #[inline(always)]
    unsafe fn plus(self, other: __m512i) -> __m512i {
        // SAFETY: the caller has AVX-512.
        unsafe { _mm512_add_epi32(self, other) }
    }
}

impl Vector for __m256i {
    #[inline(always)]
    unsafe fn zero() -> __m256i {
        // SAFETY: the caller has AVX2.
        unsafe { _mm256_setzero_si256() }
    }
    #[inline(always)]
    unsafe fn load(from: *const i32) -> __m256i {
        // SAFETY: the caller has AVX2 and 32 bytes at `from`.
        unsafe { _mm256_loadu_si256(from.cast()) }
    }
    #[inline(always)]
    unsafe fn save(self, to: *mut i32) {
        // SAFETY: the caller has AVX2 and 32 bytes at `to`.
        unsafe { _mm256_storeu_si256(to.cast(), self) }
    }
    #[inline(always)]
    unsafe fn splat(from: *const u8) -> __m256i {
        // SAFETY: the caller has AVX2 and 4 bytes at `from`.
        unsafe { _mm256_set1_epi32(from.cast::<i32>().read_unaligned()) }
    }
    #[inline(always)]
    unsafe fn plus(self, other: __m256i) -> __m256i {
        // SAFETY: the caller has AVX2.
        unsafe { _mm256_add_epi32(self, other) }
    }
}

impl Lanes for Vnni {
    type V = __m512i;
    type Code = u8;
    type Weight = i8;
    const N: usize = 16;
    const PER: usize = 4;
    const ROWS: usize = 4;

    #[inline(always)]
    fn code(x: i8) -> u8 {
        x as u8 ^ 0x80
    }
    #[inline(always)]
    fn weight(w: i16) -> i8 {
        w as i8
    }
    #[inline(always)]
    fn step(x: i8) -> u32 {
        u32::from_le_bytes([Self::code(x); 4])
    }
    #[inline(always)]
    unsafe fn inputs(lines: [*const i8; 4], n: usize, to: *mut u32) {
        // SAFETY: as promised by the caller.
        unsafe { four_lines(lines, _mm512_set1_epi8(-128), n, to) }
    }
    #[inline(always)]
    unsafe fn weights(rows: [*const i8; 4], n: usize, to: *mut u32) {
        // SAFETY: as promised by the caller.
        unsafe { four_lines(rows, _mm512_setzero_si512(), n, to) }
    }
    #[inline(always)]
    unsafe fn dp(acc: __m512i, x: __m512i, w: __m512i) -> __m512i {
        // SAFETY: the caller has AVX-512 VNNI.
        unsafe { _mm512_dpbusd_epi32(acc, x, w) }
    }
    #[inline(always)]
    unsafe fn start(bias: __m512i, ones: __m512i) -> __m512i {
        // SAFETY: the caller has AVX-512.
        unsafe { _mm512_sub_epi32(bias, _mm512_slli_epi32::<7>(ones)) }
    }
    #[inline(always)]
    unsafe fn one() -> __m512i {
        // SAFETY: the caller has AVX-512.
        unsafe { _mm512_set1_epi8(1) }
    }
    #[inline(always)]
    unsafe fn store(acc: __m512i, mult: *const i32, scale: &Scale, to: *mut i8, n: usize) {
        // SAFETY: as promised by the caller.
        unsafe { store512(acc, mult, scale, to, n) }
    }
}

impl Lanes for VnniWide {
    type V = __m512i;
    type Code = i16;
    type Weight = i16;
    const N: usize = 16;
    const PER: usize = 2;
    const ROWS: usize = 4;

    #[inline(always)]
    fn code(x: i8) -> i16 {
        x.into()
    }
    #[inline(always)]
    fn weight(w: i16) -> i16 {
        w
    }
    #[inline(always)]
    fn step(x: i8) -> u32 {
        pair(x.into(), x.into())
    }
    #[inline(always)]
    unsafe fn inputs([a, b, ..]: [*const i8; 4], n: usize, to: *mut u32) {
        // SAFETY: as promised by the caller.
        unsafe { two_lines(a, b, n, to) }
    }
    #[inline(always)]
    unsafe fn weights([a, b, ..]: [*const i16; 4], n: usize, to: *mut u32) {
        // SAFETY: as promised by the caller.
        unsafe { two_rows(a, b, n, to) }
    }
    #[inline(always)]
    unsafe fn dp(acc: __m512i, x: __m512i, w: __m512i) -> __m512i {
        // SAFETY: the caller has AVX-512 VNNI.
        unsafe { _mm512_dpwssd_epi32(acc, x, w) }
    }
    #[inline(always)]
    unsafe fn start(bias: __m512i, _: __m512i) -> __m512i {
        bias
    }
    #[inline(always)]
    unsafe fn one() -> __m512i {
        // SAFETY: the caller has AVX-512.
        unsafe { _mm512_set1_epi16(1) }
    }
    #[inline(always)]
    unsafe fn store(acc: __m512i, mult: *const i32, scale: &Scale, to: *mut i8, n: usize) {
        // SAFETY: as promised by the caller.
        unsafe { store512(acc, mult, scale, to, n) }
    }
}

impl Lanes for Avx2 {
    type V = __m256i;
    type Code = i16;
    type Weight = i16;
    const N: usize = 8;
    const PER: usize = 2;
    const ROWS: usize = 2;

    #[inline(always)]
    fn code(x: i8) -> i16 {
        x.into()
    }
    #[inline(always)]
    fn weight(w: i16) -> i16 {
        w
    }
    #[inline(always)]
    fn step(x: i8) -> u32 {
        pair(x.into(), x.into())
    }
    #[inline(always)]
    unsafe fn inputs([a, b, ..]: [*const i8; 4], n: usize, to: *mut u32) {
        // SAFETY: as promised by the caller.
        unsafe { two_lines(a, b, n, to) }
    }
    #[inline(always)]
    unsafe fn weights([a, b, ..]: [*const i16; 4], n: usize, to: *mut u32) {
        // SAFETY: as promised by the caller.
        unsafe { two_rows(a, b, n, to) }
    }
    #[inline(always)]
    unsafe fn dp(acc: __m256i, x: __m256i, w: __m256i) -> __m256i {
        // Inputs are at least -128, so that the sum of two products fits.
        // SAFETY: the caller has AVX2.
        unsafe { _mm256_add_epi32(acc, _mm256_madd_epi16(x, w)) }
    }
    #[inline(always)]
    unsafe fn start(bias: __m256i, _: __m256i) -> __m256i {
        bias
    }
    #[inline(always)]
    unsafe fn one() -> __m256i {
        // SAFETY: the caller has AVX2.
        unsafe { _mm256_set1_epi16(1) }
    }
    #[inline(always)]
    unsafe fn store(acc: __m256i, mult: *const i32, scale: &Scale, to: *mut i8, n: usize) {
        // SAFETY: the caller has AVX2, multipliers for 8 lanes at `mult` with 4 readable bytes behind them, and
        // room for `n` codes at `to`.
        unsafe {
            let mut a = acc;
            if scale.shifted {
                a = _mm256_sra_epi32(_mm256_sll_epi32(a, scale.left), scale.right);
            }
            let (even, odd) = (
                _mm256_loadu_si256(mult.cast()),
                _mm256_loadu_si256(mult.add(1).cast()),
            );
            let half = _mm256_set1_epi64x(1 << 31);
            let even = _mm256_add_epi64(_mm256_mul_epi32(a, even), half);
            let odd = _mm256_mul_epi32(_mm256_srli_epi64::<32>(a), odd);
            let odd = _mm256_add_epi64(odd, half);
            let even = _mm256_srli_epi64::<32>(even);
            let scaled = _mm256_blend_epi32::<0xaa>(even, odd);
            let wide = _mm256_add_epi32(scaled, _mm256_set1_epi32(scale.z_y));
            let halves = _mm_packs_epi32(
                _mm256_castsi256_si128(wide),
                _mm256_extracti128_si256::<1>(wide),
            );
            let codes = _mm_packs_epi16(halves, halves);
            let codes = _mm_min_epi8(_mm_max_epi8(codes, scale.lo), scale.hi);
            if n >= 8 {
                _mm_storel_epi64(to.cast(), codes);
            } else {
                let bytes = _mm_cvtsi128_si64(codes).to_le_bytes();
                to.cast::<u8>().copy_from_nonoverlapping(bytes.as_ptr(), n);
            }
        }
    }
}
