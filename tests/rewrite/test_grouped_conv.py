"""Convolutions in groups as convolutions without: the same bytes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.ops.make import SEEDS, bias_int32, int8, output_scale, weighted, weights_int8
from tests.oracles import check_compiled, one_op, random_inputs
from tinymaix.graph import Graph
from tinymaix.ops.conv_2d import Conv2D
from tinymaix.rewrite.grouped_conv import without_groups


@st.composite
def grouped(draw: st.DrawFn, dtype: str = "int8") -> Graph:
    rng = np.random.default_rng(draw(SEEDS))
    groups, group_c, out_c = draw(st.integers(2, 4)), draw(st.integers(1, 3)), draw(st.integers(1, 3))
    x_shape, weight_shape = (1, 5, 4, groups * group_c), (groups * out_c, 3, 2, group_c)
    op = Conv2D((1, 2), (1, 1), (1, 1, 0, 1), draw(st.sampled_from(["none", "relu6"])))
    return weighted(draw, rng, op, dtype, x_shape, weight_shape)


@given(grouped(), SEEDS)
def test_int8_keeps_its_bytes(graph: Graph, seed: int) -> None:
    inputs = random_inputs(graph, seed)
    found = without_groups(graph, "balanced")
    assert all(node.input(0).shape[3] == node.input(1).shape[3] for node in found.nodes if isinstance(node.op, Conv2D))
    assert np.array_equal(found.run(inputs)[0], graph.run(inputs)[0])


@given(grouped("float32"), SEEDS)
def test_floats_stay_close(graph: Graph, seed: int) -> None:
    inputs = random_inputs(graph, seed)
    np.testing.assert_allclose(without_groups(graph, "speed").run(inputs)[0], graph.run(inputs)[0], atol=1e-5)


@pytest.mark.parametrize("optimize", ["ram", "flash"])
@given(graph=grouped())
def test_channels_are_not_copied_where_memory_shall_be_saved(optimize: str, graph: Graph) -> None:
    found = [node.op.kind for node in without_groups(graph, optimize).nodes]
    assert found == ["DEPTHWISE_CONV_2D" if graph.nodes[0].input(1).shape[3] == 1 else "CONV_2D"]


def test_compiled() -> None:
    rng = np.random.default_rng(3)
    x, weights = int8("x", (2, 4, 4, 6), 0.05, 5), weights_int8(rng, (9, 3, 3, 2), 9)
    bias = bias_int32(rng, x, weights, 9, 18)
    y = int8("y", (2, 2, 2, 9), output_scale(x, weights, 18))
    graph = one_op(Conv2D(), [x, weights, bias], [y])
    check_compiled([(graph, [random_inputs(graph, seed) for seed in range(3)])])
