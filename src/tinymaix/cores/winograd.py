"""Winograd's minimal filtering of 3x3 windows in integers, as far as it is the same on every core.

S. Winograd, "Arithmetic Complexity of Computations", 1980; A. Lavin and S. Gray, "Fast Algorithms for Convolutional
Neural Networks", 2016, section 4.1: F(2x2, 3x3). An output tile of 2x2 is A' [(G g G') . (B' d B)] A with the window g
and the input tile d of 4x4. G has halves; twice G has none, so all is done in integers and the sums are four times
what they shall be. Weights become halfwords, 16 for 9: more flash than any other kernel takes.
"""

from __future__ import annotations

import numpy as np

from tinymaix.graph import Array, Node
from tinymaix.ops.conv_2d import Conv2D

FILTER = np.array([[2, 0, 0], [1, 1, 1], [1, -1, 1], [0, 0, 2]])
"""Twice G of the paper."""
POSITIONS, BLOCK = 16, 4
"""Of a tile; output channels at a time, and what the input channels must be a multiple of."""


def is_plain_3x3(node: Node, op: Conv2D) -> bool:
    """Whether the layer is a convolution of this kind, with whole blocks of input channels."""
    _, *size, in_c = node.input(1).shape
    return size == [3, 3] and op.stride == (1, 1) and op.dilation == (1, 1) and in_c % BLOCK == 0


def filters(weights: Array, fixed: Array) -> Array:
    """(out channels, 3, 3, channels) int8 -> (blocks, 4, positions, channels) int64; 0 for channels in ``fixed``."""
    out_c, _, _, in_c = weights.shape
    rows = np.zeros((-(-out_c // BLOCK) * BLOCK, 3, 3, in_c), np.int64)
    rows[:out_c] = np.where(fixed[:, None, None, None], 0, weights)
    return np.asarray(np.einsum("ij,ojkc,lk->oilc", FILTER, rows, FILTER).reshape(-1, BLOCK, POSITIONS, in_c))
