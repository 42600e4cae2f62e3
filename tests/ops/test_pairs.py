"""Operators of two inputs that are not sums or products: against TFLM or LiteRT, and their C against numpy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given

from tests.ops.make import SCALES, SEEDS, ZERO_POINTS, float32, int8
from tests.oracles import check_compiled, check_exact, expect_same, litert, one_op, random_inputs
from tinymaix.graph import Array, Graph, Tensor
from tinymaix.ops.base import Operator
from tinymaix.ops.compare import (
    Equal,
    Greater,
    GreaterEqual,
    Less,
    LessEqual,
    LogicalAnd,
    LogicalNot,
    LogicalOr,
    NotEqual,
)
from tinymaix.ops.div import Div, Pow
from tinymaix.ops.prelu import Prelu
from tinymaix.ops.squared_difference import SquaredDifference

COMPARISONS: list[Operator] = [Equal(), NotEqual(), Less(), LessEqual(), Greater(), GreaterEqual()]
FLOATS: list[Operator] = [Div(), Div("relu6"), Pow(), SquaredDifference(), Prelu()]
QUANTIZED: list[Operator] = [SquaredDifference(), Prelu()]


def pair(op: Operator, dtype: str, y_dtype: str = "") -> Graph:
    def make(name: str, shape: tuple[int, ...], kind: str) -> Tensor:
        if kind == "int8":
            return int8(name, shape, 0.05, 3)
        return float32(name, shape) if kind == "float32" else Tensor(name, shape, np.dtype(kind))

    inputs = [make("a", (2, 3, 4), dtype), make("b", (3, 1) if op.kind != "PRELU" else (1, 1, 4), dtype)]
    return one_op(op, inputs, [make("y", (2, 3, 4), y_dtype or dtype)])


def small(graph: Graph, seed: int) -> list[Array]:
    """Inputs with many equal values; floats above 0, where powers are defined."""
    rng = np.random.default_rng(seed)
    return [
        (rng.uniform(0.1, 3, t.shape) if t.dtype == np.float32 else rng.integers(0, 2, t.shape)).astype(t.dtype)
        for t in graph.inputs
    ]


@pytest.mark.parametrize("op", FLOATS, ids=str)
def test_float32(op: Operator) -> None:
    graph = pair(op, "float32")
    inputs = small(graph, 1) if op.kind in ("POW", "DIV") else random_inputs(graph)
    if op.kind == "POW":  # TFLM has no such operator
        expect_same(graph.run(inputs), litert(graph, inputs), "numpy and LiteRT", 1e-6)
    else:
        check_exact(graph, inputs)


@pytest.mark.parametrize("op", QUANTIZED, ids=str)
@given(SCALES, ZERO_POINTS, SCALES, ZERO_POINTS, SCALES, ZERO_POINTS, SEEDS)
def test_int8_is_exact(
    op: Operator, a: float, zero_a: int, b: float, zero_b: int, y: float, zero_y: int, seed: int
) -> None:
    second = (1, 1, 4) if op.kind == "PRELU" else (2, 3, 4)
    inputs = [int8("a", (2, 3, 4), a, zero_a), int8("b", second, b, zero_b)]
    graph = one_op(op, inputs, [int8("y", (2, 3, 4), y, zero_y)])
    check_exact(graph, random_inputs(graph, seed), litert_too=False)


@pytest.mark.parametrize("dtype", ["int8", "int32", "float32"])
@pytest.mark.parametrize("op", COMPARISONS, ids=str)
def test_comparisons(op: Operator, dtype: str) -> None:
    graph = pair(op, dtype, "bool")
    check_exact(graph, small(graph, 2))


@pytest.mark.parametrize("op", [LogicalAnd(), LogicalOr(), Equal()], ids=str)
def test_bools(op: Operator) -> None:
    graph = pair(op, "bool", "bool")
    check_exact(graph, random_inputs(graph))


def test_not() -> None:
    graph = one_op(LogicalNot(), [Tensor("x", (3, 4), np.dtype(np.bool_))], [Tensor("y", (3, 4), np.dtype(np.bool_))])
    check_exact(graph, random_inputs(graph))
    check_compiled([(graph, [random_inputs(graph)])])


def test_compiled() -> None:
    graphs = [pair(op, "float32") for op in FLOATS] + [pair(op, "int8") for op in QUANTIZED]
    graphs += [pair(op, dtype, "bool") for op in COMPARISONS for dtype in op.types]
    graphs += [pair(op, "bool", "bool") for op in (LogicalAnd(), LogicalOr())]
    check_compiled([(graph, [small(graph, 3), small(graph, 4)]) for graph in graphs])


def test_pow_of_whole_and_negative_exponents() -> None:
    base = np.array([-3, -2.5, -1, 0.5, 1, 2, 7, 0], np.float32)
    graph = one_op(Pow(), [float32("a", (8,)), float32("b", (1,))], [float32("y", (8,))])
    exponents = [np.array([e], np.float32) for e in (0, 1, 2, 3, -1, -2, 17)]
    check_compiled([(graph, [[base[:-1].repeat(2)[:8], e] for e in exponents])])


def test_comparison_of_two_scales_is_refused() -> None:
    graph = one_op(Less(), [int8("a", (2,), 0.1), int8("b", (2,), 0.2)], [Tensor("y", (2,), np.dtype(np.bool_))])
    assert "different scales" in graph.nodes[0].op.problems(graph.nodes[0])[0]
