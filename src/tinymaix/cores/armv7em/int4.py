"""Convolutions of int4 weights on Armv7E-M: four output channels at a time, unpacked for one output row.

A word of flash holds four taps of two channels, whose halves of bytes become halfwords of 16 times the weight by five
instructions; so the sums are 16 times too large, and are divided at the end, without a rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from tinymaix.cores.armv7em.assembly import ASSEMBLY, DOT_PAIR, EVEN_BYTES, NAKED, assembly
from tinymaix.cores.armv7em.pointwise import LOAD_4
from tinymaix.cores.core import Core
from tinymaix.graph import Array, Node
from tinymaix.ops.accumulate import accumulator_constants
from tinymaix.ops.conv_2d import Conv2D
from tinymaix.ops.emit import Implementation, Kernel, LayerCode
from tinymaix.ops.fixed_point import CLAMP, REQUANTIZE
from tinymaix.plan import row_lead

MOST_TAPS = 2**31 // (128 * 8 * 16)
"""Taps whose sums, times 16, stay in 32 bits."""

REASON = "four channels of int4 weights at a time, unpacked for each output row"


def choose_int4(node: Node, core: Core, optimize: str) -> Sequence[Implementation]:
    """The kernel for a convolution of int4 weights without groups, whose pixels fill whole words; else none."""
    op = node.op
    out_c, *_, group_c = node.input(1).shape
    taps = node.input(1).elements // out_c
    if not isinstance(op, Conv2D) or group_c != node.input(0).shape[3] or group_c % 4 or taps > MOST_TAPS:
        return ()
    if optimize in ("flash", "ram"):
        return ()
    return [Implementation(partial(_emit, node, op), 8 * taps + group_c, row_lead(node), REASON)]


def stream(weights: Array) -> Array:
    """(channels, taps) of int4 as words: of four channels, for each four taps, taps 0 to 3 of channel 0 in the lower
    halves of the bytes and of channel 1 in the upper ones, then of channels 2 and 3. Channels are filled up with 0."""
    channels, taps = weights.shape
    filled = np.pad(weights, ((0, -channels % 4), (0, 0))).astype(np.uint8)
    pairs = filled.reshape(-1, 2, 2, taps // 4, 4)  # (blocks, pairs, channels of a pair, quads, taps)
    data = (pairs[:, :, 0] & 15) | (pairs[:, :, 1] << 4)
    return np.ascontiguousarray(data.transpose(0, 2, 1, 3), np.uint8).view("<u4").reshape(-1).astype(np.uint32)


def _emit(node: Node, op: Conv2D, code: LayerCode) -> None:
    (n, in_h, in_w, in_c), (out_c, kernel_h, kernel_w, _) = node.input(0).shape, node.input(1).shape
    _, out_h, out_w, _ = node.output.shape
    weights = np.asarray(node.input(1).data).reshape(out_c, -1)
    constants = accumulator_constants(node, code, op.activation, (1, 2, 3), stored=stream(weights))
    code.call(
        CONV_2D_S4_QUADS, x=code.input(0), y=code.output(), unpacked=f"(uint32_t *){code.scratch}", **constants,
        batches=n, in_h=in_h, in_w=in_w, in_c=in_c, out_h=out_h, out_w=out_w, out_c=out_c,
        kernel_h=kernel_h, kernel_w=kernel_w, stride_h=op.stride[0], stride_w=op.stride[1],
        dilation_h=op.dilation[0], dilation_w=op.dilation[1], pad_top=op.padding[0], pad_left=op.padding[2],
    )  # fmt: skip


UNPACK_QUADS = Kernel(
    "unpack_quads",
    """\
/* Words of eight int4 weights -> halfwords of 16 times the weight: the lower halves' even and odd ones, then the upper
 * halves' */
static __attribute__((noinline)) void unpack_quads(const uint32_t *packed, uint32_t *w, int words)
{
    for (; words > 0; words--, packed++, w += 4) {
        uint32_t high = *packed & UINT32_C(0xf0f0f0f0), low = *packed << 4 & UINT32_C(0xf0f0f0f0);
#if defined(__ARM_FEATURE_DSP)
        __asm__("sxtb16 %0, %1" : "=r"(w[0]) : "r"(low));
        __asm__("sxtb16 %0, %1, ror #8" : "=r"(w[1]) : "r"(low));
        __asm__("sxtb16 %0, %1" : "=r"(w[2]) : "r"(high));
        __asm__("sxtb16 %0, %1, ror #8" : "=r"(w[3]) : "r"(high));
#else
        w[0] = even_bytes(low);
        w[1] = even_bytes(low >> 8);
        w[2] = even_bytes(high);
        w[3] = even_bytes(high >> 8);
#endif
    }
}
""",
    (EVEN_BYTES,),
)

DOT_QUADS = Kernel(
    "dot_quads",
    f"""\
/* sums[0..3] += the bytes from x to end times the halfwords of four channels at w */
#if defined(__ARM_FEATURE_DSP)
{NAKED} void dot_quads(int32_t *sums, const int8_t *x, const uint32_t *w, const int8_t *end)
{{
    __asm__ volatile(
{
        assembly(
            [
                "push {r4-r11, lr}",
                "ldm.w r0, {r8, r9, r10, r11}",
                "1:",
                "ldr r12, [r1], #4",
                "ldm.w r2!, {r4, r5, r6, r7}",
                "sxtb16 lr, r12, ror #8",
                "sxtb16 r12, r12",
                "smlad r8, r4, r12, r8",
                "smlad r8, r5, lr, r8",
                "smlad r9, r6, r12, r9",
                "smlad r9, r7, lr, r9",
                "ldm.w r2!, {r4, r5, r6, r7}",
                "smlad r10, r4, r12, r10",
                "smlad r10, r5, lr, r10",
                "smlad r11, r6, r12, r11",
                "smlad r11, r7, lr, r11",
                "cmp r1, r3",
                "bne.n 1b",
                "stm.w r0, {r8, r9, r10, r11}",
                "pop {r4-r11, pc}",
            ]
        )
    });
}}
#else
static void dot_quads(int32_t *sums, const int8_t *x, const uint32_t *w, const int8_t *end)
{{
    for (; x < end; x += 4) {{
        uint32_t word = load_4(x), even = even_bytes(word), odd = even_bytes(word >> 8);
        for (int i = 0; i < 4; i++, w += 2)
            sums[i] += (int32_t)(dot_pair(w[0], even) + dot_pair(w[1], odd));
    }}
}}
#endif
""",
    (ASSEMBLY, LOAD_4, DOT_PAIR, EVEN_BYTES),
)

CONV_2D_S4_QUADS = Kernel(
    "conv_2d_s4_quads",
    """\
/* Convolution, int8 NHWC, of int4 weights: of each output row four channels at a time, whose weights are in `unpacked`,
 * and behind them a pixel of padding. The bias already holds -zero_x * sum(weights), so taps inside the image multiply
 * raw values and taps in the padding multiply zero_x. */
static void conv_2d_s4_quads(const int8_t *x, int8_t *y, uint32_t *unpacked, const uint32_t *weights,
                             const int32_t *bias, const int32_t *multiplier, const int8_t *shift, int channel_step,
                             int32_t zero_x, int32_t zero_y, int32_t low, int32_t high,
                             int batches, int in_h, int in_w, int in_c, int out_h, int out_w, int out_c,
                             int kernel_h, int kernel_w, int stride_h, int stride_w,
                             int dilation_h, int dilation_w, int pad_top, int pad_left)
{
    int taps = kernel_h * kernel_w * in_c;
    int8_t *padding = (int8_t *)(unpacked + 2 * taps);
    memset(padding, (int)zero_x, (size_t)in_c);
    for (int row = 0; row < batches * out_h; row++, y += out_w * out_c) {
        const int8_t *image = x + row / out_h * in_h * in_w * in_c;
        const uint32_t *packed = weights;
        int top = row % out_h * stride_h - pad_top;
        for (int oc = 0; oc < out_c; oc += 4, packed += taps / 2) {
            unpack_quads(packed, unpacked, taps / 2);
            for (int ox = 0, left = -pad_left; ox < out_w; ox++, left += stride_w) {
                int32_t sums[4] = {0, 0, 0, 0};
                const uint32_t *w = unpacked;
                int whole = dilation_w == 1 && left >= 0 && left + kernel_w <= in_w;
                for (int ky = 0, iy = top; ky < kernel_h; ky++, iy += dilation_h) {
                    int inside = iy >= 0 && iy < in_h;
                    int dots = whole && inside ? 1 : kernel_w, length = whole && inside ? kernel_w * in_c : in_c;
                    for (int kx = 0, ix = left; kx < dots; kx++, ix += dilation_w, w += 2 * length) {
                        const int8_t *p = padding;
                        if (inside && (whole || (ix >= 0 && ix < in_w)))
                            p = image + (iy * in_w + ix) * in_c;
                        dot_quads(sums, p, w, p + length);
                    }
                }
                int8_t *out = y + ox * out_c;
                for (int i = oc; i < oc + 4 && i < out_c; i++) {
                    int q = i * channel_step;
                    int32_t sum = requantize(bias[i] + sums[i - oc] / 16, multiplier[q], shift[q]) + zero_y;
                    out[i] = (int8_t)clamp(sum, low, high);
                }
            }
        }
    }
}
""",
    (UNPACK_QUADS, DOT_QUADS, REQUANTIZE, CLAMP),
)
