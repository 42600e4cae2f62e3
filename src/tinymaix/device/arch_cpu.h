/* arch_cpu.h: the porting functions in plain C. A new core is one header like this one, with the same functions.
 * int8 and int16: every function gives the same bits on every core. */
#ifndef ARCH_CPU_H
#define ARCH_CPU_H
#include "tinymaix.h"

#define TM_MAC4(s, k) (TM_MUL((s)[0], (k)[0]) + TM_MUL((s)[1], (k)[1]) + TM_MUL((s)[2], (k)[2]) + TM_MUL((s)[3], (k)[3]))

/* *result = sum of sptr[i] * kptr[i] */
TM_INLINE void tm_dot_prod(const mtype_t *sptr, const wtype_t *kptr, uint32_t size, sumtype_t *result) {
    const wtype_t *end = kptr + size;
    sumtype_t sum = 0;
    for (; TM_OPT_LEVEL >= TM_OPT1 && end - kptr >= 4; kptr += 4, sptr += 4)
        sum += TM_MAC4(sptr, kptr);
    while (kptr < end)
        sum += TM_MUL(*sptr++, *kptr++);
    *result = sum;
}

/* Two output channels at once: their kernels lie one behind the other, size weights each. */
TM_INLINE void tm_dot_prod_pack2(const mtype_t *sptr, const wtype_t *kptr, uint32_t size, sumtype_t *result) {
    const wtype_t *kptr1 = kptr + size, *end = kptr1;
    sumtype_t sum0 = 0, sum1 = 0;
    for (; TM_OPT_LEVEL >= TM_OPT1 && end - kptr >= 4; kptr += 4, kptr1 += 4, sptr += 4) {
        sum0 += TM_MAC4(sptr, kptr);
        sum1 += TM_MAC4(sptr, kptr1);
    }
    for (; kptr < end; sptr++) {
        sum0 += TM_MUL(*sptr, *kptr++);
        sum1 += TM_MUL(*sptr, *kptr1++);
    }
    result[0] = sum0;
    result[1] = sum1;
}

/* 3x3 kernel of one channel; the input is gathered. */
TM_INLINE void tm_dot_prod_3x3x1(const mtype_t *sptr, const wtype_t *kptr, sumtype_t *result) {
    tm_dot_prod(sptr, kptr, 9, result);
}

/* 3x3 kernel of one channel; input i lies at sptr[k_oft[i]]. */
TM_INLINE void tm_dot_prod_gap_3x3x1(const mtype_t *sptr, const wtype_t *kptr, const uint32_t *k_oft, sumtype_t *result) {
    sumtype_t sum = TM_MUL(sptr[k_oft[0]], kptr[0]);
    int i;
    for (i = 1; i < 9; i++)
        sum += TM_MUL(sptr[k_oft[i]], kptr[i]);
    *result = sum;
}

#if TM_INTEGER
#include "tm_fixed.h"
#endif

#if TM_MDL_TYPE == TM_MDL_INT8
/* outp[i] = sums[i] + bs[i], rescaled and clamped, for n output channels. (TinyMaix passes the activation's number and
 * out_s apart; here the limits come ready in act, and scales already holds in_s * w_s / out_s.) */
TM_INLINE void tm_postprocess_sum(int n, const sumtype_t *sums, const btype_t *bs, tm_range_t act, mtype_t *outp,
                                  const tm_scale_t *scales, zptype_t out_zp) {
    for (; n > 0; n--) {
        const int32_t x = tm_requant((int32_t)((uint32_t)*sums++ + (uint32_t)*bs++), scales++);
        *outp++ = (mtype_t)(tm_clamp(x, act) + out_zp);
    }
}
#else
#include "arch_cpu_types.h" /* the same for the other types */
#endif
#endif
