//! Weights of any width and coding to 16 bits.

use crate::kernels::weights::{Channels, Values, Weights};

/// Set up for [`codes`]: `v0`, `v1` byte of each code, `v2`, `v3` its first bit there, `v4`, `v5` 7 minus that.
macro_rules! positions {
    () => {
        "vsetvli {chunk}, zero, e16, m4, ta, ma
         vid.v v8
         vmul.vx v8, v8, {bits}
         vand.vi v12, v8, 7
         vsrl.vi v8, v8, 3
         vsetvli zero, zero, e8, m2, ta, ma
         vnsrl.wi v0, v8, 0
         vnsrl.wi v2, v12, 0
         vrsub.vi v4, v2, 7
         li {bytes}, 256
         bltu {chunk}, {bytes}, 2f
         mv {chunk}, {bytes}
      2: mul {bytes}, {chunk}, {bits}
         srli {bytes}, {bytes}, 3"
    };
}

/// The next `n` = at most `chunk` codes of `left` at `src`, whose bytes end at `end`: weights in `v12` to `v15`, 16
/// bits each, configured for 16 bits in four registers.
///
/// A code lies in one byte or two. The second is not read behind `end`, but the last byte again, which is as good
/// where the code ends before it.
macro_rules! codes {
    () => {
        "mv {n}, {chunk}
         li {last}, 255
         bltu {chunk}, {left}, 4f
         mv {n}, {left}
         sub {last}, {end}, {src}
         addi {last}, {last}, -1
      4: vsetvli zero, {n}, e8, m2, tu, ma
         vluxei8.v v6, ({src}), v0
         vadd.vi v8, v0, 1
         vminu.vx v8, v8, {last}
         vluxei8.v v8, ({src}), v8
         vsrl.vv v6, v6, v2
         vsll.vi v8, v8, 1
         vsll.vv v8, v8, v4
         vor.vv v6, v6, v8
         vsll.vx v6, v6, {above}
         beqz {book}, 5f
         vsrl.vx v6, v6, {above}
         vsetvli zero, {n}, e16, m4, tu, ma
         vzext.vf2 v12, v6
         vsll.vi v12, v12, 1
         vluxei16.v v12, ({book}), v12
         j 6f
      5: vsra.vx v6, v6, {above}
         vsetvli zero, {n}, e16, m4, tu, ma
         vsext.vf2 v12, v6
         vsub.vx v12, v12, {zero}
      6: add {src}, {src}, {bytes}
         sub {left}, {left}, {n}"
    };
}

pub(super) use {codes, positions};

/// A row of codes, or a part that starts with a whole byte.
#[derive(Clone, Copy)]
pub(super) struct Row<'w> {
    pub bytes: &'w [i8],
    pub bits: usize,
    /// Those that count, of codes with 8 bits.
    pub mask: u8,
    /// Subtracted from every code where there is no codebook.
    pub zero: i16,
    /// Address of `1 << bits` entries, null if there are none.
    pub book: *const i8,
}

impl<'w> Row<'w> {
    /// Weights `from .. from + n` of `row`, `from` a multiple of 8. `None` if they are not there. Zero points per
    /// column are not subtracted.
    #[inline(always)]
    pub fn new(weights: &Weights<'w>, row: usize, from: usize, n: usize) -> Option<Self> {
        let bits = usize::from(weights.bits);
        let bytes = weights.row(row).get(from / 8 * bits..)?;
        let (zero, book) = match weights.values {
            Values::Linear(zero) => (zero, core::ptr::null()),
            Values::Zeros(Channels::Rows, zeros) => (zeros.get(row)?.get(), core::ptr::null()),
            Values::Zeros(Channels::Columns, _) => (0, core::ptr::null()),
            Values::Codebook(book) => (0, book.as_ptr().cast()),
        };
        Some(Row {
            bytes: bytes.get(..n.checked_mul(bits)?.div_ceil(8))?,
            bits,
            mask: weights.mask,
            zero,
            book,
        })
    }

    /// Write the first `n` weights to `to`, `stride` bytes apart.
    ///
    /// # Safety
    /// The row has `n` > 0 weights, `to` is aligned to 2 bytes, `stride` even, and the `n` places are writable.
    pub unsafe fn spread(&self, n: usize, to: *mut i16, stride: usize) {
        if self.bits == 8 && self.book.is_null() {
            // SAFETY: reads `n` bytes, which the row has, and writes where the caller says.
            unsafe {
                vector!(
                    "2: vsetvli {n}, {left}, e16, m8, ta, ma",
                    "vle8.v v4, ({src})",
                    "vsext.vf2 v8, v4",
                    "vand.vx v8, v8, {mask}",
                    "vsub.vx v8, v8, {zero}",
                    "vsse16.v v8, ({to}), {stride}",
                    "mul {t}, {n}, {stride}",
                    "add {to}, {to}, {t}",
                    "add {src}, {src}, {n}",
                    "sub {left}, {left}, {n}",
                    "bnez {left}, 2b",
                    left = inout(reg) n => _,
                    src = inout(reg) self.bytes.as_ptr() => _,
                    to = inout(reg) to => _,
                    stride = in(reg) stride,
                    zero = in(reg) i32::from(self.zero),
                    mask = in(reg) i32::from(self.mask as i8),
                    n = out(reg) _,
                    t = out(reg) _,
                );
            }
            return;
        }
        // SAFETY: reads no byte behind the row and only entries of a codebook of `1 << bits`, and writes where the
        // caller says. Chunks are multiples of 8 codes, so that each starts with a whole byte, and of at most 256,
        // so that byte offsets fit 8 bits.
        unsafe {
            vector!(
                positions!(),
                "3:",
                codes!(),
                "vsse16.v v12, ({to}), {stride}",
                "mul {n}, {n}, {stride}",
                "add {to}, {to}, {n}",
                "bnez {left}, 3b",
                left = inout(reg) n => _,
                src = inout(reg) self.bytes.as_ptr() => _,
                end = in(reg) self.bytes.as_ptr_range().end,
                to = inout(reg) to => _,
                stride = in(reg) stride,
                bits = in(reg) self.bits,
                above = in(reg) 8 - self.bits,
                zero = in(reg) i32::from(self.zero),
                book = in(reg) self.book,
                chunk = out(reg) _,
                bytes = out(reg) _,
                last = out(reg) _,
                n = out(reg) _,
            );
        }
    }
}
