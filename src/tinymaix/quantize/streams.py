"""Streams: the tensors between layers whose channels can be scaled together without changing what a network computes.

A convolution's output channel may be multiplied by a positive number if everything that reads the channel divides by
it; RELU, pooling and padding let the factor pass, and a sum of two tensors ties both to the same factors.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tinymaix.graph import Array, Graph, Node, Tensor
from tinymaix.ops.add import Add
from tinymaix.ops.average_pool_2d import AveragePool2D
from tinymaix.ops.conv_2d import Conv2D
from tinymaix.ops.depthwise_conv_2d import DepthwiseConv2D
from tinymaix.ops.fully_connected import FullyConnected
from tinymaix.ops.leaky_relu import LeakyRelu
from tinymaix.ops.max_pool_2d import MaxPool2D
from tinymaix.ops.mean import Mean
from tinymaix.ops.pad import Pad
from tinymaix.ops.prelu import Prelu
from tinymaix.ops.relu import Relu
from tinymaix.ops.relu6 import Relu6
from tinymaix.ops.resize_bilinear import ResizeBilinear
from tinymaix.ops.resize_nearest_neighbor import ResizeNearestNeighbor
from tinymaix.ops.transpose_conv import TransposeConv
from tinymaix.rewrite.batch_norm import OUTPUT_AXIS

INPUT_AXIS: dict[type, int] = {Conv2D: 3, DepthwiseConv2D: 3, FullyConnected: 1, TransposeConv: 3}
"""The axis of the weights that counts input channels; a depthwise one counts output channels there too."""

_PASSING = (Relu, Relu6, LeakyRelu, Prelu, MaxPool2D, AveragePool2D, Pad, ResizeBilinear, ResizeNearestNeighbor, Mean)
"""f(factor * x) = factor * f(x) for each channel of the last axis, given what `_passes` asks."""

_CLAMPS = {"none": np.inf, "relu": np.inf, "relu6": 6.0}
"""Where a fused activation saturates; others do not let a factor pass."""


@dataclass(eq=False)
class Stream:
    """Tensors of one set of channels. ``free`` where factors may be chosen: layers alone write and read it."""

    channels: int
    tensors: list[Tensor] = field(default_factory=list)
    writers: list[Node] = field(default_factory=list)
    readers: list[Node] = field(default_factory=list)
    between: list[Node] = field(default_factory=list)  # what the factors pass
    free: bool = True
    clamp: float = np.inf  # the least value at which something in it saturates


def is_layer(node: Node) -> bool:
    """Whether the node has constant float weights whose channels can be scaled."""
    return type(node.op) in OUTPUT_AXIS and all(t.data is not None and t.dtype == np.float32 for t in node.present[1:])


def activation_of(node: Node) -> str:
    """The node's fused activation."""
    op: Any = node.op
    return str(getattr(op, "activation", "none"))


def streams(graph: Graph) -> list[Stream]:
    """The free streams of a float graph, in the order of the layers that write them."""
    of: dict[int, Stream] = {}
    for tensor in (*graph.inputs, *graph.states):
        _open(of, tensor, free=False)
    used: dict[int, int] = {}  # by id of the weights: how many layers share them
    for node in graph.nodes:
        if is_layer(node):
            used[id(node.input(1))] = used.get(id(node.input(1)), 0) + 1
            _read(of[id(node.input(0))], node)
            _open(of, node.output, free=activation_of(node) in _CLAMPS).writers.append(node)
            _clamp(of[id(node.output)], node)
        elif _passes(node, of):
            _pass(of, node)
        else:
            for tensor in node.activations:
                of[id(tensor)].free = False
            for tensor in node.outputs:
                _open(of, tensor, free=False)
    for tensor in graph.outputs:
        if id(tensor) in of:
            of[id(tensor)].free = False
    found = list({id(stream): stream for stream in of.values()}.values())
    return [s for s in found if s.free and s.readers and all(used[id(n.input(1))] == 1 for n in s.writers + s.readers)]


def along(values: Array, node: Node, weights: Array, *, output: bool) -> Array:
    """A value for each channel of a stream, shaped to be broadcast with the weights of a layer that writes (``output``)
    or reads it. A flattened stream repeats its channels along the axis, and so does a depth multiplier.
    """
    axis = (OUTPUT_AXIS if output else INPUT_AXIS)[type(node.op)]
    count = weights.shape[axis] // values.size
    depthwise = isinstance(node.op, DepthwiseConv2D)
    spread = np.repeat(values, count) if depthwise else np.tile(values, count)
    return spread.reshape([-1 if i == axis else 1 for i in range(weights.ndim)])


def _open(of: dict[int, Stream], tensor: Tensor, free: bool) -> Stream:
    channels = tensor.shape[-1] if tensor.shape else 1
    of[id(tensor)] = Stream(channels, [tensor], free=free and channels > 0)
    return of[id(tensor)]


def _read(stream: Stream, node: Node) -> None:
    """A layer reads the stream. Groups of a convolution would each divide by other factors: they fix it."""
    stream.readers.append(node)
    channels = node.input(1).shape[INPUT_AXIS[type(node.op)]]
    if channels % stream.channels or (isinstance(node.op, Conv2D) and channels != stream.channels):
        stream.free = False


def _passes(node: Node, of: dict[int, Stream]) -> bool:
    """Whether factors of the last axis go through the node unchanged."""
    x, y = node.activations[:1], node.output
    if not x or activation_of(node) not in _CLAMPS or node.states or len(node.outputs) > 1:
        return False
    if node.op.is_view:
        return bool(y.shape) and y.shape[-1] % of[id(x[0])].channels == 0
    if isinstance(node.op, Add):
        return len(node.activations) == 2 and all(t.shape == y.shape for t in node.activations)
    if isinstance(node.op, Mean):
        return len(x[0].shape) - 1 not in node.op.reduced(len(x[0].shape))
    if isinstance(node.op, Pad) and type(node.op) is Pad:
        return node.op.pads[-1] == (0, 0)
    return type(node.op) in _PASSING and len(node.activations) == 1


def _pass(of: dict[int, Stream], node: Node) -> None:
    """The node's output joins the stream of its inputs, which become one."""
    stream, *others = dict.fromkeys(of[id(t)] for t in node.activations)
    for other in others:
        stream.free &= other.free and other.channels == stream.channels
        stream.clamp = min(stream.clamp, other.clamp)
        for name in ("tensors", "writers", "readers", "between"):
            getattr(stream, name).extend(getattr(other, name))
        of.update((id(tensor), stream) for tensor in other.tensors)
    stream.tensors.append(node.output)
    stream.between.append(node)
    of[id(node.output)] = stream
    _clamp(stream, node)


def _clamp(stream: Stream, node: Node) -> None:
    stream.clamp = min(stream.clamp, 6.0 if isinstance(node.op, Relu6) else _CLAMPS.get(activation_of(node), np.inf))
