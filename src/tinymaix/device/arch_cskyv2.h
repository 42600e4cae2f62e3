/* arch_cskyv2.h: the DSP instructions, version 2, of C-SKY cores such as the CK804: MULACA.S8 sums four products of bytes.
 * int8; other types as in arch_cpu.h. There was no compiler for C-SKY to test it with: other compilers take tm_mulaca_s8 in
 * C, which states what the instruction does, and that is what was tested. */
#ifndef ARCH_CSKYV2_H
#define ARCH_CSKYV2_H
#include "tinymaix.h"
#if TM_MDL_TYPE == TM_MDL_INT8

#define TM_TILE 1 /* one pixel at a time: a word of four taps */
#define tm_dot_prod tm_cpu_dot_prod
#define tm_dot_prod_pack2 tm_cpu_dot_prod_pack2
#include "arch_cpu.h"
#undef tm_dot_prod
#undef tm_dot_prod_pack2

TM_INLINE int32_t tm_mulaca_s8(uint32_t a, uint32_t b)
{
#ifdef __csky__
    int32_t sum;
    __asm__("mulaca.s8 %0, %1, %2" : "=r"(sum) : "r"(a), "r"(b));
    return sum;
#else
    return (int8_t)a * (int8_t)b + (int8_t)(a >> 8) * (int8_t)(b >> 8) + (int8_t)(a >> 16) * (int8_t)(b >> 16) +
           (int8_t)(a >> 24) * (int8_t)(b >> 24);
#endif
}

TM_INLINE uint32_t tm_load4(const int8_t *p)
{
    uint32_t x;
    __builtin_memcpy(&x, p, 4); /* by bytes, where the compiler is told that words need alignment */
    return x;
}

TM_INLINE void tm_dot_prod(const mtype_t *sptr, const wtype_t *kptr, uint32_t size, sumtype_t *result)
{
    const wtype_t *end = kptr + size;
    int32_t sum = 0;
    for (; end - kptr >= 4; sptr += 4, kptr += 4)
        sum += tm_mulaca_s8(tm_load4(sptr), tm_load4(kptr));
    while (kptr < end)
        sum += *sptr++ * *kptr++;
    *result = sum;
}

TM_INLINE void tm_dot_prod_pack2(const mtype_t *sptr, const wtype_t *kptr, uint32_t size, sumtype_t *result)
{
    const wtype_t *end = kptr + size, *kptr1 = end;
    int32_t sum0 = 0, sum1 = 0;
    for (; end - kptr >= 4; sptr += 4, kptr += 4, kptr1 += 4) {
        const uint32_t s = tm_load4(sptr);
        sum0 += tm_mulaca_s8(s, tm_load4(kptr));
        sum1 += tm_mulaca_s8(s, tm_load4(kptr1));
    }
    while (kptr < end) {
        const int32_t s = *sptr++;
        sum0 += s * *kptr++;
        sum1 += s * *kptr1++;
    }
    result[0] = sum0;
    result[1] = sum1;
}

#else
#include "arch_cpu.h"
#endif
#endif
