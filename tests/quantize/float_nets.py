"""Small float networks for the tests of the quantizer: layers in a row, with what may stand between them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tinymaix import api
from tinymaix.graph import Array, Graph, Node, Tensor
from tinymaix.ops.base import Operator
from tinymaix.ops.conv_2d import Conv2D
from tinymaix.ops.depthwise_conv_2d import DepthwiseConv2D
from tinymaix.ops.fully_connected import FullyConnected
from tinymaix.quantize.float_run import run_float
from tinymaix.quantize.samples import Samples

FLOAT = np.dtype("float32")
DATA = Path(__file__).parents[1] / "data"


class Net:
    """A graph that grows: every layer gets random weights, its channels' ranges a hundred times apart where asked."""

    def __init__(self, shape: tuple[int, ...], seed: int = 0, uneven: bool = False) -> None:
        self.x = Tensor("x", shape, FLOAT)
        self.last = self.x
        self.nodes: list[Node] = []
        self.rng = np.random.default_rng(seed)
        self.uneven = uneven

    def add(self, op: Operator, *inputs: Tensor) -> Tensor:
        given: list[Tensor | None] = list(inputs or (self.last,))
        name = f"{op.kind.lower()}_{len(self.nodes)}"
        self.last = Tensor(f"y{len(self.nodes)}", op.infer(given)[0], FLOAT)
        self.nodes.append(Node(op, given, [self.last], name))
        return self.last

    def layer(self, op: Operator, out_c: int, kernel: int = 1) -> Tensor:
        """A convolution (depthwise or not), or a fully connected layer."""
        in_c = self.last.shape[-1]
        if isinstance(op, FullyConnected):
            shape: tuple[int, ...] = (out_c, in_c)
        elif isinstance(op, DepthwiseConv2D):
            shape = (1, kernel, kernel, out_c)
        else:
            shape = (out_c, kernel, kernel, in_c)
        taps = kernel**2 if isinstance(op, DepthwiseConv2D) else int(np.prod(shape[1:]))
        weights = self.rng.normal(size=shape) / np.sqrt(taps)
        bias = self.rng.normal(size=out_c) / 4
        if self.uneven:
            factors = 10 ** self.rng.uniform(-2, 0, out_c)
            axis = 3 if isinstance(op, DepthwiseConv2D) else 0
            weights = weights * factors.reshape([-1 if i == axis else 1 for i in range(weights.ndim)])
            bias = bias * factors
        return self.add(op, self.last, self.constant(weights), self.constant(bias))

    def constant(self, values: Array) -> Tensor:
        name = f"c{len(self.nodes)}_{values.ndim}"
        return Tensor(name, values.shape, FLOAT, None, values.astype(np.float32))

    def graph(self) -> Graph:
        return Graph(self.nodes, [self.x], [self.last], "net")


def random_samples(graph: Graph, count: int, seed: int = 1) -> Samples:
    rng = np.random.default_rng(seed)
    return Samples([[rng.normal(size=t.shape).astype(np.float32) for t in graph.inputs] for _ in range(count)])


def outputs(graph: Graph, inputs: Sequence[Sequence[Array]]) -> Array:
    """The first output, (samples, elements), of a float graph."""
    return run_float(graph, inputs, graph.outputs)[id(graph.outputs[0])].reshape(len(inputs), -1)


def residual_net(seed: int = 0, activation: str = "relu", uneven: bool = True) -> Graph:
    """Two inverted residual blocks on 6x6 and a classifier."""
    from tinymaix.ops.add import Add
    from tinymaix.ops.mean import Mean

    net = Net((1, 6, 6, 3), seed, uneven)
    same = (1, 1, 1, 1)
    start = net.layer(Conv2D(padding=same, activation=activation), 6, 3)
    net.layer(Conv2D(activation=activation), 12)
    net.layer(DepthwiseConv2D(padding=same, activation=activation), 12, 3)
    net.layer(Conv2D(), 6)
    net.add(Add(), start, net.last)
    net.layer(Conv2D(activation=activation), 12)
    net.layer(DepthwiseConv2D(stride=(2, 2), padding=same, activation=activation), 12, 3)
    net.layer(Conv2D(), 8)
    net.layer(Conv2D(activation=activation), 16)
    net.add(Mean((1, 2)))
    net.layer(FullyConnected(), 5)
    return net.graph()


def unequal_mobilenet() -> tuple[Graph, Samples, Samples]:
    """The hard case of tests/data/make_unequal.py: the float graph, samples to calibrate with, and samples to test."""
    graph = api.read(DATA / "unequal_mobilenet.pt2")
    with np.load(DATA / "unequal_digits.npz") as file:
        x, y = file["x"].astype(np.float32) / 16, file["y"].astype(np.int64)
    inputs = [[picture.reshape(graph.inputs[0].shape)] for picture in x]
    return graph, Samples(inputs[400:], y[400:]), Samples(inputs[:400], y[:400])
