"""Each ONNX operator against onnxruntime: a graph of one node, read, simplified and run on the numpy reference."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from tests.read import onnx_writer as onnx
from tinymaix.graph import Array, Shape
from tinymaix.read.onnx import read_onnx
from tinymaix.rewrite import simplify

RNG = np.random.default_rng(5)


def real(*shape: int) -> Array:
    return RNG.normal(size=shape).astype(np.float32)


def num(value: float) -> Array:
    return np.array(value, np.float32)


def ints(*values: int) -> Array:
    return np.array(values, np.int64)


@dataclass
class Case:
    kind: str
    shape: Shape
    constants: list[Array | None] = field(default_factory=list)
    attributes: dict[str, Any] = field(default_factory=dict)
    opset: int = 17
    second: Shape | None = None  # another computed input, after the first
    outputs: int = 1
    domain: str = ""
    positive: bool = False


IMAGE = (1, 4, 6, 5)
SEQUENCE = (5, 1, 3)


def _recurrent(kind: str, gates: int, directions: int = 1, outputs: int = 2, **attributes: Any) -> Case:
    constants = [real(directions, gates * 4, 3), real(directions, gates * 4, 4), real(directions, gates * 8)]
    return Case(kind, SEQUENCE, [*constants], {"hidden_size": 4, **attributes}, outputs=outputs)


CASES = [
    Case("Conv", IMAGE, [real(6, 4, 3, 3), real(6)], {"pads": [1, 0, 1, 2], "strides": [2, 1]}),
    Case("Conv", IMAGE, [real(4, 1, 3, 3)], {"group": 4, "strides": [2, 1], "auto_pad": "SAME_UPPER"}),
    Case("Conv", IMAGE, [real(8, 2, 3, 2), real(8)], {"group": 2, "auto_pad": "SAME_LOWER"}),
    Case("Conv", (2, 3, 9), [real(6, 3, 4), real(6)], {"pads": [2, 1], "strides": [2]}),
    Case("ConvTranspose", IMAGE, [real(4, 3, 3, 3), real(3)], {"strides": [2, 2], "pads": [1, 1, 1, 1]}),
    Case("ConvTranspose", IMAGE, [real(4, 3, 2, 3)], {"strides": [2, 3], "output_padding": [1, 0]}),
    Case("ConvTranspose", (1, 3, 7), [real(3, 2, 4), real(2)], {"strides": [2], "pads": [1, 1]}),
    Case("MaxPool", IMAGE, [], {"kernel_shape": [3, 2], "strides": [2, 2], "pads": [1, 0, 1, 1]}),
    Case("MaxPool", IMAGE, [], {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1}),
    Case("AveragePool", IMAGE, [], {"kernel_shape": [3, 3], "strides": [2, 1], "pads": [1, 1, 1, 1]}),
    Case("AveragePool", IMAGE, [], {"kernel_shape": [3, 3], "pads": [1, 0, 1, 1], "count_include_pad": 1}),
    Case("AveragePool", (1, 2, 9), [], {"kernel_shape": [2], "strides": [2], "ceil_mode": 1}),
    Case("GlobalAveragePool", IMAGE), Case("GlobalMaxPool", IMAGE), Case("GlobalAveragePool", (2, 3, 7)),
    Case("Gemm", (3, 4), [real(5, 4), real(5)], {"transB": 1}),
    Case("Gemm", (4, 3), [real(4, 5), real(3, 5)], {"transA": 1, "alpha": 0.5, "beta": 2.0}),
    Case("MatMul", (2, 3, 4), [real(4, 5)]), Case("MatMul", (2, 3, 4), second=(2, 4, 6)),
    Case("MatMul", (3, 4), second=(2, 4, 6)),
    Case("BatchNormalization", IMAGE, [real(4), real(4), real(4), real(4) ** 2]),
    Case("LayerNormalization", (2, 3, 8), [real(8), real(8)]),
    Case("LayerNormalization", IMAGE, [real(4, 6, 5)], {"axis": 1}),
    Case("InstanceNormalization", IMAGE, [real(4), real(4)]),
    *[Case(kind, IMAGE) for kind in ("Relu", "Sigmoid", "Tanh", "Elu", "Erf", "HardSwish", "Softplus", "Abs", "Neg",
                                     "Exp", "Floor", "Ceil", "Sin", "Cos", "HardSigmoid")],
    Case("Sqrt", IMAGE, positive=True), Case("Log", IMAGE, positive=True), Case("Reciprocal", IMAGE, positive=True),
    Case("HardSigmoid", IMAGE, [], {"alpha": 1 / 6, "beta": 0.5}), Case("LeakyRelu", IMAGE, [], {"alpha": 0.2}),
    Case("Clip", IMAGE, [num(0), num(6)]), Case("Clip", IMAGE, [num(-0.5), num(0.7)]),
    Case("Clip", IMAGE, [], {"min": -1.0, "max": 1.0}, opset=9), Case("PRelu", IMAGE, [real(4, 1, 1)]),
    Case("Gelu", IMAGE, opset=20), Case("Gelu", IMAGE, [], {"approximate": "tanh"}, opset=20),
    Case("Softmax", IMAGE), Case("Softmax", IMAGE, [], {"axis": 1}), Case("Softmax", (2, 6), opset=11),
    Case("Softmax", (2, 3, 4), [], {"axis": 1}, opset=11), Case("LogSoftmax", (2, 6), [], {"axis": 1}),
    Case("Add", IMAGE, [real(4, 1, 1)]), Case("Sub", IMAGE, second=(4, 1, 5)), Case("Mul", IMAGE, second=IMAGE),
    Case("Div", IMAGE, [real(1) + 3]), Case("Div", IMAGE, second=(1, 4, 1, 1), positive=True),
    Case("Pow", IMAGE, [num(2)]), Case("Pow", IMAGE, [num(0.5)], positive=True),
    Case("Max", IMAGE, second=IMAGE), Case("Min", IMAGE, [real(5)]), Case("Sum", IMAGE, second=(4, 6, 5)),
    Case("ReduceMean", IMAGE, [], {"axes": [2, 3]}), Case("ReduceMean", IMAGE, [], {"axes": [1], "keepdims": 0}),
    Case("ReduceMean", IMAGE, [ints(-1)], opset=18), Case("ReduceSum", IMAGE, [ints(2, 3)], {"keepdims": 0}),
    Case("ReduceMax", IMAGE, [], {"axes": [1, 2]}), Case("ReduceMin", IMAGE),
    Case("ArgMax", (2, 7), [], {"axis": 1, "keepdims": 0}),
    Case("Reshape", IMAGE, [ints(0, -1, 5)]), Case("Flatten", IMAGE), Case("Flatten", IMAGE, [], {"axis": 2}),
    Case("Squeeze", (1, 3, 1, 4), [ints(2)]), Case("Squeeze", (1, 3, 1, 4)), Case("Unsqueeze", (3, 4), [ints(0, -1)]),
    Case("Unsqueeze", (3, 4), [], {"axes": [1]}, opset=11), Case("Transpose", IMAGE, [], {"perm": [0, 3, 1, 2]}),
    Case("Transpose", (2, 3, 4)), Case("Identity", IMAGE), Case("Dropout", IMAGE), Case("Concat", IMAGE, second=IMAGE),
    Case("Concat", IMAGE, [real(1, 2, 6, 5)], {"axis": 1}), Case("Split", IMAGE, [], {"axis": 1}, outputs=2),
    Case("Split", IMAGE, [ints(1, 3)], {"axis": 1}, outputs=2),
    Case("Slice", IMAGE, [ints(1, 0), ints(3, 2**62), ints(2, 1), ints(1, 2)]),
    Case("Slice", IMAGE, [ints(-1), ints(-(2**62)), ints(3), ints(-1)]),
    Case("Slice", IMAGE, [], {"starts": [1], "ends": [-1], "axes": [2]}, opset=9),
    Case("Gather", IMAGE, [ints(2, 0, -1)], {"axis": 1}), Case("Gather", IMAGE, [np.array(-1)], {"axis": 2}),
    Case("Pad", IMAGE, [ints(0, 0, 1, 2, 0, 0, 0, 1)]),
    Case("Pad", IMAGE, [ints(0, 0, -1, 2, 0, 0, 0, 1), num(3)]),
    Case("Pad", IMAGE, [ints(0, 0, 1, 2, 0, 0, 0, 1)], {"mode": "reflect"}),
    Case("Pad", IMAGE, [], {"pads": [0, 0, 1, 1, 0, 0, 1, 1], "value": 1.5}, opset=9),
    Case("Expand", (1, 4, 1, 5), [ints(1, 4, 6, 1)]), Case("Tile", (1, 2, 3), [ints(1, 2, 2)]),
    Case("Resize", IMAGE, [None, np.array([1, 1, 2, 2], np.float32)],
         {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}),
    Case("Resize", IMAGE, [None, np.array([1, 1, 2, 3], np.float32)], {"mode": "nearest"}),
    Case("Resize", IMAGE, [None, np.array([1, 1, 2, 2], np.float32)], {"mode": "linear"}),
    Case("Resize", IMAGE, [None, np.array([], np.float32), ints(1, 4, 11, 9)],
         {"mode": "linear", "coordinate_transformation_mode": "align_corners"}),
    Case("Resize", IMAGE, [np.zeros(8, np.float32), np.array([], np.float32), ints(1, 4, 11, 8)], opset=11, attributes={
        "mode": "nearest", "coordinate_transformation_mode": "tf_half_pixel_for_nn", "nearest_mode": "floor"}),
    Case("Resize", IMAGE, [None, np.array([], np.float32), ints(1, 4, 11, 8)],
         {"mode": "nearest", "coordinate_transformation_mode": "align_corners", "nearest_mode": "round_prefer_ceil"}),
    Case("Upsample", IMAGE, [np.array([1, 1, 2, 2], np.float32)], {"mode": "nearest"}, opset=9),
    Case("DepthToSpace", (1, 8, 3, 2), [], {"blocksize": 2}),
    Case("DepthToSpace", (1, 8, 3, 2), [], {"blocksize": 2, "mode": "CRD"}),
    Case("SpaceToDepth", (1, 2, 4, 6), [], {"blocksize": 2}),
    _recurrent("LSTM", 4), _recurrent("LSTM", 4, 2, direction="bidirectional"),
    _recurrent("LSTM", 4, direction="reverse"), _recurrent("GRU", 3),
    _recurrent("GRU", 3, linear_before_reset=1), _recurrent("RNN", 1),
    _recurrent("RNN", 1, activations=["Relu"]),
    Case("Elu", IMAGE, [], {"alpha": 0.4}), Case("Selu", IMAGE), Case("Selu", IMAGE, [], {"alpha": 1.5, "gamma": 1.2}),
    Case("Celu", IMAGE, [], {"alpha": 0.7}), Case("ThresholdedRelu", IMAGE, [], {"alpha": 0.3}),
    Case("Softsign", IMAGE), Case("Mish", IMAGE, opset=18), Case("Sign", IMAGE),
    Case("Shrink", IMAGE, [], {"lambd": 0.4}), Case("Shrink", IMAGE, [], {"lambd": 0.4, "bias": 0.4}),
    *[Case(f"Reduce{kind}", IMAGE, [], {"axes": [1, 3], "keepdims": keep}, opset=13) for keep in (0, 1)
      for kind in ("L1", "L2", "SumSquare", "LogSumExp", "Prod")],
    Case("ReduceLogSum", IMAGE, [], {"axes": [1]}, opset=13, positive=True),
    Case("ReduceMax", (), opset=13), Case("Einsum", (2, 3, 4), [real(4, 5)], {"equation": "abc,cd->adb"}),
    Case("Einsum", (2, 3, 4), second=(2, 5, 4), attributes={"equation": "bij,bkj->bik"}),
    Case("Einsum", (2, 3, 4), second=(3, 2), attributes={"equation": "...ij,ik->...jk"}),
    Case("CumSum", (2, 5), [np.array(1)]), Case("CumSum", (2, 5), [np.array(0)], {"exclusive": 1, "reverse": 1}),
    Case("LpNormalization", (2, 5), [], {"p": 1}), Case("LpNormalization", (2, 5), [], {"axis": 0}),
    Case("MeanVarianceNormalization", IMAGE), Case("Pad", IMAGE, [ints(0, 0, 1, 2, 0, 0, 0, 1)], {"mode": "edge"}),
    Case("LSTM", SEQUENCE, [real(1, 16, 3), real(1, 16, 4), real(1, 32), None, real(1, 1, 4), real(1, 1, 4)],
         {"hidden_size": 4}, outputs=3),
    Case("GRU", SEQUENCE, [real(2, 12, 3), real(2, 12, 4), real(2, 24), None, real(2, 1, 4)],
         {"hidden_size": 4, "direction": "bidirectional"}, outputs=2),
    _recurrent("LSTM", 4, 2, 3, direction="bidirectional"),
    Case("Normalizer", (2, 5), [], {"norm": "L1"}, domain="ai.onnx.ml"),
    Case("Normalizer", (2, 5), [], {"norm": "L2"}, domain="ai.onnx.ml"),
    Case("Scaler", (2, 3), [], {"offset": [1.0, 2.0, 3.5], "scale": [0.5, 2.0, 1.5]}, domain="ai.onnx.ml"),
    Case("LinearRegressor", (2, 3), [], {"coefficients": [1.0, 2.0, 3.5, 0.5, 2.0, 1.5], "intercepts": [1.5, 0.25],
                                         "targets": 2}, domain="ai.onnx.ml"),
]  # fmt: skip


def _model(case: Case) -> tuple[bytes, list[str]]:
    inputs = [onnx.value("x", case.shape)]
    names = ["x"]
    if case.second is not None:
        inputs.append(onnx.value("z", case.second))
        names.append("z")
    constants = {f"c{i}": np.asarray(data) for i, data in enumerate(case.constants) if data is not None}
    names += [f"c{i}" if data is not None else "" for i, data in enumerate(case.constants)]
    outputs = [f"y{i}" for i in range(case.outputs)]
    attributes = {"axis": 0} if case.kind == "Concat" and not case.attributes else case.attributes
    made = onnx.node(case.kind, names, outputs, case.domain, **attributes)
    return onnx.model([made], inputs, outputs, constants, case.opset), outputs


def _values(case: Case) -> list[Array]:
    rng = np.random.default_rng(9)
    arrays = [rng.normal(size=shape).astype(np.float32) for shape in (case.shape, case.second) if shape is not None]
    return [np.abs(a) + np.float32(0.1) for a in arrays] if case.positive else arrays


@pytest.mark.parametrize("case", CASES, ids=[f"{i}-{case.kind}" for i, case in enumerate(CASES)])
def test_is_onnxruntime_s(case: Case) -> None:
    runtime = pytest.importorskip("onnxruntime", reason="the reference that operators are compared with")
    data, outputs = _model(case)
    arrays = _values(case)
    session = runtime.InferenceSession(data, providers=["CPUExecutionProvider"])
    expected = session.run(outputs, dict(zip(("x", "z"), arrays, strict=False)))
    graph = simplify(read_onnx(data))
    for node in graph.nodes:
        assert node.op.problems(node) == []
    results = graph.run([_last(a, t.shape) for a, t in zip(arrays, graph.inputs, strict=True)])
    for result, wanted in zip(results, expected, strict=True):
        np.testing.assert_allclose(result, _last(wanted, result.shape), rtol=1e-4, atol=2e-5)


def _last(array: Array, shape: Shape) -> Array:
    """NCHW as NHWC where the graph has it so."""
    return array if array.shape == shape else np.ascontiguousarray(np.moveaxis(array, 1, -1))
