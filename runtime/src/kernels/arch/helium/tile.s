@ Weight rows times columns with requantization, see tile.rs.
@
@ Sums of products go to even registers only (VMLADAVA). r12 points to the Job, lr counts codes.
    .cpu cortex-m55

@ Offsets in Job.
    .set .LJOB_X, 0
    .set .LJOB_X1, 4
    .set .LJOB_X2, 8
    .set .LJOB_X_STRIDE, 12
    .set .LJOB_W, 16
    .set .LJOB_W_STRIDE, 20
    .set .LJOB_W_END, 24
    .set .LJOB_K, 28
    .set .LJOB_K_REST, 32
    .set .LJOB_QUANT, 36
    .set .LJOB_QUANT_AT, 40
    .set .LJOB_Y, 44
    .set .LJOB_Y_STRIDE, 48
    .set .LJOB_Y_AT, 52
    .set .LJOB_N, 56
    .set .LJOB_ROWS, 60
    .set .LJOB_Z, 64
    .set .LJOB_SHIFT, 68
    .set .LJOB_LO, 72
    .set .LJOB_HI, 88

@ Begin of a function: r0 points to the Job. 104 bytes of stack.
.macro elastiq_enter name
    .section .text.\name,"ax",%progbits
    .global \name
    .type \name,%function
    .thumb_func
    .p2align 2
\name:
    push {r4, r5, r6, r7, r8, r9, r10, r11, r12, lr}
    vpush {d8-d15}
.endm

@ End of a function.
.macro elastiq_leave name
    vpop {d8-d15}
    pop {r4, r5, r6, r7, r8, r9, r10, r11, r12, pc}
    .size \name, . - \name
    .section .stack_sizes,"o",%progbits,\name
    .long \name
    .byte 104
.endm

@ Two rows times three columns: the row at r1 in r0, r2, r4, the row at r9 in r6, r8, r10. One vector or more.
.macro elastiq_pass bits, load_x, step, load_w
    ldrd r5, r7, [r12, #.LJOB_X]
    ldr r3, [r12, #.LJOB_X2]
    ldr lr, [r12, #.LJOB_K_REST]
    \load_x q0, [r5], #\step
    \load_w q3, [r1], #16
    vmladav.s\bits r0, q0, q3
    \load_x q1, [r7], #\step
    vmladav.s\bits r2, q1, q3
    \load_x q2, [r3], #\step
    vmladav.s\bits r4, q2, q3
    \load_w q3, [r9], #16
    vmladav.s\bits r6, q0, q3
    vmladav.s\bits r8, q1, q3
    vmladav.s\bits r10, q2, q3
    wlstp.\bits lr, lr, 4f
3:
    \load_x q0, [r5], #\step
    \load_w q3, [r1], #16
    vmladava.s\bits r0, q0, q3
    \load_x q1, [r7], #\step
    vmladava.s\bits r2, q1, q3
    \load_x q2, [r3], #\step
    vmladava.s\bits r4, q2, q3
    \load_w q3, [r9], #16
    vmladava.s\bits r6, q0, q3
    vmladava.s\bits r8, q1, q3
    vmladava.s\bits r10, q2, q3
    letp lr, 3b
4:
.endm

@ Four rows and three columns at a time.
.macro elastiq_tile name, bits, load_x, step, load_w
    elastiq_enter \name
    mov r12, r0
    add r0, r12, #.LJOB_LO
    vldrw.u32 q7, [r0]
1:
    ldr r11, [r12, #.LJOB_W]
    ldr r0, [r12, #.LJOB_QUANT]
    str r0, [r12, #.LJOB_QUANT_AT]
    ldr r0, [r12, #.LJOB_Y]
    str r0, [r12, #.LJOB_Y_AT]
2:
    ldr lr, [r12, #.LJOB_W_STRIDE]
    mov r1, r11
    add r9, r11, lr, lsl #1
    elastiq_pass \bits, \load_x, \step, \load_w
    vmov q4[2], q4[0], r0, r6
    vmov q5[2], q5[0], r2, r8
    vmov q6[2], q6[0], r4, r10
    ldr lr, [r12, #.LJOB_W_STRIDE]
    add r1, r11, lr
    add r9, r1, lr, lsl #1
    add r11, r11, lr, lsl #2
    elastiq_pass \bits, \load_x, \step, \load_w
    vmov q4[3], q4[1], r0, r6
    vmov q5[3], q5[1], r2, r8
    vmov q6[3], q6[1], r4, r10
    ldr r0, [r12, #.LJOB_QUANT_AT]
    vld20.32 {q0, q1}, [r0]
    ldrd r2, r3, [r12, #.LJOB_Z]
    vld21.32 {q0, q1}, [r0]!
    str r0, [r12, #.LJOB_QUANT_AT]
    vadd.i32 q4, q4, q0
    vadd.i32 q5, q5, q0
    vadd.i32 q6, q6, q0
    cbz r3, 5f
    vshl.s32 q4, r3
    vshl.s32 q5, r3
    vshl.s32 q6, r3
5:
    vrmulh.s32 q4, q4, q1
    vldrw.u32 q0, [r12, #.LJOB_HI]
    vrmulh.s32 q5, q5, q1
    ldrd r5, r4, [r12, #.LJOB_Y_STRIDE]
    vrmulh.s32 q6, q6, q1
    vadd.i32 q4, q4, r2
    vadd.i32 q5, q5, r2
    vadd.i32 q6, q6, r2
    vmax.s32 q4, q4, q7
    vmax.s32 q5, q5, q7
    vmax.s32 q6, q6, q7
    vmin.s32 q4, q4, q0
    vmin.s32 q5, q5, q0
    adds r6, r4, r5
    vmin.s32 q6, q6, q0
    adds r5, r6, r5
    vstrb.32 q4, [r4], #4
    ldr lr, [r12, #.LJOB_W_END]
    vstrb.32 q5, [r6]
    str r4, [r12, #.LJOB_Y_AT]
    vstrb.32 q6, [r5]
    cmp r11, lr
    bne 2b
    ldrd r5, r7, [r12, #.LJOB_X]
    ldrd r9, r0, [r12, #.LJOB_X2]
    ldrd r1, r2, [r12, #.LJOB_Y]
    add r0, r0, r0, lsl #1
    add r2, r2, r2, lsl #1
    add r5, r5, r0
    add r7, r7, r0
    add r9, r9, r0
    add r1, r1, r2
    strd r5, r7, [r12, #.LJOB_X]
    str r9, [r12, #.LJOB_X2]
    str r1, [r12, #.LJOB_Y]
    ldr r0, [r12, #.LJOB_N]
    subs r0, r0, #1
    str r0, [r12, #.LJOB_N]
    bne 1b
    elastiq_leave \name
.endm
    elastiq_tile elastiq_mve_tile_i8, 8, vldrb.u8, 16, vldrb.u8
    elastiq_tile elastiq_mve_tile_i16, 16, vldrb.s16, 8, vldrh.u16

@ Four rows and one column at a time.
.macro elastiq_column name, bits, load_x, step, load_w
    elastiq_enter \name
    mov r12, r0
    add r0, r12, #.LJOB_LO
    vldrw.u32 q7, [r0]
    vldrw.u32 q6, [r0, #16]
1:
    ldr r11, [r12, #.LJOB_W]
    ldr r8, [r12, #.LJOB_QUANT]
    ldr r5, [r12, #.LJOB_Y]
2:
    ldr lr, [r12, #.LJOB_W_STRIDE]
    mov r1, r11
    add r3, r11, lr
    add r10, r3, lr
    add r9, r10, lr
    add r11, r9, lr
    ldr r7, [r12, #.LJOB_X]
    ldr lr, [r12, #.LJOB_K]
    movs r0, #0
    movs r2, #0
    movs r4, #0
    movs r6, #0
    dlstp.\bits lr, lr
3:
    \load_x q0, [r7], #\step
    \load_w q1, [r1], #16
    vmladava.s\bits r0, q0, q1
    \load_w q2, [r3], #16
    vmladava.s\bits r2, q0, q2
    \load_w q3, [r10], #16
    vmladava.s\bits r4, q0, q3
    \load_w q4, [r9], #16
    vmladava.s\bits r6, q0, q4
    letp lr, 3b
    vld20.32 {q2, q3}, [r8]
    vmov q1[2], q1[0], r0, r4
    vmov q1[3], q1[1], r2, r6
    vld21.32 {q2, q3}, [r8]!
    ldrd r0, r2, [r12, #.LJOB_Z]
    vadd.i32 q1, q1, q2
    ldr lr, [r12, #.LJOB_W_END]
    vshl.s32 q1, r2
    vrmulh.s32 q1, q1, q3
    vadd.i32 q1, q1, r0
    vmax.s32 q1, q1, q7
    cmp r11, lr
    vmin.s32 q1, q1, q6
    vstrb.32 q1, [r5], #4
    bne 2b
    ldr r10, [r12, #.LJOB_X]
    ldr r0, [r12, #.LJOB_X_STRIDE]
    ldrd r1, r2, [r12, #.LJOB_Y]
    adds r10, r10, r0
    adds r1, r1, r2
    str r10, [r12, #.LJOB_X]
    str r1, [r12, #.LJOB_Y]
    ldr r0, [r12, #.LJOB_N]
    subs r0, r0, #1
    str r0, [r12, #.LJOB_N]
    bne 1b
    elastiq_leave \name
.endm
    elastiq_column elastiq_mve_column_i8, 8, vldrb.u8, 16, vldrb.u8
    elastiq_column elastiq_mve_column_i16, 16, vldrb.s16, 8, vldrh.u16

@ Four columns stay in registers while all rows pass by; positions are in lanes.
    elastiq_enter elastiq_mve_few
    mov r12, r0
    add r0, r12, #.LJOB_LO
    vldrw.u32 q6, [r0]
    vldrw.u32 q5, [r0, #16]
    ldr r4, [r12, #.LJOB_Y_STRIDE]
    movs r0, #0
    adds r6, r4, r4
    adds r2, r6, r4
    vmov q7[2], q7[0], r0, r6
    vmov q7[3], q7[1], r4, r2
    ldr r9, [r12, #.LJOB_Z]
    ldr r3, [r12, #.LJOB_W_STRIDE]
    ldr r0, [r12, #.LJOB_K]
    vctp.8 r0
    ldrd r11, r0, [r12, #.LJOB_X_STRIDE]
1:
    ldr r0, [r12, #.LJOB_X]
    ldr lr, [r12, #.LJOB_ROWS]
    add r2, r0, r11
    add r4, r2, r11
    add r6, r4, r11
    vpstttt
    vldrbt.u8 q0, [r0]
    vldrbt.u8 q1, [r2]
    vldrbt.u8 q2, [r4]
    vldrbt.u8 q3, [r6]
    add r6, r6, r11
    str r6, [r12, #.LJOB_X]
    ldr r1, [r12, #.LJOB_W]
    ldr r5, [r12, #.LJOB_QUANT]
    ldr r7, [r12, #.LJOB_Y]
    dls lr, lr
2:
    vpst
    vldrbt.u8 q4, [r1]
    add r1, r1, r3
    vmladav.s8 r0, q0, q4
    vmladav.s8 r2, q1, q4
    vmladav.s8 r4, q2, q4
    vmladav.s8 r6, q3, q4
    ldrd r8, r10, [r5], #8
    vmov q4[2], q4[0], r0, r4
    vmov q4[3], q4[1], r2, r6
    lsr r10, r10, #1
    vadd.i32 q4, q4, r8
    vqrdmulh.s32 q4, q4, r10
    vadd.i32 q4, q4, r9
    vmax.s32 q4, q4, q6
    vmin.s32 q4, q4, q5
    vstrb.32 q4, [r7, q7]
    adds r7, r7, #1
    le lr, 2b
    ldrd r1, r2, [r12, #.LJOB_Y]
    add r1, r1, r2, lsl #2
    str r1, [r12, #.LJOB_Y]
    ldr r0, [r12, #.LJOB_N]
    subs r0, r0, #1
    str r0, [r12, #.LJOB_N]
    bne 1b
    elastiq_leave elastiq_mve_few

@ Runs of columns: r0 from, r1 to, r2 step, r3 stride, r4 columns, r5 runs, r6 codes of a run, r7 and r8 from run to
@ run. Runs of up to one vector are one load and one store.
    .section .text.elastiq_mve_gather,"ax",%progbits
    .global elastiq_mve_gather
    .type elastiq_mve_gather,%function
    .thumb_func
    .p2align 2
elastiq_mve_gather:
    push {r4, r5, r6, r7, r8, r9, r10, lr}
    ldm r0, {r0, r1, r2, r3, r4, r5, r6, r7, r8}
    cmp r6, #16
    bhi 3f
    vctp.8 r6
1:
    mov r9, r0
    mov r10, r1
    dls lr, r5
2:
    vpstt
    vldrbt.u8 q0, [r9]
    vstrbt.8 q0, [r10]
    add r9, r9, r7
    add r10, r10, r8
    le lr, 2b
    add r0, r0, r2
    add r1, r1, r3
    subs r4, r4, #1
    bne 1b
    pop {r4, r5, r6, r7, r8, r9, r10, pc}
3:
    mul r12, r5, r7
    sub r2, r2, r12
    mul r12, r5, r8
    sub r3, r3, r12
4:
    mov r12, r5
5:
    mov r9, r0
    mov r10, r1
    dlstp.8 lr, r6
6:
    vldrb.u8 q0, [r9], #16
    vstrb.8 q0, [r10], #16
    letp lr, 6b
    add r0, r0, r7
    add r1, r1, r8
    subs r12, r12, #1
    bne 5b
    add r0, r0, r2
    add r1, r1, r3
    subs r4, r4, #1
    bne 4b
    pop {r4, r5, r6, r7, r8, r9, r10, pc}
    .size elastiq_mve_gather, . - elastiq_mve_gather
    .section .stack_sizes,"o",%progbits,elastiq_mve_gather
    .long elastiq_mve_gather
    .byte 32
    .text
