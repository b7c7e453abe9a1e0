@ Vector table, reset, faults. The core has read the first two words when it comes to `reset`.
    .syntax unified
    .section .vectors, "a", %progbits
    .word __stack_top
    .word reset
    .rept 13
    .word fault
    .endr
    .word systick_wrapped

    .section .text.reset, "ax", %progbits
    .global reset
    .type reset, %function
    .thumb_func
reset:
    @ CPACR: full access to CP10 and CP11, so that FPU and Helium instructions do not fault. Reserved, hence
    @ ignored, on cores without coprocessors.
    ldr   r0, =0xE000ED88
    ldr   r1, [r0]
    ldr   r2, =0x00F00000
    orrs  r1, r2
    str   r1, [r0]
    dsb
    isb

    ldr   r0, =__data_start
    ldr   r1, =__data_end
    ldr   r2, =__data_load
1:  cmp   r0, r1
    bhs   2f
    ldr   r3, [r2]
    str   r3, [r0]
    adds  r0, #4
    adds  r2, #4
    b     1b
2:  ldr   r0, =__bss_start
    ldr   r1, =__bss_end
    movs  r3, #0
3:  cmp   r0, r1
    bhs   4f
    str   r3, [r0]
    adds  r0, #4
    b     3b
4:  bl    main
    udf   #0
    .size reset, . - reset

    @ Any fault. With a debugger or emulator: leave with code 101 (SYS_EXIT_EXTENDED, application exit), without the
    @ stack, which may be what is wrong. Else start it anew and say so.
    .section .text.fault, "ax", %progbits
    .global fault
    .type fault, %function
    .thumb_func
fault:
    ldr   r0, =__fault_prints
    cmp   r0, #0
    bne   2f
1:  movs  r0, #0x20
    ldr   r1, =fault_block
    bkpt  0xAB
    b     1b
2:  ldr   r0, =__stack_top
    mov   sp, r0
    bl    faulted
    .size fault, . - fault

    .section .rodata.fault, "a", %progbits
    .balign 4
fault_block:
    .word 0x20026
    .word 101
    .text
