"""Weights of 4 bits: two in a byte of a file or of flash, the lower half first, and the C kernels that read them so.

A convolution unpacks the weights of one output channel into RAM and computes that channel of an output row; a depthwise
one is a convolution of as many groups as channels. A fully connected layer unpacks as it multiplies.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tinymaix.graph import Array, Node
from tinymaix.ops.accumulate import accumulator_constants
from tinymaix.ops.emit import Argument, Kernel, LayerCode
from tinymaix.ops.fixed_point import CLAMP, REQUANTIZE


def pack(values: Array) -> Array:
    """int8 values from -8 to 7, two a byte along the last axis, which is filled up with 0."""
    pairs = np.pad(values, [(0, 0)] * (values.ndim - 1) + [(0, values.shape[-1] % 2)]).astype(np.uint8)
    return np.asarray((pairs[..., 0::2] & 15) | (pairs[..., 1::2] << 4), np.uint8).view(np.int8)


def unpack(packed: Array, count: int) -> Array:
    """The first ``count`` values of each row of packed ones."""
    halves = np.stack([packed << 4, packed], axis=-1).reshape(*packed.shape[:-1], -1)[..., :count]
    return np.asarray(halves.astype(np.int8) >> 4)


def has_int4_weights(node: Node) -> bool:
    weights = node.optional(1)
    return weights is not None and weights.is_int4


def unpacked_bytes(node: Node, channel_axis: int) -> int:
    """RAM for the weights of one output channel, 4-byte aligned."""
    weights = node.input(1)
    return (weights.elements // weights.shape[channel_axis] + 3) // 4 * 4 if weights.is_int4 else 0


def int4_constants(node: Node, code: LayerCode, activation: str, channel_axis: int) -> dict[str, Argument]:
    """`accumulator_constants` with packed weights [out_c][taps of the channel]."""
    weights = node.input(1)
    assert weights.data is not None
    rows = np.moveaxis(weights.data, channel_axis, 0).reshape(weights.shape[channel_axis], -1)
    axes = [axis for axis in range(len(weights.shape)) if axis != channel_axis]
    return accumulator_constants(node, code, activation, axes, stored=pack(rows))


def emit_convolution(
    node: Node, code: LayerCode, activation: str, channel_axis: int, geometry: Mapping[str, Argument]
) -> None:
    """Call the convolution. ``geometry``: its parameters from ``batches`` on."""
    constants = int4_constants(node, code, activation, channel_axis)
    unpacked = f"(int8_t *){code.scratch}"
    code.call(CONV_2D_S4, x=code.input(0), y=code.output(), unpacked=unpacked, **constants, **geometry)


UNPACK_S4 = Kernel(
    "unpack_s4",
    """\
/* Two weights of each byte, the lower half first */
static void unpack_s4(const int8_t *packed, int8_t *w, int count)
{
    for (; count > 1; count -= 2, packed++) {
        int8_t pair = FLASH_I8(packed);
        *w++ = (int8_t)(((pair & 15) ^ 8) - 8);
        *w++ = (int8_t)(pair >> 4);
    }
    if (count)
        *w = (int8_t)(((FLASH_I8(packed) & 15) ^ 8) - 8);
}
""",
)

DOT_UNPACKED = Kernel(
    "dot_unpacked",
    """\
/* sum + x . w, both in RAM; one product at a time, since two do not fit an int of 16 bits */
static int32_t dot_unpacked(int32_t sum, const int8_t *x, const int8_t *w, int count)
{
    for (; count >= 4; count -= 4, x += 4, w += 4) {
        sum += x[0] * w[0];
        sum += x[1] * w[1];
        sum += x[2] * w[2];
        sum += x[3] * w[3];
    }
    for (; count > 0; count--)
        sum += *x++ * *w++;
    return sum;
}
""",
)

CONV_2D_S4 = Kernel(
    "conv_2d_s4",
    """\
/* Convolution, int8 NHWC, of int4 weights [out_c][kernel_h * kernel_w * group_c], each row from a whole byte on: of
 * each output row one channel after another, its weights in `unpacked`. The bias already holds -zero_x * sum(weights),
 * so taps inside the image multiply raw values and taps in the padding multiply zero_x. */
static void conv_2d_s4(const int8_t *x, int8_t *y, int8_t *unpacked, const int8_t *weights, const int32_t *bias,
                       const int32_t *multiplier, const int8_t *shift, int channel_step,
                       int32_t zero_x, int32_t zero_y, int32_t low, int32_t high,
                       int batches, int in_h, int in_w, int in_c, int out_h, int out_w, int out_c,
                       int group_c, int group_out_c, int kernel_h, int kernel_w, int stride_h, int stride_w,
                       int dilation_h, int dilation_w, int pad_top, int pad_left)
{
    int taps = kernel_h * kernel_w * group_c, together = dilation_w == 1 && group_c == in_c;
    for (int row = 0; row < batches * out_h; row++, y += out_w * out_c) {
        const int8_t *image = x + row / out_h * in_h * in_w * in_c, *packed = weights;
        int top = row % out_h * stride_h - pad_top;
        for (int oc = 0; oc < out_c; oc++, packed += (taps + 1) / 2) {
            unpack_s4(packed, unpacked, taps);
            int32_t by = FLASH_I32(multiplier + oc * channel_step), start = FLASH_I32(bias + oc);
            int to = FLASH_I8(shift + oc * channel_step), group = oc / group_out_c * group_c;
            int8_t *out = y + oc;
            for (int ox = 0, left = -pad_left; ox < out_w; ox++, left += stride_w, out += out_c) {
                int32_t sum = start;
                const int8_t *w = unpacked;
                int whole = together && left >= 0 && left + kernel_w <= in_w;
                int dots = whole ? 1 : kernel_w, length = whole ? kernel_w * group_c : group_c;
                for (int ky = 0, iy = top; ky < kernel_h; ky++, iy += dilation_h)
                    for (int kx = 0, ix = left; kx < dots; kx++, ix += dilation_w, w += length)
                        if (iy >= 0 && iy < in_h && (whole || (ix >= 0 && ix < in_w)))
                            sum = dot_unpacked(sum, image + (iy * in_w + ix) * in_c + group, w, length);
                        else
                            for (int c = 0; c < length; c++)
                                sum += zero_x * w[c];
                *out = (int8_t)clamp(requantize(sum, by, to) + zero_y, low, high);
            }
        }
    }
}
""",
    (UNPACK_S4, DOT_UNPACKED, REQUANTIZE, CLAMP),
)

FULLY_CONNECTED_S4 = Kernel(
    "fully_connected_s4",
    """\
/* Fully connected, int8, of int4 weights [out_c][in_c], each row from a whole byte on. The bias already holds
 * -zero_x * sum(weights). */
static void fully_connected_s4(const int8_t *x, int8_t *y, const int8_t *weights, const int32_t *bias,
                               const int32_t *multiplier, const int8_t *shift, int channel_step,
                               int32_t zero_y, int32_t low, int32_t high, int rows, int in_c, int out_c)
{
    for (int row = 0; row < rows; row++, x += in_c) {
        const int8_t *w = weights;
        for (int oc = 0; oc < out_c; oc++) {
            int32_t sum = FLASH_I32(bias + oc);
            int c = 0;
            for (; c + 1 < in_c; c += 2) {
                int8_t pair = FLASH_I8(w++);
                sum += x[c] * (((pair & 15) ^ 8) - 8);
                sum += x[c + 1] * (pair >> 4);
            }
            if (c < in_c)
                sum += x[c] * (((FLASH_I8(w++) & 15) ^ 8) - 8);
            int q = oc * channel_step;
            sum = requantize(sum, FLASH_I32(multiplier + q), FLASH_I8(shift + q)) + zero_y;
            *y++ = (int8_t)clamp(sum, low, high);
        }
    }
}
""",
    (REQUANTIZE, CLAMP),
)
