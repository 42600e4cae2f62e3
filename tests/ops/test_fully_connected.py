"""FULLY_CONNECTED against TFLM, and LiteRT for floats (it rounds int8 once): batches, ranks, per channel."""

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
from tinymaix.graph import Graph, ModelError, Quantization
from tinymaix.ops.fixed_point import quantize_multiplier, requantize
from tinymaix.ops.fully_connected import FullyConnected


@st.composite
def layers(draw: st.DrawFn, dtype: str) -> Graph:
    rng = np.random.default_rng(draw(SEEDS))
    in_c, out_c = draw(st.integers(1, 40)), draw(st.integers(1, 8))
    shape = draw(st.sampled_from([(in_c,), (1, in_c), (3, in_c), (2, 3, in_c), (1, 2, 2, in_c)]))
    op = FullyConnected(draw(ACTIVATIONS), len(shape) > 1 and draw(st.booleans()))
    if dtype == "float32":
        x = float32("x", shape)
        weights = float32("weights", (out_c, in_c), rng.uniform(-1, 1, (out_c, in_c)))
        bias = float32("bias", (out_c,), rng.uniform(-1, 1, out_c))
        y = float32("y", op.infer([x, weights])[0])
    else:
        x = int8("x", shape, 0.05, draw(ZERO_POINTS))
        weights = weights_int8(rng, (out_c, in_c), draw(st.sampled_from([1, out_c])))
        bias = bias_int32(rng, x, weights, out_c, in_c)
        y = int8("y", op.infer([x, weights])[0], output_scale(x, weights, in_c), draw(ZERO_POINTS))
    return one_op(op, [x, weights, bias if draw(st.booleans()) else None], [y])


@given(layers("int8"), SEEDS)
def test_int8_is_exact(graph: Graph, seed: int) -> None:
    check_exact(graph, random_inputs(graph, seed), litert_too=False)


@given(layers("float32"), SEEDS)
def test_float32(graph: Graph, seed: int) -> None:
    check_exact(graph, random_inputs(graph, seed))


def test_compiled() -> None:
    cases = sample(layers("int8")) + sample(layers("float32"))
    check_compiled([(graph, [random_inputs(graph)]) for graph in cases])


def test_the_product_of_the_scales_is_in_double() -> None:
    """Scales and sums of which one output tells a product in float32 from one in double."""
    scale_x, scale_w = np.float32(0.123456789), np.float32(0.0031415927)
    x, y = int8("x", (256, 600), float(scale_x), -128), int8("y", (256, 1), 66.81745147705078, -128)
    weights = weights_int8(np.random.default_rng(0), (1, 600))
    weights.data = np.full((1, 600), 127, np.int8)
    weights.quantization = Quantization.of(float(scale_w))
    graph = one_op(FullyConnected(), [x, weights], [y])
    inputs = random_inputs(graph)
    check_exact(graph, inputs, litert_too=False)
    sums = ((inputs[0].astype(np.int64) + 128) * 127).sum(axis=1)
    in_float32 = requantize(sums, *quantize_multiplier(float(scale_x * scale_w) / y.q.s)) - 128
    assert (graph.run(inputs)[0].reshape(-1) != np.clip(in_float32, -128, 127)).sum() == 1


@pytest.mark.parametrize(
    ("x", "weights", "keep", "sentence"),
    [
        ((1, 5), (2, 4), False, "rows of 4"),
        ((2, 2), (2, 4), True, "rows of 4"),
        ((1, 4), (2, 2, 2), False, "two dimensions"),
    ],
)
def test_shapes_that_do_not_fit(x: tuple[int, ...], weights: tuple[int, ...], keep: bool, sentence: str) -> None:
    with pytest.raises(ModelError, match=sentence):
        FullyConnected(keep_num_dims=keep).infer([int8("x", x), int8("weights", weights)])
