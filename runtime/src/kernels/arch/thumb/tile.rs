//! Two rows times two columns, two codes at once: see [`super::pairs`].

use core::arch::global_asm;

/// What [`tiles`] works on. The fields that it counts with are its own afterwards.
#[repr(C)]
pub(super) struct Tiles {
    /// Weights `[tile][pair][2 rows]`; advanced.
    pub weights: *const u32,
    /// Codes `[pair][2 columns]`.
    pub columns: *const u32,
    /// Bytes of the weights of a tile, a multiple of 16 and not 0.
    pub len: usize,
    /// Bias and multiplier of every row, word aligned; advanced.
    pub quant: *const u32,
    /// Where each column's outputs are; advanced.
    pub y: [*mut i8; 2],
    /// Tiles of two rows, at least 1; counted down.
    pub count: usize,
    /// Pairs of codes.
    pub pairs: usize,
    pub shift: i32,
    pub z_y: i32,
    pub lo: i32,
    pub hi: i32,
}

unsafe extern "C" {
    /// `y[j][r] = requant(bias[r] + Σ_i w[r, i] · x[j, i])` for two columns and `2 * count` rows.
    #[link_name = "elastiq_thumb_tiles"]
    pub(super) fn tiles(arguments: *mut Tiles);

    /// Pair the codes of two columns: `to[i] = [x0[2 i + 1] + x0[2 i] · 2^16, the same of x1]` for `len` codes, a
    /// multiple of 2 and not 0.
    #[link_name = "elastiq_thumb_pairs"]
    pub(super) fn pairs(x0: *const i8, x1: *const i8, to: *mut u32, len: usize);
}

// Product of the word r\a of weights and the word r\x of codes, which may end r\t, added to r\acc.
#[cfg(not(elastiq_armv7m))]
global_asm!(
    scale_macros!(),
    ".macro elastiq_thumb_product acc, t, by",
    "muls r\\t, r\\by, r\\t",
    "add r\\t, r\\t, r12",
    "asrs r\\t, r\\t, #16",
    "add r\\acc, r\\acc, r\\t",
    ".endm",
    ".macro elastiq_thumb_pair",
    "ldm r0!, {{r2, r3}}",
    "ldm r1!, {{r4, r5}}",
    "movs r6, r2",
    "elastiq_thumb_product 8, 6, 4",
    "elastiq_thumb_product 9, 2, 5",
    "elastiq_thumb_product 10, 4, 3",
    "elastiq_thumb_product 11, 5, 3",
    ".endm",
);
#[cfg(elastiq_armv7m)]
global_asm!(
    scale_macros!(),
    ".macro elastiq_thumb_product acc, a, x",
    "mla r6, r\\a, r\\x, r12",
    "add r\\acc, r\\acc, r6, asr #16",
    ".endm",
    ".macro elastiq_thumb_pair",
    "ldm r0!, {{r2, r3}}",
    "ldm r1!, {{r4, r5}}",
    "elastiq_thumb_product 8, 4, 2",
    "elastiq_thumb_product 9, 5, 2",
    "elastiq_thumb_product 10, 4, 3",
    "elastiq_thumb_product 11, 5, 3",
    ".endm",
);

// r0 columns, r1 weights up to r7; accumulators r8, r9 (rows of column 0), r10, r11 (of column 1); r12 = -2^15. On the
// stack: arguments, y[0], y[1].
global_asm!(
    ".macro elastiq_thumb_row at, acc0, acc1",
    "ldr r0, [sp]",
    "ldr r0, [r0, #12]", // quant
    "ldr r5, [r0, #8*\\at+4]",
    "elastiq_thumb_multiplier",
    "elastiq_thumb_store \\acc0, 4, \\at",
    "elastiq_thumb_store \\acc1, 8, \\at",
    ".endm",
    ".macro elastiq_thumb_shift f",
    ".irp acc, 8, 9, 10, 11",
    "mov r0, r\\acc",
    "\\f r0, r0, r1",
    "mov r\\acc, r0",
    ".endr",
    ".endm",
    ".section .text.elastiq_thumb_tiles,\"ax\",%progbits",
    ".globl elastiq_thumb_tiles",
    ".type elastiq_thumb_tiles, %function",
    ".p2align 2",
    ".thumb_func",
    "elastiq_thumb_tiles:",
    "push {{r4-r7, lr}}",
    "mov r4, r8",
    "mov r5, r9",
    "mov r6, r10",
    "mov r7, r11",
    "push {{r4-r7}}",
    "sub sp, #12",
    "str r0, [sp]",
    "mov r6, r0",
    "ldr r1, [r6, #16]", // y
    "ldr r2, [r6, #20]",
    "str r1, [sp, #4]",
    "str r2, [sp, #8]",
    "movs r1, #1",
    "lsls r1, r1, #15",
    "rsbs r1, r1, #0",
    "mov r12, r1",
    // Next two rows; r6 points to the arguments.
    "10:",
    "ldr r5, [r6, #12]", // quant
    "ldr r4, [r6, #28]", // pairs
    "ldr r2, [r5, #0]",
    "ldr r3, [r5, #8]",
    "adds r2, r2, r4",
    "adds r3, r3, r4",
    "mov r8, r2",
    "mov r9, r3",
    "mov r10, r2",
    "mov r11, r3",
    "ldr r1, [r6, #0]", // weights
    "ldr r0, [r6, #4]", // columns
    "ldr r2, [r6, #8]", // len
    "adds r7, r1, r2",
    "str r7, [r6, #0]",
    "lsls r2, r2, #28", // The last bit shifted out stands for two pairs.
    "bcs 12f",
    "11:",
    "elastiq_thumb_pair",
    "elastiq_thumb_pair",
    "12:",
    "elastiq_thumb_pair",
    "elastiq_thumb_pair",
    "cmp r1, r7",
    "bne 11b",
    "ldr r2, [sp]",
    "ldr r1, [r2, #32]", // shift
    "cmp r1, #0",
    "beq 13f",
    "b 14f",
    "13:",
    "ldr r3, [r2, #36]", // z_y
    "adds r3, r3, #elastiq_thumb_excess",
    "mov lr, r3",
    "ldr r6, [r2, #40]", // lo
    "ldr r7, [r2, #44]", // hi
    "elastiq_thumb_row 0, 8, 10",
    "elastiq_thumb_row 1, 9, 11",
    "ldr r6, [sp]",
    "ldr r0, [r6, #12]", // quant
    "ldr r1, [sp, #4]",
    "ldr r2, [sp, #8]",
    "ldr r3, [r6, #24]", // count
    "adds r0, #16",
    "adds r1, #2",
    "adds r2, #2",
    "subs r3, #1",
    "str r0, [r6, #12]",
    "str r1, [sp, #4]",
    "str r2, [sp, #8]",
    "str r3, [r6, #24]",
    "beq 16f",
    "b 10b",
    "14:",
    "bmi 15f",
    "elastiq_thumb_shift lsls",
    "b 13b",
    "15:",
    "rsbs r1, r1, #0",
    "elastiq_thumb_shift asrs",
    "b 13b",
    "16:",
    "add sp, #12",
    "pop {{r4-r7}}",
    "mov r8, r4",
    "mov r9, r5",
    "mov r10, r6",
    "mov r11, r7",
    "pop {{r4-r7, pc}}",
    ".size elastiq_thumb_tiles, . - elastiq_thumb_tiles",
    //
    ".macro elastiq_thumb_codes",
    "ldrsb r4, [r0, r3]",
    "ldrsb r6, [r1, r3]",
    "adds r3, #1",
    "ldrsb r5, [r0, r3]",
    "ldrsb r7, [r1, r3]",
    "adds r3, #1",
    "lsls r4, r4, #16",
    "lsls r6, r6, #16",
    "adds r4, r4, r5",
    "adds r6, r6, r7",
    "stm r2!, {{r4, r6}}",
    ".endm",
    ".section .text.elastiq_thumb_pairs,\"ax\",%progbits",
    ".globl elastiq_thumb_pairs",
    ".type elastiq_thumb_pairs, %function",
    ".p2align 2",
    ".thumb_func",
    "elastiq_thumb_pairs:",
    "push {{r4-r7, lr}}",
    "mov r12, r3",
    "movs r4, #0",
    "lsrs r3, r3, #2", // The last bit shifted out stands for one pair.
    "mov r3, r4",
    "bcs 21f",
    "20:",
    "elastiq_thumb_codes",
    "21:",
    "elastiq_thumb_codes",
    "cmp r3, r12",
    "bne 20b",
    "pop {{r4-r7, pc}}",
    ".size elastiq_thumb_pairs, . - elastiq_thumb_pairs",
    ".purgem elastiq_thumb_product",
    ".purgem elastiq_thumb_pair",
    ".purgem elastiq_thumb_scale",
    ".purgem elastiq_thumb_multiplier",
    ".purgem elastiq_thumb_store",
    ".purgem elastiq_thumb_row",
    ".purgem elastiq_thumb_shift",
    ".purgem elastiq_thumb_codes",
    ".text",
);
