"""The .tflite writer: what it writes runs in both interpreters and reads back as the same graph."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.oracles import check_exact, litert, one_op, random_inputs
from tinymaix.graph import Graph, ModelError, Node, Quantization, Tensor
from tinymaix.ops.base import Operator
from tinymaix.ops.conv_2d import Conv2D
from tinymaix.write.tflite import tflite_bytes, write_tflite

INT8, FLOAT, INT32 = np.dtype("int8"), np.dtype("float32"), np.dtype("int32")


def conv_node(x: Tensor, out_c: int, op: Conv2D, seed: int) -> Node:
    """A convolution with random 3x3 weights; int8 is quantized per channel."""
    rng = np.random.default_rng(seed)
    shape = (out_c, 3, 3, x.shape[3])
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
    x = Tensor("x", (1, 9, 8, 3), dtype, Quantization.of(0.02, 5) if dtype == INT8 else None)
    first = conv_node(x, 4, Conv2D(padding=(1, 1, 1, 1), activation="relu6"), seed=1)
    second = conv_node(first.output, 2, Conv2D(stride=(2, 2)), seed=2)
    return Graph([first, second], [x], [second.output, first.output], "two_convolutions")


@pytest.mark.parametrize("dtype", [INT8, FLOAT], ids=str)
def test_both_interpreters_give_the_bytes_of_the_reference(dtype: np.dtype[np.generic]) -> None:
    graph = conv_graph(dtype)
    for seed in range(3):
        check_exact(graph, random_inputs(graph, seed))


def test_one_operator_with_dilation_runs_in_both_interpreters() -> None:
    x = Tensor("x", (1, 7, 7, 2), INT8, Quantization.of(0.1, -128))
    node = conv_node(x, 3, Conv2D(dilation=(2, 2)), seed=3)
    graph = one_op(node.op, node.inputs, node.outputs)
    assert graph.inputs == [x]
    check_exact(graph, random_inputs(graph))


def test_constants_lie_aligned_and_equal_ones_lie_once() -> None:
    graph = conv_graph(INT8)
    data = tflite_bytes(graph)
    for tensor in graph.constants:
        assert tensor.data is not None
        assert data.count(tensor.data.tobytes()) == 1
        assert data.index(tensor.data.tobytes()) % 16 == 0
    node = graph.nodes[0]
    twin = Node(node.op, list(node.inputs), [Tensor("twin", node.output.shape, INT8, node.output.q)])
    doubled = Graph([node, twin], graph.inputs, [node.output, twin.output])
    weights = node.input(1).data
    assert weights is not None
    assert tflite_bytes(doubled).count(weights.tobytes()) == 1


def test_file_is_identified_and_written_whole(tmp_path: Path) -> None:
    graph = conv_graph(INT8)
    path = tmp_path / "model.tflite"
    write_tflite(graph, path)
    data = path.read_bytes()
    assert data[4:8] == b"TFL3"
    assert data == tflite_bytes(graph)
    assert list(tmp_path.iterdir()) == [path]


def test_operator_without_a_spelling_is_an_error_that_names_it() -> None:
    class Foreign(Operator):
        pass

    x = Tensor("x", (2,), FLOAT)
    with pytest.raises(ModelError, match=r"'node' has no spelling in a \.tflite"):
        tflite_bytes(one_op(Foreign(), [x], [Tensor("y", (2,), FLOAT)]))


def test_interpreter_that_refuses_says_so() -> None:
    with pytest.raises(RuntimeError, match="LiteRT refuses a model of 4 bytes"):
        litert(b"none", [])
