"""SVDF over sequences: against TFLM, and its C against numpy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.ops.make import SEEDS, float32, int8
from tests.oracles import check_compiled, check_sequence, one_op
from tinymaix.graph import Array, Graph, Quantization, Shape, Tensor
from tinymaix.ops.svdf import Svdf

KINDS = ["int8", "int16", "float32"]


def graph_of(rng: np.random.Generator, kind: str, size: tuple[int, int, int, int], rank: int, relu: bool) -> Graph:
    """``kind`` is the type of the state; ``size``: batches, in_c, units, memory."""
    batches, in_c, units, memory = size
    filters = units * rank
    op = Svdf(rank, "relu" if relu else "none")
    if kind == "float32":
        weights = [float32(n, s, rng.uniform(-1, 1, s)) for n, s in shapes(filters, in_c, memory)]
        bias = float32("bias", (units,), rng.uniform(-1, 1, units))
        state = float32("state", (batches, filters * memory))
        x, y = float32("x", (batches, in_c)), float32("y", (batches, units))
    else:
        scale = 0.8 if kind == "int8" else 0.004
        weights = [quantized(rng, n, s, "int8" if n == "feature" else kind) for n, s in shapes(filters, in_c, memory)]
        data = rng.integers(-3000, 3000, units, dtype=np.int32)
        bias = Tensor("bias", (units,), data.dtype, Quantization.of(scale * weights[1].q.s), data)
        zero = int(rng.integers(-128, 128)) if kind == "int8" else 0
        state = Tensor("state", (batches, filters * memory), np.dtype(kind), Quantization.of(scale, zero))
        x = int8("x", (batches, in_c), 0.05, int(rng.integers(-128, 128)))
        y = int8("y", (batches, units), 0.3, -128 if relu else int(rng.integers(-128, 128)))
    state.initial = np.full(state.shape, state.q.z if kind == "int8" else 0, state.dtype)
    return one_op(op, [x, *weights, bias, state], [y])


def shapes(filters: int, in_c: int, memory: int) -> list[tuple[str, Shape]]:
    return [("feature", (filters, in_c)), ("time", (filters, memory))]


def quantized(rng: np.random.Generator, name: str, shape: Shape, kind: str) -> Tensor:
    limit = np.iinfo(kind).max
    return Tensor(
        name, shape, np.dtype(kind), Quantization.of(1 / limit), rng.integers(-limit, limit, shape, np.dtype(kind))
    )


def sequence(rng: np.random.Generator, graph: Graph, length: int = 6) -> list[list[Array]]:
    x = graph.inputs[0]
    if x.dtype == np.float32:
        return [[rng.uniform(-1, 1, x.shape).astype(np.float32)] for _ in range(length)]
    return [[rng.integers(-128, 128, x.shape).astype(np.int8)] for _ in range(length)]


@pytest.mark.parametrize("kind", KINDS)
@given(SEEDS, st.tuples(*[st.integers(1, 5)] * 4), st.integers(1, 3), st.booleans())
def test_exact(kind: str, seed: int, size: tuple[int, int, int, int], rank: int, relu: bool) -> None:
    rng = np.random.default_rng(seed)
    graph = graph_of(rng, kind, size, rank, relu or kind != "float32")  # TFLM insists on a ReLU of integers
    check_sequence(graph, sequence(rng, graph), 1e-5)


def test_compiled() -> None:
    rng = np.random.default_rng(5)
    graphs = [graph_of(rng, kind, size, 2, True) for kind in KINDS for size in ((1, 7, 4, 3), (2, 3, 5, 1))]
    for graph in graphs[::2]:
        graph.nodes[0].inputs[3] = None  # TFLM crashes where the bias is left out
    check_compiled([(graph, sequence(rng, graph)) for graph in graphs])


def test_state_that_is_no_variable_is_refused() -> None:
    graph = graph_of(np.random.default_rng(1), "int8", (1, 2, 3, 4), 1, True)
    graph.states[0].initial = None
    (problem,) = graph.nodes[0].op.problems(graph.nodes[0])
    assert "must be a variable" in problem
