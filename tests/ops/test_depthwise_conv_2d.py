"""DEPTHWISE_CONV_2D against TFLM and LiteRT: depth multiplier, strides, dilation, padding, activations."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.ops.make import (
    ACTIVATIONS,
    SEEDS,
    ZERO_POINTS,
    bias_int32,
    float32,
    int8,
    output_scale,
    sample,
    weights_int8,
)
from tests.oracles import check_compiled, check_exact, one_op, random_inputs
from tinymaix.graph import Graph, ModelError
from tinymaix.ops.depthwise_conv_2d import DepthwiseConv2D
from tinymaix.ops.window import padding_of

SMALL = st.integers(1, 3)


@st.composite
def convolutions(draw: st.DrawFn, dtype: str) -> Graph:
    rng = np.random.default_rng(draw(SEEDS))
    kernel, stride, dilation = (draw(st.tuples(SMALL, SMALL)) for _ in range(3))
    in_c, multiplier = draw(st.integers(1, 4)), draw(SMALL)
    height, width = (dilation[i] * (kernel[i] - 1) + draw(st.integers(1, 5)) for i in range(2))
    shape = draw(st.integers(1, 2)), height, width, in_c
    padding = padding_of(draw(st.integers(0, 1)), shape, kernel, stride, dilation)
    op = DepthwiseConv2D(stride, dilation, padding, draw(ACTIVATIONS))
    out_c = in_c * multiplier
    weight_shape = 1, *kernel, out_c
    sums = kernel[0] * kernel[1]
    if dtype == "float32":
        x = float32("x", shape)
        weights = float32("weights", weight_shape, rng.uniform(-1, 1, weight_shape))
        bias = float32("bias", (out_c,), rng.uniform(-1, 1, out_c))
        y = float32("y", op.infer([x, weights])[0])
    else:
        x = int8("x", shape, 0.05, draw(ZERO_POINTS))
        weights = weights_int8(rng, weight_shape, draw(st.sampled_from([1, out_c])), axis=3)
        bias = bias_int32(rng, x, weights, out_c, sums)
        y = int8("y", op.infer([x, weights])[0], output_scale(x, weights, sums), draw(ZERO_POINTS))
    return one_op(op, [x, weights, bias if draw(st.booleans()) else None], [y])


@given(convolutions("int8"), SEEDS)
def test_int8_is_exact(graph: Graph, seed: int) -> None:
    check_exact(graph, random_inputs(graph, seed))


@given(convolutions("float32"), SEEDS)
def test_float32(graph: Graph, seed: int) -> None:
    check_exact(graph, random_inputs(graph, seed))


def test_compiled() -> None:
    cases = sample(convolutions("int8")) + sample(convolutions("float32"))
    check_compiled([(graph, [random_inputs(graph)]) for graph in cases])


@pytest.mark.parametrize("weights", [(2, 3, 3, 4), (1, 3, 3, 6), (1, 5, 5, 4), (3, 3, 4)])
def test_shapes_that_do_not_fit(weights: tuple[int, ...]) -> None:
    with pytest.raises(ModelError, match=r"do not fit|does not fit|four dimensions"):
        DepthwiseConv2D().infer([int8("x", (1, 4, 4, 4)), int8("weights", weights)])


def test_macs() -> None:
    x, weights = int8("x", (1, 4, 4, 2)), weights_int8(np.random.default_rng(0), (1, 3, 3, 4), axis=3)
    graph = one_op(DepthwiseConv2D(), [x, weights], [int8("y", (1, 2, 2, 4))])
    assert graph.macs == 2 * 2 * 4 * 9
