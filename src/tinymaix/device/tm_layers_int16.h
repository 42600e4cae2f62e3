/* tm_layers_int16.h: what tm_layers.c has for int8, for models of 16-bit activations and 8-bit weights: TFLite's kernels. */
#include "tm_int16_tables.h"

/* Global average pool: TFLite's MEAN. 1 / pixels goes into the multiplier, rounded down, and the shift. */
static void mean(tm_job_t *j) {
    const tml_head_t *h = j->h;
    const uint32_t pixels = (uint32_t)h->in_dims[1] * h->in_dims[2];
    const unsigned c = h->in_dims[3];
    uint64_t mult;
    uint32_t i;
    unsigned k;
    tm_scale(&j->scale, tm_bits(&h->in_s), ONE, tm_bits(&h->out_s));
    mult = (uint32_t)j->scale.mult;
    for (i = pixels; i > 1 && j->scale.shift > -31; i /= 2, j->scale.shift--)
        mult *= 2;
    j->scale.mult = (int32_t)(mult / pixels);
    for (k = 0; k < c; k++) {
        const mtype_t *p = j->in + k;
        uint32_t sum = 0;
        for (i = pixels; i > 0; i--, p += c)
            sum += (uint32_t)*p;
        j->out[k] = (mtype_t)tm_clamp(tm_requant((int32_t)sum, &j->scale), j->act);
    }
}

/* TFLite's ADD: both inputs on the scale of twice the larger, with 15 more bits; the sum back on the output's. */
static void add(tm_job_t *j) {
    const tml_add_t *l = (const tml_add_t *)j->h;
    const mtype_t *q = (const mtype_t *)(j->buf + l->in_oft1);
    const uint32_t a = tm_bits(&l->h.in_s), b = tm_bits(&l->in_s1), max = a > b ? a : b, half = ONE - (1ul << 23);
    uint32_t i, n = tm_count(l->h.in_dims);
    tm_scale_t sa, sb;
    tm_scale(&sa, a, half, max);
    tm_scale(&sb, b, half, max);
    tm_scale(&j->scale, max, ONE - (14ul << 23), tm_bits(&l->h.out_s));
    for (i = 0; i < n; i++)
        j->out[i] = (mtype_t)tm_clamp(tm_requant(tm_requant(j->in[i] * ((int32_t)1 << 15), &sa) +
                                            tm_requant(q[i] * ((int32_t)1 << 15), &sb), &j->scale), j->act);
}

/* TFLite's LUTLookup: 9 bits of index, 7 of linear interpolation. */
static int32_t lookup(const int16_t *table, int32_t x) {
    const int16_t *at = table + 256 + (x < -32768 ? -256 : x > 32767 ? 255 : x >> 7);
    const int32_t part = x < -32768 ? 0 : x > 32767 ? 127 : x & 127;
    return at[0] + ((((int32_t)at[1] - at[0]) * part + 64) >> 7);
}

/* TFLite's SoftmaxInt16: differences to the largest, of which -10..0 becomes 16 bits; the output holds the exponentials. */
static void softmax(tm_job_t *j) {
    const unsigned c = j->h->in_dims[3];
    const mtype_t *in = j->in, *end = in + tm_count(j->h->in_dims);
    mtype_t *out = j->out;
    tm_scale(&j->scale, tm_bits(&j->h->in_s), 0x45CCCC00u /* 65535 / 10 */, ONE);
    for (; in < end; in += c, out += c) {
        int32_t max = in[0], sum = 0, inverse;
        int bits = 31;
        unsigned i;
        for (i = 1; i < c; i++)
            max = in[i] > max ? in[i] : max;
        for (i = 0; i < c; i++)
            sum += out[i] = (mtype_t)lookup(exp_table, tm_requant(in[i] - max, &j->scale) + 32767);
        while (bits > 0 && !(sum >> (bits - 1))) /* 31 - bits: leading zeros but the sign's */
            bits--;
        inverse = lookup(inverse_table, (int32_t)((((int64_t)sum << (31 - bits)) + (1 << 13)) >> 14) - 98304);
        for (i = 0; i < c; i++) {
            const int32_t y = (int32_t)(((int64_t)out[i] * inverse + ((int64_t)1 << (bits - 2))) >> (bits - 1));
            out[i] = (mtype_t)(y > 32767 ? 32767 : y);
        }
    }
}

/* TFLite's CalculateActivationRangeQuantized, in its single precision. relu and relu6 are odd. */
static void range(tm_job_t *j, int act) {
    int32_t q = 32767;
    if (act >= TM_ACT_RELU1)
        q = tm_round((act == TM_ACT_RELU6 ? 6.0f : 1.0f) / j->h->out_s);
    j->act.lo = act & 1 ? 0 : act == TM_ACT_RELU1 && q < 32768 ? -q : -32768;
    j->act.hi = q < 32767 ? q : 32767;
}
