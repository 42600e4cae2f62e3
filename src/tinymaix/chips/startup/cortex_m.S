/* Start-up for every Cortex-M: FPU on, variables initialised, tm_main called once. Armv6-M instructions only. */
    .syntax unified
    .thumb

    .section .vectors, "a", %progbits
    .p2align 2
    .word __tm_stack_top
    .word __tm_reset

    .section .text.__tm_reset, "ax", %progbits
    .p2align 2
    .thumb_func
    .type __tm_reset, %function
    .global __tm_reset
__tm_reset:
#ifdef __ARM_FP
    ldr r0, =0xE000ED88         /* CPACR: full access to coprocessors 10 and 11 */
    ldr r1, =0x00F00000
    str r1, [r0]
    dsb
    isb
#endif
    ldr r0, =__tm_data_load
    ldr r1, =__tm_data
    ldr r2, =__tm_data_end
    b 2f
1:  ldr r3, [r0]
    str r3, [r1]
    adds r0, #4
    adds r1, #4
2:  cmp r1, r2
    blo 1b
    ldr r1, =__tm_bss
    ldr r2, =__tm_bss_end
    movs r3, #0
    b 4f
3:  str r3, [r1]
    adds r1, #4
4:  cmp r1, r2
    blo 3b
    .global __tm_call
    .type __tm_call, %notype
__tm_call:
    bl tm_main
    .global __tm_halt
    .type __tm_halt, %notype
__tm_halt:
    b __tm_halt
    .size __tm_reset, . - __tm_reset
