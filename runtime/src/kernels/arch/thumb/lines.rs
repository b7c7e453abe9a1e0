//! Depthwise convolution with 3 x 3 taps.

use core::arch::global_asm;

/// What [`lines_1`] works on.
#[repr(C)]
pub(super) struct Lines {
    pub mult: i32,
    pub z_y: i32,
    pub lo: i32,
    pub hi: i32,
    pub bias: i32,
    pub y: *mut i8,
    /// For the kernel.
    pub end: usize,
    /// Bytes of `y` from one output to the next.
    pub step: usize,
    pub taps: [i32; 9],
    /// Halves of the multiplier.
    pub mult_low: u32,
    pub mult_high: u32,
    /// First window.
    pub x: *const i8,
    /// Bytes between lines under the window.
    pub pitch: usize,
    /// Bytes from one line of windows to the next.
    pub down: usize,
    /// Bytes of `y` from one line to the next.
    pub next: usize,
    /// Outputs of a line times `step`, not 0.
    pub len: usize,
    /// Lines, at least 1.
    pub count: usize,
    /// Codes from one window to the next, less 2.
    pub skip: isize,
    /// For the kernel.
    pub spare: [usize; 2],
}

unsafe extern "C" {
    /// Lines of outputs of windows that are 1 code apart, on ARMv6-M any number of codes.
    #[link_name = "elastiq_thumb_lines_1"]
    pub(super) fn lines_1(arguments: *const Lines);

    /// Lines of outputs of windows that are 2 codes apart.
    #[cfg(elastiq_armv7m)]
    #[link_name = "elastiq_thumb_lines_2"]
    pub(super) fn lines_2(arguments: *const Lines);

    /// `to[j * line + i] = x[i * step + j]` for 4 channels `j` and `n` positions `i`, at least 1.
    #[link_name = "elastiq_thumb_spread"]
    pub(super) fn spread(x: *const i8, step: usize, to: *mut i8, line: usize, n: usize);
}

/// Assembler macros for beginning and end of a function that works on [`Lines`].
macro_rules! lines_macros {
    () => {
        concat!(
            ".macro elastiq_thumb_lines name\n",
            ".section .text.\\name,\"ax\",%progbits\n",
            ".globl \\name\n",
            ".type \\name, %function\n",
            ".p2align 2\n",
            ".thumb_func\n",
            "\\name:\n",
            "push {{r4-r7, lr}}\n",
            "mov r4, r8\n",
            "mov r5, r9\n",
            "mov r6, r10\n",
            "mov r7, r11\n",
            "push {{r4-r7}}\n",
            "sub sp, #112\n",
            "mov r1, sp\n",
            ".rept 7\n",
            "ldm r0!, {{r2-r5}}\n",
            "stm r1!, {{r2-r5}}\n",
            ".endr\n",
            ".endm\n",
            ".macro elastiq_thumb_lines_end name\n",
            "ldr r4, [sp, #20]\n", // y
            "ldr r5, [sp, #88]\n", // next
            "adds r4, r4, r5\n",
            "str r4, [sp, #20]\n",
            "ldr r4, [sp, #96]\n", // count
            "subs r4, #1\n",
            "str r4, [sp, #96]\n",
            "beq 9f\n",
            "b 1b\n",
            "9: add sp, #112\n",
            "pop {{r4-r7}}\n",
            "mov r8, r4\n",
            "mov r9, r5\n",
            "mov r10, r6\n",
            "mov r11, r7\n",
            "pop {{r4-r7, pc}}\n",
            ".size \\name, . - \\name\n",
            // What the compiler writes for its own functions.
            ".section .stack_sizes,\"o\",%progbits,\\name\n",
            ".long \\name\n",
            ".uleb128 148\n",
            ".endm\n",
        )
    };
}

global_asm!(
    ".macro elastiq_thumb_position i",
    "ldrb r5, [r0, #0]",
    "ldrb r6, [r0, #1]",
    "strb r5, [r1, #\\i]",
    "strb r6, [r2, #\\i]",
    "ldrb r5, [r0, #2]",
    "ldrb r6, [r0, #3]",
    "strb r5, [r3, #\\i]",
    "strb r6, [r4, #\\i]",
    "add r0, r0, r8",
    ".endm",
    ".macro elastiq_thumb_next n",
    "adds r1, #\\n",
    "adds r2, #\\n",
    "adds r3, #\\n",
    "adds r4, #\\n",
    ".endm",
    ".section .text.elastiq_thumb_spread,\"ax\",%progbits",
    ".globl elastiq_thumb_spread",
    ".type elastiq_thumb_spread, %function",
    ".p2align 2",
    ".thumb_func",
    "elastiq_thumb_spread:",
    "push {{r4-r7, lr}}",
    "mov r4, r8",
    "push {{r4}}",
    "mov r8, r1",
    "ldr r7, [sp, #24]", // n
    "mov r1, r2",
    "adds r2, r1, r3",
    "adds r4, r2, r3",
    "mov r5, r4",
    "adds r4, r4, r3",
    "mov r3, r5",
    "adds r5, r1, r7",
    "mov r12, r5",
    "lsrs r7, r7, #2",
    "beq 4f",
    "lsls r7, r7, #2",
    "adds r7, r7, r1",
    "3:",
    "elastiq_thumb_position 0",
    "elastiq_thumb_position 1",
    "elastiq_thumb_position 2",
    "elastiq_thumb_position 3",
    "elastiq_thumb_next 4",
    "cmp r1, r7",
    "bne 3b",
    "cmp r1, r12",
    "beq 5f",
    "4:",
    "elastiq_thumb_position 0",
    "elastiq_thumb_next 1",
    "cmp r1, r12",
    "bne 4b",
    "5:",
    "pop {{r4}}",
    "mov r8, r4",
    "pop {{r4-r7, pc}}",
    ".size elastiq_thumb_spread, . - elastiq_thumb_spread",
    // What the compiler writes for its own functions.
    ".section .stack_sizes,\"o\",%progbits,elastiq_thumb_spread",
    ".long elastiq_thumb_spread",
    ".uleb128 24",
    ".purgem elastiq_thumb_position",
    ".purgem elastiq_thumb_next",
    ".text",
);

// The arguments are copied to the stack, for the instructions that load relative to its pointer.
// ARMv6-M: lines r0, r1, r2 and index r3 of the code; code r4, tap r5, sum r6; r8 skip, r9 end of y, r10 y, r11 step,
// r12 -2^15, lr z_y + 1.
#[cfg(not(elastiq_armv7m))]
global_asm!(
    lines_macros!(),
    ".macro elastiq_thumb_tap line, tap",
    "ldrsb r4, [r\\line, r3]",
    "ldr r5, [sp, #32+4*\\tap]",
    "muls r4, r5, r4",
    "adds r6, r6, r4",
    ".endm",
    "elastiq_thumb_lines elastiq_thumb_lines_1",
    "movs r4, #1",
    "lsls r4, r4, #15",
    "rsbs r4, r4, #0",
    "mov r12, r4",
    "ldr r4, [sp, #4]", // z_y
    "adds r4, r4, #1",
    "mov lr, r4",
    "ldr r4, [sp, #100]", // skip
    "mov r8, r4",
    "ldr r4, [sp, #28]", // step
    "mov r11, r4",
    "1:",
    "ldr r0, [sp, #76]", // x
    "ldr r3, [sp, #80]", // pitch
    "adds r1, r0, r3",
    "adds r2, r1, r3",
    "ldr r4, [sp, #84]", // down
    "adds r4, r4, r0",
    "str r4, [sp, #76]",
    "ldr r4, [sp, #20]", // y
    "mov r10, r4",
    "ldr r5, [sp, #92]", // len
    "adds r4, r4, r5",
    "mov r9, r4",
    "movs r3, #0",
    "2:",
    "ldr r6, [sp, #16]", // bias
    "elastiq_thumb_tap 0, 0",
    "elastiq_thumb_tap 1, 3",
    "elastiq_thumb_tap 2, 6",
    "adds r3, #1",
    "elastiq_thumb_tap 0, 1",
    "elastiq_thumb_tap 1, 4",
    "elastiq_thumb_tap 2, 7",
    "adds r3, #1",
    "elastiq_thumb_tap 0, 2",
    "elastiq_thumb_tap 1, 5",
    "elastiq_thumb_tap 2, 8",
    "add r3, r3, r8",
    // As in `tiles`.
    "uxth r4, r6",
    "asrs r6, r6, #16",
    "ldr r5, [sp, #68]", // mult_low
    "movs r7, r4",
    "muls r7, r5, r7",
    "lsrs r7, r7, #16",
    "muls r5, r6, r5",
    "adds r7, r7, r5",
    "add r7, r7, r12",
    "ldr r5, [sp, #72]", // mult_high
    "muls r6, r5, r6",
    "muls r4, r5, r4",
    "asrs r5, r7, #16",
    "uxth r7, r7",
    "adds r4, r4, r7",
    "lsrs r4, r4, #16",
    "adds r6, r6, r5",
    "adds r6, r6, r4",
    "add r6, r6, lr",
    "ldr r5, [sp, #8]", // lo
    "cmp r6, r5",
    "bge 3f",
    "movs r6, r5",
    "3: ldr r5, [sp, #12]", // hi
    "cmp r6, r5",
    "ble 4f",
    "movs r6, r5",
    "4: mov r5, r10",
    "strb r6, [r5]",
    "add r5, r5, r11",
    "mov r10, r5",
    "cmp r5, r9",
    "bne 2b",
    "elastiq_thumb_lines_end elastiq_thumb_lines_1",
    ".purgem elastiq_thumb_tap",
    ".purgem elastiq_thumb_lines",
    ".purgem elastiq_thumb_lines_end",
    ".text",
);

// ARMv7-M: lines r0, r1, r2, sum r3, taps of the first two lines r4..r9, code r10; r11, r12, lr hold the last three
// taps or constants of requantization.
#[cfg(elastiq_armv7m)]
global_asm!(
    lines_macros!(),
    ".macro elastiq_thumb_taps line, stride, w0, w1, w2",
    "ldrsb r10, [\\line], #\\stride",
    "mla r3, r10, \\w0, r3",
    "ldrsb r10, [\\line, #1-\\stride]",
    "mla r3, r10, \\w1, r3",
    "ldrsb r10, [\\line, #2-\\stride]",
    "mla r3, r10, \\w2, r3",
    ".endm",
    ".macro elastiq_thumb_lines_of name, stride",
    "elastiq_thumb_lines \\name",
    "1:",
    "ldr r0, [sp, #76]", // x
    "ldr r3, [sp, #80]", // pitch
    "adds r1, r0, r3",
    "adds r2, r1, r3",
    "ldr r4, [sp, #84]", // down
    "adds r4, r4, r0",
    "str r4, [sp, #76]",
    "ldr r4, [sp, #20]", // y
    "str r4, [sp, #108]",
    "ldr r5, [sp, #92]", // len
    "adds r4, r4, r5",
    "str r4, [sp, #24]",
    "add r4, sp, #32", // taps
    "ldm r4, {{r4-r9}}",
    "2:",
    "ldrd r11, r12, [sp, #56]",
    "ldr lr, [sp, #64]",
    "ldr r3, [sp, #16]", // bias
    "elastiq_thumb_taps r0, \\stride, r4, r5, r6",
    "elastiq_thumb_taps r1, \\stride, r7, r8, r9",
    "elastiq_thumb_taps r2, \\stride, r11, r12, lr",
    "ldm sp, {{r10, r11, r12, lr}}", // mult, z_y, lo, hi
    "smull r10, r3, r3, r10",
    "add r3, r3, r10, lsr #31",
    "add r3, r3, r11",
    "cmp r3, r12",
    "bge 3f",
    "mov r3, r12",
    "3: cmp r3, lr",
    "ble 4f",
    "mov r3, lr",
    "4: ldr r10, [sp, #108]",
    "ldrd r11, r12, [sp, #24]", // end, step
    "strb r3, [r10]",
    "add r10, r10, r12",
    "str r10, [sp, #108]",
    "cmp r10, r11",
    "bne 2b",
    "elastiq_thumb_lines_end \\name",
    ".endm",
    "elastiq_thumb_lines_of elastiq_thumb_lines_1, 1",
    "elastiq_thumb_lines_of elastiq_thumb_lines_2, 2",
    ".purgem elastiq_thumb_taps",
    ".purgem elastiq_thumb_lines_of",
    ".purgem elastiq_thumb_lines",
    ".purgem elastiq_thumb_lines_end",
    ".text",
);
