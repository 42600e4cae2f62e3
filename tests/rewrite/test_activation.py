"""A fused activation changes no float; where it cannot be fused it stays."""

from __future__ import annotations

import numpy as np
import pytest

from tests.oracles import random_inputs
from tests.tmdl_graphs import Chain
from tinymaix.graph import Graph
from tinymaix.ops.add import Add
from tinymaix.ops.base import Operator
from tinymaix.ops.conv_2d import Conv2D
from tinymaix.ops.depthwise_conv_2d import DepthwiseConv2D
from tinymaix.ops.max_pool_2d import MaxPool2D
from tinymaix.ops.mean import Mean
from tinymaix.ops.relu import Relu
from tinymaix.ops.relu6 import Relu6
from tinymaix.ops.relu_n1_to_1 import ReluN1To1
from tinymaix.rewrite.activation import fuse_activation


def layer(name: str, integer: bool = False) -> Chain:
    chain = Chain(integer, (1, 5, 5, 2))
    if name == "conv":
        chain.conv(3, Conv2D())
    elif name == "depthwise":
        chain.depthwise(1, DepthwiseConv2D())
    elif name == "dense":
        chain.dense(4)
    elif name == "add":
        chain.apply(Add(), [chain.end, chain.end])
    elif name == "pool":
        chain.apply(MaxPool2D((2, 2), (1, 1)), quantization=chain.input.quantization)
    else:
        chain.apply(Mean((1, 2)))
    return chain


def kinds(graph: Graph) -> list[str]:
    return [node.op.kind for node in graph.nodes]


@pytest.mark.parametrize("name", ["conv", "depthwise", "dense", "add", "pool"])
@pytest.mark.parametrize("op", [Relu(), Relu6(), ReluN1To1()], ids=str)
def test_no_float_changes(name: str, op: Operator) -> None:
    chain = layer(name)
    chain.apply(op)
    graph = chain.graph()
    fused = fuse_activation(graph)
    assert len(fused.nodes) == 1
    assert fused.outputs == graph.outputs
    inputs = [10 * x for x in random_inputs(graph)]
    np.testing.assert_array_equal(fused.run(inputs)[0], graph.run(inputs)[0])


def test_what_stays() -> None:
    chain = layer("mean")
    chain.apply(Relu())
    assert kinds(fuse_activation(chain.graph())) == ["MEAN", "RELU"]
    chain = layer("conv", integer=True)
    chain.apply(Relu())
    assert kinds(fuse_activation(chain.graph())) == ["CONV_2D", "RELU"]
    chain = layer("conv")
    conv = chain.end
    chain.apply(Relu())
    chain.apply(Add(), [chain.end, conv])
    assert kinds(fuse_activation(chain.graph())) == ["CONV_2D", "RELU", "ADD"]


def test_the_second_of_two_stays() -> None:
    chain = layer("conv")
    chain.apply(Relu())
    chain.apply(Relu6())
    assert kinds(fuse_activation(chain.graph())) == ["CONV_2D", "RELU6"]
