//! Depthwise convolution: two taps of a line at a time, two outputs side by side for windows of 3 x 3.

use super::ops::{function, requant, smlad};
use crate::Backend;
use crate::OpSet;
use crate::kernels::planes::{Lines, Plane};

pub(super) struct Dsp;

/// Parameters of the loops for windows of 3 x 3, in the order in which they load them. Distances are in bytes.
#[repr(C)]
struct Job {
    /// Twice, to fill two accumulators.
    bias: [i32; 2],
    mult: i32,
    z_y: i32,
    /// From one output of a line to the next.
    step: usize,
    /// Filled in by the loop: where the pairs of outputs of a line end.
    end: usize,
    /// Codes under the pairs of outputs of a line: from the first to the first behind them.
    pairs: usize,
    /// Whether there is one output more in a line.
    odd: usize,
    /// From one line of codes to the next.
    pitch: usize,
    /// From the lines under one line of outputs to those under the next.
    advance: usize,
    /// From one line of outputs to the next.
    next: usize,
    lines: usize,
    codes: *const i16,
    out: *mut i8,
    taps: *const i16,
}

unsafe extern "C" {
    /// One channel of a depthwise convolution with windows of 3 x 3 and stride 1 along the lines.
    ///
    /// # Safety
    /// `taps` are 3 times 4. All windows lie inside of the codes, with one more code behind the last of an odd
    /// number of outputs, and all outputs inside of those at `out`; there is at least one line with at least one
    /// output. `codes`, `taps`, `pitch` and `advance` are multiples of 4 bytes.
    fn elastiq_dsp_lines1(job: *const Job);
    /// The same with stride 2.
    fn elastiq_dsp_lines2(job: *const Job);
}

/// Two outputs of the line at `$x`, which moves on: taps (0, 1) in `$a` and (1, 2) in `$b`.
macro_rules! pair {
    (1, $x:literal, $a:literal, $b:literal) => {
        concat!(
            "ldrd r10, r11, [",
            $x,
            "], #4\n",
            "smlad r12, r10, ",
            $a,
            ", r12\n",
            "smlad lr, r11, ",
            $b,
            ", lr\n",
            "smlabt r12, r11, ",
            $b,
            ", r12\n",
            "smlatb lr, r10, ",
            $a,
            ", lr",
        )
    };
    (2, $x:literal, $a:literal, $b:literal) => {
        concat!(
            "ldrd r10, r11, [",
            $x,
            "], #8\n",
            "smlad r12, r10, ",
            $a,
            ", r12\n",
            "smlad lr, r11, ",
            $a,
            ", lr\n",
            "ldr r10, [",
            $x,
            "]\n",
            "smlabt r12, r11, ",
            $b,
            ", r12\n",
            "smlabt lr, r10, ",
            $b,
            ", lr",
        )
    };
}

/// The loops for stride `$stride` as function `$name`.
macro_rules! lines {
    ($name:literal, $stride:tt) => {
        function! {
            $name, frame 96,
            "push {{r4-r11, lr}}",
            "sub sp, sp, #60",
            "ldm r0!, {{r1-r8}}",
            "stm sp, {{r1-r8}}",
            "ldm r0!, {{r1-r7}}",
            "add r8, sp, #32",
            "stm r8, {{r1-r7}}",
            "ldm r7, {{r3-r8}}",
            "lsrs r0, r3, #16",
            "orr r4, r0, r4, lsl #16",
            "lsrs r0, r5, #16",
            "orr r6, r0, r6, lsl #16",
            "lsrs r0, r7, #16",
            "orr r8, r0, r8, lsl #16",
            // A line of outputs.
            "1:",
            "ldrd r0, r9, [sp, #48]",
            "ldr r12, [sp, #32]",
            "ldr r10, [sp, #24]",
            "add r1, r0, r12",
            "add r2, r1, r12",
            "add r10, r10, r0",
            "str r10, [sp, #20]",
            "cmp r0, r10",
            "beq 3f",
            // Two outputs.
            "2:",
            "ldrd r12, lr, [sp]",
            pair!($stride, "r0", "r3", "r4"),
            pair!($stride, "r1", "r5", "r6"),
            pair!($stride, "r2", "r7", "r8"),
            "ldrd r10, r11, [sp, #8]",
            "smmlar r12, r12, r10, r11",
            "smmlar lr, lr, r10, r11",
            "ldrd r10, r11, [sp, #16]",
            "ssat r12, #8, r12",
            "ssat lr, #8, lr",
            "strb r12, [r9]",
            "strb lr, [r9, r10]",
            "add r9, r9, r10, lsl #1",
            "cmp r0, r11",
            "bne 2b",
            // One output more.
            "3:",
            "ldr r10, [sp, #28]",
            "cmp r10, #0",
            "beq 4f",
            "ldr r12, [sp]",
            "ldrd r10, r11, [r0]",
            "smlad r12, r10, r3, r12",
            "smlabt r12, r11, r4, r12",
            "ldrd r10, r11, [r1]",
            "smlad r12, r10, r5, r12",
            "smlabt r12, r11, r6, r12",
            "ldrd r10, r11, [r2]",
            "smlad r12, r10, r7, r12",
            "smlabt r12, r11, r8, r12",
            "ldrd r10, r11, [sp, #8]",
            "smmlar r12, r12, r10, r11",
            "ssat r12, #8, r12",
            "strb r12, [r9]",
            "4:",
            "ldrd r10, r11, [sp, #36]",
            "ldrd r0, r1, [sp, #48]",
            "ldr r12, [sp, #44]",
            "add r0, r0, r10",
            "add r1, r1, r11",
            "strd r0, r1, [sp, #48]",
            "subs r12, r12, #1",
            "str r12, [sp, #44]",
            "bne 1b",
            "add sp, sp, #60",
            "pop {{r4-r11, pc}}",
        }
    };
}

lines!("elastiq_dsp_lines1", 1);
lines!("elastiq_dsp_lines2", 2);

/// Parameters of the spreading loop, in the order in which it loads them. Distances are in bytes.
#[repr(C)]
struct Spread {
    /// Moved on by the loop, as are `to` and `lines`.
    x: *const i8,
    /// From one position to the next.
    step: usize,
    to: *mut i16,
    /// From one channel to the next.
    line: usize,
    positions: usize,
    lines: usize,
    /// From one line of the input to the next.
    x_line: usize,
    /// From one line of codes to the next.
    pitch: usize,
}

unsafe extern "C" {
    /// Codes of 4 channels to lines of 16 bits.
    ///
    /// # Safety
    /// The codes at `x` can be read, and those at `to` written, for all positions of all lines; there is one at least.
    fn elastiq_dsp_spread(job: *mut Spread);
}

function! {
    "elastiq_dsp_spread", frame 40,
    "push {{r0, r4-r11, lr}}",
    "1:",
    "ldr r4, [sp]",
    "ldm r4, {{r0-r4}}",
    "add r12, r2, r3",
    "add lr, r12, r3",
    "add r3, lr, r3",
    "lsrs r4, r4, #1",
    "beq 3f",
    "2:",
    "ldr r6, [r0]",
    "ldr r8, [r0, r1]",
    "add r0, r0, r1, lsl #1",
    "sxtb16 r5, r6",
    "sxtb16 r6, r6, ror #8",
    "sxtb16 r7, r8",
    "sxtb16 r8, r8, ror #8",
    "pkhbt r9, r5, r7, lsl #16",
    "pkhbt r10, r6, r8, lsl #16",
    "pkhtb r7, r7, r5, asr #16",
    "pkhtb r8, r8, r6, asr #16",
    "str r9, [r2], #4",
    "str r10, [r12], #4",
    "str r7, [lr], #4",
    "str r8, [r3], #4",
    "subs r4, #1",
    "bne 2b",
    "3:",
    "ldr r11, [sp]",
    "ldr r4, [r11, #16]",
    "lsls r4, r4, #31",
    "beq 4f",
    // A position more.
    "ldr r6, [r0]",
    "sxtb16 r5, r6",
    "sxtb16 r6, r6, ror #8",
    "strh r5, [r2]",
    "strh r6, [r12]",
    "lsrs r5, r5, #16",
    "lsrs r6, r6, #16",
    "strh r5, [lr]",
    "strh r6, [r3]",
    "4:",
    "ldrd r4, r5, [r11, #20]",
    "ldr r6, [r11, #28]",
    "ldr r0, [r11]",
    "ldr r2, [r11, #8]",
    "add r0, r0, r5",
    "add r2, r2, r6",
    "str r0, [r11]",
    "str r2, [r11, #8]",
    "subs r4, #1",
    "str r4, [r11, #20]",
    "bne 1b",
    "pop {{r0, r4-r11, pc}}",
}

impl Lines for Dsp {
    const BACKEND: Backend = Backend::Dsp;
    type Code = i16;

    #[inline(always)]
    fn spread_lines<const OPS: u32>(
        x: &[i8],
        steps: [usize; 2],
        lines: usize,
        n: usize,
        channels: usize,
        to: &mut [i16],
        pitch: usize,
        line: usize,
    ) {
        let [across, along] = steps;
        let last = |count: usize, step: usize| count.saturating_sub(1).saturating_mul(step);
        let reach = last(lines, across).saturating_add(last(n, along));
        let end = last(lines, pitch).saturating_add(last(4, line));
        let inside = reach.saturating_add(4) <= x.len() && end.saturating_add(n) <= to.len();
        if channels == 4 && inside && lines.min(n) > 0 {
            let mut job = Spread {
                x: x.as_ptr(),
                step: along,
                to: to.as_mut_ptr(),
                line: line * 2,
                positions: n,
                lines,
                x_line: across,
                pitch: pitch * 2,
            };
            // SAFETY: `x` has four codes at the last position of the last line, `to` all positions of the last line of
            // the last channel, see above.
            unsafe { elastiq_dsp_spread(&mut job) };
            return;
        }
        if OPS & OpSet::PLANES_ANY == 0 {
            return;
        }
        for l in 0..lines {
            let x = x.get(l.saturating_mul(across)..).unwrap_or_default();
            let to = to.get_mut(l.saturating_mul(pitch)..).unwrap_or_default();
            Self::spread(x, along, n, channels, to, line);
        }
    }

    fn outputs<const OPS: u32>(plane: &Plane<i16>, y: &mut [i8]) {
        let ([k0, k1], [s0, s1], [n0, n1]) = (plane.kernel, plane.stride, plane.outputs);
        let reach = |n: usize, step: usize| n.saturating_sub(1).saturating_mul(step);
        // Taps are read by twos, and behind a single last output there is one code more.
        let line = reach(n1, s1).saturating_add(k1.saturating_add(1));
        let codes = reach(n0, s0)
            .saturating_add(k0.saturating_sub(1))
            .saturating_mul(plane.pitch)
            .saturating_add(line);
        let out = reach(n0, plane.next).saturating_add(reach(n1, plane.step));
        if n0.min(n1) == 0
            || codes > plane.codes.len()
            || out >= y.len()
            || plane.row < k1.saturating_add(k1 & 1)
            || plane.taps.len() < plane.row.saturating_mul(k0)
        {
            return;
        }
        let linked = match s1 {
            1 => OPS & OpSet::PLANES_1 != 0,
            2 => OPS & OpSet::PLANES_2 != 0,
            _ => false,
        };
        match (k0, k1, plane.row, plane.rq.shift) {
            (3, 3, 4, 0) if linked => {
                let job = Job {
                    bias: [plane.quant.bias.get(); 2],
                    mult: plane.quant.mult.get(),
                    z_y: plane.rq.z_y.into(),
                    step: plane.step,
                    end: 0,
                    pairs: n1 / 2 * s1 * 4,
                    odd: n1 % 2,
                    pitch: plane.pitch * 2,
                    advance: plane.pitch * s0 * 2,
                    next: plane.next,
                    lines: n0,
                    codes: plane.codes.as_ptr(),
                    out: y.as_mut_ptr(),
                    taps: plane.taps.as_ptr(),
                };
                // SAFETY: 12 taps; windows and outputs are inside of `codes` and `y`, see above; scratch is word
                // aligned, `pitch` a multiple of 4 codes.
                unsafe {
                    match s1 {
                        1 if OPS & OpSet::PLANES_1 != 0 => elastiq_dsp_lines1(&job),
                        _ if OPS & OpSet::PLANES_2 != 0 => elastiq_dsp_lines2(&job),
                        _ => {}
                    }
                }
            }
            // SAFETY: windows, rounded up to an even number of taps, and outputs are inside of `codes` and `y`,
            // the taps inside of `taps`.
            _ if OPS & OpSet::PLANES_ANY != 0 => unsafe { windows(plane, y) },
            _ => {}
        }
    }
}

/// Windows of any size.
///
/// # Safety
/// `codes` holds all windows, `taps` all taps, lines of both rounded up to even lengths, and `y` all outputs.
#[inline(never)]
unsafe fn windows(plane: &Plane<i16>, y: &mut [i8]) {
    let (codes, taps) = (plane.codes.as_ptr(), plane.taps.as_ptr());
    let twos = plane.kernel[1].div_ceil(2);
    for l in 0..plane.outputs[0] {
        for i in 0..plane.outputs[1] {
            let mut acc = plane.quant.bias.get() as u32;
            for a in 0..plane.kernel[0] {
                let at = (l * plane.stride[0] + a) * plane.pitch + i * plane.stride[1];
                for t in 0..twos {
                    // SAFETY: inside of `codes` and `taps` by the caller's word.
                    let (x, w) = unsafe {
                        (
                            codes.add(at + 2 * t).cast::<u32>().read_unaligned(),
                            taps.add(a * plane.row + 2 * t)
                                .cast::<u32>()
                                .read_unaligned(),
                        )
                    };
                    acc = smlad(acc, x, w);
                }
            }
            let code = requant(&plane.rq, acc as i32, plane.quant.mult.get());
            // SAFETY: inside of `y` by the caller's word.
            unsafe { *y.as_mut_ptr().add(l * plane.next + i * plane.step) = code };
        }
    }
}
