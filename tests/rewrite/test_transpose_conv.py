"""TRANSPOSE_CONV as convolutions: the same bytes, and no more memory where there shall be no more."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.ops.make import SEEDS
from tests.ops.test_transpose_conv import SMALL, transposed
from tests.ops.test_wide import layers
from tests.oracles import random_inputs
from tinymaix.graph import Graph
from tinymaix.rewrite.transpose_conv import as_convolutions


def kinds(graph: Graph) -> list[str]:
    return [node.op.kind for node in graph.nodes]


@given(SMALL.flatmap(lambda stride: transposed("int8", (stride, stride))), SEEDS)
def test_int8_keeps_its_bytes(graph: Graph, seed: int) -> None:
    inputs = random_inputs(graph, seed)
    found = as_convolutions(graph, "speed", zeros=True)
    assert "TRANSPOSE_CONV" not in kinds(found)
    assert np.array_equal(found.run(inputs)[0], graph.run(inputs)[0])


@given(transposed("int8"), st.sampled_from(["speed", "balanced", "ram", "flash"]), st.booleans(), SEEDS)
def test_any_stride_and_aim_keeps_the_bytes(graph: Graph, optimize: str, zeros: bool, seed: int) -> None:
    inputs = random_inputs(graph, seed)
    assert np.array_equal(as_convolutions(graph, optimize, zeros).run(inputs)[0], graph.run(inputs)[0])


@given(transposed("float32", (2, 2)), SEEDS)
def test_floats_stay_close(graph: Graph, seed: int) -> None:
    inputs = random_inputs(graph, seed)
    np.testing.assert_allclose(
        as_convolutions(graph, "speed", zeros=True).run(inputs)[0], graph.run(inputs)[0], atol=1e-5
    )


@pytest.mark.parametrize("index", [-1, -2])
def test_int16_keeps_its_bytes(index: int) -> None:
    graph = layers(np.random.default_rng(0))[index]
    inputs = random_inputs(graph)
    found = as_convolutions(graph, "speed", zeros=True)
    assert kinds(found)[:2] == ["CONV_2D", "DEPTH_TO_SPACE"]
    assert np.array_equal(found.run(inputs)[0], graph.run(inputs)[0])


@pytest.mark.parametrize("optimize", ["balanced", "ram", "flash"])
def test_nothing_is_spent_where_it_shall_be_saved(optimize: str) -> None:
    graph = layers(np.random.default_rng(0))[-1]  # 3x3 with stride 2: of 16 taps 7 would be zeros
    assert kinds(as_convolutions(graph, optimize, zeros=True)) == ["TRANSPOSE_CONV"]
    assert kinds(as_convolutions(graph, "speed")) == ["TRANSPOSE_CONV"]
