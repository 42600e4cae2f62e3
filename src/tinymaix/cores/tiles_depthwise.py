"""Depthwise convolutions on cores that multiply one pair of numbers at a time: a window that slides along a row.

A channel's weights and the bytes under its window stay in variables. From an output to the next only the columns that
come into the window are loaded. Rows beyond the border are read from a byte that holds the zero point, by a step of 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from tinymaix.cores.core import Core
from tinymaix.cores.finish import clamped
from tinymaix.cores.tiles_finish import Finish, finish_of
from tinymaix.graph import Node
from tinymaix.ops.depthwise_conv_2d import DepthwiseConv2D
from tinymaix.ops.emit import Implementation, Kernel, LayerCode
from tinymaix.ops.fixed_point import quantized_range
from tinymaix.ops.window import Pair
from tinymaix.plan import row_lead

MOST_TAPS = 25
"""Beyond that, straight code is long and its variables are in memory anyway."""


def choose_depthwise_conv_2d(node: Node, core: Core, optimize: str) -> Sequence[Implementation]:
    """The sliding kernel, none where the portable one serves."""
    op, weights = node.op, node.input(1)
    assert isinstance(op, DepthwiseConv2D)
    kernel = weights.shape[1:3]
    if node.output.dtype != np.int8 or optimize == "flash" or "mul" not in core.features or weights.data is None:
        return ()
    if kernel[0] * kernel[1] > MOST_TAPS or op.dilation != (1, 1) or op.stride[1] > kernel[1]:
        return ()
    finish = finish_of(node, op.activation, 3, core)
    emit = partial(_emit, node, op, finish)
    way = Implementation(emit, 0, row_lead(node), f"a window that slides along a row, {finish.reason}")
    return [clamped(way, node, finish.clamp, quantized_range(op.activation, node.output))]


def _emit(node: Node, op: DepthwiseConv2D, finish: Finish, code: LayerCode) -> None:
    (batches, in_h, in_w, in_c), (_, kernel_h, kernel_w, out_c) = node.input(0).shape, node.input(1).shape
    _, out_h, out_w, _ = node.output.shape
    weights = node.input(1).data
    assert weights is not None
    taps = np.where(finish.fixed, 0, weights[0]).astype(np.int8).transpose(2, 0, 1)
    code.call(
        slide_kernel((kernel_h, kernel_w), op.stride[1], finish),
        x=code.input(0),
        y=code.output(),
        weights=code.constant("weights", np.ascontiguousarray(taps)),
        constants=code.constant("constants", finish.constants),
        zero_x=node.input(0).q.z,
        center=finish.center,
        batches=batches,
        in_h=in_h,
        in_w=in_w,
        in_c=in_c,
        out_h=out_h,
        out_w=out_w,
        depth_multiplier=out_c // in_c,
        stride_h=op.stride[0],
        pad_top=op.padding[0],
        pad_left=op.padding[2],
    )


def slide_kernel(kernel: Pair, stride_w: int, finish: Finish) -> Kernel:
    """The kernel for windows of this size that move so far along a row, no further than they are wide."""
    rows, columns = range(kernel[0]), range(kernel[1])
    kept, new = columns[: kernel[1] - stride_w], columns[kernel[1] - stride_w :]
    name = f"depthwise_{kernel[0]}x{kernel[1]}_s{stride_w}_{finish.name}"
    weights = ", ".join(f"w{i}{j} = FLASH_I8(w + {i * kernel[1] + j})" for i in rows for j in columns)
    variables = ", ".join(f"v{i}{j}" for i in rows for j in columns)
    pointers = "\n".join(f"                const int8_t *p{i} = &border; int d{i} = 0;" for i in rows)
    inside = [
        f"if (top + {i} >= 0 && top + {i} < in_h) p{i} = image + (top + {i}) * in_w * in_c, d{i} = in_c;" for i in rows
    ]
    first = [_load(rows, j, f"{j} - pad_left") for j in kept]
    shift = [" ".join(f"v{i}{j} = v{i}{j + stride_w};" for i in rows) for j in kept]
    loads = [_load(rows, j, f"at + {j - new[0]}") for j in new]
    total = " + ".join(f"v{i}{j} * w{i}{j}" for i in rows for j in columns)
    return Kernel(
        name,
        f"""\
/* Depthwise convolution {kernel[0]}x{kernel[1]}, int8 NHWC: along a row, a channel at a time */
static __attribute__((noinline)) void {name}(
    const int8_t *x, int8_t *y, const int8_t *weights, const int32_t *constants, int zero_x, int32_t center,
    int batches, int in_h, int in_w, int in_c, int out_h, int out_w, int depth_multiplier, int stride_h, int pad_top,
    int pad_left)
{{
    const int8_t border = (int8_t)zero_x;
    const int out_c = in_c * depth_multiplier;
    for (int n = 0; n < batches; n++, x += in_h * in_w * in_c)
        for (int oy = 0; oy < out_h; oy++, y += out_w * out_c) {{
            const int8_t *w = weights;
            const int32_t *constant = constants;
            for (int c = 0; c < out_c; c++, w += {kernel[0] * kernel[1]}, constant += {finish.width}) {{
                const int8_t *image = x + c / depth_multiplier;
                const int top = oy * stride_h - pad_top;
                const int32_t {weights};
                {" ".join(finish.loads)}
                int32_t {variables};
{pointers}
{_lines(inside)}
{_lines(first)}
                int8_t *out = y + c;
                for (int ox = 0, at = {len(kept)} - pad_left; ox < out_w; ox++, at += {stride_w}, out += out_c) {{
{_lines(loads, 4)}
                    const int32_t sum = {total};
                    *out = {finish.value};
{_lines(shift, 4)}
                }}
            }}
        }}
}}
""",
        finish.needs,
    )


def _load(rows: range, column: int, at: str) -> str:
    """The bytes of a column of the window, ``at`` in the image; the pointers go on to the next one inside."""
    inside = " ".join(f"v{i}{column} = *p{i}; p{i} += d{i};" for i in rows)
    outside = " ".join(f"v{i}{column} = border;" for i in rows)
    return f"if ((unsigned)({at}) < (unsigned)in_w) {{ {inside} }} else {{ {outside} }}"


def _lines(lines: Sequence[str], more: int = 0) -> str:
    return "\n".join(" " * (16 + more) + line for line in lines)
