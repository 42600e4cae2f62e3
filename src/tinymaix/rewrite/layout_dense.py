"""Permute the weights of a dense layer in place of the tensor that it reads: a transpose less at run time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tinymaix.graph import Array, Graph, Node
from tinymaix.ops.fully_connected import FullyConnected
from tinymaix.ops.lookup import Unary
from tinymaix.ops.reshape import Reshape
from tinymaix.ops.transpose import Transpose
from tinymaix.rewrite.readers import read_once


def absorb_into_dense(graph: Graph) -> Graph:
    """The graph without each TRANSPOSE whose flattened output only a dense layer reads: its weights are permuted.

    Elementwise operators may stand between.
    """
    once = read_once(graph)
    makers = {id(t): node for node in graph.nodes for t in node.outputs}
    replaced: dict[int, Node] = {}
    for node in graph.nodes:
        if not isinstance(node.op, FullyConnected) or node.input(1).data is None:
            continue
        chain = []
        at = makers.get(id(node.input(0)))
        while at is not None and id(at.output) in once and (at.op.is_view or isinstance(at.op, Unary)):
            chain.append(at)
            at = makers.get(id(at.input(0)))
        if at is None or not isinstance(at.op, Transpose) or id(at.output) not in once:
            continue
        row = node.input(1).shape[1]
        order = _within_rows(at, row)
        if order is None or any(id(step) in replaced for step in chain):
            continue
        replaced[id(at)] = Node(Reshape(at.output.shape), [at.input(0)], [at.output], at.name)
        weights = node.input(1)
        assert weights.data is not None
        data = np.ascontiguousarray(weights.data[:, order])
        replaced[id(node)] = replace(node, inputs=[node.input(0), replace(weights, data=data), *node.inputs[2:]])
    return replace(graph, nodes=[replaced.get(id(node), node) for node in graph.nodes])


def _within_rows(transpose: Node, row: int) -> Array | None:
    """Index into a row of the output for each element of a row of the input; None where elements leave their row."""
    assert isinstance(transpose.op, Transpose)
    x = transpose.input(0)
    places = np.empty(x.elements, np.int64)
    places[np.arange(x.elements).reshape(x.shape).transpose(transpose.op.order).reshape(-1)] = np.arange(x.elements)
    first = places[:row]
    rows = places.reshape(-1, row)
    if first.max(initial=0) >= row or np.any(rows - np.arange(len(rows))[:, None] * row != first):
        return None
    return first
