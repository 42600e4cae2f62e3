"""Fold what multiplies or shifts each channel of a float model into the layer before it, or else the layer after it.

A reader writes a batch normalization, a rescaling or a normalization as MUL and ADD with constants. Batch norm behind a
convolution: Jacob et al. 2018 (arXiv 1712.05877), section 3.2.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tinymaix.graph import Array, Graph, Node, Tensor
from tinymaix.ops.add import Add
from tinymaix.ops.conv_2d import Conv2D
from tinymaix.ops.depthwise_conv_2d import DepthwiseConv2D
from tinymaix.ops.fully_connected import FullyConnected
from tinymaix.ops.mul import Mul
from tinymaix.ops.sub import Sub
from tinymaix.ops.transpose_conv import TransposeConv
from tinymaix.rewrite.readers import read_once

OUTPUT_AXIS: dict[type, int] = {Conv2D: 0, DepthwiseConv2D: 3, FullyConnected: 0, TransposeConv: 0}
"""The axis of the weights that counts output channels."""


@dataclass(frozen=True)
class _Affine:
    """y = scale * x + offset, each float32 of one value or one a channel; None where it is not there."""

    x: Tensor
    scale: Array | None
    offset: Array | None


def fold_batch_norm(graph: Graph) -> Graph:
    """The graph without each float MUL, ADD or SUB with a constant a channel that a layer's weights can take in.

    Outputs change by the rounding of float32; integer models stay as they are.
    """
    return _fold_forward(_fold_back(graph))


def _fold_back(graph: Graph) -> Graph:
    """Into the convolution or fully connected layer that makes the operand."""
    nodes: list[Node] = []
    made: dict[int, int] = {}  # id of a tensor -> index of the node that makes it
    once = read_once(graph)
    for node in graph.nodes:
        affine = _affine(node)
        at = made.get(id(affine.x)) if affine and id(affine.x) in once else None
        if affine and at is not None and _takes(nodes[at]):
            nodes[at] = _scaled(nodes[at], affine, node)
        else:
            nodes.append(node)
            at = len(nodes) - 1
        made.update((id(t), at) for t in node.outputs)
    return replace(graph, nodes=nodes)


def _fold_forward(graph: Graph) -> Graph:
    """Into the convolution or fully connected layer that alone reads the result; from the last node to the first."""
    nodes: list[Node] = []
    reader: dict[int, int] = {}  # id of a tensor -> index of a node whose first input it is
    once = read_once(graph)
    for node in reversed(graph.nodes):
        affine = _affine(node)
        at = reader.get(id(node.output)) if id(node.output) in once else None
        plain = getattr(node.op, "activation", "none") == "none"
        if affine and plain and at is not None and _reads(nodes[at], affine):
            nodes[at] = node = _absorbed(nodes[at], affine)
        else:
            nodes.append(node)
            at = len(nodes) - 1
        if node.present:
            reader[id(node.present[0])] = at
    return replace(graph, nodes=nodes[::-1])


def _affine(node: Node) -> _Affine | None:
    """What the node does to the channels of its one computed operand, or None where it does something else."""
    if type(node.op) not in (Mul, Add, Sub) or len(node.activations) != 1 or node.output.dtype != np.float32:
        return None
    x = node.activations[0]
    first = node.input(0) is x
    data = node.input(1 if first else 0).data
    channels = x.shape[-1] if x.shape else 1
    if (
        data is None
        or x.shape != node.output.shape
        or data.size not in (1, channels)
        or data.shape[-1:] != (data.size,)
    ):
        return None
    values = data.reshape(-1)
    if isinstance(node.op, Mul):
        return _Affine(x, values, None)
    if isinstance(node.op, Add):
        return _Affine(x, None, values)
    return _Affine(x, None, -values) if first else _Affine(x, np.full(1, -1, np.float32), values)


def _takes(node: Node) -> bool:
    """Whether the node's weights can take in what follows it."""
    op: Any = node.op
    return type(op) in OUTPUT_AXIS and op.activation == "none" and _constant(node)


def _constant(node: Node) -> bool:
    return all(t.data is not None and t.dtype == np.float32 for t in node.present[1:])


def _scaled(node: Node, affine: _Affine, last: Node) -> Node:
    """The layer with the scale and offset of ``last``, whose output and fused activation it takes over."""
    weights, bias = node.input(1), node.optional(2)
    assert weights.data is not None
    op: Any = node.op
    channels = weights.shape[OUTPUT_AXIS[type(op)]]
    data, shift = weights.data, np.zeros(channels, np.float32) if bias is None else np.asarray(bias.data).reshape(-1)
    if affine.scale is not None:
        data, shift = data * _along(affine.scale, OUTPUT_AXIS[type(op)], data.ndim), shift * affine.scale
    if affine.offset is not None:
        shift = shift + affine.offset
    later: Any = last.op
    return replace(
        node,
        op=replace(op, activation=later.activation),
        inputs=_constants(node, data, shift),
        outputs=last.outputs,
    )


def _reads(node: Node, affine: _Affine) -> bool:
    """Whether the node's weights can take in what precedes it. A padding of zeros stays one only under a scale."""
    op: Any = node.op
    padded = any(getattr(op, "padding", ())) or isinstance(op, TransposeConv)  # whose border has fewer taps
    grouped = isinstance(op, Conv2D) and node.input(1).shape[3] != affine.x.shape[-1]
    rows = not isinstance(op, FullyConnected) or node.input(1).shape[1] == affine.x.shape[-1]
    one_value = all(a is None or a.size == 1 for a in (affine.scale, affine.offset))
    fits = type(op) in OUTPUT_AXIS and _constant(node) and not grouped and (rows or one_value)
    return fits and (affine.offset is None or not padded)


def _absorbed(node: Node, affine: _Affine) -> Node:
    """The layer that does the affine's work on its own input."""
    weights, bias = node.input(1), node.optional(2)
    assert weights.data is not None
    data = weights.data
    channels = data.shape[OUTPUT_AXIS[type(node.op)]]
    shift = np.zeros(channels, np.float32) if bias is None else np.asarray(bias.data).reshape(-1)
    multiplier = 1
    if isinstance(node.op, DepthwiseConv2D):  # output channel c reads input channel c // multiplier
        multiplier = channels // affine.x.shape[-1]
    axes = tuple(i for i in range(data.ndim) if i != OUTPUT_AXIS[type(node.op)])
    if affine.offset is not None:
        shift = shift + (data * _spread(affine.offset, multiplier)).sum(axis=axes)
    if affine.scale is not None:
        data = data * _spread(affine.scale, multiplier)
    return replace(node, inputs=[affine.x, *_constants(node, data, shift)[1:]])


def _spread(values: Array, multiplier: int) -> Array:
    return values if values.size == 1 else np.repeat(values, multiplier)


def _along(values: Array, axis: int, rank: int) -> Array:
    """Values along an axis, to be broadcast."""
    return values.reshape([-1 if i == axis else 1 for i in range(rank)])


def _constants(node: Node, weights: Array, bias: Array) -> list[Tensor | None]:
    """The node's inputs with other weights and another bias."""
    old = node.input(1)
    name = f"{old.name}_bias" if node.optional(2) is None else node.input(2).name
    return [
        node.input(0),
        replace(old, data=weights.astype(np.float32)),
        Tensor(name, bias.shape, np.dtype("float32"), None, bias.astype(np.float32)),
    ]
