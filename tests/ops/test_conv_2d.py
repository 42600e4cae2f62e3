"""CONV_2D against TFLM and LiteRT: groups, strides, dilation, padding, activations, per tensor and per channel."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.ops.make import (
    ACTIVATIONS,
    SEEDS,
    float32,
    int8,
    sample,
    weighted,
    weights_int8,
)
from tests.oracles import check_compiled, check_exact, one_op, random_inputs
from tinymaix.graph import Graph, ModelError, Quantization, Tensor
from tinymaix.ops.conv_2d import Conv2D, fused_activation
from tinymaix.ops.window import padding_of

SMALL = st.integers(1, 3)


@st.composite
def convolutions(draw: st.DrawFn, dtype: str) -> Graph:
    rng = np.random.default_rng(draw(SEEDS))
    kernel, stride, dilation = (draw(st.tuples(SMALL, SMALL)) for _ in range(3))
    groups = draw(st.sampled_from([1, 1, 1, 2]))
    in_c, out_c = groups * draw(st.integers(1, 4)), groups * draw(st.integers(1, 4))
    height, width = (dilation[i] * (kernel[i] - 1) + draw(st.integers(1, 5)) for i in range(2))
    shape = draw(st.integers(1, 2)), height, width, in_c
    padding = padding_of(draw(st.integers(0, 1)), shape, kernel, stride, dilation)
    op = Conv2D(stride, dilation, padding, draw(ACTIVATIONS))
    weight_shape = out_c, *kernel, in_c // groups
    return weighted(draw, rng, op, dtype, shape, weight_shape)


@given(convolutions("int8"), SEEDS)
def test_int8_is_exact(graph: Graph, seed: int) -> None:
    check_exact(graph, random_inputs(graph, seed))


@given(convolutions("float32"), SEEDS)
def test_float32(graph: Graph, seed: int) -> None:
    check_exact(graph, random_inputs(graph, seed))


def test_compiled() -> None:
    cases = sample(convolutions("int8")) + sample(convolutions("float32"))
    check_compiled([(graph, [random_inputs(graph)]) for graph in cases])


def test_scales_whose_product_is_rounded_in_float32() -> None:
    """The multiplier is made from the product of the scales in double; large sums show the difference."""
    rng = np.random.default_rng(5)
    x = int8("x", (1, 1, 64, 512), 0.123456789, -128)
    weights = Tensor(
        "weights",
        (4, 1, 1, 512),
        np.dtype(np.int8),
        Quantization.of(0.0031415927),
        np.full((4, 1, 1, 512), 127, np.int8),
    )
    y = int8("y", (1, 1, 64, 4), 40.0, -120)
    graph = one_op(Conv2D(), [x, weights], [y])
    check_exact(graph, [rng.integers(-128, 128, x.shape, dtype=np.int8)])


def problems_of(x: Tensor, weights: Tensor, bias: Tensor | None = None) -> str:
    op = Conv2D()
    y = Tensor("y", op.infer([x, weights])[0], x.dtype, Quantization.of(0.1, 0))
    return "\n".join(op.problems(one_op(op, [x, weights, bias], [y]).nodes[0]))


def test_problems_name_the_tensor_and_the_cure() -> None:
    rng = np.random.default_rng(0)
    x, good = int8("x", (1, 4, 4, 2)), weights_int8(rng, (3, 1, 1, 2))
    assert problems_of(x, good) == ""
    assert "'weights' are computed at run time" in problems_of(x, int8("weights", (3, 1, 1, 2)))
    assert "hybrid quantization: 'x' is float32" in problems_of(float32("x", (1, 4, 4, 2)), good)
    asymmetric = int8("weights", (3, 1, 1, 2), 0.1, 3, good.data)
    assert "use symmetric weights" in problems_of(x, asymmetric)
    assert "2 scales for 3 output channels" in problems_of(x, weights_int8(rng, (3, 1, 1, 2), 2))
    assert "constant of 3 values" in problems_of(
        x, good, Tensor("bias", (2,), np.dtype(np.int32), None, np.zeros(2, np.int32))
    )
    large = Tensor("bias", (3,), np.dtype(np.int32), None, np.array([0, 2**31 - 1, 0], np.int32))
    assert "sums with 'bias' can exceed 32 bits in channel 1" in problems_of(x, good, large)


@pytest.mark.parametrize(
    ("shape", "weights", "sentence"),
    [
        ((4, 4, 2), (3, 1, 1, 2), "four dimensions"),
        ((1, 4, 4, 3), (3, 1, 1, 2), "groups"),
        ((1, 4, 4, 2), (3, 5, 5, 2), "does not fit"),
    ],
)
def test_shapes_that_do_not_fit(shape: tuple[int, ...], weights: tuple[int, ...], sentence: str) -> None:
    with pytest.raises(ModelError, match=sentence):
        Conv2D().infer([int8("x", shape), int8("weights", weights)])


def test_missing_weights() -> None:
    with pytest.raises(ModelError, match="missing"):
        Conv2D().infer([int8("x", (1, 2, 2, 1))])


def test_unknown_fused_activation() -> None:
    with pytest.raises(ModelError, match="fused activation 4 is not supported"):
        fused_activation(4)
