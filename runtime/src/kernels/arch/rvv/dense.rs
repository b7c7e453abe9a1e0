//! Dense layer: sums across lanes, weights straight from the artifact.

use super::decode::{Row, codes, positions};
use crate::format::QuantRow;
use crate::kernels::Requant;
use crate::kernels::dense::Dense;
use crate::kernels::dot::sum;
use crate::kernels::pieces::{pieces, pieces_mut};

/// Accumulators requantized together.
const BATCH: usize = 32;

pub(super) fn run<'w, const OPS: u32>(dense: &Dense<'w>, x: &[i8], y: &mut [i8]) -> bool {
    let k = dense.k;
    if k == 0 {
        return false;
    }
    let (plain, nested) = (dense.weights.plain(), dense.weights.nested::<OPS>());
    for (x, y) in pieces(x, k).zip(pieces_mut(y, dense.quant.len())) {
        for (i, (y, quant)) in y
            .chunks_mut(BATCH)
            .zip(dense.quant.chunks(BATCH))
            .enumerate()
        {
            let first = i.wrapping_mul(BATCH);
            let mut sums = [0; BATCH];
            let from = |w: &'w [i8]| w.get(first.wrapping_mul(k)..).unwrap_or_default();
            match (plain, nested) {
                (Some(w), _) => plain_rows(x, from(w), &mut sums, y.len()),
                (_, Some(w)) => {
                    masked_rows(x, from(w.bytes), &mut sums, y.len(), w.mask);
                    let zeros = i32::from(w.zero).wrapping_mul(sum(x));
                    sums.iter_mut()
                        .for_each(|sum| *sum = sum.wrapping_sub(zeros));
                }
                _ => {
                    for (j, sum) in sums.iter_mut().take(y.len()).enumerate() {
                        if let Some(row) = Row::new(&dense.weights, first.wrapping_add(j), 0, k) {
                            *sum = coded_row(x, &row);
                        }
                    }
                }
            }
            requant(&sums, quant, y, &dense.rq);
        }
    }
    true
}

/// A function for `sums[r] = Σ_i w[r, i] · x[i]`, for the first `n` rows of `w`, two at a time.
macro_rules! rows {
    ($(#[$doc:meta])* $name:ident ($($mask:ident)?), $($and:literal)?) => {
        $(#[$doc])*
        #[inline(always)]
        fn $name(x: &[i8], w: &[i8], sums: &mut [i32; BATCH], n: usize $(, $mask: u8)?) {
            let k = x.len();
            if k == 0 || n == 0 || n > BATCH || w.len() < n.wrapping_mul(k) {
                return;
            }
            // SAFETY: reads `k` > 0 codes of `x` and `n` > 0 rows of as many codes, the last one twice where `n` is
            // odd. Writes `n` sums, rounded up to an even number, at most `BATCH`, which is even.
            unsafe {
                vector!(
                    "2: mv {xs}, {x}",
                    "mv {left}, {k}",
                    "add {b}, {a}, {k}",
                    "addi {n}, {n}, -2",
                    "bgez {n}, 3f",
                    "mv {b}, {a}",
                    "3: vsetivli zero, 1, e32, m1, ta, ma",
                    "vmv.s.x v24, zero",
                    "vmv.s.x v25, zero",
                    "4: vsetvli {t}, {left}, e8, m4, ta, ma",
                    "vle8.v v0, ({xs})",
                    "add {xs}, {xs}, {t}",
                    "vle8.v v4, ({a})",
                    "add {a}, {a}, {t}",
                    $($and,)?
                    "vwmul.vv v8, v0, v4",
                    "vle8.v v4, ({b})",
                    "add {b}, {b}, {t}",
                    $($and,)?
                    "vwmul.vv v16, v0, v4",
                    "vsetvli zero, zero, e16, m8, ta, ma",
                    "vwredsum.vs v24, v8, v24",
                    "sub {left}, {left}, {t}",
                    "vwredsum.vs v25, v16, v25",
                    "bnez {left}, 4b",
                    "vsetivli zero, 1, e32, m1, ta, ma",
                    "vse32.v v24, ({sums})",
                    "addi {sums}, {sums}, 4",
                    "vse32.v v25, ({sums})",
                    "addi {sums}, {sums}, 4",
                    "mv {a}, {b}",
                    "bgtz {n}, 2b",
                    n = inout(reg) n => _,
                    k = in(reg) k,
                    x = in(reg) x.as_ptr(),
                    a = inout(reg) w.as_ptr() => _,
                    sums = inout(reg) sums.as_mut_ptr() => _,
                    $($mask = in(reg) u32::from($mask),)?
                    xs = out(reg) _,
                    b = out(reg) _,
                    left = out(reg) _,
                    t = out(reg) _,
                );
            }
        }
    };
}

rows!(
    /// Plain weights.
    plain_rows(),
);
rows!(
    /// Weights of which the bits in `mask` count.
    masked_rows(mask), "vand.vx v4, v4, {mask}"
);

/// Sum of a row of any coding that has as many codes as `x`, at least one.
#[inline(always)]
fn coded_row(x: &[i8], row: &Row) -> i32 {
    let sum;
    // SAFETY: reads `x`, no byte behind the row and only entries of its codebook, see [`codes`].
    unsafe {
        vector!(
            positions!(),
            "vsetvli {n}, zero, e32, m8, ta, ma",
            "vmv.v.i v24, 0",
            "3:",
            codes!(),
            "vle8.v v10, ({x})",
            "add {x}, {x}, {n}",
            "vsext.vf2 v16, v10",
            "vwmacc.vv v24, v12, v16",
            "bnez {left}, 3b",
            "vsetvli {n}, zero, e32, m8, ta, ma",
            "vmv.s.x v0, zero",
            "vredsum.vs v0, v24, v0",
            "vmv.x.s {x}, v0",
            left = inout(reg) x.len() => _,
            x = inout(reg) x.as_ptr() => sum,
            src = inout(reg) row.bytes.as_ptr() => _,
            end = in(reg) row.bytes.as_ptr_range().end,
            bits = in(reg) row.bits,
            above = in(reg) 8 - row.bits,
            zero = in(reg) i32::from(row.zero),
            book = in(reg) row.book,
            chunk = out(reg) _,
            bytes = out(reg) _,
            last = out(reg) _,
            n = out(reg) _,
        );
    }
    sum
}

/// `y[i] = requant(bias[i] + sums[i])`.
#[inline(always)]
fn requant(sums: &[i32; BATCH], quant: &[QuantRow], y: &mut [i8], rq: &Requant) {
    let n = y.len().min(quant.len()).min(BATCH);
    if n == 0 {
        return;
    }
    // SAFETY: reads `n` > 0 sums and rows of `quant`, which is aligned to 4 bytes, and writes `n` codes.
    unsafe {
        vector!(
            "2: vsetvli {t}, {n}, e32, m8, ta, ma",
            "vle32.v v8, ({sums})",
            "vlse32.v v16, ({quant}), {stride}",
            "addi {quant}, {quant}, 4",
            "vlse32.v v24, ({quant}), {stride}",
            "addi {quant}, {quant}, -4",
            "vadd.vv v8, v8, v16",
            "vsra.vi v24, v24, 1",
            "vsll.vx v8, v8, {left}",
            "vsra.vx v8, v8, {right}",
            "csrwi vxrm, 0",
            "vsmul.vv v8, v8, v24",
            "vadd.vx v8, v8, {z}",
            "vsetvli zero, zero, e16, m4, ta, ma",
            "vnclip.wi v8, v8, 0",
            "vsetvli zero, zero, e8, m2, ta, ma",
            "vnclip.wi v8, v8, 0",
            "vmax.vx v8, v8, {lo}",
            "vmin.vx v8, v8, {hi}",
            "vse8.v v8, ({y})",
            "add {y}, {y}, {t}",
            "sub {n}, {n}, {t}",
            "slli {t}, {t}, 2",
            "add {sums}, {sums}, {t}",
            "slli {t}, {t}, 1",
            "add {quant}, {quant}, {t}",
            "bnez {n}, 2b",
            n = inout(reg) n => _,
            sums = inout(reg) sums.as_ptr() => _,
            quant = inout(reg) quant.as_ptr() => _,
            stride = in(reg) size_of::<QuantRow>(),
            y = inout(reg) y.as_mut_ptr() => _,
            left = in(reg) i32::from(rq.shift.max(0)),
            right = in(reg) i32::from(rq.shift.min(0).unsigned_abs()),
            z = in(reg) i32::from(rq.z_y),
            lo = in(reg) i32::from(rq.lo),
            hi = in(reg) i32::from(rq.hi),
            t = out(reg) _,
        );
    }
}
