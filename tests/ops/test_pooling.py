"""AVERAGE_POOL_2D and MAX_POOL_2D against TFLM, LiteRT and compiled C."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.ops.make import ACTIVATIONS, SCALES, SEEDS, ZERO_POINTS, float32, int8, sample
from tests.oracles import check_compiled, check_exact, one_op, random_inputs
from tinymaix.graph import Graph, ModelError
from tinymaix.ops.average_pool_2d import AveragePool2D
from tinymaix.ops.max_pool_2d import MaxPool2D
from tinymaix.ops.window import padding_of

SMALL = st.integers(1, 3)


@st.composite
def graphs(draw: st.DrawFn, dtype: str) -> Graph:
    pool, stride = draw(st.tuples(SMALL, SMALL)), draw(st.tuples(SMALL, SMALL))
    shape = draw(SMALL), pool[0] + draw(st.integers(0, 5)), pool[1] + draw(st.integers(0, 5)), draw(SMALL)
    op = draw(st.sampled_from([AveragePool2D, MaxPool2D]))(
        pool, stride, padding_of(draw(st.integers(0, 1)), shape, pool, stride), draw(ACTIVATIONS)
    )
    quantization = draw(SCALES), draw(ZERO_POINTS)
    x = int8("x", shape, *quantization) if dtype == "int8" else float32("x", shape)
    (result,) = op.infer([x])
    y = int8("y", result, *quantization) if dtype == "int8" else float32("y", result)
    return one_op(op, [x], [y])


@given(graphs("int8"), SEEDS)
def test_int8_is_exact(graph: Graph, seed: int) -> None:
    check_exact(graph, random_inputs(graph, seed))


@given(graphs("float32"), SEEDS)
def test_float32_is_exact(graph: Graph, seed: int) -> None:
    check_exact(graph, random_inputs(graph, seed), tolerance=0.0)


def test_compiled() -> None:
    cases = sample(graphs("int8")) + sample(graphs("float32"))
    check_compiled([(graph, [random_inputs(graph)]) for graph in cases])


def test_global_average_of_many() -> None:
    graph = one_op(AveragePool2D((40, 40), (1, 1)), [int8("x", (1, 40, 40, 2))], [int8("y", (1, 1, 1, 2))])
    check_exact(graph, [np.full((1, 40, 40, 2), -128, np.int8)])
    check_compiled([(graph, [random_inputs(graph)])])


def test_another_scale_is_a_problem() -> None:
    node = one_op(MaxPool2D(), [int8("x", (1, 2, 2, 1), 0.1)], [int8("y", (1, 1, 1, 1), 0.2)]).nodes[0]
    assert "'x' has scale 0.1" in node.op.problems(node)[0]


def test_a_padded_window_does_not_overwrite() -> None:
    x, y = int8("x", (1, 4, 4, 1)), int8("y", (1, 4, 4, 1))
    same = MaxPool2D((3, 3), (1, 1), (1, 1, 1, 1))
    assert same.overwrites(one_op(same, [x], [y]).nodes[0]) == []
    assert MaxPool2D().overwrites(one_op(MaxPool2D(), [x], [int8("y", (1, 2, 2, 1))]).nodes[0]) == [0]


@pytest.mark.parametrize("op", [MaxPool2D((5, 5)), MaxPool2D((2, 2), (2, 2), (2, 0, 0, 0)), MaxPool2D((0, 1))])
def test_windows_that_do_not_fit(op: MaxPool2D) -> None:
    with pytest.raises(ModelError):
        op.infer([int8("x", (1, 4, 4, 1))])
