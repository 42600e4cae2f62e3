/* arch_avr.h: AVR with a hardware multiplier (ATmega). An int has 16 bits here and holds one product of int8, not two; and
 * multiplications of 64 bits are calls of a long function. int8; other types as in arch_cpu.h. */
#ifndef ARCH_AVR_H
#define ARCH_AVR_H
#include "tinymaix.h"
#if TM_MDL_TYPE == TM_MDL_INT8

#define tm_dot_prod tm_cpu_dot_prod
#define tm_dot_prod_pack2 tm_cpu_dot_prod_pack2
#define tm_dot_prod_3x3x1 tm_cpu_dot_prod_3x3x1
#define tm_dot_prod_gap_3x3x1 tm_cpu_dot_prod_gap_3x3x1
#define tm_mulhi tm_cpu_mulhi
#define tm_rshift tm_cpu_rshift
#define tm_requant tm_cpu_requant
#define tm_postprocess_sum tm_cpu_postprocess_sum
#include "arch_cpu.h"
#undef tm_dot_prod
#undef tm_dot_prod_pack2
#undef tm_dot_prod_3x3x1
#undef tm_dot_prod_gap_3x3x1
#undef tm_mulhi
#undef tm_rshift
#undef tm_requant
#undef tm_postprocess_sum

/* a low, b high: a sum of 24 bits, which up to 511 products fit. */
TM_INLINE void tm_dot_prod(const mtype_t *sptr, const wtype_t *kptr, uint32_t size, sumtype_t *result)
{
    uint16_t left = (uint16_t)size;
    int32_t total = 0;
    while (left > 0) {
        uint16_t n = left < 256 ? left : 256;
        uint16_t low = 0;
        int8_t high = 0;
        left -= n;
        __asm__ volatile("1: ld r22, %a[s]+\n"
                         "ld r23, %a[k]+\n"
                         "muls r22, r23\n"
                         "add %A[low], r0\n"
                         "adc %B[low], r1\n"
                         "bst r1, 7\n"
                         "clr __zero_reg__\n"
                         "adc %[high], __zero_reg__\n"
                         "brtc 2f\n"
                         "dec %[high]\n"
                         "2: sbiw %[n], 1\n"
                         "brne 1b\n"
                         : [s] "+e"(sptr), [k] "+e"(kptr), [low] "+r"(low), [high] "+r"(high), [n] "+w"(n)
                         :
                         : "r0", "r22", "r23", "memory");
        total += ((int32_t)high << 16) + low;
    }
    *result = total;
}

TM_INLINE void tm_dot_prod_pack2(const mtype_t *sptr, const wtype_t *kptr, uint32_t size, sumtype_t *result)
{
    tm_dot_prod(sptr, kptr, size, result);
    tm_dot_prod(sptr, kptr + size, size, result + 1);
}

TM_INLINE void tm_dot_prod_3x3x1(const mtype_t *sptr, const wtype_t *kptr, sumtype_t *result)
{
    tm_dot_prod(sptr, kptr, 9, result);
}

TM_INLINE void tm_dot_prod_gap_3x3x1(const mtype_t *sptr, const wtype_t *kptr, const uint32_t *k_oft,
                                     sumtype_t *result)
{
    mtype_t s[9];
    uint8_t i;
    for (i = 0; i < 9; i++)
        s[i] = sptr[(uint16_t)k_oft[i]];
    tm_dot_prod(s, kptr, 9, result);
}

/* The product of 64 bits as if unsigned, from those of bytes; then what a negative factor makes of it is taken back. */
#define TM_PRODUCT(i, j) "mul %" #i "[a], %" #j "[b]\n"
#define TM_FROM1 "add %B[l], r0\n adc %C[l], r1\n adc %D[l], %[z]\n" TM_UP4
#define TM_FROM2 "add %C[l], r0\n adc %D[l], r1\n" TM_UP4
#define TM_FROM3 "add %D[l], r0\n adc %A[h], r1\n" TM_UP5
#define TM_FROM4 "add %A[h], r0\n adc %B[h], r1\n" TM_UP6
#define TM_FROM5 "add %B[h], r0\n adc %C[h], r1\n adc %D[h], %[z]\n"
#define TM_UP4 "adc %A[h], %[z]\n" TM_UP5
#define TM_UP5 "adc %B[h], %[z]\n" TM_UP6
#define TM_UP6 "adc %C[h], %[z]\n adc %D[h], %[z]\n"
static __attribute__((noinline)) int32_t tm_mulhi(int32_t a, int32_t b)
{
    uint32_t l, h;
    uint8_t z = 0;
    __asm__(TM_PRODUCT(A, A) "movw %A[l], r0\n" TM_PRODUCT(B, B) "movw %C[l], r0\n"
            TM_PRODUCT(C, C) "movw %A[h], r0\n" TM_PRODUCT(D, D) "movw %C[h], r0\n"
            TM_PRODUCT(A, B) TM_FROM1 TM_PRODUCT(B, A) TM_FROM1
            TM_PRODUCT(A, C) TM_FROM2 TM_PRODUCT(C, A) TM_FROM2
            TM_PRODUCT(A, D) TM_FROM3 TM_PRODUCT(B, C) TM_FROM3 TM_PRODUCT(C, B) TM_FROM3 TM_PRODUCT(D, A) TM_FROM3
            TM_PRODUCT(B, D) TM_FROM4 TM_PRODUCT(D, B) TM_FROM4
            TM_PRODUCT(C, D) TM_FROM5 TM_PRODUCT(D, C) TM_FROM5
            "clr __zero_reg__\n"
            : [l] "=&r"(l), [h] "=&r"(h)
            : [a] "r"(a), [b] "r"(b), [z] "r"(z)
            : "r0");
    if (a < 0)
        h -= (uint32_t)b;
    if (b < 0)
        h -= (uint32_t)a;
    h <<= 1;
    if (l & 0x80000000u) /* tests: shifts by 30 bits are loops */
        h++;
    if (l & 0x40000000u)
        h++;
    return (int32_t)h;
}

/* Shifted by whole bytes first; all but one bit, which then rounds. */
static __attribute__((noinline)) int32_t tm_rshift(int32_t x, int n)
{
    uint8_t left = (uint8_t)n;
    if (left == 0)
        return x;
    if (x < 0)
        x--;
    for (left--; left >= 8; left -= 8)
        x >>= 8;
    for (; left > 0; left--)
        x >>= 1;
    return (x + 1) >> 1;
}

static __attribute__((noinline)) int32_t tm_requant(int32_t x, const tm_scale_t *s)
{
    int8_t left = s->shift > 0 ? (int8_t)s->shift : 0;
    return tm_rshift(tm_mulhi((int32_t)((uint32_t)x << left), s->mult), left - (int8_t)s->shift);
}

TM_INLINE void tm_postprocess_sum(int n, const sumtype_t *sums, const btype_t *bs, tm_range_t act, mtype_t *outp,
                                  const tm_scale_t *scales, zptype_t out_zp)
{
    for (; n > 0; n--) {
        const int32_t x = (int32_t)((uint32_t)*sums++ + (uint32_t)*bs++);
        *outp++ = (mtype_t)(tm_clamp(tm_requant(x, scales++), act) + out_zp);
    }
}

#else
#include "arch_cpu.h"
#endif
#endif
