"""Quantized ONNX operators against onnxruntime: integer graphs within one step, from QDQ and from QLinear* alike."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.read import onnx_writer as onnx
from tests.read.fixtures import channels_last
from tinymaix.graph import Array, Graph, ModelError, Shape
from tinymaix.read.onnx import read_onnx
from tinymaix.rewrite import simplify

RNG = np.random.default_rng(4)
IMAGE = (1, 4, 6, 5)
TYPES = ["int8", "uint8"]


def _point(dtype: str, value: int) -> Array:
    return np.array(value + (128 if dtype == "uint8" else 0), dtype)


def _scale(value: float) -> Array:
    return np.array(value, np.float32)


def _weights(*shape: int) -> Array:
    """Weights of 7 bits: with larger ones onnxruntime saturates sums of uint8 products on CPUs without VNNI."""
    return RNG.integers(-63, 64, shape).astype(np.int8)


def _check(nodes: list[bytes], constants: dict[str, Array], dtype: str, shape: Shape = IMAGE, opset: int = 17) -> Graph:
    """A graph from an input of integers to an output of integers."""
    runtime = pytest.importorskip("onnxruntime", reason="the reference that operators are compared with")
    data = onnx.model(nodes, [onnx.value("x", shape, dtype)], ["y"], constants, opset)
    options = runtime.SessionOptions()
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
    x = RNG.integers(-128, 128, shape)
    (expected,) = runtime.InferenceSession(data, options).run(
        ["y"], {"x": (x + (128 if dtype == "uint8" else 0)).astype(dtype)}
    )
    graph = simplify(read_onnx(data))
    assert {t.dtype.name for n in graph.nodes for t in n.outputs} == {"int8"}
    assert [problem for node in graph.nodes for problem in node.op.problems(node)] == []
    given = x.astype(np.int8)
    given = given if given.shape == graph.inputs[0].shape else np.ascontiguousarray(np.moveaxis(given, 1, -1))
    (result,) = graph.run([given])
    wanted = expected.astype(np.int64) - (128 if expected.dtype == np.uint8 else 0)
    wanted = wanted if wanted.shape == result.shape else np.moveaxis(wanted, 1, -1)
    assert np.abs(result.astype(np.int64) - wanted).max() <= 1
    return graph


def _constants(dtype: str, **more: Array) -> dict[str, Array]:
    return {
        "xs": _scale(0.02), "xz": _point(dtype, 3), "ys": _scale(0.5), "yz": _point(dtype, -7),
        "ws": _scale(0.01), "wz": np.array(0, np.int8), **more,
    }  # fmt: skip


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("groups", [1, 4])
def test_qlinear_conv(dtype: str, groups: int) -> None:
    w, bias = _weights(8, 4 // groups, 3, 3), RNG.integers(-999, 999, 8).astype(np.int32)
    scales = np.linspace(0.01, 0.02, 8).astype(np.float32)
    constants = _constants(dtype, w=w, bias=bias, scales=scales, zeros=np.zeros(8, np.int8))
    names = ["x", "xs", "xz", "w", "scales", "zeros", "ys", "yz", "bias"]
    graph = _check([onnx.node("QLinearConv", names, ["y"], group=groups, pads=[1, 1, 1, 1])], constants, dtype)
    assert [n.op.kind for n in graph.nodes] == ["DEPTHWISE_CONV_2D" if groups == 4 else "CONV_2D"]


def test_qlinear_matmul() -> None:
    names = ["x", "xs", "xz", "w", "ws", "wz", "ys", "yz"]
    _check([onnx.node("QLinearMatMul", names, ["y"])], _constants("int8", w=_weights(6, 3)), "int8", (2, 6))


MICROSOFT: list[tuple[str, list[str], dict[str, Any], Shape]] = [
    ("QLinearAdd", ["x", "xs", "xz", "a", "ws", "wz", "ys", "yz"], {}, IMAGE),
    ("QLinearMul", ["x", "xs", "xz", "a", "ws", "wz", "ys", "yz"], {}, IMAGE),
    ("QLinearSigmoid", ["x", "xs", "xz", "ss", "sz"], {}, IMAGE),
    ("QLinearLeakyRelu", ["x", "xs", "xz", "xs", "xz"], {"alpha": 0.25}, IMAGE),
    ("QLinearAveragePool", ["x", "xs", "xz", "xs", "xz"], {"kernel_shape": [2, 2]}, IMAGE),
    ("QLinearGlobalAveragePool", ["x", "xs", "xz", "ws", "yz"], {}, IMAGE),
    ("QLinearConcat", ["xs", "xz", "x", "xs", "xz", "x", "xs", "xz"], {"axis": 1}, IMAGE),
]


@pytest.mark.parametrize("case", MICROSOFT, ids=[case[0] for case in MICROSOFT])
def test_microsoft(case: tuple[str, list[str], dict[str, Any], Shape]) -> None:
    kind, names, attributes, shape = case
    constants = _constants("int8", a=_weights(1, 4, 1, 1), ss=_scale(1 / 256), sz=_point("int8", -128))
    _check([onnx.node(kind, names, ["y"], "com.microsoft", **attributes)], constants, "int8", shape)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("kind", ["Relu", "MaxPool", "HardSwish", "Softmax", "Transpose", "Clip", "Add", "Pad"])
def test_between_dequantize_and_quantize(kind: str, dtype: str) -> None:
    attributes: dict[str, Any] = {"MaxPool": {"kernel_shape": [2, 2]}, "Transpose": {"perm": [0, 2, 3, 1]}}.get(
        kind, {}
    )
    inputs = {"Clip": ["r", "low", "high"], "Add": ["r", "c"], "Pad": ["r", "pads", "fill"]}.get(kind, ["r"])
    same = kind in ("MaxPool", "Transpose", "Pad")
    scales = ["xs", "xz"] if same else ["ss", "sz"] if kind == "Softmax" else ["ws2", "wz2"]
    nodes = [
        onnx.node("DequantizeLinear", ["x", "xs", "xz"], ["r"]),
        onnx.node(kind, inputs, ["f"], **attributes),
        onnx.node("QuantizeLinear", ["f", *scales], ["y"]),
    ]
    more = {
        "low": _scale(0), "high": _scale(6), "c": np.full((1, 4, 1, 1), 0.75, np.float32), "fill": _scale(0.5),
        "pads": np.array([0, 0, 1, 1, 0, 0, 1, 1], np.int64), "ss": _scale(1 / 256), "sz": _point(dtype, -128),
        "ws2": _scale(0.025), "wz2": _point(dtype, -5),
    }  # fmt: skip
    _check(nodes, _constants(dtype, **more), dtype)


def test_a_float_layer_in_between_is_named() -> None:
    nodes = [
        onnx.node("DequantizeLinear", ["x", "xs", "xz"], ["r"]),
        onnx.node("Relu", ["r"], ["f"]),
        onnx.node("Erf", ["f"], ["e"]),
        onnx.node("QuantizeLinear", ["e", "ys", "yz"], ["y"]),
    ]
    graph = read_onnx(onnx.model(nodes, [onnx.value("x", IMAGE, "int8")], ["y"], _constants("int8")))
    assert "ERF 'e'" in graph.notes[-1]
    assert "computed with floats" in graph.notes[-1]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"xs": _scale(0)}, "scales must be positive"),
        ({"xs": _scale(float("nan"))}, "scales must be positive"),
        ({"xs": np.ones(4, np.float32)}, "a scale for each channel is not supported|one zero point each"),
        ({"xz": np.zeros(1, np.uint16)}, "quantization to uint16 is not supported"),
    ],
)
def test_refuses(change: dict[str, Array], sentence: str) -> None:
    nodes = [
        onnx.node("QuantizeLinear", ["x", "xs", "xz"], ["q"]),
        onnx.node("DequantizeLinear", ["q", "xs", "xz"], ["y"]),
    ]
    with pytest.raises(ModelError, match=sentence):
        read_onnx(onnx.model(nodes, [onnx.value("x", IMAGE)], ["y"], {**_constants("int8"), **change}))


def test_float_inputs_and_outputs_become_integers() -> None:
    nodes = [
        onnx.node("QuantizeLinear", ["x", "xs", "xz"], ["q"]),
        onnx.node("DequantizeLinear", ["q", "xs", "xz"], ["r"]),
        onnx.node("Relu", ["r"], ["f"]),
        onnx.node("QuantizeLinear", ["f", "ys", "yz"], ["p"]),
        onnx.node("DequantizeLinear", ["p", "ys", "yz"], ["y"]),
    ]
    graph = read_onnx(onnx.model(nodes, [onnx.value("x", IMAGE)], ["y"], _constants("int8")))
    assert [n.op.kind for n in graph.nodes] == ["RELU"]
    assert channels_last(np.full(IMAGE, 0.1, np.float32), graph.inputs[0]).max() == 8
    assert graph.outputs[0].dtype == np.int8
    assert graph.outputs[0].q.z == -7
