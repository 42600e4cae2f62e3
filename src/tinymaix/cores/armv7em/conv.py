"""Convolutions of any window: the windows of two neighbouring pixels become columns, then all channels are computed.

A row of a window lies together in memory. Where rows fill whole words, they are widened from where they are, and so
they are where filling them up with weights of 0 costs less than what else is done: to copy them behind each other
first, so that only the end of a column is filled up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from tinymaix.cores.armv7em.depthwise import choose_depthwise_conv_2d
from tinymaix.cores.armv7em.fully_connected import one_row
from tinymaix.cores.armv7em.gemm import Form, Product, block_stream, forms
from tinymaix.cores.armv7em.pointwise import REASON, WIDEN_PAIR, pointwise
from tinymaix.cores.armv7em.weights import padded
from tinymaix.cores.armv7em.winograd import serves, winograd
from tinymaix.cores.core import Core
from tinymaix.cores.exact_high import HighRequant, prove_high_node
from tinymaix.cores.finish import clamped
from tinymaix.cores.gather import GATHER_WINDOW, window
from tinymaix.graph import Node, Tensor
from tinymaix.ops.conv_2d import Conv2D
from tinymaix.ops.depthwise_conv_2d import DepthwiseConv2D
from tinymaix.ops.emit import SMALL, Implementation, Kernel, LayerCode
from tinymaix.ops.fixed_point import quantized_range
from tinymaix.plan import row_lead

LITTLE = 16
"""Taps up to which the kernel for images of one channel is little code."""


def choose_conv_2d(node: Node, core: Core, optimize: str) -> Sequence[Implementation]:
    """The kernels for a convolution, none where the portable one serves."""
    op = node.op
    assert isinstance(op, Conv2D)
    if node.output.dtype != np.int8 or optimize == "flash" or node.input(0).shape[3] != node.input(1).shape[3]:
        return ()
    requant = prove_high_node(node, op.activation, 0, varied=True)
    if requant is None:
        return ()
    weights = node.input(1).data
    assert weights is not None
    taken = forms(optimize, weights.reshape(len(weights), -1))
    size, unpadded = node.input(1).shape[1:3], op.padding == (0, 0, 0, 0)
    if unpadded and node.output.elements == node.output.shape[3] and size == node.input(0).shape[1:3]:
        direct = one_row(node, requant)
    elif unpadded and size == (1, 1) and op.stride == (1, 1):
        direct = [pointwise(node, requant, form) for form in taken]
    else:
        direct = [_variant(node, op, requant, form) for form in taken]
    fast = [winograd(node, op, requant)] if serves(node, op, requant) else []
    limits = quantized_range(op.activation, node.output)
    ways = [*fast, *direct] if optimize == "speed" else [*direct, *fast]
    ways = [clamped(way, node, requant.clamp, limits) for way in ways]
    single = _as_depthwise(node, op, core, optimize)
    little = optimize == "speed" or np.prod(size) <= LITTLE
    return [*single, *ways] if little else [*ways, *single]


def _as_depthwise(node: Node, op: Conv2D, core: Core, optimize: str) -> Sequence[Implementation]:
    """The depthwise kernels where the image has one channel: what is the same computation then."""
    weights = node.input(1)
    if weights.shape[3] != 1 or weights.data is None or node.input(0).shape[3] != 1:
        return ()
    taps, quantization = weights.data.transpose(3, 1, 2, 0), replace(weights.q, axis=3)
    tensor = Tensor(weights.name, taps.shape, weights.dtype, quantization, taps)
    same = DepthwiseConv2D(op.stride, op.dilation, op.padding, op.activation)
    return choose_depthwise_conv_2d(Node(same, [node.input(0), tensor, *node.inputs[2:]], node.outputs), core, optimize)


def _variant(node: Node, op: Conv2D, requant: HighRequant, form: Form) -> Implementation:
    reason = REASON.replace("pixels", "windows").format(form.words)
    return Implementation(partial(_emit, node, op, requant, form), _scratch(node), row_lead(node), reason)


def _row_taps(node: Node) -> int:
    """Taps of a row of a window as it is widened from where it is, 0 where copying the rows first is cheaper."""
    out_c, kernel_h, kernel_w, in_c = node.input(1).shape
    row = kernel_w * in_c
    steps = (kernel_h * padded(row) - padded(kernel_h * row)) // 2
    copying = 2 * (kernel_h * (4 + 3 * padded(row) // 4) + 15)  # cycles for two windows, counted on a Cortex-M4
    return padded(row) if 15 * steps * -(-out_c // 4) < copying else 0


def _scratch(node: Node) -> int:
    """Two columns of halfwords, two of bytes, and a word behind them that is read or spoilt with the last bytes."""
    _, kernel_h, kernel_w, in_c = node.input(1).shape
    return 6 * padded(kernel_h * (_row_taps(node) or kernel_w * in_c)) + 8


def _emit(node: Node, op: Conv2D, requant: HighRequant, form: Form, code: LayerCode) -> None:
    out_c, kernel_h, kernel_w, in_c = node.input(1).shape
    weights, row_taps = node.input(1).data, _row_taps(node)
    assert weights is not None
    rows = weights.reshape(out_c, kernel_h, kernel_w * in_c)
    if row_taps:
        rows = np.pad(rows, ((0, 0), (0, 0), (0, row_taps - kernel_w * in_c)))
    pixels = node.output.elements // out_c
    product = Product.of(requant, form, out_c, pixels)
    code.call(
        Kernel("conv_pairs_s8", CONV_PAIRS_S8, (SMALL, WIDEN_PAIR, GATHER_WINDOW, COPY_ROWS, *product.kernels)),
        x=code.input(0),
        y=code.output(),
        stream=code.constant("weights", block_stream(rows.reshape(out_c, -1), requant, form, pixels)),
        columns=f"(uint32_t *){code.scratch}",
        zero_x=node.input(0).q.z,
        **product.arguments,
        **window(node, op),
        row_taps=row_taps,
    )


COPY_ROWS = Kernel(
    "copy_window",
    """\
/* Rows behind each other, by words: up to three bytes behind each row are read, and written behind the last */
static SMALL void copy_window(int8_t *to, const int8_t *from, int rows, int row, int step)
{
    for (; rows > 0; rows--, to += row, from += step)
        for (int i = 0; i < row; i += 4) {
            uint32_t word;
            memcpy(&word, from + i, 4);
            memcpy(to + i, &word, 4);
        }
}
""",
)


CONV_PAIRS_S8 = """\
/* Convolution, int8 NHWC: the windows of two neighbouring pixels at a time. A lone last pixel is computed twice. */
static SMALL void conv_pairs_s8(
    const int8_t *x, int8_t *y, const int32_t *stream, uint32_t *columns, dot_columns *fours, dot_columns *twos,
    int zero_x, int batches, int in_h, int in_w, int in_c, int out_h, int out_w, int out_c, int kernel_h, int kernel_w,
    int stride_h, int stride_w, int dilation_h, int dilation_w, int pad_top, int pad_left, int row_taps, int32_t center,
    int is_signed)
{
    int row = kernel_w * in_c, behind = row % 4 ? 2 / (in_w * in_c) + 1 : 0; /* image rows with bytes behind the last */
    int rows = row_taps ? kernel_h : 1, length = row_taps ? row_taps / 4 : (kernel_h * row + 3) / 4;
    uint32_t *end = columns + 4 * rows * length;
    int8_t *bytes0 = (int8_t *)end, *bytes1 = bytes0 + (kernel_h * row + 3) / 4 * 4;
    for (int n = 0; n < batches; n++, x += in_h * in_w * in_c)
        for (int oy = 0; oy < out_h; oy++) {
            int top = oy * stride_h - pad_top, bottom = top + (kernel_h - 1) * dilation_h;
            int inside = top >= 0 && bottom < in_h - behind;
            for (int ox = 0; ox < out_w; ox += 2, y += 2 * out_c) {
                int second = ox + 1 < out_w, left = ox * stride_w - pad_left, right = second ? left + stride_w : left;
                int step = dilation_h * in_w * in_c;
                const int8_t *at0 = x + (top * in_w + left) * in_c, *at1 = x + (top * in_w + right) * in_c;
                if (!inside || dilation_w != 1 || left < 0 || right + kernel_w > in_w) {
                    gather_window(bytes0, x, zero_x, in_h, in_w, in_c, kernel_h, kernel_w, dilation_h,
                                  dilation_w, top, left);
                    gather_window(bytes1, x, zero_x, in_h, in_w, in_c, kernel_h, kernel_w, dilation_h,
                                  dilation_w, top, right);
                    at0 = bytes0;
                    at1 = bytes1;
                    step = row;
                } else if (!row_taps) {
                    copy_window(bytes0, at0, kernel_h, row, step);
                    copy_window(bytes1, at1, kernel_h, row, step);
                    at0 = bytes0;
                    at1 = bytes1;
                }
                widen_pair(columns, at0, at1, length, rows, step - 4 * length);
                multiply_columns(fours, twos, stream, columns, end, y, second ? out_c : 0, out_c, center, is_signed);
            }
            y -= out_w % 2 * out_c;
        }
}
"""
