/* arch_template.h: the beginning of a port to a new core. Copy it to arch_mine.h, compile the library with
 * -DTM_ARCH_HEADER='"arch_mine.h"', and replace one function after the other by your core's instructions: docs/porting.md
 * walks through it, and tests/device/test_arch_port.py proves the result. As it stands it works on every core. */
#ifndef ARCH_TEMPLATE_H
#define ARCH_TEMPLATE_H
#include "tinymaix.h"
#if TM_MDL_TYPE == TM_MDL_INT8 /* the types that you speed up; all others stay as in arch_cpu.h */

/* 1. What you replace gets out of the way: arch_cpu.h's function of that name is compiled under another one. */
#define tm_dot_prod tm_cpu_dot_prod
#define tm_dot_prod_pack2 tm_cpu_dot_prod_pack2
#include "arch_cpu.h"
#undef tm_dot_prod
#undef tm_dot_prod_pack2

/* 2. For TM_OPT1, how many output pixels share the weights that were read. 1: the dot products below do all the work; choose
 *    it for a core with vectors. 2 and 4: two pixels share one 32-bit multiplication (see tm_tile_O1.h); choose one of them,
 *    by leaving this line out, for a core without vectors. */
#define TM_TILE 1

/* 3. The sum of size products. No pointer is aligned, size may be anything from 1 on, and nothing may be read beyond it. All
 *    values from -128 to 127 occur on both sides; the sum always fits. */
TM_INLINE void tm_dot_prod(const mtype_t *sptr, const wtype_t *kptr, uint32_t size, sumtype_t *result)
{
    const wtype_t *end = kptr + size;
    sumtype_t sum = 0;
    while (kptr < end) /* your instructions for 4, 8 or 16 at a time, and this loop for the rest */
        sum += TM_MUL(*sptr++, *kptr++);
    *result = sum;
}

/* 4. The same for two kernels, which lie one behind the other: load the inputs once. */
TM_INLINE void tm_dot_prod_pack2(const mtype_t *sptr, const wtype_t *kptr, uint32_t size, sumtype_t *result)
{
    tm_dot_prod(sptr, kptr, size, result);
    tm_dot_prod(sptr, kptr + size, size, result + 1);
}

/* 5. Usually enough is done now. Measure (bench/device_arch.py); where the time goes to these, replace them likewise:
 *    tm_dot_prod_3x3x1, tm_dot_prod_gap_3x3x1    9 taps, gathered or in rows
 *    tm_postprocess_sum                          from sums to int8, exactly as arch_cpu.h does it
 *    tm_mulhi, tm_rshift                         its two steps, where 64 bits are slow
 *    tm_row_3x3, with #define TM_ROW_3X3         a row of a depthwise 3x3 layer
 *    tm_postprocess_row, TM_POSTPROCESS_ROW      tm_postprocess_sum for the outputs of one channel
 *    tm_tile_dot, TM_TILE_DOT                    the inner loop of a tile of 2 or 4 pixels */

#else
#include "arch_cpu.h"
#endif
#endif
