"""SUM and the REDUCE operators against TFLM, or LiteRT where TFLM lacks them, and their C against numpy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.ops.make import SCALES, SEEDS, ZERO_POINTS, float32, int8
from tests.oracles import check_compiled, check_exact, expect_same, litert, one_op, random_inputs
from tinymaix.graph import Graph, Quantization, Tensor
from tinymaix.ops.reduce import ReduceAll, ReduceAny, ReduceMax, ReduceMin, ReduceProd, Sum
from tinymaix.ops.reduction import Reduction

AXES = [((0,), False), ((-1,), True), ((1, 2), False), ((0, 2), True), ((0, 1, 2), False), ((1,), False)]
SHAPE = (3, 4, 5)
IN_TFLM = (Sum, ReduceMax, ReduceMin, ReduceAll)


def graph_of(op: Reduction, dtype: str, out_scale: float = 0.05, zero_point: int = 3) -> Graph:
    if dtype == "int8":
        x, y = int8("x", SHAPE, 0.05, 3), int8("y", (), out_scale, zero_point)
    elif dtype == "float32":
        x, y = float32("x", SHAPE), float32("y", ())
    else:
        q = Quantization.of(0.05) if dtype == "int16" else None
        x, y = Tensor("x", SHAPE, np.dtype(dtype), q), Tensor("y", (), np.dtype(dtype), q)
    (y.shape,) = op.infer([x])
    return one_op(op, [x], [y])


@given(SEEDS, st.sampled_from(AXES), SCALES, ZERO_POINTS)
def test_int8_sum_is_exact(seed: int, axes: tuple[tuple[int, ...], bool], scale: float, zero_point: int) -> None:
    graph = graph_of(Sum(*axes), "int8", scale, zero_point)
    check_exact(graph, random_inputs(graph, seed), litert_too=False)


@pytest.mark.parametrize("axes", AXES, ids=str)
@pytest.mark.parametrize(
    ("kind", "dtype"),
    [(Sum, "float32"), *((kind, dtype) for kind in (ReduceMax, ReduceMin) for dtype in ("int8", "float32"))],
)
def test_exact(kind: type[Reduction], dtype: str, axes: tuple[tuple[int, ...], bool]) -> None:
    graph = graph_of(kind(*axes), dtype)
    check_exact(graph, random_inputs(graph))


@pytest.mark.parametrize("axes", AXES, ids=str)
@pytest.mark.parametrize(("kind", "dtype"), [(ReduceAny, "bool"), (ReduceAll, "bool"), (ReduceProd, "float32")])
def test_as_litert(kind: type[Reduction], dtype: str, axes: tuple[tuple[int, ...], bool]) -> None:
    graph = graph_of(kind(*axes), dtype)
    inputs = random_inputs(graph)
    expect_same(graph.run(inputs), litert(graph, inputs), "numpy and LiteRT", 1e-6)


def test_compiled() -> None:
    kinds: list[tuple[type[Reduction], str]] = [(Sum, "int8"), (Sum, "float32"), (ReduceProd, "float32")]
    kinds += [(kind, dtype) for kind in (ReduceMax, ReduceMin) for dtype in kind.types]
    kinds += [(ReduceAny, "bool"), (ReduceAll, "bool")]
    graphs = [graph_of(kind(*axes), dtype) for kind, dtype in kinds for axes in AXES]
    check_compiled([(graph, [random_inputs(graph, 4)]) for graph in graphs])


def test_extremum_to_another_scale_is_refused() -> None:
    graph = graph_of(ReduceMax((0,)), "int8", 0.1)
    assert "must be equal" in graph.nodes[0].op.problems(graph.nodes[0])[0]
