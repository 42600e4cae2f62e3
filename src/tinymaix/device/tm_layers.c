/* tm_layers.c: the layers. Nothing is checked here: tm_load has done it. int8 results are those of the reference kernels
 * of TensorFlow Lite Micro, bit for bit. */
#include "tinymaix.h"

#if TM_ARCH == TM_ARCH_CPU
#include "arch_cpu.h"
#else
#error "TM_ARCH: this version of the library has TM_ARCH_CPU."
#endif

#define ONE 0x3F800000u /* the bits of 1.0f; one in bit 23 more doubles it */

typedef struct { /* how a layer turns its sums into output */
    tm_scale_t scale;
    tm_range_t act;
    zptype_t zp;
} tm_out_t;

/* s = a * b / d as a Q31 multiplier and a shift, from the bits of three floats, with the result of TFLite's
 * QuantizeMultiplier. That computes in double: a * b is exact, the quotient is rounded to 53 bits (halves to even), then
 * to 31 bits (halves away from zero). Here the 31-bit quotient is found with its remainder; both roundings together go
 * up, where one would not, if the quotient lies up to 2^-23 units below a half: d - 2 rem <= d / 2^22. */
void TM_SMALL tm_scale(tm_scale_t *s, uint32_t a, uint32_t b, uint32_t d)
{
    const uint32_t one = 0x800000, m = one - 1;
    uint64_t n = (uint64_t)((a & m) | one) * ((b & m) | one) << 6;
    uint32_t rem, mult = 0;
    int i, shift = (int)(a >> 23) + (int)(b >> 23) - (int)(d >> 23) - 125;
    s->mult = s->shift = 0;
    if (a < one || b < one) /* zero, or so small that the result is zero */
        return;
    d = (d & m) | one;
    for (; (uint32_t)(n >> 30) < d; n <<= 1) /* until the quotient has 31 bits */
        shift--;
    rem = (uint32_t)(n >> 32);
    for (i = 24; i >= 0; i -= 8) { /* long division, a byte at a time */
        rem = rem << 8 | ((uint32_t)n >> i & 0xFF);
        mult = mult << 8 | rem / d;
        rem %= d;
    }
    if ((int32_t)(d - 2 * rem) <= (int32_t)(d >> 22) && (int32_t)++mult < 0) {
        mult >>= 1;
        shift++;
    }
    if (shift >= -31) {
        s->mult = (int32_t)mult;
        s->shift = shift < 31 ? shift : 31; /* beyond, everything saturates */
    }
}

/* TFLite's CalculateActivationRangeQuantized, in its single precision. */
static TM_SMALL void set_range(tm_range_t *r, int act, float s, int zp)
{
    int q = act < TM_ACT_RELU1 ? 255 : tm_round((act == TM_ACT_RELU6 ? 6.0f : 1.0f) / s);
    r->lo = (int16_t)(act & 1 ? 0 : -q > -128 - zp ? -q : -128 - zp); /* odd: relu, relu6 */
    r->hi = (int16_t)(q < 127 - zp ? q : 127 - zp);
}

static TM_SMALL mtype_t post(const tm_out_t *o, sumtype_t sum, btype_t bias)
{
    mtype_t out;
    tm_postprocess_sum(1, &sum, &bias, o->act, &out, &o->scale, o->zp);
    return out;
}

/* Convolution, depthwise and fully connected (a 1x1 convolution of one pixel), one output channel at a time: derive its
 * multiplier, then visit every output pixel. The bias already holds -zero point * sum of weights; so pads, which are the
 * zero point, count like any input. */
static TM_SMALL void conv(const tml_head_t *h, tm_out_t *o, const mtype_t *in, mtype_t *out)
{
    const tml_conv2d_dw_t *l = (const tml_conv2d_dw_t *)h;
    const int fc = h->type == TML_FC, dw = h->type == TML_DWCONV2D;
    const uint8_t *base = (const uint8_t *)h;
    const tm_u32_t *oft = (const tm_u32_t *)(fc ? &((const tml_fc_t *)h)->ws_oft : &l->ws_oft);
    const sctype_t *ws = (const sctype_t *)(base + oft[0]);
    const wtype_t *w = (const wtype_t *)base + oft[1];
    const btype_t *bias = (const btype_t *)(base + oft[2]);
    const unsigned cout = h->out_dims[3], cin = fc ? tm_count(h->in_dims) : h->in_dims[3], n = dw ? 1 : cin, iw = h->in_dims[2];
    const unsigned taps = fc ? 1 : l->kernel_w * l->kernel_h;
    const int direct = fc || (taps == 1 && !(l->pad[0] | l->pad[1] | l->pad[2] | l->pad[3]));
    unsigned c, t, i, oy, ox, x, y;
    for (c = 0; c < cout; c++, w += n * taps) {
        sctype_t a = h->in_s, b = ws[c];
        mtype_t *dst = out + c;
        if (fc && ws[cout > 1] == 0) { /* one scale for all channels: TFLite multiplies it in float */
            a *= ws[0];
            b = 1;
        }
        tm_scale(&o->scale, tm_bits(&a), tm_bits(&b), tm_bits(&h->out_s));
        for (oy = 0; oy < h->out_dims[1]; oy++)
            for (ox = 0; ox < h->out_dims[2]; ox++, dst += cout) {
                const mtype_t *src = in + (dw ? c / l->depth_mul : 0), *s;
                const wtype_t *k = w, *next = w + taps;
                sumtype_t sum = 0;
                if (direct)
                    tm_dot_prod(src + ((size_t)oy * l->stride_h * iw + ox * l->stride_w) * cin, k, n, &sum);
                else
                    for (y = oy * l->stride_h - l->pad[0]; k < next; y += l->dilation_h)
                        for (x = ox * l->stride_w - l->pad[2], i = l->kernel_w; i > 0; i--, k++, x += l->dilation_w) {
                            s = y < h->in_dims[1] && x < iw ? src + ((size_t)y * iw + x) * cin : 0;
                            for (t = 0; t < n; t++)
                                sum += (s ? s[t] : (sumtype_t)h->in_zp) * k[t * taps];
                        }
                *dst = post(o, sum, bias[c]);
            }
    }
}

/* Global average pool: TFLite's MEAN. With equal quantization it divides the raw sum, towards zero; else 1 / pixels goes
 * into the multiplier, rounded down, and the shift. */
static TM_SMALL void mean(const tml_head_t *h, tm_out_t *o, const mtype_t *in, mtype_t *out)
{
    const uint32_t pixels = (uint32_t)h->in_dims[1] * h->in_dims[2], c = h->in_dims[3];
    const int same = h->in_zp == h->out_zp && h->in_s == h->out_s;
    tm_scale_t *s = &o->scale;
    uint32_t i, j, rem;
    tm_scale(s, tm_bits(&h->in_s), ONE, tm_bits(&h->out_s));
    rem = (uint32_t)s->mult % pixels;
    s->mult = (int32_t)((uint32_t)s->mult / pixels);
    for (i = pixels; i > 1 && s->shift > -31; i >>= 1, s->shift--) {
        rem <<= 1;
        s->mult *= 2;
        if (rem >= pixels) {
            rem -= pixels;
            s->mult++;
        }
    }
    for (j = 0; j < c; j++, out++) {
        int32_t sum = 0;
        for (i = 0; i < pixels; i++)
            sum += in[(size_t)i * c + j];
        *out = same ? (mtype_t)(sum / (int32_t)pixels) : post(o, sum - h->in_zp * (int32_t)pixels, 0);
    }
}

/* TFLite's ADD: both inputs on the scale of twice the larger, with 20 more bits; the sum back on the output's. */
static TM_SMALL void add(const tml_head_t *h, const tml_head_t *prev, tm_out_t *o, const mtype_t *in, const mtype_t *in1,
                         mtype_t *out)
{
    const tml_add_t *l = (const tml_add_t *)h;
    const mtype_t *t = in;
    const uint32_t a = tm_bits(&h->in_s), b = tm_bits(&l->in_s1), max = a > b ? a : b;
    uint32_t n = tm_count(h->in_dims);
    tm_scale_t sa, sb;
    /* TinyMaix's converter crosses the two quantizations where the kept tensor is the sum's first operand. */
    if (prev && prev->out_oft == h->in_oft && prev->out_s == l->in_s1 && prev->out_zp == l->in_zp1) {
        in = in1;
        in1 = t;
    }
    tm_scale(&sa, a, ONE - ((uint32_t)1 << 23), max);
    tm_scale(&sb, b, ONE - ((uint32_t)1 << 23), max);
    tm_scale(&o->scale, max, ONE - ((uint32_t)19 << 23), tm_bits(&h->out_s));
    for (; n > 0; n--)
        *out++ = post(o, tm_requant((*in++ - h->in_zp) * ((int32_t)1 << 20), &sa) +
                             tm_requant((*in1++ - l->in_zp1) * ((int32_t)1 << 20), &sb), 0);
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
static TM_SMALL void softmax(const tml_head_t *h, const mtype_t *in, mtype_t *out)
{
    const int c = h->in_dims[3];
    const mtype_t *end = in + tm_count(h->in_dims);
    tm_scale_t s;
    tm_scale(&s, tm_bits(&h->in_s), ONE, ONE - ((uint32_t)26 << 23));
    for (; in < end; in += c) {
        int32_t sum = 0, max = -128, x, y;
        int i, bits = 35;
        for (i = 0; i < c; i++)
            max = in[i] > max ? in[i] : max;
        for (i = 0; i < c; i++)
            sum += rshift(exp_q31(in[i] - max, &s), 12);
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
            x = bits > 31 ? 0 : rshift(mul(y, exp_q31(in[i] - max, &s)), bits);
            *out++ = (mtype_t)(x > 255 ? 127 : x - 128);
        }
    }
}

void TM_WEAK TM_SMALL tml_run(const tml_head_t *h, const tml_head_t *prev, uint8_t *buf)
{
    tm_out_t o;
    const mtype_t *in = (const mtype_t *)buf + h->in_oft;
    mtype_t *out = (mtype_t *)buf + h->out_oft;
    const int fused = h->type == TML_CONV2D || h->type == TML_DWCONV2D;
    o.zp = h->out_zp;
    set_range(&o.act, fused ? ((const tml_conv2d_dw_t *)h)->act : 0, h->out_s, (int)h->out_zp);
    switch (h->type) {
    case TML_GAP:
        mean(h, &o, in, out);
        break;
    case TML_SOFTMAX:
        softmax(h, in, out);
        break;
    case TML_RESHAPE:
        memmove(out, in, tm_count(h->in_dims));
        break;
    case TML_ADD:
        add(h, prev, &o, in, (const mtype_t *)buf + ((const tml_add_t *)h)->in_oft1, out);
        break;
    default:
        conv(h, &o, in, out);
    }
}
