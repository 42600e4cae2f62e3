"""Grouped CONV_2D as what has fast kernels: one depthwise convolution, or a convolution of each group's channels.

The sums, and so the bits of integer outputs, stay the same.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tinymaix.graph import Array, Graph, Node, Quantization, Tensor
from tinymaix.ops.concatenation import Concatenation
from tinymaix.ops.conv_2d import Conv2D
from tinymaix.ops.depthwise_conv_2d import DepthwiseConv2D
from tinymaix.ops.split import Split


def without_groups(graph: Graph, optimize: str) -> Graph:
    """The graph without grouped convolutions, where constants and memory allow.

    optimize: "ram" and "flash" have no room for copies of channels.
    """
    nodes: list[Node] = []
    for node in graph.nodes:
        groups = _groups(node)
        if groups > 1 and node.input(1).shape[3] == 1:
            nodes.append(_as_depthwise(node))
        elif groups > 1 and optimize in ("speed", "balanced"):
            nodes += _split(node, groups)
        else:
            nodes.append(node)
    return graph if nodes == graph.nodes else replace(graph, nodes=nodes)


def _groups(node: Node) -> int:
    if not isinstance(node.op, Conv2D) or any(t is not None and t.data is None for t in node.inputs[1:]):
        return 1
    return node.input(0).shape[3] // node.input(1).shape[3]


def _as_depthwise(node: Node) -> Node:
    op, weights = node.op, node.input(1)
    assert isinstance(op, Conv2D)
    assert weights.data is not None
    taps = np.ascontiguousarray(weights.data.transpose(3, 1, 2, 0))
    quantization = None if weights.quantization is None else replace(weights.quantization, axis=3)
    tensor = replace(weights, shape=taps.shape, quantization=quantization, data=taps)
    same = DepthwiseConv2D(op.stride, op.dilation, op.padding, op.activation)
    return replace(node, op=same, inputs=[node.inputs[0], tensor, *node.inputs[2:]])


def _split(node: Node, groups: int) -> list[Node]:
    x, y = node.input(0), node.output
    parts, results = _slices(x, groups), _slices(y, groups)
    constants = [
        [None] * groups if t is None or t.data is None else _constants(t, t.data, groups) for t in node.inputs[1:]
    ]
    convolutions = [
        Node(node.op, [part, *own], [result], node.name)
        for part, result, *own in zip(parts, results, *constants, strict=True)
    ]
    return [
        Node(Split(groups, 3), [x], parts, node.name),
        *convolutions,
        Node(Concatenation(3), list(results), [y], node.name),
    ]


def _slices(tensor: Tensor, groups: int) -> list[Tensor]:
    """Tensors for the groups of channels."""
    shape = *tensor.shape[:3], tensor.shape[3] // groups
    return [Tensor(f"{tensor.name}_{i}", shape, tensor.dtype, tensor.quantization) for i in range(groups)]


def _constants(tensor: Tensor, data: Array, groups: int) -> list[Tensor | None]:
    """Weights or biases of each group."""
    q = tensor.quantization
    scales = [q] * groups
    if q is not None and q.per_channel:
        pairs = zip(np.split(q.scale, groups), np.split(q.zero_point, groups), strict=True)
        scales = [Quantization(scale, zero_point, q.axis) for scale, zero_point in pairs]
    return [
        replace(tensor, name=f"{tensor.name}_{i}", shape=own.shape, quantization=scale, data=own)
        for i, (own, scale) in enumerate(zip(np.split(data, groups), scales, strict=True))
    ]
