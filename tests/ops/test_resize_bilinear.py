"""RESIZE_BILINEAR, LOG_SOFTMAX and L2_NORMALIZATION against TFLM, and their C against numpy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.ops.make import SEEDS, ZERO_POINTS, float32, int8
from tests.oracles import check_compiled, check_exact, one_op, random_inputs
from tinymaix.graph import Graph
from tinymaix.ops.log_softmax import L2Normalization, LogSoftmax
from tinymaix.ops.resize_bilinear import ResizeBilinear

SIZES = [((4, 4), (8, 8)), ((5, 3), (7, 9)), ((7, 6), (3, 4)), ((3, 3), (1, 1)), ((1, 1), (4, 5)), ((8, 8), (4, 4))]
MODES = [(False, False), (True, False), (False, True)]


def graph_of(source: tuple[int, int], size: tuple[int, int], mode: tuple[bool, bool], dtype: str) -> Graph:
    make = int8 if dtype == "int8" else float32
    return one_op(ResizeBilinear(size, *mode), [make("x", (2, *source, 3))], [make("y", (2, *size, 3))])


@pytest.mark.parametrize("dtype", ["int8", "float32"])
@pytest.mark.parametrize("mode", MODES, ids=str)
@pytest.mark.parametrize(("source", "size"), SIZES, ids=str)
def test_resize_is_exact(source: tuple[int, int], size: tuple[int, int], mode: tuple[bool, bool], dtype: str) -> None:
    graph = graph_of(source, size, mode, dtype)
    check_exact(graph, random_inputs(graph))


@pytest.mark.parametrize("op", [LogSoftmax(), L2Normalization()], ids=str)
def test_rows(op: LogSoftmax | L2Normalization) -> None:
    graph = one_op(op, [float32("x", (3, 7))], [float32("y", (3, 7))])
    inputs = [np.random.default_rng(1).uniform(-9, 9, (3, 7)).astype(np.float32)]
    check_exact(graph, inputs)
    check_compiled([(graph, [inputs, [np.zeros((3, 7), np.float32)]])])


@given(SEEDS, st.integers(1, 40), ZERO_POINTS, st.sampled_from([1, 3, 128]))
def test_int8_l2_normalization_is_exact(seed: int, depth: int, zero: int, largest: int) -> None:
    graph = one_op(L2Normalization(), [int8("x", (3, depth), 0.1, zero)], [int8("y", (3, depth), 1 / 128)])
    x = zero + np.random.default_rng(seed).integers(-largest, largest, (3, depth))
    check_exact(graph, [np.clip(x, -128, 127).astype(np.int8)], litert_too=False)


def test_compiled_l2_normalization() -> None:
    rng = np.random.default_rng(1)
    graph = one_op(L2Normalization(), [int8("x", (4, 50), 0.1, 5)], [int8("y", (4, 50), 1 / 128)])
    few = np.full((4, 50), 5, np.int8)
    few[:3, 0] = 6, 7, -9
    check_compiled([(graph, [[rng.integers(-128, 128, (4, 50)).astype(np.int8)], [few]])])


def test_compiled() -> None:
    graphs = [graph_of(*sizes, mode, dtype) for sizes in SIZES for mode in MODES for dtype in ("int8", "float32")]
    check_compiled([(graph, [random_inputs(graph, 1)]) for graph in graphs])
