"""int16 activations: layers, sums, products, pools and functions against TFLM, and their C against numpy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.cores.armv7em_cases import check
from tests.ops.make import SEEDS, weights_int8
from tests.oracles import check_compiled, check_exact, one_op, random_inputs
from tinymaix.graph import Graph, Quantization, Shape, Tensor
from tinymaix.ops.add import Add
from tinymaix.ops.average_pool_2d import AveragePool2D
from tinymaix.ops.base import Operator
from tinymaix.ops.conv_2d import Conv2D
from tinymaix.ops.depthwise_conv_2d import DepthwiseConv2D
from tinymaix.ops.fully_connected import FullyConnected
from tinymaix.ops.leaky_relu import LeakyRelu
from tinymaix.ops.logistic import Logistic
from tinymaix.ops.max_pool_2d import MaxPool2D
from tinymaix.ops.maximum import Maximum
from tinymaix.ops.mean import Mean
from tinymaix.ops.minimum import Minimum
from tinymaix.ops.mul import Mul
from tinymaix.ops.reduce import Sum
from tinymaix.ops.reduction import Reduction
from tinymaix.ops.softmax import Softmax
from tinymaix.ops.sub import Sub
from tinymaix.ops.tanh import Tanh
from tinymaix.ops.transpose_conv import TransposeConv

SCALES = st.floats(2.0**-14, 2.0**-7, width=32)


def int16(name: str, shape: Shape, scale: float) -> Tensor:
    return Tensor(name, shape, np.dtype(np.int16), Quantization.of(scale))


def layer(rng: np.random.Generator, op: Operator, x: Shape, weights: Shape, axis: int = 0) -> Graph:
    """A layer whose outputs fill int16."""
    kernel = weights_int8(rng, weights, weights[axis], axis)
    data = rng.integers(-(1 << 20), 1 << 20, weights[axis], dtype=np.int64)
    bias = Tensor("bias", data.shape, data.dtype, Quantization.of(0.001 * kernel.q.scale), data)
    given = int16("x", x, 0.001)
    (shape,) = op.infer([given, kernel, bias])
    return one_op(op, [given, kernel, bias], [int16("y", shape, float(0.2 * kernel.q.scale.mean()))])


def layers(rng: np.random.Generator) -> list[Graph]:
    return [
        layer(rng, Conv2D((2, 1), (1, 2), (1, 1, 1, 1), "relu"), (2, 5, 7, 3), (4, 3, 2, 3)),
        layer(rng, Conv2D(), (1, 3, 2, 7), (5, 1, 1, 7)),
        layer(rng, DepthwiseConv2D((1, 1), (1, 1), (1, 1, 1, 1)), (1, 4, 5, 3), (1, 3, 3, 6), 3),
        layer(rng, FullyConnected("relu6"), (3, 9), (4, 9)),
        layer(rng, FullyConnected(), (2, 700), (3, 700)),
        layer(rng, DepthwiseConv2D(), (1, 2, 520, 2), (1, 1, 517, 2), 3),
        layer(rng, TransposeConv((7, 9), (2, 2)), (2, 3, 4, 3), (5, 3, 3, 3)),
        layer(rng, TransposeConv((6, 8), (2, 2), (0, 1, 0, 1)), (1, 3, 4, 2), (3, 3, 3, 2)),
    ]


@given(SEEDS)
def test_layers_are_exact(seed: int) -> None:
    """LiteRT rounds fully connected layers otherwise."""
    for graph in layers(np.random.default_rng(seed)):
        fully_connected = isinstance(graph.nodes[0].op, FullyConnected)
        check_exact(graph, random_inputs(graph, seed), litert_too=not fully_connected)


OPERATORS = [Add(), Sub("relu"), Mul(), Maximum(), Minimum()]


def pair(op: Operator, a: float, b: float, y: float) -> Graph:
    if isinstance(op, Maximum | Minimum):
        b = y = a
    return one_op(op, [int16("a", (2, 3, 4), a), int16("b", (3, 1), b)], [int16("y", (2, 3, 4), y)])


@pytest.mark.parametrize("op", OPERATORS, ids=str)
@given(SCALES, SCALES, SCALES, SEEDS)
def test_pairs_are_exact(op: Operator, a: float, b: float, y: float, seed: int) -> None:
    graph = pair(op, a, b, y)
    check_exact(graph, random_inputs(graph, seed), litert_too=False)


POOLS = [AveragePool2D((2, 3), (1, 2), (0, 1, 0, 1)), MaxPool2D((2, 2), (2, 2), activation="relu6")]


@pytest.mark.parametrize("op", POOLS, ids=str)
def test_pools_are_exact(op: Operator) -> None:
    x = int16("x", (1, 5, 6, 3), 0.001)
    graph = one_op(op, [x], [int16("y", op.infer([x])[0], 0.001)])
    check_exact(graph, random_inputs(graph))
    check_compiled([(graph, [random_inputs(graph)])])


ALL = np.arange(-32768, 32768).astype(np.int16)[None]
FUNCTIONS = [
    (LeakyRelu(0.3), 0.0007, 0.0009), (LeakyRelu(-1.5), 0.001, 0.002), (Logistic(), 2.0**-12, 2.0**-15),
    (Logistic(), 0.0007, 2.0**-15), (Tanh(), 2.0**-12, 2.0**-15), (Tanh(), 0.0001, 2.0**-15),
]  # fmt: skip


@pytest.mark.parametrize(("op", "scale", "out"), FUNCTIONS, ids=str)
def test_functions_are_exact_over_all_inputs(op: Operator, scale: float, out: float) -> None:
    graph = one_op(op, [int16("x", ALL.shape, scale)], [int16("y", ALL.shape, out)])
    check_exact(graph, [ALL], litert_too=False)


@given(SEEDS, SCALES, st.sampled_from([0.5, 1.0]), st.integers(1, 40))
def test_softmax_is_exact(seed: int, scale: float, beta: float, depth: int) -> None:
    graph = one_op(Softmax(beta), [int16("x", (3, depth), scale)], [int16("y", (3, depth), 2.0**-15)])
    check_exact(graph, random_inputs(graph, seed), litert_too=False)


def reduction(op: Reduction, scale: float) -> Graph:
    x = int16("x", (3, 4, 5), 0.001)
    return one_op(op, [x], [int16("y", op.infer([x])[0], scale)])


REDUCTIONS = [kind(axes) for kind in (Mean, Sum) for axes in ((1, 2), (0,), (2,))]


@pytest.mark.parametrize("op", REDUCTIONS, ids=str)
@given(SCALES, SEEDS)
def test_reductions_are_exact(op: Reduction, scale: float, seed: int) -> None:
    graph = reduction(op, scale)
    check_exact(graph, random_inputs(graph, seed), litert_too=False)


def test_compiled() -> None:
    graphs = [reduction(op, 0.002) for op in REDUCTIONS]
    graphs += [
        one_op(Softmax(), [int16("x", (3, n), scale)], [int16("y", (3, n), 2.0**-15)])
        for n, scale in ((1, 0.01), (10, 0.0003), (100, 0.0001), (1000, 0.001))
    ]
    graphs += layers(np.random.default_rng(3))
    graphs += [pair(op, 0.001, 0.002, 0.003) for op in OPERATORS]
    graphs += [one_op(op, [int16("x", ALL.shape, scale)], [int16("y", ALL.shape, out)]) for op, scale, out in FUNCTIONS]
    check_compiled([(graph, [random_inputs(graph, seed) for seed in range(2)]) for graph in graphs])


def largest(op: Operator, x: Shape, weights: Shape, axis: int = 0) -> Graph:
    """A layer of the largest weights; its sums of products are the largest of all for inputs of -32768."""
    graph = layer(np.random.default_rng(0), op, x, weights, axis)
    kernel = graph.nodes[0].input(1)
    kernel.data = np.full(weights, -128, np.int8)
    return graph


@pytest.mark.parametrize("core", ["cortex-m4", "twins", "cortex-m0plus", "rv32imc"])
def test_on_chips(core: str) -> None:
    check([graph.nodes[0] for seed in range(3) for graph in layers(np.random.default_rng(seed))], core, "speed", 0)


def test_largest_sums() -> None:
    graphs = [
        largest(FullyConnected(), (1, 1030), (2, 1030)),
        largest(Conv2D(), (1, 2, 2, 300), (2, 2, 2, 300)),
        largest(DepthwiseConv2D(), (1, 1, 600, 2), (1, 1, 600, 2), 3),
    ]
    cases = [(graph, [[np.full(graph.inputs[0].shape, -32768, np.int16)]]) for graph in graphs]
    for graph, runs in cases:
        check_exact(graph, runs[0], litert_too=False)
    check_compiled(cases)


def test_layer_without_a_wide_bias_is_refused() -> None:
    graph = layer(np.random.default_rng(1), FullyConnected(), (1, 3), (2, 3))
    node = graph.nodes[0]
    node.inputs = node.inputs[:2]
    assert "int64 bias" in node.op.problems(node)[0]
