/* tm_more.c: layer types from 16 on, which TinyMaix does not have, for TM_MORE_LAYERS. Behind the header they are 32-bit words,
 * of which the first says how many; see docs/tmdl.md. int8 results are those of TensorFlow Lite Micro's reference kernels. */
#include "tinymaix.h"

#if TM_MORE_LAYERS
#include TM_ARCH_HEADER

#define ONE 0x3F800000u /* the bits of 1.0f; one in bit 23 more doubles it */
#define SIZE ((uint32_t)sizeof(mtype_t))

enum { COUNT, DATA_OFT, DATA_CNT, ACT, ARGS };                                  /* words of every type */
enum { KERNEL_H = ARGS, KERNEL_W, STRIDE_H, STRIDE_W, PAD_TOP, PAD_LEFT };      /* of pools */
enum { AXIS = ARGS, INPUTS, FIRST };                                            /* of CONCAT; then offset, size of each */
enum { BEFORE = ARGS, FILL = ARGS + 3 };                                        /* of PAD */
enum { BEGIN = ARGS, STRIDE = ARGS + 3 };                                       /* of SLICE */
enum { FUNCTION = ARGS, ALPHA };                                                /* of UNARY */
enum { IN1 = ARGS, SCALE1, ZERO1, DIMS1 };                                      /* of binary types */
enum { RESIZE_FLAGS = ARGS, SOURCES = ARGS + 2 };                               /* of RESIZE; then rows, columns */

static const tm_u32_t *words(const tml_head_t *h) {
    return (const tm_u32_t *)(h + 1);
}

/* n elements of size bytes each at oft lie within room. */
static int inside(uint32_t oft, uint32_t n, uint32_t size, uint32_t room) {
    return oft <= room && n <= (room - oft) / size;
}

static int binary(unsigned type) {
    return type >= TML_ADD2 && type <= TML_MAXIMUM;
}

static tm_err_t check_tensor(const uint16_t *d, uint32_t oft, const tm_u32_t *q, uint32_t buf_size) {
    const uint32_t pixels = (uint32_t)d[1] * d[2];
    if (pixels >> 23 || pixels == 0 || d[3] == 0) return TM_ERR_DIMS;
    if (TM_BAD_SCALE(q)) return TM_ERR_SCALE;
    if (oft % SIZE) return TM_ERR_ALIGN;
    return inside(oft, pixels, SIZE * d[3], buf_size) ? TM_OK : TM_ERR_OFFSET;
}

/* The output at h->out_oft may begin at or before an operand that is read at the same pace (together), else it lies apart. */
static int clash(const tml_head_t *h, uint32_t oft, uint32_t n, int together) {
    const uint32_t end = h->out_oft + tm_count(h->out_dims) * SIZE;
    return oft < end && h->out_oft < oft + n * SIZE && !(together && h->out_oft <= oft);
}

static tm_err_t check_pool(const tml_head_t *h, const tm_u32_t *w) {
    int i;
    if (h->in_dims[3] != h->out_dims[3]) return TM_ERR_DIMS;
    for (i = 0; i < 2; i++) { /* every window has an input */
        const uint32_t kernel = w[KERNEL_H + i], stride = w[STRIDE_H + i], pad = w[PAD_TOP + i];
        if (kernel - 1 > 0xFFFF || stride - 1 > 0xFFFF) return TM_ERR_KSIZE;
        if (pad >= kernel || stride * (h->out_dims[1 + i] - 1u) >= h->in_dims[1 + i] + pad) return TM_ERR_DIMS;
    }
    return TM_OK;
}

static tm_err_t check_concat(const tml_head_t *h, const tm_u32_t *w, uint32_t buf_size) {
    uint32_t n = tm_count(h->out_dims), i, sum = 0;
    if (w[AXIS] - 1 > 2) return TM_ERR_DIMS;
    if (w[COUNT] < FIRST || (w[COUNT] - FIRST) / 2 < w[INPUTS]) return TM_ERR_SIZE;
    n /= h->out_dims[w[AXIS]];
    for (i = 0; i < w[INPUTS]; i++) {
        const uint32_t oft = w[FIRST + 2 * i], size = w[FIRST + 1 + 2 * i];
        if (size - 1 >= 0xFFFF) return TM_ERR_DIMS;
        if (oft % SIZE) return TM_ERR_ALIGN;
        if (!inside(oft, size, n * SIZE, buf_size)) return TM_ERR_OFFSET;
        if (clash(h, oft, size * n, 0)) return TM_ERR_OVERLAP;
        sum += size;
        if (sum > 0xFFFF) return TM_ERR_DIMS;
    }
    return sum == h->out_dims[w[AXIS]] ? TM_OK : TM_ERR_DIMS;
}

static tm_err_t check_move(const tml_head_t *h, const tm_u32_t *w) {
    uint32_t i, seen = 0;
    for (i = 0; i < 3; i++) {
        const uint32_t in = h->in_dims[1 + i], out = h->out_dims[1 + i], a = w[ARGS + i];
        if (h->type == TML_PAD && (a > out || in > out - a)) return TM_ERR_DIMS;
        if (h->type == TML_SLICE && (a >= in || w[STRIDE + i] - 1 > 0xFFFF || (out - 1) * w[STRIDE + i] >= in - a))
            return TM_ERR_DIMS;
        if (h->type == TML_TRANSPOSE) {
            if (a > 2 || out != h->in_dims[1 + a]) return TM_ERR_DIMS;
            seen |= 1u << a;
        }
    }
    return h->type == TML_TRANSPOSE && seen != 7 ? TM_ERR_DIMS : TM_OK;
}

static tm_err_t check_resize(const tml_head_t *h, const tm_u32_t *w) {
    const uint32_t rows = h->out_dims[1], n = rows + h->out_dims[2];
    uint32_t i;
    if (w[COUNT] - SOURCES != n) return TM_ERR_SIZE;
    if (h->in_dims[3] != h->out_dims[3]) return TM_ERR_DIMS;
    for (i = 0; i < n; i++)
        if (w[SOURCES + i] >= h->in_dims[i < rows ? 1 : 2]) return TM_ERR_DIMS;
    return TM_OK;
}

static tm_err_t check_binary(const tml_head_t *h, const tm_u32_t *w, uint32_t buf_size) {
    const tm_u32_t *q = w + SCALE1;
    uint16_t d[4];
    unsigned i, same = 1;
    tm_err_t err;
    d[0] = 3;
    for (i = 1; i < 4; i++) {
        if (w[DIMS1 + i - 1] != 1 && w[DIMS1 + i - 1] != h->in_dims[i]) return TM_ERR_DIMS;
        d[i] = (uint16_t)w[DIMS1 + i - 1];
        same &= d[i] == h->in_dims[i];
    }
    if (w[DATA_CNT] && w[DATA_CNT] != tm_count(d)) return TM_ERR_DIMS;
    err = check_tensor(d, w[DATA_CNT] ? h->in_oft : w[IN1], q, buf_size);
    if (err == TM_OK && w[DATA_CNT] == 0 && clash(h, w[IN1], tm_count(d), (int)same)) return TM_ERR_OVERLAP;
    return err;
}

tm_err_t TM_WEAK tml_check_more(const tml_head_t *h, uint32_t room, uint32_t buf_size) {
    static const uint8_t least[TML_MORE_END - TML_MORE] = {
        ARGS, PAD_LEFT + 1, PAD_LEFT + 1, FIRST, FILL + 1, STRIDE + 3, ARGS + 3, SOURCES, ALPHA + 1,
        DIMS1 + 3, DIMS1 + 3, DIMS1 + 3, DIMS1 + 3, DIMS1 + 3};
    const tm_u32_t *w = words(h);
    const unsigned type = h->type;
    const uint32_t n = tm_count(h->in_dims);
    int together = 0;
    tm_err_t err;
    if (type < TML_MORE || type >= TML_MORE_END) return TM_ERR_LAYERTYPE;
    if (h->size > room || h->size < sizeof(*h) + 4 * ARGS || h->size % TM_ALIGN_SIZE) return TM_ERR_SIZE;
    if (w[COUNT] < least[type - TML_MORE] || w[COUNT] > (h->size - sizeof(*h)) / 4) return TM_ERR_SIZE;
    if (w[DATA_OFT] % 4) return TM_ERR_ALIGN;
    if (w[DATA_CNT] && !inside(w[DATA_OFT], w[DATA_CNT], SIZE, h->size)) return TM_ERR_OFFSET;
    if (w[ACT] > TM_ACT_RELU6) return TM_ERR_ACT;
    err = check_tensor(h->out_dims, h->out_oft, (const tm_u32_t *)&h->out_s, buf_size);
    if (err == TM_OK)
        err = check_tensor(h->in_dims, h->in_oft, (const tm_u32_t *)&h->in_s, buf_size);
    if (err != TM_OK) return err;
    if (type == TML_TENSOR || type == TML_UNARY || binary(type)) {
        together = 1;
        if (n != tm_count(h->out_dims)) return TM_ERR_DIMS;
    } else if (type == TML_MAX_POOL || type == TML_AVERAGE_POOL) {
        err = check_pool(h, w);
        together = w[PAD_TOP] == 0 && w[PAD_LEFT] == 0 && h->out_dims[1] <= h->in_dims[1] && h->out_dims[2] <= h->in_dims[2];
    } else if (type == TML_CONCAT)
        return check_concat(h, w, buf_size);
    else
        err = type == TML_RESIZE ? check_resize(h, w) : check_move(h, w);
    if (err == TM_OK && binary(type))
        err = check_binary(h, w, buf_size);
    if (type == TML_UNARY && (TM_MDL_TYPE == TM_MDL_INT8 ? w[DATA_CNT] != 256 : w[FUNCTION] >= TM_FN_MAXCNT))
        return TM_ERR_UNSUPPORT;
    return err == TM_OK && clash(h, h->in_oft, n, together) ? TM_ERR_OVERLAP : err;
}

/* Whole numbers of a type, or a float stored. */
static mtype_t put(const tm_job_t *j, sumtype_t x) {
#if TM_INTEGER
    x += j->zp;
    return (mtype_t)(x < j->act.lo + j->zp ? j->act.lo + j->zp : x > j->act.hi + j->zp ? j->act.hi + j->zp : x);
#else
    return TM_STORE(x < j->act.lo ? j->act.lo : x > j->act.hi ? j->act.hi : x);
#endif
}

static sumtype_t value(mtype_t x) {
#if TM_INTEGER
    return x;
#else
    return TM_F(x);
#endif
}

static void pool(const tm_job_t *j, const tm_u32_t *w) {
    const uint16_t *d = j->h->in_dims;
    const int max = j->h->type == TML_MAX_POOL;
    const unsigned channels = d[3];
    mtype_t *out = j->out;
    uint32_t oy, ox, c, y, x;
    for (oy = 0; oy < j->h->out_dims[1]; oy++)
        for (ox = 0; ox < j->h->out_dims[2]; ox++) {
            const uint32_t y0 = oy * w[STRIDE_H], x0 = ox * w[STRIDE_W], top = y0 > w[PAD_TOP] ? y0 - w[PAD_TOP] : 0;
            const uint32_t left = x0 > w[PAD_LEFT] ? x0 - w[PAD_LEFT] : 0;
            uint32_t bottom = y0 + w[KERNEL_H] - w[PAD_TOP], right = x0 + w[KERNEL_W] - w[PAD_LEFT];
            bottom = bottom < d[1] ? bottom : d[1];
            right = right < d[2] ? right : d[2];
            for (c = 0; c < channels; c++) {
                sumtype_t sum = max ? value(j->in[((size_t)top * d[2] + left) * channels + c]) : 0;
                for (y = top; y < bottom; y++)
                    for (x = left; x < right; x++) {
                        const sumtype_t v = value(j->in[((size_t)y * d[2] + x) * channels + c]);
                        sum = !max ? sum + v : v > sum ? v : sum;
                    }
                if (!max) {
                    const sumtype_t n = (sumtype_t)((bottom - top) * (right - left));
#if TM_INTEGER
                    sum = (sum > 0 ? sum + n / 2 : sum - n / 2) / n; /* halves away from zero */
#else
                    sum /= n;
#endif
                }
#if TM_INTEGER
                sum -= j->zp;
#endif
                *out++ = put(j, sum);
            }
        }
}

/* n[0] * n[1] * n[2] values; steps in values, modulo 2^32. */
static void move(const mtype_t *in, const uint32_t *from, mtype_t *out, const uint32_t *to, const uint16_t *n) {
    uint32_t y, x, c;
    for (y = 0; y < n[0]; y++)
        for (x = 0; x < n[1]; x++)
            for (c = 0; c < n[2]; c++)
                out[(size_t)(y * to[0] + x * to[1] + c * to[2])] = in[(size_t)(y * from[0] + x * from[1] + c * from[2])];
}

static void steps(const uint16_t *d, uint32_t *s) {
    s[2] = 1;
    s[1] = d[3];
    s[0] = (uint32_t)d[2] * d[3];
}

static void concat(const tm_job_t *j, const tm_u32_t *w) {
    uint16_t d[4];
    uint32_t i, k, from[3], to[3];
    mtype_t *out = j->out;
    steps(j->h->out_dims, to);
    for (i = 0; i < w[INPUTS]; i++) {
        for (k = 0; k < 4; k++)
            d[k] = j->h->out_dims[k];
        d[w[AXIS]] = (uint16_t)w[FIRST + 1 + 2 * i];
        steps(d, from);
        move((const mtype_t *)(j->buf + w[FIRST + 2 * i]), from, out, to, d + 1);
        out += d[w[AXIS]] * to[w[AXIS] - 1];
    }
}

static void rearrange(const tm_job_t *j, const tm_u32_t *w) {
    const tml_head_t *h = j->h;
    uint32_t from[3], to[3], own[3], i, at = 0, n = tm_count(h->out_dims);
    steps(h->in_dims, own);
    steps(h->out_dims, to);
    for (i = 0; i < 3; i++) {
        from[i] = own[h->type == TML_TRANSPOSE ? w[ARGS + i] : i];
        if (h->type == TML_PAD)
            at += w[BEFORE + i] * to[i];
        else if (h->type == TML_SLICE) {
            at += w[BEGIN + i] * own[i];
            from[i] *= w[STRIDE + i];
        }
    }
    if (h->type == TML_PAD) {
        for (i = 0; i < n; i++) {
#if TM_INTEGER
            j->out[i] = (mtype_t)(int32_t)w[FILL];
#else
            j->out[i] = TM_STORE(tm_float(w[FILL]));
#endif
        }
        move(j->in, from, j->out + at, to, h->in_dims + 1);
    } else
        move(j->in + (h->type == TML_SLICE ? at : 0), from, j->out, to, h->out_dims + 1);
}

static void resize(const tm_job_t *j, const tm_u32_t *w) {
    const tml_head_t *h = j->h;
    const uint32_t c = h->in_dims[3];
    const tm_u32_t *rows = w + SOURCES, *columns = rows + h->out_dims[1];
    mtype_t *out = j->out;
    uint32_t y, x;
    for (y = 0; y < h->out_dims[1]; y++)
        for (x = 0; x < h->out_dims[2]; x++, out += c)
            memcpy(out, j->in + ((size_t)rows[y] * h->in_dims[2] + columns[x]) * c, c * SIZE);
}

#if TM_INTEGER
static mtype_t unary(const mtype_t *table, const tm_u32_t *w, mtype_t x) {
    (void)w;
    return table[(uint8_t)x];
}
#else
static mtype_t unary(const mtype_t *table, const tm_u32_t *w, mtype_t stored) {
    const float x = TM_F(stored), a = tm_float(w[ALPHA]), t = x < 0 ? -x : x, s = x * x;
    float y = x;
    (void)table;
    switch (w[FUNCTION]) {
    case TM_FN_RELU: y = x < 0 ? 0 : x; break;
    case TM_FN_RELU1: y = x < -1 ? -1 : x > 1 ? 1 : x; break;
    case TM_FN_RELU6: y = x < 0 ? 0 : x > 6 ? 6 : x; break;
    case TM_FN_LEAKY: y = x < 0 ? a * x : x; break;
    case TM_FN_HARD_SWISH: y = x * (x < -3 ? 0 : x > 3 ? 6 : x + 3) / 6; break;
    case TM_FN_SIGMOID: y = x < -9 ? tml_exp(x) : 1 / (1 + tml_exp(-x)); break;
    case TM_FN_TANH: /* near 0, where digits would be lost, the continued fraction of tanh cut after 13 */
        y = t < 1 ? x * (135135.0f + s * (17325.0f + s * (378.0f + s))) / (135135.0f + s * (62370.0f + s * (3150.0f + s * 28.0f)))
                  : (x < 0 ? -1.0f : 1.0f) * (1 - 2 / (tml_exp(2 * t) + 1));
        break;
    default: break;
    }
    return TM_STORE(y);
}
#endif

/* Elementwise with a second operand that is broadcast along the axes where its dimension is 1. */
static void binaries(tm_job_t *j, const tm_u32_t *w) {
    const tml_head_t *h = j->h;
    const mtype_t *p = j->in, *q = (const mtype_t *)(w[DATA_CNT] ? (const uint8_t *)h + w[DATA_OFT] : j->buf + w[IN1]);
    const uint32_t c1 = w[DIMS1 + 2], w1 = w[DIMS1 + 1];
    mtype_t *out = j->out;
    uint32_t y, x, c;
#if TM_INTEGER
    const int32_t za = (int32_t)h->in_zp, zb = (int32_t)w[ZERO1], up = (int32_t)1 << (TM_LIMIT == 128 ? 20 : 15);
    const uint32_t a = tm_bits(&h->in_s), b = w[SCALE1], max = a > b ? a : b, half = ONE - ((uint32_t)1 << 23);
    tm_scale_t sa, sb;
    tm_scale(&sa, a, half, max);
    tm_scale(&sb, b, half, max);
    if (h->type == TML_MUL)
        tm_scale(&j->scale, a, b, tm_bits(&h->out_s));
    else
        tm_scale(&j->scale, max, ONE - ((TM_LIMIT == 128 ? (uint32_t)19 : 14) << 23), tm_bits(&h->out_s));
#endif
    for (y = 0; y < h->in_dims[1]; y++)
        for (x = 0; x < h->in_dims[2]; x++)
            for (c = 0; c < h->in_dims[3]; c++) {
                const uint32_t at = ((w[DIMS1] > 1 ? y : 0) * w1 + (w1 > 1 ? x : 0)) * c1 + (c1 > 1 ? c : 0);
                sumtype_t u = value(*p++), v = value(q[at]), r = u > v ? u : v;
                if (h->type == TML_MINIMUM)
                    r = u < v ? u : v;
#if TM_INTEGER
                if (h->type == TML_MUL)
                    r = tm_requant((int32_t)((u - za) * (v - zb)), &j->scale);
                else if (h->type == TML_ADD2 || h->type == TML_SUB) {
                    const int32_t k = tm_requant((int32_t)(v - zb) * up, &sb), i = tm_requant((int32_t)(u - za) * up, &sa);
                    r = tm_requant(h->type == TML_SUB ? i - k : i + k, &j->scale);
                } else
                    r -= j->zp; /* the same scale as the operands' */
#else
                if (h->type == TML_MUL)
                    r = u * v;
                else if (h->type == TML_ADD2 || h->type == TML_SUB)
                    r = h->type == TML_SUB ? u - v : u + v;
#endif
                *out++ = put(j, r);
            }
}

void TM_WEAK tml_run_more(tm_job_t *j) {
    const tml_head_t *h = j->h;
    const tm_u32_t *w = words(h);
    const mtype_t *table = (const mtype_t *)((const uint8_t *)h + w[DATA_OFT]);
    uint32_t i, n = tm_count(h->out_dims);
    if (h->type == TML_MAX_POOL || h->type == TML_AVERAGE_POOL)
        pool(j, w);
    else if (h->type == TML_CONCAT)
        concat(j, w);
    else if (h->type == TML_RESIZE)
        resize(j, w);
    else if (binary(h->type))
        binaries(j, w);
    else if (h->type == TML_UNARY)
        for (i = 0; i < n; i++)
            j->out[i] = unary(table, w, j->in[i]);
    else if (h->type == TML_TENSOR)
        memmove(j->out, j->in, n * SIZE);
    else
        rearrange(j, w);
}
#endif
