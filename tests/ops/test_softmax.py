"""SOFTMAX against TFLM for any beta, scale and length of row, and its C against numpy."""

from __future__ import annotations

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from tests.ops.make import SEEDS, ZERO_POINTS, float32, int8
from tests.oracles import check_compiled, check_exact, one_op, random_inputs
from tinymaix.graph import Array, Graph, Quantization, Shape, Tensor
from tinymaix.ops.softmax import Softmax

BETAS = st.sampled_from([0.25, 0.5, 1.0, 3.0, 10.0])


def softmax(shape: Shape, scale: float, zero_point: int = 0, beta: float = 1.0, output: str = "int8") -> Graph:
    x = int8("x", shape, scale, zero_point)
    quantization = Quantization.of(2.0**-8, -128) if output == "int8" else Quantization.of(2.0**-16, -32768)
    return one_op(Softmax(beta), [x], [Tensor("y", shape, np.dtype(output), quantization)])


@given(st.floats(1e-6, 50), ZERO_POINTS, BETAS, st.integers(1, 40), st.sampled_from(["int8", "int16"]), SEEDS)
@example(0.1, 0, 1.0, 1000, "int8", 0)
@example(0.1, 0, 1.0, 4000, "int16", 0)
@example(float(2**24), 0, 10.0, 8, "int8", 0)
def test_int8_is_exact(scale: float, zero: int, beta: float, depth: int, output: str, seed: int) -> None:
    graph = softmax((2, 3, depth), scale, zero, beta, output)
    check_exact(graph, random_inputs(graph, seed), litert_too=False)


@given(st.floats(0.001, 1), BETAS, st.integers(1, 40), SEEDS)
def test_litert_agrees_within_one_step(scale: float, beta: float, depth: int, seed: int) -> None:
    """LiteRT's softmax goes through a float table; the two must still be one function."""
    from tests.oracles import litert

    graph = softmax((4, depth), scale, 0, beta)
    inputs = random_inputs(graph, seed)
    assert np.abs(graph.run(inputs)[0].astype(int) - litert(graph, inputs)[0]).max() <= 1


@given(BETAS, st.integers(1, 40), SEEDS)
def test_float32(beta: float, depth: int, seed: int) -> None:
    values = np.random.default_rng(seed).normal(0, 5, (3, depth)).astype(np.float32)
    check_exact(one_op(Softmax(beta), [float32("x", values.shape)], [float32("y", values.shape)]), [values])


def test_a_large_sum_leaves_nothing_of_8_bits() -> None:
    """TFLM stops the program here: the sum of 600 equal exponentials does not fit its shift."""
    graph = softmax((1, 600), 0.1)
    assert (graph.run([np.zeros((1, 600), np.int8)])[0] == -128).all()


def test_compiled() -> None:
    cases: list[tuple[Graph, list[list[Array]]]] = []
    for shape, scale, beta in (((1, 10), 0.15, 1.0), ((2, 3, 7), 0.01, 2.0), ((3, 1), 0.1, 1.0), ((1, 600), 20.0, 1.0)):
        for output in ("int8", "int16"):
            graph = softmax(shape, scale, 5, beta, output)
            runs = [random_inputs(graph, seed) for seed in range(4)] + [[np.zeros(shape, np.int8)]]
            cases.append((graph, runs))
    floats = one_op(Softmax(2.0), [float32("x", (3, 50))], [float32("y", (3, 50))])
    rng = np.random.default_rng(0)
    cases.append((floats, [[rng.normal(0, size, (3, 50)).astype(np.float32)] for size in (0.1, 3, 100)]))
    check_compiled(cases)


def test_problems_name_the_tensor() -> None:
    graph = softmax((1, 10), 0.1)
    graph.outputs[0].quantization = Quantization.of(0.1, 0)
    assert "'y'" in graph.nodes[0].op.problems(graph.nodes[0])[0]
    assert "rows of 9000" in (node := softmax((1, 9000), 0.1).nodes[0]).op.problems(node)[0]
    assert "too small" in (node := softmax((1, 9), 1e-9).nodes[0]).op.problems(node)[0]
