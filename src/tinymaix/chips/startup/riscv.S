/* Start-up for RV32 and RV64: stack, FPU on, variables initialised, tm_main called once. Registers below x16 only. */
    .section .vectors, "ax", %progbits
    .global __tm_reset
    .type __tm_reset, %function
__tm_reset:
    la sp, __tm_stack_top
#ifdef __riscv_flen
    li a0, 0x2000               /* mstatus.FS = initial */
    csrs mstatus, a0
#endif
    la a0, __tm_data_load
    la a1, __tm_data
    la a2, __tm_data_end
    j 2f
1:  lw a3, 0(a0)
    sw a3, 0(a1)
    addi a0, a0, 4
    addi a1, a1, 4
2:  bltu a1, a2, 1b
    la a1, __tm_bss
    la a2, __tm_bss_end
    j 4f
3:  sw zero, 0(a1)
    addi a1, a1, 4
4:  bltu a1, a2, 3b
    .global __tm_call
__tm_call:
    call tm_main
    .global __tm_halt
__tm_halt:
    j __tm_halt
    .size __tm_reset, . - __tm_reset
