"""The C of Winograd's F(2x2, 3x3) where numbers are multiplied one pair at a time: see tiles_winograd.py."""

from __future__ import annotations

from tinymaix.cores.armv6m import thumb
from tinymaix.cores.armv7em.assembly import assembly
from tinymaix.cores.gather import GATHER_WINDOW
from tinymaix.cores.tiles_c import ADD_PRODUCT
from tinymaix.cores.tiles_finish import Finish
from tinymaix.cores.winograd import BLOCK, POSITIONS
from tinymaix.ops.emit import SMALL, Kernel

TILES = 2
"""That are computed together."""
SUMS = POSITIONS * BLOCK * TILES
TURN = thumb.TURN
"""Input channels that are unrolled."""

HALF = Kernel(
    "half_s16",
    """\
/* A half of a word */
#if defined(__GNUC__)
typedef int16_t __attribute__((may_alias)) half_s16;
#else
typedef int16_t half_s16;
#endif
""",
)

INPUT = Kernel(
    "winograd_pair",
    """\
/* A row of two tiles: (d0 - d2, d1 + d2, d2 - d1, d1 - d3), those of the second tile times 2^16 */
static inline void winograd_row(uint32_t *row, const int8_t *a, const int8_t *b, int in_c)
{
    uint32_t d0 = (uint32_t)a[0] + ((uint32_t)b[0] << 16), d1 = (uint32_t)a[in_c] + ((uint32_t)b[in_c] << 16);
    a += 2 * in_c;
    b += 2 * in_c;
    uint32_t d2 = (uint32_t)a[0] + ((uint32_t)b[0] << 16), d3 = (uint32_t)a[in_c] + ((uint32_t)b[in_c] << 16);
    row[0] = d0 - d2;
    row[1] = d1 + d2;
    row[2] = d2 - d1;
    row[3] = d1 - d3;
}

/* Two numbers, the second times 2^16, as halfwords: what the first borrowed is given back */
static inline uint32_t halves(uint32_t sum)
{
    return sum + ((sum & 0x8000) << 1);
}

/* B' d B of two tiles, all channels: pixels are in_c bytes apart, rows ``step`` bytes */
static SMALL void winograd_pair(uint32_t *to, const int8_t *a, const int8_t *b, int step, int in_c)
{
    for (const int8_t *end = a + in_c; a != end; a++, b++, to++) {
        uint32_t first[4], second[4], *at = to;
        winograd_row(first, a, b, in_c);
        winograd_row(second, a + 2 * step, b + 2 * step, in_c);
        for (int j = 0; j < 4; j++, at += in_c)
            *at = halves(first[j] - second[j]);
        winograd_row(first, a + step, b + step, in_c);
        for (int j = 0; j < 4; j++, at += in_c) {
            at[0] = halves(first[j] + second[j]);
            at[4 * in_c] = halves(second[j] - first[j]);
        }
        at += 4 * in_c;
        winograd_row(second, a + 3 * step, b + 3 * step, in_c);
        for (int j = 0; j < 4; j++, at += in_c)
            *at = halves(first[j] - second[j]);
    }
}
""",
    (SMALL,),
)


def dot_positions() -> Kernel:
    """The kernel: winograd_dot(weights, tiles, size, sums) -> the end of the weights."""
    names = [f"s{i}{j}" for i in range(BLOCK) for j in range(TILES)]
    step = []
    for k in range(TURN):
        step.append(f"a0 = at[{2 * k}]; a1 = at[{2 * k + 1}];")
        for i in range(BLOCK):
            products = " ".join(f"ADD_PRODUCT(s{i}{j}, weight, a{j});" for j in range(TILES))
            step.append(f"weight = weights[{BLOCK * k + i}]; {products}")
    turn = "\n".join(f"            {line}" for line in step)
    stores = "\n".join(f"        sums[{at}] = {name};" for at, name in enumerate(names))
    prototype = "const uint32_t *winograd_dot(const uint32_t *words, const uint32_t *tiles, int size, int32_t *sums)"
    return Kernel(
        "winograd_dot",
        f"""\
/* The sums of {BLOCK} output channels at the {POSITIONS} positions of two tiles, of which each has `size` bytes */
{thumb.IS_ARMV6M}{thumb.PROTOTYPE} {prototype}
{{
    __asm__ volatile(
{assembly(thumb.dot_positions(4 * SUMS))});
}}
#else
static __attribute__((noinline)) {prototype}
{{
    const half_s16 *weights = (const half_s16 *)words, *at = (const half_s16 *)tiles;
    for (int position = 0; position < {POSITIONS}; position++, sums += {BLOCK * TILES}) {{
        int32_t {", ".join(f"{name} = 0" for name in names)};
        for (const half_s16 *end = at + size / 2; at != end; at += {TILES * TURN}, weights += {BLOCK * TURN}) {{
            int32_t weight, a0, a1;
{turn}
        }}
{stores}
    }}
    return words + {POSITIONS * BLOCK // 2} * (size / 4);
}}
#endif
""",
        (ADD_PRODUCT, HALF),
    )


def output_kernel(finish: Finish) -> Kernel:
    """winograd_output_12(y, m, constants, across, down, center): A' m A of a tile and a channel, then int8."""
    name = f"winograd_output_{finish.name}"
    loads = "\n".join(f"    {line}" for line in finish.loads).replace("constant +", "constants +")
    values = [
        f"y[{at}] = {finish.value.replace('sum', f's{i}')};"
        for i, at in ((3, "down + across"), (2, "across"), (1, "down"), (0, "0"))
    ]
    return Kernel(
        name,
        f"""\
/* A' m A of a tile and one channel, a quarter of it, then int8. What is beyond the last column or row (`across` or
 * `down` is 0) is written first and then overwritten. */
static __attribute__((noinline)) void {name}(
    int8_t *y, const int32_t *m, const int32_t *constants, int across, int down, int32_t center)
{{
    int32_t s0 = 0, s1 = 0, s2 = 0, s3 = 0; /* of the outputs at (0, 0), (1, 0), (0, 1), (1, 1) */
    for (int j = 0; j < 4; j++, m += {BLOCK * TILES}) {{
        int32_t m1 = m[{4 * BLOCK * TILES}], m2 = m[{8 * BLOCK * TILES}];
        int32_t upper = m[0] + m1 + m2, lower = m1 - m2 - m[{12 * BLOCK * TILES}];
        if (j < 3)
            s0 += upper, s1 += lower;
        if (j == 1)
            s2 += upper, s3 += lower;
        else if (j > 1)
            s2 -= upper, s3 -= lower;
    }}
    s0 >>= 2, s1 >>= 2, s2 >>= 2, s3 >>= 2;
{loads}
    {chr(10).join(values).replace(chr(10), chr(10) + "    ")}
}}
""",
        finish.needs,
    )


def winograd_kernel(finish: Finish) -> Kernel:
    """The whole convolution."""
    output = output_kernel(finish)
    name = f"winograd_tiles_{finish.name}"
    return Kernel(
        name,
        f"""\
/* Convolution 3x3, int8 NHWC, by Winograd's F(2x2, 3x3): two tiles of 2x2 outputs at a time. A lone last tile is
 * computed twice. */
static SMALL void {name}(
    const int8_t *x, int8_t *y, const int32_t *weights, const int32_t *constants, uint32_t *tiles, int zero_x,
    int32_t center, int batches, int in_h, int in_w, int in_c, int out_h, int out_w, int out_c, int pad_top,
    int pad_left)
{{
    int32_t *sums = (int32_t *)(tiles + {POSITIONS} * in_c);
    for (int n = 0; n < batches; n++, x += in_h * in_w * in_c, y += out_h * out_w * out_c)
        for (int oy = 0; oy < out_h; oy += 2)
            for (int ox = 0; ox < out_w; ox += 4) {{
                int second = ox + 2 < out_w ? 2 : 0, top = oy - pad_top, left = ox - pad_left, step = in_w * in_c;
                const int8_t *a = x + (top * in_w + left) * in_c, *b = a + second * in_c;
                if (top < 0 || left < 0 || top + 4 > in_h || left + second + 4 > in_w) {{
                    int8_t *bytes = (int8_t *)sums;
                    step = (4 + second) * in_c;
                    gather_window(bytes, x, zero_x, in_h, in_w, in_c, 4, 4 + second, 1, 1, top, left);
                    a = bytes;
                    b = a + second * in_c;
                }}
                winograd_pair(tiles, a, b, step, in_c);
                const uint32_t *block = (const uint32_t *)weights;
                int down = oy + 1 < out_h ? out_w * out_c : 0;
                for (int c = 0; c < out_c; c++) {{
                    if (c % {BLOCK} == 0)
                        block = winograd_dot(block, tiles, 4 * in_c, sums);
                    for (int i = 0; i < 2; i++) {{
                        int px = ox + i * second, across = px + 1 < out_w ? out_c : 0;
                        {output.name}(y + (oy * out_w + px) * out_c + c, sums + c % {BLOCK} * {TILES} + i,
                            constants + {finish.width} * c, across, down, center);
                    }}
                }}
            }}
}}
""",
        (SMALL, GATHER_WINDOW, INPUT, dot_positions(), output),
    )
