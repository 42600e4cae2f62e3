"""A fused PAD changes no bit; a PAD that a convolution cannot stand for stays."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.oracles import random_inputs
from tests.tmdl_graphs import Chain
from tinymaix.graph import Graph
from tinymaix.ops.conv_2d import Conv2D
from tinymaix.ops.depthwise_conv_2d import DepthwiseConv2D
from tinymaix.ops.pad import Pad
from tinymaix.ops.pad_v2 import PadV2
from tinymaix.ops.relu import Relu
from tinymaix.rewrite.fuse_pad import fuse_pad

FLAT = ((0, 0), (1, 2), (0, 1), (0, 0))


def padded(integer: bool, op: Pad, conv: Conv2D | DepthwiseConv2D, seed: int = 0) -> Graph:
    """PAD and a convolution."""
    chain = Chain(integer, (1, 6, 5, 2), seed)
    chain.apply(op, quantization=chain.input.quantization)
    if isinstance(conv, DepthwiseConv2D):
        chain.depthwise(2, conv)
    else:
        chain.conv(3, conv)
    return chain.graph()


def kinds(graph: Graph) -> list[str]:
    return [node.op.kind for node in fuse_pad(graph).nodes]


@given(
    integer=st.booleans(),
    pads=st.tuples(*[st.tuples(st.integers(0, 3), st.integers(0, 3))] * 2),
    own=st.tuples(*[st.integers(0, 2)] * 4),
    depthwise=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_no_bit_changes(
    integer: bool,
    pads: tuple[tuple[int, int], tuple[int, int]],
    own: tuple[int, int, int, int],
    depthwise: bool,
    seed: int,
) -> None:
    conv = DepthwiseConv2D(padding=own) if depthwise else Conv2D(stride=(2, 1), padding=own)
    graph = padded(integer, Pad(((0, 0), *pads, (0, 0))), conv, seed)
    fused = fuse_pad(graph)
    assert len(fused.nodes) == 1
    assert len(graph.nodes) == 2  # the given graph stays as it was
    inputs = random_inputs(graph, seed)
    np.testing.assert_array_equal(fused.run(inputs)[0], graph.run(inputs)[0])


def test_a_chain_of_pads_and_convolutions() -> None:
    chain = Chain(True, (1, 6, 5, 2))
    for _ in range(3):
        chain.apply(Pad(FLAT), quantization=chain.end.quantization)
        chain.conv(2)
    graph = chain.graph()
    assert kinds(graph) == ["CONV_2D"] * 3
    inputs = random_inputs(graph)
    np.testing.assert_array_equal(fuse_pad(graph).run(inputs)[0], graph.run(inputs)[0])


@pytest.mark.parametrize("integer", [True, False])
def test_the_value_of_the_padding(integer: bool) -> None:
    zero = Chain(integer, (1, 6, 5, 2)).input.q.z if integer else 0.0
    graph = padded(integer, PadV2(FLAT, value=zero), Conv2D())
    assert kinds(graph) == ["CONV_2D"]
    inputs = random_inputs(graph)
    np.testing.assert_array_equal(fuse_pad(graph).run(inputs)[0], graph.run(inputs)[0])
    assert kinds(padded(integer, PadV2(FLAT, value=zero + 1), Conv2D())) == ["PADV2", "CONV_2D"]


@pytest.mark.parametrize("pads", [((0, 1), (0, 0), (0, 0), (0, 0)), ((0, 0), (1, 1), (1, 1), (1, 0))])
def test_only_height_and_width(pads: tuple[tuple[int, int], ...]) -> None:
    assert kinds(padded(False, Pad(pads), Conv2D())) == ["PAD", "CONV_2D"]


def test_only_in_front_of_a_convolution() -> None:
    chain = Chain(False, (1, 6, 5, 2))
    chain.apply(Pad(FLAT))
    chain.apply(Relu())
    assert kinds(chain.graph()) == ["PAD", "RELU"]


def test_only_for_one_reader() -> None:
    graph = padded(False, Pad(FLAT), Conv2D())
    graph.outputs.append(graph.nodes[0].output)
    assert kinds(graph) == ["PAD", "CONV_2D"]
    chain = Chain(False, (1, 6, 5, 2))
    pad = chain.apply(Pad(FLAT))
    chain.conv(2)
    chain.apply(Relu(), [pad])
    assert kinds(chain.graph()) == ["PAD", "CONV_2D", "RELU"]


def test_another_quantization_of_the_padded_tensor() -> None:
    graph = padded(True, Pad(FLAT), Conv2D())
    graph.nodes[0].output.quantization = Chain(True, (1, 1), seed=9).input.quantization
    assert kinds(graph) == ["PAD", "CONV_2D"]


@pytest.mark.parametrize("integer", [True, False])
def test_one_pad_in_front_of_another(integer: bool) -> None:
    chain = Chain(integer, (1, 6, 5, 2))
    for _ in range(2):
        chain.apply(Pad(FLAT), quantization=chain.input.quantization)
    chain.conv(3, Conv2D())
    graph = chain.graph()
    inputs = random_inputs(graph)
    assert kinds(graph) == ["CONV_2D"]
    np.testing.assert_array_equal(fuse_pad(graph).run(inputs)[0], graph.run(inputs)[0])
