/* tm_check.h: what a file must be for tm_run to need no checks, part of tm_model.c. Every offset, size and dimension in the
 * file is hostile until it was here. */

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
    uint32_t taps = 1;
    int i;
    for (i = 0; i < 2; i++) { /* w, then h: input, pads, kernel and stride give the output */
        const int32_t room = (int32_t)in[2 - i] + g[10 - 2 * i] + g[11 - 2 * i] - (int32_t)g[4 + i] * (g[i] - 1) - 1;
        if ((uint32_t)g[i] * g[2 + i] * g[4 + i] == 0) return TM_ERR_KSIZE;
        if ((uint32_t)(room - (int32_t)g[2 + i] * (out[2 - i] - 1)) >= g[2 + i]) return TM_ERR_DIMS;
        taps *= g[i];
    }
    if (l->act > TM_ACT_RELU6) return TM_ERR_ACT;
    if (l->h.type == TML_CONV2D)
        taps *= in[3];
    else if (l->depth_mul > out[3] || l->depth_mul * in[3] != out[3]) return TM_ERR_DIMS;
    return check_weights(&l->h, (const tm_u32_t *)&l->ws_oft, taps);
}

/* room: bytes of the file from the layer on */
static TM_SMALL tm_err_t check_layer(const tml_head_t *h, uint32_t room, uint32_t buf_size) {
    static const uint8_t at[9] = {/* dimensions, offset and scale of output, input, second input */
                                  24, 12, 40, 16, 8, 32, 16, 48, 52};
    static const uint8_t kinds[TML_MAXCNT] = {33, 0, 17, 0, 0, 33, 16}; /* bytes behind the header, at least; odd: weights */
    static const uint32_t probability[2] = TM_PROBABILITY;
    const uint32_t c = h->in_dims[3], type = h->type;
    uint32_t n = 0, no = 0; /* elements of a tensor, of the output */
    const uint8_t *p = at;
    unsigned i, kind;
    if (type >= TML_MAXCNT) return TM_MORE_LAYERS ? tml_check_more(h, room, buf_size) : TM_ERR_LAYERTYPE;
    kind = kinds[type];
    if (h->size % TM_ALIGN_SIZE || h->size < sizeof(*h) + kind || h->size > room) return TM_ERR_SIZE;
    for (i = 0; i < 3 && (i < 2 || type == TML_ADD); i++) {
        const uint16_t *d = (const uint16_t *)((const uint8_t *)h + *p++);
        const uint32_t oft = *(const tm_u32_t *)((const uint8_t *)h + *p++), pixels = (uint32_t)d[1] * d[2];
        const tm_u32_t *q = (const tm_u32_t *)((const uint8_t *)h + *p++);
        n = pixels * d[3];
        if (pixels >> 23 || n == 0) return TM_ERR_DIMS; /* a sum over the pixels fits 32 bits */
        if (TM_BAD_SCALE(q)) return TM_ERR_SCALE;
        if (oft % sizeof(mtype_t)) return TM_ERR_ALIGN;
        if (!fits(oft, pixels * (uint32_t)sizeof(mtype_t), d[3], buf_size)) return TM_ERR_OFFSET;
        if (i == 0)
            no = n;
        /* Layers work in place if the output begins at or before the input; but not convolutions. */
        if (i > 0 && oft + n * sizeof(mtype_t) > h->out_oft && h->out_oft + kind % 2 * no * sizeof(mtype_t) > oft)
            return TM_ERR_OVERLAP;
    }
    if (kind & 32) return check_conv((const tml_conv2d_dw_t *)h);
    if (no != (kind & 1 ? h->out_dims[3] : type == TML_GAP ? c : n)) return TM_ERR_DIMS;
    if (kind & 1) return check_weights(h, (const tm_u32_t *)&((const tml_fc_t *)h)->ws_oft, n);
    if (type != TML_SOFTMAX) return TM_OK;
    if (c > 4095 || h->out_dims[3] != c) return TM_ERR_DIMS; /* the sum of exponentials has 12 integer bits */
    return TM_INTEGER && (tm_bits(&h->in_s) - 0x32800000u >= TM_SOFTMAX_LIMIT - 0x32800000u || /* from 2^-26 on */
        memcmp(&h->out_s, probability, 8)) ? TM_ERR_SCALE : TM_OK;
}

/* Where the dequantized output lies: behind the output. */
static uint32_t floats_oft(const tml_head_t *h) {
    return (h->out_oft + tm_count(h->out_dims) * (uint32_t)sizeof(mtype_t) + 3) & ~(uint32_t)3;
}

static TM_ONCE tm_err_t check_head(const tm_mdlbin_t *b) {
    if (b->magic != TM_MAGIC) return TM_ERR_MAGIC;
    if (b->mdl_type != TM_MDL_TYPE) return TM_ERR_MDLTYPE;
    if (b->input_cnt == 0x0100) return TM_ERR_ENDIAN;
    if (b->input_cnt - 1u >= TM_MOST_TENSORS || b->output_cnt - 1u >= TM_MOST_TENSORS) return TM_ERR_UNSUPPORT;
    if (TM_MORE_LAYERS && (b->input_cnt > b->layer_cnt || b->output_cnt > b->layer_cnt)) return TM_ERR_SIZE;
    return *(const tm_u32_t *)b->reserve & ~TM_MORE_VERSION ? TM_ERR_VERSION : TM_OK;
}

/* h: the layer with left - 1 behind it; others than those of outputs may be marked so too, old converters did it. */
static TM_ONCE tm_err_t check_output(const tm_mdlbin_t *b, const tml_head_t *h, unsigned left) {
    if (left > TM_OUTPUTS(b)) return TM_OK;
    if (!h->is_out) return TM_ERR_UNSUPPORT;
    return b->out_deq && TM_MDL_TYPE != TM_MDL_FP32 && !fits(floats_oft(h), tm_count(h->out_dims), 4, b->buf_size)
               ? TM_ERR_OFFSET : TM_OK;
}
