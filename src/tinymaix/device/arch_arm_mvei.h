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
#include "arch_cpu.h"
#undef tm_dot_prod
#undef tm_dot_prod_pack2

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

#else
#include "arch_cpu.h"
#endif
#endif
