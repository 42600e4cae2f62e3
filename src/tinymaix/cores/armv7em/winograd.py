"""Convolutions of 3x3 with stride 1 by Winograd's minimal filtering: 16 products for 4 outputs instead of 36, exactly.

S. Winograd, "Arithmetic Complexity of Computations", 1980; A. Lavin and S. Gray, "Fast Algorithms for Convolutional
Neural Networks", 2016, section 4.1: F(2x2, 3x3). An output tile of 2x2 is A' [(G g G') . (B' d B)] A with the window g
and the input tile d of 4x4. G has halves; twice G has none, so all is done in integers and the sums are four times
what they shall be. Weights become halfwords, 16 for 9: more flash than any other kernel takes.

Of every tile the 16 positions are a product of their own, of channels of activations with output channels. Activations
of two tiles stand side by side as in gemm.py: (c0, c2) of the first tile, of the second, (c1, c3) of the first, and so
on.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from tinymaix.cores.armv7em.columns import NAKED, assembly
from tinymaix.cores.armv7em.gather import GATHER_WINDOW
from tinymaix.cores.exact_high import SCALE, HighRequant
from tinymaix.graph import Array, Node
from tinymaix.ops.conv_2d import Conv2D
from tinymaix.ops.emit import Implementation, Kernel, LayerCode
from tinymaix.plan import row_lead

POSITIONS, BLOCK = 16, 4
FILTER = np.array([[2, 0, 0], [1, 1, 1], [1, -1, 1], [0, 0, 2]])
"""Twice G of the paper."""
SUMS = ("r4", "r5", "r6", "r7", "r8", "r9", "r10", "r11")
TURN = 16
"""Steps of two channels that are unrolled."""
ENTRY, END, SIZE, PLACE, LAST, FRAME = 0, 4, 8, 12, 16, 20
"""Bytes from the stack pointer."""


def serves(node: Node, op: Conv2D) -> bool:
    """Whether the layer is a convolution of this kind with enough channels."""
    return (
        node.input(1).shape[1:3] == (3, 3)
        and op.stride == (1, 1)
        and op.dilation == (1, 1)
        and node.input(1).shape[3] % 4 == 0
    )


def winograd(node: Node, op: Conv2D, requant: HighRequant) -> Implementation:
    """The implementation of a layer that it `serves`."""
    reason = "Winograd's F(2x2, 3x3) in integers: 16 products for 4 outputs, two tiles by four channels a turn"
    return Implementation(
        partial(_emit, node, op, requant), _scratch(node.input(0).shape[3]), row_lead(node, 2), reason
    )


def _scratch(in_c: int) -> int:
    """The activations of two tiles; then the sums of a block, and before them the bytes of a tile at the border."""
    return 4 * POSITIONS * in_c + max(POSITIONS * BLOCK * 2 * 4, POSITIONS * in_c)


def filter_stream(weights: Array, requant: HighRequant) -> Array:
    """The words of a layer: of every four channels the weights of each position, then start, multiplier and sign.

    weights: (out channels, 3, 3, channels) int8. Four words are the weights of two input channels.
    """
    out_c, _, _, in_c = weights.shape
    rows = np.zeros((-(-out_c // BLOCK) * BLOCK, 3, 3, in_c), np.int64)
    rows[:out_c] = np.where(requant.fixed[:, None, None, None], 0, weights)
    filters = np.einsum("ij,ojkc,lk->oilc", FILTER, rows, FILTER).reshape(len(rows), POSITIONS, in_c)
    order = np.arange(in_c).reshape(-1, 4)[:, [0, 2, 1, 3]].reshape(-1)
    words = np.ascontiguousarray(filters[..., order].astype("<i2")).view("<i4")
    words = np.moveaxis(words.reshape(-1, BLOCK, POSITIONS, in_c // 2), 1, 3).reshape(len(rows) // BLOCK, -1)
    constants = np.zeros((len(rows), 3), np.int64)
    constants[:out_c] = np.stack([requant.start, requant.multiplier, requant.sign], axis=1)
    return np.concatenate([words, constants.reshape(len(words), -1).astype(np.int32)], axis=1).reshape(-1)


def _emit(node: Node, op: Conv2D, requant: HighRequant, code: LayerCode) -> None:
    (batches, in_h, in_w, in_c), (_, out_h, out_w, out_c) = node.input(0).shape, node.output.shape
    weights = node.input(1).data
    assert weights is not None
    code.call(
        _kernel(requant.shift),
        x=code.input(0),
        y=code.output(),
        stream=code.constant("weights", filter_stream(weights, requant)),
        tiles=f"(uint32_t *){code.scratch}",
        zero_x=node.input(0).q.z,
        center=requant.center,
        batches=batches,
        in_h=in_h,
        in_w=in_w,
        in_c=in_c,
        out_h=out_h,
        out_w=out_w,
        out_c=out_c,
        pad_top=op.padding[0],
        pad_left=op.padding[2],
    )


ADD_HALVES = Kernel(
    "add_halves",
    """\
/* Sums and differences of two pairs of halfwords */
static inline uint32_t add_halves(uint32_t a, uint32_t b)
{
#if defined(__ARM_FEATURE_DSP)
    __asm__("sadd16 %0, %1, %2" : "=r"(a) : "r"(a), "r"(b));
    return a;
#else
    return ((a + b) & 0xffffu) | ((a & 0xffff0000u) + (b & 0xffff0000u));
#endif
}

static inline uint32_t sub_halves(uint32_t a, uint32_t b)
{
#if defined(__ARM_FEATURE_DSP)
    __asm__("ssub16 %0, %1, %2" : "=r"(a) : "r"(a), "r"(b));
    return a;
#else
    return ((a - b) & 0xffffu) | ((a & 0xffff0000u) - (b & 0xffff0000u));
#endif
}
""",
)

WIDEN_EVEN = Kernel(
    "widen_even",
    """\
/* The first and the third byte of a word as halfwords; the second and the fourth where `odd` is 1 */
static inline uint32_t widen_even(const int8_t *bytes, int odd)
{
    uint32_t word;
    memcpy(&word, bytes, 4);
#if defined(__ARM_FEATURE_DSP)
    if (odd)
        __asm__("sxtb16 %0, %1, ror #8" : "=r"(word) : "r"(word));
    else
        __asm__("sxtb16 %0, %1" : "=r"(word) : "r"(word));
    return word;
#else
    word >>= 8 * odd;
    return (uint16_t)(int16_t)(int8_t)word | (uint32_t)(int16_t)(int8_t)(word >> 16) << 16;
#endif
}
""",
)

TRANSFORM_TILE = Kernel(
    "winograd_input",
    """\
/* B' d B of a tile: four channels of 4x4 pixels, every other halfword of a column */
static inline void winograd_pair(uint32_t *to, const int8_t *d, int step, int in_c, int odd)
{
    uint32_t rows[4][4];
    for (int j = 0; j < 4; j++, d += in_c) {
        uint32_t d0 = widen_even(d, odd), d1 = widen_even(d + step, odd), d2 = widen_even(d + 2 * step, odd);
        uint32_t d3 = widen_even(d + 3 * step, odd);
        rows[0][j] = sub_halves(d0, d2);
        rows[1][j] = add_halves(d1, d2);
        rows[2][j] = sub_halves(d2, d1);
        rows[3][j] = sub_halves(d1, d3);
    }
    for (int i = 0; i < 4; i++, to += 4 * in_c) {
        to[0] = sub_halves(rows[i][0], rows[i][2]);
        to[in_c] = add_halves(rows[i][1], rows[i][2]);
        to[2 * in_c] = sub_halves(rows[i][2], rows[i][1]);
        to[3 * in_c] = sub_halves(rows[i][1], rows[i][3]);
    }
}

static __attribute__((noinline)) void winograd_input(uint32_t *to, const int8_t *d, int step, int in_c)
{
    for (int c = 0; c < in_c; c += 4, d += 4, to += 4) {
        winograd_pair(to, d, step, in_c, 0);
        winograd_pair(to + 2, d, step, in_c, 1);
    }
}
""",
    (ADD_HALVES, WIDEN_EVEN),
)


def _step() -> list[str]:
    """Two input channels of a block: r0 walks the weights, r1 the activations."""
    lines = ["ldrd r2, r3, [r1], #8"]
    for first in (0, 2):
        a, b, c, d = SUMS[2 * first : 2 * first + 4]
        lines += ["ldrd r12, lr, [r0], #8", f"smlad {a}, r12, r2, {a}", f"smlad {b}, r12, r3, {b}"]
        lines += [f"smlad {c}, lr, r2, {c}", f"smlad {d}, lr, r3, {d}"]
    return lines


def _first_step() -> list[str]:
    """The same, but the sums begin here."""
    return [line.rsplit(",", 1)[0].replace("smlad", "smuad") if "smlad" in line else line for line in _step()]


def dot_positions() -> Kernel:
    """The kernel: winograd_dot(stream, tiles, size, sums) -> the end of the weights."""
    step = _step()
    code = [
        "push {r4-r11, lr}",
        f"sub sp, #{FRAME}",
        f"strd r2, r3, [sp, #{SIZE}]",
        "add r4, r1, r2",
        f"str r4, [sp, #{END}]",
        f"add r3, r3, #{POSITIONS * BLOCK * 2 * 4}",
        f"str r3, [sp, #{LAST}]",
        "rsb r2, r2, #8",
        f"ubfx r2, r2, #3, #{TURN.bit_length() - 1}",
        f"movs r3, #{4 * len(step)}",
        "mul r2, r2, r3",
        "adr.w r3, 2f",
        "add r2, r2, r3",
        "orr r2, r2, #1",
        f"str r2, [sp, #{ENTRY}]",
        "1:",
        *_first_step(),
        f"ldr pc, [sp, #{ENTRY}]",
        ".p2align 2",
        "2:",
        *step * TURN,
        f"ldrd r2, r3, [sp, #{END}]",
        "cmp r1, r2",
        "bne.w 2b",
        "add r2, r2, r3",
        f"ldrd r12, lr, [sp, #{PLACE}]",
        "stm.w r12!, {r4-r11}",
        f"str r2, [sp, #{END}]",
        f"str r12, [sp, #{PLACE}]",
        "cmp r12, lr",
        "bne.w 1b",
        f"add sp, #{FRAME}",
        "pop {r4-r11, pc}",
    ]
    prototype = "const int32_t *winograd_dot(const int32_t *stream, const uint32_t *tiles, int size, int32_t *sums)"
    return Kernel(
        "winograd_dot",
        f"""\
/* The sums of four output channels at the 16 positions of two tiles; `size` bytes of ``tiles`` are of one position */
#if defined(__ARM_FEATURE_DSP)
{NAKED} {prototype}
{{
    __asm__ volatile(
{assembly(code)});
}}
#else
static int32_t dot_halves(uint32_t a, uint32_t b)
{{
    return (int16_t)a * (int16_t)b + (int16_t)(a >> 16) * (int16_t)(b >> 16);
}}

static {prototype}
{{
    for (int position = 0; position < {POSITIONS}; position++, sums += {2 * BLOCK}) {{
        memset(sums, 0, {8 * BLOCK});
        for (int i = 0; i < size / 8; i++, stream += {BLOCK}, tiles += 2)
            for (int channel = 0; channel < {BLOCK}; channel++) {{
                sums[2 * channel] += dot_halves((uint32_t)stream[channel], tiles[0]);
                sums[2 * channel + 1] += dot_halves((uint32_t)stream[channel], tiles[1]);
            }}
    }}
    return stream;
}}
#endif
""",
    )


def _output(shift: int) -> Kernel:
    name = f"winograd_output_{shift}"
    return Kernel(
        name,
        f"""\
/* Four times a sum to int8; constant: start, multiplier and sign of the channel (see the proof of exact_high) */
static inline int8_t winograd_requantize_{shift}(int32_t sum, const int32_t *constant, int32_t center)
{{
    int32_t value = (int32_t)((uint32_t)constant[0] + (uint32_t)sum * {SCALE // 4}u);
    value -= value >> 31 & constant[2];
    value = (center + (int32_t)(((int64_t)value * constant[1]) >> 32)) >> {shift};
    return (int8_t)(value < -128 ? -128 : value > 127 ? 127 : value);
}}

/* A' m A of one channel's tile, then int8. What is beyond the last column or row (`right` or `down` is 0) is written
 * first and then overwritten. */
static __attribute__((noinline)) void {name}(
    int8_t *y, const int32_t *m, const int32_t *constant, int32_t center, int right, int down)
{{
    int32_t upper[4], lower[4];
    for (int j = 0; j < 4; j++, m += {2 * BLOCK}) {{
        int32_t middle = m[{2 * BLOCK * 4}], below = m[{2 * BLOCK * 8}];
        upper[j] = m[0] + middle + below;
        lower[j] = middle - below - m[{2 * BLOCK * 12}];
    }}
    y[down + right] = winograd_requantize_{shift}(lower[1] - lower[2] - lower[3], constant, center);
    y[down] = winograd_requantize_{shift}(lower[0] + lower[1] + lower[2], constant, center);
    y[right] = winograd_requantize_{shift}(upper[1] - upper[2] - upper[3], constant, center);
    y[0] = winograd_requantize_{shift}(upper[0] + upper[1] + upper[2], constant, center);
}}
""",
    )


def _kernel(shift: int) -> Kernel:
    output = _output(shift)
    name = f"winograd_s8_{shift}"
    return Kernel(
        name,
        f"""\
/* Convolution 3x3, int8 NHWC, by Winograd's F(2x2, 3x3): two tiles of 2x2 outputs at a time. A lone last tile is
 * computed twice. */
static __attribute__((noinline)) void {name}(
    const int8_t *x, int8_t *y, const int32_t *stream, uint32_t *tiles, int zero_x, int32_t center, int batches,
    int in_h, int in_w, int in_c, int out_h, int out_w, int out_c, int pad_top, int pad_left)
{{
    int32_t *sums = (int32_t *)(tiles + {POSITIONS} * in_c);
    int8_t *bytes = (int8_t *)sums;
    for (int n = 0; n < batches; n++, x += in_h * in_w * in_c, y += out_h * out_w * out_c)
        for (int oy = 0; oy < out_h; oy += 2)
            for (int ox = 0; ox < out_w; ox += 4) {{
                int second = ox + 2 < out_w ? 2 : 0, top = oy - pad_top;
                for (int i = 0; i < 2; i++) {{
                    int left = ox + i * second - pad_left, step = in_w * in_c;
                    const int8_t *at = x + (top * in_w + left) * in_c;
                    if (top < 0 || left < 0 || top + 4 > in_h || left + 4 > in_w) {{
                        gather_window(bytes, x, zero_x, in_h, in_w, in_c, 4, 4, 1, top, left);
                        at = bytes;
                        step = 4 * in_c;
                    }}
                    winograd_input(tiles + i, at, step, in_c);
                }}
                const int32_t *block = stream;
                int down = oy + 1 < out_h ? out_w * out_c : 0;
                for (int c = 0; c < out_c; c += {BLOCK}, block += {3 * BLOCK}) {{
                    block = winograd_dot(block, tiles, 4 * in_c, sums);
                    for (int k = 0; k < 2 * {BLOCK} && c + k / 2 < out_c; k++) {{
                        int px = ox + k % 2 * second, right = px + 1 < out_w ? out_c : 0;
                        int8_t *out = y + (oy * out_w + px) * out_c + c + k / 2;
                        {output.name}(out, sums + k, block + k / 2 * 3, center, right, down);
                    }}
                }}
            }}
}}
""",
        (GATHER_WINDOW, TRANSFORM_TILE, dot_positions(), output),
    )
