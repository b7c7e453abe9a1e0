//! Dense layers with plain weights: four rows against one column.

use core::arch::global_asm;

/// What [`rows`] works on. The fields that it counts with are its own afterwards.
#[repr(C)]
pub(super) struct Rows {
    /// Four rows of `k` weights; advanced.
    pub weights: *const i8,
    pub k: usize,
    pub x: *const i8,
    /// Bias and multiplier of every row, word aligned; advanced.
    pub quant: *const u32,
    /// Advanced.
    pub y: *mut i8,
    /// Times four rows, at least 1; counted down.
    pub count: usize,
    pub z_y: i32,
    pub lo: i32,
    pub hi: i32,
}

unsafe extern "C" {
    /// `y[r] = requant(bias[r] + Σ_i w[r, i] · x[i])` for `4 * count` rows; `k` is not 0.
    #[link_name = "elastiq_thumb_rows"]
    pub(super) fn rows(arguments: *mut Rows);
}

// Rows r0..r3, index r4, x r5, code r6, weight r7, end of the index r12.
#[cfg(not(elastiq_armv7m))]
global_asm!(
    scale_macros!(),
    ".macro elastiq_thumb_weight r, acc",
    "ldrsb r7, [r\\r, r4]",
    "muls r7, r6, r7",
    "add r\\acc, r\\acc, r7",
    ".endm",
    ".macro elastiq_thumb_code",
    "ldrsb r6, [r5, r4]",
    "elastiq_thumb_weight 0, 8",
    "elastiq_thumb_weight 1, 9",
    "elastiq_thumb_weight 2, 10",
    "elastiq_thumb_weight 3, 11",
    "adds r4, #1",
    ".endm",
    ".macro elastiq_thumb_begin",
    "mov r12, r4",
    "lsls r6, r4, #30",
    "lsrs r6, r6, #30",
    "mov lr, r6", // codes one at a time
    "movs r4, #0",
    "cmp r4, lr",
    ".endm",
    ".macro elastiq_thumb_rest",
    "cmp r4, lr",
    ".endm",
    ".macro elastiq_thumb_whole",
    "cmp r4, r12",
    ".endm",
);
// Rows r0..r3, x r5, weight r4, code r6, ends r12 and lr.
#[cfg(elastiq_armv7m)]
global_asm!(
    scale_macros!(),
    ".macro elastiq_thumb_weight r, acc",
    "ldrsb r4, [r\\r], #1",
    "mla r\\acc, r4, r6, r\\acc",
    ".endm",
    ".macro elastiq_thumb_code",
    "ldrsb r6, [r5], #1",
    "elastiq_thumb_weight 0, 8",
    "elastiq_thumb_weight 1, 9",
    "elastiq_thumb_weight 2, 10",
    "elastiq_thumb_weight 3, 11",
    ".endm",
    ".macro elastiq_thumb_begin",
    "add r12, r5, r4",
    "and r6, r4, #3",
    "add lr, r5, r6", // codes one at a time
    "cmp r5, lr",
    ".endm",
    ".macro elastiq_thumb_rest",
    "cmp r5, lr",
    ".endm",
    ".macro elastiq_thumb_whole",
    "cmp r5, r12",
    ".endm",
);

// On the stack: arguments, y.
global_asm!(
    ".macro elastiq_thumb_row i, acc",
    "ldr r0, [sp]",
    "ldr r0, [r0, #12]", // quant
    "ldr r5, [r0, #8*\\i+4]",
    "elastiq_thumb_multiplier",
    "elastiq_thumb_store \\acc, 4, \\i",
    ".endm",
    ".section .text.elastiq_thumb_rows,\"ax\",%progbits",
    ".globl elastiq_thumb_rows",
    ".type elastiq_thumb_rows, %function",
    ".p2align 2",
    ".thumb_func",
    "elastiq_thumb_rows:",
    "push {{r4-r7, lr}}",
    "mov r4, r8",
    "mov r5, r9",
    "mov r6, r10",
    "mov r7, r11",
    "push {{r4-r7}}",
    "sub sp, #12",
    "str r0, [sp]",
    "10:",
    "ldr r7, [sp]",
    "ldr r6, [r7, #12]", // quant
    "ldr r0, [r6, #0]",
    "ldr r1, [r6, #8]",
    "ldr r2, [r6, #16]",
    "ldr r3, [r6, #24]",
    "mov r8, r0",
    "mov r9, r1",
    "mov r10, r2",
    "mov r11, r3",
    "ldr r0, [r7, #0]", // weights
    "ldr r4, [r7, #4]", // k
    "ldr r5, [r7, #8]", // x
    "adds r1, r0, r4",
    "adds r2, r1, r4",
    "adds r3, r2, r4",
    "adds r6, r3, r4",
    "str r6, [r7, #0]",
    "elastiq_thumb_begin",
    "beq 12f",
    "11:",
    "elastiq_thumb_code",
    "elastiq_thumb_rest",
    "bne 11b",
    "12:",
    "elastiq_thumb_whole",
    "beq 14f",
    "13:",
    "elastiq_thumb_code",
    "elastiq_thumb_code",
    "elastiq_thumb_code",
    "elastiq_thumb_code",
    "elastiq_thumb_whole",
    "bne 13b",
    "14:",
    "movs r1, #1",
    "lsls r1, r1, #15",
    "rsbs r1, r1, #0",
    "mov r12, r1",
    "ldr r2, [sp]",
    "ldr r3, [r2, #24]", // z_y
    "adds r3, r3, #elastiq_thumb_excess",
    "mov lr, r3",
    "ldr r6, [r2, #28]", // lo
    "ldr r7, [r2, #32]", // hi
    "ldr r3, [r2, #16]", // y
    "str r3, [sp, #4]",
    "elastiq_thumb_row 0, 8",
    "elastiq_thumb_row 1, 9",
    "elastiq_thumb_row 2, 10",
    "elastiq_thumb_row 3, 11",
    "ldr r2, [sp]",
    "ldr r0, [r2, #12]", // quant
    "ldr r1, [r2, #16]", // y
    "ldr r3, [r2, #20]", // count
    "adds r0, #32",
    "adds r1, #4",
    "subs r3, #1",
    "str r0, [r2, #12]",
    "str r1, [r2, #16]",
    "str r3, [r2, #20]",
    "beq 15f",
    "b 10b",
    "15:",
    "add sp, #12",
    "pop {{r4-r7}}",
    "mov r8, r4",
    "mov r9, r5",
    "mov r10, r6",
    "mov r11, r7",
    "pop {{r4-r7, pc}}",
    ".size elastiq_thumb_rows, . - elastiq_thumb_rows",
    // What the compiler writes for its own functions.
    ".section .stack_sizes,\"o\",%progbits,elastiq_thumb_rows",
    ".long elastiq_thumb_rows",
    ".uleb128 48",
    ".purgem elastiq_thumb_weight",
    ".purgem elastiq_thumb_code",
    ".purgem elastiq_thumb_begin",
    ".purgem elastiq_thumb_rest",
    ".purgem elastiq_thumb_whole",
    ".purgem elastiq_thumb_row",
    ".purgem elastiq_thumb_scale",
    ".purgem elastiq_thumb_multiplier",
    ".purgem elastiq_thumb_store",
    ".text",
);
