"""Drop nodes that hand on the bytes they get: needless reshapes, reshapes in a row, quantizing to the same scale."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tinymaix.graph import Graph, ModelError, Node, Tensor
from tinymaix.ops.reshape import Reshape
from tinymaix.ops.slice import Slice
from tinymaix.rewrite.fold import drop_dead, with_inputs


def drop_identities(graph: Graph) -> Graph:
    """The graph with each identity's readers moved to its input, and each view reading past the views before it.

    An identity that makes an output of the graph stays, so that the output keeps its name.
    """
    source: dict[int, Tensor] = {}  # identity's output -> its input, by id
    views: dict[int, Tensor] = {}  # view's output -> what it is a view of, by id
    nodes = []
    for node in graph.nodes:
        node = _spelled_out(_past_views(with_inputs(node, source), views))
        if node.op.is_view and not node.input(0).is_constant:
            views[id(node.output)] = node.input(0)
        if _is_identity(node) and not any(t is node.output for t in graph.outputs):
            source[id(node.output)] = node.input(0)
        else:
            nodes.append(node)
    return drop_dead(replace(graph, nodes=nodes))


def _spelled_out(node: Node) -> Node:
    """A RESHAPE or SLICE with every size of its output: a network has the same nodes whatever file it is from."""
    shape = node.output.shape
    if isinstance(node.op, Reshape) and node.op.shape != shape:
        return replace(node, op=Reshape(shape))
    if isinstance(node.op, Slice) and node.op.size != shape:
        return replace(node, op=replace(node.op, size=shape))
    return node


def _past_views(node: Node, views: dict[int, Tensor]) -> Node:
    """A view of a view as a view of the first one's input, where its shape rule says the same about that."""
    origin = views.get(id(node.input(0))) if node.op.is_view else None
    if origin is None:
        return node
    inputs = [origin, *node.inputs[1:]]
    try:
        same = node.op.infer(inputs) == [node.output.shape]
    except ModelError:
        return node
    return replace(node, inputs=inputs) if same else node


def _is_identity(node: Node) -> bool:
    if not (node.op.is_view or node.op.kind == "QUANTIZE") or len(node.outputs) != 1:
        return False
    x, y = node.input(0), node.output
    return x.shape == y.shape and x.dtype == y.dtype and same_quantization(x, y)


def same_quantization(x: Tensor, y: Tensor) -> bool:
    """Whether the same integers mean the same values in both."""
    a, b = x.quantization, y.quantization
    if a is None or b is None:
        return a is b
    return np.array_equal(a.scale, b.scale) and np.array_equal(a.zero_point, b.zero_point) and a.axis == b.axis
