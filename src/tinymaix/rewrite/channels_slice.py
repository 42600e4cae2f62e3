"""Take channels out of a graph: out of tensors, weights, biases and scales. What was constant goes into biases."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tinymaix.graph import Array, Graph, Node, Quantization, Tensor
from tinymaix.ops.conv_2d import Conv2D
from tinymaix.ops.depthwise_conv_2d import DepthwiseConv2D
from tinymaix.ops.elementwise import Binary
from tinymaix.ops.fully_connected import FullyConnected
from tinymaix.ops.reshape import Reshape
from tinymaix.rewrite.intervals import Interval, by_tap, window_sums


def slice_channels(graph: Graph, keep: dict[int, Array], ranges: dict[int, Interval]) -> Graph:
    """The graph with the channels that ``keep`` marks, by id of the tensor.

    A channel that goes must add the same at every position of every layer that reads it (by ``ranges``), or nothing.
    """
    sliced = {
        id(tensor): replace(tensor, shape=(*tensor.shape[:-1], int(keep[id(tensor)].sum())))
        for tensor in graph.tensors
        if id(tensor) in keep and not keep[id(tensor)].all()
    }
    nodes = []
    for node in graph.nodes:
        if any(id(t) in sliced for t in (*node.present, *node.outputs)):
            node = _with_sliced_constants(node, keep, ranges)
            inputs = [None if t is None else sliced.get(id(t), t) for t in node.inputs]
            node = replace(node, inputs=inputs, outputs=[sliced.get(id(t), t) for t in node.outputs])
        nodes.append(node)
    return replace(graph, nodes=nodes)


def _with_sliced_constants(node: Node, keep: dict[int, Array], ranges: dict[int, Interval]) -> Node:
    """The node with the attributes and constants that go with the channels that stay."""
    outputs = keep[id(node.output)]
    if node.op.is_view:
        return replace(node, op=Reshape((*node.output.shape[:-1], int(outputs.sum()))), inputs=[node.input(0)])
    if isinstance(node.op, Binary):
        constants = [t.is_constant and t.shape[-1:] == (outputs.size,) for t in node.present]
        operands = [_some(t, outputs, -1) if c else t for t, c in zip(node.present, constants, strict=True)]
        return replace(node, inputs=[*operands])
    if not isinstance(node.op, Conv2D | DepthwiseConv2D | FullyConnected):
        return node
    x, weights, bias = node.input(0), node.input(1), node.optional(2)
    if isinstance(node.op, DepthwiseConv2D):
        return replace(node, inputs=[x, _some_outputs(weights, outputs, 3), bias and _some_bias(bias, outputs)])
    columns = np.resize(keep[id(x)], weights.shape[-1])
    bias = _with_columns(node, ranges[id(x)], outputs, ~columns)
    return replace(node, inputs=[x, _some(_some_outputs(weights, outputs, 0), columns, -1), bias])


def _with_columns(node: Node, x: Interval, outputs: Array, gone: Array) -> Tensor | None:
    """The bias of some outputs of a layer, with what columns of the weights add that always multiply the same values.

    It stays within the 32 bits that `accumulator_problems` grants: what it gains leaves the products.
    """
    bias, channels = node.optional(2), outputs.size
    values = x.as_rows(gone.size).low[gone] - node.input(0).q.z
    added = window_sums(node, by_tap(node)[:, :, outputs][..., gone])[0] @ values
    if bias is None and not added.any():
        return None
    if bias is None:
        scale = Quantization.of(np.float64(node.input(0).q.s) * node.input(1).q.scale)
        bias = Tensor(f"{node.output.name}_bias", (channels,), np.dtype(np.int32), scale, np.zeros(channels, np.int32))
    bias = _some_bias(bias, outputs)
    return replace(bias, data=(np.asarray(bias.data) + added).astype(np.int32))


def _some_bias(bias: Tensor, kept: Array) -> Tensor:
    data = np.asarray(bias.data).reshape(-1)
    return _some_outputs(replace(bias, shape=data.shape, data=data), kept, 0)


def _some_outputs(tensor: Tensor, kept: Array, axis: int) -> Tensor:
    """Weights or bias of some output channels, with the scales of these."""
    q = tensor.quantization
    if q is not None and q.scale.size == kept.size:
        tensor = replace(tensor, quantization=Quantization(q.scale[kept], q.zero_point[kept], q.axis))
    return _some(tensor, kept, axis)


def _some(tensor: Tensor, kept: Array, axis: int) -> Tensor:
    """A constant with some of the indices of an axis."""
    data = np.ascontiguousarray(np.compress(kept, np.asarray(tensor.data), axis))
    return replace(tensor, shape=data.shape, data=data)
