/* arch_rv64v.h: RISC-V's vector extension 1.0, for vectors of any length. int8; fp32; fp16 where the core computes with it
 * (Zvfh): sums are fp32 there. Other types as in arch_cpu.h. */
#ifndef ARCH_RV64V_H
#define ARCH_RV64V_H
#include "tinymaix.h"

#ifndef __riscv_v
#error "arch_rv64v.h: this core, or this compiler's options, have no vector extension 1.0. Use TM_ARCH_CPU."
#endif

#if TM_MDL_TYPE == TM_MDL_INT8 || TM_MDL_TYPE == TM_MDL_FP32 || (TM_MDL_TYPE == TM_MDL_FP16 && defined(__riscv_zvfh))
#include <riscv_vector.h>
#define TM_TILE 1 /* one pixel at a time, for whole vectors */
#define tm_dot_prod tm_cpu_dot_prod
#define tm_dot_prod_pack2 tm_cpu_dot_prod_pack2
#include "arch_cpu.h"
#undef tm_dot_prod
#undef tm_dot_prod_pack2

/* A vector of sums, as many as there are elements in a vector of inputs, and what is added to it. */
#if TM_MDL_TYPE == TM_MDL_INT8
typedef vint8m1_t tm_vector_t;
typedef vint32m4_t tm_vsum_t;
#define TM_VL(n) __riscv_vsetvl_e8m1(n)
#define TM_ZERO() __riscv_vmv_v_x_i32m4(0, __riscv_vsetvlmax_e32m4())
#define TM_LOAD(p, vl) __riscv_vle8_v_i8m1(p, vl)
#define TM_MAC(sum, s, k, vl) __riscv_vwadd_wv_i32m4_tu(sum, sum, __riscv_vwmul_vv_i16m2(s, k, vl), vl)
#define TM_TOTAL(sum)                                                                                             \
    __riscv_vmv_x_s_i32m1_i32(__riscv_vredsum_vs_i32m4_i32m1(sum, __riscv_vmv_v_x_i32m1(0, 1), __riscv_vsetvlmax_e32m4()))
#else
typedef vfloat32m4_t tm_vsum_t;
#define TM_ZERO() __riscv_vfmv_v_f_f32m4(0.0f, __riscv_vsetvlmax_e32m4())
#define TM_TOTAL(sum)                                                                 \
    __riscv_vfmv_f_s_f32m1_f32(__riscv_vfredusum_vs_f32m4_f32m1(                      \
        sum, __riscv_vfmv_v_f_f32m1(0.0f, 1), __riscv_vsetvlmax_e32m4()))
#if TM_MDL_TYPE == TM_MDL_FP32
typedef vfloat32m4_t tm_vector_t;
#define TM_VL(n) __riscv_vsetvl_e32m4(n)
#define TM_LOAD(p, vl) __riscv_vle32_v_f32m4(p, vl)
#define TM_MAC(sum, s, k, vl) __riscv_vfmacc_vv_f32m4_tu(sum, s, k, vl)
#else
typedef vfloat16m2_t tm_vector_t;
#define TM_VL(n) __riscv_vsetvl_e16m2(n)
#define TM_LOAD(p, vl) __riscv_vle16_v_f16m2((const _Float16 *)(p), vl)
#define TM_MAC(sum, s, k, vl) __riscv_vfwmacc_vv_f32m4_tu(sum, s, k, vl)
#endif
#endif

TM_INLINE void tm_dot_prod(const mtype_t *sptr, const wtype_t *kptr, uint32_t size, sumtype_t *result)
{
    tm_vsum_t sum = TM_ZERO();
    size_t vl;
    for (; size > 0; size -= (uint32_t)vl, sptr += vl, kptr += vl) {
        vl = TM_VL(size);
        sum = TM_MAC(sum, TM_LOAD(sptr, vl), TM_LOAD(kptr, vl), vl);
    }
    *result = TM_TOTAL(sum);
}

TM_INLINE void tm_dot_prod_pack2(const mtype_t *sptr, const wtype_t *kptr, uint32_t size, sumtype_t *result)
{
    const wtype_t *kptr1 = kptr + size;
    tm_vsum_t sum0 = TM_ZERO(), sum1 = TM_ZERO();
    size_t vl;
    for (; size > 0; size -= (uint32_t)vl, sptr += vl, kptr += vl, kptr1 += vl) {
        vl = TM_VL(size);
        const tm_vector_t s = TM_LOAD(sptr, vl);
        sum0 = TM_MAC(sum0, s, TM_LOAD(kptr, vl), vl);
        sum1 = TM_MAC(sum1, s, TM_LOAD(kptr1, vl), vl);
    }
    result[0] = TM_TOTAL(sum0);
    result[1] = TM_TOTAL(sum1);
}

#else
#include "arch_cpu.h"
#endif
#endif
