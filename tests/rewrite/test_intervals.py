"""Intervals hold whatever a tensor holds, and are exact where a channel is simple enough to say."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings

from tests.graphs import classifier_graph, conv_graph
from tests.ops.make import SEEDS, int8
from tests.rewrite.random_graphs import random_graph, random_inputs
from tinymaix.graph import Array, Graph, Node, Quantization, Shape, Tensor
from tinymaix.ops.add import Add
from tinymaix.ops.average_pool_2d import AveragePool2D
from tinymaix.ops.base import Operator
from tinymaix.ops.concatenation import Concatenation
from tinymaix.ops.conv_2d import Conv2D
from tinymaix.ops.depthwise_conv_2d import DepthwiseConv2D
from tinymaix.ops.dequantize import Dequantize
from tinymaix.ops.fully_connected import FullyConnected
from tinymaix.ops.hard_swish import HardSwish
from tinymaix.ops.maximum import Maximum
from tinymaix.ops.mean import Mean
from tinymaix.ops.minimum import Minimum
from tinymaix.ops.mul import Mul
from tinymaix.ops.pad import Pad
from tinymaix.ops.relu import Relu
from tinymaix.ops.reshape import Reshape
from tinymaix.ops.softmax import Softmax
from tinymaix.rewrite.intervals import Interval, accumulated, intervals

FULL = (-128, 127)


def weights(data: Sequence[object] | Array) -> Tensor:
    array = np.array(data, np.int8)
    return Tensor("weights", array.shape, array.dtype, Quantization.of(1.0), array)


def bias(*values: int) -> Tensor:
    return Tensor("bias", (len(values),), np.dtype(np.int32), None, np.array(values, np.int32))


def known(op: Operator, *inputs: Tensor, zero_point: int = 0, scale: float = 1.0) -> list[tuple[int, int]]:
    """(low, high) of each channel of the operator's output. Constants named x are taken as bounds of an activation."""
    nodes, taken = list[Node](), list[Tensor]()
    for tensor in inputs:
        taken.append(tensor)
        if tensor.name == "x" and tensor.data is not None:
            nodes += bounded(tensor, tensor.data.reshape(-1, tensor.shape[-1]))
            taken[-1] = nodes[-1].output
    nodes.append(make(op, *taken, zero_point=zero_point, scale=scale))
    graph = Graph(nodes, [t for n in nodes for t in n.activations if t.name == "x"], [nodes[-1].output])
    found = intervals(graph)[id(nodes[-1].output)]
    return list(zip(found.low.tolist(), found.high.tolist(), strict=True))


def bounded(like: Tensor, rows: Array) -> list[Node]:
    """Nodes that clamp an input of the graph between the lowest and the highest of some rows of channels."""
    x, y, z = (int8(name, like.shape, like.q.s, like.q.z) for name in ("x", "y", "z"))
    low, high = (int8("bound", row.shape, like.q.s, like.q.z, row) for row in (rows.min(axis=0), rows.max(axis=0)))
    return [Node(Maximum(), [x, low], [y]), Node(Minimum(), [y, high], [z])]


def make(op: Operator, *inputs: Tensor, zero_point: int = 0, scale: float = 1.0) -> Node:
    return Node(op, list(inputs), [int8("y", op.infer(inputs)[0], scale, zero_point)], "node")


def map_of(*channels: tuple[int, int], shape: Shape = (1, 2, 2), scale: float = 1.0) -> Tensor:
    """A constant whose channels hold their lowest and their highest value in turn, for `known`."""
    data = np.resize(np.array(channels, np.int8).T, (*shape, len(channels)))
    return int8("x", data.shape, scale, 0, data)


@settings(max_examples=120)
@given(SEEDS)
def test_intervals_hold_every_value_of_random_graphs(seed: int) -> None:
    graph = random_graph(seed)
    known = intervals(graph)
    for k in range(3):
        (x,) = random_inputs(graph, seed + k)
        held = {id(graph.inputs[0]): x}
        for node, results in graph.steps(held):
            held.update(results)
            for key, values in results.items():
                rows = values.reshape(-1, values.shape[-1])
                assert ((known[key].low <= rows) & (rows <= known[key].high)).all(), node.name


@given(SEEDS)
def test_an_accumulator_reaches_both_ends_where_every_position_sees_all_taps(seed: int) -> None:
    rng = np.random.default_rng(seed)
    zero, data = int(rng.integers(-128, 128)), rng.integers(-127, 128, (3, 2, 2, 2), dtype=np.int8)
    offsets = rng.integers(-900, 900, 3)
    node = make(Conv2D(), int8("x", (1, 2, 2, 2), 1.0, zero), weights(data), bias(*offsets))
    found = accumulated(node, Interval.full(2))
    for channel, taps in enumerate(data.astype(np.int64)):
        lowest = np.where(taps > 0, -128, 127)
        assert found.low[channel] == ((lowest - zero) * taps).sum() + offsets[channel]
        assert found.high[channel] == ((-1 - lowest - zero) * taps).sum() + offsets[channel]


def test_inputs_are_full_and_constants_exact() -> None:
    graph = conv_graph(np.dtype(np.int8))
    found = intervals(graph)
    assert set(found[id(graph.inputs[0])].low) == {-128}
    assert set(found[id(graph.inputs[0])].high) == {127}
    data = graph.nodes[0].input(1).data
    assert data is not None
    assert found[id(graph.nodes[0].input(1))].low.tolist() == data.reshape(-1, 3).min(axis=0).tolist()


def test_float_tensors_have_no_interval() -> None:
    assert intervals(conv_graph(np.dtype(np.float32))) == {}


def test_an_unknown_operator_gives_the_full_range() -> None:
    graph = classifier_graph()
    found = intervals(graph)
    assert isinstance(graph.nodes[-1].op, Softmax)
    assert found[id(graph.outputs[0])].low.tolist() == [-128] * 5
    assert found[id(graph.nodes[0].output)].low.min() >= graph.nodes[0].output.q.z  # its relu


def test_a_node_that_is_not_exact_gives_the_full_range() -> None:
    x, zeros = int8("x", (1, 2, 2, 1), 1.0), weights([[[[0]]]])
    assert known(Conv2D(), x, zeros, bias(3)) == [(3, 3)]
    zeros.quantization = Quantization.of(1.0, 5)
    assert known(Conv2D(), x, zeros, bias(3)) == [FULL]


def test_zero_weights_leave_the_bias_and_a_clamp_can_leave_one_value() -> None:
    x = int8("x", (1, 1, 1, 1), 1.0)
    assert known(Conv2D(), x, weights([[[[0]]], [[[1]]], [[[0]]]]), bias(7, 500, -9)) == [(7, 7), (127, 127), (-9, -9)]
    assert known(Conv2D(activation="relu"), x, weights([[[[1]]]]), bias(-200), zero_point=10) == [(10, 10)]


def test_groups_read_their_own_channels() -> None:
    x = map_of((1, 1), (2, 3), (0, 0), (5, 5))
    data = weights([[[[1, 1]]], [[[1, -1]]], [[[1, 1]]], [[[0, 2]]]])
    assert known(Conv2D(), x, data) == [(3, 4), (-2, -1), (5, 5), (10, 10)]
    assert known(DepthwiseConv2D(), x, weights([[[[1, 2, 3, 4, 5, 6, 7, -1]]]])) == [
        (1, 1), (2, 2), (6, 9), (8, 12), (0, 0), (0, 0), (35, 35), (-5, -5)
    ]  # fmt: skip


def test_padding_joins_the_positions_that_see_it() -> None:
    row = int8("x", (1, 1, 3, 1), 1.0, 4, np.full((1, 1, 3, 1), 14, np.int8))
    taps = weights([[[[1], [2], [3]]]])
    assert known(Conv2D(), row, taps) == [(60, 60)]
    assert known(Conv2D(padding=(0, 0, 1, 1)), row, taps) == [(30, 60)]
    assert known(Conv2D(padding=(0, 0, 2, 0)), row, taps) == [(30, 60)]
    assert known(Conv2D(padding=(1, 0, 0, 0)), row, taps) == [(0, 60)]
    assert known(Conv2D(padding=(0, 0, 1, 1)), row, weights([[[[0], [2], [0]]]])) == [(20, 20)]


def test_columns_of_a_fully_connected_layer_repeat_the_channels() -> None:
    x = map_of((1, 1), (2, 4))
    assert known(FullyConnected(), x, weights([[1, 0] * 4, [0, 1] * 4, [1, -1, 0, 0] * 2])) == [
        (4, 4),
        (8, 16),
        (-6, -2),
    ]
    assert known(FullyConnected(), x, weights([[1]])) == [(1, 4)]


@pytest.mark.parametrize(("width", "low"), [(2, [0, 1]), (4, [0, 1, 0, 1]), (1, [0]), (3, [0, 0, 0])])
def test_as_rows(width: int, low: list[int]) -> None:
    assert Interval(np.array([0, 1]), np.array([5, 6])).as_rows(width).low.tolist() == low


def test_operators_of_two_operands_are_extreme_at_corners() -> None:
    a, b = map_of((-3, 4), (2, 2)), map_of((-5, 2), (7, 7))
    assert known(Add(), a, b) == [(-8, 6), (9, 9)]
    assert known(Mul(), a, b) == [(-20, 15), (14, 14)]
    assert known(Mul(), a, map_of((-2, 1))) == [(-8, 6), (-4, 2)]
    assert known(Mul(), map_of((-2, 1), shape=(2,)), a) == [(-8, 6), (-4, 2)]


def test_scales_that_could_leave_32_bits_give_the_full_range() -> None:
    a, b = map_of((2, 2), scale=2.0**9), map_of((3, 3), scale=2.0**9)
    assert known(Mul(), a, b) == [FULL]
    assert known(Mul(), a, b, scale=2.0**18) == [(6, 6)]
    assert known(Mean((1, 2)), a, scale=2.0**-5) == [FULL]
    x = int8("x", (1, 1, 1, 1), 1.0)
    assert known(Conv2D(), x, weights([[[[0]]]]), bias(5), scale=2.0**-30) == [FULL]


def test_a_table_need_not_be_monotone() -> None:
    assert known(HardSwish(), map_of((-3, 0), (-30, 20), scale=0.5), scale=0.25) == [(-2, 0), (-2, 40)]
    assert known(Relu(), map_of((-3, 6), (-9, -2))) == [(0, 6), (0, 0)]


def test_pools_and_means_keep_constants() -> None:
    x = map_of((-3, -3), (1, 5), shape=(1, 3, 3))
    assert known(AveragePool2D((2, 2), (1, 1), (1, 0, 0, 1)), x) == [(-3, -3), (1, 5)]
    assert known(AveragePool2D(activation="relu"), x) == [(0, 0), (1, 5)]
    assert known(Mean((1, 2)), x) == [(-3, -3), (1, 5)]
    assert known(Mean((3,), True), x) == [(-1, 1)]


def test_moves_take_channels_along() -> None:
    x = map_of((1, 1), (2, 3))
    assert known(Reshape((1, 8)), x) == [(1, 1), (2, 3)] * 4
    assert known(Reshape((8, 1)), x) == [(1, 3)]
    assert known(Concatenation(-1), x, map_of((9, 9))) == [(1, 1), (2, 3), (9, 9)]
    assert known(Concatenation(1), x, map_of((9, 9), (1, 1))) == [(1, 9), (1, 3)]
    assert known(Pad(((0, 0), (1, 0), (0, 0), (0, 0))), x) == [(0, 1), (0, 3)]
    assert known(Pad(((0, 0), (0, 0), (0, 0), (1, 0))), x) == [(0, 0), (1, 1), (2, 3)]


def test_tensors_that_are_not_int8_end_the_analysis() -> None:
    x = int8("x", (1, 2))
    y = Tensor("y", (1, 2), np.dtype(np.float32))
    assert list(intervals(Graph([Node(Dequantize(), [x], [y])], [x], [y]))) == [id(x)]
