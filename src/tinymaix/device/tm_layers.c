/* tm_layers.c: the layers. Nothing is checked here: tm_load has done it. int8 results are those of the reference kernels
 * of TensorFlow Lite Micro, bit for bit. */
#include "tinymaix.h"
#include TM_ARCH_HEADER

#if TM_OPT_LEVEL >= TM_OPT1
#include "tm_scale_O1.h"
#else
#include "tm_scale.h"
#endif

#define ONE 0x3F800000u /* the bits of 1.0f; one in bit 23 more doubles it */

static TM_SMALL mtype_t post(const tm_job_t *j, sumtype_t sum) {
    const btype_t none = 0; /* the sum has its bias already */
    mtype_t out;
    tm_postprocess_sum(1, &sum, &none, j->act, &out, &j->scale, (zptype_t)j->zp);
    return out;
}

/* From the sums of output channel c to its outputs. A fully connected layer may have one scale for all channels: then
 * only the first is not zero. */
static TM_ONCE void channel_scale(const tml_head_t *h, const sctype_t *ws, unsigned c, tm_scale_t *scale) {
    if (!TM_INTEGER) return;
    if (h->type == TML_FC && h->out_dims[3] > 1 && tm_bits(&ws[1]) == 0)
        c = 0;
    tm_scale(scale, tm_bits(&h->in_s), tm_bits(&ws[c]), tm_bits(&h->out_s));
}

/* The inputs of one tap, step apart, times its weights. */
static TM_SMALL sumtype_t dot(const tm_job_t *j, const mtype_t *s, const wtype_t *w, unsigned step) {
    const unsigned taps = j->g[0] * j->g[1];
    unsigned t;
    sumtype_t sum = 0;
    for (t = j->n; t > 0; t--, s += step, w += taps)
        sum += TM_MUL(*s, *w);
    return sum;
}

/* Sum of inputs times weights for the window at (y, x). The bias already holds -zero point * sum of weights; so pads, which
 * are the zero point, count like any input. */
static TM_SMALL mtype_t window(const tm_job_t *j, unsigned y, unsigned x) {
    const tml_head_t *h = j->h;
    const wtype_t *k = j->k;
    unsigned ky, kx;
    sumtype_t sum = 0;
    for (ky = j->g[1]; ky > 0; ky--, y += j->g[5])
        for (kx = 0; kx < j->g[0]; kx++) {
            const unsigned at = x + kx * j->g[4];
            const int inside = y < h->in_dims[1] && at < h->in_dims[2];
            sum += dot(j, inside ? j->in + ((size_t)y * h->in_dims[2] + at) * h->in_dims[3] : &j->pad, k++, inside);
        }
    return post(j, TM_SUM(sum, *j->b));
}

#include "tm_perf.h"

/* Convolution, depthwise and fully connected (a 1x1 convolution of one pixel), one output channel at a time: derive its
 * multiplier, then visit every output pixel. */
static TM_SMALL void conv(tm_job_t *j) {
    static const uint8_t unit[12] = {1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0};
    const tml_head_t *h = j->h;
    const uint8_t *base = (const uint8_t *)h;
    const tm_u32_t *oft = (const tm_u32_t *)&((const tml_conv2d_dw_t *)h)->ws_oft;
    const mtype_t *in = j->in;
    unsigned c, oy, ox, outs = h->out_dims[3]; /* outs: of the same inputs */
    j->g = (const uint8_t *)(h + 1);
    j->n = h->in_dims[3];
    j->pad = (mtype_t)h->in_zp;
    if (h->type == TML_DWCONV2D) {
        j->n = 1;
        outs = ((const tml_conv2d_dw_t *)h)->depth_mul;
    } else if (h->type == TML_FC) {
        oft = (const tm_u32_t *)j->g;
        j->g = unit;
        j->n = tm_count(h->in_dims); /* the only pixel is the first, wherever the next would be */
    }
    j->k = (const wtype_t *)(base + oft[1]);
    j->b = (const btype_t *)(base + oft[2]);
    for (c = 0; c < h->out_dims[3]; c++, j->b++, j->k += j->n * (j->g[0] * j->g[1])) {
        mtype_t *out = j->out + c;
        j->in = in + c / outs;
        channel_scale(h, (const sctype_t *)(base + oft[0]), c, &j->scale);
        for (oy = 0; oy < h->out_dims[1]; oy++)
            for (ox = 0; ox < h->out_dims[2]; ox++, out += h->out_dims[3])
                *out = timed_window(j, oy * j->g[3] - j->g[8], ox * j->g[2] - j->g[10]);
    }
}

#if TM_OPT_LEVEL >= TM_OPT1
#include "tm_conv_O1.h"
#define CONV conv_O1
#else
#define CONV conv
#endif

#if TM_MDL_TYPE == TM_MDL_INT8
/* Global average pool: TFLite's MEAN. 1 / pixels goes into the multiplier, rounded down, and the shift. */
static TM_SMALL void mean(tm_job_t *j) {
    const tml_head_t *h = j->h;
    const uint32_t pixels = (uint32_t)h->in_dims[1] * h->in_dims[2];
    const unsigned c = h->in_dims[3];
    uint32_t i, rem, mult;
    unsigned k;
    tm_scale(&j->scale, tm_bits(&h->in_s), ONE, tm_bits(&h->out_s));
    mult = (uint32_t)j->scale.mult / pixels;
    rem = (uint32_t)j->scale.mult % pixels;
    for (i = pixels; i > 1 && j->scale.shift > -31; i /= 2, j->scale.shift--) {
        rem *= 2;
        mult *= 2;
        if (rem >= pixels)
            rem -= pixels, mult++;
    }
    j->scale.mult = (int32_t)mult;
    for (k = 0; k < c; k++) {
        const mtype_t *p = j->in + k;
        int32_t sum = -h->in_zp * (int32_t)pixels;
        for (i = pixels; i > 0; i--, p += c)
            sum += *p;
        j->out[k] = post(j, sum);
    }
}

/* TFLite's ADD: both inputs on the scale of twice the larger, with 20 more bits; the sum back on the output's. */
static TM_SMALL void add(tm_job_t *j) {
    const tml_add_t *l = (const tml_add_t *)j->h;
    const tml_head_t *prev = j->prev;
    const mtype_t *p = j->in, *q = (const mtype_t *)(j->buf + l->in_oft1), *r = p;
    const uint32_t a = tm_bits(&l->h.in_s), b = tm_bits(&l->in_s1), max = a > b ? a : b, half = ONE - (1ul << 23);
    uint32_t i;
    tm_scale_t sa, sb;
    /* TinyMaix's converter crosses the two quantizations where the kept tensor is the sum's first operand. */
    if (prev->out_oft == l->h.in_oft && tm_bits(&prev->out_s) == b && prev->out_zp == l->in_zp1)
        p = q, q = r;
    tm_scale(&sb, b, half, max);
    tm_scale(&sa, a, half, max);
    tm_scale(&j->scale, max, ONE - (19ul << 23), tm_bits(&l->h.out_s));
    for (i = 0; i < tm_count(l->h.in_dims); i++)
        j->out[i] = post(j, tm_requant((p[i] - l->h.in_zp) * ((int32_t)1 << 20), &sa) +
                                tm_requant((q[i] - l->in_zp1) * ((int32_t)1 << 20), &sb));
}

/* exp(x * s) for x <= 0, as Q31; s makes 26 fractional bits. gemmlowp's exp_on_negative_values, and 0 below -31 as TFLite
 * wants it. x is split into a multiple of 1/4, whose exponential is a product of constants, and a rest in -1/4..0, for
 * which a Taylor series around -1/8 serves. */
static TM_SMALL int32_t exp_q31(int32_t x, const tm_scale_t *s) {
    static const int32_t powers[7] = {/* exp(-2^i) for i = -2 .. 4 */
                                      1672461947, 1302514674, 790015084, 290630308, 39332535, 720401, 242};
    const int32_t *power = powers;
    int32_t rest, t, t2, y;
    if (x < -(((int32_t)31 << 26) >> s->shift))
        return 0;
    if (x == 0)
        return INT32_MAX;
    x = tm_requant(x, s);
    rest = (x & 0xFFFFFF) - 0x1000000;
    t = rest * 32 + ((int32_t)1 << 28);
    t2 = tm_mulhi(t, t);
    y = tm_mulhi(((tm_mulhi(t2, t2) + 2) >> 2) + tm_mulhi(t2, t), 715827883 /* 1/3 */) + t2; /* never negative */
    y = tm_mulhi(1895147668 /* exp(-1/8) */, t + ((y + 1) >> 1)) + 1895147668;
    for (x = (rest - x) >> 24; x; x >>= 1, power++)
        if (x & 1)
            y = tm_mulhi(y, *power);
    return y;
}

/* TFLite's int8 softmax along the channels: differences to the largest in 5 integer bits, the sum of exponentials in 12. */
static TM_SMALL void softmax(tm_job_t *j) {
    const int c = j->h->in_dims[3];
    const mtype_t *in = j->in, *end = in + tm_count(j->h->in_dims);
    mtype_t *out = j->out;
    tm_scale(&j->scale, tm_bits(&j->h->in_s), ONE, ONE - (26ul << 23));
    for (; in < end; in += c) {
        int32_t sum = 0, max = in[0], x, y;
        int i, bits = 35;
        for (i = 0; i < c; i++)
            max = in[i] > max ? in[i] : max;
        for (i = 0; i < c; i++)
            sum += tm_rshift(exp_q31(in[i] - max, &j->scale), 12);
        for (; sum > 0; sum = (int32_t)((uint32_t)sum << 1)) /* to the top */
            bits--;
        /* y = 1 / sum as Q31, by gemmlowp's Newton-Raphson (one_over_one_plus_x_for_x_in_0_1) */
        x = (int32_t)((uint32_t)sum >> 1);
        y = 1515870810 /* 48/17 */ + tm_mulhi(x, -1010580540 /* -32/17 */);
        for (i = 0; i < 3; i++)
            y += tm_mulhi(y, ((int32_t)1 << 29) - tm_mulhi(x, y)) * 4;
        y = y >> 30 ? INT32_MAX : y * 2;
        if (bits > 31) /* hundreds of classes, all below half a step; TFLite shifts by more than 31 then */
            y = bits = 0;
        for (i = 0; i < c; i++) {
            x = tm_rshift(tm_mulhi(y, exp_q31(in[i] - max, &j->scale)), bits);
            *out++ = (mtype_t)(x - 128 - (x >> 8));
        }
    }
}

/* TFLite's CalculateActivationRangeQuantized, in its single precision. relu and relu6 are odd. */
static void range(tm_job_t *j, int act) {
    int32_t q;
    j->act.lo = act & 1 ? 0 : -128 - j->zp;
    j->act.hi = 127 - j->zp;
    if (act < TM_ACT_RELU1) return;
    q = tm_round((act == TM_ACT_RELU6 ? 6.0f : 1.0f) / j->h->out_s);
    if (j->act.lo < -q)
        j->act.lo = -q;
    if (j->act.hi > q)
        j->act.hi = q;
}
#elif TM_INTEGER
#include "tm_layers_int16.h"
#else
#include "tm_layers_float.h"
#endif

static TM_SMALL void reshape(tm_job_t *j) {
    memmove(j->out, j->in, tm_count(j->h->in_dims) * sizeof(mtype_t));
}

void TM_WEAK TM_SMALL tml_run(const tml_head_t *h, const tml_head_t *prev, uint8_t *buf) {
    static void (*const kernels[TML_MAXCNT])(tm_job_t *) = {CONV, mean, CONV, softmax, reshape, CONV, add};
    tm_job_t j;
    j.h = h;
    j.prev = prev;
    j.in = (const mtype_t *)(buf + h->in_oft);
    j.buf = buf;
    j.out = (mtype_t *)(buf + h->out_oft);
    j.zp = (int)h->out_zp;
    range(&j, h->type == TML_CONV2D || h->type == TML_DWCONV2D ? (int)((const tml_conv2d_dw_t *)h)->act : TML_ACT_MORE(h));
    if (TM_MORE_LAYERS && h->type >= TML_MORE)
        timed_layer(tml_run_more, &j);
    else
        timed_layer(kernels[h->type], &j);
}
