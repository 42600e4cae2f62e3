"""Functions of one value: against TFLM, or LiteRT where TFLM lacks them, and their C against numpy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.ops.make import SCALES, ZERO_POINTS, float32, int8
from tests.oracles import check_compiled, check_exact, expect_same, litert, one_op
from tinymaix.graph import Array, Graph, Quantization, Tensor
from tinymaix.ops.functions import (
    Abs,
    Ceil,
    Cos,
    Elu,
    Exp,
    FloatFunction,
    Floor,
    Log,
    Neg,
    Round,
    Rsqrt,
    Sign,
    Sin,
    Sqrt,
    Square,
)

WIDE = np.linspace(-50, 50, 4001, dtype=np.float32)
NEAR = np.linspace(-2, 2, 4001, dtype=np.float32)
POSITIVE = np.geomspace(1e-30, 1e30, 4001, dtype=np.float32)
ANY: list[FloatFunction] = [
    Abs(), Neg(), Square(), Exp(), Sin(), Cos(), Floor(), Ceil(), Round(), Elu(), Sign()
]  # fmt: skip
ROOTS: list[FloatFunction] = [Sqrt(), Rsqrt(), Log()]
LITERT_ONLY, TFLM_ONLY = ("SIGN",), ("CEIL", "ROUND", "ELU")
BYTES = np.arange(-128, 128).astype(np.int8)


def floats(op: FloatFunction, values: Array) -> Graph:
    return one_op(op, [float32("x", values.shape)], [float32("y", values.shape)])


@pytest.mark.parametrize("op", [*ANY, *ROOTS], ids=str)
def test_float32(op: FloatFunction) -> None:
    for values in (POSITIVE,) if op in ROOTS else (NEAR, WIDE):
        graph = floats(op, values)
        if op.kind in LITERT_ONLY:
            expect_same(graph.run([values]), litert(graph, [values]), "numpy and LiteRT", 1e-5)
        else:
            check_exact(graph, [values], litert_too=op.kind not in TFLM_ONLY)


@given(SCALES, ZERO_POINTS, SCALES, ZERO_POINTS, st.sampled_from([Abs(), Elu()]))
def test_int8_is_exact(scale: float, zero: int, out_scale: float, out_zero: int, op: FloatFunction) -> None:
    graph = one_op(op, [int8("x", BYTES.shape, scale, zero)], [int8("y", BYTES.shape, out_scale, out_zero)])
    check_exact(graph, [BYTES], litert_too=False)


@given(SCALES, SCALES, ZERO_POINTS)
def test_int8_rsqrt_is_exact(scale: float, out_scale: float, out_zero: int) -> None:
    graph = one_op(Rsqrt(), [int8("x", BYTES.shape, scale, -128)], [int8("y", BYTES.shape, out_scale, out_zero)])
    check_exact(graph, [BYTES], litert_too=False)


@pytest.mark.parametrize("scales", [(0.001, 0.001), (0.001, 0.0007)])
def test_int16_abs_is_exact(scales: tuple[float, float]) -> None:
    values = np.arange(-32768, 32768).astype(np.int16)
    x, y = (Tensor(n, values.shape, values.dtype, Quantization.of(s)) for n, s in zip("xy", scales, strict=True))
    graph = one_op(Abs(), [x], [y])
    check_exact(graph, [values], litert_too=False)
    check_compiled([(graph, [[values]])])


def test_compiled() -> None:
    cases: list[tuple[Graph, list[list[Array]]]] = [(floats(op, NEAR), [[NEAR], [WIDE]]) for op in ANY]
    cases += [(floats(op, POSITIVE), [[POSITIVE], [POSITIVE[:-1].repeat(2)[:4001]]]) for op in ROOTS]
    for op in (Abs(), Elu()):
        graph = one_op(op, [int8("x", BYTES.shape, 0.03, 5)], [int8("y", BYTES.shape, 0.02, -9)])
        cases.append((graph, [[BYTES]]))
    check_compiled(cases, 2e-6)


@pytest.mark.parametrize("op", [*ROOTS, Exp(), Elu(), Sin()], ids=str)
def test_float_functions_keep_relative_accuracy(op: FloatFunction) -> None:
    """Each value by itself, as a graph of one element."""
    values = np.array([1e-30, 1e-20, 1e-3, 0.3, 0.999, 1.001, 3, 9.5, 50], np.float32)
    check_compiled([(floats(op, values[:1]), [[v] for v in values.reshape(-1, 1)])], 5e-7)


def test_values_outside_the_domain() -> None:
    values = np.array([-1, 0, np.inf, np.nan], np.float32)
    check_compiled([(floats(op, values), [[values]]) for op in (*ROOTS, Sin(), Floor())])
