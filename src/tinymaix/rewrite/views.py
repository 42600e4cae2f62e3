"""Move a RESHAPE of a float model behind what works on each element or channel, so that it meets its like.

A 1-D layer is a 2-D layer between two reshapes. Once those stand side by side they cancel, and what stood between them
can be folded into the layer.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tinymaix.graph import Graph, Node, Shape, Tensor
from tinymaix.ops.elementwise import Arithmetic
from tinymaix.ops.lookup import Unary
from tinymaix.rewrite.readers import read_once


def sink_views(graph: Graph) -> Graph:
    """The graph with each view, whose one reader treats all elements or channels alike, behind that reader."""
    nodes = list(graph.nodes)
    once = read_once(graph)
    for at in range(len(nodes)):
        view = nodes[at]
        if not view.op.is_view or id(view.output) not in once or view.input(0).is_constant:
            continue
        reader = next(i for i in range(at + 1, len(nodes)) if any(t is view.output for t in nodes[i].present))
        if _swaps(view, nodes[reader]):
            nodes[at], moved = _behind(view, nodes.pop(reader))
            nodes.insert(reader, moved)
    return replace(graph, nodes=nodes)


def _swaps(view: Node, node: Node) -> bool:
    if view.output.dtype != np.float32:
        return False
    if isinstance(node.op, Unary):
        return True
    return (
        isinstance(node.op, Arithmetic)
        and len(node.activations) == 1
        and node.output.shape == view.output.shape
        and view.input(0).shape[-1:] == view.output.shape[-1:]
        and all(_per_channel(t, view.input(0).shape) for t in node.present if t.is_constant)
    )


def _per_channel(tensor: Tensor, shape: Shape) -> bool:
    """Whether a constant of one value, or of one along the last axis, is broadcast over the shape as over its view."""
    return tensor.elements == (tensor.shape[-1] if tensor.shape else 1) and len(tensor.shape) <= len(shape)


def _behind(view: Node, node: Node) -> tuple[Node, Node]:
    """The node on the view's input, and the view of its output."""
    inner = replace(node.output, name=f"{node.output.name}_inner", shape=view.input(0).shape)
    inputs = [view.input(0) if t is view.output else t for t in node.inputs]
    return replace(node, inputs=inputs, outputs=[inner]), replace(view, inputs=[inner], outputs=node.outputs)
