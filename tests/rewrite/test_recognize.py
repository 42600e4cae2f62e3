"""Activations that an exporter took apart, in every order, are one operator again; what only looks alike stays."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.oracles import random_inputs
from tests.tmdl_graphs import Chain
from tinymaix.graph import Graph, Tensor
from tinymaix.ops import OPERATORS
from tinymaix.ops.add import Add
from tinymaix.ops.div import Div
from tinymaix.ops.mul import Mul
from tinymaix.ops.relu6 import Relu6
from tinymaix.rewrite.recognize import recognize


def number(value: float) -> Tensor:
    return Chain.constant(np.full(1, value, np.float32))


def hard_swish(order: int, factor: float = 1 / 6, shift: float = 3.0) -> Graph:
    chain = Chain(False, (1, 4, 5))
    x = chain.input
    if order % 2:
        gate = chain.apply(Add("relu6"), [number(shift), x])
    else:
        chain.apply(Add(), [x, number(shift)])
        gate = chain.apply(Relu6())
    match order // 2:
        case 0:
            chain.apply(Mul(), [x, chain.apply(Mul(), [gate, number(factor)])])
        case 1:
            chain.apply(Div(), [chain.apply(Mul(), [gate, x]), number(1 / factor)])
        case 2:
            chain.apply(Mul(), [chain.apply(Mul(), [x, number(factor)]), gate])
    return chain.graph()


def gelu(order: int, root: float = math.sqrt(2)) -> Graph:
    chain = Chain(False, (1, 4, 5))
    x = chain.input
    chain.apply(Div(), [x, number(root)]) if order % 2 else chain.apply(Mul(), [x, number(1 / root)])
    chain.apply(OPERATORS["ERF"]())
    chain.apply(Add(), [chain.end, number(1.0)])
    if order // 2:
        chain.apply(Mul(), [x, chain.apply(Mul(), [chain.end, number(0.5)])])
    else:
        chain.apply(Mul(), [chain.apply(Mul(), [x, chain.end]), number(0.5)])
    return chain.graph()


@pytest.mark.parametrize(("make", "kind", "orders"), [(hard_swish, "HARD_SWISH", 6), (gelu, "GELU", 4)])
def test_every_order(make: type[Graph], kind: str, orders: int) -> None:
    for order in range(orders):
        graph: Graph = make(order)  # type: ignore[arg-type, call-arg]
        found = recognize(graph)
        assert [node.op.kind for node in found.nodes] == [kind]
        inputs = [8 * x for x in random_inputs(graph)]
        np.testing.assert_allclose(found.run(inputs)[0], graph.run(inputs)[0], rtol=0, atol=2e-6)


def test_what_only_looks_alike() -> None:
    for graph in (hard_swish(0, factor=0.2), hard_swish(1, shift=2.0), gelu(0, root=1.5), gelu(3, root=-2.0)):
        assert recognize(graph).nodes == graph.nodes


def test_what_something_else_reads() -> None:
    graph = hard_swish(0)
    graph.outputs.append(graph.nodes[2].output)
    assert recognize(graph).nodes == graph.nodes


def test_quotients_stay() -> None:
    chain = Chain(False, (1, 4))
    gate = chain.apply(Add("relu6"), [chain.input, number(3.0)])
    chain.apply(Div(), [chain.apply(Mul(), [chain.input, number(1 / 6)]), gate])
    graph = chain.graph()
    assert recognize(graph).nodes == graph.nodes
