"""LAYER_NORM against float64 and PyTorch, its C on the host and on an emulated Cortex-M4, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest

from tests.ops.make import float32
from tests.oracles import check_compiled, expect_same, one_op, random_inputs
from tinymaix.chips import ToolError, find_chip
from tinymaix.deploy import Deployment
from tinymaix.graph import Array, Graph, ModelError, Node, Shape, Tensor
from tinymaix.ops.layer_norm import LayerNorm

CASES = [((1, 8, 16), 1, "gb"), ((2, 3, 5), 2, "g"), ((4, 7), 1, "b"), ((3, 2, 4), 3, "gb"), ((5,), 1, "")]


def graph_of(shape: Shape, last: int, parameters: str, epsilon: float = 1e-3) -> Graph:
    """``parameters``: g with a gamma, b with a beta."""
    rng = np.random.default_rng(len(shape) + last)
    given: list[Tensor | None] = [
        float32(name, shape[-last:], rng.normal(size=shape[-last:])) if name in parameters else None for name in "gb"
    ]
    return one_op(LayerNorm(last, epsilon), [float32("x", shape), *given], [float32("y", shape)])


def expected(graph: Graph, x: Array) -> Array:
    """The formula in float64."""
    node = graph.nodes[0]
    assert isinstance(node.op, LayerNorm)
    axes = tuple(range(-node.op.last, 0))
    wide = x.astype(np.float64)
    y = (wide - wide.mean(axes, keepdims=True)) / np.sqrt(wide.var(axes, keepdims=True) + node.op.epsilon)
    for t, function in zip(node.inputs[1:], (np.multiply, np.add), strict=True):
        y = y if t is None or t.data is None else function(y, t.data)
    return np.asarray(y, np.float32)


@pytest.mark.parametrize(("shape", "last", "parameters"), CASES)
@pytest.mark.parametrize("offset", [0.0, 100.0])
def test_formula(shape: Shape, last: int, parameters: str, offset: float) -> None:
    graph = graph_of(shape, last, parameters)
    x = 5 * random_inputs(graph)[0] + np.float32(offset)
    expect_same(graph.run([x]), [expected(graph, x)], "numpy and float64", 1e-6 + offset * 1e-6)


@pytest.mark.parametrize(("shape", "last", "parameters"), CASES)
def test_pytorch(shape: Shape, last: int, parameters: str) -> None:
    torch = pytest.importorskip("torch", reason="an independent layer norm")
    graph = graph_of(shape, last, parameters)
    x = random_inputs(graph)[0]
    given = [None if t is None else torch.from_numpy(t.data) for t in graph.nodes[0].inputs[1:]]
    y = torch.nn.functional.layer_norm(torch.from_numpy(x), shape[-last:], *given, eps=1e-3)
    expect_same(graph.run([x]), [y.numpy()], "numpy and PyTorch", 2e-6)


def test_compiled() -> None:
    graphs = [graph_of(*case) for case in CASES]
    constant = np.full((4, 7), 2.5, np.float32)  # no variance: beta alone
    check_compiled([(graph, [random_inputs(graph)]) for graph in graphs] + [(graphs[2], [[constant]])], 2e-6)


def test_cortex_m4() -> None:
    graph = graph_of((2, 8, 16), 1, "gb")
    inputs = random_inputs(graph)
    try:
        found, _ = Deployment(graph, find_chip("cortex-m4")).run(inputs)
    except ToolError as error:
        pytest.skip(str(error))
    expect_same(found, graph.run(inputs), "Cortex-M4", 2e-6)


def test_what_it_refuses() -> None:
    x, wrong = float32("x", (2, 4)), float32("g", (2,), np.ones(2))
    with pytest.raises(ModelError, match="gamma 'g' has the shape"):
        LayerNorm().infer([x, wrong])
    with pytest.raises(ModelError, match="last 3 axes"):
        LayerNorm(3).infer([x])
    for epsilon in (-1.0, float("nan"), float("inf")):
        assert "epsilon" in LayerNorm(1, epsilon).problems(Node(LayerNorm(1, epsilon), [x], [x]))[0]
    computed = Node(LayerNorm(), [x, float32("g", (4,))], [x])
    assert "computed at run time" in LayerNorm().problems(computed)[0]
