/* tm_model.c: load (and check) a model, prepare its input, run it. */
#include "tinymaix.h"

#if TM_SINGLE_LAYER /* layers are copied from the file, which lies elsewhere */
#define first_body(mdl) ((mdl)->file + sizeof(*(mdl)->b))
static const tml_head_t *fetch(tm_mdl_t *mdl), *first_layer(tm_mdl_t *mdl), *keep_head(tm_mdl_t *mdl, const tml_head_t *h);
static const tml_head_t *next_layer(tm_mdl_t *mdl, const tml_head_t *h);
#else /* or read in place */
#define first_body(mdl) ((uint8_t *)((mdl)->b + 1))
#define first_layer(mdl) ((const tml_head_t *)((mdl)->b + 1))
#define fetch(mdl) ((const tml_head_t *)(mdl)->layer_body)
#define keep_head(mdl, h) (h)
#define next_layer(mdl, h) ((const tml_head_t *)((const uint8_t *)(h) + (h)->size))
#endif

/* Nearest integer, halves away from zero; beyond +-2^22, where every integer type saturates, +-2^22. Adds not 0.5, but the
 * float below it, which would else itself become 1. */
int32_t TM_WEAK TM_SMALL tm_round(float x) {
    const uint32_t sign = tm_bits(&x) >> 31;
    if (tm_bits(&x) << 1 >= 0x4A800000u << 1) /* 2^22 and more, NaN */
        return 4194304 - (int32_t)(sign << 23);
    return (int32_t)(x + tm_float(sign << 31 | 0x3EFFFFFFu));
}

#include "tm_check.h"

/* A tensor of these dimensions at oft. */
static void give(tm_mat_t *mat, const uint16_t *dims, mtype_t *data) {
    memcpy((void *)mat, dims, 4 * sizeof(*dims));
    mat->data = data;
}

static TM_ONCE void give_inputs(tm_mdl_t *mdl, tm_mat_t *in) {
    const tml_head_t *h = first_layer(mdl);
    unsigned k = 1;
    for (; in != NULL; h = next_layer(mdl, h)) {
        give(in++, h->in_dims, TML_GET_INPUT(mdl, h));
        if (k++ >= TM_INPUTS(mdl->b)) return;
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
    const tml_head_t *h = first_layer(mdl);
    unsigned k;
    if (pp_type >= (TM_INTEGER ? TMPP_UINT2DTYPE : TMPP_MAXCNT)) return TM_ERR_UNSUPPORT;
    for (k = 0; k < TM_INPUTS(mdl->b); k++, in++, out++) {
        const uint8_t *u8 = (const uint8_t *)in->data;
        uint32_t i, n;
        if (k > 0)
            h = next_layer(mdl, h);
        n = values(h, in);
        if (n == 0) return TM_ERR_DIMS;
        if (pp_type == TMPP_NONE) {
            out->data = in->data;
            n = 0;
        }
        for (i = 0; i < n; i++) {
            const int32_t q = u8[i] - 128;
            mtype_t y = (mtype_t)(q * (1 << UINT2INT_SHIFT));
            if (pp_type != TMPP_UINT2INT || !TM_INTEGER) {
                const float x = pp_type == TMPP_FP2INT       ? in->dataf[i]
                                : pp_type == TMPP_UINT2FPN11 ? (float)q / 128.0f
                                : TM_INTEGER || pp_type == TMPP_UINT2FP01 ? (float)u8[i] / 255.0f
                                                                          : (float)u8[i];
                y = TM_QUANT(x, h->in_s, h->in_zp);
            }
            out->data[i] = y;
        }
    }
    return TM_OK;
}

/* Layer h's output, dequantized if the file says so. */
static TM_ONCE void give_output(const tm_mdl_t *mdl, const tml_head_t *h, tm_mat_t *out) {
    const mtype_t *data = TML_GET_OUTPUT(mdl, h);
    give(out, h->out_dims, TML_GET_OUTPUT(mdl, h));
    if (mdl->b->out_deq && TM_MDL_TYPE != TM_MDL_FP32) {
        sctype_t *f = (sctype_t *)(mdl->buf + floats_oft(h));
        uint32_t n = tm_count(h->out_dims);
        out->dataf = (float *)f;
        for (; n > 0; n--)
            *f++ = TM_DEQUANT(*data++, h->out_s, h->out_zp);
    }
}

tm_err_t TM_WEAK TM_SMALL tm_run(tm_mdl_t *mdl, tm_mat_t *in, tm_mat_t *out) {
    const tml_head_t *h = first_layer(mdl), *prev;
    unsigned k;
    for (k = 0; k < TM_INPUTS(mdl->b); k++, in++) {
        uint32_t n;
        if (k > 0)
            h = next_layer(mdl, h);
        n = values(h, in);
        if (n == 0) return TM_ERR_DIMS;
        memmove(TML_GET_INPUT(mdl, h), in->data, n * sizeof(mtype_t));
    }
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
