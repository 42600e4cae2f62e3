/* tm_tile_O1.h: the tile of TM_OPT1, part of tm_conv_O1.h: the inputs of TM_TILE output pixels, laid out so that they share each
 * weight that is loaded. An architecture chooses TM_TILE, or brings its own tile (TM_TILE_TAPS) or inner loop (TM_TILE_DOT). */

#ifndef TM_TILE
#if TM_MDL_TYPE != TM_MDL_INT8 || defined(__AVR__) /* no fast multiplication of 32 bits */
#define TM_TILE 1
#elif defined(__riscv) || defined(__aarch64__) /* many registers */
#define TM_TILE 4
#else
#define TM_TILE 2
#endif
#endif

#ifndef TM_TILE_TAPS
#if TM_TILE == 1
typedef mtype_t tm_tile_t;
#define TM_TILE_TAPS (TM_MAX_KCSIZE * 4 / sizeof(mtype_t)) /* that a tile has room for */

/* The n inputs of one of the pixels. A tile's pixels are put in order. */
TM_INLINE void tm_tile_put(tm_tile_t *tile, int pixel, const mtype_t *sptr, uint32_t n)
{
    (void)pixel;
    if (tile != sptr)
        memcpy(tile, sptr, n * sizeof(*tile));
}

/* sums[0] += the tile's first pixel times the kernel at kptr0, sums[1] += it times that at kptr1; the
 * sums of the next pixel lie apart further on. */
TM_INLINE void tm_tile_dot(const tm_tile_t *tile, const wtype_t *kptr0, const wtype_t *kptr1, uint32_t size,
                           sumtype_t *sums, unsigned apart)
{
    sumtype_t r[2];
    (void)apart;
    if (kptr0 == kptr1) {
        tm_dot_prod(tile, kptr0, size, r);
        sums[0] += r[0];
        return;
    }
    if (size == 9) {
        tm_dot_prod_3x3x1(tile, kptr0, r);
        tm_dot_prod_3x3x1(tile, kptr1, r + 1);
    } else if (kptr1 == kptr0 + size)
        tm_dot_prod_pack2(tile, kptr0, size, r);
    else {
        tm_dot_prod(tile, kptr0, size, r);
        tm_dot_prod(tile, kptr1, size, r + 1);
    }
    sums[0] += r[0];
    sums[1] += r[1];
}

#else
/* Two pixels in one word, a + b * 2^16: one multiplication does two MACs. The sum of two such products has halves of
 * -32512 to 32768; so with HALVES added none is negative, none overflows, and the upper one is exact. The lower one
 * follows from the sum of the whole words, of which the low 32 bits will do. */
typedef uint32_t tm_tile_t;
#define TM_TILE_TAPS TM_MAX_KCSIZE
#define HALVES 0x7F007F00u
#ifdef __GNUC__ /* or compilers load everything first, and run out of registers */
#define KEEP_ORDER() __asm__ volatile("" ::: "memory")
#else
#define KEEP_ORDER() ((void)0)
#endif

TM_INLINE void tm_tile_put(tm_tile_t *tile, int pixel, const mtype_t *sptr, uint32_t n)
{
    const mtype_t *end = sptr + n;
    tile += pixel / 2;
    if (pixel & 1) {
        for (; end - sptr >= 4; sptr += 4, tile += 2 * TM_TILE) {
            tile[0] += (uint32_t)sptr[0] << 16;
            tile[TM_TILE / 2] += (uint32_t)sptr[1] << 16;
            tile[TM_TILE] += (uint32_t)sptr[2] << 16;
            tile[TM_TILE / 2 * 3] += (uint32_t)sptr[3] << 16;
        }
        for (; sptr < end; tile += TM_TILE / 2)
            *tile += (uint32_t)*sptr++ << 16;
    } else {
        for (; end - sptr >= 4; sptr += 4, tile += 2 * TM_TILE) {
            tile[0] = (uint32_t)sptr[0];
            tile[TM_TILE / 2] = (uint32_t)sptr[1];
            tile[TM_TILE] = (uint32_t)sptr[2];
            tile[TM_TILE / 2 * 3] = (uint32_t)sptr[3];
        }
        for (; sptr < end; tile += TM_TILE / 2)
            *tile = (uint32_t)*sptr++;
    }
}

#ifndef TM_TILE_DOT
#define TAPS(all, high, s, next, w0, w1)                         \
    t = HALVES + (s) * (uint32_t)(w0) + (next) * (uint32_t)(w1); \
    all += t;                                                    \
    high += t >> 16
#if TM_TILE == 4 /* two taps of two channels and all pixels */
#define STEP(w0, w1, v0, v1)                                                \
    do {                                                                    \
        const uint32_t a = tile[0], b = tile[1], c = tile[2], d = tile[3];  \
        TAPS(all0, high0, a, c, w0, w1);                                    \
        TAPS(all2, high2, b, d, w0, w1);                                    \
        KEEP_ORDER();                                                       \
        TAPS(all1, high1, a, c, v0, v1);                                    \
        TAPS(all3, high3, b, d, v0, v1);                                    \
        KEEP_ORDER();                                                       \
    } while (0)
#else
#define STEP(w0, w1, v0, v1)                        \
    do {                                            \
        const uint32_t a = tile[0], b = tile[1];    \
        TAPS(all0, high0, a, b, w0, w1);            \
        TAPS(all1, high1, a, b, v0, v1);            \
        KEEP_ORDER();                               \
    } while (0)
#endif

TM_INLINE void tm_tile_dot(const tm_tile_t *tile, const wtype_t *kptr0, const wtype_t *kptr1, uint32_t size,
                           sumtype_t *sums, unsigned apart)
{
    uint32_t all0 = 0, all1 = 0, high0 = 0, high1 = 0, t, bias = (size + 1) / 2 * (HALVES >> 16);
    const wtype_t *end = kptr0 + (size & ~1u);
#if TM_TILE == 4
    uint32_t all2 = 0, all3 = 0, high2 = 0, high3 = 0;
#endif
    for (; end - kptr0 >= 4; kptr0 += 4, kptr1 += 4, tile += TM_TILE) {
        STEP(kptr0[0], kptr0[1], kptr1[0], kptr1[1]);
        tile += TM_TILE;
        STEP(kptr0[2], kptr0[3], kptr1[2], kptr1[3]);
    }
    for (; kptr0 < end; kptr0 += 2, kptr1 += 2, tile += TM_TILE) {
        STEP(kptr0[0], kptr0[1], kptr1[0], kptr1[1]);
    }
    if (size & 1) {
        STEP(kptr0[0], 0, kptr1[0], 0);
    }
    sums[0] += (int32_t)(all0 - (high0 << 16) - bias);
    sums[1] += (int32_t)(all1 - (high1 << 16) - bias);
    sums[apart] += (int32_t)(high0 - bias);
    sums[apart + 1] += (int32_t)(high1 - bias);
#if TM_TILE == 4
    sums[2 * apart] += (int32_t)(all2 - (high2 << 16) - bias);
    sums[2 * apart + 1] += (int32_t)(all3 - (high3 << 16) - bias);
    sums[3 * apart] += (int32_t)(high2 - bias);
    sums[3 * apart + 1] += (int32_t)(high3 - bias);
#endif
}
#endif
#endif
#endif
