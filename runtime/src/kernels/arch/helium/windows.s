@ Depthwise convolution from spread lines, see windows.rs.

@ Offsets in Spread.
    .set .LSPREAD_FROM, 0
    .set .LSPREAD_STEP, 4
    .set .LSPREAD_GROUP, 8
    .set .LSPREAD_N, 12
    .set .LSPREAD_CHANNELS, 16
    .set .LSPREAD_TO, 20
    .set .LSPREAD_TO_STEP, 24
    .set .LSPREAD_TO_GROUP, 28
    .set .LSPREAD_OFFSETS, 32

@ Eight channels at a time, two positions at a time.
    elastiq_enter elastiq_mve_spread
    mov r12, r0
    add r8, r12, #.LSPREAD_OFFSETS
    vldrh.u16 q4, [r8]
    ldrd r6, r3, [r12, #.LSPREAD_FROM]
    ldrd r7, r4, [r12, #.LSPREAD_TO]
    ldrd r9, r5, [r12, #.LSPREAD_N]
    ldr r8, [r12, #.LSPREAD_GROUP]
    ldr r10, [r12, #.LSPREAD_TO_GROUP]
    vadd.i16 q5, q4, r4
    lsl r11, r3, #1
    lsls r4, r4, #1
1:
    vctp.16 r5
    mov r0, r6
    adds r1, r6, r3
    mov r2, r7
    lsr lr, r9, #1
    wls lr, lr, 3f
2:
    vpstttt
    vldrbt.u16 q0, [r0]
    vldrbt.u16 q1, [r1]
    vstrbt.16 q0, [r2, q4]
    vstrbt.16 q1, [r2, q5]
    add r0, r0, r11
    add r1, r1, r11
    adds r2, r2, r4
    le lr, 2b
3:
    tst r9, #1
    beq 4f
    vpstt
    vldrbt.u16 q0, [r0]
    vstrbt.16 q0, [r2, q4]
4:
    add r6, r6, r8
    add r7, r7, r10
    subs r5, r5, #8
    bgt 1b
    elastiq_leave elastiq_mve_spread

@ Offsets in Line.
    .set .LLINE_WINDOWS, 0
    .set .LLINE_PITCH, 4
    .set .LLINE_STEP, 8
    .set .LLINE_TAPS, 12
    .set .LLINE_QUANT, 16
    .set .LLINE_QUADS, 20
    .set .LLINE_Y, 24
    .set .LLINE_Y_STEP, 28
    .set .LLINE_N, 32
    .set .LLINE_Z, 36
    .set .LLINE_SHIFT, 40
    .set .LLINE_LO, 44
    .set .LLINE_HI, 60
    .set .LLINE_HIGH, 76

@ Four channels at a time: begin of the four.
.macro elastiq_line_enter name
    elastiq_enter \name
    mov r12, r0
    ldr r5, [r12, #.LLINE_Z]
    ldr r3, [r12, #.LLINE_Y_STEP]
1:
    ldrd r8, r7, [r12, #.LLINE_WINDOWS]
    add r9, r8, r7
    add r10, r9, r7
    add r11, r10, r7
    add r7, r11, r7
    str r7, [r12, #.LLINE_WINDOWS]
    ldrd r7, r0, [r12, #.LLINE_TAPS]
    vldrb.u8 q0, [r7], #16
    vldrb.u8 q1, [r7], #16
    vld20.32 {q4, q5}, [r0]
    vldrb.u8 q2, [r7], #16
    vldrb.u8 q3, [r7], #16
    vld21.32 {q4, q5}, [r0]!
    strd r7, r0, [r12, #.LLINE_TAPS]
    ldr r1, [r12, #.LLINE_Y]
    ldr lr, [r12, #.LLINE_N]
    dls lr, lr
2:
.endm

@ End of the four.
.macro elastiq_line_leave name, y_step=r3
    vstrb.32 q7, [r1]
    add r1, r1, \y_step
    le lr, 2b
    ldr r0, [r12, #.LLINE_HIGH]
    adds r0, r0, #64
    str r0, [r12, #.LLINE_HIGH]
    ldr r1, [r12, #.LLINE_Y]
    adds r1, r1, #4
    ldr r0, [r12, #.LLINE_QUADS]
    str r1, [r12, #.LLINE_Y]
    subs r0, r0, #1
    str r0, [r12, #.LLINE_QUADS]
    bne 1b
    elastiq_leave \name
.endm

@ The step is known, no shift, all codes.
.macro elastiq_line name, step
    elastiq_line_enter \name
    vldrb.u8 q6, [r8], #\step
    vmladav.s8 r0, q0, q6
    vldrb.u8 q6, [r9], #\step
    vmladav.s8 r2, q1, q6
    vldrb.u8 q6, [r10], #\step
    vmladav.s8 r4, q2, q6
    vldrb.u8 q6, [r11], #\step
    vmladav.s8 r6, q3, q6
    vmov q7[2], q7[0], r0, r4
    vmov q7[3], q7[1], r2, r6
    vadd.i32 q7, q7, q4
    vrmulh.s32 q7, q7, q5
    vadd.i32 q7, q7, r5
    vqmovnb.s32 q7, q7
    vqmovnb.s16 q7, q7
    elastiq_line_leave \name
.endm
    elastiq_line elastiq_mve_line_3, 3
    elastiq_line elastiq_mve_line_6, 6

@ Requantization of the sums in r0, r2, r4, r6.
.macro elastiq_line_requantize
    vmov q7[2], q7[0], r0, r4
    ldr r7, [r12, #.LLINE_SHIFT]
    vmov q7[3], q7[1], r2, r6
    vadd.i32 q7, q7, q4
    vshl.s32 q7, r7
    add r7, r12, #.LLINE_LO
    vrmulh.s32 q7, q7, q5
    vldrw.u32 q6, [r7]
    vadd.i32 q7, q7, r5
    vmax.s32 q7, q7, q6
    vldrw.u32 q6, [r7, #16]
    vmin.s32 q7, q7, q6
.endm

    elastiq_line_enter elastiq_mve_line
    ldr r7, [r12, #.LLINE_STEP]
    vldrb.u8 q6, [r8]
    add r8, r8, r7
    vmladav.s8 r0, q0, q6
    vldrb.u8 q6, [r9]
    add r9, r9, r7
    vmladav.s8 r2, q1, q6
    vldrb.u8 q6, [r10]
    add r10, r10, r7
    vmladav.s8 r4, q2, q6
    vldrb.u8 q6, [r11]
    add r11, r11, r7
    vmladav.s8 r6, q3, q6
    elastiq_line_requantize
    elastiq_line_leave elastiq_mve_line

@ High bytes of the taps are multiplied first.
    elastiq_line_enter elastiq_mve_line_wide
    ldr r7, [r12, #.LLINE_STEP]
    ldr r3, [r12, #.LLINE_HIGH]
    vldrb.u8 q6, [r8]
    vldrb.u8 q7, [r3, #0]
    add r8, r8, r7
    vmladav.s8 r0, q7, q6
    lsls r0, r0, #8
    vmladava.s8 r0, q0, q6
    vldrb.u8 q6, [r9]
    vldrb.u8 q7, [r3, #16]
    add r9, r9, r7
    vmladav.s8 r2, q7, q6
    lsls r2, r2, #8
    vmladava.s8 r2, q1, q6
    vldrb.u8 q6, [r10]
    vldrb.u8 q7, [r3, #32]
    add r10, r10, r7
    vmladav.s8 r4, q7, q6
    lsls r4, r4, #8
    vmladava.s8 r4, q2, q6
    vldrb.u8 q6, [r11]
    vldrb.u8 q7, [r3, #48]
    add r11, r11, r7
    vmladav.s8 r6, q7, q6
    lsls r6, r6, #8
    vmladava.s8 r6, q3, q6
    elastiq_line_requantize
    ldr r7, [r12, #.LLINE_Y_STEP]
    elastiq_line_leave elastiq_mve_line_wide, r7
    .text
