"""The .tflite writer: what it writes runs in both interpreters and reads back as the same graph."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import load_reference, model_files, model_id
from tests.graphs import FLOAT, INT8, classifier_graph, conv_graph, conv_node
from tests.models.golden import HYBRID_TOLERANCE
from tests.oracles import check_exact, expect_same, litert, one_op, random_inputs, tflm
from tinymaix.graph import Array, Graph, ModelError, Node, Quantization, Tensor
from tinymaix.ops.base import Operator
from tinymaix.ops.conv_2d import Conv2D
from tinymaix.read.tflite import read_tflite
from tinymaix.write.tflite import tflite_bytes, write_tflite

MODELS = [path for path in model_files() if "seanet_int16" not in path.parts]  # those have no reference vectors


def expect_equal(a: Graph, b: Graph) -> None:
    """Assert that two graphs are the same but for their names and the identity of their tensors."""
    assert [node.op for node in a.nodes] == [node.op for node in b.nodes]
    assert len(a.tensors) == len(b.tensors)
    index_a = {id(tensor): i for i, tensor in enumerate(a.tensors)}
    index_b = {id(tensor): i for i, tensor in enumerate(b.tensors)}
    assert [index_a[id(t)] for t in (*a.inputs, *a.outputs)] == [index_b[id(t)] for t in (*b.inputs, *b.outputs)]
    for m, n in zip(a.nodes, b.nodes, strict=True):
        assert [t and index_a[id(t)] for t in m.inputs] == [t and index_b[id(t)] for t in n.inputs]
        assert [index_a[id(t)] for t in m.outputs] == [index_b[id(t)] for t in n.outputs]
    for s, t in zip(a.tensors, b.tensors, strict=True):
        assert (s.name, s.shape, s.dtype, s.is_constant) == (t.name, t.shape, t.dtype, t.is_constant)
        if s.data is not None and t.data is not None:
            assert s.data.tobytes() == t.data.tobytes()
        assert (s.quantization is None) == (t.quantization is None)
        if s.quantization is not None and t.quantization is not None:
            assert np.array_equal(s.quantization.scale, t.quantization.scale)
            assert np.array_equal(s.quantization.zero_point, t.quantization.zero_point)
            assert s.quantization.axis == t.quantization.axis


@pytest.mark.parametrize("dtype", [INT8, FLOAT], ids=str)
def test_both_interpreters_give_the_bytes_of_the_reference(dtype: np.dtype[np.generic]) -> None:
    graph = conv_graph(dtype)
    for seed in range(3):
        check_exact(graph, random_inputs(graph, seed))


def test_classifier_gives_the_bytes_of_the_reference() -> None:
    graph = classifier_graph()
    for seed in range(3):
        check_exact(graph, random_inputs(graph, seed), litert_too=False)  # it rounds FULLY_CONNECTED once, not twice


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


@pytest.mark.parametrize("dtype", [INT8, FLOAT], ids=str)
def test_what_is_written_reads_back_as_the_same_graph(dtype: np.dtype[np.generic]) -> None:
    graph = conv_graph(dtype)
    expect_equal(graph, read_tflite(tflite_bytes(graph)))


def test_operators_with_attributes_read_back() -> None:
    graph = classifier_graph()
    expect_equal(graph, read_tflite(tflite_bytes(graph)))


@pytest.mark.parametrize("path", MODELS, ids=model_id)
def test_shared_model_reads_back_and_runs_after_rewriting(path: Path) -> None:
    try:
        graph = read_tflite(path.read_bytes())
        data = tflite_bytes(graph)
    except ModelError as error:
        pytest.skip(str(error).splitlines()[0])
    expect_equal(graph, read_tflite(data))
    if len(data) < 400_000:
        inputs, outputs = load_reference(path)[0]
        found = _engine(path, inputs)(data, inputs)
        expect_same(found, outputs, "the file after rewriting and the model", HYBRID_TOLERANCE if graph.notes else 0.0)


def _engine(path: Path, inputs: list[Array]) -> Callable[[bytes, list[Array]], list[Array]]:
    """TFLM, or LiteRT for a model that TFLM refuses as it is."""
    try:
        tflm(path.read_bytes(), inputs)
    except RuntimeError:
        return litert
    return tflm
