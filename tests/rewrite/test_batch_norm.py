"""Folded scales and offsets: the same outputs within float32's rounding, and nothing folded where that would differ."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.oracles import random_inputs
from tests.tmdl_graphs import Chain
from tinymaix.graph import Array, Graph, Tensor
from tinymaix.ops.add import Add
from tinymaix.ops.base import Operator
from tinymaix.ops.conv_2d import Conv2D
from tinymaix.ops.depthwise_conv_2d import DepthwiseConv2D
from tinymaix.ops.mul import Mul
from tinymaix.ops.relu import Relu
from tinymaix.ops.reshape import Reshape
from tinymaix.ops.sub import Sub
from tinymaix.ops.tanh import Tanh
from tinymaix.ops.transpose_conv import TransposeConv
from tinymaix.rewrite.activation import fuse_activation
from tinymaix.rewrite.batch_norm import fold_batch_norm
from tinymaix.rewrite.views import sink_views

LAYERS = ("conv", "depthwise", "dense")


def append(chain: Chain, layer: str, padded: bool = False, grouped: bool = False) -> None:
    padding = (1, 0, 1, 1) if padded else (0, 0, 0, 0)
    if layer == "conv":
        weights, bias = chain.constants((4, 2, 2, chain.end.shape[3] // (2 if grouped else 1)), 0)
        chain.apply(Conv2D(padding=padding), [chain.end, weights, bias])
    elif layer == "depthwise":
        chain.depthwise(2, DepthwiseConv2D(padding=padding))
    else:
        chain.dense(4)


def operand(chain: Chain, op: Operator, values: Array, first: bool = False) -> None:
    """Append the operator on the end of the chain and a constant."""
    constant = chain.constant(values.astype(np.float32))
    chain.apply(op, [constant, chain.end] if first else [chain.end, constant])


def normalize(chain: Chain, rng: np.random.Generator, channels: int) -> None:
    operand(chain, Mul(), rng.uniform(0.5, 2, channels))
    operand(chain, Add(), rng.uniform(-1, 1, (1, channels)))


def expect_equal(graph: Graph, rewritten: Graph) -> None:
    inputs = random_inputs(graph)
    np.testing.assert_allclose(rewritten.run(inputs)[0], graph.run(inputs)[0], rtol=1e-4, atol=1e-4)


def kinds(graph: Graph) -> list[str]:
    return [node.op.kind for node in graph.nodes]


@given(layer=st.sampled_from(LAYERS), padded=st.booleans(), scalar=st.booleans(), seed=st.integers(0, 99))
def test_behind_a_layer(layer: str, padded: bool, scalar: bool, seed: int) -> None:
    chain, rng = Chain(False, (1, 4, 4, 2), seed), np.random.default_rng(seed)
    append(chain, layer, padded)
    normalize(chain, rng, 1 if scalar else 4)
    operand(chain, Sub(), rng.uniform(-1, 1, 4), first=True)
    chain.apply(Add("relu6"), [chain.end, chain.constant(np.ones(1, np.float32))])
    graph = chain.graph()
    folded = fold_batch_norm(graph)
    assert len(folded.nodes) == 1
    assert len(graph.nodes) == 5  # the given graph stays as it was
    expect_equal(graph, folded)


@given(layer=st.sampled_from(LAYERS), padded=st.booleans(), scalar=st.booleans(), seed=st.integers(0, 99))
def test_before_a_layer(layer: str, padded: bool, scalar: bool, seed: int) -> None:
    chain, rng = Chain(False, (1, 4, 4, 2), seed), np.random.default_rng(seed)
    normalize(chain, rng, 1 if scalar else 2)
    append(chain, layer, padded)
    graph = chain.graph()
    folded = fold_batch_norm(graph)
    expect_equal(graph, folded)
    if layer == "dense":
        assert len(folded.nodes) == (1 if scalar else 3)  # a row of the weights holds several pixels
    else:
        assert len(folded.nodes) == (3 if padded else 1)  # an offset in the padding would not be zero


def test_around_a_transposed_convolution() -> None:
    """Its border pixels get fewer taps, so that an offset before it stays."""
    chain, rng = Chain(False, (1, 4, 4, 2)), np.random.default_rng(0)
    normalize(chain, rng, 2)
    weights, bias = chain.constants((4, 3, 3, 2), 0)
    chain.apply(TransposeConv((9, 9), (2, 2)), [chain.end, weights, bias])
    normalize(chain, rng, 4)
    folded = fold_batch_norm(chain.graph())
    assert kinds(folded) == ["MUL", "ADD", "TRANSPOSE_CONV"]
    expect_equal(chain.graph(), folded)


def test_a_scale_alone_passes_the_padding() -> None:
    chain = Chain(False, (1, 4, 4, 2))
    operand(chain, Mul(), np.array([0.5, 3]))
    append(chain, "conv", padded=True)
    folded = fold_batch_norm(chain.graph())
    assert kinds(folded) == ["CONV_2D"]
    expect_equal(chain.graph(), folded)


def test_not_before_a_grouped_convolution() -> None:
    chain = Chain(False, (1, 4, 4, 2))
    operand(chain, Mul(), np.array([0.5, 3]))
    append(chain, "conv", grouped=True)
    assert kinds(fold_batch_norm(chain.graph())) == ["MUL", "CONV_2D"]


@pytest.mark.parametrize("case", ["two readers", "activation", "no channels", "grows", "int8"])
def test_what_stays(case: str) -> None:
    chain = Chain(case == "int8", (1, 4, 4, 2))
    chain.conv(4, Conv2D(activation="relu6" if case == "activation" else "none"))
    conv = chain.end
    shape = {"no channels": (2, 1), "grows": (3, 1, 1, 4)}.get(case, (4,))
    constant = Tensor("c", shape, conv.dtype, conv.quantization, np.ones(shape, conv.dtype))
    chain.apply(Mul(), [conv, constant])
    if case == "two readers":
        chain.apply(Add(), [chain.end, conv])
    graph = chain.graph()
    assert kinds(fold_batch_norm(graph)) == kinds(graph)


def test_an_output_of_the_model_stays() -> None:
    chain = Chain(False, (1, 4, 4, 2))
    chain.conv(4, Conv2D())
    graph_output = chain.end
    operand(chain, Mul(), np.ones(4))
    graph = chain.graph()
    graph.outputs.append(graph_output)
    assert kinds(fold_batch_norm(graph)) == ["CONV_2D", "MUL"]


def test_views_sink_until_they_meet() -> None:
    chain, rng = Chain(False, (1, 1, 6, 2)), np.random.default_rng(0)
    append(chain, "conv", padded=True)
    chain.reshape((1, *chain.end.shape[2:]))
    normalize(chain, rng, 4)
    chain.apply(Relu())
    chain.apply(Tanh())
    graph = chain.graph()
    sunk = sink_views(graph)
    assert kinds(sunk) == ["CONV_2D", "MUL", "ADD", "RELU", "TANH", "RESHAPE"]
    assert kinds(fuse_activation(fold_batch_norm(sunk))) == ["CONV_2D", "TANH", "RESHAPE"]
    expect_equal(graph, fuse_activation(fold_batch_norm(sunk)))
    assert sunk.outputs == graph.outputs


def test_a_view_of_other_channels_stays() -> None:
    chain = Chain(False, (1, 2, 6, 2))
    chain.apply(Reshape((1, 24)))
    operand(chain, Mul(), np.arange(24))
    assert kinds(sink_views(chain.graph())) == ["RESHAPE", "MUL"]
