/* tm_conv_O1.h: the convolutions of TM_OPT1, part of tm_layers.c. TM_TILE output pixels share each weight that is read, and
 * the channels of a block the inputs under the kernel, which are gathered once, in the order of the weights: channel, row,
 * column. What is too large for the tile falls back to the small convolution. An architecture may bring its own tile (see
 * tm_tile_O1.h), tm_row_3x3 (TM_ROW_3X3) and tm_postprocess_row (TM_POSTPROCESS_ROW). */

#define TM_SUMS ((TM_MAX_CSIZE + 1) / 2 * 2) /* channels of a block, as pairs */
#include "tm_tile_O1.h"

#ifndef TM_ROW_3X3
/* Depthwise: sums[i] = kernel at kptr times the 3x3 inputs at sptr + i * stride, in rows of width inputs. */
TM_INLINE void tm_row_3x3(const mtype_t *sptr, uint32_t width, uint32_t stride, const wtype_t *kptr, uint32_t n,
                          sumtype_t *sums)
{
    const wtype_t k0 = kptr[0], k1 = kptr[1], k2 = kptr[2], k3 = kptr[3], k4 = kptr[4], k5 = kptr[5], k6 = kptr[6],
                  k7 = kptr[7], k8 = kptr[8];
    const mtype_t *q = sptr + width, *r = q + width;
    for (; n > 0; n--, sptr += stride, q += stride, r += stride)
        *sums++ = TM_MUL(sptr[0], k0) + TM_MUL(sptr[1], k1) + TM_MUL(sptr[2], k2) + TM_MUL(q[0], k3) + TM_MUL(q[1], k4) +
                  TM_MUL(q[2], k5) + TM_MUL(r[0], k6) + TM_MUL(r[1], k7) + TM_MUL(r[2], k8);
}
#endif

#ifdef __GNUC__ /* apart from the loops around them, so that the inner ones have all registers */
#define APART static __attribute__((noinline))
#else
#define APART static
#endif
#define MOST 64 /* input channels gathered at a time */
#define TILE (TM_MAX_KCSIZE * 4 * ((TM_TILE + 1) / 2) / sizeof(tm_tile_t)) /* elements of a tile, 2 bytes an input */
#define STRIP (TILE * sizeof(tm_tile_t) / sizeof(mtype_t) - 4) /* inputs of a strip, behind which a row may be read */

typedef struct {
    const uint8_t *g; /* (w, h) of kernel, stride, dilation; act; pads */
    const mtype_t *in;
    int h, w;
    unsigned c, taps, ow, step; /* step: input channels gathered at a time */
    int direct;                 /* 1x1 without pads: nothing to gather */
    mtype_t outside[MOST]; /* zero points */
} tm_window_t;

typedef struct { /* an output pixel: its column, and the first input under its kernel */
    int y, x;
    unsigned ox;
} tm_pixel_t;

static tm_pixel_t next(const tm_window_t *v, tm_pixel_t p)
{
    p.x += v->g[2];
    if (++p.ox == v->ow) {
        p.ox = 0;
        p.x = -v->g[10];
        p.y += v->g[3];
    }
    return p;
}

/* Whether the kernel at p reaches over no edge. */
static int inside(const tm_window_t *v, tm_pixel_t p)
{
    const uint8_t *g = v->g;
    return p.y >= 0 && p.x >= 0 && p.y + g[5] * (g[1] - 1) < v->h && p.x + g[4] * (g[0] - 1) < v->w;
}

/* n input channels from c on under the kernel at p, in the order of the weights; a zero point where p is outside. */
APART void gather(const tm_window_t *v, tm_pixel_t p, unsigned c, unsigned n, mtype_t *to)
{
    const unsigned taps = v->taps, kw = v->g[0], dx = v->g[4], channels = v->c;
    const mtype_t *outside = v->outside;
    unsigned ky, kx, i, x;
    if (n == 1 && inside(v, p)) {
        const mtype_t *s = v->in + (size_t)(p.y * v->w + p.x) * channels + c;
        const unsigned across = dx * channels, down = (unsigned)v->w * v->g[5] * channels - kw * across;
        for (ky = v->g[1]; ky > 0; ky--, s += down)
            for (kx = kw; kx > 0; kx--, s += across)
                *to++ = *s;
        return;
    }
    for (ky = v->g[1]; ky > 0; ky--, p.y += v->g[5]) {
        const mtype_t *row = outside;
        unsigned wide = 0;
        if (p.y >= 0 && p.y < v->h) {
            row = v->in + (size_t)(p.y * v->w) * channels + c;
            wide = (unsigned)v->w;
        }
        for (kx = kw, x = (unsigned)p.x; kx > 0; kx--, x += dx, to++) {
            const mtype_t *s = x < wide ? row + (size_t)x * channels : outside;
            mtype_t *d = to;
            for (i = n; i >= 4; i -= 4, s += 4) {
                d[0] = s[0];
                d += taps;
                d[0] = s[1];
                d += taps;
                d[0] = s[2];
                d += taps;
                d[0] = s[3];
                d += taps;
            }
            if (i & 2) {
                d[0] = *s++;
                d += taps;
                d[0] = *s++;
                d += taps;
            }
            if (i & 1)
                d[0] = *s;
        }
    }
}

#if TM_EN_PERF
static void timed_gather(const tm_window_t *v, tm_pixel_t p, unsigned c, unsigned n, mtype_t *to)
{
    uint64_t *sum = inside(v, p) ? &t_valid : &t_pad;
    uint32_t start, end;
    TM_GET_TICK(start);
    gather(v, p, c, n, to);
    TM_GET_TICK(end);
    *sum += (uint32_t)(end - start);
}
#else
#define timed_gather gather
#endif

APART void put(tm_tile_t *tile, int pixel, const mtype_t *sptr, uint32_t n)
{
    tm_tile_put(tile, pixel, sptr, n);
}

/* sums[i] += the tile times the size weights of channel i, for n channels whose kernels lie step weights apart. */
APART void macs(const tm_tile_t *tile, const wtype_t *w, unsigned size, unsigned step, unsigned n, sumtype_t *sums)
{
    for (; n > 1; n -= 2, w += 2 * step, sums += 2)
        tm_tile_dot(tile, w, w + step, size, sums, TM_SUMS);
    if (n)
        tm_tile_dot(tile, w, w, size, sums, TM_SUMS);
}

/* Channels of a block: they see the same inputs. */
typedef struct {
    const wtype_t *w;
    const btype_t *bias;
    tm_scale_t *scales;
    sumtype_t *sums;
    mtype_t *out;
    unsigned n;
} tm_block_t;

/* n times the input of the strip's row at y, or as many zero points. */
APART void copy_row(const tm_window_t *v, int y, unsigned c, unsigned n, mtype_t *to)
{
    int x = -v->g[10];
    mtype_t *end = to + n;
    const unsigned step = v->c;
    const mtype_t *s = v->in + c, zp = v->outside[0];
    if (y < 0 || y >= v->h)
        x = v->w;
    else
        s += (size_t)(y * v->w) * step;
    for (; x < 0 && to < end; x++)
        *to++ = zp;
    n = (unsigned)(v->w - x);
    if (n > (unsigned)(end - to))
        n = (unsigned)(end - to);
    for (; n >= 4; n -= 4, to += 4) {
        to[0] = *s;
        s += step;
        to[1] = *s;
        s += step;
        to[2] = *s;
        s += step;
        to[3] = *s;
        s += step;
    }
    for (; n > 0; n--, s += step)
        *to++ = *s;
    while (to < end)
        *to++ = zp;
}

#ifndef TM_POSTPROCESS_ROW
/* tm_postprocess_sum for n pixels of one channel, whose outputs lie step apart. */
TM_INLINE void tm_postprocess_row(int n, const sumtype_t *sums, btype_t bias, tm_range_t act, mtype_t *outp, uint32_t step,
                                  tm_scale_t scale, zptype_t out_zp)
{
    for (; n > 0; n--, sums++, outp += step)
        tm_postprocess_sum(1, sums, &bias, act, outp, &scale, out_zp);
}
#endif

APART void row_3x3(const mtype_t *sptr, uint32_t width, uint32_t stride, const wtype_t *kptr, uint32_t n, sumtype_t *sums)
{
    tm_row_3x3(sptr, width, stride, kptr, n, sums);
}

/* From sums to the outputs of all channels of the block */
APART void finish(const tm_job_t *j, const tm_block_t *b, const sumtype_t *sums, mtype_t *out)
{
    tm_postprocess_sum((int)b->n, sums, b->bias, j->act, out, b->scales, j->zp);
}

/* and of n pixels of channel k. */
APART void finish_row(const tm_job_t *j, const tm_block_t *b, unsigned k, unsigned n, mtype_t *out)
{
    tm_postprocess_row((int)n, b->sums, b->bias[k], j->act, out, j->h->out_dims[3], b->scales[k], j->zp);
}

/* Depthwise with any kernel and dilation: as tm_row_3x3. */
APART void row_any(const tm_window_t *v, const mtype_t *sptr, uint32_t width, const wtype_t *kptr, uint32_t n,
                   sumtype_t *sums)
{
    const uint8_t *g = v->g;
    uint32_t k_oft[9], i;
    if (g[0] == 3 && g[1] == 3) {
        for (i = 0; i < 9; i++)
            k_oft[i] = i / 3 * g[5] * width + i % 3 * g[4];
        for (; n > 0; n--, sptr += g[2])
            tm_dot_prod_gap_3x3x1(sptr, kptr, k_oft, sums++);
        return;
    }
    for (; n > 0; n--, sptr += g[2]) {
        const wtype_t *k = kptr, *end = k + v->taps;
        const mtype_t *row = sptr, *s;
        sumtype_t sum = 0;
        unsigned kx;
        for (; k < end; row += g[5] * width)
            for (s = row, kx = g[0]; kx > 0; kx--, s += g[4])
                sum += TM_MUL(*s, *k++);
        *sums++ = sum;
    }
}

static unsigned strip_width(const tm_window_t *v)
{
    return (v->ow - 1u) * v->g[2] + v->g[4] * (v->g[0] - 1u) + 1u;
}

/* Depthwise: a channel's input is copied to strips of rows with their pads, so that no tap lies outside. */
static void depthwise(const tm_job_t *j, const tm_window_t *v, const tm_block_t *b, unsigned c, mtype_t *strip)
{
    const uint8_t *g = v->g;
    const unsigned oh = j->h->out_dims[1], cout = j->h->out_dims[3], eh = (unsigned)g[5] * (g[1] - 1u);
    const unsigned width = strip_width(v);
    const unsigned room = (STRIP / width - eh - 1) / g[3] + 1;
    const int dense = g[0] == 3 && g[1] == 3 && g[4] == 1 && g[5] == 1;
    unsigned oy, some, i, k, ox, n, row;
    TM_PERF_INIT(t_sbuf)
    TM_PERF_INIT(t_dotp)
    TM_PERF_INIT(t_post)
    for (oy = 0; oy < oh; oy += some) {
        some = oh - oy < room ? oh - oy : room;
        TM_PERF_START(t_sbuf);
        for (i = 0; i < (some - 1) * g[3] + eh + 1; i++)
            copy_row(v, (int)(oy * g[3] + i) - g[8], c, width, strip + i * width);
        TM_PERF_ADD(t_sbuf)
        for (k = 0; k < b->n; k++) {
            const wtype_t *w = b->w + k * v->taps;
            mtype_t *out = b->out + oy * v->ow * cout + k;
            for (row = 0; row < some; row++)
                for (ox = 0; ox < v->ow; ox += n) {
                    const mtype_t *s = strip + row * g[3] * width + ox * g[2];
                    n = v->ow - ox < TM_TILE * TM_SUMS ? v->ow - ox : TM_TILE * TM_SUMS;
                    TM_PERF_START(t_dotp);
                    if (dense)
                        row_3x3(s, width, g[2], w, n, b->sums);
                    else
                        row_any(v, s, width, w, n, b->sums);
                    TM_PERF_ADD(t_dotp)
                    TM_PERF_START(t_post);
                    finish_row(j, b, k, n, out);
                    TM_PERF_ADD(t_post)
                    out += n * cout;
                }
        }
    }
}

/* Pointwise for one pixel, and fully connected: nothing to share but the input. */
static void vector(const tm_window_t *v, const tm_block_t *b)
{
    unsigned i;
    TM_PERF_INIT(t_dotp)
    TM_PERF_START(t_dotp);
    for (i = 0; i + 1 < b->n; i += 2)
        tm_dot_prod_pack2(v->in, b->w + i * v->c, v->c, b->sums + i);
    if (i < b->n)
        tm_dot_prod(v->in, b->w + i * v->c, v->c, b->sums + i);
    TM_PERF_ADD(t_dotp)
}

/* TM_TILE pixels from p on, of which some are wanted; the last of them fills up the tile. Gives the pixel after them. */
static tm_pixel_t pixels(const tm_window_t *v, const tm_block_t *b, tm_pixel_t p, unsigned some, tm_tile_t *tile,
                         mtype_t *patch)
{
    tm_pixel_t at[TM_TILE];
    unsigned i, k, m;
    TM_PERF_INIT(t_sbuf)
    TM_PERF_INIT(t_dotp)
    for (i = 0; i < TM_TILE; i++) {
        at[i] = i < some ? p : at[some - 1];
        if (i < some)
            p = next(v, p);
        for (k = 0; k < b->n + b->n % 2; k++) /* a last odd one is worked on as two */
            b->sums[i * TM_SUMS + k] = 0;
    }
    for (k = 0; k < v->c; k += m) {
        m = v->c - k < v->step ? v->c - k : v->step;
        TM_PERF_START(t_sbuf);
        for (i = 0; i < TM_TILE; i++) {
            const mtype_t *s = patch;
            if (v->direct)
                s = v->in + ((size_t)at[i].y * (size_t)v->w + (size_t)at[i].x) * v->c + k;
            else
                timed_gather(v, at[i], k, m, patch);
            put(tile, (int)i, s, m * v->taps);
        }
        TM_PERF_ADD(t_sbuf)
        TM_PERF_START(t_dotp);
        macs(tile, b->w + k * v->taps, m * v->taps, v->c * v->taps, b->n, b->sums);
        TM_PERF_ADD(t_dotp)
    }
    return p;
}

static void conv_O1(tm_job_t *j)
{
    static const uint8_t unit[12] = {1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0};
    TM_STATIC tm_scale_t scales[TM_MAX_CSIZE];
    TM_STATIC sumtype_t sums[TM_TILE * TM_SUMS];
    TM_STATIC tm_tile_t tile[TILE];
#if TM_TILE > 1
    TM_STATIC mtype_t patch[TM_TILE_TAPS];
#else
    mtype_t *patch = tile;
#endif
    const tml_head_t *h = j->h;
    const uint8_t *base = (const uint8_t *)h;
    const tm_u32_t *oft = (const tm_u32_t *)&((const tml_conv2d_dw_t *)h)->ws_oft;
    const int dw = h->type == TML_DWCONV2D;
    const unsigned cout = h->out_dims[3];
    unsigned c, i, gin, gout, some;
    tm_window_t v;
    tm_block_t b;
    TM_PERF_INIT(t_post)
    v.g = base + sizeof(*h);
    v.in = j->in;
    v.h = h->in_dims[1];
    v.w = h->in_dims[2];
    v.c = h->in_dims[3];
    v.ow = h->out_dims[2];
    if (h->type == TML_FC) {
        oft = (const tm_u32_t *)v.g;
        v.g = unit;
        v.c = tm_count(h->in_dims);
        v.h = v.w = 1;
    }
    v.taps = (unsigned)v.g[0] * v.g[1];
    if (v.taps > TM_TILE_TAPS || (dw && STRIP / strip_width(&v) < v.g[5] * (v.g[1] - 1u) + 1)) {
        conv(j);
        return;
    }
    v.direct = v.taps == 1 && !(v.g[8] | v.g[9] | v.g[10] | v.g[11]);
    v.step = TM_TILE_TAPS / v.taps;
    if (v.step > MOST && !v.direct)
        v.step = MOST;
    if (v.step > 4) /* whole fours of taps */
        v.step &= ~3u;
    for (i = 0; i < MOST; i++)
        v.outside[i] = (mtype_t)h->in_zp;
    gin = dw ? 1 : v.c;            /* input channels that an output channel sees */
    gout = dw ? cout / v.c : cout; /* output channels that see the same */
    b.scales = scales;
    b.sums = sums;
    for (c = 0; c < cout; c += b.n) {
        uint32_t left = (uint32_t)h->out_dims[1] * v.ow;
        tm_pixel_t p = {-v.g[8], -v.g[10], 0};
        b.w = (const wtype_t *)(base + oft[1]) + (size_t)c * gin * v.taps;
        b.bias = (const btype_t *)(base + oft[2]) + c;
        b.out = j->out + c;
        b.n = gout - c % gout < TM_MAX_CSIZE ? gout - c % gout : TM_MAX_CSIZE;
        for (i = 0; i < b.n; i++)
            channel_scale(h, (const sctype_t *)(base + oft[0]), c + i, &scales[i]);
        if (dw) {
            depthwise(j, &v, &b, c / gout, (mtype_t *)tile);
            continue;
        }
        for (; left > 0; left -= some) {
            some = left < TM_TILE ? (unsigned)left : TM_TILE;
            if (v.taps == 1 && v.h == 1 && v.w == 1)
                vector(&v, &b);
            else
                p = pixels(&v, &b, p, some, tile, patch);
            TM_PERF_START(t_post);
            for (i = 0; i < some; i++, b.out += cout)
                finish(j, &b, sums + i * TM_SUMS, b.out);
            TM_PERF_ADD(t_post)
        }
    }
}
