"""QUANTIZE and DEQUANTIZE between all types that TFLM has, and their C against numpy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.ops.make import SCALES, SEEDS
from tests.oracles import check_compiled, check_exact, expect_same, one_op, random_inputs, tflm
from tinymaix.graph import Array, Graph, Quantization, Tensor
from tinymaix.ops.dequantize import Dequantize
from tinymaix.ops.quantize import PAIRS, Quantize

ALL_PAIRS = [(x, y) for x, targets in PAIRS.items() for y in targets]
INTEGER_PAIRS = [(x, y) for x, y in ALL_PAIRS if x != "float32"]
FLOAT_TARGETS = PAIRS["float32"]
SHAPE = (2, 3, 50)


def tensor(name: str, dtype: str, scale: float, zero: float) -> Tensor:
    """``zero``: where in its type's range the zero point stands, 0 to 1; 32-bit and 16-bit values have 0."""
    if dtype == "float32":
        return Tensor(name, SHAPE, np.dtype(dtype))
    info = np.iinfo(dtype)
    point = round(info.min + zero * (info.max - info.min)) if info.bits == 8 else 0
    return Tensor(name, SHAPE, np.dtype(dtype), Quantization.of(scale, point))


def values_for(graph: Graph, seed: int) -> list[Array]:
    if graph.inputs[0].dtype == np.int32:  # sums as they occur; TFLM overflows on the full range
        return [np.random.default_rng(seed).integers(-(2**20), 2**20, SHAPE, dtype=np.int32)]
    return random_inputs(graph, seed)


@pytest.mark.parametrize(("x", "y"), INTEGER_PAIRS)
@given(SCALES, st.floats(0.01, 4), st.floats(0, 1), st.floats(0, 1), SEEDS)
def test_requantize_is_exact(
    x: str, y: str, scale: float, ratio: float, zero: float, out_zero: float, seed: int
) -> None:
    graph = one_op(Quantize(), [tensor("x", x, scale, zero)], [tensor("y", y, scale * ratio, out_zero)])
    inputs = values_for(graph, seed)
    assert graph.nodes[0].op.problems(graph.nodes[0]) == []
    expect_same(graph.run(inputs), tflm(graph, inputs), "numpy and TFLM")


@pytest.mark.parametrize("y", FLOAT_TARGETS)
@given(SCALES, st.floats(0, 1), st.sampled_from([0.1, 1, 10, 1000]), SEEDS)
def test_quantize_is_exact(y: str, scale: float, zero: float, size: float, seed: int) -> None:
    graph = one_op(Quantize(), [tensor("x", "float32", 0, 0)], [tensor("y", y, scale, zero)])
    check_exact(graph, [(size * random_inputs(graph, seed)[0]).astype(np.float32)])


def halves() -> tuple[Graph, list[Array]]:
    """Values that stand exactly half-way between two steps, beside their neighbours, and far outside the range."""
    graph = one_op(Quantize(), [tensor("x", "float32", 0, 0)], [tensor("y", "int8", 0.5, 0.5)])
    exact = np.arange(-70, 70, dtype=np.float32) * np.float32(0.5) + np.float32(0.25)
    steps = [exact, np.nextafter(exact, np.float32(99)), [1e9, -1e9], np.zeros(18)]
    return graph, [np.concatenate(steps).astype(np.float32).reshape(SHAPE)]


def test_halves_are_rounded_away_from_zero() -> None:
    graph, inputs = halves()
    check_exact(graph, inputs, litert_too=False)


@pytest.mark.parametrize("x", Dequantize.types)
@given(SCALES, st.floats(0, 1), SEEDS)
def test_dequantize_is_exact(x: str, scale: float, zero: float, seed: int) -> None:
    graph = one_op(Dequantize(), [tensor("x", x, scale, zero)], [tensor("y", "float32", 0, 0)])
    check_exact(graph, random_inputs(graph, seed), tolerance=0.0)


def test_compiled() -> None:
    cases: list[tuple[Graph, list[list[Array]]]] = []
    for x, y in ALL_PAIRS:
        graph = one_op(Quantize(), [tensor("x", x, 0.03, 0.4)], [tensor("y", y, 0.05, 0.7)])
        cases.append(
            (graph, [values_for(graph, 0), [20 * values_for(graph, 1)[0]] if x == "float32" else values_for(graph, 1)])
        )
    for x in Dequantize.types:
        graph = one_op(Dequantize(), [tensor("x", x, 0.03, 0.4)], [tensor("y", "float32", 0, 0)])
        cases.append((graph, [random_inputs(graph)]))
    graph, inputs = halves()
    check_compiled([*cases, (graph, [inputs])], tolerance=0.0)


def test_pairs_without_a_kernel_are_refused() -> None:
    graph = one_op(Quantize(), [tensor("x", "uint8", 0.1, 0)], [tensor("y", "int16", 0.1, 0)])
    assert "'x' is uint8 and 'y' is int16" in graph.nodes[0].op.problems(graph.nodes[0])[0]
    graph = one_op(Dequantize(), [tensor("x", "int32", 0.1, 0)], [tensor("y", "float32", 0, 0)])
    assert "int32" in graph.nodes[0].op.problems(graph.nodes[0])[0]
    graph = one_op(Quantize(), [tensor("x", "float32", 0, 0)], [Tensor("y", SHAPE, np.dtype(np.int8))])
    assert "'y' is int8 without one scale" in graph.nodes[0].op.problems(graph.nodes[0])[0]
