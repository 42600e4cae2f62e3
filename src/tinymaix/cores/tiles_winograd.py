"""Convolutions of 3x3 with stride 1 by Winograd's minimal filtering, exactly (see winograd.py), without SIMD.

Of every tile the 16 positions are a product of their own, of channels of activations with output channels: here four
channels by two tiles, which stand side by side as halfwords. The transform of both is computed in one word, the second
times 2^16, since it is linear: it only adds and subtracts.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from tinymaix.cores.gather import geometry
from tinymaix.cores.tiles_finish import Finish
from tinymaix.cores.tiles_winograd_c import SUMS, winograd_kernel
from tinymaix.cores.winograd import POSITIONS, filters, is_plain_3x3
from tinymaix.graph import Array, Node
from tinymaix.ops.conv_2d import Conv2D
from tinymaix.ops.emit import Implementation, LayerCode
from tinymaix.plan import row_lead

FEWEST = 8
"""Channels on either side: of fewer the transforms cost more than what they save."""
MOST_TAPS = 2**31 // (4 * 128 * 128)
"""Four times a sum fits 32 bits."""


def serves(node: Node, op: Conv2D) -> bool:
    """Whether the layer is a convolution of this kind with enough channels."""
    out_c, *_, in_c = node.input(1).shape
    return is_plain_3x3(node, op) and min(in_c, out_c) >= FEWEST and 9 * in_c < MOST_TAPS


def winograd(node: Node, op: Conv2D, finish: Finish) -> Implementation:
    """The implementation of a layer that it `serves`."""
    in_c = node.input(0).shape[3]
    scratch = 4 * POSITIONS * in_c + max(4 * SUMS, 4 * 6 * in_c)  # then sums, and before them bytes at the border
    reason = f"Winograd's F(2x2, 3x3) in integers: 16 products for 4 outputs, {finish.reason}"
    return Implementation(partial(_emit, node, op, finish), scratch, row_lead(node, 2), reason)


def stream(weights: Array, fixed: Array) -> Array:
    """The words of a layer: of every block the halfwords of its four channels, for each channel of each position."""
    made = filters(weights, fixed).transpose(0, 2, 3, 1).astype("<i2")
    return np.ascontiguousarray(made).view("<i4").reshape(-1)


def _emit(node: Node, op: Conv2D, finish: Finish, code: LayerCode) -> None:
    weights = node.input(1).data
    assert weights is not None
    code.call(
        winograd_kernel(finish),
        x=code.input(0),
        y=code.output(),
        weights=code.constant("weights", stream(weights, finish.fixed)),
        constants=code.constant("constants", finish.constants),
        tiles=f"(uint32_t *){code.scratch}",
        zero_x=node.input(0).q.z,
        center=finish.center,
        out_c=len(weights),
        **geometry(node, op),
    )
