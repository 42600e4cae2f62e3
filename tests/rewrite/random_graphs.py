"""Random int8 graphs whose layers have constant and unread channels planted, and random inputs for them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from tinymaix.graph import Array, Graph, Node, Quantization, Shape, Tensor
from tinymaix.ops.add import Add
from tinymaix.ops.average_pool_2d import AveragePool2D
from tinymaix.ops.base import Operator
from tinymaix.ops.concatenation import Concatenation
from tinymaix.ops.conv_2d import Conv2D
from tinymaix.ops.depthwise_conv_2d import DepthwiseConv2D
from tinymaix.ops.fully_connected import FullyConnected
from tinymaix.ops.hard_swish import HardSwish
from tinymaix.ops.leaky_relu import LeakyRelu
from tinymaix.ops.max_pool_2d import MaxPool2D
from tinymaix.ops.maximum import Maximum
from tinymaix.ops.mean import Mean
from tinymaix.ops.mul import Mul
from tinymaix.ops.pad import Pad
from tinymaix.ops.pad_v2 import PadV2
from tinymaix.ops.quantize import Quantize
from tinymaix.ops.relu import Relu
from tinymaix.ops.reshape import Reshape
from tinymaix.ops.resize_nearest_neighbor import ResizeNearestNeighbor
from tinymaix.ops.softmax import Softmax
from tinymaix.ops.squeeze import Squeeze
from tinymaix.ops.sub import Sub
from tinymaix.ops.transpose import Transpose

ACTIVATIONS = ("none", "relu", "relu6", "relu_n1_to_1")


class RandomGraph:
    """Grows node by node; ``tensors`` are those that later nodes may read, all of rank 4."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        size = self.pick(range(3, 7))
        self.x = Tensor("x", (1, size, size + 1, self.pick((1, 2, 3))), np.dtype(np.int8), self.quantization())
        self.tensors, self.nodes = [self.x], list[Node]()

    def pick(self, choices: Sequence[int]) -> int:
        return choices[int(self.rng.integers(len(choices)))]

    def chance(self, probability: float = 0.5) -> bool:
        return bool(self.rng.random() < probability)

    def quantization(self) -> Quantization:
        return Quantization.of(self.rng.uniform(0.02, 0.08), int(self.rng.choice([-128, 0, 127, -5, 60])))

    def add(self, op: Operator, *inputs: Tensor, quantization: Quantization | None = None) -> Tensor:
        """A node on the inputs; without a quantization its output has the first input's."""
        shape = op.infer(inputs)[0]
        y = Tensor(f"t{len(self.nodes)}", shape, np.dtype(np.int8), quantization or inputs[0].quantization)
        self.nodes.append(Node(op, list(inputs), [y], f"{op.kind.lower()}_{len(self.nodes)}"))
        if len(shape) == 4:
            self.tensors.append(y)
        return y

    def last(self) -> Tensor:
        return self.tensors[-1] if self.chance(0.8) else self.tensors[self.pick(range(len(self.tensors)))]

    def layer(self, op: Operator, x: Tensor, shape: Shape, out_axis: int, in_axis: int | None) -> Tensor:
        """A layer with random weights, some outputs of which are constant and some inputs of which have no weight."""
        rng, channels = self.rng, shape[out_axis]
        data = rng.integers(-127, 128, shape, dtype=np.int8)
        fan = data.size // channels
        bias = rng.integers(-6000, 6000, channels, dtype=np.int32)
        at = np.moveaxis(data, out_axis, 0)
        constant = rng.random(channels) < rng.choice([0.0, 0.4, 0.9])
        at[constant & (rng.random(channels) < 0.6)] = 0
        bias[constant] += rng.choice([-(10**8), 10**8, 0, 0, 3000], int(constant.sum())).astype(np.int32)
        if in_axis is not None:
            np.moveaxis(data, in_axis, 0)[rng.random(shape[in_axis]) < 0.2] = 0
        scales = rng.uniform(0.002, 0.02, channels if self.chance() else 1)
        weights = Tensor("w", shape, data.dtype, Quantization.of(scales, 0, out_axis), data)
        biases = Tensor("b", (channels,), bias.dtype, Quantization.of(x.q.s * scales), bias)
        scale = float(x.q.s * scales.mean() * 60 * fan**0.5)
        y = Quantization.of(scale, self.quantization().z)
        return self.add(op, x, weights, *([biases] if self.chance(0.8) or constant.any() else []), quantization=y)

    def conv(self) -> None:
        x = self.last()
        kernel, padding = self.window(x)
        group_c = x.shape[3]
        if self.chance(0.15) and group_c % 2 == 0:
            group_c //= 2
        out_c = self.pick((2, 4, 6, 8))
        stride = (self.pick((1, 1, 2)), self.pick((1, 1, 2)))
        op = Conv2D(stride, (1, 1), padding, self.activation())
        self.layer(op, x, (out_c, *kernel, group_c), 0, 3)

    def depthwise(self) -> None:
        x = self.last()
        kernel, padding = self.window(x)
        op = DepthwiseConv2D((1, 1), (1, 1), padding, self.activation())
        self.layer(op, x, (1, *kernel, x.shape[3] * self.pick((1, 1, 2))), 3, None)

    def window(self, x: Tensor) -> tuple[tuple[int, int], tuple[int, int, int, int]]:
        kernel = (self.pick(range(1, min(3, x.shape[1]) + 1)), self.pick(range(1, min(3, x.shape[2]) + 1)))
        if self.chance():
            return kernel, (0, 0, 0, 0)
        pads = [self.pick(range(k)) for k in (kernel[0], kernel[0], kernel[1], kernel[1])]
        return kernel, (pads[0], pads[1], pads[2], pads[3])

    def activation(self) -> str:
        return ACTIVATIONS[self.pick(range(4))]

    def two_operands(self) -> None:
        """A sum, product, ... of two tensors of a shape, or with a constant or a broadcast operand."""
        a = self.last()
        alike = [t for t in self.tensors if t.shape == a.shape]
        b = alike[self.pick(range(len(alike)))]
        op = [Add(self.activation()), Sub(self.activation()), Mul(self.activation()), Maximum()][self.pick(range(4))]
        if op.kind == "MAXIMUM":
            b = self.add(Quantize(), b, quantization=a.quantization)
        elif self.chance(0.3):
            shape = [(a.shape[3],), (1, 1, 1, a.shape[3]), (1,), a.shape][self.pick(range(4))]
            data = self.rng.integers(-128, 128, shape, dtype=np.int8)
            b = Tensor("constant", shape, data.dtype, self.quantization(), data)
        elif self.chance(0.2):
            b = self.add(Mean((-1, 1), True), b, quantization=self.quantization())
        if self.chance():
            a, b = (b, a) if not b.is_constant or op.kind != "MAXIMUM" else (a, b)
        self.add(op, a, b, quantization=a.quantization if op.kind == "MAXIMUM" else self.quantization())

    def one_operand(self) -> None:
        x, q = self.last(), self.quantization()
        op = [Relu(), LeakyRelu(0.3), HardSwish(), Quantize()][self.pick(range(4))]
        self.add(op, x, quantization=q)

    def pool(self) -> None:
        x = self.last()
        pool, padding = self.window(x)
        kind = MaxPool2D if self.chance() else AveragePool2D
        self.add(kind(pool, (1, 2), padding, self.activation()), x)

    def move(self) -> None:
        x = self.last()
        height, width, channels = x.shape[1:]
        other = self.add(Quantize(), self.tensors[-1], quantization=x.quantization)
        moves: list[Callable[[], object]] = [
            lambda: self.add(Pad(((0, 0), (1, 0), (0, 1), (0, 0))), x),
            lambda: self.add(PadV2(((0, 0), (0, 1), (0, 0), (0, 0)), 17), x),
            lambda: self.add(Pad(((0, 0), (0, 0), (0, 0), (1, 0))), x),
            lambda: self.add(Reshape((1, height * width, 1, channels)), x),
            lambda: self.add(Reshape((1, height, 1, width * channels)), x) if width * channels < 30 else None,
            lambda: self.add(Reshape((1, -1, 1, 1)), x),
            lambda: self.add(ResizeNearestNeighbor((2, 3)), x),
            lambda: self.add(Transpose((0, 3, 2, 1)), x) if max(height, channels) < 12 else None,
            lambda: self.add(Concatenation(1), x, x),
            lambda: self.add(Concatenation(-1), x, other) if x.shape[:3] == other.shape[:3] else None,
        ]
        moves[self.pick(range(len(moves)))]()

    def head(self) -> list[Tensor]:
        """Fully connected layers on a map, on a flattened map or on means; sometimes two outputs of the graph."""
        x = self.tensors[-1]
        way = self.pick(range(4))
        if way == 0:
            x = self.add(Reshape((1, x.elements)), x)
        elif way == 1:
            x = self.add(Mean((1, 2), self.chance()), x, quantization=self.quantization())
        elif way == 2:
            x = self.add(AveragePool2D((x.shape[1], x.shape[2]), (1, 1)), x)
            x = self.add(Squeeze(), x) if x.shape[3] > 1 else x
        for _ in range(self.pick((1, 2))):
            columns = x.shape[-1] if self.chance(0.3) else x.elements
            x = self.layer(FullyConnected(self.activation()), x, (self.pick((3, 5)), columns), 0, 1)
        if self.chance(0.3):
            x = self.add(Softmax(1.0), x, quantization=Quantization.of(1 / 256, -128))
        return [x, self.tensors[self.pick(range(len(self.tensors)))]] if self.chance(0.3) else [x]


def random_graph(seed: int) -> Graph:
    """A graph of a few random nodes. Some of them may be dead."""
    graph = RandomGraph(seed)
    steps = [graph.conv, graph.conv, graph.conv, graph.depthwise, graph.depthwise, graph.two_operands]
    steps += [graph.two_operands, graph.one_operand, graph.pool, graph.move]
    graph.conv()
    for _ in range(graph.pick(range(2, 8))):
        steps[graph.pick(range(len(steps)))]()
    return Graph(graph.nodes, [graph.x], graph.head(), f"random{seed}")


def random_inputs(graph: Graph, seed: int) -> list[Array]:
    """Inputs over the whole range of int8, or of its two ends only."""
    rng = np.random.default_rng(seed)
    choices = np.array([-128, 127], np.int8) if seed % 3 == 0 else np.arange(-128, 128, dtype=np.int8)
    return [rng.choice(choices, t.shape) for t in graph.inputs]


def values(graph: Graph, inputs: Sequence[Array]) -> dict[str, Array]:
    """What every tensor holds, by name."""
    held = {id(t): a for t, a in zip(graph.inputs, inputs, strict=True)}
    for _, results in graph.steps(held):
        held.update(results)
    return {t.name: held[id(t)] for t in graph.tensors if id(t) in held}


def is_part(part: Array, whole: Array) -> bool:
    """Whether the channels of one array are some of another's, in order."""
    if part.shape == whole.shape:
        return np.array_equal(part, whole)
    left = iter(np.moveaxis(whole, -1, 0))
    return all(any(np.array_equal(channel, other) for other in left) for channel in np.moveaxis(part, -1, 0))
