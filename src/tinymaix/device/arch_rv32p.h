/* arch_rv32p.h: the packed instructions of T-Head's E907 (draft 0.9 of RISC-V's P extension): SMAQA adds four products of
 * bytes to a sum. Its code is given by .insn, so that any assembler takes it. int8; other types as in arch_cpu.h. */
#ifndef ARCH_RV32P_H
#define ARCH_RV32P_H
#include "tinymaix.h"
#if TM_MDL_TYPE == TM_MDL_INT8

#define TM_TILE 1 /* one pixel at a time: a word of four taps */
#define tm_dot_prod tm_cpu_dot_prod
#define tm_dot_prod_pack2 tm_cpu_dot_prod_pack2
#include "arch_cpu.h"
#undef tm_dot_prod
#undef tm_dot_prod_pack2

TM_INLINE int32_t tm_smaqa(int32_t sum, uint32_t a, uint32_t b)
{
    __asm__(".insn r 0x77, 0, 0x64, %0, %1, %2" : "+r"(sum) : "r"(a), "r"(b));
    return sum;
}

/* aligned: whether p is, as a constant: bytes are put together where it is not. */
TM_INLINE uint32_t tm_load4(const int8_t *p, int aligned)
{
    uint32_t x;
    __builtin_memcpy(&x, aligned ? __builtin_assume_aligned(p, 4) : p, 4);
    return x;
}

TM_INLINE int32_t tm_dot4(const mtype_t *sptr, const wtype_t *kptr, const wtype_t *end, int s_aligned, int k_aligned)
{
    int32_t sum = 0;
    for (; end - kptr >= 4; sptr += 4, kptr += 4)
        sum = tm_smaqa(sum, tm_load4(sptr, s_aligned), tm_load4(kptr, k_aligned));
    while (kptr < end)
        sum += *sptr++ * *kptr++;
    return sum;
}

TM_INLINE void tm_dot_prod(const mtype_t *sptr, const wtype_t *kptr, uint32_t size, sumtype_t *result)
{
    const wtype_t *end = kptr + size;
    if ((((uintptr_t)sptr | (uintptr_t)kptr) & 3) == 0)
        *result = tm_dot4(sptr, kptr, end, 1, 1);
    else if (((uintptr_t)sptr & 3) == 0)
        *result = tm_dot4(sptr, kptr, end, 1, 0);
    else
        *result = tm_dot4(sptr, kptr, end, 0, 0);
}

TM_INLINE void tm_dot_prod_pack2(const mtype_t *sptr, const wtype_t *kptr, uint32_t size, sumtype_t *result)
{
    const wtype_t *end = kptr + size, *kptr1 = end;
    int32_t sum0 = 0, sum1 = 0;
    if (((uintptr_t)sptr | (uintptr_t)kptr | size) & 3) {
        tm_dot_prod(sptr, kptr, size, result);
        tm_dot_prod(sptr, kptr1, size, result + 1);
        return;
    }
    for (; kptr < end; sptr += 4, kptr += 4, kptr1 += 4) {
        const uint32_t s = tm_load4(sptr, 1);
        sum0 = tm_smaqa(sum0, s, tm_load4(kptr, 1));
        sum1 = tm_smaqa(sum1, s, tm_load4(kptr1, 1));
    }
    result[0] = sum0;
    result[1] = sum1;
}

#else
#include "arch_cpu.h"
#endif
#endif
