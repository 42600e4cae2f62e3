"""sqrt, log, sin, cos, floor and pow for float32 kernels without a C library, within a few ulp.

Values outside a function's domain give a quiet NaN, as in IEEE 754.
"""

from __future__ import annotations

from tinymaix.ops.emit import Kernel
from tinymaix.ops.float_math import EXP_F32

FROM_BITS_F32 = Kernel(
    "from_bits_f32",
    """\
static inline float from_bits_f32(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}
""",
)

BITS_F32 = Kernel(
    "bits_f32",
    """\
static inline uint32_t bits_f32(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}
""",
)

SQRT_F32 = Kernel(
    "sqrt_f32",
    """\
/* Half the exponent as a first guess, then four steps of Heron's method. Subnormal values count as 0. */
static inline float sqrt_f32(float x)
{
    if (!(x >= 1.17549435e-38f))
        return x < 0.0f || x != x ? from_bits_f32(UINT32_C(0x7FC00000)) : 0.0f;
    if (x > 3.40282347e+38f)
        return x;
    float y = from_bits_f32((bits_f32(x) >> 1) + UINT32_C(0x1FBB4000));
    for (int i = 0; i < 4; i++)
        y = 0.5f * (y + x / y);
    return y;
}
""",
    (FROM_BITS_F32, BITS_F32),
)

LOG_F32 = Kernel(
    "log_f32",
    """\
/* ln(x) = n ln(2) + ln(m) with m in [sqrt(1/2), sqrt(2)), and ln(m) = 2 atanh(s) with s = (m - 1) / (m + 1). Subnormal
 * values count as 0. */
static inline float log_f32(float x)
{
    if (!(x >= 1.17549435e-38f))
        return from_bits_f32(x < 0.0f || x != x ? UINT32_C(0x7FC00000) : UINT32_C(0xFF800000));
    if (x > 3.40282347e+38f)
        return x;
    int32_t n = (int32_t)(bits_f32(x) - UINT32_C(0x3F3504F3)) >> 23;
    float m = from_bits_f32(bits_f32(x) - ((uint32_t)n << 23));
    float s = (m - 1.0f) / (m + 1.0f), s2 = s * s;
    float tail = s2 * (0.333333333f + s2 * (0.2f + s2 * (0.142857143f + s2 * 0.111111111f)));
    return (float)n * 0.693145752f + (2.0f * s + (2.0f * s * tail + (float)n * 1.42860677e-6f));
}
""",
    (FROM_BITS_F32, BITS_F32),
)

FLOOR_F32 = Kernel(
    "floor_f32",
    """\
/* Values of 2^23 and more are whole */
static inline float floor_f32(float x)
{
    if (!(x < 8388608.0f && x > -8388608.0f))
        return x;
    float whole = (float)(int32_t)x;
    return whole > x ? whole - 1.0f : whole;
}
""",
)

ROUND_EVEN_F32 = Kernel(
    "round_even_f32",
    """\
/* Half to even */
static inline float round_even_f32(float x)
{
    float low = floor_f32(x), rest = x - low;
    if (rest != 0.5f)
        return rest < 0.5f ? low : low + 1.0f;
    return 2.0f * floor_f32(low * 0.5f) == low ? low : low + 1.0f;
}
""",
    (FLOOR_F32,),
)

SIN_F32 = Kernel(
    "sin_f32",
    """\
/* sin(x + quarters * pi / 2): x less the nearest multiple of pi / 2 (in double, good up to 2^30), then Taylor series */
static inline float sin_f32(float x, int32_t quarters)
{
    if (!(x < 1073741824.0f && x > -1073741824.0f))
        return x - x == 0.0f ? 0.0f : from_bits_f32(UINT32_C(0x7FC00000));
    double turns = (double)x * 0.63661977236758134;
    int32_t n = (int32_t)(turns + (turns < 0.0 ? -0.5 : 0.5));
    float r = (float)((double)x - (double)n * 1.5707963267948966), r2 = r * r;
    uint32_t quarter = (uint32_t)n + (uint32_t)quarters;
    float y;
    if (quarter & 1)
        y = 1.0f + r2 * (-0.5f + r2 * (4.16666667e-2f + r2 * (-1.38888889e-3f + r2 * 2.48015873e-5f)));
    else
        y = r + r * r2 * (-1.66666667e-1f + r2 * (8.33333333e-3f + r2 * (-1.98412698e-4f + r2 * 2.75573192e-6f)));
    return quarter & 2 ? -y : y;
}
""",
    (FROM_BITS_F32,),
)

POW_F32 = Kernel(
    "pow_f32",
    """\
/* Whole exponents up to 64 by multiplication; others by exp and log, which lose digits as the exponent grows */
static inline float pow_f32(float x, float y)
{
    float whole = floor_f32(y), magnitude = y < 0.0f ? -y : y;
    if (whole == y && magnitude <= 64.0f) {
        float product = 1.0f;
        for (uint32_t n = (uint32_t)magnitude; n; n >>= 1, x *= x)
            if (n & 1)
                product *= x;
        return y < 0.0f ? 1.0f / product : product;
    }
    if (x < 0.0f && whole == y) {
        float power = exp_f32(y * log_f32(-x));
        return 2.0f * floor_f32(whole * 0.5f) == whole ? power : -power;
    }
    return exp_f32(y * log_f32(x));
}
""",
    (EXP_F32, LOG_F32, FLOOR_F32),
)
