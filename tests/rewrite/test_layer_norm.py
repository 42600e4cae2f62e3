"""Layer norms that exporters took apart are one operator again; what only looks alike stays."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.oracles import random_inputs
from tests.tmdl_graphs import Chain
from tinymaix.graph import Graph, Shape, Tensor
from tinymaix.ops import OPERATORS
from tinymaix.read import read_model
from tinymaix.rewrite import simplify
from tinymaix.rewrite.layer_norm import fuse_layer_norm, recognize_layer_norm

SHAPE = (2, 4, 6)


class Maker(Chain):
    """Layer norms of every spelling."""

    def __init__(self, shape: Shape = SHAPE, axes: tuple[int, ...] = (2,)) -> None:
        super().__init__(False, shape)
        self.axes = axes
        last = shape[-len(axes) :]
        self.gamma, self.beta = (self.number(self.rng.normal(size=last)) for _ in range(2))

    def number(self, value: Any) -> Tensor:
        return self.constant(np.asarray(value, np.float32))

    def op(self, kind: str, *inputs: Tensor, **attributes: Any) -> Tensor:
        return self.apply(OPERATORS[kind](**attributes), list(inputs))

    def mean(self, x: Tensor) -> Tensor:
        return self.op("MEAN", x, axes=self.axes, keep_dims=True)

    def square(self, x: Tensor, spelling: str) -> Tensor:
        if spelling == "POW":
            return self.op("POW", x, self.number(2.0))
        return self.op("SQUARE", x) if spelling == "SQUARE" else self.op("MUL", x, x)

    def variance(self, x: Tensor, mean: Tensor, spelling: str) -> Tensor:
        if spelling == "SQUARED_DIFFERENCE":
            return self.mean(self.op(spelling, x, mean))
        if spelling == "mean of squares":
            return self.op("SUB", self.mean(self.square(x, "SQUARE")), self.square(mean, "SQUARE"))
        return self.mean(self.square(self.op("SUB", x, mean), spelling))

    def inverse(self, variance: Tensor, spelling: str, epsilon: float = 1e-3) -> Tensor:
        """One through the deviation."""
        v = self.op("ADD", variance, self.number(epsilon))
        if spelling == "RSQRT":
            return self.op("RSQRT", v)
        if spelling == "POW":
            return self.op("POW", v, self.number(-0.5))
        return self.op("DIV", self.number(1.0), self.op("SQRT", v))


def plain(m: Maker, variance: str, inverse: str) -> None:
    """(x - mean) * inverse * gamma + beta"""
    mean = m.mean(m.input)
    i = m.inverse(m.variance(m.input, mean, variance), inverse)
    m.op("ADD", m.beta, m.op("MUL", m.op("MUL", m.op("SUB", m.input, mean), i), m.gamma))


def divided(m: Maker, variance: str, inverse: str) -> None:
    """(x - mean) / deviation * gamma + beta"""
    mean = m.mean(m.input)
    v = m.op("ADD", m.variance(m.input, mean, variance), m.number(1e-3))
    root = m.op("POW", v, m.number(0.5)) if inverse == "POW" else m.op("SQRT", v)
    m.op("ADD", m.op("MUL", m.gamma, m.op("DIV", m.op("SUB", m.input, mean), root)), m.beta)


def keras_2(m: Maker, variance: str, inverse: str) -> None:
    """x * s + (beta - mean * s)"""
    mean = m.mean(m.input)
    s = m.op("MUL", m.inverse(m.variance(m.input, mean, variance), inverse), m.gamma)
    m.op("ADD", m.op("MUL", m.input, s), m.op("SUB", m.beta, m.op("MUL", mean, s)))


def keras_3(m: Maker, variance: str, inverse: str) -> None:
    """x * s + (-mean * s + beta)"""
    mean = m.mean(m.input)
    s = m.op("MUL", m.inverse(m.variance(m.input, mean, variance), inverse), m.gamma)
    m.op("ADD", m.op("MUL", m.input, s), m.op("ADD", m.op("MUL", m.op("NEG", mean), s), m.beta))


def scaled_first(m: Maker, variance: str, inverse: str) -> None:
    """(x - mean) * (inverse * gamma) + beta"""
    mean = m.mean(m.input)
    s = m.op("MUL", m.gamma, m.inverse(m.variance(m.input, mean, variance), inverse))
    m.op("ADD", m.op("MUL", s, m.op("SUB", m.input, mean)), m.beta)


VARIANCES = ("MUL", "SQUARE", "POW", "SQUARED_DIFFERENCE", "mean of squares")
INVERSES = ("RSQRT", "POW", "SQRT")
WRITERS = (plain, divided, keras_2, keras_3, scaled_first)


def check(graph: Graph, rewritten: Graph, kinds: list[str]) -> None:
    assert [node.op.kind for node in rewritten.nodes] == kinds
    inputs = [3 * x for x in random_inputs(graph)]
    np.testing.assert_allclose(rewritten.run(inputs)[0], graph.run(inputs)[0], rtol=0, atol=1e-5)


@pytest.mark.parametrize("write", WRITERS)
def test_every_spelling(write: Callable[[Maker, str, str], None]) -> None:
    for variance, inverse in product(VARIANCES, INVERSES):
        maker = Maker()
        write(maker, variance, inverse)
        found = recognize_layer_norm(maker.graph())
        check(maker.graph(), found, ["LAYER_NORM", "MUL", "ADD"])
        check(maker.graph(), fuse_layer_norm(found), ["LAYER_NORM"])
        check(maker.graph(), simplify(maker.graph()), ["LAYER_NORM"])


def test_more_axes_and_a_residual() -> None:
    maker = Maker(axes=(1, 2))
    total = maker.op("ADD", maker.input, maker.op("RELU", maker.input))
    maker.input, given = total, maker.input
    plain(maker, "SQUARED_DIFFERENCE", "RSQRT")
    maker.op("ADD", total, maker.end)
    maker.input = given
    check(maker.graph(), simplify(maker.graph()), ["RELU", "ADD", "LAYER_NORM", "ADD"])


def test_parameters_go_into_the_dense_layer_behind() -> None:
    maker = Maker()
    keras_2(maker, "SQUARED_DIFFERENCE", "RSQRT")
    weights = maker.number(maker.rng.normal(size=(3, 6)))
    maker.op("FULLY_CONNECTED", maker.end, weights, keep_num_dims=True)
    rewritten = simplify(maker.graph())
    check(maker.graph(), rewritten, ["LAYER_NORM", "FULLY_CONNECTED"])
    assert len(rewritten.nodes[0].present) == 1


def test_without_parameters() -> None:
    maker = Maker()
    maker.gamma, maker.beta = maker.number(1.0), maker.number(0.0)
    plain(maker, "MUL", "RSQRT")
    found = recognize_layer_norm(maker.graph())
    assert found.nodes[0].op.kind == "LAYER_NORM"
    assert len(found.nodes[0].present) == 1


def test_what_something_else_reads_stays() -> None:
    maker = Maker()
    plain(maker, "MUL", "RSQRT")
    graph = maker.graph()
    graph.outputs.append(graph.nodes[0].output)  # the mean
    check(graph, recognize_layer_norm(graph), ["MEAN", "LAYER_NORM", "MUL", "ADD"])


def test_two_of_one_mean() -> None:
    maker = Maker()
    plain(maker, "MUL", "RSQRT")
    graph = maker.graph()
    normalized = next(n for n in graph.nodes if n.op.kind == "MUL" and n.input(1).shape[-1] == 1).output
    maker.op("MUL", normalized, maker.number(np.arange(6)))
    graph = Graph(maker.nodes, graph.inputs, [*graph.outputs, maker.end])
    check(graph, recognize_layer_norm(graph), ["LAYER_NORM", "MUL", "ADD", "MUL"])


def unlike(name: str) -> Graph:
    maker = Maker(axes=(1,) if name == "another axis" else (2,))
    x = maker.input
    if name == "another axis":
        maker.gamma = maker.beta = maker.number(1.0)
    mean = maker.mean(x)
    other = maker.op("RELU", x) if name == "variance of another" else x
    v = maker.variance(other, maker.mean(other) if other is not x else mean, "MUL")
    i = maker.inverse(v, "RSQRT", epsilon=-0.1 if name == "negative epsilon" else 1e-3)
    centred = maker.op("ADD" if name == "sum" else "SUB", x, mean)
    maker.op("MUL", centred, centred if name == "square" else i)
    if name == "square":
        maker.op("MUL", maker.end, i)
    return maker.graph()


@pytest.mark.parametrize("name", ["another axis", "variance of another", "negative epsilon", "sum", "square"])
def test_what_only_looks_alike(name: str) -> None:
    graph = unlike(name)
    assert recognize_layer_norm(graph).nodes == graph.nodes


@pytest.mark.parametrize("opset", [13, 17])  # taken apart, and not
def test_what_pytorch_exports(opset: int, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="the exporter")
    pytest.importorskip("onnx", reason="PyTorch's exporter needs it")
    norm, x = torch.nn.LayerNorm((4, 6)), torch.randn(SHAPE, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        norm.weight.copy_(torch.linspace(0.5, 2, 24).reshape(4, 6))
        norm.bias.copy_(torch.linspace(-1, 1, 24).reshape(4, 6))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(norm, (x,), tmp_path / "norm.onnx", dynamo=False, opset_version=opset)
    graph = simplify(read_model(tmp_path / "norm.onnx"))
    assert [node.op.kind for node in graph.nodes] == ["LAYER_NORM"]
    np.testing.assert_allclose(graph.run([x.numpy()])[0], norm(x).detach().numpy(), rtol=0, atol=2e-6)


def test_long_chains_are_no_trouble() -> None:
    maker = Maker((1, 2))
    for _ in range(3000):
        maker.op("ADD", maker.end, maker.number(1.0))
    maker.axes = (1,)
    maker.op("RSQRT", maker.op("SUB", maker.end, maker.mean(maker.input)))
    graph = maker.graph()
    assert recognize_layer_norm(graph).nodes == graph.nodes


def test_transposes_cancel_around_it() -> None:
    maker = Maker((1, 3, 4, 5))
    maker.op("TRANSPOSE", maker.input, order=(0, 3, 1, 2))
    maker.op("LAYER_NORM", maker.end, last=3)
    maker.op("TRANSPOSE", maker.end, order=(0, 2, 3, 1))
    check(maker.graph(), simplify(maker.graph()), ["LAYER_NORM"])
