"""CONCATENATION against TFLM, LiteRT and compiled C, for each type that they take."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.ops.make import SEEDS, constant, int8, sample, shapes
from tests.oracles import check_compiled, check_exact, one_op, random_inputs
from tinymaix.graph import Graph, ModelError, Quantization, Shape, Tensor
from tinymaix.ops.concatenation import Concatenation


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    dtype = np.dtype(draw(st.sampled_from(["int8", "float32", "int32", "int16", "int64"])))
    shape = draw(shapes())
    axis = draw(st.integers(-len(shape), len(shape) - 1))
    quantization = Quantization.of(0.1, 0 if dtype == np.int16 else 3) if dtype.itemsize < 4 else None

    def tensor(name: str, along: int | None = None) -> Tensor:
        sizes = list(shape)
        sizes[axis] = along if along is not None else sizes[axis]
        return Tensor(name, tuple(sizes), dtype, quantization)

    inputs = [tensor(f"x{i}", draw(st.integers(1, 4))) for i in range(draw(st.integers(2, 5)))]
    if draw(st.booleans()):
        constant(np.random.default_rng(0), inputs[1])
    op = Concatenation(axis)
    return one_op(op, inputs, [Tensor("y", op.infer(inputs)[0], dtype, quantization)])


@given(graphs(), SEEDS)
def test_exact(graph: Graph, seed: int) -> None:
    check_exact(graph, random_inputs(graph, seed), tolerance=0.0)


def test_compiled() -> None:
    check_compiled([(graph, [random_inputs(graph)]) for graph in sample(graphs())])


def test_another_scale_is_a_problem() -> None:
    node = one_op(Concatenation(), [int8("a", (1,), 0.1), int8("b", (1,), 0.2)], [int8("y", (2,), 0.1)]).nodes[0]
    (problem,) = node.op.problems(node)
    assert "'b' has scale 0.2" in problem
    assert "insert a QUANTIZE" in problem


@pytest.mark.parametrize("shape", [(2, 3, 1), (3, 4), ()])
def test_shapes_that_do_not_fit(shape: Shape) -> None:
    with pytest.raises(ModelError, match="cannot be concatenated"):
        Concatenation(1).infer([int8("a", (2, 3)), int8("b", shape)])
