"""MEAN against TFLM, LiteRT and compiled C: any axes, with and without keep_dims, different scales."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.ops.make import SCALES, SEEDS, ZERO_POINTS, float32, int8, sample, shapes
from tests.oracles import check_compiled, check_exact, one_op, random_inputs
from tinymaix.graph import Graph, ModelError
from tinymaix.ops.mean import Mean


@st.composite
def graphs(draw: st.DrawFn, dtype: str, most_axes: int = 2) -> Graph:
    shape = draw(shapes(largest=7))
    rank = len(shape)
    axes = draw(st.lists(st.integers(-rank, rank - 1), min_size=1, max_size=min(rank, most_axes), unique=True))
    op = Mean(tuple(axes), draw(st.booleans()))
    scale = draw(SCALES)
    same = draw(st.booleans())
    zero = draw(ZERO_POINTS)
    x = int8("x", shape, scale, zero) if dtype == "int8" else float32("x", shape)
    (result,) = op.infer([x])
    if dtype == "float32":
        return one_op(op, [x], [float32("y", result)])
    return one_op(
        op,
        [x],
        [
            int8("y", result, scale * draw(st.floats(0.3, 2)), draw(ZERO_POINTS))
            if not same
            else int8("y", result, scale, zero)
        ],
    )


@given(graphs("int8"), SEEDS)
def test_int8_is_exact(graph: Graph, seed: int) -> None:
    check_exact(graph, random_inputs(graph, seed))


@given(graphs("float32"), SEEDS)
def test_float32_is_exact(graph: Graph, seed: int) -> None:
    check_exact(graph, random_inputs(graph, seed), tolerance=0.0)


def test_compiled() -> None:
    cases = sample(graphs("int8", most_axes=4)) + sample(graphs("float32", most_axes=4))
    check_compiled([(graph, [random_inputs(graph)]) for graph in cases])


@pytest.mark.parametrize("size", [1, 2, 3, 31, 32, 33, 50])
def test_many_elements(size: int) -> None:
    x = int8("x", (1, size, size, 3), 0.037, -11)
    graph = one_op(Mean((1, 2), True), [x], [int8("y", (1, 1, 1, 3), 0.0037, 5)])
    rng = np.random.default_rng(size)
    check_exact(graph, [np.clip(rng.normal(-11, 20, x.shape), -128, 127).astype(np.int8)])


def test_every_axis_and_wrong_axes() -> None:
    x = int8("x", (2, 3))
    assert Mean((0, 1)).infer([x]) == [()]
    assert Mean((-1, 1)).infer([x]) == [(2,)]
    with pytest.raises(ModelError, match="axis 2 is outside"):
        Mean((2,)).infer([x])
