/* arch_arm_neon.h: NEON of Cortex-A, 32 and 64 bits: VMULL makes 8 products of 16 bits, VPADAL adds them in pairs to sums of
 * 32. int8; other types as in arch_cpu.h. */
#ifndef ARCH_ARM_NEON_H
#define ARCH_ARM_NEON_H
#include "tinymaix.h"
#if TM_MDL_TYPE == TM_MDL_INT8

#ifndef __ARM_NEON
#error "arch_arm_neon.h: this core, or this compiler's options, have no NEON. Use TM_ARCH_CPU."
#endif
#include <arm_neon.h>

#define TM_TILE 1 /* one pixel at a time, for whole vectors */
#define tm_dot_prod tm_cpu_dot_prod
#define tm_dot_prod_pack2 tm_cpu_dot_prod_pack2
#include "arch_cpu.h"
#undef tm_dot_prod
#undef tm_dot_prod_pack2

TM_INLINE int32x4_t tm_mac16(int32x4_t sum, int8x16_t s, int8x16_t k)
{
    sum = vpadalq_s16(sum, vmull_s8(vget_low_s8(s), vget_low_s8(k)));
    return vpadalq_s16(sum, vmull_s8(vget_high_s8(s), vget_high_s8(k)));
}

TM_INLINE int32_t tm_total(int32x4_t sum)
{
    const int32x2_t half = vadd_s32(vget_low_s32(sum), vget_high_s32(sum));
    return vget_lane_s32(vpadd_s32(half, half), 0);
}

TM_INLINE void tm_dot_prod(const mtype_t *sptr, const wtype_t *kptr, uint32_t size, sumtype_t *result)
{
    const wtype_t *end = kptr + size;
    int32x4_t sum = vdupq_n_s32(0);
    int32_t total;
    for (; end - kptr >= 16; sptr += 16, kptr += 16)
        sum = tm_mac16(sum, vld1q_s8(sptr), vld1q_s8(kptr));
    for (; end - kptr >= 8; sptr += 8, kptr += 8)
        sum = vpadalq_s16(sum, vmull_s8(vld1_s8(sptr), vld1_s8(kptr)));
    total = tm_total(sum);
    while (kptr < end)
        total += *sptr++ * *kptr++;
    *result = total;
}

TM_INLINE void tm_dot_prod_pack2(const mtype_t *sptr, const wtype_t *kptr, uint32_t size, sumtype_t *result)
{
    const wtype_t *end = kptr + size, *kptr1 = end;
    int32x4_t sum0 = vdupq_n_s32(0), sum1 = vdupq_n_s32(0);
    int32_t total0, total1;
    for (; end - kptr >= 16; sptr += 16, kptr += 16, kptr1 += 16) {
        const int8x16_t s = vld1q_s8(sptr);
        sum0 = tm_mac16(sum0, s, vld1q_s8(kptr));
        sum1 = tm_mac16(sum1, s, vld1q_s8(kptr1));
    }
    for (; end - kptr >= 8; sptr += 8, kptr += 8, kptr1 += 8) {
        const int8x8_t s = vld1_s8(sptr);
        sum0 = vpadalq_s16(sum0, vmull_s8(s, vld1_s8(kptr)));
        sum1 = vpadalq_s16(sum1, vmull_s8(s, vld1_s8(kptr1)));
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
