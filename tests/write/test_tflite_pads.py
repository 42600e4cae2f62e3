"""Padding that a .tflite cannot say is written as a PAD: TFLM and LiteRT then give the bytes of the graph."""

from __future__ import annotations

import numpy as np
import pytest

from tests.ops.make import bias_int32, float32, int8, output_scale, weights_int8
from tests.oracles import check_exact, one_op, random_inputs
from tinymaix.graph import Graph, ModelError
from tinymaix.ops.average_pool_2d import AveragePool2D
from tinymaix.ops.conv_2d import Conv2D
from tinymaix.ops.depthwise_conv_2d import DepthwiseConv2D
from tinymaix.ops.max_pool_2d import MaxPool2D
from tinymaix.ops.transpose_conv import TransposeConv
from tinymaix.read import read_bytes
from tinymaix.rewrite import simplify
from tinymaix.write.tflite import tflite_bytes

ODD = (1, 1, 1, 1)  # SAME pads an even size with a stride of 2 at one side only


def weighted(op: Conv2D | DepthwiseConv2D | TransposeConv, axis: int, kernel: int = 3) -> Graph:
    rng = np.random.default_rng(0)
    x = int8("x", (1, 6, 6, 4), 0.05, -7)
    shape = (1, kernel, kernel, 4) if axis == 3 else (4, kernel, kernel, 4)
    w = weights_int8(rng, shape, 4, axis)
    bias = bias_int32(rng, x, w, 4, 36)
    y = int8("y", op.infer([x, w, bias])[0], output_scale(x, w, 36), 3)
    return one_op(op, [x, w, bias], [y])


CASES = {
    "conv": lambda: weighted(Conv2D((2, 2), (1, 1), ODD), 0),
    "depthwise": lambda: weighted(DepthwiseConv2D((2, 2), (1, 1), ODD), 3),
    "transpose_conv": lambda: weighted(TransposeConv((9, 9), (2, 2), (2, 2, 2, 2)), 0),
    "max_pool": lambda: one_op(
        MaxPool2D((3, 3), (2, 2), ODD), [int8("x", (1, 6, 6, 4), 0.1, 5)], [int8("y", (1, 3, 3, 4), 0.1, 5)]
    ),
    "average_pool": lambda: one_op(
        AveragePool2D((3, 3), (2, 2), ODD), [int8("x", (1, 6, 6, 4), 0.1, 5)], [int8("y", (1, 3, 3, 4), 0.1, 5)]
    ),
    "tall_average_pool": lambda: one_op(
        AveragePool2D((5, 2), (3, 2), (2, 1, 0, 1)), [int8("x", (2, 8, 5, 3), 0.1)], [int8("y", (2, 3, 3, 3), 0.1)]
    ),
    "float_max_pool": lambda: one_op(
        MaxPool2D((3, 3), (2, 2), ODD), [float32("x", (1, 6, 6, 4))], [float32("y", (1, 3, 3, 4))]
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_same_bytes(name: str) -> None:
    graph = CASES[name]()
    assert any(graph.nodes[0].op.padding)  # type: ignore[attr-defined]
    check_exact(graph, random_inputs(graph))


def test_read_back_and_simplified_it_is_the_same_layer() -> None:
    graph = CASES["conv"]()
    back = simplify(read_bytes(tflite_bytes(graph), "x"))
    assert [node.op for node in back.nodes] == [graph.nodes[0].op]


def test_a_mean_over_more_than_half_a_window_of_padding_has_no_spelling() -> None:
    x, y = int8("x", (1, 6, 6, 4)), int8("y", (1, 4, 4, 4))
    with pytest.raises(ModelError, match="neither SAME nor VALID"):
        tflite_bytes(one_op(AveragePool2D((3, 3), (2, 2), (2, 2, 2, 2)), [x], [y]))
