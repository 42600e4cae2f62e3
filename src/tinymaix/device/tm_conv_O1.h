/* tm_conv_O1.h: the convolutions of TM_OPT1, part of tm_layers.c. Several output channels share the inputs under the kernel,
 * which are gathered once, in the order of the weights: channel, row, column. Costs 12 bytes of RAM for each of TM_MAX_CSIZE
 * channels and one for each of TM_MAX_KCSIZE inputs; a kernel with a larger area falls back to the small convolution. */

typedef struct {
    const uint8_t *g; /* (w, h) of kernel, stride, dilation; act; pads */
    int h, w, zp;
    unsigned c, taps;
} tm_window_t;

/* n input channels, from src on, of the window at (y, x0). Outside is the zero point. */
static void gather(const tm_window_t *v, const mtype_t *src, int y, int x0, unsigned n, mtype_t *dst)
{
    unsigned i;
    int ky, kx;
    for (ky = v->g[1]; ky > 0; ky--, y += v->g[5]) {
        int x = x0;
        for (kx = v->g[0]; kx > 0; kx--, x += v->g[4], dst++) {
            mtype_t *d = dst;
            if (y >= 0 && y < v->h && x >= 0 && x < v->w) {
                const mtype_t *p = src + ((size_t)y * (size_t)v->w + (size_t)x) * v->c;
                for (i = n; i > 0; i--, d += v->taps)
                    *d = *p++;
            } else
                for (i = n; i > 0; i--, d += v->taps)
                    *d = (mtype_t)v->zp;
        }
    }
}

/* sums[i] += inputs at s times the size weights of channel i, for n channels whose kernels lie step weights apart. */
static void macs(const mtype_t *s, const wtype_t *w, unsigned size, unsigned step, unsigned n, sumtype_t *sums)
{
    sumtype_t r[2];
    if (size == step)
        for (; n >= 2; n -= 2, w += 2 * step) {
            tm_dot_prod_pack2(s, w, size, r);
            *sums++ += r[0];
            *sums++ += r[1];
        }
    for (; n > 0; n--, w += step, *sums++ += r[0]) {
        if (size == 9)
            tm_dot_prod_3x3x1(s, w, r);
        else
            tm_dot_prod(s, w, size, r);
    }
}

static void conv_O1(tm_job_t *j)
{
    static const uint8_t unit[12] = {1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0};
    TM_STATIC tm_scale_t scales[TM_MAX_CSIZE];
    TM_STATIC sumtype_t sums[TM_MAX_CSIZE];
    TM_STATIC mtype_t patch[TM_MAX_KCSIZE];
    const tml_head_t *h = j->h;
    const uint8_t *base = (const uint8_t *)h, *g = base + sizeof(*h);
    const tm_u32_t *oft = (const tm_u32_t *)&((const tml_conv2d_dw_t *)h)->ws_oft;
    const int fc = h->type == TML_FC, dw = h->type == TML_DWCONV2D;
    const unsigned cout = h->out_dims[3];
    tm_window_t v = {g, h->in_dims[1], h->in_dims[2], (int)h->in_zp, h->in_dims[3], 0};
    unsigned n, c, i, k, m, gin, gout, step;
    int eh, ew, direct, gap;
    uint32_t k_oft[9];
    if (fc) {
        oft = (const tm_u32_t *)g;
        v.g = g = unit;
        v.c = tm_count(h->in_dims);
        v.h = v.w = 1;
    }
    v.taps = (unsigned)g[0] * g[1];
    if (v.taps > TM_MAX_KCSIZE) {
        conv(j);
        return;
    }
    gin = dw ? 1 : v.c;            /* input channels that an output channel sees */
    gout = dw ? cout / v.c : cout; /* output channels that see the same */
    step = TM_MAX_KCSIZE / v.taps;
    eh = g[5] * (g[1] - 1);
    ew = g[4] * (g[0] - 1);
    direct = v.taps == 1;
    gap = dw && g[0] == 3 && g[1] == 3;
    for (i = 0; i < 9; i++)
        k_oft[i] = ((uint32_t)(i / 3 * g[5]) * (uint32_t)v.w + i % 3 * g[4]) * v.c;
    for (c = 0; c < cout; c += n) {
        const mtype_t *src = dw ? j->in + c / gout : j->in;
        const wtype_t *w = (const wtype_t *)base + oft[1] + (size_t)c * gin * v.taps;
        const btype_t *bias = (const btype_t *)(base + oft[2]) + c;
        mtype_t *out = j->out + c;
        int y, x, oy, ox;
        n = gout - c % gout;
        if (n > TM_MAX_CSIZE)
            n = TM_MAX_CSIZE;
        for (i = 0; i < n; i++)
            channel_scale(h, (const sctype_t *)(base + oft[0]), c + i, &scales[i]);
        for (oy = 0, y = -g[8]; oy < (int)h->out_dims[1]; oy++, y += g[3])
            for (ox = 0, x = -g[10]; ox < (int)h->out_dims[2]; ox++, x += g[2], out += cout) {
                const mtype_t *at = 0; /* the window's first input where the window is all inside */
                if (y >= 0 && x >= 0 && y + eh < v.h && x + ew < v.w)
                    at = src + ((size_t)y * (size_t)v.w + (size_t)x) * v.c;
                for (i = 0; i < n; i++)
                    sums[i] = 0;
                if (at && direct)
                    macs(at, w, gin, gin, n, sums);
                else if (at && gap)
                    for (i = 0; i < n; i++)
                        tm_dot_prod_gap_3x3x1(at, w + 9 * i, k_oft, &sums[i]);
                else
                    for (k = 0; k < gin; k += m) {
                        m = gin - k < step ? gin - k : step;
                        gather(&v, src + k, y, x, m, patch);
                        macs(patch, w + k * v.taps, m * v.taps, gin * v.taps, n, sums);
                    }
                tm_postprocess_sum((int)n, sums, bias, j->act, out, scales, j->zp);
            }
    }
}
