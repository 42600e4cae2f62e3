"""Padding that a .tflite cannot say, which knows only SAME and VALID: a PAD in front of the layer that has it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tinymaix.graph import Graph, ModelError, Node, Tensor
from tinymaix.ops.conv_2d import Conv2D
from tinymaix.ops.depthwise_conv_2d import DepthwiseConv2D
from tinymaix.ops.max_pool_2d import MaxPool2D
from tinymaix.ops.pad import Pad
from tinymaix.ops.pad_v2 import PadV2
from tinymaix.ops.slice import Slice
from tinymaix.ops.transpose_conv import TransposeConv
from tinymaix.ops.window import Padding, padding_code, same_padding

NONE: Padding = (0, 0, 0, 0)


def spell_pads(graph: Graph) -> Graph:
    """The same network with padding that a .tflite can say; no bit of an output changes.

    An AVERAGE_POOL_2D stays as it is, since the padding takes no part in its means.
    """
    return replace(graph, nodes=[new for node in graph.nodes for new in _spelled(node)])


def _spelled(node: Node) -> list[Node]:
    op = node.op
    if isinstance(op, Conv2D | DepthwiseConv2D | MaxPool2D) and _is_odd(node):
        pad = _pad(node, op.padding, PadV2 if isinstance(op, MaxPool2D) else Pad)
        return [pad, replace(node, op=replace(op, padding=NONE), inputs=[pad.output, *node.inputs[1:]])]
    if isinstance(op, TransposeConv) and any(op.padding):
        kernel = node.input(1).shape[1], node.input(1).shape[2]
        if op.padding != same_padding(*op.size, kernel, op.stride):
            return _cropped(node, op)
    return [node]


def _is_odd(node: Node) -> bool:
    op = node.op
    assert isinstance(op, Conv2D | DepthwiseConv2D | MaxPool2D)
    try:
        padding_code(op.window() if isinstance(op, MaxPool2D) else op.window(node), node.input(0).shape)
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
