/* tm_model.c: load (and check) a model, prepare its input, run it. */
#include "tinymaix.h"

#if TM_SINGLE_LAYER /* layers are copied from the file, which lies elsewhere */
#define first_body(mdl) ((mdl)->file + sizeof(*(mdl)->b))
static const tml_head_t *fetch(tm_mdl_t *mdl), *first_layer(tm_mdl_t *mdl), *keep_head(tm_mdl_t *mdl, const tml_head_t *h);
#else /* or read in place */
#define first_body(mdl) ((uint8_t *)((mdl)->b + 1))
#define first_layer(mdl) ((const tml_head_t *)((mdl)->b + 1))
#define fetch(mdl) ((const tml_head_t *)(mdl)->layer_body)
#define keep_head(mdl, h) (h)
#endif

/* Nearest integer, halves away from zero; beyond +-2^22, where every integer type saturates, +-2^22. Adds not 0.5, but the
 * float below it, which would else itself become 1. */
int32_t TM_WEAK TM_SMALL tm_round(float x) {
    const uint32_t sign = tm_bits(&x) >> 31;
    if (tm_bits(&x) << 1 >= 0x4A800000u << 1) /* 2^22 and more, NaN */
        return sign ? -4194304 : 4194304;
    return (int32_t)(x + tm_float(sign << 31 | 0x3EFFFFFFu));
}

/* a * b bytes at oft lie within size; b > 0. */
static TM_SMALL int fits(uint32_t oft, uint32_t a, uint32_t b, uint32_t size) {
    return oft <= size && a <= (size - oft) / b;
}

/* Scales, weights and biases lie in the layer; o: their offsets. n: weights of one output channel. */
static TM_SMALL tm_err_t check_weights(const tml_head_t *h, const tm_u32_t *o, uint32_t n) {
    const uint32_t c = h->out_dims[3];
    uint32_t i;
    if (n >> 16) return TM_ERR_DIMS; /* a sum of n products of int8 fits 32 bits */
    for (i = !TM_INTEGER; i < 3; i++) {
        if (o[i] % (i == 1 ? sizeof(wtype_t) : sizeof(btype_t))) return TM_ERR_ALIGN;
        if (!fits(o[i], i == 1 ? n * (uint32_t)sizeof(wtype_t) : sizeof(btype_t), c, h->size)) return TM_ERR_OFFSET;
    }
    for (i = 0; i < c && TM_INTEGER; i++) /* negative, infinite, not a number */
        if (((const tm_u32_t *)((const uint8_t *)h + o[0]))[i] >= 0x7F800000u) return TM_ERR_SCALE;
    return TM_OK;
}

static TM_ONCE tm_err_t check_conv(const tml_conv2d_dw_t *l) {
    const uint16_t *in = l->h.in_dims, *out = l->h.out_dims;
    const uint8_t *g = (const uint8_t *)l + sizeof(l->h); /* (w, h) of kernel, stride, dilation; act; pads of h, of w */
    uint32_t taps = l->h.type == TML_CONV2D ? in[3] : 1;
    int i;
    for (i = 0; i < 2; i++) { /* w, then h: input, pads, kernel and stride give the output */
        const int32_t room = (int32_t)in[2 - i] + g[10 - 2 * i] + g[11 - 2 * i] - (int32_t)g[4 + i] * (g[i] - 1) - 1;
        if ((uint32_t)g[i] * g[2 + i] * g[4 + i] == 0) return TM_ERR_KSIZE;
        if ((uint32_t)(room - (int32_t)g[2 + i] * (out[2 - i] - 1)) >= g[2 + i]) return TM_ERR_DIMS;
        taps *= g[i];
    }
    if (l->act > TM_ACT_RELU6) return TM_ERR_ACT;
    if (l->h.type == TML_DWCONV2D && (l->depth_mul > out[3] || l->depth_mul * in[3] != out[3])) return TM_ERR_DIMS;
    return check_weights(&l->h, (const tm_u32_t *)&l->ws_oft, taps);
}

/* room: bytes of the file from the layer on */
static TM_SMALL tm_err_t check_layer(const tml_head_t *h, uint32_t room, uint32_t buf_size) {
    static const uint8_t at[3][3] = {/* dimensions, offset and scale of output, input, second input */
                                     {24, 12, 40}, {16, 8, 32}, {16, 48, 52}};
    static const uint8_t kinds[TML_MAXCNT] = {33, 0, 17, 0, 0, 33, 16}; /* bytes behind the header, at least; odd: weights */
    static const uint32_t probability[2] = TM_PROBABILITY;
    const uint32_t ni = tm_count(h->in_dims), no = tm_count(h->out_dims), c = h->in_dims[3], type = h->type;
    unsigned i, kind;
    if (type >= TML_MAXCNT) return TM_MORE_LAYERS ? tml_check_more(h, room, buf_size) : TM_ERR_LAYERTYPE;
    kind = kinds[type];
    if (h->size < sizeof(*h) + kind || h->size > room || h->size % TM_ALIGN_SIZE) return TM_ERR_SIZE;
    for (i = 0; i < 2 + type / TML_ADD; i++) {
        const uint16_t *d = (const uint16_t *)((const uint8_t *)h + at[i][0]);
        const uint32_t oft = *(const tm_u32_t *)((const uint8_t *)h + at[i][1]), pixels = (uint32_t)d[1] * d[2];
        const tm_u32_t *q = (const tm_u32_t *)((const uint8_t *)h + at[i][2]);
        if (pixels >> 23 || pixels * d[3] == 0) return TM_ERR_DIMS; /* a sum over the pixels fits 32 bits */
        if (TM_BAD_SCALE(q)) return TM_ERR_SCALE;
        if (oft % sizeof(mtype_t)) return TM_ERR_ALIGN;
        if (!fits(oft, pixels * (uint32_t)sizeof(mtype_t), d[3], buf_size)) return TM_ERR_OFFSET;
        /* Layers work in place if the output begins at or before the input; but not convolutions. */
        if (i > 0 && oft + ni * sizeof(mtype_t) > h->out_oft && h->out_oft + kind % 2 * no * sizeof(mtype_t) > oft)
            return TM_ERR_OVERLAP;
    }
    if (kind & 32) return check_conv((const tml_conv2d_dw_t *)h);
    if (no != (kind & 1 ? h->out_dims[3] : type == TML_GAP ? c : ni)) return TM_ERR_DIMS;
    if (kind & 1) return check_weights(h, (const tm_u32_t *)&((const tml_fc_t *)h)->ws_oft, ni);
    if (type != TML_SOFTMAX) return TM_OK;
    if (c > 4095 || h->out_dims[3] != c) return TM_ERR_DIMS; /* the sum of exponentials has 12 integer bits */
    return TM_INTEGER && (tm_bits(&h->in_s) - 0x32800000u >= TM_SOFTMAX_LIMIT - 0x32800000u || /* from 2^-26 on */
        memcmp(&h->out_s, probability, 8)) ? TM_ERR_SCALE : TM_OK;
}

/* Where the dequantized output lies: behind the output. */
static TM_SMALL uint32_t floats_oft(const tml_head_t *h) {
    return (h->out_oft + tm_count(h->out_dims) * (uint32_t)sizeof(mtype_t) + 3) & ~(uint32_t)3;
}

static TM_ONCE tm_err_t check_head(const tm_mdlbin_t *b) {
    if (memcmp(b, "MAIX", 4) != 0) return TM_ERR_MAGIC;
    if (b->input_cnt == 0x0100) return TM_ERR_ENDIAN;
    if (b->mdl_type != TM_MDL_TYPE) return TM_ERR_MDLTYPE;
    if (b->input_cnt - 1u >= TM_MOST_TENSORS || b->output_cnt - 1u >= TM_MOST_TENSORS) return TM_ERR_UNSUPPORT;
    if (TM_MORE_LAYERS && (b->input_cnt > b->layer_cnt || b->output_cnt > b->layer_cnt)) return TM_ERR_SIZE;
    return *(const tm_u32_t *)b->reserve & ~TM_MORE_VERSION ? TM_ERR_VERSION : TM_OK;
}

/* h: the layer with left - 1 behind it; others than those of outputs may be marked so too, old converters did it. */
static TM_ONCE tm_err_t check_output(const tm_mdlbin_t *b, const tml_head_t *h, unsigned left) {
    if (left > TM_OUTPUTS(b)) return TM_OK;
    if (b->out_deq && TM_MDL_TYPE != TM_MDL_FP32 && !fits(floats_oft(h), tm_count(h->out_dims), 4, b->buf_size))
        return TM_ERR_OFFSET;
    return h->is_out ? TM_OK : TM_ERR_UNSUPPORT;
}

static TM_ONCE void give_inputs(tm_mdl_t *mdl, tm_mat_t *in) {
    unsigned i;
    mdl->layer_body = first_body(mdl);
    for (i = 0; i < TM_INPUTS(mdl->b) && in != NULL; i++, in++) {
        const tml_head_t *h = fetch(mdl);
        memcpy((void *)in, h->in_dims, sizeof(h->in_dims));
        in->data = TML_GET_INPUT(mdl, h);
        mdl->layer_body += h->size;
    }
}

void TM_WEAK TM_SMALL tm_unload(tm_mdl_t *mdl) {
    if (mdl->main_alloc)
        tm_free(mdl->buf);
    mdl->main_alloc = 0;
}

#if TM_SINGLE_LAYER
#include "tm_single.h"
#else
static TM_SMALL tm_err_t check_file(const tm_mdlbin_t *b, uint32_t len) {
    const tml_head_t *h = (const tml_head_t *)(b + 1);
    unsigned i;
    tm_err_t err;
    if (len < sizeof(*b)) return TM_ERR_SIZE;
    err = check_head(b);
    if (err != TM_OK) return err;
    len -= sizeof(*b);
    for (i = b->layer_cnt;; h = (const tml_head_t *)((const uint8_t *)h + h->size)) {
        if (i == 0 || len < sizeof(*h)) return TM_ERR_SIZE;
        err = check_layer(h, len, b->buf_size);
        if (err == TM_OK)
            err = check_output(b, h, i);
        if (err != TM_OK) return err;
        len -= h->size;
        if (--i == 0)
            break;
    }
    return memcmp(b->in_dims, ((const tml_head_t *)(b + 1))->in_dims, sizeof(b->in_dims)) ? TM_ERR_DIMS : TM_OK;
}

tm_err_t TM_WEAK TM_SMALL tm_load_n(tm_mdl_t *mdl, const uint8_t *bin, uint32_t bin_len, uint8_t *buf, uint32_t buf_len,
                                    tm_cb_t cb, tm_mat_t *in) {
    tm_mdlbin_t *b = (tm_mdlbin_t *)(uintptr_t)bin;
    const tm_err_t err = ((uintptr_t)bin | (uintptr_t)buf) % TM_WORD_ALIGN ? TM_ERR_ALIGN : check_file(b, bin_len);
    if (err != TM_OK) return err;
    mdl->b = b;
    mdl->cb = cb;
    mdl->main_alloc = buf == NULL;
    mdl->buf = buf == NULL ? (uint8_t *)tm_malloc(b->buf_size) : buf_len < b->buf_size ? NULL : buf;
    if (mdl->buf == NULL) return TM_ERR_OOM;
    give_inputs(mdl, in);
    return TM_OK;
}
#endif

/* The number of values of the input that layer h reads, or 0 if in has another. */
static TM_SMALL uint32_t values(const tml_head_t *h, const tm_mat_t *in) {
    const uint32_t n = tm_count(h->in_dims);
    return tm_count((const uint16_t *)in) == n ? n : 0;
}

tm_err_t TM_WEAK TM_SMALL tm_preprocess(tm_mdl_t *mdl, tm_pp_t pp_type, tm_mat_t *in, tm_mat_t *out) {
    unsigned k;
    if (pp_type >= (TM_INTEGER ? TMPP_UINT2DTYPE : TMPP_MAXCNT)) return TM_ERR_UNSUPPORT;
    mdl->layer_body = first_body(mdl);
    for (k = 0; k < TM_INPUTS(mdl->b); k++, in++, out++) {
        const tml_head_t *h = fetch(mdl);
        const uint8_t *u8 = (const uint8_t *)in->data;
        uint32_t i, n = values(h, in);
        if (n == 0) return TM_ERR_DIMS;
        if (pp_type == TMPP_NONE) {
            out->data = in->data;
            n = 0;
        }
        for (i = 0; i < n; i++) {
            int32_t q = u8[i] - 128;
            if (pp_type == TMPP_UINT2INT && TM_INTEGER)
                out->data[i] = (mtype_t)(q * (1 << UINT2INT_SHIFT));
            else {
                const float x = pp_type == TMPP_FP2INT       ? in->dataf[i]
                                : pp_type == TMPP_UINT2FPN11 ? (float)q / 128.0f
                                : pp_type == TMPP_UINT2FP01  ? (float)u8[i] / 255.0f
                                                             : (float)u8[i];
                out->data[i] = TM_QUANT(x, h->in_s, h->in_zp);
            }
        }
        mdl->layer_body += h->size;
    }
    return TM_OK;
}

/* Layer h's output, dequantized if the file says so. */
static TM_ONCE void give_output(const tm_mdl_t *mdl, const tml_head_t *h, tm_mat_t *out) {
    const mtype_t *data = TML_GET_OUTPUT(mdl, h);
    uint32_t i, n = tm_count(h->out_dims);
    memcpy((void *)out, h->out_dims, sizeof(h->out_dims));
    out->data = TML_GET_OUTPUT(mdl, h);
    if (mdl->b->out_deq && TM_MDL_TYPE != TM_MDL_FP32) {
        sctype_t *f = (sctype_t *)(mdl->buf + floats_oft(h));
        out->dataf = (float *)f;
        for (i = 0; i < n; i++)
            f[i] = TM_DEQUANT(data[i], h->out_s, h->out_zp);
    }
}

tm_err_t TM_WEAK TM_SMALL tm_run(tm_mdl_t *mdl, tm_mat_t *in, tm_mat_t *out) {
    const tml_head_t *h, *prev;
    unsigned k;
    mdl->layer_body = first_body(mdl);
    for (k = 0; k < TM_INPUTS(mdl->b); k++, in++) {
        uint32_t n;
        h = fetch(mdl);
        n = values(h, in);
        if (n == 0) return TM_ERR_DIMS;
        if (in->data != TML_GET_INPUT(mdl, h))
            memmove(TML_GET_INPUT(mdl, h), in->data, n * sizeof(mtype_t));
        mdl->layer_body += h->size;
    }
    h = first_layer(mdl);
    mdl->layer_body = first_body(mdl);
    for (mdl->layer_i = 0; mdl->layer_i < mdl->b->layer_cnt; mdl->layer_i++, mdl->layer_body += h->size) {
        tm_err_t err = TM_OK;
        prev = keep_head(mdl, h);
        h = fetch(mdl);
        tml_run(h, prev, mdl->buf);
        if (mdl->cb)
            err = mdl->cb(mdl, (tml_head_t *)(uintptr_t)h);
        if (err != TM_OK) return err;
        if (TM_MORE_LAYERS && mdl->layer_i + TM_OUTPUTS(mdl->b) >= mdl->b->layer_cnt)
            give_output(mdl, h, out++);
    }
    if (!TM_MORE_LAYERS)
        give_output(mdl, h, out);
    return TM_OK;
}
