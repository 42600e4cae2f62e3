/* tm_single.h: TM_SINGLE_LAYER, part of tm_model.c. The file's header and one layer at a time are copied to RAM, behind the
 * main buffer: for files in slow or external flash, which only TM_READ can reach, and for those of the other byte order. */

static void swap(void *at, unsigned width, uint32_t n) {
    uint8_t *p = (uint8_t *)at;
    for (; n > 0; n--, p += width) {
        unsigned i;
        for (i = 0; i < width / 2; i++) {
            const uint8_t byte = p[i];
            p[i] = p[width - 1 - i];
            p[width - 1 - i] = byte;
        }
    }
}

static int swapped(const tm_mdlbin_t *b) { /* there are fewer than 256 inputs */
    return b->input_cnt != 0 && b->input_cnt % 256 == 0;
}

static void swap_head(tml_head_t *h) {
    uint8_t *p = (uint8_t *)h;
    swap(p, 2, 2);
    swap(p + 4, 4, 3);
    swap(p + 16, 2, 8);
    swap(p + 32, 4, 4);
}

/* Turns a block of the layer, if it is one: what reaches outside is left for check_layer to refuse. */
static void swap_block(tml_head_t *h, uint32_t oft, unsigned width, uint32_t n) {
    if (oft >= sizeof(*h) && fits(oft, n, width, h->size))
        swap((uint8_t *)h + oft, width, n);
}

static void swap_body(tml_head_t *h) {
    tml_conv2d_dw_t *l = (tml_conv2d_dw_t *)h;
    const uint32_t c = h->out_dims[3];
    tm_u32_t *oft = (tm_u32_t *)(h + 1);
    uint32_t n = tm_count(h->in_dims);
    if (h->type == TML_CONV2D || h->type == TML_DWCONV2D) {
        if (h->size < sizeof(*l)) return;
        swap(&l->act, 2, 1);
        swap((uint8_t *)l + 60, 4, 5);
        oft = (tm_u32_t *)&l->ws_oft;
        n = (uint32_t)l->kernel_w * l->kernel_h * (h->type == TML_CONV2D ? h->in_dims[3] : 1);
    } else if (h->type >= TML_MORE) { /* words, the first of which says how many; offset and number of values */
        if (h->size < sizeof(*h) + 3 * 4) return;
        swap(oft, 4, 1);
        if (oft[0] > 0)
            swap_block(h, sizeof(*h) + 4, 4, oft[0] - 1);
        swap_block(h, oft[1], sizeof(mtype_t), oft[2]);
        return;
    } else {
        swap_block(h, sizeof(*h), 4, 4);
        if (h->type != TML_FC || h->size < sizeof(tml_fc_t)) return;
    }
    if (TM_INTEGER)
        swap_block(h, oft[0], 4, c);
    if (n <= 0xFFFF)
        swap_block(h, oft[1], sizeof(wtype_t), n * c);
    swap_block(h, oft[2], sizeof(btype_t), c);
}

/* The layer at layer_body of the file, in RAM. */
static const tml_head_t *fetch(tm_mdl_t *mdl) {
    tml_head_t *h = (tml_head_t *)(mdl->subbuf + sizeof(*mdl->b));
    TM_READ(h, mdl->layer_body, sizeof(*h));
    if (mdl->swapped)
        swap_head(h);
    TM_READ(h + 1, mdl->layer_body + sizeof(*h), h->size - sizeof(*h));
    if (mdl->swapped)
        swap_body(h);
    return h;
}

static const tml_head_t *first_layer(tm_mdl_t *mdl) {
    mdl->layer_body = mdl->file + sizeof(*mdl->b);
    return fetch(mdl);
}

static const tml_head_t *next_layer(tm_mdl_t *mdl, const tml_head_t *h) {
    mdl->layer_body += h->size;
    return fetch(mdl);
}

static const tml_head_t *keep_head(tm_mdl_t *mdl, const tml_head_t *h) {
    mdl->before = *h;
    return &mdl->before;
}

/* Size of the largest layer, or 0 if the layers do not fit into len bytes. */
static uint32_t largest(tm_mdl_t *mdl, unsigned layers, uint32_t len) {
    uint8_t *at = mdl->file + sizeof(*mdl->b);
    uint32_t most = 0;
    for (len -= sizeof(*mdl->b); layers > 0; layers--) {
        tml_head_t h;
        if (len < sizeof(h)) return 0;
        TM_READ(&h, at, sizeof(h));
        if (mdl->swapped)
            swap_head(&h);
        if (h.size < sizeof(h) || h.size > len || h.size % TM_ALIGN_SIZE) return 0;
        most = h.size > most ? h.size : most;
        at += h.size;
        len -= h.size;
    }
    return most;
}

tm_err_t TM_WEAK tm_load_n(tm_mdl_t *mdl, const uint8_t *bin, uint32_t bin_len, uint8_t *buf, uint32_t buf_len, tm_cb_t cb,
                           tm_mat_t *in) {
    tm_mdlbin_t head;
    const tml_head_t *h;
    uint32_t most, own, i;
    tm_err_t err;
    if (bin_len < sizeof(head)) return TM_ERR_SIZE;
    if ((uintptr_t)buf % TM_ALIGN_SIZE) return TM_ERR_ALIGN;
    TM_READ(&head, bin, sizeof(head));
    mdl->file = (uint8_t *)(uintptr_t)bin;
    mdl->cb = cb;
    mdl->main_alloc = 0;
    mdl->swapped = (uint8_t)swapped(&head);
    if (mdl->swapped) {
        swap((uint8_t *)&head + 6, 2, 3);
        swap((uint8_t *)&head + 12, 4, 2);
        swap((uint8_t *)&head + 20, 2, 8);
        swap(head.reserve, 4, 1);
    }
    err = check_head(&head);
    if (err != TM_OK) return err;
    most = largest(mdl, head.layer_cnt, bin_len);
    if (most == 0) return TM_ERR_SIZE;
    own = (uint32_t)TM_ALIGN(head.buf_size);
    if (own < head.buf_size || !fits(own, most + sizeof(head), 1, buf ? buf_len : (uint32_t)SIZE_MAX)) return TM_ERR_OOM;
    mdl->buf = buf ? buf : (uint8_t *)tm_malloc(own + most + sizeof(head));
    if (mdl->buf == NULL) return TM_ERR_OOM;
    mdl->main_alloc = buf == NULL;
    mdl->subbuf = mdl->buf + own;
    mdl->b = (tm_mdlbin_t *)mdl->subbuf;
    *mdl->b = head;
    mdl->layer_body = mdl->file + sizeof(head);
    for (i = 0; i < head.layer_cnt && err == TM_OK; i++, mdl->layer_body += h->size) {
        h = fetch(mdl);
        err = check_layer(h, h->size, head.buf_size);
        if (err == TM_OK)
            err = check_output(&head, h, head.layer_cnt - i);
        if (i == 0 && err == TM_OK)
            err = memcmp(head.in_dims, h->in_dims, sizeof(head.in_dims)) ? TM_ERR_DIMS : TM_OK;
    }
    if (err != TM_OK) {
        tm_unload(mdl);
        return err;
    }
    give_inputs(mdl, in);
    return TM_OK;
}
