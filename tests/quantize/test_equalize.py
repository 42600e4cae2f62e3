"""Equalization keeps a float network's outputs and makes the ranges of its channels alike."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.quantize.float_nets import Net, outputs, random_samples, residual_net, unequal_mobilenet
from tinymaix.graph import Array, Graph
from tinymaix.ops.average_pool_2d import AveragePool2D
from tinymaix.ops.conv_2d import Conv2D
from tinymaix.ops.depthwise_conv_2d import DepthwiseConv2D
from tinymaix.ops.fully_connected import FullyConnected
from tinymaix.ops.leaky_relu import LeakyRelu
from tinymaix.ops.logistic import Logistic
from tinymaix.ops.max_pool_2d import MaxPool2D
from tinymaix.ops.reshape import Reshape
from tinymaix.quantize.equalize import channel_ranges, equalize
from tinymaix.quantize.streams import streams


def error(a: Array, b: Array) -> float:
    """Largest difference, as a part of the largest value."""
    return float(np.abs(a - b).max() / np.abs(a).max())


def spread(graph: Graph, of: Graph) -> float:
    """The largest ratio of two channels' ranges in what ``graph``'s streams hold, over samples."""
    ranges = channel_ranges(graph, random_samples(of, 8))
    ratios = []
    for stream in streams(graph):
        low, high = ranges[id(stream.tensors[0])]
        reach = np.maximum(-low, high)
        ratios.append(reach[reach > 0].max() / reach[reach > 0].min())
    return float(max(ratios))


@pytest.mark.parametrize("per_channel", [True, False])
@pytest.mark.parametrize("measured", [True, False])
def test_a_residual_network_stays_the_same_and_its_channels_become_alike(per_channel: bool, measured: bool) -> None:
    graph = residual_net()
    samples = random_samples(graph, 8)
    equal = equalize(graph, samples if measured else None, per_channel)
    assert error(outputs(graph, samples.inputs), outputs(equal, samples.inputs)) < 1e-5
    assert spread(equal, graph) < spread(graph, graph) / 4
    assert "equalization scaled" in equal.notes[-1]


def test_relu6_clamps_what_it_clamped() -> None:
    graph, calibration, _ = unequal_mobilenet()
    before = channel_ranges(graph, calibration)
    assert any((before[id(node.output)][1] == 6).any() for node in graph.nodes)
    equal = equalize(graph, calibration)
    assert error(outputs(graph, calibration.inputs), outputs(equal, calibration.inputs)) < 1e-5
    assert max(float(high.max()) for _, high in channel_ranges(equal, calibration).values()) < 100


def test_without_samples_relu6_is_left_alone() -> None:
    graph = residual_net(activation="relu6")
    other = random_samples(graph, 8, seed=9)
    equal = equalize(graph)
    assert error(outputs(graph, other.inputs), outputs(equal, other.inputs)) < 1e-5


@given(st.integers(0, 1000), st.sampled_from(["relu", "leaky", "max", "average", "flatten"]), st.integers(1, 2))
def test_factors_pass_what_stands_between_layers(seed: int, between: str, multiplier: int) -> None:
    net = Net((1, 4, 4, 2), seed, uneven=True)
    net.layer(Conv2D(activation="relu" if between == "relu" else "none"), 6, 3)
    if between == "leaky":
        net.add(LeakyRelu(0.1))
    elif between in ("max", "average"):
        net.add(MaxPool2D((2, 2), (1, 1)) if between == "max" else AveragePool2D((2, 2), (1, 1)))
    net.layer(DepthwiseConv2D(activation="relu"), 6 * multiplier, 1)
    if between == "flatten":
        net.add(Reshape((1, -1)))
        net.layer(FullyConnected("relu"), 4)
    net.layer(FullyConnected() if between == "flatten" else Conv2D(), 3)
    graph = net.graph()
    assert len(streams(graph)) == (3 if between == "flatten" else 2)
    samples, other = random_samples(graph, 4), random_samples(graph, 4, seed=5)
    for given_samples in (samples, None):
        equal = equalize(graph, given_samples)
        assert error(outputs(graph, samples.inputs), outputs(equal, samples.inputs)) < 1e-5
    assert error(outputs(graph, other.inputs), outputs(equal, other.inputs)) < 1e-5  # no shift without samples


def test_an_operator_that_bends_values_keeps_its_input() -> None:
    net = Net((1, 4, 4, 2))
    net.layer(Conv2D(), 6)
    net.add(Logistic())
    net.layer(Conv2D(), 3)
    assert streams(net.graph()) == []


def test_high_biases_go_into_the_next_layer() -> None:
    net = Net((1, 4, 4, 2))
    net.layer(Conv2D(activation="relu"), 6)
    bias = net.nodes[-1].input(2)
    bias.data = np.linspace(0, 100, 6, dtype=np.float32)
    net.layer(Conv2D(), 3)
    graph = net.graph()
    samples = random_samples(graph, 8)
    equal = equalize(graph, samples)
    assert error(outputs(graph, samples.inputs), outputs(equal, samples.inputs)) < 1e-5
    assert channel_ranges(equal, samples)[id(equal.nodes[0].output)][1].max() < 20
    assert "shifted 5" in equal.notes[-1]
