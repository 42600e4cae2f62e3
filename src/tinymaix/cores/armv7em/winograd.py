"""Convolutions of 3x3 with stride 1 by Winograd's minimal filtering, exactly (see cores/winograd.py), on Armv7E-M.

Of every tile the 16 positions are a product of their own, of channels of activations with output channels. Activations
of two tiles stand side by side as in gemm.py: (c0, c2) of the first tile, of the second, (c1, c3) of the first, and so
on.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from tinymaix.cores.armv7em.winograd_kernels import dot_positions, input_transform, output_transform
from tinymaix.cores.exact_high import HighRequant
from tinymaix.cores.gather import GATHER_WINDOW, geometry
from tinymaix.cores.winograd import BLOCK, POSITIONS, filters, is_plain_3x3
from tinymaix.graph import Array, Node
from tinymaix.ops.conv_2d import Conv2D
from tinymaix.ops.emit import SMALL, Implementation, Kernel, LayerCode
from tinymaix.plan import row_lead


def serves(node: Node, op: Conv2D, requant: HighRequant) -> bool:
    """Whether the layer is a convolution of this kind with enough channels."""
    return is_plain_3x3(node, op) and not requant.varied


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
    out_c, in_c = len(weights), weights.shape[3]
    order = np.arange(in_c).reshape(-1, 4)[:, [0, 2, 1, 3]].reshape(-1)
    halfwords = np.ascontiguousarray(filters(weights, requant.fixed)[..., order].astype("<i2"))
    words = np.moveaxis(halfwords.view("<i4"), 1, 3).reshape(len(halfwords), -1)
    constants = np.zeros((BLOCK * len(words), 3), np.int64)
    constants[:out_c] = np.stack([requant.start, requant.multiplier, requant.sign], axis=1)
    return np.concatenate([words, constants.reshape(len(words), -1).astype(np.int32)], axis=1).reshape(-1)


def _emit(node: Node, op: Conv2D, requant: HighRequant, code: LayerCode) -> None:
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
        out_c=node.output.shape[3],
        **geometry(node, op),
    )


def _kernel(shift: int) -> Kernel:
    output = output_transform(shift)
    name = f"winograd_s8_{shift}"
    return Kernel(
        name,
        f"""\
/* Convolution 3x3, int8 NHWC, by Winograd's F(2x2, 3x3): two tiles of 2x2 outputs at a time. A lone last tile is
 * computed twice. */
static SMALL void {name}(
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
                        gather_window(bytes, x, zero_x, in_h, in_w, in_c, 4, 4, 1, 1, top, left);
                        at = bytes;
                        step = 4 * in_c;
                    }}
                    winograd_input(tiles + i, at, step, in_c);
                }}
                const int32_t *block = stream;
                int down = oy + 1 < out_h ? out_w * out_c : 0;
                for (int c = 0; c < out_c; c += {BLOCK}, block += {3 * BLOCK}) {{
                    block = winograd_dot(block, tiles, 4 * in_c, sums);
                    const int32_t *end = block + 3 * (out_c - c < {BLOCK} ? out_c - c : {BLOCK});
                    for (int i = 0; i < 2; i++) {{
                        int px = ox + i * second, right = px + 1 < out_w ? out_c : 0;
                        {output.name}(y + (oy * out_w + px) * out_c + c, sums + i, block, right, down, center, end);
                    }}
                }}
            }}
}}
""",
        (SMALL, GATHER_WINDOW, input_transform(), dot_positions(), output),
    )
