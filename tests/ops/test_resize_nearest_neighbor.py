"""RESIZE_NEAREST_NEIGHBOR against TFLM and LiteRT, and its C against numpy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.ops.make import SEEDS, float32, int8
from tests.oracles import check_compiled, check_exact, one_op, random_inputs
from tinymaix.graph import Graph, ModelError, Shape
from tinymaix.ops.resize_nearest_neighbor import ResizeNearestNeighbor

SIZES = st.integers(1, 40)


def resize(op: ResizeNearestNeighbor, shape: Shape, floats: bool) -> Graph:
    make = float32 if floats else int8
    x = make("x", shape)
    return one_op(op, [x], [make("y", op.infer([x])[0])])


@given(SIZES, SIZES, SIZES, SIZES, st.booleans(), st.booleans(), st.booleans(), SEEDS)
def test_exact(h: int, w: int, out_h: int, out_w: int, align: bool, half: bool, floats: bool, seed: int) -> None:
    """LiteRT refuses both flags at once; TFLM has a meaning for it."""
    graph = resize(ResizeNearestNeighbor((out_h, out_w), align, half), (2, h, w, 2), floats)
    check_exact(graph, random_inputs(graph, seed), litert_too=not (align and half))


def test_compiled() -> None:
    graphs = [
        resize(ResizeNearestNeighbor(size, align, half), (2, 5, 7, 3), floats)
        for size in ((10, 14), (3, 2))
        for align, half in ((False, False), (True, False), (False, True))
        for floats in (False, True)
    ]
    check_compiled([(graph, [random_inputs(graph)]) for graph in graphs])


def test_an_empty_size_is_refused() -> None:
    with pytest.raises(ModelError, match="cannot be resized to 0x3"):
        ResizeNearestNeighbor((0, 3)).infer([int8("x", (1, 2, 2, 1))])
    assert np.prod(ResizeNearestNeighbor((4, 3)).infer([int8("x", (1, 2, 2, 1))])[0]) == 12
