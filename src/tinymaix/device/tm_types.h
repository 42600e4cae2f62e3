/* tm_types.h: the numbers that a model is made of, by TM_MDL_TYPE: activations (mtype_t), weights (wtype_t), biases (btype_t),
 * sums (sumtype_t), zero points (zptype_t). fp16 and fp8 are stored so and computed with as float. */
#ifndef TM_TYPES_H
#define TM_TYPES_H

#define TM_INTEGER (TM_MDL_TYPE == TM_MDL_INT8 || TM_MDL_TYPE == TM_MDL_INT16)
#define UINT2INT_SHIFT (TM_MDL_TYPE == TM_MDL_INT16 ? 8 : 0)

typedef struct { /* its padding is the alignment of a 32-bit word on this machine */
    char c;
    uint32_t v;
} tm_word_t;
#define TM_WORD_ALIGN (sizeof(tm_word_t) - sizeof(uint32_t))

typedef float TM_ALIAS sctype_t;   /* scales */
typedef uint32_t TM_ALIAS tm_u32_t; /* words of the file */

typedef union {
    float f;
    uint32_t u;
} tm_bits_t;

TM_INLINE uint32_t tm_bits(const void *x) { /* of a float */
    return *(const tm_u32_t *)x;
}

TM_INLINE float tm_float(uint32_t bits) {
    tm_bits_t x;
    x.u = bits;
    return x.f;
}

#if TM_MDL_TYPE == TM_MDL_INT8
typedef int8_t mtype_t, wtype_t;
typedef int32_t TM_ALIAS btype_t;
typedef int32_t sumtype_t, zptype_t;
#define TM_LIMIT 128 /* beyond the largest value */
#define TM_PROBABILITY {0x3B800000u /* 1/256 */, (uint32_t)-128} /* scale and zero point of softmax */
#define TM_SOFTMAX_LIMIT 0x42000000u                            /* input scales below 32: differences have 5 bits */
#define TM_MUL(a, b) ((sumtype_t)((a) * (b)))
#define TM_SUM(sum, bias) ((sumtype_t)((uint32_t)(sum) + (uint32_t)(bias)))

#elif TM_MDL_TYPE == TM_MDL_INT16
typedef int16_t TM_ALIAS mtype_t;
typedef int8_t wtype_t;
typedef int32_t TM_ALIAS btype_t;
typedef int64_t sumtype_t;
typedef int32_t zptype_t;
#define TM_LIMIT 32768
#define TM_PROBABILITY {0x38000000u /* 1/32768 */, 0}
#define TM_SOFTMAX_LIMIT 0x40800000u /* 4 */
#define TM_MUL(a, b) ((sumtype_t)((int32_t)(a) * (b)))
#define TM_SUM(sum, bias) ((sum) + (bias))

#else
typedef float sumtype_t, zptype_t;
#define TM_PROBABILITY {0, 0}
#define TM_SOFTMAX_LIMIT 0u
#define TM_SUM(sum, bias) ((sum) + TM_F(bias))
#define TM_MUL(a, b) (TM_F(a) * TM_F(b)) /* TM_F: a stored number's value; TM_STORE: the other way */
#if TM_MDL_TYPE == TM_MDL_FP32
typedef float TM_ALIAS mtype_t;
#define TM_F(x) (x)
#define TM_STORE(x) (x)

#elif TM_MDL_TYPE == TM_MDL_FP16
/* 1: the core converts half precision by itself. With 0 this code does, to the same bits. */
#ifndef TM_NATIVE_FP16
#if defined(__ARM_FP16_FORMAT_IEEE) && defined(__ARM_FP) && (__ARM_FP & 2)
#define TM_NATIVE_FP16 1
#elif defined(__FLT16_MANT_DIG__) && (defined(__F16C__) || defined(__riscv_zfhmin) || defined(__aarch64__))
#define TM_NATIVE_FP16 1
#else
#define TM_NATIVE_FP16 0
#endif
#endif
#if TM_NATIVE_FP16
#ifdef __ARM_FP16_FORMAT_IEEE
typedef __fp16 TM_ALIAS mtype_t;
#else
typedef _Float16 TM_ALIAS mtype_t;
#endif
#define TM_F(x) ((float)(x))
#define TM_STORE(x) ((mtype_t)(x))
#else
typedef uint16_t TM_ALIAS mtype_t;
/* 2^112 moves the exponent's bias from 15 to 127, subnormal numbers too; then only infinity and NaN are left. */
TM_INLINE float tm_half_value(uint16_t h) {
    const float x = tm_float((uint32_t)(h & 0x7FFF) << 13) * tm_float(0x77800000u);
    return tm_float(tm_bits(&x) | (uint32_t)(h & 0x8000) << 16 | ((h & 0x7C00) == 0x7C00 ? 0x7F800000u : 0));
}
/* Rounded to the nearest, halves to even. */
static inline uint16_t tm_half(float x) {
    const uint32_t bits = tm_bits(&x), sign = bits >> 16 & 0x8000, a = bits & 0x7FFFFFFFu;
    if (a > 0x7F800000u)
        return (uint16_t)(sign | 0x7E00);
    if (a >= 0x47800000u) /* 65536 */
        return (uint16_t)(sign | 0x7C00);
    if (a < 0x38800000u) { /* subnormal: the sum's last bit is 2^-24 */
        const float sum = tm_float(a) + 0.5f;
        return (uint16_t)(sign | (tm_bits(&sum) - 0x3F000000u));
    }
    return (uint16_t)(sign | (a - 0x38000000u + 0xFFF + (a >> 13 & 1)) >> 13);
}
#define TM_F(x) tm_half_value(x)
#define TM_STORE(x) tm_half(x)
#endif

#else
/* fp8: sign, exponent, mantissa; no subnormal numbers, no infinity: 2^(e - bias) * (1 + m / 2^mantissa), but code 0 is 0. */
typedef uint8_t mtype_t;
#define TM_FP8_MANTISSA (TM_MDL_TYPE == TM_MDL_FP8_143 ? 3 : 2)
#define TM_FP8_BIAS (TM_MDL_TYPE == TM_MDL_FP8_143 ? 9 : 15)
#define TM_FP8_SHIFT (23 - TM_FP8_MANTISSA)
TM_INLINE float tm_fp8_value(uint8_t code) {
    const uint32_t a = code & 0x7F;
    return tm_float(((uint32_t)code & 0x80) << 24 | (a ? (a << TM_FP8_SHIFT) + ((uint32_t)(127 - TM_FP8_BIAS) << 23) : 0));
}
/* Rounded to the nearest, halves away from zero; the largest beyond the range; below half the smallest, 0. */
static inline uint8_t tm_fp8(float x) {
    const uint32_t bits = tm_bits(&x), sign = bits >> 24 & 0x80, a = bits & 0x7FFFFFFFu;
    const uint32_t zero = (uint32_t)(127 - TM_FP8_BIAS) << 23, least = zero + ((uint32_t)1 << TM_FP8_SHIFT);
    const uint32_t code = (a + ((uint32_t)1 << (TM_FP8_SHIFT - 1)) - zero) >> TM_FP8_SHIFT;
    if (a < least)
        return a < least - ((uint32_t)1 << 23) ? 0 : (uint8_t)(sign | 1);
    return (uint8_t)(sign | (code > 0x7F ? 0x7F : code));
}
#define TM_F(x) tm_fp8_value(x)
#define TM_STORE(x) tm_fp8(x)
#endif
typedef mtype_t wtype_t, btype_t;
#endif

#if TM_INTEGER
TM_INLINE mtype_t tm_saturate(int32_t x) {
    return (mtype_t)(x < -TM_LIMIT ? -TM_LIMIT : x >= TM_LIMIT ? TM_LIMIT - 1 : x);
}
/* A scale must be normal and positive, a zero point lie in the type; that of int16 is 0. */
#define TM_BAD_SCALE(q) \
    ((q)[0] - 0x800000u >= 0x7F000000u || (TM_LIMIT == 128 ? (q)[1] + 128 > 255 : (q)[1] != 0))
#else
#define TM_BAD_SCALE(q) ((q)[1] != 0)
#endif

#endif
