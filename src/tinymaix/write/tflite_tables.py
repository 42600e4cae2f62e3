"""int8 functions that one of TFLM and LiteRT's reference kernels lacks, as tables, which both read alike."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tinymaix.graph import Graph, Node, Tensor
from tinymaix.ops.add import Add
from tinymaix.ops.cast import Cast
from tinymaix.ops.gather import Gather
from tinymaix.ops.lookup import Unary

LACKED = ("GELU", "ELU", "TABLE")
"""GELU is not in TFLM, ELU not among LiteRT's reference kernels; TABLE is our own."""


def in_tables(graph: Graph) -> Graph:
    """The graph with those functions as CAST to int32, ADD of 128 and GATHER from the 256 results."""
    nodes = [part for node in graph.nodes for part in (_parts(node) if _is_lacked(node) else [node])]
    return replace(graph, nodes=nodes)


def _is_lacked(node: Node) -> bool:
    return node.op.kind in LACKED and node.input(0).dtype == node.output.dtype == np.int8


def _parts(node: Node) -> list[Node]:
    assert isinstance(node.op, Unary)
    x, y = node.input(0), node.output
    number, index = (Tensor(f"{y.name}_{of}", x.shape, np.dtype(np.int32)) for of in ("number", "index"))
    first = Tensor(f"{y.name}_first", (1,), np.dtype(np.int32), None, np.array([128], np.int32))
    results = np.roll(node.op.table(node), 128).astype(np.int8)
    table = Tensor(f"{y.name}_table", results.shape, results.dtype, y.quantization, results)
    return [
        Node(Cast(), [x], [number], node.name),
        Node(Add(), [number, first], [index], node.name),
        Node(Gather(), [table, index], [y], node.name),
    ]
