"""uint8 models, hybrid layers and float16 weights: read, and run as LiteRT runs the file."""

from __future__ import annotations

import numpy as np
import pytest
from ai_edge_litert.schema_py_generated import ModelT
from flatbuffers import Builder
from hypothesis import given

from tests.ops.make import SEEDS, float32, int8
from tests.oracles import check_compiled, expect_same, litert, one_op, random_inputs, tflm
from tinymaix.graph import Array, Graph, Node, Quantization, Shape, Tensor, unique
from tinymaix.ops.add import Add
from tinymaix.ops.average_pool_2d import AveragePool2D
from tinymaix.ops.base import Operator
from tinymaix.ops.conv_2d import Conv2D
from tinymaix.ops.depthwise_conv_2d import DepthwiseConv2D
from tinymaix.ops.dequantize import Dequantize
from tinymaix.ops.fully_connected import FullyConnected
from tinymaix.ops.logistic import Logistic
from tinymaix.ops.max_pool_2d import MaxPool2D
from tinymaix.ops.reshape import Reshape
from tinymaix.ops.softmax import Softmax
from tinymaix.read.tflite import read_tflite
from tinymaix.read.tflite_schema import INT4
from tinymaix.rewrite import simplify
from tinymaix.write.tflite import tflite_bytes


def uint8(name: str, shape: Shape, scale: float, zero_point: int, data: Array | None = None) -> Tensor:
    return Tensor(name, shape, np.dtype(np.uint8), Quantization.of(scale, zero_point), data)


class Chain:
    """Layers of uint8, one after the other."""

    def __init__(self, rng: np.random.Generator, shape: Shape) -> None:
        self.rng = rng
        self.nodes: list[Node] = []
        self.last = self.first = uint8("x", shape, 0.02, 131)

    def layer(self, op: Operator, shape: Shape, channels: int, scale: float = 0.01) -> None:
        data = self.rng.integers(0, 256, shape, dtype=np.uint8)
        weights = uint8(f"w{len(self.nodes)}", shape, scale, int(self.rng.integers(100, 160)), data)
        numbers = self.rng.integers(-2000, 2000, channels, dtype=np.int32)
        bias = Tensor("b", (channels,), numbers.dtype, Quantization.of(self.last.q.s * scale), numbers)
        self.then(op, [weights, bias], 0.06, 120)

    def then(self, op: Operator, more: list[Tensor], scale: float, zero_point: int) -> None:
        inputs = [self.last, *more]
        y = uint8(f"y{len(self.nodes)}", op.infer(inputs)[0], scale, zero_point)
        self.nodes.append(Node(op, list(inputs), [y], f"node{len(self.nodes)}"))
        self.last = y

    def same(self, op: Operator) -> None:
        self.then(op, [], self.last.q.s, self.last.q.z)

    def graph(self) -> Graph:
        return Graph(self.nodes, [self.first], [self.last], "legacy")


def classifier(seed: int) -> Graph:
    chain = Chain(np.random.default_rng(seed), (1, 7, 6, 3))
    chain.layer(Conv2D((1, 1), (1, 1), (1, 1, 1, 1), "relu6"), (4, 3, 3, 3), 4)
    chain.layer(DepthwiseConv2D((2, 2), (1, 1), (1, 1, 0, 1)), (1, 3, 3, 8), 8)
    chain.same(MaxPool2D((2, 2), (1, 1)))
    chain.same(AveragePool2D((3, 2), (1, 1)))
    chain.then(Add(), [chain.last], 0.1, 100)
    chain.same(Reshape((1, -1)))
    chain.layer(FullyConnected(), (5, chain.last.elements), 5)
    chain.then(Softmax(0.3), [], 1 / 256, 0)
    return chain.graph()


@given(SEEDS)
def test_uint8_is_exact(seed: int) -> None:
    data = tflite_bytes(classifier(seed))
    graph = read_tflite(data)
    assert [t.dtype.name for t in (*graph.inputs, *graph.outputs)] == ["uint8", "uint8"]
    inputs = random_inputs(graph, seed)
    expect_same(graph.run(inputs), litert(data, inputs), "numpy and LiteRT")


def test_uint8_compiles() -> None:
    graph = simplify(read_tflite(tflite_bytes(classifier(1))))
    check_compiled([(graph, [random_inputs(graph, seed) for seed in range(3)])])


def test_uint8_logistic_is_exact_over_all_inputs() -> None:
    x = uint8("x", (256,), 0.05, 117)
    graph = read_tflite(tflite_bytes(one_op(Logistic(), [x], [uint8("y", (256,), 1 / 256, 0)])))
    inputs = [np.arange(256, dtype=np.uint8)]
    expect_same(graph.run(inputs), litert(tflite_bytes(graph), inputs), "numpy and LiteRT")
    check_compiled([(graph, [inputs])])


@pytest.mark.parametrize("scales", [1, 4])
def test_hybrid_layer_becomes_float_with_a_word_about_it(scales: int) -> None:
    rng = np.random.default_rng(scales)
    raw = rng.integers(-127, 128, (4, 3, 3, 2), dtype=np.int8)
    weights = Tensor("w", raw.shape, raw.dtype, Quantization.of(rng.uniform(0.01, 0.02, scales)), raw)
    bias = float32("b", (4,), rng.uniform(-1, 1, 4))
    graph = one_op(Conv2D(), [float32("x", (1, 5, 5, 2)), weights, bias], [float32("y", (1, 3, 3, 4))])
    read = read_tflite(tflite_bytes(graph))
    assert "dynamic range quantization" in read.notes[0]
    real = weights.q.scale.reshape(-1, 1, 1, 1) * raw.astype(np.float32)
    graph.nodes[0].inputs[1] = float32("w", raw.shape, real)
    inputs = random_inputs(graph)
    expect_same(read.run(inputs), graph.run(inputs), "the hybrid layer and the float one", 1e-6)


def test_int4_weights_are_unpacked() -> None:
    raw = np.random.default_rng(2).integers(-7, 8, (3, 5), dtype=np.int8)
    weights = Tensor("w", raw.shape, raw.dtype, Quantization.of(0.1), raw)
    x, y = int8("x", (1, 5), 0.1, 3), int8("y", (1, 3), 0.2)
    graph = one_op(FullyConnected(), [x, weights], [y])
    expected = graph.run(random_inputs(graph))
    model = ModelT.InitFromPackedBuf(tflite_bytes(graph), 0)
    tensor = next(t for t in model.subgraphs[0].tensors if t.name == b"w")
    tensor.type = INT4
    halves = np.append(raw.reshape(-1), np.int8(0)).view(np.uint8) & 15
    model.buffers[tensor.buffer].data = halves[::2] | halves[1::2] << 4
    builder = Builder(1024)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    data = bytes(builder.Output())
    expect_same(read_tflite(data).run(random_inputs(graph)), expected, "int4 weights and int8 ones")
    expect_same(tflm(data, random_inputs(graph)), expected, "int4 weights in TFLM and here")


def test_float16_weights_fold() -> None:
    half = np.random.default_rng(1).uniform(-1, 1, (4, 8)).astype(np.float16)
    stored, weights = Tensor("half", half.shape, half.dtype, None, half), float32("w", half.shape)
    nodes = [
        Node(Dequantize(), [stored], [weights], "dequantize"),
        Node(FullyConnected(), [float32("x", (1, 8)), weights], [float32("y", (1, 4))], "dense"),
    ]
    graph = Graph(nodes, unique(nodes[1].inputs[:1]), nodes[1].outputs)  # type: ignore[arg-type]
    data = tflite_bytes(graph)
    read = read_tflite(data)
    assert [node.op.kind for node in read.nodes] == ["FULLY_CONNECTED"]
    inputs = random_inputs(graph)
    expect_same(read.run(inputs), litert(data, inputs), "numpy and LiteRT", 1e-6)
