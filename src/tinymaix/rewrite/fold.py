"""Compute at read time what does not depend on the inputs: constant subgraphs and the shapes of tensors."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tinymaix.graph import Array, Graph, Node, Tensor, unique

LIMIT = 1 << 26
"""The most bytes that all folded nodes may make, and the most MACs each may take: no model may exhaust the host."""


def fold_constants(graph: Graph) -> Graph:
    """The graph without the nodes whose outputs are known, which become constants, and without dead nodes.

    A node that is not exact (`Operator.problems`), too large or at odds with its stated shapes stays as it is.
    """
    known: dict[int, Tensor] = {}  # by id of the tensor that it replaces
    nodes = []
    left = LIMIT
    for node in graph.nodes:
        node = with_inputs(node, known)
        arrays = folded(node, left)
        if arrays is None:
            nodes.append(node)
            continue
        for tensor, data in zip(node.outputs, arrays, strict=True):
            known[id(tensor)] = replace(tensor, data=data)
            left -= data.nbytes
    return drop_dead(replace(graph, nodes=nodes, outputs=[known.get(id(t), t) for t in graph.outputs]))


def folded(node: Node, limit: int = LIMIT) -> list[Array] | None:
    """The outputs of a node that does not depend on the graph's inputs, or None where it does or must not be folded."""
    constant = bool(node.present) and not node.activations and not node.states
    if not constant and node.op.kind != "SHAPE":
        return None
    if sum(t.nbytes for t in node.outputs) > limit or node.op.macs(node) > LIMIT:
        return None
    shapes = [t.shape for t in node.outputs]
    try:
        # The shape rule runs first: it is cheap, while the values of a node that lies about its shapes may be huge.
        if node.op.infer(node.inputs) != shapes or (constant and node.op.problems(node)):
            return None
        with np.errstate(all="ignore"):
            arrays = node.op.reference(node, [None if t is None else _value(t) for t in node.inputs])
    except (ValueError, IndexError, ArithmeticError):  # ModelError, or a constant that makes no sense here
        return None
    if [(a.shape, a.dtype) for a in arrays] != [(t.shape, t.dtype) for t in node.outputs]:
        return None
    return [np.ascontiguousarray(a).reshape(a.shape) for a in arrays]


def with_inputs(node: Node, replacements: dict[int, Tensor]) -> Node:
    """The node itself, or a copy of it that reads the replacements (by id of the tensor replaced)."""
    if not any(id(t) in replacements for t in node.present):
        return node
    return replace(node, inputs=[None if t is None else replacements.get(id(t), t) for t in node.inputs])


def drop_dead(graph: Graph) -> Graph:
    """The graph without the nodes whose outputs nothing reads and that change no state."""
    needed = {id(t) for t in graph.outputs}
    nodes = []
    for node in reversed(graph.nodes):
        if node.states or any(id(t) in needed for t in node.outputs):
            nodes.append(node)
            needed.update(id(t) for t in unique(node.present))
    return replace(graph, nodes=nodes[::-1], notes=list(graph.notes))


def _value(tensor: Tensor) -> Array:
    """The constant's data; for a tensor of which only the shape is known, that shape without its memory."""
    return tensor.data if tensor.data is not None else np.broadcast_to(np.zeros((), tensor.dtype), tensor.shape)
