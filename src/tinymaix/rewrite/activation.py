"""Turn a RELU, RELU6 or RELU_N1_TO_1 of a float model into the fused activation of the layer that makes its input."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from tinymaix.graph import Graph, Node
from tinymaix.ops.relu import Relu
from tinymaix.ops.relu6 import Relu6
from tinymaix.ops.relu_n1_to_1 import ReluN1To1
from tinymaix.rewrite.readers import read_once

FUSED: dict[type, str] = {Relu: "relu", Relu6: "relu6", ReluN1To1: "relu_n1_to_1"}


def fuse_activation(graph: Graph) -> Graph:
    """The graph without each activation that alone reads the output of an operator which can apply it itself.

    No float changes. Integer models stay as they are: there the operator rounds to a scale of its own.
    """
    nodes: list[Node] = []
    made: dict[int, int] = {}  # id of a tensor -> index of the node that makes it
    once = read_once(graph)
    for node in graph.nodes:
        at = made.get(id(node.input(0))) if type(node.op) in FUSED else None
        if at is not None and _fits(nodes[at], once):
            op: Any = nodes[at].op
            nodes[at] = replace(nodes[at], op=replace(op, activation=FUSED[type(node.op)]), outputs=node.outputs)
        else:
            nodes.append(node)
            at = len(nodes) - 1
        made.update((id(t), at) for t in node.outputs)
    return replace(graph, nodes=nodes)


def _fits(layer: Node, once: set[int]) -> bool:
    tensor = layer.output
    is_plain = getattr(layer.op, "activation", None) == "none"
    return is_plain and tensor.dtype == np.float32 and id(tensor) in once
