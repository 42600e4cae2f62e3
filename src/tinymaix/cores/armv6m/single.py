"""Convolutions and fully connected layers, one pixel at a time: eight channels, whose sums stay in registers.

The bytes of one window are all the RAM that it takes, and a row of whole words not even that. Two pixels by four
channels would share loads better, but want their activations as halfwords side by side: to make those costs what they
save.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from tinymaix.cores.armv6m import thumb
from tinymaix.cores.armv7em.assembly import assembly
from tinymaix.cores.gather import GATHER_WINDOW, window
from tinymaix.cores.tiles_finish import Finish
from tinymaix.graph import Node
from tinymaix.ops.conv_2d import Conv2D
from tinymaix.ops.emit import SMALL, Argument, Implementation, Kernel, LayerCode

CHANNELS = 8


def single(node: Node, op: Conv2D | None, finish: Finish, lead: int | None) -> Implementation:
    """The implementation. op: None where pixels are rows of taps in memory."""
    weights = node.input(1)
    taps = weights.elements // weights.shape[0]
    filled = thumb.filled(taps)
    scratch = 0 if op is None and filled == taps else filled
    reason = f"{CHANNELS} channels of a pixel a turn, {finish.reason}"
    return Implementation(partial(_emit, node, op, finish), scratch, lead, reason)


def _emit(node: Node, op: Conv2D | None, finish: Finish, code: LayerCode) -> None:
    weights = node.input(1).data
    assert weights is not None
    taps = weights[0].size
    rows = np.where(finish.fixed[:, None], 0, weights.reshape(len(weights), -1))
    given: dict[str, Argument] = {
        "x": code.input(0),
        "y": code.output(),
        "weights": code.constant("weights", thumb.blocks(rows)),
        "constants": code.constant("constants", finish.constants),
        "bytes": f"(int8_t *){code.scratch}" if op is not None or taps % thumb.TURN else "NULL",
        "size": thumb.filled(taps),
        "out_c": len(weights),
        "center": finish.center,
    }
    if op is None:
        code.call(rows_kernel(finish), **given, taps=taps, pixels=node.output.elements // len(weights))
    else:
        code.call(windows_kernel(finish), **given, zero_x=node.input(0).q.z, **window(node, op))


def dot_kernel(words: int) -> Kernel:
    """single_dot8(weights, x, size, sums): of the channels in so many words a tap."""
    name = f"single_dot{4 * words}"
    prototype = f"const uint32_t *{name}(const uint32_t *weights, const int8_t *x, int size, int32_t *sums)"
    return Kernel(
        name,
        f"""\
/* The sums of {4 * words} channels over ``size`` bytes of activations -> the end of the weights */
{thumb.IS_ARMV6M}{thumb.PROTOTYPE} {prototype}
{{
    __asm__ volatile(
{assembly(thumb.dot(words))});
}}
#else
static {prototype}
{{
    memset(sums, 0, {16 * words});
    for (const int8_t *end = x + size; x != end; x++, weights += {words})
        for (int i = 0; i < {4 * words}; i++)
            sums[i] += (int8_t)(weights[i / 4] >> i % 4 * 8) * *x;
    return weights;
}}
#endif
""",
    )


def turn_kernel(finish: Finish) -> Kernel:
    """single_turn_any(x, weights, constants, y, size, out_c, center): all channels of a pixel."""
    name = f"single_turn_{finish.name}"
    loads = "\n".join(f"            {line}" for line in finish.loads).replace("constant +", "constants +")
    return Kernel(
        name,
        f"""\
/* All channels of a pixel */
static SMALL void {name}(
    const int8_t *x, const uint32_t *weights, const int32_t *constants, int8_t *y, int size, int out_c, int32_t center)
{{
    int32_t sums[{CHANNELS}];
    for (int c = 0; c < out_c; c += {CHANNELS}, y += {CHANNELS}) {{
        if (out_c - c > {CHANNELS // 2})
            weights = single_dot8(weights, x, size, sums);
        else
            weights = single_dot4(weights, x, size, sums);
        for (int i = 0; i < {CHANNELS} && c + i < out_c; i++, constants += {finish.width}) {{
{loads}
            y[i] = {finish.value.replace("sum", "sums[i]")};
        }}
    }}
}}
""",
        (SMALL, dot_kernel(2), dot_kernel(1), *finish.needs),
    )


def rows_kernel(finish: Finish) -> Kernel:
    """Pixels that are rows of taps, one behind the other."""
    turn = turn_kernel(finish)
    name = f"single_rows_{finish.name}"
    return Kernel(
        name,
        f"""\
/* A pixel at a time, int8: fully connected layer, pointwise convolution. bytes: for rows that are no whole words */
static SMALL void {name}(
    const int8_t *x, const int32_t *weights, const int32_t *constants, int8_t *y, int8_t *bytes, int size, int pixels,
    int taps, int out_c, int32_t center)
{{
    for (; pixels > 0; pixels--, x += taps, y += out_c) {{
        const int8_t *row = x;
        if (bytes) {{
            memcpy(bytes, x, (size_t)taps);
            row = bytes;
        }}
        {turn.name}(row, (const uint32_t *)weights, constants, y, size, out_c, center);
    }}
}}
""",
        (SMALL, turn),
    )


def windows_kernel(finish: Finish) -> Kernel:
    """Pixels whose windows are copied first."""
    turn = turn_kernel(finish)
    name = f"single_windows_{finish.name}"
    return Kernel(
        name,
        f"""\
/* Convolution, int8 NHWC: the window of a pixel at a time */
static SMALL void {name}(
    const int8_t *x, const int32_t *weights, const int32_t *constants, int8_t *y, int8_t *bytes, int size, int out_c,
    int32_t center, int zero_x, int batches, int in_h, int in_w, int in_c, int out_h, int out_w, int kernel_h,
    int kernel_w, int stride_h, int stride_w, int dilation_h, int dilation_w, int pad_top, int pad_left)
{{
    for (int n = 0; n < batches; n++, x += in_h * in_w * in_c)
        for (int oy = 0; oy < out_h; oy++)
            for (int ox = 0; ox < out_w; ox++, y += out_c) {{
                gather_window(bytes, x, zero_x, in_h, in_w, in_c, kernel_h, kernel_w, dilation_h, dilation_w,
                              oy * stride_h - pad_top, ox * stride_w - pad_left);
                {turn.name}(bytes, (const uint32_t *)weights, constants, y, size, out_c, center);
            }}
}}
""",
        (SMALL, GATHER_WINDOW, turn),
    )
