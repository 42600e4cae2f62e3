"""What other exporters than PyTorch's write: tf2onnx (transposes around each layer) and scikit-learn's.

tf2onnx needs TensorFlow; its patterns are written here by hand.
"""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.oracles import check_compiled
from tests.read import onnx_writer as onnx
from tinymaix.graph import Array, Graph, ModelError
from tinymaix.read.onnx import read_onnx
from tinymaix.rewrite import simplify

RNG = np.random.default_rng(6)
FIRST, LAST = [0, 3, 1, 2], [0, 2, 3, 1]


def real(*shape: int) -> Array:
    return RNG.uniform(-0.5, 0.5, shape).astype(np.float32)


class Writer:
    """An .onnx in the making; each method appends to the last tensor, or to another one, and gives the new one."""

    def __init__(self, shape: tuple[int, ...], opset: int = 13) -> None:
        self.shape, self.opset, self.last = shape, opset, "x"
        self.nodes: list[bytes] = []
        self.constants: dict[str, Array] = {}

    def add(self, kind: str, *others: Array | str, of: str = "", **attributes: Any) -> str:
        names = [of or self.last]
        for other in others:
            if not isinstance(other, str):
                names.append(f"c{len(self.constants)}")
                self.constants[names[-1]] = other
            else:
                names.append(other)
        self.last = f"t{len(self.nodes)}"
        self.nodes.append(onnx.node(kind, names, [self.last], label=self.last, **attributes))
        return self.last

    def nchw(self, kind: str, *others: Array | str, **attributes: Any) -> str:
        """A layer of the channels-first kind between transposes."""
        self.add("Transpose", perm=FIRST)
        self.add(kind, *others, **attributes)
        return self.add("Transpose", perm=LAST)

    def convolution(self, weights: Array, **attributes: Any) -> str:
        kernel = {"kernel_shape": list(weights.shape[2:]), "strides": [1, 1], "dilations": [1, 1], "group": 1}
        return self.nchw("Conv", weights, **{**kernel, **attributes})

    def batch_norm(self, channels: int) -> str:
        return self.nchw("BatchNormalization", real(channels) + 1, real(channels), real(channels), real(channels) + 1)

    def check(self, kinds: list[str]) -> Graph:
        """These operators are left of the model, and they compute what onnxruntime computes."""
        data = onnx.model(self.nodes, [onnx.value("x", self.shape)], [self.last], self.constants, self.opset)
        graph = simplify(read_onnx(data))
        assert [node.op.kind for node in graph.nodes] == kinds
        runtime = pytest.importorskip("onnxruntime", reason="the reference that models are compared with")
        x = np.random.default_rng(1).uniform(-1, 1, self.shape).astype(np.float32)
        session = runtime.InferenceSession(data, providers=["CPUExecutionProvider"])
        (expected,) = session.run([self.last], {"x": x})
        (found,) = graph.run([x])
        assert found.shape == expected.shape
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
        return graph


def test_a_convolutional_network() -> None:
    """Batch norm and activations between the transposes, padding and depthwise layers, a mean, a dense layer."""
    w = Writer((1, 9, 8, 3))
    w.convolution(real(8, 3, 3, 3), pads=[1, 1, 1, 1], strides=[2, 2])
    w.batch_norm(8)
    skip = w.add("Clip", np.array(0, np.float32), np.array(6, np.float32))
    w.convolution(real(8, 1, 3, 3), auto_pad="SAME_UPPER", group=8)
    w.batch_norm(8)
    swished = w.last
    w.add("Add", np.array(3, np.float32))
    w.add("Clip", np.array(0, np.float32), np.array(6, np.float32))
    w.add("Mul", np.array(1 / 6, np.float32))
    w.add("Mul", w.last, of=swished)
    w.add("Add", skip)
    w.add("Concat", skip, axis=3)
    w.nchw("MaxPool", kernel_shape=[2, 2], strides=[2, 2])
    w.add("ReduceMean", axes=[1, 2], keepdims=0)
    w.add("Reshape", np.array([-1, 16]))
    w.add("MatMul", real(16, 5))
    w.add("Add", real(5))
    w.add("Softmax", axis=-1)
    layers = ["CONV_2D", "DEPTHWISE_CONV_2D", "HARD_SWISH", "ADD", "CONCATENATION", "MAX_POOL_2D", "MEAN"]
    w.check([*layers, "FULLY_CONNECTED", "SOFTMAX"])


def test_one_dimension() -> None:
    """conv1d as a convolution of height 1: Unsqueeze, Transpose, Conv, Transpose, Squeeze, then the bias."""
    w = Writer((1, 20, 3))
    for channels, kernel in ((4, real(4, 3, 1, 5)), (6, real(6, 4, 1, 3))):
        w.add("Unsqueeze", np.array([1]))
        w.convolution(kernel, pads=[0, 1, 0, 1])
        w.add("Squeeze", np.array([1]))
        w.add("Add", real(channels))
        w.add("Relu")
    w.add("ReduceMax", axes=[1], keepdims=0)
    w.check(["RESHAPE", "CONV_2D", "CONV_2D", "REDUCE_MAX"])


@pytest.mark.parametrize(
    ("kind", "attributes"),
    [
        ("RESIZE_NEAREST_NEIGHBOR", {"mode": "nearest", "coordinate_transformation_mode": "asymmetric"}),
        ("RESIZE_BILINEAR", {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}),
    ],
)
def test_a_u_net(kind: str, attributes: dict[str, Any]) -> None:
    """Upsampling by Resize, a transposed convolution, channels joined, an output with channels."""
    w = Writer((1, 8, 8, 2))
    high = w.convolution(real(4, 2, 3, 3), pads=[1, 1, 1, 1])
    w.nchw("AveragePool", kernel_shape=[2, 2], strides=[2, 2])
    w.nchw("Resize", "", np.array([1, 1, 2, 2], np.float32), nearest_mode="floor", **attributes)
    w.add("Concat", high, axis=3)
    w.nchw("ConvTranspose", real(8, 2, 2, 2), kernel_shape=[2, 2], strides=[2, 2])
    w.add("Sigmoid")
    w.check(["CONV_2D", "AVERAGE_POOL_2D", kind, "CONCATENATION", "TRANSPOSE_CONV", "LOGISTIC"])


def test_a_shape_that_is_computed() -> None:
    """Flatten as tf2onnx writes it: the batch taken out of the shape, and -1."""
    w = Writer((1, 4, 4, 2))
    w.convolution(real(3, 2, 3, 3))
    features = w.last
    w.add("Shape")
    w.add("Cast", to=6)
    w.add("Slice", np.array([0]), np.array([1]), np.array([0]))
    w.add("Squeeze", np.array([0]))
    w.add("Unsqueeze", np.array([0]))
    w.add("Concat", np.array([-1], np.int32), axis=0)
    shape = w.add("Cast", to=7)
    w.add("Reshape", shape, of=features)
    w.add("MatMul", real(12, 3))
    w.check(["CONV_2D", "RESHAPE", "FULLY_CONNECTED"])


def test_a_shuffle_of_channels() -> None:
    """ShuffleNet's, which is one transpose wherever it stands between layers with channels."""
    w = Writer((1, 6, 5, 3))
    w.convolution(real(8, 3, 1, 1))
    w.add("Transpose", perm=FIRST)
    w.add("Reshape", np.array([1, 2, 4, 6, 5]))
    w.add("Transpose", perm=[0, 2, 1, 3, 4])
    w.add("Reshape", np.array([1, 8, 6, 5]))
    w.add("Transpose", perm=LAST)
    w.convolution(real(8, 1, 3, 3), group=8)
    w.check(["CONV_2D", "RESHAPE", "TRANSPOSE", "RESHAPE", "DEPTHWISE_CONV_2D"])


SKLEARN = Path(__file__).parents[1] / "data" / "sklearn.zip"
"""Made by tests/data/make_sklearn.py."""


def sklearn_models() -> list[str]:
    with zipfile.ZipFile(SKLEARN) as archive:
        return sorted(name.removesuffix(".onnx") for name in archive.namelist() if name.endswith(".onnx"))


def sklearn_model(name: str) -> tuple[Graph, Array, list[Array]]:
    """The graph, inputs one a row, and for each output what scikit-learn predicts for each row."""
    with zipfile.ZipFile(SKLEARN) as archive:
        data = archive.read(f"{name}.onnx")
        with np.load(io.BytesIO(archive.read(f"{name}.npz"))) as vectors:
            arrays = dict(vectors)
    return simplify(read_onnx(data)), arrays["x"], [arrays[key] for key in sorted(arrays) if key != "x"]


@pytest.mark.parametrize("name", sklearn_models())
def test_scikit_learn(name: str) -> None:
    graph, inputs, expected = sklearn_model(name)
    assert [problem for node in graph.nodes for problem in node.op.problems(node)] == []
    assert len({t.name for t in graph.outputs}) == len(graph.outputs) == len(expected)
    for i, x in enumerate(inputs):
        for found, wanted in zip(graph.run([x[None]]), expected, strict=True):
            np.testing.assert_allclose(found.reshape(-1), wanted[i].reshape(-1), rtol=1e-5, atol=1e-5)


def test_scikit_learn_compiled() -> None:
    cases = [sklearn_model(name) for name in ("forest", "boosted", "tree_regressor", "pipeline")]
    check_compiled([(graph, [[x[None]] for x in inputs]) for graph, inputs, _ in cases], tolerance=1e-5)


TREE = {
    "nodes_treeids": [0, 0, 0], "nodes_nodeids": [0, 1, 2], "nodes_featureids": [1, 0, 0],
    "nodes_modes": ["BRANCH_GT", "LEAF", "LEAF"], "nodes_values": [0.5, 0.0, 0.0], "nodes_truenodeids": [1, 0, 0],
    "nodes_falsenodeids": [2, 0, 0], "target_treeids": [0, 0], "target_nodeids": [1, 2], "target_ids": [0, 0],
    "target_weights": [2.0, 3.0], "n_targets": 1,
}  # fmt: skip


def tree(**attributes: Any) -> bytes:
    node = onnx.node("TreeEnsembleRegressor", ["x"], ["y"], "ai.onnx.ml", **{**TREE, **attributes})
    return onnx.model([node], [onnx.value("x", (1, 2))], ["y"])


@pytest.mark.parametrize(
    ("mode", "at_the_threshold"), [("BRANCH_GT", 3), ("BRANCH_GTE", 2), ("BRANCH_LT", 3), ("BRANCH_LEQ", 2)]
)
def test_comparisons_of_trees(mode: str, at_the_threshold: float) -> None:
    graph = read_onnx(tree(nodes_modes=[mode, "LEAF", "LEAF"]))
    x = np.array([[9, 0.5]], np.float32)
    assert graph.run([x])[0] == at_the_threshold
    assert (graph.run([x + 1])[0] == 2) == ("G" in mode)


@pytest.mark.parametrize(
    ("attributes", "sentence"),
    [
        ({"nodes_falsenodeids": [0, 0, 0]}, "around in a circle"),
        ({"nodes_falsenodeids": [1, 0, 0]}, "to one from two others"),
        ({"nodes_falsenodeids": [7, 0, 0]}, "to one that is missing"),
        ({"nodes_nodeids": [0, 1, 1]}, "the same number"),
        ({"nodes_featureids": [2**20, 0, 0]}, "asks for feature 1048576"),
        ({"nodes_modes": ["BRANCH_NEQ", "LEAF", "LEAF"]}, "of the modes BRANCH_NEQ are not supported"),
        ({"nodes_values": [0.5]}, "nodes_values has 1 values; 3 are needed"),
        ({"target_ids": [0, 4]}, "outputs or nodes that are not there"),
        ({"aggregate_function": "MAX"}, "SUM and AVERAGE are"),
    ],
)
def test_trees_that_are_refused(attributes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ModelError, match=sentence):
        read_onnx(tree(**attributes))
