/* arch_arm_simd.h: the DSP instructions of Cortex-M4, M7, M33: SXTB16 widens two bytes of a word, SMLAD adds two products of
 * halfwords to a sum. int8; other types as in arch_cpu.h. Weights are loaded by words that need no alignment. */
#ifndef ARCH_ARM_SIMD_H
#define ARCH_ARM_SIMD_H
#include "tinymaix.h"
#if TM_MDL_TYPE == TM_MDL_INT8

#ifndef __ARM_FEATURE_DSP
#error "arch_arm_simd.h: this core has no DSP instructions. Use TM_ARCH_CPU."
#endif

#define tm_dot_prod tm_cpu_dot_prod
#define tm_dot_prod_pack2 tm_cpu_dot_prod_pack2
#define tm_postprocess_sum tm_cpu_postprocess_sum
#include "arch_cpu.h"
#undef tm_dot_prod
#undef tm_dot_prod_pack2
#undef tm_postprocess_sum

TM_INLINE uint32_t tm_load4(const int8_t *p)
{
    uint32_t x;
    __builtin_memcpy(&x, p, 4);
    return x;
}

TM_INLINE uint32_t tm_sxtb16(uint32_t x) /* bytes 0 and 2 */
{
    uint32_t r;
    __asm__("sxtb16 %0, %1" : "=r"(r) : "r"(x));
    return r;
}

TM_INLINE uint32_t tm_sxtb16_ror8(uint32_t x) /* bytes 1 and 3 */
{
    uint32_t r;
    __asm__("sxtb16 %0, %1, ror #8" : "=r"(r) : "r"(x));
    return r;
}

TM_INLINE int32_t tm_smlad(uint32_t a, uint32_t b, int32_t sum)
{
    int32_t r;
    __asm__("smlad %0, %1, %2, %3" : "=r"(r) : "r"(a), "r"(b), "r"(sum));
    return r;
}

TM_INLINE void tm_dot_prod(const mtype_t *sptr, const wtype_t *kptr, uint32_t size, sumtype_t *result)
{
    const wtype_t *end = kptr + size;
    int32_t sum = 0;
    for (; end - kptr >= 4; sptr += 4, kptr += 4) {
        const uint32_t s = tm_load4(sptr), k = tm_load4(kptr);
        sum = tm_smlad(tm_sxtb16(s), tm_sxtb16(k), sum);
        sum = tm_smlad(tm_sxtb16_ror8(s), tm_sxtb16_ror8(k), sum);
    }
    while (kptr < end)
        sum += *sptr++ * *kptr++;
    *result = sum;
}

TM_INLINE void tm_dot_prod_pack2(const mtype_t *sptr, const wtype_t *kptr, uint32_t size, sumtype_t *result)
{
    const wtype_t *end = kptr + size, *kptr1 = end;
    int32_t sum0 = 0, sum1 = 0;
    for (; end - kptr >= 4; sptr += 4, kptr += 4, kptr1 += 4) {
        const uint32_t s = tm_load4(sptr), even = tm_sxtb16(s), odd = tm_sxtb16_ror8(s);
        uint32_t k = tm_load4(kptr);
        sum0 = tm_smlad(even, tm_sxtb16(k), sum0);
        sum0 = tm_smlad(odd, tm_sxtb16_ror8(k), sum0);
        k = tm_load4(kptr1);
        sum1 = tm_smlad(even, tm_sxtb16(k), sum1);
        sum1 = tm_smlad(odd, tm_sxtb16_ror8(k), sum1);
    }
    while (kptr < end) {
        const int32_t s = *sptr++;
        sum0 += s * *kptr++;
        sum1 += s * *kptr1++;
    }
    result[0] = sum0;
    result[1] = sum1;
}

/* The tile of TM_OPT1: four pixels, widened. Four taps take eight words: taps 0 and 2, 1 and 3 of the first pixel, then of
 * the next; so that the weights need no more than SXTB16. */
#define TM_TILE 4
#define TM_TILE_TAPS TM_MAX_KCSIZE
typedef uint32_t tm_tile_t;
typedef int16_t TM_ALIAS tm_half_t;

TM_INLINE void tm_tile_put(tm_tile_t *tile, int pixel, const mtype_t *sptr, uint32_t n)
{
    tm_half_t *half;
    uint32_t i;
    for (tile += pixel * 2; n >= 8; n -= 8, sptr += 8, tile += 16) {
        const uint32_t s = tm_load4(sptr), t = tm_load4(sptr + 4);
        tile[0] = tm_sxtb16(s);
        tile[1] = tm_sxtb16_ror8(s);
        tile[8] = tm_sxtb16(t);
        tile[9] = tm_sxtb16_ror8(t);
    }
    for (; n >= 4; n -= 4, sptr += 4, tile += 8) {
        const uint32_t s = tm_load4(sptr);
        tile[0] = tm_sxtb16(s);
        tile[1] = tm_sxtb16_ror8(s);
    }
    half = (tm_half_t *)tile;
    for (i = 0; i < n; i++)
        half[i / 2 + i % 2 * 2] = sptr[i];
}

/* In assembly, since no compiler keeps all of it in registers. */
#define TM_FOUR_TAPS                            \
    "ldr %[odd], [%[k]], #4\n"                  \
    "ldrd %[s], %[t], [%[tile]], #8\n"          \
    "sxtb16 %[even], %[odd]\n"                  \
    "sxtb16 %[odd], %[odd], ror #8\n"           \
    "smlad %[sum0], %[s], %[even], %[sum0]\n"   \
    "smlad %[sum0], %[t], %[odd], %[sum0]\n"    \
    "ldrd %[s], %[t], [%[tile]], #8\n"          \
    "smlad %[sum1], %[s], %[even], %[sum1]\n"   \
    "smlad %[sum1], %[t], %[odd], %[sum1]\n"    \
    "ldrd %[s], %[t], [%[tile]], #8\n"          \
    "smlad %[sum2], %[s], %[even], %[sum2]\n"   \
    "smlad %[sum2], %[t], %[odd], %[sum2]\n"    \
    "ldrd %[s], %[t], [%[tile]], #8\n"          \
    "smlad %[sum3], %[s], %[even], %[sum3]\n"   \
    "smlad %[sum3], %[t], %[odd], %[sum3]\n"

/* Twice four taps a round; half of the first round is left out if their number is odd. */
TM_INLINE void tm_tile_dot1(const tm_tile_t *tile, const wtype_t *kptr, uint32_t size, sumtype_t *sums, unsigned apart)
{
    int32_t sum0 = sums[0], sum1 = sums[apart], sum2 = sums[2 * apart], sum3 = sums[3 * apart];
    if (size >= 4) {
        const wtype_t *end = kptr + (size & ~3u);
        uint32_t even, odd, s, t;
        __asm__ volatile("sub %[even], %[end], %[k]\n"
                         "tst %[even], #4\n"
                         "bne 2f\n"
                         "1:\n" TM_FOUR_TAPS "2:\n" TM_FOUR_TAPS "cmp %[k], %[end]\n"
                         "bne 1b\n"
                         : [k] "+r"(kptr), [tile] "+r"(tile), [sum0] "+r"(sum0), [sum1] "+r"(sum1), [sum2] "+r"(sum2),
                           [sum3] "+r"(sum3), [even] "=&r"(even), [odd] "=&r"(odd), [s] "=&r"(s), [t] "=&r"(t)
                         : [end] "r"(end)
                         : "cc", "memory");
    }
    if (size & 3) {
        const tm_half_t *half = (const tm_half_t *)tile;
        uint32_t i;
        for (i = 0; i < (size & 3); i++, half += i == 1 ? 2 : -1) {
            const int32_t k = *kptr++;
            sum0 += half[0] * k;
            sum1 += half[4] * k;
            sum2 += half[8] * k;
            sum3 += half[12] * k;
        }
    }
    sums[0] = sum0;
    sums[apart] = sum1;
    sums[2 * apart] = sum2;
    sums[3 * apart] = sum3;
}

TM_INLINE void tm_tile_dot(const tm_tile_t *tile, const wtype_t *kptr0, const wtype_t *kptr1, uint32_t size,
                           sumtype_t *sums, unsigned apart)
{
    for (;; kptr0 = kptr1, sums++) {
        tm_tile_dot1(tile, kptr0, size, sums, apart);
        if (kptr0 == kptr1)
            break;
    }
}

TM_INLINE int32_t tm_smuad(uint32_t a, uint32_t b)
{
    int32_t r;
    __asm__("smuad %0, %1, %2" : "=r"(r) : "r"(a), "r"(b));
    return r;
}

#ifdef __OPTIMIZE__ /* it takes every register: without optimization one is the frame pointer */
#define TM_BYTES "sxtb16 %[even], %[odd]\n sxtb16 %[odd], %[odd], ror #8\n"
#define TM_ROW_3X3
/* A word of a row holds the inputs of an output, and with stride 1 those of the next one too; it may end 3 bytes behind
 * the row. */
TM_INLINE void tm_row_3x3(const mtype_t *sptr, uint32_t width, uint32_t stride, const wtype_t *kptr, uint32_t n,
                          sumtype_t *sums)
{
    const uint32_t k02 = (uint16_t)kptr[0] | (uint32_t)kptr[2] << 16, k35 = (uint16_t)kptr[3] | (uint32_t)kptr[5] << 16;
    const uint32_t k68 = (uint16_t)kptr[6] | (uint32_t)kptr[8] << 16, k14 = (uint16_t)kptr[1] | (uint32_t)kptr[4] << 16;
    const uint32_t k7 = (uint32_t)kptr[7];
    if (stride == 1 && n >= 2) {
        uint32_t pairs = n / 2, even, odd, sum, next;
        n %= 2;
        __asm__ volatile("1: ldr %[odd], [%[s]]\n" TM_BYTES "smuad %[sum], %[even], %[k02]\n"
                         "smuad %[next], %[odd], %[k02]\n"
                         "smlabb %[sum], %[odd], %[k14], %[sum]\n"
                         "smlatb %[next], %[even], %[k14], %[next]\n"
                         "ldr %[odd], [%[s], %[width]]\n" TM_BYTES "smlad %[sum], %[even], %[k35], %[sum]\n"
                         "smlad %[next], %[odd], %[k35], %[next]\n"
                         "smlabt %[sum], %[odd], %[k14], %[sum]\n"
                         "smlatt %[next], %[even], %[k14], %[next]\n"
                         "ldr %[odd], [%[s], %[width], lsl #1]\n" TM_BYTES "smlad %[sum], %[even], %[k68], %[sum]\n"
                         "smlad %[next], %[odd], %[k68], %[next]\n"
                         "smlabb %[sum], %[odd], %[k7], %[sum]\n"
                         "smlatb %[next], %[even], %[k7], %[next]\n"
                         "strd %[sum], %[next], [%[sums]], #8\n"
                         "add %[s], %[s], #2\n"
                         "subs %[pairs], %[pairs], #1\n"
                         "bne 1b\n"
                         : [s] "+r"(sptr), [sums] "+r"(sums), [pairs] "+r"(pairs), [even] "=&r"(even), [odd] "=&r"(odd),
                           [sum] "=&r"(sum), [next] "=&r"(next)
                         : [width] "r"(width), [k02] "r"(k02), [k35] "r"(k35), [k68] "r"(k68), [k14] "r"(k14), [k7] "r"(k7)
                         : "cc", "memory");
    }
    for (; n > 0; n--, sptr += stride) {
        uint32_t s = tm_load4(sptr);
        int32_t sum = tm_smuad(tm_sxtb16(s), k02);
        sum += (int16_t)tm_sxtb16_ror8(s) * (int16_t)k14;
        s = tm_load4(sptr + width);
        sum = tm_smlad(tm_sxtb16(s), k35, sum);
        sum += (int16_t)tm_sxtb16_ror8(s) * (int16_t)(k14 >> 16);
        s = tm_load4(sptr + 2 * width);
        sum = tm_smlad(tm_sxtb16(s), k68, sum);
        *sums++ = sum + (int16_t)tm_sxtb16_ror8(s) * (int16_t)k7;
    }
}
#endif

/* Usually the multiplier is below 1 and the sum below 2^30: then SMMULR, of the doubled sum, is tm_mulhi, and the rounding
 * shift needs no test. Else the plain way. */
TM_INLINE int32_t tm_requant_dsp(int32_t x, int32_t mult, int32_t shift)
{
    const int32_t twice = (int32_t)((uint32_t)x * 2);
    int32_t y;
    if (__builtin_expect(((x ^ twice) | ~shift) < 0, 0)) { /* signs: the doubling overflows, or shift >= 0 */
        const tm_scale_t s = {mult, shift};
        return tm_requant(x, &s);
    }
    __asm__("smmulr %0, %1, %2" : "=r"(y) : "r"(twice), "r"(mult));
    return (y + ((int32_t)1 << ~shift) + (y >> 31)) >> -shift;
}

TM_INLINE int32_t tm_ssat8(int32_t x)
{
    int32_t y;
    __asm__("ssat %0, #8, %1" : "=r"(y) : "r"(x));
    return y;
}

/* n sums of as many channels, or of one: then many is 0. saturate: the limits of the activation are those of int8. */
TM_INLINE void tm_postprocess_dsp(int n, const sumtype_t *sums, const btype_t *bs, tm_range_t act, mtype_t *outp,
                                  uint32_t step, const tm_scale_t *scales, zptype_t out_zp, int many, int saturate)
{
    const sumtype_t *end = sums + n;
    int32_t bias = *bs, mult = scales->mult, shift = scales->shift, y;
    for (; sums < end; outp += step) {
        if (many) {
            bias = *bs++;
            mult = scales->mult;
            shift = scales->shift;
            scales++;
        }
        y = tm_requant_dsp((int32_t)((uint32_t)*sums++ + (uint32_t)bias), mult, shift);
        *outp = (mtype_t)(saturate ? tm_ssat8(y + out_zp) : tm_clamp(y, act) + out_zp);
    }
}

TM_INLINE void tm_postprocess_sum(int n, const sumtype_t *sums, const btype_t *bs, tm_range_t act, mtype_t *outp,
                                  const tm_scale_t *scales, zptype_t out_zp)
{
    if (act.lo + out_zp == -128 && act.hi + out_zp == 127)
        tm_postprocess_dsp(n, sums, bs, act, outp, 1, scales, out_zp, 1, 1);
    else
        tm_postprocess_dsp(n, sums, bs, act, outp, 1, scales, out_zp, 1, 0);
}

#define TM_POSTPROCESS_ROW
TM_INLINE void tm_postprocess_row(int n, const sumtype_t *sums, btype_t bias, tm_range_t act, mtype_t *outp, uint32_t step,
                                  tm_scale_t scale, zptype_t out_zp)
{
    if (act.lo + out_zp == -128 && act.hi + out_zp == 127)
        tm_postprocess_dsp(n, sums, &bias, act, outp, step, &scale, out_zp, 0, 1);
    else
        tm_postprocess_dsp(n, sums, &bias, act, outp, step, &scale, out_zp, 0, 0);
}

#else
#include "arch_cpu.h"
#endif
#endif
