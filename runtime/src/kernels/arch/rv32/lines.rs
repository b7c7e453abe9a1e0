//! Depthwise convolution with 3 x 3 taps: every code is loaded once and added to the three outputs that it is under.

use core::arch::global_asm;

/// What [`lines_1`] and [`lines_2`] work on. The fields that they count with are theirs afterwards.
#[repr(C)]
pub(super) struct Lines {
    /// First window of the line; advanced.
    pub x: *const i8,
    /// Bytes between lines under the window.
    pub pitch: usize,
    /// Bytes from one line of windows to the next.
    pub down: usize,
    /// Three times three taps, lines 8 bytes apart.
    pub taps: *const i16,
    /// Advanced.
    pub y: *mut i8,
    /// Bytes of `y` from one line to the next, and from one output to the next.
    pub next: usize,
    pub step: usize,
    /// Outputs of a line times `step`, not 0.
    pub len: usize,
    /// Lines, at least 1; counted down.
    pub count: usize,
    pub bias: i32,
    /// Twice the multiplier.
    pub mult: u32,
    /// Twice the zero point, and 1.
    pub round: i32,
    pub lo: i32,
    pub hi: i32,
}

unsafe extern "C" {
    /// Lines of outputs of windows that are 1 code apart.
    #[link_name = "elastiq_rv32_lines_1"]
    pub(super) fn lines_1(arguments: *mut Lines);

    /// Lines of outputs of windows that are 2 codes apart.
    #[link_name = "elastiq_rv32_lines_2"]
    pub(super) fn lines_2(arguments: *mut Lines);

    /// `to[j * line + i] = x[i * step + j]` for 4 channels `j` and `n` positions `i`, at least 1.
    #[link_name = "elastiq_rv32_spread"]
    pub(super) fn spread(x: *const i8, step: usize, to: *mut i8, line: usize, n: usize);
}

// Taps s0..s8, line by line; accumulators s9, s10, s11; code t0, product t1; lines a0, a1, a2; y a3, its step a4, its
// end t4; bias a5, multiplier a6, rounding a7, lo t2, hi t3; arguments t5.
global_asm!(
    ".option push",
    ".option arch, +m, +c",
    ".macro elastiq_rv32_tap w, acc",
    "mul t1, t0, \\w",
    "add \\acc, \\acc, t1",
    ".endm",
    ".macro elastiq_rv32_first w, acc",
    "mul t1, t0, \\w",
    "add \\acc, a5, t1",
    ".endm",
    // Codes in column `at`: the last ones of a, in the middle of b, the first ones of c.
    ".macro elastiq_rv32_three at, a, b, c",
    "lb t0, \\at(a0)",
    "elastiq_rv32_tap s2, \\a",
    "elastiq_rv32_tap s1, \\b",
    "elastiq_rv32_first s0, \\c",
    "lb t0, \\at(a1)",
    "elastiq_rv32_tap s5, \\a",
    "elastiq_rv32_tap s4, \\b",
    "elastiq_rv32_tap s3, \\c",
    "lb t0, \\at(a2)",
    "elastiq_rv32_tap s8, \\a",
    "elastiq_rv32_tap s7, \\b",
    "elastiq_rv32_tap s6, \\c",
    ".endm",
    ".macro elastiq_rv32_outer at, a, c",
    "lb t0, \\at(a0)",
    "elastiq_rv32_tap s2, \\a",
    "elastiq_rv32_first s0, \\c",
    "lb t0, \\at(a1)",
    "elastiq_rv32_tap s5, \\a",
    "elastiq_rv32_tap s3, \\c",
    "lb t0, \\at(a2)",
    "elastiq_rv32_tap s8, \\a",
    "elastiq_rv32_tap s6, \\c",
    ".endm",
    ".macro elastiq_rv32_middle at, b",
    "lb t0, \\at(a0)",
    "elastiq_rv32_tap s1, \\b",
    "lb t0, \\at(a1)",
    "elastiq_rv32_tap s4, \\b",
    "lb t0, \\at(a2)",
    "elastiq_rv32_tap s7, \\b",
    ".endm",
    ".macro elastiq_rv32_begin at, c",
    "lb t0, \\at(a0)",
    "elastiq_rv32_first s0, \\c",
    "lb t0, \\at(a1)",
    "elastiq_rv32_tap s3, \\c",
    "lb t0, \\at(a2)",
    "elastiq_rv32_tap s6, \\c",
    ".endm",
    ".macro elastiq_rv32_output a, end",
    "mulhsu \\a, \\a, a6",
    "add \\a, \\a, a7",
    "srai \\a, \\a, 1",
    "bge \\a, t2, 1f",
    "mv \\a, t2",
    "1: bge t3, \\a, 2f",
    "mv \\a, t3",
    "2: sb \\a, 0(a3)",
    "add a3, a3, a4",
    "beq a3, t4, \\end",
    ".endm",
    ".macro elastiq_rv32_advance by",
    "addi a0, a0, \\by",
    "addi a1, a1, \\by",
    "addi a2, a2, \\by",
    ".endm",
    ".macro elastiq_rv32_lines name",
    ".section .text.\\name,\"ax\",@progbits",
    ".globl \\name",
    ".type \\name, @function",
    ".p2align 2",
    "\\name:",
    "addi sp, sp, -48",
    "sw s0, 44(sp)",
    "sw s1, 40(sp)",
    "sw s2, 36(sp)",
    "sw s3, 32(sp)",
    "sw s4, 28(sp)",
    "sw s5, 24(sp)",
    "sw s6, 20(sp)",
    "sw s7, 16(sp)",
    "sw s8, 12(sp)",
    "sw s9, 8(sp)",
    "sw s10, 4(sp)",
    "sw s11, 0(sp)",
    "mv t5, a0",
    "lw t0, 12(t5)", // taps
    "lh s0, 0(t0)",
    "lh s1, 2(t0)",
    "lh s2, 4(t0)",
    "lh s3, 8(t0)",
    "lh s4, 10(t0)",
    "lh s5, 12(t0)",
    "lh s6, 16(t0)",
    "lh s7, 18(t0)",
    "lh s8, 20(t0)",
    "lw a4, 24(t5)", // step
    "lw a5, 36(t5)", // bias
    "lw a6, 40(t5)", // mult
    "lw a7, 44(t5)", // round
    "lw t2, 48(t5)", // lo
    "lw t3, 52(t5)", // hi
    "3:",
    "lw a0, 0(t5)",  // x
    "lw t0, 4(t5)",  // pitch
    "lw t1, 8(t5)",  // down
    "lw a3, 16(t5)", // y
    "lw t4, 28(t5)", // len
    "add a1, a0, t0",
    "add a2, a1, t0",
    "add t1, t1, a0",
    "sw t1, 0(t5)",
    "add t4, t4, a3",
    ".endm",
    ".macro elastiq_rv32_lines_end name",
    "5:",
    "lw a3, 16(t5)", // y
    "lw t0, 20(t5)", // next
    "lw t1, 32(t5)", // count
    "add a3, a3, t0",
    "addi t1, t1, -1",
    "sw a3, 16(t5)",
    "sw t1, 32(t5)",
    "bnez t1, 3b",
    "lw s0, 44(sp)",
    "lw s1, 40(sp)",
    "lw s2, 36(sp)",
    "lw s3, 32(sp)",
    "lw s4, 28(sp)",
    "lw s5, 24(sp)",
    "lw s6, 20(sp)",
    "lw s7, 16(sp)",
    "lw s8, 12(sp)",
    "lw s9, 8(sp)",
    "lw s10, 4(sp)",
    "lw s11, 0(sp)",
    "addi sp, sp, 48",
    "ret",
    ".size \\name, . - \\name",
    // What the compiler writes for its own functions.
    ".section .stack_sizes,\"o\",@progbits,\\name",
    ".long \\name",
    ".uleb128 48",
    ".endm",
    //
    "elastiq_rv32_lines elastiq_rv32_lines_1",
    "elastiq_rv32_begin 0, s9",
    "elastiq_rv32_begin 1, s10",
    "elastiq_rv32_middle 1, s9",
    "4:",
    "elastiq_rv32_three 2, s9, s10, s11",
    "elastiq_rv32_output s9, 5f",
    "elastiq_rv32_three 3, s10, s11, s9",
    "elastiq_rv32_output s10, 5f",
    "elastiq_rv32_three 4, s11, s9, s10",
    "elastiq_rv32_output s11, 5f",
    "elastiq_rv32_advance 3",
    "j 4b",
    "elastiq_rv32_lines_end elastiq_rv32_lines_1",
    //
    "elastiq_rv32_lines elastiq_rv32_lines_2",
    "elastiq_rv32_begin 0, s9",
    "4:",
    "elastiq_rv32_middle 1, s9",
    "elastiq_rv32_outer 2, s9, s10",
    "elastiq_rv32_output s9, 5f",
    "elastiq_rv32_middle 3, s10",
    "elastiq_rv32_outer 4, s10, s9",
    "elastiq_rv32_output s10, 5f",
    "elastiq_rv32_advance 4",
    "j 4b",
    "elastiq_rv32_lines_end elastiq_rv32_lines_2",
    //
    ".macro elastiq_rv32_position i",
    "lb t4, 0(a0)",
    "lb t5, 1(a0)",
    "lb t6, 2(a0)",
    "lb a7, 3(a0)",
    "add a0, a0, a1",
    "sb t4, \\i(a2)",
    "sb t5, \\i(t1)",
    "sb t6, \\i(t2)",
    "sb a7, \\i(t3)",
    ".endm",
    ".macro elastiq_rv32_next n",
    "addi a2, a2, \\n",
    "addi t1, t1, \\n",
    "addi t2, t2, \\n",
    "addi t3, t3, \\n",
    ".endm",
    ".section .text.elastiq_rv32_spread,\"ax\",@progbits",
    ".globl elastiq_rv32_spread",
    ".type elastiq_rv32_spread, @function",
    ".p2align 2",
    "elastiq_rv32_spread:",
    "add t1, a2, a3",
    "add t2, t1, a3",
    "add t3, t2, a3",
    "andi t0, a4, -4",
    "add a5, a2, a4",
    "beqz t0, 4f",
    "add a6, a2, t0",
    "3:",
    "elastiq_rv32_position 0",
    "elastiq_rv32_position 1",
    "elastiq_rv32_position 2",
    "elastiq_rv32_position 3",
    "elastiq_rv32_next 4",
    "bne a2, a6, 3b",
    "beq a2, a5, 5f",
    "4:",
    "elastiq_rv32_position 0",
    "elastiq_rv32_next 1",
    "bne a2, a5, 4b",
    "5: ret",
    ".size elastiq_rv32_spread, . - elastiq_rv32_spread",
    // What the compiler writes for its own functions.
    ".section .stack_sizes,\"o\",@progbits,elastiq_rv32_spread",
    ".long elastiq_rv32_spread",
    ".uleb128 0",
    ".purgem elastiq_rv32_position",
    ".purgem elastiq_rv32_next",
    ".purgem elastiq_rv32_tap",
    ".purgem elastiq_rv32_first",
    ".purgem elastiq_rv32_three",
    ".purgem elastiq_rv32_outer",
    ".purgem elastiq_rv32_middle",
    ".purgem elastiq_rv32_begin",
    ".purgem elastiq_rv32_output",
    ".purgem elastiq_rv32_advance",
    ".purgem elastiq_rv32_lines",
    ".purgem elastiq_rv32_lines_end",
    ".option pop",
    ".text",
);
