"""exp, logistic and tanh for float32 kernels without a C library: within 2 ulp for exp, a few for the others."""

from __future__ import annotations

from tinymaix.ops.emit import Kernel

EXP_F32 = Kernel(
    "exp_f32",
    """\
/* e^x = 2^n * e^r with |r| <= ln(2) / 2 and a Taylor series of order 7; results below 2^-126 become 0 */
static inline float exp_f32(float x)
{
    if (x < -87.33654f)
        return 0.0f;
    if (x > 88.72283f)
        x = 89.0f;
    int n = (int)(x * 1.44269504f + (x < 0.0f ? -0.5f : 0.5f));
    float r = x - (float)n * 0.693145752f - (float)n * 1.42860677e-6f; /* ln(2) in two parts */
    float p = 1.98412698e-4f;
    p = p * r + 1.38888889e-3f;
    p = p * r + 8.33333333e-3f;
    p = p * r + 4.16666667e-2f;
    p = p * r + 1.66666667e-1f;
    p = p * r + 0.5f;
    p = p * (r * r) + r + 1.0f;
    uint32_t bits = (uint32_t)(n + 126) << 23;
    float power;
    memcpy(&power, &bits, sizeof power);
    return p * power * 2.0f;
}
""",
)

LOGISTIC_F32 = Kernel(
    "logistic_f32",
    """\
static void logistic_f32(const float *x, float *y, int n)
{
    for (int i = 0; i < n; i++)
        y[i] = x[i] < -9.0f ? exp_f32(x[i]) : 1.0f / (1.0f + exp_f32(-x[i]));
}
""",
    (EXP_F32,),
)

TANH_F32 = Kernel(
    "tanh_f32",
    """\
/* Near 0, where 1 - 2 / (e^2x + 1) would lose digits, the continued fraction of tanh cut after 13 */
static void tanh_f32(const float *x, float *y, int n)
{
    for (int i = 0; i < n; i++) {
        float v = x[i], magnitude = v < 0.0f ? -v : v, s = v * v;
        if (magnitude < 1.0f) {
            float top = 135135.0f + s * (17325.0f + s * (378.0f + s));
            y[i] = v * top / (135135.0f + s * (62370.0f + s * (3150.0f + s * 28.0f)));
        } else {
            float t = 1.0f - 2.0f / (exp_f32(2.0f * magnitude) + 1.0f);
            y[i] = v < 0.0f ? -t : t;
        }
    }
}
""",
    (EXP_F32,),
)
