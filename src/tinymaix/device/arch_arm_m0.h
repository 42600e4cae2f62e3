/* arch_arm_m0.h: Cortex-M0, M0+ and M1. They have no SIMD, and compilers spill half of their eight low registers; so the
 * inner loop of TM_OPT1 is in assembly. int8; other types and TM_OPT0 as in arch_cpu.h. */
#ifndef ARCH_ARM_M0_H
#define ARCH_ARM_M0_H
#include "arch_cpu.h"
/* gcc -Os cannot place the registers of this. */
#if TM_MDL_TYPE == TM_MDL_INT8 && TM_OPT_LEVEL >= TM_OPT1 && !defined(__OPTIMIZE_SIZE__)

#define TM_TILE_DOT /* for the tile of two pixels in a word, which tm_tile_O1.h has */
/* Two taps: r0 is the tile, r1 and r2 are the ends of the kernels and r7 the index, r4 and r5 the words of two pixels each, r6
 * and r3 the sums of two products for the two kernels. See tm_tile_O1.h for what the halves are. */
#define TM_TWO_TAPS               \
    "ldmia r0!, {r4, r5}\n"       \
    "ldrsb r6, [r1, r7]\n"        \
    "muls r6, r4, r6\n"           \
    "ldrsb r3, [r2, r7]\n"        \
    "muls r3, r4, r3\n"           \
    "adds r7, r7, #1\n"           \
    "ldrsb r4, [r1, r7]\n"        \
    "muls r4, r5, r4\n"           \
    "adds r6, r6, r4\n"           \
    "ldrsb r4, [r2, r7]\n"        \
    "muls r4, r5, r4\n"           \
    "adds r3, r3, r4\n"           \
    "add r6, %[halves]\n"         \
    "add %[all0], r6\n"           \
    "lsrs r6, r6, #16\n"          \
    "add %[high0], r6\n"          \
    "add r3, %[halves]\n"         \
    "add %[all1], r3\n"           \
    "lsrs r3, r3, #16\n"          \
    "add %[high1], r3\n"          \
    "adds r7, r7, #1\n"

TM_INLINE void tm_tile_dot(const uint32_t *tile, const wtype_t *kptr0, const wtype_t *kptr1, uint32_t size,
                           sumtype_t *sums, unsigned apart)
{
    const uint32_t halves = 0x7F007F00u, even = size & ~1u, bias = (size + 1) / 2 * (halves >> 16);
    uint32_t all0 = 0, all1 = 0, high0 = 0, high1 = 0, t;
    kptr0 += even;
    kptr1 += even;
    if (even) {
        register const uint32_t *r0 __asm__("r0") = tile;
        register const wtype_t *r1 __asm__("r1") = kptr0, *r2 __asm__("r2") = kptr1;
        register uint32_t r3 __asm__("r3") = 0u - even; /* the index, which counts up to 0 */
        register uint32_t r6 __asm__("r6") = halves;
        uint32_t high;
        __asm__ volatile(".syntax unified\n"
                         "mov lr, r7\n" /* perhaps the frame pointer: then it may not be named as changed */
                         "mov r7, r3\n"
                         "mov %[halves], r6\n"
                         "movs r4, #0\n"
                         "mov %[all0], r4\n"
                         "mov %[all1], r4\n"
                         "mov %[high0], r4\n"
                         "mov %[high1], r4\n"
                         "lsls r3, r7, #30\n" /* an odd number of pairs: the first round does one */
                         "bne 2f\n"
                         "1:\n" TM_TWO_TAPS "2:\n" TM_TWO_TAPS "bne 1b\n"
                         "mov r7, lr\n"
                         : "+l"(r0), "+l"(r1), "+l"(r2), "+l"(r3), "+l"(r6), [all0] "=&h"(all0), [all1] "=&h"(all1),
                           [high0] "=&h"(high0), [high1] "=&h"(high1), [halves] "=&h"(high)
                         :
                         : "r4", "r5", "lr", "cc", "memory");
        tile = r0;
    }
    if (size & 1) {
        t = halves + *tile * (uint32_t)*kptr0;
        all0 += t;
        high0 += t >> 16;
        t = halves + *tile * (uint32_t)*kptr1;
        all1 += t;
        high1 += t >> 16;
    }
    sums[0] += (int32_t)(all0 - (high0 << 16) - bias);
    sums[1] += (int32_t)(all1 - (high1 << 16) - bias);
    sums[apart] += (int32_t)(high0 - bias);
    sums[apart + 1] += (int32_t)(high1 - bias);
}

#endif
#endif
