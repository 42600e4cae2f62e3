"""Padding that a .tflite cannot say, which knows only SAME and VALID: a PAD in front of the layer that has it.

Averages leave pads out: with SAME and a stride of 1 all windows of such a layer are there, and a slice takes its own.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tinymaix.graph import Graph, ModelError, Node, Tensor
from tinymaix.ops.average_pool_2d import AveragePool2D
from tinymaix.ops.conv_2d import Conv2D
from tinymaix.ops.depthwise_conv_2d import DepthwiseConv2D
from tinymaix.ops.max_pool_2d import MaxPool2D
from tinymaix.ops.pad import Pad
from tinymaix.ops.pad_v2 import PadV2
from tinymaix.ops.slice import Slice
from tinymaix.ops.strided_slice import StridedSlice
from tinymaix.ops.transpose_conv import TransposeConv
from tinymaix.ops.window import Padding, padding_code, same_padding

NONE: Padding = (0, 0, 0, 0)


def spell_pads(graph: Graph) -> Graph:
    """The same network with padding that a .tflite can say; no bit of an output changes.

    An AVERAGE_POOL_2D that is padded by more than half of its window stays as it is.
    """
    return replace(graph, nodes=[new for node in graph.nodes for new in _spelled(node)])


def _spelled(node: Node) -> list[Node]:
    op = node.op
    if isinstance(op, Conv2D | DepthwiseConv2D | MaxPool2D) and _is_odd(node):
        pad = _pad(node, op.padding, PadV2 if isinstance(op, MaxPool2D) else Pad)
        return [pad, replace(node, op=replace(op, padding=NONE), inputs=[pad.output, *node.inputs[1:]])]
    if isinstance(op, AveragePool2D) and _is_odd(node):
        return _means(node, op)
    if isinstance(op, TransposeConv) and any(op.padding):
        kernel = node.input(1).shape[1], node.input(1).shape[2]
        if op.padding != same_padding(*op.size, kernel, op.stride):
            return _cropped(node, op)
    return [node]


def _is_odd(node: Node) -> bool:
    op = node.op
    assert isinstance(op, Conv2D | DepthwiseConv2D | MaxPool2D | AveragePool2D)
    try:
        window = op.window() if isinstance(op, MaxPool2D | AveragePool2D) else op.window(node)
        padding_code(window, node.input(0).shape)
    except ModelError:
        return True
    return False


def _pad(node: Node, padding: Padding, kind: type[Pad]) -> Node:
    """A PAD of zeros, or a PADV2 of the lowest value, which no maximum is."""
    x = node.input(0)
    n, height, width, channels = x.shape
    top, bottom, left, right = padding
    pads = ((0, 0), (top, bottom), (left, right), (0, 0))
    shape = (n, height + top + bottom, width + left + right, channels)
    y = Tensor(f"{node.output.name}_padded", shape, x.dtype, x.quantization)
    if kind is Pad:
        return Node(Pad(pads), [x], [y], y.name)
    low = float(np.finfo(np.float32).min) if x.dtype == np.float32 else int(np.iinfo(x.dtype).min)
    return Node(PadV2(pads, low), [x], [y], y.name)


def _means(node: Node, op: AveragePool2D) -> list[Node]:
    """The means of all windows, and a STRIDED_SLICE of those that are asked for."""
    (n, *image, channels), size = node.input(0).shape, node.output.shape[1:3]
    same = same_padding(image[0], image[1], op.pool, (1, 1))
    begin = same[0] - op.padding[0], same[2] - op.padding[2]
    end = tuple(at + step * (count - 1) + 1 for at, step, count in zip(begin, op.stride, size, strict=True))
    if min(begin) < 0 or end[0] > image[0] or end[1] > image[1]:
        return [node]
    y = node.output
    whole = Tensor(f"{y.name}_all", (n, *image, channels), y.dtype, y.quantization)
    taken = StridedSlice((0, *begin, 0), (n, *end, channels), (1, *op.stride, 1))
    every = replace(node, op=replace(op, stride=(1, 1), padding=same), outputs=[whole])
    return [every, Node(taken, [whole], node.outputs, f"{node.name}_taken")]


def _cropped(node: Node, op: TransposeConv) -> list[Node]:
    """The transposed convolution without padding, and a SLICE of what the padding would have taken away."""
    n, height, width, channels = node.output.shape
    top, bottom, left, right = op.padding
    size = (height + top + bottom, width + left + right)
    whole = replace(node.output, name=f"{node.output.name}_whole", shape=(n, *size, channels))
    crop = Slice((0, top, left, 0), node.output.shape)
    return [
        replace(node, op=replace(op, size=size, padding=NONE), outputs=[whole]),
        Node(crop, [whole], node.outputs, f"{node.name}_crop"),
    ]
