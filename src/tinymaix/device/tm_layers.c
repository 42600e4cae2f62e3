/* tm_layers.c: the layers. Nothing is checked here: tm_load has done it. int8 results are those of the reference kernels
 * of TensorFlow Lite Micro, bit for bit. */
#include "tinymaix.h"

#include TM_ARCH_HEADER

#define ONE 0x3F800000u /* the bits of 1.0f; one in bit 23 more doubles it */

typedef struct { /* a layer at work */
    const tml_head_t *h, *prev; /* itself and the layer before it, NULL for the first */
    const mtype_t *in;
    uint8_t *buf;
    mtype_t *out;
    tm_scale_t scale; /* from sums to output */
    tm_range_t act;
    int zp;
} tm_job_t;

/* s = a * b / d as a Q31 multiplier and a shift, from the bits of three floats, with the result of TFLite's
 * QuantizeMultiplier. That computes in double: a * b is exact, the quotient is rounded to 53 bits (halves to even), then
 * to 31 bits (halves away from zero). Here the 31-bit quotient is found with its remainder; both roundings together go
 * up, where one would not, if the quotient lies up to 2^-23 units below a half: d - 2 rem <= d / 2^22. */
void TM_SMALL tm_scale(tm_scale_t *s, uint32_t a, uint32_t b, uint32_t d)
{
    const uint32_t one = 0x800000;
    const uint64_t n = (uint64_t)(a % one | one) * (b % one | one);
    uint32_t rem = (uint32_t)(n >> 24), rest = (uint32_t)n << 8, mult = 0;
    int i, shift = (int)(a >> 23) + (int)(b >> 23) - (int)(d >> 23) - 95;
    s->mult = s->shift = 0;
    if (a < one || b < one) /* zero, or so small that the result is zero */
        return;
    d = d % one | one;
    if (rem >= d) {
        rem -= d;
        mult = 1;
    }
    for (i = 0; i < 4; i++, rest <<= 8) { /* long division, 8 bits at a time, at last as many as make 31 */
        int k = 8;
        if (i < 3)
            mult <<= 8;
        else
            for (k = 0; mult < (uint32_t)1 << 30; k++)
                mult *= 2;
        rem = rem << k | rest >> 24;
        mult |= rem / d;
        rem %= d;
        shift -= k;
    }
    rem *= 2;
    if ((int32_t)(d - rem) <= (int32_t)(d >> 22) && (int32_t)++mult < 0) {
        mult /= 2;
        shift++;
    }
    if (shift >= -31) {
        s->mult = (int32_t)mult;
        s->shift = shift < 31 ? shift : 31; /* beyond, everything saturates */
    }
}

static TM_SMALL mtype_t post(const tm_job_t *j, sumtype_t sum, btype_t bias)
{
    mtype_t out;
    tm_postprocess_sum(1, &sum, &bias, j->act, &out, &j->scale, j->zp);
    return out;
}

/* From the sums of output channel c to its outputs. A fully connected layer may have one scale for all channels: then
 * only the first is not zero. */
static TM_SMALL void channel_scale(const tml_head_t *h, const sctype_t *ws, unsigned c, tm_scale_t *scale)
{
    if (h->type == TML_FC && tm_bits(&ws[h->out_dims[3] > 1]) == 0)
        c = 0;
    tm_scale(scale, tm_bits(&h->in_s), tm_bits(&ws[c]), tm_bits(&h->out_s));
}

/* Convolution, depthwise and fully connected (a 1x1 convolution of one pixel), one output channel at a time: derive its
 * multiplier, then visit every output pixel. The bias already holds -zero point * sum of weights; so pads, which are the
 * zero point, count like any input. */
static TM_SMALL void conv(tm_job_t *j)
{
    static const uint8_t unit[12] = {1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0};
    const tml_head_t *h = j->h;
    const uint8_t *base = (const uint8_t *)h, *g = base + sizeof(*h); /* (w, h) of kernel, stride, dilation; pads */
    const tm_u32_t *oft = (const tm_u32_t *)&((const tml_conv2d_dw_t *)h)->ws_oft;
    const unsigned cout = h->out_dims[3], iw = h->in_dims[2];
    unsigned cin = h->in_dims[3], n = cin, taps, c, t, kx, oy, ox, x, y, outs = cout; /* outs: of the same inputs */
    const mtype_t *in = j->in;
    const wtype_t *w;
    mtype_t *out;
    if (h->type == TML_DWCONV2D) {
        n = 1;
        outs /= cin;
    } else if (h->type == TML_FC) {
        oft = (const tm_u32_t *)g;
        g = unit;
        n = cin = tm_count(h->in_dims);
    }
    taps = g[0] * g[1];
    w = (const wtype_t *)base + oft[1];
    for (c = 0; c < cout; w += n * taps) {
        channel_scale(h, (const sctype_t *)(base + oft[0]), c, &j->scale);
        out = j->out + c;
        for (oy = 0; oy < h->out_dims[1]; oy++)
            for (ox = 0; ox < h->out_dims[2]; ox++, out += cout) {
                const wtype_t *k = w;
                sumtype_t sum = 0;
                for (y = oy * g[3] - g[8]; k < w + taps; y += g[5])
                    for (x = ox * g[2] - g[10], kx = g[0]; kx > 0; kx--, k++, x += g[4]) {
                        const mtype_t *s = 0;
                        if (y < h->in_dims[1] && x < iw)
                            s = in + ((size_t)y * iw + x) * cin;
                        if (s && taps == 1)
                            tm_dot_prod(s, k, n, &sum);
                        else
                            for (t = 0; t < n; t++)
                                sum += (s ? s[t] : (sumtype_t)h->in_zp) * k[t * taps];
                    }
                *out = post(j, sum, ((const btype_t *)(base + oft[2]))[c]);
            }
        if (++c % outs == 0)
            in++;
    }
}

#if TM_OPT_LEVEL >= TM_OPT1
#include "tm_conv_O1.h"
#define CONV conv_O1
#else
#define CONV conv
#endif

/* Global average pool: TFLite's MEAN. 1 / pixels goes into the multiplier, rounded down, and the shift. */
static TM_SMALL void mean(tm_job_t *j)
{
    const tml_head_t *h = j->h;
    const uint32_t pixels = (uint32_t)h->in_dims[1] * h->in_dims[2];
    const unsigned c = h->in_dims[3];
    uint32_t i, rem, mult;
    unsigned k;
    tm_scale(&j->scale, tm_bits(&h->in_s), ONE, tm_bits(&h->out_s));
    mult = (uint32_t)j->scale.mult / pixels;
    rem = (uint32_t)j->scale.mult % pixels;
    for (i = pixels; i > 1 && j->scale.shift > -31; i /= 2, j->scale.shift--) {
        mult *= 2;
        rem *= 2;
        if (rem >= pixels) {
            rem -= pixels;
            mult++;
        }
    }
    j->scale.mult = (int32_t)mult;
    for (k = 0; k < c; k++) {
        const mtype_t *p = j->in + k;
        int32_t sum = 0;
        for (i = pixels; i > 0; i--, p += c)
            sum += *p;
        j->out[k] = post(j, sum - h->in_zp * (int32_t)pixels, 0);
    }
}

/* TFLite's ADD: both inputs on the scale of twice the larger, with 20 more bits; the sum back on the output's. */
static TM_SMALL void add(tm_job_t *j)
{
    const tml_add_t *l = (const tml_add_t *)j->h;
    const tml_head_t *prev = j->prev;
    const mtype_t *p = j->in, *q = (const mtype_t *)j->buf + l->in_oft1;
    const uint32_t a = tm_bits(&l->h.in_s), b = tm_bits(&l->in_s1), max = a > b ? a : b, half = ONE - (1ul << 23);
    uint32_t i, n = tm_count(l->h.in_dims);
    tm_scale_t sa, sb;
    /* TinyMaix's converter crosses the two quantizations where the kept tensor is the sum's first operand. */
    if (prev && prev->out_oft == l->h.in_oft && tm_bits(&prev->out_s) == b && prev->out_zp == l->in_zp1) {
        q = p;
        p = (const mtype_t *)j->buf + l->in_oft1;
    }
    tm_scale(&sa, a, half, max);
    tm_scale(&sb, b, half, max);
    tm_scale(&j->scale, max, ONE - (19ul << 23), tm_bits(&l->h.out_s));
    for (i = 0; i < n; i++)
        j->out[i] = post(j, tm_requant((p[i] - l->h.in_zp) * ((int32_t)1 << 20), &sa) +
                                tm_requant((q[i] - l->in_zp1) * ((int32_t)1 << 20), &sb), 0);
}

static TM_SMALL int32_t mul(int32_t a, int32_t b)
{
    return tm_mulhi(a, b);
}

static TM_SMALL int32_t rshift(int32_t x, int n)
{
    return tm_rshift(x, n);
}

/* exp(x * s) for x <= 0, as Q31; s makes 26 fractional bits. gemmlowp's exp_on_negative_values, and 0 below -31 as TFLite
 * wants it. x is split into a multiple of 1/4, whose exponential is a product of constants, and a rest in -1/4..0, for
 * which a Taylor series around -1/8 serves. */
static TM_SMALL int32_t exp_q31(int32_t x, const tm_scale_t *s)
{
    static const int32_t powers[7] = {/* exp(-2^i) for i = -2 .. 4 */
                                      1672461947, 1302514674, 790015084, 290630308, 39332535, 720401, 242};
    int32_t rest, t, t2, y;
    if (x == 0)
        return INT32_MAX;
    if (x < -(((int32_t)31 << 26) >> s->shift))
        return 0;
    x = tm_requant(x, s);
    rest = (x & 0xFFFFFF) - 0x1000000;
    t = rest * 32 + ((int32_t)1 << 28);
    t2 = mul(t, t);
    y = mul(rshift(mul(t2, t2), 2) + mul(t2, t), 715827883 /* 1/3 */) + t2;
    y = mul(1895147668 /* exp(-1/8) */, t + rshift(y, 1)) + 1895147668;
    x = (rest - x) >> 24;
    for (t = 0; x; x >>= 1, t++)
        if (x & 1)
            y = mul(y, powers[t]);
    return y;
}

/* TFLite's int8 softmax along the channels: differences to the largest in 5 integer bits, the sum of exponentials in 12. */
static TM_SMALL void softmax(tm_job_t *j)
{
    const int c = j->h->in_dims[3];
    const mtype_t *in = j->in, *end = in + tm_count(j->h->in_dims);
    mtype_t *out = j->out;
    tm_scale(&j->scale, tm_bits(&j->h->in_s), ONE, ONE - (26ul << 23));
    for (; in < end; in += c) {
        int32_t sum = 0, max = -128, x, y;
        int i, bits = 35;
        for (i = 0; i < c; i++)
            max = in[i] > max ? in[i] : max;
        for (i = 0; i < c; i++)
            sum += rshift(exp_q31(in[i] - max, &j->scale), 12);
        for (; sum > 0; sum = (int32_t)((uint32_t)sum << 1)) /* to the top */
            bits--;
        /* y = 1 / sum as Q31, by gemmlowp's Newton-Raphson (one_over_one_plus_x_for_x_in_0_1) */
        x = (int32_t)((uint32_t)sum >> 1);
        y = 1515870810 /* 48/17 */ + mul(x, -1010580540 /* -32/17 */);
        for (i = 0; i < 3; i++)
            y += mul(y, ((int32_t)1 << 29) - mul(x, y)) * 4;
        y = y > 0x3FFFFFFF ? INT32_MAX : y * 2;
        for (i = 0; i < c; i++) {
            /* bits > 31: hundreds of classes, all below half a step; TFLite shifts by more than 31 then */
            x = bits > 31 ? 0 : rshift(mul(y, exp_q31(in[i] - max, &j->scale)), bits);
            *out++ = (mtype_t)(x > 255 ? 127 : x - 128);
        }
    }
}

static TM_SMALL void reshape(tm_job_t *j)
{
    memmove(j->out, j->in, tm_count(j->h->in_dims));
}

void TM_WEAK TM_SMALL tml_run(const tml_head_t *h, const tml_head_t *prev, uint8_t *buf)
{
    static void (*const kernels[TML_MAXCNT])(tm_job_t *) = {CONV, mean, CONV, softmax, reshape, CONV, add};
    const int act = h->type == TML_CONV2D || h->type == TML_DWCONV2D ? ((const tml_conv2d_dw_t *)h)->act : 0;
    tm_job_t j;
    int q = 255;
    j.h = h;
    j.prev = prev;
    j.in = (const mtype_t *)buf + h->in_oft;
    j.buf = buf;
    j.out = (mtype_t *)buf + h->out_oft;
    j.zp = (int)h->out_zp;
    /* TFLite's CalculateActivationRangeQuantized, in its single precision. relu and relu6 are odd. */
    if (act >= TM_ACT_RELU1)
        q = tm_round((act == TM_ACT_RELU6 ? 6.0f : 1.0f) / h->out_s);
    j.act.lo = (int16_t)(act & 1 ? 0 : -q > -128 - j.zp ? -q : -128 - j.zp);
    j.act.hi = (int16_t)(q < 127 - j.zp ? q : 127 - j.zp);
    kernels[h->type](&j);
}
