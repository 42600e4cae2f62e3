"""Transposes cancelled: random chains keep every output, and what exporters write loses all of them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.ops.make import SEEDS, float32, int8
from tinymaix.graph import Array, Graph, Node, Shape, Tensor
from tinymaix.ops import OPERATORS, Operator
from tinymaix.rewrite import simplify
from tinymaix.rewrite.layout import cancel_transposes


class Chain:
    """A graph in the making: each step reads the last tensor, some an earlier one of a fitting shape too."""

    def __init__(self, rng: np.random.Generator, shape: Shape, dtype: str = "float32") -> None:
        self.rng = rng
        self.quantized = dtype == "int8"
        self.input = self.tensor(shape)
        self.made = [self.input]
        self.nodes: list[Node] = []

    def tensor(self, shape: Shape, data: Array | None = None) -> Tensor:
        if self.quantized:
            return int8("t", shape, data=None if data is None else (data * 20).astype(np.int8))
        return float32("t", shape, data)

    def add(self, kind: str, *others: Tensor, **attributes: Any) -> None:
        op: Operator = OPERATORS[kind](**attributes)
        inputs = [self.made[-1], *others]
        for shape in op.infer(inputs)[:1]:
            self.made.append(self.tensor(tuple(shape)))
        outputs = [self.made[-1], *(self.tensor(tuple(s)) for s in op.infer(inputs)[1:])]
        self.nodes.append(Node(op, list(inputs), outputs, kind))

    def graph(self) -> Graph:
        kept = [self.made[-1], *(t for t in self.made[1:-1] if self.rng.integers(8) == 0)]
        return Graph(self.nodes, [self.input], kept)

    def step(self) -> None:
        """One random operator that fits the last tensor."""
        shape = self.made[-1].shape
        rank = len(shape)
        choices = [
            "transpose",
            "transpose",
            "reshape",
            "unary",
            "constant",
            "earlier",
            "mean",
            "slice",
            "pad",
            "concat",
        ]
        if not self.quantized and rank:
            choices += ["softmax", "dense"]
        getattr(self, f"_{self.rng.choice(choices)}")(shape, rank)

    def _transpose(self, shape: Shape, rank: int) -> None:
        self.add("TRANSPOSE", order=tuple(int(i) for i in self.rng.permutation(rank)))

    def _reshape(self, shape: Shape, rank: int) -> None:
        sizes = list(shape)
        if rank > 1 and self.rng.integers(2):  # merge two axes
            at = int(self.rng.integers(rank - 1))
            sizes[at : at + 2] = [sizes[at] * sizes[at + 1]]
        elif rank < 5:  # split one, or add an axis of 1
            at = int(self.rng.integers(rank)) if rank else 0
            size = sizes[at] if rank else 1
            factor = next((f for f in (2, 3) if size % f == 0 and self.rng.integers(2)), 1)
            sizes[at : at + 1] = [factor, size // factor]
        self.add("RESHAPE", shape=tuple(sizes))

    def _unary(self, shape: Shape, rank: int) -> None:
        self.add("RELU6")

    def _constant(self, shape: Shape, rank: int) -> None:
        sizes = [s if self.rng.integers(2) else 1 for s in shape][int(self.rng.integers(rank + 1)) :]
        self.add("ADD", self.tensor(tuple(sizes), self.rng.normal(size=sizes)))

    def _earlier(self, shape: Shape, rank: int) -> None:
        fitting = [t for t in self.made if np.prod(t.shape) <= 400 and _broadcasts(t.shape, shape)]
        if fitting:
            self.add("MUL", fitting[int(self.rng.integers(len(fitting)))])

    def _mean(self, shape: Shape, rank: int) -> None:
        axes = tuple(i for i in range(rank) if self.rng.integers(3) == 0)
        if axes and not self.quantized:
            self.add("MEAN", axes=axes, keep_dims=bool(self.rng.integers(2)))

    def _slice(self, shape: Shape, rank: int) -> None:
        begin = tuple(int(self.rng.integers(s)) if self.rng.integers(4) == 0 else 0 for s in shape)
        if self.rng.integers(2):
            self.add("SLICE", begin=begin, size=(-1,) * rank)
        else:
            self.add(
                "STRIDED_SLICE", begin=begin, end=shape, strides=tuple(int(s) for s in self.rng.integers(1, 3, rank))
            )

    def _pad(self, shape: Shape, rank: int) -> None:
        if rank and math.prod(shape) < 200:
            self.add("PAD", pads=tuple((int(self.rng.integers(3)) // 2, int(self.rng.integers(3)) // 2) for _ in shape))

    def _concat(self, shape: Shape, rank: int) -> None:
        if rank and math.prod(shape) < 200:
            axis = int(self.rng.integers(rank))
            twins = [t for t in self.made if t.shape == shape]
            other = twins[0] if self.rng.integers(2) else self.tensor(shape, self.rng.normal(size=shape))
            self.add("CONCATENATION", other, axis=axis)

    def _softmax(self, shape: Shape, rank: int) -> None:
        self.add("SOFTMAX")

    def _dense(self, shape: Shape, rank: int) -> None:
        width = math.prod(shape) if self.rng.integers(2) and rank > 1 else shape[-1]
        weights = self.tensor((3, width), self.rng.normal(size=(3, width)))
        self.add("FULLY_CONNECTED", weights, keep_num_dims=width == shape[-1] and bool(self.rng.integers(2)))


def _broadcasts(a: Shape, b: Shape) -> bool:
    try:
        return math.prod(np.broadcast_shapes(a, b)) <= 400
    except ValueError:
        return False


@given(SEEDS, st.lists(st.integers(1, 4), min_size=1, max_size=4), st.sampled_from(["float32", "float32", "int8"]))
def test_keeps_every_output(seed: int, shape: list[int], dtype: str) -> None:
    for more in range(12):
        rng = np.random.default_rng([seed, more])
        chain = Chain(rng, tuple(shape), dtype)
        for _ in range(int(rng.integers(2, 14))):
            chain.step()
        graph = chain.graph()
        data = rng.normal(size=shape) * 3
        x = (data * 9).astype(np.int8) if dtype == "int8" else data.astype(np.float32)
        before = graph.run([x])
        after = cancel_transposes(graph)
        assert [t.name for t in after.outputs] == [t.name for t in graph.outputs]
        for a, b in zip(before, after.run([x]), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)
        assert _moved(after) <= _moved(graph)


def _moved(graph: Graph) -> int:
    return sum(n.output.elements for n in graph.nodes if n.op.kind == "TRANSPOSE")


def _convolution(chain: Chain, out_c: int, kernel: int = 3) -> None:
    """A convolution as an exporter of channels-first layers writes it."""
    channels = chain.made[-1].shape[1]
    chain.add("TRANSPOSE", order=(0, 2, 3, 1))
    weights = chain.tensor((out_c, kernel, kernel, channels), chain.rng.normal(size=(out_c, kernel, kernel, channels)))
    chain.add("CONV_2D", weights, padding=(1, 1, 1, 1))
    chain.add("TRANSPOSE", order=(0, 3, 1, 2))


def _channels_first() -> Chain:
    chain = Chain(np.random.default_rng(1), (1, 5, 6, 3))
    chain.add("TRANSPOSE", order=(0, 3, 1, 2))
    return chain


def test_a_channels_first_network_has_no_transpose_left() -> None:
    chain = _channels_first()
    _convolution(chain, 4)
    skip = chain.made[-1]
    chain.add("MUL", chain.tensor((4, 1, 1), chain.rng.normal(size=(4, 1, 1))))
    chain.add("RELU")
    _convolution(chain, 4)
    chain.add("ADD", skip)
    chain.add("CONCATENATION", skip, axis=1)
    gate = chain.made[-1]
    chain.add("MEAN", axes=(2, 3), keep_dims=False)
    chain.add("RESHAPE", shape=(1, 8, 1, 1))
    chain.add("MUL", gate)
    chain.add("PAD", pads=((0, 0), (0, 0), (1, 0), (0, 1)))
    chain.add("RESHAPE", shape=(1, 8 * 6 * 7))
    chain.add("RELU")
    chain.add("FULLY_CONNECTED", chain.tensor((2, 8 * 6 * 7), chain.rng.normal(size=(2, 8 * 6 * 7))))
    graph = Graph(chain.nodes, [chain.input], [chain.made[-1]])
    x = np.random.default_rng(2).normal(size=(1, 5, 6, 3)).astype(np.float32)
    simple = simplify(graph)
    assert [n.op.kind for n in simple.nodes if n.op.kind == "TRANSPOSE"] == []
    np.testing.assert_allclose(simple.run([x])[0], graph.run([x])[0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("groups", [2, 4])
def test_a_channel_shuffle_is_one_transpose(groups: int) -> None:
    chain = _channels_first()
    _convolution(chain, 8)
    chain.add("RESHAPE", shape=(1, groups, 8 // groups, 5, 6))
    chain.add("TRANSPOSE", order=(0, 2, 1, 3, 4))
    chain.add("RESHAPE", shape=(1, 8, 5, 6))
    _convolution(chain, 2)
    chain.add("TRANSPOSE", order=(0, 2, 3, 1))
    graph = Graph(chain.nodes, [chain.input], [chain.made[-1]])
    x = np.random.default_rng(2).normal(size=(1, 5, 6, 3)).astype(np.float32)
    simple = simplify(graph)
    assert [n.op.kind for n in simple.nodes] == ["CONV_2D", "RESHAPE", "TRANSPOSE", "RESHAPE", "CONV_2D"]
    np.testing.assert_allclose(simple.run([x])[0], graph.run([x])[0], rtol=1e-4, atol=1e-4)


def test_a_graph_without_transposes_is_itself() -> None:
    chain = Chain(np.random.default_rng(0), (2, 3))
    chain.add("RELU")
    graph = chain.graph()
    assert cancel_transposes(graph) is graph


def test_an_output_that_is_its_input_transposed_twice() -> None:
    chain = Chain(np.random.default_rng(0), (2, 3))
    chain.add("TRANSPOSE", order=(1, 0))
    chain.add("TRANSPOSE", order=(1, 0))
    graph = Graph(chain.nodes, [chain.input], [chain.made[-1]])
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    after = cancel_transposes(graph)
    np.testing.assert_array_equal(after.run([x])[0], x)
    assert after.outputs[0] is not after.inputs[0]
