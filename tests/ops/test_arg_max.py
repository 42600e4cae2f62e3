"""ARG_MAX against TFLM (int32) and LiteRT (int64), ties included, and its C against numpy."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.ops.make import SEEDS, float32, int8, shapes
from tests.oracles import check_compiled, check_exact, expect_same, litert, one_op
from tinymaix.graph import Array, Graph, Shape, Tensor
from tinymaix.ops.arg_max import ArgMax


def arg_max(shape: Shape, axis: int, x: str = "int8", y: str = "int32") -> Graph:
    source = int8("x", shape) if x == "int8" else float32("x", shape)
    op = ArgMax(axis)
    return one_op(op, [source], [Tensor("y", op.infer([source])[0], np.dtype(y))])


def few_values(graph: Graph, seed: int) -> list[Array]:
    """So few different values that the largest often stands twice."""
    x = graph.inputs[0]
    return [np.random.default_rng(seed).integers(-3, 3, x.shape).astype(x.dtype)]


@given(shapes(range(1, 5)), st.sampled_from(["int8", "float32"]), SEEDS, st.data())
def test_exact(shape: Shape, x: str, seed: int, data: st.DataObject) -> None:
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    graph = arg_max(shape, axis, x)
    check_exact(graph, few_values(graph, seed))
    graph = arg_max(shape, axis, x, "int64")
    inputs = few_values(graph, seed)
    expect_same(graph.run(inputs), litert(graph, inputs), "numpy and LiteRT")


def test_compiled() -> None:
    graphs = [
        arg_max((2, 3, 4), axis, x, y) for axis in (0, 1, -1) for x in ("int8", "float32") for y in ("int32", "int64")
    ]
    check_compiled([(graph, [few_values(graph, seed) for seed in range(4)]) for graph in graphs])


def test_other_types_are_refused() -> None:
    graph = arg_max((2, 3), 1, y="int16")
    assert "'y' is int16" in graph.nodes[0].op.problems(graph.nodes[0])[0]
