"""Small graphs with random weights that several tests share."""

from __future__ import annotations

import numpy as np

from tinymaix.graph import Graph, Node, Quantization, Tensor
from tinymaix.ops.base import Operator
from tinymaix.ops.conv_2d import Conv2D
from tinymaix.ops.fully_connected import FullyConnected
from tinymaix.ops.max_pool_2d import MaxPool2D
from tinymaix.ops.reshape import Reshape
from tinymaix.ops.softmax import Softmax

INT8, FLOAT, INT32 = np.dtype("int8"), np.dtype("float32"), np.dtype("int32")


def conv_node(x: Tensor, out_c: int, op: Conv2D, seed: int, size: int = 3) -> Node:
    """A convolution with random weights; int8 is quantized per channel."""
    rng = np.random.default_rng(seed)
    shape = (out_c, size, size, x.shape[3])
    if x.dtype == INT8:
        scales = rng.uniform(0.002, 0.02, out_c).astype(np.float32)
        data = rng.integers(-127, 128, shape, np.int8)
        weights = Tensor(f"weights{seed}", shape, INT8, Quantization.of(scales), data)
        biases = Tensor(
            f"bias{seed}", (out_c,), INT32, Quantization.of(scales * x.q.s), rng.integers(-900, 900, out_c, np.int32)
        )
        quantization = Quantization.of(0.05, -3)
    else:
        weights = Tensor(f"weights{seed}", shape, FLOAT, None, rng.normal(size=shape).astype(np.float32))
        biases = Tensor(f"bias{seed}", (out_c,), FLOAT, None, rng.normal(size=out_c).astype(np.float32))
        quantization = None
    inputs: list[Tensor | None] = [x, weights, biases]
    output_shape = op.infer(inputs)[0]
    return Node(op, inputs, [Tensor(f"y{seed}", output_shape, x.dtype, quantization)], f"conv{seed}")


def conv_graph(dtype: np.dtype[np.generic]) -> Graph:
    """Two convolutions, both of whose outputs are outputs of the model."""
    x = Tensor("x", (1, 9, 8, 3), dtype, Quantization.of(0.02, 5) if dtype == INT8 else None)
    first = conv_node(x, 4, Conv2D(padding=(1, 1, 1, 1), activation="relu6"), seed=1)
    second = conv_node(first.output, 2, Conv2D(stride=(2, 2)), seed=2)
    return Graph([first, second], [x], [second.output, first.output], "two_convolutions")


def classifier_graph() -> Graph:
    """int8: convolution, max pooling, reshape, fully connected, softmax."""
    x = Tensor("x", (1, 9, 9, 2), INT8, Quantization.of(0.02, -128))
    nodes = [conv_node(x, 4, Conv2D(activation="relu"), seed=4)]

    def add(op: Operator, *constants: Tensor, quantization: Quantization | None = None) -> None:
        last = nodes[-1].output
        inputs: list[Tensor | None] = [last, *constants]
        y = Tensor(f"y{len(nodes)}", op.infer(inputs)[0], INT8, quantization or last.q)
        nodes.append(Node(op, inputs, [y], op.kind.lower()))

    rng = np.random.default_rng(5)
    weights = Tensor("fc", (5, 36), INT8, Quantization.of(0.01), rng.integers(-127, 128, (5, 36), np.int8))
    scale = nodes[0].output.q.s * weights.q.s
    bias = Tensor("fc_bias", (5,), INT32, Quantization.of(scale), rng.integers(-900, 900, 5, np.int32))
    add(MaxPool2D())
    add(Reshape((1, 36)))
    add(FullyConnected(), weights, bias, quantization=Quantization.of(0.2, 3))
    add(Softmax(), quantization=Quantization.of(1 / 256, -128))
    return Graph(nodes, [x], [nodes[-1].output], "classifier")
