"""Unary operators against TFLM over all int8 inputs, against LiteRT where TFLM differs, and their C against numpy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.ops.make import SCALES, ZERO_POINTS, float32, int8
from tests.oracles import check_compiled, check_exact, expect_same, litert, one_op
from tinymaix.graph import Array, Graph
from tinymaix.ops.hard_swish import HardSwish
from tinymaix.ops.leaky_relu import LeakyRelu
from tinymaix.ops.logistic import Logistic
from tinymaix.ops.lookup import Unary
from tinymaix.ops.relu import Relu
from tinymaix.ops.relu6 import Relu6
from tinymaix.ops.relu_n1_to_1 import ReluN1To1
from tinymaix.ops.tanh import Tanh

RATIOS = st.sampled_from([0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 7.0]) | st.floats(0.3, 4)
BYTES = np.arange(-128, 128).astype(np.int8).reshape(2, 1, 128)
OPERATORS: list[Unary] = [
    Relu(), Relu6(), ReluN1To1(), LeakyRelu(float(np.float32(0.2))), LeakyRelu(-1.25), HardSwish(), Logistic(), Tanh()
]  # fmt: skip
FIXED_OUTPUT = {"LOGISTIC": (1 / 256, -128), "TANH": (1 / 128, 0)}


def int8_graph(op: Unary, scale: float, zero_point: int, out_scale: float, out_zero_point: int) -> Graph:
    out_scale, out_zero_point = FIXED_OUTPUT.get(op.kind, (out_scale, out_zero_point))
    y = int8("y", BYTES.shape, out_scale, out_zero_point)
    return one_op(op, [int8("x", BYTES.shape, scale, zero_point)], [y])


def floats(op: Unary, values: Array) -> Graph:
    return one_op(op, [float32("x", values.shape)], [float32("y", values.shape)])


@pytest.mark.parametrize("op", [Relu(), HardSwish(), LeakyRelu(float(np.float32(0.2))), LeakyRelu(-1.25)], ids=str)
@given(SCALES, ZERO_POINTS, RATIOS, ZERO_POINTS)
def test_int8_is_exact(op: Unary, scale: float, zero_point: int, ratio: float, out_zero_point: int) -> None:
    check_exact(int8_graph(op, scale, zero_point, scale * ratio, out_zero_point), [BYTES], litert_too=False)


@pytest.mark.parametrize("op", [Logistic(), Tanh()], ids=str)
@given(st.floats(1e-5, 40), ZERO_POINTS)
def test_int8_with_a_fixed_output_is_exact(op: Unary, scale: float, zero_point: int) -> None:
    """LiteRT takes these from a table of floats instead of fixed point and differs by 1 here and there."""
    check_exact(int8_graph(op, scale, zero_point, 0, 0), [BYTES], litert_too=False)


@given(SCALES, ZERO_POINTS, RATIOS, ZERO_POINTS)
def test_relu6_follows_tflm_on_one_scale_and_litert_on_two(
    scale: float, zero: int, ratio: float, out_zero: int
) -> None:
    check_exact(int8_graph(Relu6(), scale, zero, scale, zero), [BYTES])
    graph = int8_graph(Relu6(), scale, zero, scale * ratio, out_zero)
    expect_same(graph.run([BYTES]), litert(graph, [BYTES]), "numpy and LiteRT")


@given(SCALES, ZERO_POINTS, RATIOS, ZERO_POINTS)
def test_relu_n1_to_1_follows_litert(scale: float, zero: int, ratio: float, out_zero: int) -> None:
    graph = int8_graph(ReluN1To1(), scale, zero, scale * ratio, out_zero)
    expect_same(graph.run([BYTES]), litert(graph, [BYTES]), "numpy and LiteRT")


@pytest.mark.parametrize("op", OPERATORS, ids=str)
def test_float32(op: Unary) -> None:
    values = np.linspace(-20, 20, 2000, dtype=np.float32).reshape(2, 1000)
    graph = floats(op, values)
    if op.kind == "RELU_N1_TO_1":  # TFLM has no such operator
        expect_same(graph.run([values]), litert(graph, [values]), "numpy and LiteRT")
    else:
        check_exact(graph, [values])


@pytest.mark.parametrize("op", [Logistic(), Tanh()], ids=str)
def test_other_output_scales_are_refused(op: Unary) -> None:
    graph = one_op(op, [int8("x", (1, 4))], [int8("y", (1, 4), 0.02, 3)])
    (problem,) = op.problems(graph.nodes[0])
    assert "'y'" in problem
    assert "scale 1/" in problem


def test_hard_swish_refuses_an_output_scale_that_is_too_fine() -> None:
    graph = int8_graph(HardSwish(), 0.5, 0, 0.0001, 0)
    assert "'y'" in graph.nodes[0].op.problems(graph.nodes[0])[0]


def test_compiled() -> None:
    wide = np.linspace(-100, 100, 4001, dtype=np.float32)
    near = np.linspace(-2, 2, 4001, dtype=np.float32)
    tiny = np.geomspace(1e-30, 1, 4001, dtype=np.float32)
    cases: list[tuple[Graph, list[list[Array]]]] = []
    for op in OPERATORS:
        cases.append((int8_graph(op, 0.0625, 3, 0.05, -7), [[BYTES]]))
        cases.append((floats(op, near), [[near], [wide], [tiny], [-tiny]]))
    check_compiled(cases)


@pytest.mark.parametrize(("op", "tolerance"), [(Logistic(), 3e-7), (Tanh(), 5e-7)], ids=str)
def test_float_functions_keep_relative_accuracy(op: Unary, tolerance: float) -> None:
    """Small results are as good as large ones: each value by itself, as a graph of one element."""
    values = np.array(
        [-80, -20, -9.5, -3, -1, -0.999, -0.3, -1e-3, -1e-20, 1e-20, 1e-3, 0.3, 0.999, 3, 9.5], np.float32
    )
    check_compiled([(floats(op, values[:1]), [[values[i : i + 1]] for i in range(len(values))])], tolerance)
