//! Requantization in assembly.

/// Assembler macros: `elastiq_thumb_store acc, y, at` clamps and stores to `[[sp, #y], #at]` what r\\acc gives, with
/// z_y + `elastiq_thumb_excess` in lr, lo in r6, hi in r7 and the multiplier, after `elastiq_thumb_multiplier`, in r5.
/// Changes r0 to r5.
///
/// Without a multiplication that gives 64 bits: r4 and r5 are the halves of the multiplier, r12 is -2^15. That it is
/// taken away where rounding adds 2^15 makes the result 1 too small.
#[cfg(not(elastiq_armv7m))]
macro_rules! scale_macros {
    () => {
        concat!(
            ".macro elastiq_thumb_scale acc\n",
            "mov r0, r\\acc\n",
            "uxth r1, r0\n",
            "asrs r0, r0, #16\n",
            "movs r2, r1\n",
            "muls r2, r5, r2\n",
            "lsrs r2, r2, #16\n",
            "movs r3, r0\n",
            "muls r3, r5, r3\n",
            "adds r2, r2, r3\n",
            "add r2, r2, r12\n",
            "muls r0, r4, r0\n",
            "muls r1, r4, r1\n",
            "asrs r3, r2, #16\n",
            "uxth r2, r2\n",
            "adds r1, r1, r2\n",
            "lsrs r1, r1, #16\n",
            "adds r0, r0, r3\n",
            "adds r0, r0, r1\n",
            ".endm\n",
            ".macro elastiq_thumb_multiplier\n",
            "lsrs r4, r5, #16\n",
            "uxth r5, r5\n",
            ".endm\n",
            ".set elastiq_thumb_excess, 1\n",
            ".macro elastiq_thumb_store acc, y, at\n",
            "elastiq_thumb_scale \\acc\n",
            "add r0, r0, lr\n",
            "cmp r0, r6\n",
            "bge 2f\n",
            "movs r0, r6\n",
            "2: cmp r0, r7\n",
            "ble 3f\n",
            "movs r0, r7\n",
            "3: ldr r1, [sp, #\\y]\n",
            "strb r0, [r1, #\\at]\n",
            ".endm\n",
        )
    };
}

/// Assembler macros: `elastiq_thumb_store acc, y, at` clamps and stores to `[[sp, #y], #at]` what r\\acc gives, with
/// z_y + `elastiq_thumb_excess` in lr, lo in r6, hi in r7 and the multiplier, after `elastiq_thumb_multiplier`, in r5.
/// Changes r0 to r5.
#[cfg(elastiq_armv7m)]
macro_rules! scale_macros {
    () => {
        concat!(
            ".macro elastiq_thumb_scale acc\n",
            "smull r1, r0, r\\acc, r5\n",
            "add r0, r0, r1, lsr #31\n",
            ".endm\n",
            ".macro elastiq_thumb_multiplier\n",
            ".endm\n",
            ".set elastiq_thumb_excess, 0\n",
            ".macro elastiq_thumb_store acc, y, at\n",
            "elastiq_thumb_scale \\acc\n",
            "add r0, r0, lr\n",
            "cmp r0, r6\n",
            "bge 2f\n",
            "movs r0, r6\n",
            "2: cmp r0, r7\n",
            "ble 3f\n",
            "movs r0, r7\n",
            "3: ldr r1, [sp, #\\y]\n",
            "strb r0, [r1, #\\at]\n",
            ".endm\n",
        )
    };
}
