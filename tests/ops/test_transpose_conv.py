"""TRANSPOSE_CONV: the reference and the C kernels against TensorFlow Lite Micro and LiteRT."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.ops.make import (
    ACTIVATIONS,
    SEEDS,
    sample,
    weighted,
)
from tests.oracles import check_compiled, check_exact, random_inputs
from tinymaix.graph import Graph
from tinymaix.ops.transpose_conv import TransposeConv
from tinymaix.ops.window import same_padding

SMALL = st.integers(1, 3)


@st.composite
def transposed(draw: st.DrawFn, dtype: str, stride: tuple[int, int] | None = None) -> Graph:
    rng = np.random.default_rng(draw(SEEDS))
    kernel = draw(st.tuples(st.integers(1, 5), st.integers(1, 5)))
    stride = stride or draw(st.tuples(SMALL, SMALL))
    inputs = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    extra = draw(st.tuples(st.integers(0, 2), st.integers(0, 2)))
    if draw(st.booleans()):  # SAME
        size = inputs[0] * stride[0], inputs[1] * stride[1]
        padding = same_padding(*size, kernel, stride)
    else:
        height, width = (
            (n - 1) * s + k + min(e, s - 1) for n, s, k, e in zip(inputs, stride, kernel, extra, strict=True)
        )
        size = height, width
        padding = (0, 0, 0, 0)
    op = TransposeConv(size, stride, padding, draw(ACTIVATIONS))
    in_c, out_c = draw(SMALL), draw(SMALL)
    shape, weight_shape = (draw(st.integers(1, 2)), *inputs, in_c), (out_c, *kernel, in_c)
    return weighted(draw, rng, op, dtype, shape, weight_shape)


@given(transposed("int8"), SEEDS)
def test_int8_is_exact(graph: Graph, seed: int) -> None:
    check_exact(graph, random_inputs(graph, seed))


@given(transposed("float32"), SEEDS)
def test_float32(graph: Graph, seed: int) -> None:
    check_exact(graph, random_inputs(graph, seed))


def test_compiled() -> None:
    """With strides that differ it is computed from the output, else as a convolution."""
    cases = sample(transposed("int8")) + sample(transposed("int8", (1, 3))) + sample(transposed("int8", (2, 2)))
    cases += sample(transposed("float32"))
    check_compiled([(graph, [random_inputs(graph)]) for graph in cases])
