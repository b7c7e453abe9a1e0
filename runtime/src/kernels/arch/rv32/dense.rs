//! Dense layers with plain weights: eight rows against one column.

use core::arch::global_asm;

/// What [`rows`] works on. The fields that it counts with are its own afterwards.
#[repr(C)]
pub(super) struct Rows {
    /// Eight rows of `k` weights; advanced.
    pub weights: *const i8,
    pub k: usize,
    pub x: *const i8,
    /// Bias and multiplier of every row, word aligned; advanced.
    pub quant: *const u32,
    /// Advanced.
    pub y: *mut i8,
    /// Times eight rows, at least 1; counted down.
    pub count: usize,
    /// Twice the zero point, and 1.
    pub round: i32,
    pub lo: i32,
    pub hi: i32,
}

unsafe extern "C" {
    /// `y[r] = requant(bias[r] + Σ_i w[r, i] · x[i])` for `8 * count` rows.
    #[link_name = "elastiq_rv32_rows"]
    pub(super) fn rows(arguments: *mut Rows);
}

// Sums s0..s7, rows a0..a7, x t0, its end t1, code t2, product t3, ends s8, s9; arguments t6.
global_asm!(
    ".option push",
    ".option arch, +m, +c",
    ".macro elastiq_rv32_dense i",
    "lb t2, \\i(t0)",
    ".irp r, 0, 1, 2, 3, 4, 5, 6, 7",
    "lb t3, \\i(a\\r)",
    "mul t3, t3, t2",
    "add s\\r, s\\r, t3",
    ".endr",
    ".endm",
    ".macro elastiq_rv32_dense_next n",
    "addi t0, t0, \\n",
    ".irp r, 0, 1, 2, 3, 4, 5, 6, 7",
    "addi a\\r, a\\r, \\n",
    ".endr",
    ".endm",
    ".macro elastiq_rv32_dense_store r",
    "lw t1, 8*\\r+4(t0)",
    "slli t1, t1, 1",
    "mulhsu s\\r, s\\r, t1",
    "add s\\r, s\\r, t2",
    "srai s\\r, s\\r, 1",
    "bge s\\r, t3, 1f",
    "mv s\\r, t3",
    "1: bge t4, s\\r, 2f",
    "mv s\\r, t4",
    "2: sb s\\r, \\r(t5)",
    ".endm",
    ".section .text.elastiq_rv32_rows,\"ax\",@progbits",
    ".globl elastiq_rv32_rows",
    ".type elastiq_rv32_rows, @function",
    ".p2align 2",
    "elastiq_rv32_rows:",
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
    "mv t6, a0",
    "3:",
    "lw a0, 0(t6)",  // weights
    "lw t1, 4(t6)",  // k
    "lw t0, 12(t6)", // quant
    "lw s0, 0(t0)",
    "lw s1, 8(t0)",
    "lw s2, 16(t0)",
    "lw s3, 24(t0)",
    "lw s4, 32(t0)",
    "lw s5, 40(t0)",
    "lw s6, 48(t0)",
    "lw s7, 56(t0)",
    "lw t0, 8(t6)", // x
    "add a1, a0, t1",
    "add a2, a1, t1",
    "add a3, a2, t1",
    "add a4, a3, t1",
    "add a5, a4, t1",
    "add a6, a5, t1",
    "add a7, a6, t1",
    "add t2, a7, t1",
    "sw t2, 0(t6)",
    "add s9, t0, t1",
    "andi t1, t1, -16",
    "add s8, t0, t1",
    "beq t0, s8, 5f",
    "4:",
    "elastiq_rv32_dense 0",
    "elastiq_rv32_dense 1",
    "elastiq_rv32_dense 2",
    "elastiq_rv32_dense 3",
    "elastiq_rv32_dense 4",
    "elastiq_rv32_dense 5",
    "elastiq_rv32_dense 6",
    "elastiq_rv32_dense 7",
    "elastiq_rv32_dense 8",
    "elastiq_rv32_dense 9",
    "elastiq_rv32_dense 10",
    "elastiq_rv32_dense 11",
    "elastiq_rv32_dense 12",
    "elastiq_rv32_dense 13",
    "elastiq_rv32_dense 14",
    "elastiq_rv32_dense 15",
    "elastiq_rv32_dense_next 16",
    "bne t0, s8, 4b",
    "5:",
    "beq t0, s9, 7f",
    "6:",
    "elastiq_rv32_dense 0",
    "elastiq_rv32_dense_next 1",
    "bne t0, s9, 6b",
    "7:",
    "lw t0, 12(t6)", // quant
    "lw t2, 24(t6)", // round
    "lw t3, 28(t6)", // lo
    "lw t4, 32(t6)", // hi
    "lw t5, 16(t6)", // y
    ".irp r, 0, 1, 2, 3, 4, 5, 6, 7",
    "elastiq_rv32_dense_store \\r",
    ".endr",
    "lw t1, 20(t6)", // count
    "addi t0, t0, 64",
    "addi t5, t5, 8",
    "addi t1, t1, -1",
    "sw t0, 12(t6)",
    "sw t5, 16(t6)",
    "sw t1, 20(t6)",
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
    "addi sp, sp, 48",
    "ret",
    ".size elastiq_rv32_rows, . - elastiq_rv32_rows",
    // What the compiler writes for its own functions.
    ".section .stack_sizes,\"o\",@progbits,elastiq_rv32_rows",
    ".long elastiq_rv32_rows",
    ".uleb128 48",
    ".purgem elastiq_rv32_dense",
    ".purgem elastiq_rv32_dense_next",
    ".purgem elastiq_rv32_dense_store",
    ".option pop",
    ".text",
);
