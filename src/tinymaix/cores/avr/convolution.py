"""Convolutions without padding on AVR: few variables, so that they stay in registers, and sums in assembly."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from tinymaix.cores.core import Core
from tinymaix.graph import Node
from tinymaix.ops.accumulate import DOT_S8, accumulator_constants
from tinymaix.ops.conv_2d import Conv2D
from tinymaix.ops.depthwise_conv_2d import DepthwiseConv2D
from tinymaix.ops.emit import Implementation, Kernel, LayerCode
from tinymaix.ops.fixed_point import CLAMP, REQUANTIZE
from tinymaix.plan import row_lead


def convolution(node: Node, core: Core, optimize: str) -> Sequence[Implementation]:
    """A convolution of one picture whose windows never leave it, and whose kernel rows lie together in memory."""
    op = node.op
    assert isinstance(op, Conv2D)
    together = op.dilation[1] == 1 and node.input(1).shape[3] == node.input(0).shape[3]
    if not _plain(node, op) or not together:
        return ()
    return [Implementation(partial(_emit_convolution, node, op), lead=row_lead(node), reason="no padding")]


def depthwise(node: Node, core: Core, optimize: str) -> Sequence[Implementation]:
    """A depthwise convolution of one picture whose windows never leave it, one output for each input channel."""
    op = node.op
    assert isinstance(op, DepthwiseConv2D)
    if not _plain(node, op) or node.input(0).shape[3] != node.output.shape[3]:
        return ()
    return [Implementation(partial(_emit_depthwise, node, op), lead=row_lead(node), reason="no padding")]


def _plain(node: Node, op: Conv2D | DepthwiseConv2D) -> bool:
    return node.output.dtype == np.int8 and node.output.shape[0] == 1 and not any(op.padding)


def _emit_convolution(node: Node, op: Conv2D, code: LayerCode) -> None:
    (_, _, in_w, in_c), (out_c, kernel_h, kernel_w, _) = node.input(0).shape, node.input(1).shape
    constants = accumulator_constants(node, code, op.activation, sum_axes=(1, 2, 3))
    del constants["zero_x"]
    code.call(
        CONV_VALID_S8, x=code.input(0), y=code.output(), **constants,
        out_h=node.output.shape[1], out_w=node.output.shape[2], out_c=out_c, kernel_h=kernel_h, run=kernel_w * in_c,
        next_row=op.dilation[0] * in_w * in_c, next_x=op.stride[1] * in_c, next_y=op.stride[0] * in_w * in_c,
    )  # fmt: skip


def _emit_depthwise(node: Node, op: DepthwiseConv2D, code: LayerCode) -> None:
    (_, _, in_w, in_c), (_, kernel_h, kernel_w, _) = node.input(0).shape, node.input(1).shape
    constants = accumulator_constants(node, code, op.activation, sum_axes=(0, 1, 2))
    del constants["zero_x"]
    code.call(
        DEPTHWISE_VALID_S8, x=code.input(0), y=code.output(), **constants,
        out_h=node.output.shape[1], out_w=node.output.shape[2], channels=in_c, kernel_h=kernel_h, kernel_w=kernel_w,
        next_tap=op.dilation[1] * in_c, next_row=op.dilation[0] * in_w * in_c,
        next_x=op.stride[1] * in_c, next_y=op.stride[0] * in_w * in_c,
    )  # fmt: skip


CONV_VALID_S8 = Kernel(
    "conv_valid_s8",
    """\
/* Convolution without padding, int8. A kernel row is `run` weights; next_... are steps in the input. */
static void conv_valid_s8(const int8_t *x, int8_t *y, const int8_t *weights, const int32_t *bias,
                          const int32_t *multiplier, const int8_t *shift, uint8_t channel_step,
                          int16_t zero_y, int16_t low, int16_t high, int out_h, int out_w, int out_c,
                          uint8_t kernel_h, int run, int next_row, int next_x, int next_y)
{
    for (; out_h > 0; out_h--, x += next_y) {
        const int8_t *window = x;
        for (int ox = out_w; ox > 0; ox--, window += next_x) {
            const int8_t *w = weights;
            for (int oc = 0, q = 0; oc < out_c; oc++, q += channel_step) {
                int32_t sum = FLASH_I32(bias + oc);
                const int8_t *row = window;
                for (uint8_t ky = kernel_h; ky > 0; ky--, row += next_row, w += run)
                    sum = dot_s8(sum, row, w, run);
                sum = requantize(sum, FLASH_I32(multiplier + q), FLASH_I8(shift + q)) + zero_y;
                *y++ = (int8_t)clamp(sum, low, high);
            }
        }
    }
}
""",
    (DOT_S8, REQUANTIZE, CLAMP),
)

DOT_STRIDED_S8 = Kernel(
    "dot_strided_s8",
    """\
/* sum + x . w, with w in flash; neighbours lie next_x and next_w apart */
static __attribute__((noinline)) int32_t dot_strided_s8(int32_t sum, const int8_t *x, const int8_t *w, uint8_t count,
                                                        int next_x, int next_w)
{
    int8_t a, b;
    uint8_t sign;
    __asm__ volatile(
        "1: ld %[a], %a[x]\\n\\t"
        "lpm %[b], %a[w]\\n\\t"
        "muls %[a], %[b]\\n\\t"
        "clr %[sign]\\n\\t"
        "sbrc r1, 7\\n\\t"
        "com %[sign]\\n\\t"
        "add %A[sum], r0\\n\\t"
        "adc %B[sum], r1\\n\\t"
        "adc %C[sum], %[sign]\\n\\t"
        "adc %D[sum], %[sign]\\n\\t"
        "add %A[x], %A[next_x]\\n\\t"
        "adc %B[x], %B[next_x]\\n\\t"
        "add %A[w], %A[next_w]\\n\\t"
        "adc %B[w], %B[next_w]\\n\\t"
        "dec %[count]\\n\\t"
        "brne 1b\\n\\t"
        "clr __zero_reg__"
        : [sum] "+r"(sum), [x] "+x"(x), [w] "+z"(w), [count] "+r"(count), [a] "=&d"(a), [b] "=&d"(b), [sign] "=&r"(sign)
        : [next_x] "r"(next_x), [next_w] "r"(next_w)
        : "r0", "memory");
    return sum;
}
""",
)

DEPTHWISE_VALID_S8 = Kernel(
    "depthwise_valid_s8",
    """\
/* Depthwise convolution without padding, int8, one output for each channel; next_... are steps in the input. */
static void depthwise_valid_s8(const int8_t *x, int8_t *y, const int8_t *weights, const int32_t *bias,
                               const int32_t *multiplier, const int8_t *shift, uint8_t channel_step,
                               int16_t zero_y, int16_t low, int16_t high, int out_h, int out_w, int channels,
                               uint8_t kernel_h, uint8_t kernel_w, int next_tap, int next_row, int next_x, int next_y)
{
    int next_weights = kernel_w * channels;
    for (; out_h > 0; out_h--, x += next_y) {
        const int8_t *window = x;
        for (int ox = out_w; ox > 0; ox--, window += next_x) {
            for (int c = 0, q = 0; c < channels; c++, q += channel_step) {
                int32_t sum = FLASH_I32(bias + c);
                const int8_t *row = window + c, *w = weights + c;
                for (uint8_t ky = kernel_h; ky > 0; ky--, row += next_row, w += next_weights)
                    sum = dot_strided_s8(sum, row, w, kernel_w, next_tap, channels);
                sum = requantize(sum, FLASH_I32(multiplier + q), FLASH_I8(shift + q)) + zero_y;
                *y++ = (int8_t)clamp(sum, low, high);
            }
        }
    }
}
""",
    (DOT_STRIDED_S8, REQUANTIZE, CLAMP),
)
