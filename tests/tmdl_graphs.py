"""Small graphs that a .tmdl can say, for the tests of its writer and its reader."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from tinymaix.graph import Array, Graph, Node, Quantization, Shape, Tensor
from tinymaix.ops.add import Add
from tinymaix.ops.base import Operator
from tinymaix.ops.conv_2d import Conv2D
from tinymaix.ops.depthwise_conv_2d import DepthwiseConv2D
from tinymaix.ops.fully_connected import FullyConnected
from tinymaix.ops.mean import Mean
from tinymaix.ops.reshape import Reshape
from tinymaix.ops.softmax import Softmax

PROBABILITY = Quantization.of(1 / 256, -128)


@dataclass
class Chain:
    """A graph that grows at its end, with random constants; each method gives the new output."""

    integer: bool
    shape: Shape
    seed: int = 0
    nodes: list[Node] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)
        self.input = self.end = self.tensor("input", self.shape)

    def tensor(self, name: str, shape: Shape, quantization: Quantization | None = None) -> Tensor:
        if not self.integer:
            return Tensor(name, shape, np.dtype("float32"))
        own = Quantization.of(float(self.rng.uniform(0.01, 0.1)), int(self.rng.integers(-128, 128)))
        return Tensor(name, shape, np.dtype("int8"), quantization or own)

    def apply(
        self, op: Operator, inputs: list[Tensor | None] | None = None, quantization: Quantization | None = None
    ) -> Tensor:
        """Append the operator on the end of the chain, or on ``inputs``."""
        inputs = inputs or [self.end]
        name = f"{op.kind.lower()}_{len(self.nodes)}"
        self.end = self.tensor(name, op.infer(inputs)[0], quantization)
        self.nodes.append(Node(op, inputs, [self.end], name))
        return self.end

    def conv(self, channels: int, op: Conv2D | None = None, kernel: tuple[int, int] = (3, 3)) -> Tensor:
        weights, bias = self.constants((channels, *kernel, self.end.shape[3]), 0)
        return self.apply(op or Conv2D(activation="relu"), [self.end, weights, bias])

    def depthwise(self, multiplier: int, op: DepthwiseConv2D) -> Tensor:
        weights, bias = self.constants((1, 3, 3, multiplier * self.end.shape[3]), 3)
        return self.apply(op, [self.end, weights, bias])

    def dense(self, channels: int, per_channel: bool = False) -> Tensor:
        weights, bias = self.constants((channels, self.end.elements), 0, per_channel)
        return self.apply(FullyConnected(), [self.end, weights, bias])

    def reshape(self, shape: Shape) -> Tensor:
        return self.apply(Reshape(shape), quantization=self.end.quantization)

    def softmax(self) -> Tensor:
        return self.apply(Softmax(), quantization=PROBABILITY)

    def constants(self, shape: Shape, axis: int, per_channel: bool = True) -> tuple[Tensor, Tensor]:
        """Weights and bias."""
        channels = shape[axis]
        if not self.integer:
            return self.constant(self.rng.normal(size=shape).astype(np.float32)), self.constant(
                self.rng.normal(size=channels).astype(np.float32)
            )
        scales = self.rng.uniform(0.001, 0.01, channels if per_channel else 1).astype(np.float32)
        weights = self.constant(self.rng.integers(-127, 128, shape, np.int8), Quantization.of(scales, axis=axis))
        bias = self.constant(self.rng.integers(-3000, 3000, channels, np.int32), Quantization.of(scales * self.end.q.s))
        return weights, bias

    @staticmethod
    def constant(data: Array, quantization: Quantization | None = None) -> Tensor:
        return Tensor("constant", data.shape, data.dtype, quantization, data)

    def graph(self) -> Graph:
        return Graph(self.nodes, [self.input], [self.end], "chain")


def classifier(integer: bool, seed: int = 1) -> Graph:
    """One layer of each type but ADD, with every kind of padding."""
    chain = Chain(integer, (1, 11, 9, 2), seed)
    chain.conv(4, Conv2D(stride=(2, 1), padding=(1, 1, 1, 1), activation="relu6"))
    chain.depthwise(2, DepthwiseConv2D(dilation=(1, 2), padding=(0, 2, 1, 0), activation="relu_n1_to_1"))
    chain.conv(3, kernel=(1, 2))
    chain.apply(Mean((1, 2), keep_dims=True))
    chain.reshape((1, 3))
    chain.dense(7, per_channel=True)
    chain.dense(5)
    chain.softmax()
    return chain.graph()


def residual(integer: bool, kept_first: bool = True, blocks: int = 1) -> Graph:
    """Blocks of a convolution whose input is added to its output, between two more convolutions."""
    chain = Chain(integer, (1, 6, 6, 1), seed=3)
    chain.conv(5)
    for _ in range(blocks):
        kept = chain.end
        new = chain.conv(5, Conv2D(padding=(1, 1, 1, 1)))
        chain.apply(Add(), [kept, new] if kept_first else [new, kept])
    chain.conv(2)
    return chain.graph()
