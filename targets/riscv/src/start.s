# Reset and traps.
    .section .reset, "ax", @progbits
    .global reset
    .type reset, @function
reset:
    .option push
    .option norelax
    la    gp, __global_pointer$
    .option pop
    la    sp, __stack_top
    la    t0, fault
    csrw  mtvec, t0
    # Vector registers on, where there are any: mstatus.VS = initial.
    li    t0, 0x200
    csrs  mstatus, t0

    la    t0, __data_start
    la    t1, __data_end
    la    t2, __data_load
1:  bgeu  t0, t1, 2f
    lw    t3, 0(t2)
    sw    t3, 0(t0)
    addi  t0, t0, 4
    addi  t2, t2, 4
    j     1b
2:  la    t0, __bss_start
    la    t1, __bss_end
3:  bgeu  t0, t1, 4f
    sw    zero, 0(t0)
    addi  t0, t0, 4
    j     3b
4:  call  main
    unimp
    .size reset, . - reset

    # Any trap. With a debugger or emulator: leave with code 101 (SYS_EXIT_EXTENDED, application exit), without the
    # stack, which may be what is wrong. Else start it anew and say so. ESP32-C3 wants the address in steps of 256.
    .section .text.fault, "ax", @progbits
    .global fault
    .type fault, @function
    .balign 256
fault:
    lui   a0, %hi(__fault_prints)
    addi  a0, a0, %lo(__fault_prints)
    bnez  a0, 2f
1:  li    a0, 0x20
    la    a1, fault_block
    .balign 16
    .option push
    .option norvc
    slli  x0, x0, 0x1f
    ebreak
    srai  x0, x0, 7
    .option pop
    j     1b
2:  la    sp, __stack_top
    call  faulted
    .size fault, . - fault

    .section .rodata.fault, "a", @progbits
    .balign 4
fault_block:
    .word 0x20026
    .word 101
    .text
