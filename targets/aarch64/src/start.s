// Reset and exceptions, at EL1.
    .section .reset, "ax", %progbits
    .global reset
    .type reset, %function
reset:
    // Vector registers on.
    mov   x0, #0x300000
    msr   cpacr_el1, x0
    ldr   x0, =vectors
    msr   vbar_el1, x0
    ldr   x0, =__stack_top
    mov   sp, x0

    // Flat mapping of the first 2 GiB, devices and memory: without it, no access may be unaligned.
    ldr   x0, =map
    msr   ttbr0_el1, x0
    ldr   x0, =0xff00
    msr   mair_el1, x0
    // 39-bit addresses, 4 KiB granule, write-back cacheable tables, no second table.
    ldr   x0, =0x803519
    msr   tcr_el1, x0
    isb
    mrs   x0, sctlr_el1
    // MMU and caches on, alignment check off.
    ldr   x1, =0x1005
    orr   x0, x0, x1
    bic   x0, x0, #2
    msr   sctlr_el1, x0
    isb

    ldr   x0, =__data_start
    ldr   x1, =__data_end
    ldr   x2, =__data_load
1:  cmp   x0, x1
    b.hs  2f
    ldr   w3, [x2], #4
    str   w3, [x0], #4
    b     1b
2:  ldr   x0, =__bss_start
    ldr   x1, =__bss_end
3:  cmp   x0, x1
    b.hs  4f
    str   wzr, [x0], #4
    b     3b
4:  bl    main
    udf   #0
    .ltorg
    .size reset, . - reset

    // Any exception: leave with code 101 (SYS_EXIT_EXTENDED, application exit).
    .section .reset.vectors, "ax", %progbits
    .global vectors
    .type vectors, %function
    .balign 2048
vectors:
    .rept 16
    b     fault
    .balign 128
    .endr
    .size vectors, . - vectors

    .section .reset.fault, "ax", %progbits
    .global fault
    .type fault, %function
fault:
    mov   w0, #0x20
    ldr   x1, =fault_block
    hlt   #0xf000
    b     fault
    .ltorg
    .size fault, . - fault

    .section .rodata.fault, "a", %progbits
    .balign 8
fault_block:
    .quad 0x20026
    .quad 101

    // First-level table: 1 GiB blocks, accessed, inner shareable. Attribute 0 is device memory, 1 normal memory.
    .section .rodata.map, "a", %progbits
    .balign 4096
map:
    .quad 0x00000000 | 0x701
    .quad 0x40000000 | 0x705
    .fill 510, 8, 0
    .text
