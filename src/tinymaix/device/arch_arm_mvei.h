/* arch_arm_mvei.h: Helium (MVE) of Cortex-M55 and M85: VMLADAVA adds 16 products to a sum in a register, and predication does
 * the rest of less than 16. int8; other types as in arch_cpu.h. */
#ifndef ARCH_ARM_MVEI_H
#define ARCH_ARM_MVEI_H
#include "tinymaix.h"
#if TM_MDL_TYPE == TM_MDL_INT8

#if !defined(__ARM_FEATURE_MVE)
#error "arch_arm_mvei.h: this core, or this compiler's options, have no Helium. Use TM_ARCH_ARM_SIMD."
#endif
#include <arm_mve.h>

#define TM_TILE 1 /* one pixel at a time, for whole vectors */
#define tm_dot_prod tm_cpu_dot_prod
#define tm_dot_prod_pack2 tm_cpu_dot_prod_pack2
#define tm_postprocess_sum tm_cpu_postprocess_sum
#include "arch_cpu.h"
#undef tm_dot_prod
#undef tm_dot_prod_pack2
#undef tm_postprocess_sum

TM_INLINE void tm_dot_prod(const mtype_t *sptr, const wtype_t *kptr, uint32_t size, sumtype_t *result)
{
    int32_t sum = 0, left;
    for (left = (int32_t)size; left > 0; left -= 16, sptr += 16, kptr += 16) {
        const mve_pred16_t p = vctp8q((uint32_t)left);
        sum = vmladavaq_p_s8(sum, vldrbq_z_s8(sptr, p), vldrbq_z_s8(kptr, p), p);
    }
    *result = sum;
}

TM_INLINE void tm_dot_prod_pack2(const mtype_t *sptr, const wtype_t *kptr, uint32_t size, sumtype_t *result)
{
    const wtype_t *kptr1 = kptr + size;
    int32_t sum0 = 0, sum1 = 0, left;
    for (left = (int32_t)size; left > 0; left -= 16, sptr += 16, kptr += 16, kptr1 += 16) {
        const mve_pred16_t p = vctp8q((uint32_t)left);
        const int8x16_t s = vldrbq_z_s8(sptr, p);
        sum0 = vmladavaq_p_s8(sum0, s, vldrbq_z_s8(kptr, p), p);
        sum1 = vmladavaq_p_s8(sum1, s, vldrbq_z_s8(kptr1, p), p);
    }
    result[0] = sum0;
    result[1] = sum1;
}

/* Four sums as outputs. VQRDMULH is tm_mulhi; VRSHL, which rounds halves upwards, is tm_rshift after 1 is taken from what is
 * negative and will be shifted to the right. */
TM_INLINE int32x4_t tm_requant4(int32x4_t x, int32x4_t mult, int32x4_t shift, tm_range_t act, zptype_t out_zp)
{
    const int32x4_t zero = vdupq_n_s32(0), right = vminq_s32(shift, zero);
    x = vqrdmulhq_s32(vshlq_s32(x, vmaxq_s32(shift, zero)), mult);
    x = vrshlq_s32(vqaddq_s32(x, vshrq_n_s32(vandq_s32(x, right), 31)), right);
    x = vminq_s32(vmaxq_s32(x, vdupq_n_s32(act.lo)), vdupq_n_s32(act.hi));
    return vaddq_n_s32(x, (int32_t)out_zp);
}

TM_INLINE void tm_postprocess_sum(int n, const sumtype_t *sums, const btype_t *bs, tm_range_t act, mtype_t *outp,
                                  const tm_scale_t *scales, zptype_t out_zp)
{
    for (; n > 0; n -= 4, sums += 4, bs += 4, scales += 4, outp += 4) {
        const mve_pred16_t p = vctp32q((uint32_t)n);
        const uint32x4_t pair = vmulq_n_u32(vidupq_n_u32(0, 1), sizeof(tm_scale_t));
        const int32x4_t mult = vldrwq_gather_offset_z_s32(&scales->mult, pair, p);
        const int32x4_t shift = vldrwq_gather_offset_z_s32(&scales->shift, pair, p);
        const int32x4_t x = vaddq_s32(vldrwq_z_s32(sums, p), vldrwq_z_s32((const int32_t *)bs, p));
        vstrbq_p_s32(outp, tm_requant4(x, mult, shift, act, out_zp), p);
    }
}

#define TM_POSTPROCESS_ROW
TM_INLINE void tm_postprocess_row(int n, const sumtype_t *sums, btype_t bias, tm_range_t act, mtype_t *outp, uint32_t step,
                                  tm_scale_t scale, zptype_t out_zp)
{
    const int32x4_t mult = vdupq_n_s32(scale.mult), shift = vdupq_n_s32(scale.shift);
    const uint32x4_t at = vmulq_n_u32(vidupq_n_u32(0, 1), step);
    for (; n > 0; n -= 4, sums += 4, outp += 4 * step) {
        const mve_pred16_t p = vctp32q((uint32_t)n);
        const int32x4_t x = vaddq_n_s32(vldrwq_z_s32(sums, p), bias);
        vstrbq_scatter_offset_p_s32(outp, at, tm_requant4(x, mult, shift, act, out_zp), p);
    }
}

#define TM_ROW_3X3
TM_INLINE void tm_row_3x3(const mtype_t *sptr, uint32_t width, uint32_t stride, const wtype_t *kptr, uint32_t n,
                          sumtype_t *sums)
{
    const uint32x4_t at = vmulq_n_u32(vidupq_n_u32(0, 1), stride);
    int32_t left;
    for (left = (int32_t)n; left > 0; left -= 4, sptr += 4 * stride, sums += 4) {
        const mve_pred16_t p = vctp32q((uint32_t)left);
        int32x4_t sum = vdupq_n_s32(0);
        uint32_t y, x;
        for (y = 0; y < 3; y++)
            for (x = 0; x < 3; x++)
                sum = vmlaq_n_s32(sum, vldrbq_gather_offset_z_s32(sptr + y * width + x, at, p), kptr[3 * y + x]);
        vstrwq_p_s32(sums, sum, p);
    }
}

#else
#include "arch_cpu.h"
#endif
#endif
