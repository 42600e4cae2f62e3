/* tm_model.c: load (and check) a model, prepare its input, run it. */
#include "tinymaix.h"

typedef struct { /* its padding is the alignment of a 32-bit word on this machine */
    char c;
    uint32_t v;
} tm_word_t;
#define WORD_ALIGN (sizeof(tm_word_t) - sizeof(uint32_t))

/* Nearest integer, halves away from zero; beyond +-512, where any int8 saturates, +-512. Adds not 0.5, but the float below
 * it, which would else itself become 1. */
int TM_SMALL tm_round(float x)
{
    const uint32_t bits = tm_bits(&x), sign = bits & 0x80000000u;
    uint32_t half = sign | 0x3EFFFFFFu;
    if ((bits ^ sign) >= 0x44000000u) /* 512 and more, NaN */
        return sign ? -512 : 512;
    return (int)(x + *(sctype_t *)&half);
}

/* a * b bytes at oft lie within size; b > 0. */
static TM_SMALL int fits(uint32_t oft, uint32_t a, uint32_t b, uint32_t size)
{
    return oft <= size && a <= (size - oft) / b;
}

/* Scales, weights and biases lie in the layer; o: their offsets. n: weights of one output channel. */
static TM_SMALL tm_err_t check_weights(const tml_head_t *h, const tm_u32_t *o, uint32_t n)
{
    const uint32_t c = h->out_dims[3];
    uint32_t i;
    if ((o[0] | o[2]) % sizeof(uint32_t))
        return TM_ERR_ALIGN;
    if (n >> 16) /* a sum of n products of int8 fits 32 bits */
        return TM_ERR_DIMS;
    if (!fits(o[0], c, 4, h->size) || !fits(o[1], n, c, h->size) || !fits(o[2], c, 4, h->size))
        return TM_ERR_OFFSET;
    for (i = 0; i < c; i++)
        if (((const tm_u32_t *)((const uint8_t *)h + o[0]))[i] >= 0x7F800000u) /* negative, infinite, not a number */
            return TM_ERR_SCALE;
    return TM_OK;
}

static TM_SMALL tm_err_t check_conv(const tml_conv2d_dw_t *l)
{
    const uint16_t *in = l->h.in_dims, *out = l->h.out_dims;
    const uint8_t *g = (const uint8_t *)l + sizeof(l->h); /* (w, h) of kernel, stride, dilation; act; pads of h, of w */
    uint32_t taps = 1;
    int i;
    for (i = 0; i < 2; i++) { /* w, then h: input, pads, kernel and stride give the output */
        const int32_t room = (int32_t)in[2 - i] + g[10 - 2 * i] + g[11 - 2 * i] - (int32_t)g[4 + i] * (g[i] - 1) - 1;
        if (!g[i] || !g[2 + i] || !g[4 + i])
            return TM_ERR_KSIZE;
        if (room < 0 || room / g[2 + i] + 1 != out[2 - i])
            return TM_ERR_DIMS;
        taps *= g[i];
    }
    if (l->act > TM_ACT_RELU6)
        return TM_ERR_ACT;
    if (l->h.type == TML_CONV2D)
        taps *= in[3];
    else if (l->depth_mul > out[3] || l->depth_mul * in[3] != out[3])
        return TM_ERR_DIMS;
    return check_weights(&l->h, (const tm_u32_t *)&l->ws_oft, taps);
}

static TM_SMALL tm_err_t check_layer(const tml_head_t *h, uint32_t buf_size)
{
    const tml_add_t *l = (const tml_add_t *)h;
    const uint32_t ni = tm_count(h->in_dims), no = tm_count(h->out_dims), c = h->in_dims[3], type = h->type;
    const int gemm = type == TML_CONV2D || type == TML_DWCONV2D || type == TML_FC;
    const uint16_t *d = h->out_dims;
    const void *q = &h->out_s; /* scale and zero point */
    uint32_t oft = h->out_oft;
    int i;
    for (i = 0;; i++) { /* output, input, second input */
        const uint32_t pixels = (uint32_t)d[1] * d[2], n = pixels * d[3];
        /* Coordinates with pads fit 16 bits, a sum over the pixels 32. */
        if ((d[1] | d[2]) >> 14 || pixels >> 23 || !n)
            return TM_ERR_DIMS;
        if (tm_bits(q) - 0x800000u >= 0x7F000000u || ((const tm_u32_t *)q)[1] + 128 > 255) /* scale: normal, > 0 */
            return TM_ERR_SCALE;
        if (!fits(oft, pixels, d[3], buf_size))
            return TM_ERR_OFFSET;
        /* Layers work in place if the output begins at or before the input; but not convolutions. */
        if (i > 0 && oft + n > h->out_oft && h->out_oft + (gemm ? no : 0) > oft)
            return TM_ERR_OVERLAP;
        if (i == (type == TML_ADD ? 2 : 1))
            break;
        d = h->in_dims;
        oft = i ? l->in_oft1 : h->in_oft;
        q = i ? (const void *)&l->in_s1 : (const void *)&h->in_s;
    }
    if (type == TML_FC)
        return no == h->out_dims[3] ? check_weights(h, (const tm_u32_t *)&((const tml_fc_t *)h)->ws_oft, ni) : TM_ERR_DIMS;
    if (gemm)
        return check_conv((const tml_conv2d_dw_t *)h);
    if (no != (type == TML_GAP ? c : ni))
        return TM_ERR_DIMS;
    if (type != TML_SOFTMAX)
        return TM_OK;
    if (c > 4095 || h->out_dims[3] != c) /* the sum of exponentials has 12 integer bits */
        return TM_ERR_DIMS;
    if (tm_bits(&h->in_s) - 0x32800000u >= 0x42000000u - 0x32800000u /* 2^-26 to 32: the differences have 26 and 5 bits */ ||
        tm_bits(&h->out_s) != 0x3B800000u /* 1/256 */ || h->out_zp != -128)
        return TM_ERR_SCALE;
    return TM_OK;
}

/* Dequantized output: behind the output's bytes, where a float may lie. */
static TM_SMALL sctype_t *floats(const tm_mdl_t *mdl, const tml_head_t *h)
{
    uintptr_t p = (uintptr_t)(mdl->buf + h->out_oft) + tm_count(h->out_dims);
    return (sctype_t *)((p + WORD_ALIGN - 1) / WORD_ALIGN * WORD_ALIGN);
}

static TM_SMALL tm_err_t check_file(const tm_mdlbin_t *b, uint32_t len, const tml_head_t **last)
{
    static const uint8_t least[TML_MAXCNT] = {
        sizeof(tml_conv2d_dw_t), sizeof(tml_gap_t),       sizeof(tml_fc_t), sizeof(tml_softmax_t),
        sizeof(tml_reshape_t),   sizeof(tml_conv2d_dw_t), sizeof(tml_add_t)};
    const tml_head_t *h = (const tml_head_t *)(b + 1);
    unsigned i;
    if (len < sizeof(*b))
        return TM_ERR_SIZE;
    if (memcmp(b, "MAIX", 4) != 0)
        return TM_ERR_MAGIC;
    if ((uintptr_t)b % WORD_ALIGN)
        return TM_ERR_ALIGN;
    if (b->input_cnt == 0x0100)
        return TM_ERR_ENDIAN;
    if (b->mdl_type != TM_MDL_TYPE)
        return TM_ERR_MDLTYPE;
    if (b->input_cnt != 1 || b->output_cnt != 1 || b->sub_size)
        return TM_ERR_UNSUPPORT;
    if (*(const tm_u32_t *)b->reserve)
        return TM_ERR_VERSION;
    len -= sizeof(*b);
    for (i = b->layer_cnt;; i--) {
        tm_err_t err;
        if (i == 0 || len < sizeof(*h))
            return TM_ERR_SIZE;
        if (h->type >= TML_MAXCNT)
            return TM_ERR_LAYERTYPE;
        if (h->size < least[h->type] || h->size > len || h->size % TM_ALIGN_SIZE)
            return TM_ERR_SIZE;
        err = check_layer(h, b->buf_size);
        if (err != TM_OK)
            return err;
        if (i == 1)
            break;
        len -= h->size;
        h = (const tml_head_t *)((const uint8_t *)h + h->size);
    }
    *last = h;
    if (memcmp(b->in_dims, ((const tml_head_t *)(b + 1))->in_dims, sizeof(b->in_dims)) != 0)
        return TM_ERR_DIMS;
    return h->is_out ? TM_OK : TM_ERR_UNSUPPORT; /* others may be marked too: old converters did it */
}

tm_err_t TM_WEAK TM_SMALL tm_load_n(tm_mdl_t *mdl, const uint8_t *bin, uint32_t bin_len, uint8_t *buf, uint32_t buf_len,
                           tm_cb_t cb, tm_mat_t *in)
{
    tm_mdlbin_t *b = (tm_mdlbin_t *)(uintptr_t)bin;
    const tml_head_t *h;
    tm_err_t err = check_file(b, bin_len, &h);
    if (err != TM_OK)
        return err;
    mdl->b = b;
    mdl->cb = cb;
    mdl->subbuf = NULL;
    mdl->main_alloc = buf == NULL;
    mdl->layer_i = 0;
    mdl->layer_body = NULL;
    mdl->buf = buf == NULL ? (uint8_t *)tm_malloc(b->buf_size) : buf_len < b->buf_size ? NULL : buf;
    if (mdl->buf == NULL)
        return TM_ERR_OOM;
    if (b->out_deq && !fits((uint32_t)((uint8_t *)floats(mdl, h) - mdl->buf), tm_count(h->out_dims), 4, b->buf_size)) {
        tm_unload(mdl);
        return TM_ERR_ALIGN;
    }
    if (in != NULL) {
        memcpy((void *)in, b->in_dims, sizeof(b->in_dims));
        in->data = TML_GET_INPUT(mdl, (const tml_head_t *)(b + 1));
    }
    return TM_OK;
}

tm_err_t TM_WEAK TM_SMALL tm_load(tm_mdl_t *mdl, const uint8_t *bin, uint8_t *buf, tm_cb_t cb, tm_mat_t *in)
{
    return tm_load_n(mdl, bin, (uint32_t)SIZE_MAX, buf, UINT32_MAX, cb, in);
}

void TM_WEAK TM_SMALL tm_unload(tm_mdl_t *mdl)
{
    if (mdl->main_alloc)
        tm_free(mdl->buf);
    mdl->main_alloc = 0;
}

/* The number of input values, or 0 if in has another. */
static TM_SMALL uint32_t inputs(const tm_mdl_t *mdl, const tm_mat_t *in)
{
    const uint32_t n = tm_count(mdl->b->in_dims);
    return (uint32_t)in->h * in->w * in->c == n ? n : 0;
}

tm_err_t TM_WEAK TM_SMALL tm_preprocess(tm_mdl_t *mdl, tm_pp_t pp_type, tm_mat_t *in, tm_mat_t *out)
{
    const tml_head_t *h = (const tml_head_t *)(mdl->b + 1);
    const uint8_t *u8 = (const uint8_t *)in->data;
    const int fpn11 = pp_type == TMPP_UINT2FPN11;
    uint32_t i, n = inputs(mdl, in);
    if (n == 0)
        return TM_ERR_DIMS;
    if (pp_type >= TMPP_UINT2DTYPE)
        return TM_ERR_UNSUPPORT;
    if (pp_type == TMPP_NONE)
        out->data = in->data;
    else
        for (i = 0; i < n; i++) {
            int q = u8[i] - 128;
            if (pp_type != TMPP_UINT2INT) {
                float x = (float)(fpn11 ? q : u8[i]) / (fpn11 ? 128.0f : 255.0f);
                if (pp_type == TMPP_FP2INT)
                    x = in->dataf[i];
                q = tm_round(x / h->in_s) + (int)h->in_zp;
                q = q < -128 ? -128 : q > 127 ? 127 : q;
            }
            out->data[i] = (mtype_t)q;
        }
    return TM_OK;
}

tm_err_t TM_WEAK TM_SMALL tm_run(tm_mdl_t *mdl, tm_mat_t *in, tm_mat_t *out)
{
    const tml_head_t *h = (const tml_head_t *)(mdl->b + 1), *prev = NULL;
    uint32_t i, n = inputs(mdl, in);
    mtype_t *data = TML_GET_INPUT(mdl, h);
    if (n == 0)
        return TM_ERR_DIMS;
    if (in->data != data)
        memmove(data, in->data, n);
    mdl->layer_body = (uint8_t *)(mdl->b + 1);
    for (mdl->layer_i = 0; mdl->layer_i < mdl->b->layer_cnt; mdl->layer_i++, prev = h, mdl->layer_body += h->size) {
        h = (const tml_head_t *)mdl->layer_body;
        tml_run(h, prev, mdl->buf);
        if (mdl->cb) {
            tm_err_t err = mdl->cb(mdl, (tml_head_t *)mdl->layer_body);
            if (err != TM_OK)
                return err;
        }
    }
    memcpy((void *)out, h->out_dims, sizeof(h->out_dims));
    out->data = data = TML_GET_OUTPUT(mdl, h);
    if (mdl->b->out_deq) {
        sctype_t *f = floats(mdl, h);
        out->dataf = (float *)f;
        for (i = 0, n = tm_count(h->out_dims); i < n; i++)
            f[i] = TML_DEQUANT(h, data[i]);
    }
    return TM_OK;
}
