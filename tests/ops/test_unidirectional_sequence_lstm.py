"""UNIDIRECTIONAL_SEQUENCE_LSTM over sequences: against TFLM, and its C against numpy; the tables over all int16."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.ops.make import SEEDS, float32, int8
from tests.oracles import check_compiled, check_sequence, one_op
from tinymaix.graph import Array, Graph, ModelError, Quantization, Shape, Tensor
from tinymaix.ops.unidirectional_sequence_lstm import UnidirectionalSequenceLstm

Sizes = tuple[int, int, int, int]


def graph_of(rng: np.random.Generator, kind: str, sizes: Sizes, op: UnidirectionalSequenceLstm) -> Graph:
    """``sizes``: batches, steps, in_c, cells."""
    batches, steps, in_c, cells = sizes
    rows = (steps, batches) if op.time_major else (batches, steps)
    if kind == "float32":
        x, y = float32("x", (*rows, in_c)), float32("y", (*rows, cells))
        hidden, cell = float32("hidden", (batches, cells)), float32("cell", (batches, cells))
        weights = [float32(f"w{i}", s, rng.uniform(-1, 1, s)) for i, s in enumerate(shapes(in_c, cells))]
        biases = [float32(f"b{i}", (cells,), rng.uniform(-1, 1, cells)) for i in range(4)]
    else:
        zero = int(rng.integers(-128, 128))
        x = int8("x", (*rows, in_c), 0.03, int(rng.integers(-128, 128)))
        y, hidden = int8("y", (*rows, cells), 1 / 128, zero), int8("hidden", (batches, cells), 1 / 128, zero)
        power = 2.0 ** -float(rng.integers(9, 14))
        cell = Tensor("cell", (batches, cells), np.dtype(np.int16), Quantization.of(power))
        weights = [symmetric(rng, f"w{i}", s) for i, s in enumerate(shapes(in_c, cells))]
        biases = [bias(rng, f"b{i}", w) for i, w in enumerate(weights[:4])]
    for state in (hidden, cell):
        state.initial = np.full(state.shape, state.q.z if state.quantization else 0, state.dtype)
    absent: list[Tensor | None] = [None]
    inputs = [x, *weights, *absent * 3, *biases, *absent * 2, hidden, cell, *absent * 4]
    return one_op(op, inputs, [y])


def shapes(in_c: int, cells: int) -> list[Shape]:
    weights: list[Shape] = [(cells, in_c)] * 4
    return weights + [(cells, cells)] * 4


def bias(rng: np.random.Generator, name: str, weights: Tensor) -> Tensor:
    data = rng.integers(-999, 999, weights.shape[0], np.int32)
    return Tensor(name, data.shape, data.dtype, Quantization.of(0.03 * weights.q.s), data)


def symmetric(rng: np.random.Generator, name: str, shape: Shape) -> Tensor:
    data = rng.integers(-127, 128, shape).astype(np.int8)
    return Tensor(name, shape, data.dtype, Quantization.of(rng.uniform(0.004, 0.03)), data)


def sequence(rng: np.random.Generator, graph: Graph, length: int = 3) -> list[list[Array]]:
    x = graph.inputs[0]
    if x.dtype == np.float32:
        return [[rng.uniform(-2, 2, x.shape).astype(np.float32)] for _ in range(length)]
    return [[rng.integers(-128, 128, x.shape).astype(np.int8)] for _ in range(length)]


@pytest.mark.parametrize("kind", ["int8", "float32"])
@given(SEEDS, st.tuples(*[st.integers(1, 5)] * 4), st.sampled_from([0.0, 10.0, 0.25]), st.booleans())
def test_exact(kind: str, seed: int, sizes: Sizes, clip: float, time_major: bool) -> None:
    rng = np.random.default_rng(seed)
    graph = graph_of(rng, kind, sizes, UnidirectionalSequenceLstm(clip, time_major))
    check_sequence(graph, sequence(rng, graph))


def test_compiled() -> None:
    rng = np.random.default_rng(7)
    cases = []
    for kind in ("int8", "float32"):
        for sizes, op in (
            ((1, 6, 5, 7), UnidirectionalSequenceLstm(10.0)),
            ((2, 3, 4, 3), UnidirectionalSequenceLstm(0.5, time_major=True)),
            ((2, 3, 4, 3), UnidirectionalSequenceLstm()),
        ):
            graph = graph_of(rng, kind, sizes, op)
            cases.append((graph, sequence(rng, graph)))
    check_compiled(cases, 2e-6)


def test_cell_scale_that_is_no_power_of_two_is_refused() -> None:
    graph = graph_of(np.random.default_rng(1), "int8", (1, 2, 3, 4), UnidirectionalSequenceLstm())
    graph.states[1].quantization = Quantization.of(0.001)
    (problem,) = graph.nodes[0].op.problems(graph.nodes[0])
    assert "power of two" in problem


def test_peepholes_are_refused() -> None:
    graph = graph_of(np.random.default_rng(1), "float32", (1, 2, 3, 4), UnidirectionalSequenceLstm())
    inputs = graph.nodes[0].inputs
    inputs[9] = inputs[1]
    with pytest.raises(ModelError, match="peepholes"):
        graph.nodes[0].op.infer(inputs)
