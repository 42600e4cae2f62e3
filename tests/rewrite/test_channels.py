"""Channels that are constant or unread go, the others hold what they held, and no output changes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings

import tinymaix
from tests.conftest import MODELS, load_reference
from tests.graphs import classifier_graph, conv_graph
from tests.ops.make import SEEDS, int8
from tests.oracles import expect_same
from tests.rewrite.random_graphs import is_part, random_graph, random_inputs, values
from tinymaix.graph import Array, Graph, Node, Quantization, Shape, Tensor
from tinymaix.ops.add import Add
from tinymaix.ops.average_pool_2d import AveragePool2D
from tinymaix.ops.base import Operator
from tinymaix.ops.concatenation import Concatenation
from tinymaix.ops.conv_2d import Conv2D
from tinymaix.ops.depthwise_conv_2d import DepthwiseConv2D
from tinymaix.ops.fully_connected import FullyConnected
from tinymaix.ops.pad import Pad
from tinymaix.ops.reshape import Reshape
from tinymaix.ops.softmax import Softmax
from tinymaix.rewrite.channels import drop_constant_channels


class Chain:
    """A graph that grows at its end, with scale 1 and zero point 0 everywhere."""

    def __init__(self, *shape: int) -> None:
        self.x = int8("x", shape, 1.0)
        self.nodes: list[Node] = []

    def add(self, op: Operator, *inputs: Tensor | None) -> Tensor:
        y = int8(f"t{len(self.nodes)}", op.infer(inputs)[0], 1.0)
        self.nodes.append(Node(op, list(inputs), [y], y.name))
        return y

    def layer(self, op: Operator, x: Tensor, data: Array, *bias: int) -> Tensor:
        weights = Tensor("w", data.shape, np.dtype(np.int8), Quantization.of(1.0), data.astype(np.int8))
        biases = Tensor("b", (len(bias),), np.dtype(np.int32), None, np.array(bias, np.int32)) if bias else None
        return self.add(op, x, weights, biases)

    def pruned(self, *outputs: Tensor) -> Graph:
        """The graph without constant channels, checked to hold the same values where it holds any."""
        graph = Graph(self.nodes, [self.x], list(outputs))
        pruned = drop_constant_channels(graph)
        for seed in range(8):
            expect_parts(graph, pruned, random_inputs(graph, seed))
        return pruned


def expect_parts(graph: Graph, pruned: Graph, inputs: list[Array]) -> None:
    before, after = values(graph, inputs), values(pruned, inputs)
    for tensor in graph.outputs:
        np.testing.assert_array_equal(after[tensor.name], before[tensor.name])
    for name, held in after.items():
        assert is_part(held, before[name]), name


def shapes(graph: Graph) -> list[Shape]:
    return [node.output.shape for node in graph.nodes]


def bias_of(node: Node) -> list[int] | None:
    bias = node.optional(2)
    return None if bias is None or bias.data is None else [int(value) for value in bias.data]


def ones(*shape: int, zero: int | None = None) -> Array:
    """Weights of one; output channel ``zero`` has none."""
    data = np.ones(shape, np.int8)
    if zero is not None:
        data[zero] = 0
    return data


def expect_valid(graph: Graph) -> None:
    for node in graph.nodes:
        assert node.op.infer(node.inputs) == [t.shape for t in node.outputs], node.name
        assert node.op.problems(node) == []
        assert all(t.data is None or t.data.shape == t.shape for t in node.present)


@settings(max_examples=150)
@given(SEEDS)
def test_random_graphs_keep_their_outputs_and_what_stays_keeps_its_values(seed: int) -> None:
    graph = random_graph(seed)
    before = [t.data.copy() for t in graph.constants if t.data is not None]
    pruned = drop_constant_channels(graph)
    for data, tensor in zip(before, graph.constants, strict=True):
        np.testing.assert_array_equal(data, tensor.data)
    expect_valid(pruned)
    assert all(t.elements > 0 for t in pruned.tensors)
    assert [t.shape for t in pruned.outputs] == [t.shape for t in graph.outputs]
    for k in range(3):
        expect_parts(graph, pruned, random_inputs(graph, seed + k))
    again = drop_constant_channels(pruned)
    assert (again.nodes, again.notes) == (pruned.nodes, pruned.notes)


def test_a_constant_channel_goes_into_the_bias_of_its_reader() -> None:
    chain = Chain(1, 3, 3, 2)
    middle = chain.layer(Conv2D(), chain.x, ones(3, 1, 1, 2, zero=1), 1, 9, 3)
    pruned = chain.pruned(chain.layer(Conv2D(), middle, 2 * ones(2, 2, 2, 3), 100, 200))
    assert shapes(pruned) == [(1, 3, 3, 2), (1, 2, 2, 2)]
    first, second = pruned.nodes
    assert bias_of(first) == [1, 3]
    assert bias_of(second) == [100 + 4 * 2 * 9, 200 + 4 * 2 * 9]


def test_a_reader_without_bias_gets_one_only_where_something_is_added() -> None:
    for value, biases in ((9, [36, 36]), (0, None)):
        chain = Chain(1, 3, 3, 2)
        middle = chain.layer(Conv2D(), chain.x, ones(3, 1, 1, 2, zero=1), 1, value, 3)
        pruned = chain.pruned(chain.layer(Conv2D(), middle, ones(2, 2, 2, 3)))
        assert bias_of(pruned.nodes[1]) == biases


@pytest.mark.parametrize(("value", "channels"), [(9, 3), (0, 2)])
def test_padding_keeps_a_constant_that_is_not_the_zero_point(value: int, channels: int) -> None:
    chain = Chain(1, 3, 3, 2)
    middle = chain.layer(Conv2D(), chain.x, ones(3, 1, 1, 2, zero=1), 1, value, 3)
    pruned = chain.pruned(chain.layer(Conv2D(padding=(1, 1, 1, 1)), middle, ones(2, 3, 3, 3), 5, 6))
    assert shapes(pruned)[0] == (1, 3, 3, channels)


def test_padding_that_no_weight_sees_keeps_nothing() -> None:
    chain = Chain(1, 3, 3, 2)
    middle = chain.layer(Conv2D(), chain.x, ones(3, 1, 1, 2, zero=1), 1, 9, 3)
    data = ones(2, 3, 3, 3)
    data[:, [0, 0, 0, 1, 1, 2, 2, 2], [0, 1, 2, 0, 2, 0, 1, 2], 1] = 0
    pruned = chain.pruned(chain.layer(Conv2D(padding=(1, 1, 1, 1)), middle, data, 5, 6))
    assert shapes(pruned)[0] == (1, 3, 3, 2)
    assert bias_of(pruned.nodes[1]) == [14, 15]


@pytest.mark.parametrize("padded", [False, True])
def test_a_constant_goes_through_depthwise_layers_that_do_not_pad_it(padded: bool) -> None:
    chain = Chain(1, 4, 4, 2)
    middle = chain.layer(Conv2D(), chain.x, ones(3, 1, 1, 2, zero=1), 1, 9, 3)
    depthwise = DepthwiseConv2D(padding=(0, 1, 0, 1) if padded else (0, 0, 0, 0))
    middle = chain.layer(depthwise, middle, ones(1, 2, 2, 6), *range(6))
    pruned = chain.pruned(chain.layer(Conv2D(), middle, ones(2, 1, 1, 6)))
    assert shapes(pruned)[1] == ((1, 4, 4, 6) if padded else (1, 3, 3, 4))


def test_a_depthwise_layer_that_makes_a_constant_frees_its_input() -> None:
    chain = Chain(1, 4, 4, 2)
    middle = chain.layer(Conv2D(), chain.x, ones(3, 1, 1, 2), 1, 9, 3)
    taps = ones(1, 3, 3, 3)
    taps[..., 1] = 0
    middle = chain.layer(DepthwiseConv2D(padding=(1, 1, 1, 1)), middle, taps, 0, 50, 0)
    pruned = chain.pruned(chain.layer(Conv2D(), middle, ones(2, 1, 1, 3), 1, 2))
    assert shapes(pruned)[:2] == [(1, 4, 4, 2)] * 2
    assert bias_of(pruned.nodes[2]) == [51, 52]


def test_outputs_of_a_depthwise_layer_with_one_input_channel_go_one_by_one() -> None:
    chain = Chain(1, 4, 4, 1)
    taps = ones(1, 2, 2, 3)
    taps[..., 2] = 0
    middle = chain.layer(DepthwiseConv2D(), chain.x, taps, 1, 2, 3)
    pruned = chain.pruned(chain.layer(Conv2D(), middle, ones(2, 1, 1, 3)))
    assert shapes(pruned)[0] == (1, 3, 3, 2)


@pytest.mark.parametrize(("zero", "channels"), [(1, 2), (2, 3)])
def test_a_sum_loses_a_channel_that_is_constant_in_both_operands(zero: int, channels: int) -> None:
    chain = Chain(1, 3, 3, 2)
    a = chain.layer(Conv2D(), chain.x, ones(3, 1, 1, 2, zero=1), 1, 9, 3)
    b = chain.layer(Conv2D(), chain.x, 2 * ones(3, 1, 1, 2, zero=zero), 1, 5, 3)
    pruned = chain.pruned(chain.layer(Conv2D(), chain.add(Add(), a, b), ones(2, 1, 1, 3)))
    assert shapes(pruned)[:3] == [(1, 3, 3, channels)] * 3


@pytest.mark.parametrize("other", [(3,), (1,), (1, 3, 3, 3)])
def test_what_nothing_reads_goes_through_sums_with_constants(other: Shape) -> None:
    chain = Chain(1, 3, 3, 2)
    a = chain.layer(Conv2D(), chain.x, ones(3, 1, 1, 2), 1, 9, 3)
    constant = int8("constant", other, 1.0, 0, np.arange(np.prod(other)).reshape(other).astype(np.int8))
    total = chain.add(Add(), a, constant)
    pruned = chain.pruned(chain.layer(Conv2D(), total, np.moveaxis(ones(3, 1, 1, 2, zero=0), 0, 3)))
    assert shapes(pruned)[:2] == [(1, 3, 3, 2)] * 2
    expect_valid(pruned)


def test_a_branch_that_needs_a_channel_keeps_it_for_all() -> None:
    chain = Chain(1, 3, 3, 2)
    middle = chain.layer(Conv2D(), chain.x, ones(3, 1, 1, 2, zero=1), 1, 9, 3)
    free = chain.layer(Conv2D(), middle, ones(2, 1, 1, 3))
    bound = chain.layer(Conv2D(padding=(1, 1, 1, 1)), middle, ones(2, 3, 3, 3))
    assert shapes(chain.pruned(free, bound)) == shapes(Graph(chain.nodes, [], []))


def test_unread_channels_go_back_through_the_graph() -> None:
    chain = Chain(1, 3, 3, 2)
    first = chain.layer(Conv2D(), chain.x, ones(3, 1, 1, 2), 1, 9, 3)
    second = np.ones((2, 1, 1, 3))
    second[0, ..., 2] = 0  # only output 1 reads channel 2, and nothing reads output 1
    middle = chain.layer(Conv2D(padding=(1, 1, 1, 1)), first, second, 1, 2)
    third = np.ones((2, 1, 1, 2))
    third[..., 1] = 0
    pruned = chain.pruned(chain.layer(Conv2D(), middle, third))
    assert shapes(pruned) == [(1, 3, 3, 2), (1, 5, 5, 1), (1, 5, 5, 2)]


@pytest.mark.parametrize("way", ["reshape", "map", "pool"])
def test_columns_of_a_fully_connected_layer_go(way: str) -> None:
    chain = Chain(1, 2, 2, 2)
    x = chain.layer(Conv2D(), chain.x, ones(3, 1, 1, 2, zero=1), 1, 9, 3)
    if way == "pool":
        x = chain.add(AveragePool2D((2, 2)), x)
    if way != "map":
        x = chain.add(Reshape((1, x.elements)), x)
    data = np.arange(2 * x.elements).reshape(2, -1)
    pruned = chain.pruned(chain.layer(FullyConnected(), x, data, 5, 6))
    last = pruned.nodes[-1]
    assert last.input(1).shape == (2, x.elements * 2 // 3)
    assert bias_of(last) == ([5, 6] + 9 * data[:, 1::3].sum(axis=1)).tolist()
    expect_valid(pruned)


def test_a_concatenation_loses_channels_of_each_input() -> None:
    chain = Chain(1, 3, 3, 2)
    a = chain.layer(Conv2D(), chain.x, ones(3, 1, 1, 2, zero=1), 1, 9, 3)
    b = chain.layer(Conv2D(), chain.x, ones(2, 1, 1, 2, zero=0), 1, 9)
    pruned = chain.pruned(chain.layer(Conv2D(), chain.add(Concatenation(-1), a, b), ones(2, 1, 1, 5)))
    assert shapes(pruned)[:3] == [(1, 3, 3, 2), (1, 3, 3, 1), (1, 3, 3, 3)]


def test_outputs_and_what_unknown_operators_read_stay() -> None:
    chain = Chain(1, 3, 3, 2)
    first = chain.layer(Conv2D(), chain.x, ones(3, 1, 1, 2, zero=1), 1, 9, 3)
    second = chain.layer(Conv2D(), first, ones(3, 1, 1, 3, zero=1), 1, 9, 3)
    third = chain.layer(Conv2D(), second, ones(3, 1, 1, 3, zero=1), 1, 9, 3)
    chain.nodes.append(Node(Softmax(), [third], [int8("y", third.shape, 1 / 256, -128)]))
    pruned = chain.pruned(first, chain.nodes[-1].output)
    assert shapes(pruned) == [(1, 3, 3, 3), (1, 3, 3, 2), (1, 3, 3, 3), (1, 3, 3, 3)]


def test_groups_stay_as_they_are() -> None:
    chain = Chain(1, 3, 3, 2)
    middle = chain.layer(Conv2D(), chain.x, ones(4, 1, 1, 2, zero=1), 1, 9, 3, 4)
    middle = chain.layer(Conv2D(), middle, ones(4, 1, 1, 2, zero=1), 1, 9, 3, 4)
    assert shapes(chain.pruned(chain.layer(Conv2D(), middle, ones(1, 1, 1, 4))))[:2] == [(1, 3, 3, 4)] * 2


def test_one_channel_stays_of_a_constant_tensor() -> None:
    chain = Chain(1, 3, 3, 2)
    middle = chain.layer(Conv2D(), chain.x, np.zeros((3, 1, 1, 2)), 1, 9, 3)
    middle = chain.add(Pad(((0, 0), (1, 1), (0, 0), (0, 0))), middle)
    pruned = chain.pruned(chain.layer(Conv2D(), middle, np.zeros((2, 1, 1, 3)), 4, 5))
    assert shapes(pruned) == [(1, 3, 3, 1), (1, 5, 3, 1), (1, 5, 3, 2)]


def test_scales_of_the_channels_that_stay() -> None:
    chain = Chain(1, 3, 3, 2)
    middle = chain.layer(Conv2D(), chain.x, ones(2, 1, 1, 2, zero=0), 1, 9)
    chain.nodes[0].input(1).quantization = Quantization.of([0.5, 0.25])
    last = chain.layer(Conv2D(), middle, ones(2, 1, 1, 2), 1, 9)
    chain.nodes[1].input(1).quantization = Quantization.of([0.5, 0.25])
    first, second = chain.pruned(last).nodes
    assert first.input(1).q.scale.tolist() == [0.25]
    assert second.input(1).q.scale.tolist() == [0.5, 0.25]


def test_a_bias_of_another_shape_is_taken_as_a_row() -> None:
    chain = Chain(1, 3, 3, 2)
    middle = chain.layer(Conv2D(), chain.x, ones(3, 1, 1, 2, zero=1), 1, 9, 3)
    bias = chain.nodes[0].input(2)
    assert bias.data is not None
    bias.shape, bias.data = (1, 1, 1, 3), bias.data.reshape(1, 1, 1, 3)
    pruned = chain.pruned(chain.layer(Conv2D(), middle, ones(2, 1, 1, 3), 1, 2))
    assert [bias_of(node) for node in pruned.nodes] == [[1, 3], [10, 11]]


def test_a_note_says_what_remains() -> None:
    chain = Chain(1, 3, 3, 2)
    middle = chain.layer(Conv2D(), chain.x, ones(2, 1, 1, 2, zero=1), 1, 9)
    graph = Graph(chain.nodes, [chain.x], [chain.layer(Conv2D(), middle, ones(2, 1, 1, 2))], notes=["before"])
    pruned = drop_constant_channels(graph)
    assert pruned.notes[0] == "before"
    assert "36 of 72 MACs" in pruned.notes[1]
    assert "4 of 8 weight bytes" in pruned.notes[1]
    assert graph.notes == ["before"]


@pytest.mark.parametrize("graph", [conv_graph(np.dtype(np.float32)), classifier_graph()])
def test_a_graph_without_such_channels_stays_and_gets_no_note(graph: Graph) -> None:
    pruned = drop_constant_channels(graph)
    assert pruned is not graph
    assert (pruned.nodes, pruned.notes) == (graph.nodes, [])


@pytest.mark.parametrize(
    ("model", "macs", "weight_bytes"),
    [
        ("mlperf_tiny/models/vww/vww_96_int8", 3_727_313, 29_066),
        ("zoo/tinyengine__vww", 10_931_325, 394_626),
        ("zoo/openmv__fomo_face_detection", 5_507_712, 17_050),
    ],
)
def test_real_models_shrink_and_keep_their_golden_outputs(
    shared: Path, model: str, macs: int, weight_bytes: int
) -> None:
    path = MODELS / f"{model}.tflite"
    pruned = drop_constant_channels(tinymaix.read(path))
    assert pruned.macs == macs
    assert f"{weight_bytes:,} of" in pruned.notes[-1]
    expect_valid(pruned)
    for inputs, outputs in load_reference(path):
        expect_same(pruned.run(inputs), outputs, model)


@pytest.mark.parametrize(
    "model",
    [
        "mlperf_tiny/models/kws/kws_ref_model",
        "mlperf_tiny/models/ic/pretrainedResnet_quant",
        "mlperf_tiny/models/ad/ad01_int8",
        "tinymaix/tflite/cifar10_q",
    ],
)
def test_real_models_without_such_channels_stay(shared: Path, model: str) -> None:
    graph = tinymaix.read(MODELS / f"{model}.tflite")
    assert drop_constant_channels(graph).nodes == graph.nodes
