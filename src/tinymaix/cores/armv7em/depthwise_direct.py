"""Depthwise convolutions without scratch memory: four channels of a pixel at a time, straight from the image.

SXTB16 makes halfwords of a word of four channels and of the word of their weights, SMLABB and SMLATT multiply them, one
product an instruction. It serves where memory is short, and layers of few outputs.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from tinymaix.cores.exact_high import HighRequant
from tinymaix.cores.gather import window
from tinymaix.graph import Array, Node
from tinymaix.ops.depthwise_conv_2d import DepthwiseConv2D
from tinymaix.ops.emit import Implementation, Kernel, LayerCode
from tinymaix.plan import row_lead

LANES = 4


def direct(node: Node, op: DepthwiseConv2D, requant: HighRequant) -> Implementation | None:
    """The kernel for a layer of a depth multiplier of 1 and at least four channels, None for others."""
    channels = node.input(0).shape[3]
    if node.output.shape[3] != channels or channels < LANES:
        return None
    return Implementation(partial(_emit, node, op, requant), lead=row_lead(node), reason="four channels at a time")


def table(weights: Array, requant: HighRequant) -> Array:
    """Words of each group of four channels: a word of weights of each tap, then of each channel start, multiplier, sign
    and right of `HighRequant`. A last group that is not whole begins at an earlier channel.

    weights: (1, kernel_h, kernel_w, channels) int8.
    """
    channels = weights.shape[3]
    taps = np.where(requant.fixed, 0, weights.reshape(-1, channels)).astype(np.int8)
    constants = np.stack([requant.start, requant.multiplier, requant.sign, requant.right], axis=1)
    parts = []
    for first in range(0, channels, LANES):
        group = slice(min(first, channels - LANES), min(first, channels - LANES) + LANES)
        words = np.ascontiguousarray(taps[:, group]).view("<i4").reshape(-1)
        parts += [words, constants[group].reshape(-1)]
    return np.concatenate(parts).astype(np.int32)


def _emit(node: Node, op: DepthwiseConv2D, requant: HighRequant, code: LayerCode) -> None:
    weights = node.input(1).data
    assert weights is not None
    code.call(
        DEPTHWISE_DIRECT_S8,
        x=code.input(0),
        y=code.output(),
        groups=code.constant("weights", table(weights, requant)),
        zero_x=node.input(0).q.z,
        center=requant.center,
        shift=requant.shift,
        **window(node, op),
    )


FOUR_PRODUCTS = Kernel(
    "four_products",
    """\
/* The products of four bytes of x and four of w are added to four sums */
static inline __attribute__((always_inline)) void four_products(int32_t *sums, const int8_t *x, uint32_t w)
{
#if defined(__ARM_FEATURE_DSP)
    uint32_t bytes, pixels, weights;
    memcpy(&bytes, x, 4);
    __asm__("sxtb16 %[p], %[x]\\n\\t"
            "sxtb16 %[q], %[w]\\n\\t"
            "smlabb %[a], %[p], %[q], %[a]\\n\\t"
            "smlatt %[c], %[p], %[q], %[c]\\n\\t"
            "sxtb16 %[p], %[x], ror #8\\n\\t"
            "sxtb16 %[q], %[w], ror #8\\n\\t"
            "smlabb %[b], %[p], %[q], %[b]\\n\\t"
            "smlatt %[d], %[p], %[q], %[d]"
            : [a] "+&r"(sums[0]), [b] "+&r"(sums[1]), [c] "+&r"(sums[2]), [d] "+&r"(sums[3]), [p] "=&r"(pixels),
              [q] "=&r"(weights)
            : [x] "r"(bytes), [w] "r"(w));
#else
    for (int lane = 0; lane < 4; lane++)
        sums[lane] += x[lane] * (int8_t)(w >> 8 * lane);
#endif
}
""",
)

DEPTHWISE_DIRECT_S8 = Kernel(
    "depthwise_direct_s8",
    """\
/* Depthwise convolution, int8 NHWC, four channels at a time without scratch memory. */
static __attribute__((noinline)) void depthwise_direct_s8(
    const int8_t *x, int8_t *y, const int32_t *groups, int zero_x, int32_t center, int shift,
    int batches, int in_h, int in_w, int in_c, int out_h, int out_w, int kernel_h, int kernel_w,
    int stride_h, int stride_w, int dilation_h, int dilation_w, int pad_top, int pad_left)
{
    int row = in_w * in_c, across = dilation_w * in_c, down = dilation_h * row;
    const int8_t zeros[4] = {(int8_t)zero_x, (int8_t)zero_x, (int8_t)zero_x, (int8_t)zero_x};
    for (int n = 0; n < batches; n++, x += in_h * row)
        for (int oy = 0; oy < out_h; oy++)
            for (int ox = 0; ox < out_w; ox++, y += in_c) {
                int top = oy * stride_h - pad_top, left = ox * stride_w - pad_left;
                int whole = top >= 0 && top + (kernel_h - 1) * dilation_h < in_h && left >= 0
                            && left + (kernel_w - 1) * dilation_w < in_w;
                const int32_t *word = groups;
                for (int c = 0; c < in_c; c += 4) {
                    int from = c + 4 <= in_c ? c : in_c - 4, at = top * row + left * in_c + from;
                    int32_t sums[4] = {0, 0, 0, 0};
                    for (int ky = 0, iy = top; ky < kernel_h; ky++, iy += dilation_h, at += down) {
                        const int8_t *pixel = whole ? x + at : x;
                        for (int kx = 0; kx < kernel_w && whole; kx++, pixel += across)
                            four_products(sums, pixel, (uint32_t)*word++);
                        for (int kx = 0, ix = left; kx < kernel_w && !whole; kx++, ix += dilation_w) {
                            int inside = iy >= 0 && iy < in_h && ix >= 0 && ix < in_w;
                            four_products(sums, inside ? x + at + kx * across : zeros, (uint32_t)*word++);
                        }
                    }
                    for (int lane = 0; lane < 4; lane++, word += 4) {
                        int32_t sum = (int32_t)((uint32_t)word[0] + ((uint32_t)sums[lane] << 8));
                        sum -= sum < 0 ? word[2] : 0;
                        sum = (center + ((int32_t)(((int64_t)sum * word[1]) >> 32) >> word[3])) >> shift;
                        y[from + lane] = (int8_t)(sum < -128 ? -128 : sum > 127 ? 127 : sum);
                    }
                }
            }
}
""",
    (FOUR_PRODUCTS,),
)
