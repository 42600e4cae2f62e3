/* tm_port.h: everything that depends on your chip and compiler. Edit it, or set the same names with -D.
 * The names and meanings are TinyMaix's; README.md has them as a table. */
#ifndef TM_PORT_H
#define TM_PORT_H

#define TM_ARCH_CPU      0 /* plain C, any core */
#define TM_ARCH_ARM_SIMD 1 /* Cortex-M4, M7, M33 with DSP */
#define TM_ARCH_ARM_NEON 2 /* Cortex-A */
#define TM_ARCH_ARM_MVEI 3 /* Cortex-M55, M85 with Helium */
#define TM_ARCH_RV32P    4 /* T-Head E907 */
#define TM_ARCH_RV64V    5 /* RISC-V vector */
#define TM_ARCH_CSKYV2   6 /* C-SKY V2 */
#define TM_ARCH_X86_SSE2 7 /* x86 */
#define TM_ARCH_AVR      8 /* ATmega */
#define TM_ARCH_XTENSA   9 /* ESP8266, ESP32 */
#define TM_ARCH_ARM_M0   10 /* Cortex-M0, M0+, M1 */

#define TM_OPT0 0 /* smallest code */
#define TM_OPT1 1 /* fast: several channels and pixels at a time */
#define TM_OPT2 2 /* reserved, as TM_OPT1 */

#ifndef TM_ARCH
#define TM_ARCH TM_ARCH_CPU
#endif
/* The header with the porting functions; for a core of your own: -DTM_ARCH_HEADER='"arch_mine.h"' */
#ifndef TM_ARCH_HEADER
#if TM_ARCH == TM_ARCH_CPU
#define TM_ARCH_HEADER "arch_cpu.h"
#elif TM_ARCH == TM_ARCH_ARM_SIMD
#define TM_ARCH_HEADER "arch_arm_simd.h"
#elif TM_ARCH == TM_ARCH_ARM_NEON
#define TM_ARCH_HEADER "arch_arm_neon.h"
#elif TM_ARCH == TM_ARCH_ARM_MVEI
#define TM_ARCH_HEADER "arch_arm_mvei.h"
#elif TM_ARCH == TM_ARCH_RV32P
#define TM_ARCH_HEADER "arch_rv32p.h"
#elif TM_ARCH == TM_ARCH_RV64V
#define TM_ARCH_HEADER "arch_rv64v.h"
#elif TM_ARCH == TM_ARCH_CSKYV2
#define TM_ARCH_HEADER "arch_cskyv2.h"
#elif TM_ARCH == TM_ARCH_X86_SSE2
#define TM_ARCH_HEADER "arch_x86_sse2.h"
#elif TM_ARCH == TM_ARCH_AVR
#define TM_ARCH_HEADER "arch_avr.h"
#elif TM_ARCH == TM_ARCH_XTENSA
#define TM_ARCH_HEADER "arch_xtensa.h"
#elif TM_ARCH == TM_ARCH_ARM_M0
#define TM_ARCH_HEADER "arch_arm_m0.h"
#else
#error "TM_ARCH: this library knows no such architecture."
#endif
#endif
/* A compiler told to make small code (-Os, -Oz) gets the small one, any other the fast one. */
#ifndef TM_OPT_LEVEL
#ifdef __OPTIMIZE_SIZE__
#define TM_OPT_LEVEL TM_OPT0
#else
#define TM_OPT_LEVEL TM_OPT1
#endif
#endif
#ifndef TM_MDL_TYPE
#define TM_MDL_TYPE TM_MDL_INT8
#endif
/* Accepted for compatibility: requantization is exact integer arithmetic and no libm is used, whatever they say. */
#ifndef TM_FASTSCALE
#define TM_FASTSCALE 0
#endif
#ifndef TM_LOCAL_MATH
#define TM_LOCAL_MATH 1
#endif
/* 1: the layer types from 16 on too, which TinyMaix does not have: compile tm_more.c with the rest. */
#ifndef TM_MORE_LAYERS
#define TM_MORE_LAYERS 0
#endif
/* 1: one layer of the file at a time is copied to RAM, behind the main buffer, by TM_READ, which may be your flash's driver
 * (memcpy_P on AVR): it then needs LBUF_LEN bytes more. Files of the other byte order run too. */
#ifndef TM_SINGLE_LAYER
#define TM_SINGLE_LAYER 0
#endif
#ifndef TM_READ
#define TM_READ(dst, src, n) memcpy(dst, src, n)
#endif
/* 1: tm_stat and tm_strerror in tm_stat.c, which need printf and string constants. */
#ifndef TM_ENABLE_STAT
#define TM_ENABLE_STAT 0
#endif

/* Scratch of TM_OPT1 (TM_OPT0 has none). In TinyMaix they bound the model; here more is faster, least so on AVR. */
#ifndef TM_MAX_CSIZE /* output channels worked on at a time: 12 to 24 bytes each */
#ifdef __AVR__
#define TM_MAX_CSIZE 8
#else
#define TM_MAX_CSIZE 32
#endif
#endif
#ifndef TM_MAX_KCSIZE /* inputs gathered at a time: 4 to 9 bytes each */
#ifdef __AVR__
#define TM_MAX_KCSIZE 32
#else
#define TM_MAX_KCSIZE 256
#endif
#endif
#ifndef TM_MAX_KSIZE
#define TM_MAX_KSIZE TM_MAX_KCSIZE /* accepted for compatibility, costs nothing */
#endif
/* Where that lies: `static`, with a section attribute if you like, or empty: on the stack, for models in several threads. */
#ifndef TM_STATIC
#define TM_STATIC static
#endif

#ifndef TM_INLINE
#define TM_INLINE __attribute__((always_inline)) static inline
#endif
/* The library's functions are weak, so that a chip's own version replaces one by its mere presence. */
#ifndef TM_WEAK
#define TM_WEAK __attribute__((weak))
#endif

/* A C library with its headers? Bare-metal compilers may have neither. */
#define TM_HOSTED __STDC_HOSTED__
#ifdef __has_include
#if !__has_include(<stdio.h>)
#undef TM_HOSTED
#define TM_HOSTED 0
#endif
#endif

/* Called only by a tm_load without a buffer. A build without a C library has no heap unless you name one. */
#ifndef tm_malloc
#if TM_HOSTED
#include <stdlib.h>
#define tm_malloc(x) malloc(x)
#define tm_free(x) free(x)
#else
#define tm_malloc(x) ((void)(x), (void *)0)
#define tm_free(x) ((void)(x))
#endif
#endif

#ifndef TM_PRINTF
#if TM_HOSTED
#include <stdio.h>
#define TM_PRINTF(...) printf(__VA_ARGS__)
#else
#define TM_PRINTF(...) ((void)0)
#endif
#endif
#ifndef TM_DBG
#define TM_DBG(...) ((void)0) /* TM_PRINTF(__VA_ARGS__) to see them */
#endif
#ifndef TM_DBGL
#define TM_DBGL() TM_PRINTF("###L%d\n", __LINE__)
#endif

/* Time in microseconds, for the TM_DBGT macros that applications use. */
#ifndef TM_GET_US
#if TM_HOSTED && !defined(__AVR__)
#include <time.h>
#define TM_GET_US() ((uint32_t)((uint64_t)clock() * 1000000u / CLOCKS_PER_SEC))
#else
#define TM_GET_US() ((uint32_t)0)
#endif
#endif
#ifndef TM_DBGT_INIT
#define TM_DBGT_INIT() uint32_t tm_dbgt_ = TM_GET_US();
#define TM_DBGT_START() tm_dbgt_ = TM_GET_US();
#define TM_DBGT(x)                                                                    \
    {                                                                                 \
        uint32_t tm_us_ = TM_GET_US() - tm_dbgt_;                                     \
        TM_PRINTF("===%s use %lu us\n", (x), (unsigned long)tm_us_);                  \
        (void)tm_us_;                                                                 \
        tm_dbgt_ = TM_GET_US();                                                       \
    }
#endif

/* 1: the library counts ticks by kind of layer and by part of a convolution, in variables that tm_perf.h names; your code
 * may count with the same macros. A tick is a microsecond unless you say how to read your core's counter: on RISC-V
 * TM_GET_TICK(x) is __asm__ volatile("csrr %0, mcycle" : "=r"(x)), on Cortex-M3 and larger x = DWT->CYCCNT. */
#ifndef TM_EN_PERF
#define TM_EN_PERF 0
#endif
#if TM_EN_PERF
#ifndef TM_GET_TICK /* into x, a uint32_t; it may wrap */
#define TM_GET_TICK(x) (x) = TM_GET_US()
#endif
#ifndef TM_TICK_PERUS
#define TM_TICK_PERUS 1 /* ticks in a microsecond: the core's MHz */
#endif
#define TM_PERF_REG(x)    uint64_t x = 0; /* a counter, */
#define TM_PERF_EXTREG(x) extern uint64_t x; /* one of another source, */
#define TM_PERF_INIT(x)   uint32_t tm_##x##_0; /* and its clock, in a function */
#define TM_PERF_START(x)  TM_GET_TICK(tm_##x##_0)
#define TM_PERF_ADD(x) /* what has passed since the last START or ADD */ \
    {                                                                    \
        uint32_t tm_now_;                                                \
        TM_GET_TICK(tm_now_);                                            \
        x += (uint32_t)(tm_now_ - tm_##x##_0);                           \
        tm_##x##_0 = tm_now_;                                            \
    }
#define TM_PERF_PRINT(x) TM_PRINTF("PERF " #x ": %lu us\n", (unsigned long)(x / (TM_TICK_PERUS)))
#else
#define TM_GET_TICK(x)
#define TM_PERF_REG(x)
#define TM_PERF_EXTREG(x)
#define TM_PERF_INIT(x)
#define TM_PERF_START(x)
#define TM_PERF_ADD(x)
#define TM_PERF_PRINT(x)
#endif

#endif
