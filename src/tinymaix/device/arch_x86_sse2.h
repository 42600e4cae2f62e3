/* arch_x86_sse2.h: x86 with SSE2, as every x86-64 is: 16 products at a time. int8; other types as in arch_cpu.h. */
#ifndef ARCH_X86_SSE2_H
#define ARCH_X86_SSE2_H
#include "tinymaix.h"
#if TM_MDL_TYPE == TM_MDL_INT8
#include <emmintrin.h>

#define TM_TILE 1 /* one pixel at a time, for whole vectors */
#define tm_dot_prod tm_cpu_dot_prod
#define tm_dot_prod_pack2 tm_cpu_dot_prod_pack2
#include "arch_cpu.h"
#undef tm_dot_prod
#undef tm_dot_prod_pack2

/* sum += the 16 products in sums of four; PMADDWD on bytes that PUNPCK and PSRAW have widened. */
TM_INLINE __m128i tm_madd16(__m128i sum, __m128i s, __m128i k)
{
    const __m128i s0 = _mm_srai_epi16(_mm_unpacklo_epi8(s, s), 8), s1 = _mm_srai_epi16(_mm_unpackhi_epi8(s, s), 8);
    const __m128i k0 = _mm_srai_epi16(_mm_unpacklo_epi8(k, k), 8), k1 = _mm_srai_epi16(_mm_unpackhi_epi8(k, k), 8);
    return _mm_add_epi32(sum, _mm_add_epi32(_mm_madd_epi16(s0, k0), _mm_madd_epi16(s1, k1)));
}

TM_INLINE int32_t tm_total(__m128i sum)
{
    sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, _MM_SHUFFLE(1, 0, 3, 2)));
    sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, _MM_SHUFFLE(2, 3, 0, 1)));
    return _mm_cvtsi128_si32(sum);
}

TM_INLINE void tm_dot_prod(const mtype_t *sptr, const wtype_t *kptr, uint32_t size, sumtype_t *result)
{
    const wtype_t *end = kptr + size;
    __m128i sum = _mm_setzero_si128();
    int32_t total;
    for (; end - kptr >= 16; sptr += 16, kptr += 16)
        sum = tm_madd16(sum, _mm_loadu_si128((const __m128i *)sptr), _mm_loadu_si128((const __m128i *)kptr));
    total = tm_total(sum);
    while (kptr < end)
        total += *sptr++ * *kptr++;
    *result = total;
}

TM_INLINE void tm_dot_prod_pack2(const mtype_t *sptr, const wtype_t *kptr, uint32_t size, sumtype_t *result)
{
    const wtype_t *end = kptr + size, *kptr1 = end;
    __m128i sum0 = _mm_setzero_si128(), sum1 = _mm_setzero_si128();
    int32_t total0, total1;
    for (; end - kptr >= 16; sptr += 16, kptr += 16, kptr1 += 16) {
        const __m128i s = _mm_loadu_si128((const __m128i *)sptr);
        sum0 = tm_madd16(sum0, s, _mm_loadu_si128((const __m128i *)kptr));
        sum1 = tm_madd16(sum1, s, _mm_loadu_si128((const __m128i *)kptr1));
    }
    total0 = tm_total(sum0);
    total1 = tm_total(sum1);
    while (kptr < end) {
        const int32_t s = *sptr++;
        total0 += s * *kptr++;
        total1 += s * *kptr1++;
    }
    result[0] = total0;
    result[1] = total1;
}

#else
#include "arch_cpu.h"
#endif
#endif
