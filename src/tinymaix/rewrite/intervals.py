"""Interval analysis: what every channel of every int8 tensor can hold, whatever the inputs, given the real weights.

A channel is an index of the last axis. Intervals are sound, and not always the tightest: channels are taken as
independent of each other, elements of a channel as alike. An operator that is not known here gives the full range.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product

import numpy as np

from tinymaix.graph import Array, Graph, Node, Tensor
from tinymaix.ops.accumulate import finish, multipliers
from tinymaix.ops.conv_2d import Conv2D
from tinymaix.ops.depthwise_conv_2d import DepthwiseConv2D
from tinymaix.ops.fixed_point import INT32_MAX
from tinymaix.ops.fully_connected import FullyConnected
from tinymaix.ops.lookup import Unary
from tinymaix.ops.mean import Mean
from tinymaix.ops.move import Move
from tinymaix.ops.pooling import Pool2D

LOW, HIGH = -128, 127
INT8 = np.dtype(np.int8)

CORNERS = ("ADD", "SUB", "MUL", "MAXIMUM", "MINIMUM")
"""Kinds of two operands that are extreme where each operand is: monotone in either one, or bilinear."""

LARGEST = 1 << 22
"""The most elements that the tensors of a node may have for its operator to be run on them."""

STEEPEST = 1 << 13
"""The largest ratio of scales: below it no left shift of `requantize` leaves 32 bits, so that it is monotone."""


@dataclass(frozen=True, eq=False)
class Interval:
    """low[c] <= every value of channel c <= high[c]. Both int64, one element a channel."""

    low: Array
    high: Array

    @staticmethod
    def full(channels: int) -> Interval:
        """The whole range of int8."""
        return Interval(np.full(channels, LOW, np.int64), np.full(channels, HIGH, np.int64))

    @staticmethod
    def around(lows: Array, highs: Array) -> Interval:
        """What holds all elements of two arrays, channels last."""
        width = lows.shape[-1] if lows.ndim else 1
        low, high = lows.reshape(-1, width).min(axis=0), highs.reshape(-1, width).max(axis=0)
        return Interval(low.astype(np.int64), high.astype(np.int64))

    @property
    def constant(self) -> Array:
        """Which channels hold the same value always."""
        return np.asarray(self.low == self.high)

    def as_rows(self, width: int) -> Interval:
        """The columns of the same elements, channels last, seen as rows of ``width``."""
        channels = self.low.size
        if width % channels == 0:
            return Interval(np.tile(self.low, width // channels), np.tile(self.high, width // channels))
        folded = (-1, width) if channels % width == 0 else (-1, 1)
        low, high = self.low.reshape(folded).min(axis=0), self.high.reshape(folded).max(axis=0)
        return Interval(np.broadcast_to(low, width), np.broadcast_to(high, width))


def intervals(graph: Graph) -> dict[int, Interval]:
    """The interval of every int8 tensor with elements, by its id: full for inputs of the graph, exact for constants."""
    known = {id(t): _at_rest(t) for t in graph.tensors if t.dtype == INT8 and t.elements}
    for node in graph.nodes:
        if node.states:
            continue
        if all(id(t) in known for t in (*node.activations, *node.outputs)) and not node.op.problems(node):
            inputs = [None if t is None else known.get(id(t)) for t in node.inputs]
            known.update((id(t), found) for t, found in zip(node.outputs, _outputs(node, inputs), strict=False))
    return known


def accumulated(node: Node, x: Interval) -> Interval:
    """What the sums of a convolution or fully connected layer can reach, bias included, before requantization.

    The sums are those of (x - zero_x) * w over the taps inside the image, and are the same however a kernel folds zero
    points. One element for each output channel.
    """
    weights = by_tap(node)
    groups, each = channel_groups(node)
    x = x.as_rows(groups * weights.shape[3])
    # Operands of each output channel: (out_c, group_c).
    low, high = (np.repeat((side - node.input(0).q.z).reshape(groups, -1), each, axis=0) for side in (x.low, x.high))
    positive, negative = np.maximum(weights, 0), np.minimum(weights, 0)
    least = np.einsum("hwoc,oc->hwo", positive, low) + np.einsum("hwoc,oc->hwo", negative, high)
    most = np.einsum("hwoc,oc->hwo", positive, high) + np.einsum("hwoc,oc->hwo", negative, low)
    bias = node.optional(2)
    offset = 0 if bias is None else np.asarray(bias.data, np.int64).reshape(-1)
    return Interval(window_sums(node, least).min(axis=0) + offset, window_sums(node, most).max(axis=0) + offset)


def by_tap(node: Node) -> Array:
    """Weights of a convolution or fully connected layer as int64 (kernel_h, kernel_w, out_c, group_c)."""
    weights = np.asarray(node.input(1).data, np.int64)
    if isinstance(node.op, DepthwiseConv2D):
        return weights[0, ..., None]
    return np.asarray(weights[None, None] if isinstance(node.op, FullyConnected) else weights.transpose(1, 2, 0, 3))


def channel_groups(node: Node) -> tuple[int, int]:
    """(groups, output channels of each): output channels of a group read the input channels of that group only."""
    if isinstance(node.op, FullyConnected):
        return 1, node.input(1).shape[0]
    group_c = 1 if isinstance(node.op, DepthwiseConv2D) else node.input(1).shape[3]
    groups = node.input(0).shape[3] // group_c
    return groups, node.output.shape[3] // groups


def window_sums(node: Node, taps: Array) -> Array:
    """Sums of values per tap (kernel_h, kernel_w, ...) over the taps inside the image: (kinds of position, ...).

    Positions of one kind see the same taps; without padding there is one kind.
    """
    if not isinstance(node.op, Conv2D | DepthwiseConv2D):
        return np.asarray(taps[0])
    window = node.op.window(node)
    inside = []
    for axis in (0, 1):
        starts = np.arange(node.output.shape[1 + axis]) * window.stride[axis] - window.padding[2 * axis]
        at = starts[:, None] + np.arange(window.kernel[axis]) * window.dilation[axis]
        inside.append(np.unique((at >= 0) & (at < node.input(0).shape[1 + axis]), axis=0).astype(np.int64))
    rows = np.tensordot(inside[0], taps, axes=1)
    sums = np.tensordot(inside[1], rows, axes=(1, 1))
    return sums.reshape(sums.shape[0] * sums.shape[1], *sums.shape[2:])


def _at_rest(tensor: Tensor) -> Interval:
    """The interval of a tensor of which only the data, if any, is known."""
    if tensor.data is not None:
        return Interval.around(tensor.data, tensor.data)
    return Interval.full(_channels(tensor))


def _channels(tensor: Tensor) -> int:
    return tensor.shape[-1] if tensor.shape else 1


def _outputs(node: Node, inputs: list[Interval | None]) -> Iterable[Interval]:
    """Intervals of the outputs for those of the inputs; none where nothing is known about the operator."""
    op, x = node.op, inputs[0] if inputs else None
    if isinstance(op, Conv2D | DepthwiseConv2D | FullyConnected) and x is not None:
        return [_requantized(node, accumulated(node, x), op.activation)]
    if (isinstance(op, Unary) or op.kind == "QUANTIZE") and x is not None:
        return [_looked_up(node, x)]
    if op.kind in CORNERS and _tame(node):
        return [_at_corners(node, inputs)]
    if isinstance(op, Move) or (isinstance(op, Pool2D | Mean) and _tame(node)):
        return _at_ends(node, inputs)
    return []


def _requantized(node: Node, sums: Interval, activation: str) -> Interval:
    """Raw outputs for sums: requantization is monotone, unless its left shift leaves 32 bits."""
    low, high = (finish(node, side, None, activation).astype(np.int64) for side in (sums.low, sums.high))
    left = np.maximum(multipliers(node)[1].astype(np.int64), 0)
    wraps = np.maximum(abs(sums.low), abs(sums.high)) > INT32_MAX >> left
    return Interval(np.where(wraps, LOW, low), np.where(wraps, HIGH, high))


def _looked_up(node: Node, x: Interval) -> Interval:
    """The extremes of an operator of one int8 element over each interval: its table need not be monotone."""
    (table,) = node.op.reference(node, [np.arange(LOW, HIGH + 1, dtype=np.int8)])
    parts = [table[low - LOW : high - LOW + 1] for low, high in zip(x.low, x.high, strict=True)]
    low, high = [part.min() for part in parts], [part.max() for part in parts]
    return Interval(np.array(low, np.int64), np.array(high, np.int64))


def _at_corners(node: Node, inputs: list[Interval | None]) -> Interval:
    """The extremes of an elementwise operator of two operands, at the four corners of their intervals."""
    a, b = ((side.low.astype(np.int8), side.high.astype(np.int8)) for side in inputs if side is not None)
    corners = [node.op.reference(node, [left, right])[0] for left, right in product(a, b)]
    width = _channels(node.output)
    low, high = (np.broadcast_to(side, width) for side in (np.min(corners, axis=0), np.max(corners, axis=0)))
    return Interval.around(low, high)


def _at_ends(node: Node, inputs: list[Interval | None]) -> Iterable[Interval]:
    """Outputs of a monotone operator, or of one that moves elements, for the lowest and for the highest inputs."""
    if sum(t.elements for t in (*node.activations, *node.outputs)) > LARGEST:
        return []
    pairs = list(zip(node.inputs, inputs, strict=True))
    low = node.op.reference(node, [_filled(t, None if x is None else x.low) for t, x in pairs])
    high = node.op.reference(node, [_filled(t, None if x is None else x.high) for t, x in pairs])
    return [Interval.around(*ends) for ends in zip(low, high, strict=True)]


def _filled(tensor: Tensor | None, values: Array | None) -> Array | None:
    """A constant's data, or an array of the tensor's shape whose channels hold the values, without its memory."""
    if tensor is None or tensor.data is not None or values is None:
        return None if tensor is None else tensor.data
    return np.broadcast_to(values.astype(np.int8), tensor.shape)


def _tame(node: Node) -> bool:
    """Whether the operator rescales without leaving 32 bits."""
    scales = [t.q.s for t in node.present if t.dtype == INT8]
    gain = np.prod(scales) if node.op.kind == "MUL" else max(scales, default=0.0)
    return all(gain < STEEPEST * t.q.s for t in node.outputs)
