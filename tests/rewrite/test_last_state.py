"""A slice of the last step of a recurrent layer becomes the layer's own output."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.ops.make import float32
from tinymaix.graph import Graph, Node, Tensor
from tinymaix.ops import OPERATORS
from tinymaix.ops.slice import Slice
from tinymaix.rewrite import keep_last_state, simplify


def _graph(at: int, reverse: bool = False, kind: str = "LSTM", whole: bool = False) -> Graph:
    rng = np.random.default_rng(0)
    gates = {"LSTM": 16, "GRU": 12, "SIMPLE_RNN": 4}[kind]
    operator: Any = OPERATORS[kind]
    x, y, z = float32("x", (1, 5, 3)), float32("y", (1, 5, 4)), float32("z", (1, 1, 4))
    weights: list[Tensor | None] = [float32("w", shape, rng.normal(size=shape)) for shape in ((gates, 3), (gates, 4))]
    layer = Node(operator(sequences=True, reverse=reverse), [x, *weights], [y], "layer")
    last = Node(Slice((0, at, 0), (1, 1, 4)), [y], [z], "last")
    return Graph([layer, last], [x], [z, y] if whole else [z])


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "SIMPLE_RNN"])
@pytest.mark.parametrize("reverse", [False, True])
def test_the_last_step_only(kind: str, reverse: bool) -> None:
    graph = _graph(0 if reverse else 4, reverse, kind)
    after = simplify(graph)
    assert [node.op.kind for node in after.nodes] == [kind, "RESHAPE"]
    assert after.nodes[0].output.shape == (1, 4)
    x = np.random.default_rng(1).normal(size=(1, 5, 3)).astype(np.float32)
    np.testing.assert_array_equal(after.run([x])[0], graph.run([x])[0])


@pytest.mark.parametrize("graph", [_graph(3), _graph(4, reverse=True), _graph(4, whole=True)])
def test_what_needs_the_sequence_stays(graph: Graph) -> None:
    after = keep_last_state(graph)
    assert [(n.op, n.output.shape) for n in after.nodes] == [(n.op, n.output.shape) for n in graph.nodes]
