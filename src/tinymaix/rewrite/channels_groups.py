"""Which channels of a graph can only be removed together, and which must stay whatever they hold."""

from __future__ import annotations

import numpy as np

from tinymaix.graph import Array, Graph, Node, Tensor
from tinymaix.ops.base import positive_axis
from tinymaix.ops.concatenation import Concatenation
from tinymaix.ops.conv_2d import Conv2D
from tinymaix.ops.depthwise_conv_2d import DepthwiseConv2D
from tinymaix.ops.elementwise import Binary
from tinymaix.ops.fully_connected import FullyConnected
from tinymaix.ops.lookup import Unary
from tinymaix.ops.mean import Mean
from tinymaix.ops.pad import Pad
from tinymaix.ops.pooling import Pool2D
from tinymaix.ops.resize_nearest_neighbor import ResizeNearestNeighbor
from tinymaix.rewrite.intervals import INT8, channel_groups


class Groups:
    """The channels (indices of the last axis) of all int8 tensors that are computed, in groups.

    Attributes:
        labels: the group of each channel, by id of the tensor.
        fixed: for each group, whether it must stay: it holds inputs or outputs of the graph, or an operator that is not
            known here has part in it.
        layers: convolutions and fully connected layers whose output channels can go one by one, each of which reads
            all input channels. They tie nothing together.
    """

    def __init__(self, graph: Graph) -> None:
        self.labels: dict[int, Array] = {}
        self.layers: list[Node] = []
        self._parents: list[int] = []
        fixed = [*graph.inputs, *graph.outputs]
        for tensor in graph.inputs:
            self._separate(tensor)
        for node in graph.nodes:
            if sources := passed_channels(node):
                self._tie(node, sources)
                continue
            for tensor in node.outputs:
                self._separate(tensor)
            if is_layer(node):
                self.layers.append(node)
            else:
                fixed += [*node.activations, *node.outputs]
        roots = np.array([self._root(label) for label in range(len(self._parents))], np.intp)
        self.labels = {key: roots[labels] for key, labels in self.labels.items()}
        self.fixed = roots != np.arange(roots.size)  # what went into another group is none any more
        for tensor in fixed:
            self.fixed[self.labels.get(id(tensor), [])] = True

    def columns(self, node: Node) -> Array:
        """The group of the channel that each column of a layer's weights multiplies."""
        labels = self.labels[id(node.input(0))]
        return np.resize(labels, node.input(1).shape[-1]) if isinstance(node.op, FullyConnected) else labels

    def _separate(self, tensor: Tensor) -> None:
        """Each channel into a group of its own."""
        if has_channels(tensor):
            first = len(self._parents)
            self._parents += range(first, first + tensor.shape[-1])
            self.labels[id(tensor)] = np.arange(first, len(self._parents))

    def _tie(self, node: Node, sources: list[tuple[Tensor, Array]]) -> None:
        """Each output channel into the group of the input channels that it comes from, which become one."""
        labels = np.full(node.output.shape[-1], -1)
        for tensor, source in sources:
            there = source >= 0
            found = self.labels[id(tensor)][source[there]]
            for ours, theirs in zip(labels[there].tolist(), found.tolist(), strict=True):
                if ours >= 0:
                    self._parents[self._root(theirs)] = self._root(ours)
            labels[there] = found
        self.labels[id(node.output)] = labels

    def _root(self, label: int) -> int:
        while self._parents[label] != label:
            self._parents[label] = self._parents[self._parents[label]]
            label = self._parents[label]
        return label


def has_channels(tensor: Tensor) -> bool:
    """Whether the tensor is int8, computed at run time, and not empty."""
    return tensor.dtype == INT8 and not tensor.is_constant and bool(tensor.shape) and tensor.elements > 0


def is_layer(node: Node) -> bool:
    """Whether the node is an exact int8 layer, each output channel of which reads all input channels."""
    if not isinstance(node.op, Conv2D | DepthwiseConv2D | FullyConnected) or not _exact(node):
        return False
    if isinstance(node.op, FullyConnected):
        return has_channels(node.input(0)) and node.input(1).shape[1] % node.input(0).shape[-1] == 0
    return has_channels(node.input(0)) and channel_groups(node)[0] == 1


def passed_channels(node: Node) -> list[tuple[Tensor, Array]]:
    """The inputs whose channels an operator hands on one by one, with the channel that each output channel comes from,
    or -1 where it comes from another input. Empty where the operator is another one.

    Removing an output channel and the input channels that it comes from changes nothing in the other channels.
    """
    if len(node.outputs) != 1 or not node.activations or not _exact(node):
        return []
    op, x, channels = node.op, node.activations[0], node.output.shape[-1]
    same = np.arange(channels)
    if isinstance(op, DepthwiseConv2D):
        groups, each = channel_groups(node)
        return [(x, same // each)] if groups > 1 else []
    if isinstance(op, Concatenation):
        return _concatenated(node, op)
    if isinstance(op, Binary):  # the one channel of an operand that is broadcast always stays
        return [(t, same) for t in node.activations if t.shape[-1] == channels]
    if op.is_view:
        return [] if channels % x.shape[-1] else [(x, same % x.shape[-1])]
    alike = (
        isinstance(op, Unary | Pool2D | ResizeNearestNeighbor)
        or op.kind == "QUANTIZE"
        or (isinstance(op, Pad) and op.pads[-1] == (0, 0))
        or (isinstance(op, Mean) and len(x.shape) - 1 not in op.reduced(len(x.shape)))
    )
    return [(x, same)] if alike else []


def _concatenated(node: Node, op: Concatenation) -> list[tuple[Tensor, Array]]:
    same, rank = np.arange(node.output.shape[-1]), len(node.output.shape)
    if len(node.activations) < len(node.present):
        return []
    if positive_axis(op.axis, rank) < rank - 1:
        return [(tensor, same) for tensor in node.present]
    result, start = [], 0
    for tensor in node.present:
        size = tensor.shape[-1]
        result.append((tensor, np.where((same >= start) & (same < start + size), same - start, -1)))
        start += size
    return result


def _exact(node: Node) -> bool:
    return all(map(has_channels, (*node.activations, *node.outputs))) and not node.op.problems(node)
