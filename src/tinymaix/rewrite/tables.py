"""A function of int8 values that is spelled as a table: CAST to int32, ADD of 128, GATHER from 256 results."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tinymaix.graph import Graph, Node, Tensor
from tinymaix.ops.add import Add
from tinymaix.ops.cast import Cast
from tinymaix.ops.gather import Gather
from tinymaix.ops.table import Table
from tinymaix.rewrite.fold import drop_dead
from tinymaix.rewrite.identity import same_quantization


def recognize_tables(graph: Graph) -> Graph:
    """The graph with a TABLE for each of these."""
    makers = {id(t): node for node in graph.nodes for t in node.outputs}
    nodes = []
    for node in graph.nodes:
        x = _argument(node, makers)
        nodes.append(node if x is None else Node(Table(), [x, node.input(0)], node.outputs, node.name))
    return drop_dead(replace(graph, nodes=nodes))


def _argument(node: Node, makers: dict[int, Node]) -> Tensor | None:
    """What the table is read at, None where the node does something else."""
    if node.op != Gather() or node.input(0).shape != (256,) or node.input(0).dtype != np.int8:
        return None
    add = makers.get(id(node.input(1)))
    if (
        node.input(0).data is None
        or add is None
        or add.op != Add()
        or not same_quantization(node.input(0), node.output)
    ):
        return None
    number, first = sorted(add.present, key=lambda t: t.is_constant)
    cast = makers.get(id(number))
    if first.data is None or number.shape != node.output.shape or not np.array_equal(np.unique(first.data), [128]):
        return None
    return cast.input(0) if cast is not None and cast.op == Cast() and cast.input(0).dtype == np.int8 else None
