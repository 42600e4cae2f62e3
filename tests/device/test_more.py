"""Layers from type 16 on (TM_MORE_LAYERS): int8 bit for bit as the numpy reference, floats closely."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.device import runtime as r
from tests.device.runtime import Library
from tests.oracles import one_op, random_inputs
from tests.tmdl_graphs import Chain
from tinymaix.graph import Array, Graph, ModelError, Node, Quantization, Tensor
from tinymaix.ops.add import Add
from tinymaix.ops.average_pool_2d import AveragePool2D
from tinymaix.ops.base import Operator
from tinymaix.ops.concatenation import Concatenation
from tinymaix.ops.conv_2d import Conv2D
from tinymaix.ops.fully_connected import FullyConnected
from tinymaix.ops.hard_swish import HardSwish
from tinymaix.ops.leaky_relu import LeakyRelu
from tinymaix.ops.logistic import Logistic
from tinymaix.ops.max_pool_2d import MaxPool2D
from tinymaix.ops.maximum import Maximum
from tinymaix.ops.minimum import Minimum
from tinymaix.ops.mul import Mul
from tinymaix.ops.pad import Pad
from tinymaix.ops.quantize import Quantize
from tinymaix.ops.relu import Relu
from tinymaix.ops.relu6 import Relu6
from tinymaix.ops.relu_n1_to_1 import ReluN1To1
from tinymaix.ops.resize_nearest_neighbor import ResizeNearestNeighbor
from tinymaix.ops.slice import Slice
from tinymaix.ops.split import Split
from tinymaix.ops.strided_slice import StridedSlice
from tinymaix.ops.sub import Sub
from tinymaix.ops.tanh import Tanh
from tinymaix.ops.tmdl import MODEL_TYPES
from tinymaix.ops.transpose import Transpose
from tinymaix.read.tmdl import read_tmdl
from tinymaix.write.tmdl import tmdl_bytes

Type = np.dtype[Any]
TYPES: dict[str, Type] = {"int8": np.dtype("int8"), "fp32": np.dtype("float32")}
HALF, TENTH = Quantization.of(0.5, 3), Quantization.of(0.1, -20)


@pytest.fixture(scope="module", params=["int8", "int8_single", "fp32", "fp16", "fp8_143"])
def build(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Library]:
    name = request.param.removesuffix("_single")
    options = [f"-DTM_MDL_TYPE={list(r.TYPES).index(name)}", "-DTM_MORE_LAYERS=1"]
    if name != request.param:
        options += ["-DTM_SINGLE_LAYER=1", "-fsanitize=undefined", "-fno-sanitize-recover"]
    library = Library(tmp_path_factory.mktemp("more"), options)
    library.dtype = r.TYPES[name]
    return name, library


def tensor(name: str, shape: tuple[int, ...], dtype: Type, q: Quantization = HALF, data: Array | None = None) -> Tensor:
    return Tensor(name, shape, dtype, q if dtype.kind == "i" else None, data)


def constant(shape: tuple[int, ...], dtype: Type) -> Tensor:
    rng = np.random.default_rng(5)
    data = rng.integers(-128, 128, shape, np.int8) if dtype.kind == "i" else rng.uniform(-2, 2, shape).astype(dtype)
    return tensor("constant", shape, dtype, TENTH, data)


X = (1, 5, 6, 3)
CASES: dict[str, Callable[[Type], tuple[Operator, list[Tensor], Quantization]]] = {
    "max_pool": lambda t: (MaxPool2D((2, 3), (2, 1), (1, 0, 1, 1)), [tensor("x", X, t)], HALF),
    "max_pool_relu6": lambda t: (MaxPool2D((2, 2), (2, 2), activation="relu6"), [tensor("x", X, t)], HALF),
    "average_pool": lambda t: (AveragePool2D((3, 2), (1, 2), (1, 1, 0, 0), "relu"), [tensor("x", X, t)], HALF),
    "average_pool_all": lambda t: (AveragePool2D((5, 6), (1, 1)), [tensor("x", X, t)], HALF),
    "logistic": lambda t: (Logistic(), [tensor("x", X, t, TENTH)], Quantization.of(1 / 256, -128)),
    "tanh": lambda t: (Tanh(), [tensor("x", X, t, TENTH)], Quantization.of(1 / 128, 0)),
    "leaky_relu": lambda t: (LeakyRelu(0.25), [tensor("x", X, t)], TENTH),
    "hard_swish": lambda t: (HardSwish(), [tensor("x", X, t, TENTH)], HALF),
    "relu": lambda t: (Relu(), [tensor("x", X, t)], TENTH),
    "relu6": lambda t: (Relu6(), [tensor("x", X, t)], TENTH),
    "relu1": lambda t: (ReluN1To1(), [tensor("x", X, t)], TENTH),
    "concat": lambda t: (
        Concatenation(3),
        [tensor("x", X, t), tensor("y", (1, 5, 6, 1), t), tensor("z", (1, 5, 6, 4), t)],
        HALF,
    ),
    "concat_rows": lambda t: (Concatenation(1), [tensor("x", X, t), tensor("y", (1, 2, 6, 3), t)], HALF),
    "concat_vectors": lambda t: (Concatenation(-1), [tensor("x", (1, 7), t), tensor("y", (1, 2), t)], HALF),
    "pad": lambda t: (Pad(((0, 0), (1, 2), (0, 1), (2, 0))), [tensor("x", X, t)], HALF),
    "slice": lambda t: (Slice((0, 1, 2, 0), (1, 3, 4, 2)), [tensor("x", X, t)], HALF),
    "transpose": lambda t: (Transpose((0, 3, 1, 2)), [tensor("x", X, t)], HALF),
    "transpose_3": lambda t: (Transpose((0, 2, 1)), [tensor("x", (1, 4, 5), t)], HALF),
    "resize": lambda t: (ResizeNearestNeighbor((10, 12)), [tensor("x", X, t)], HALF),
    "resize_odd": lambda t: (ResizeNearestNeighbor((7, 4), half_pixel_centers=True), [tensor("x", X, t)], HALF),
    "add_relu": lambda t: (Add("relu"), [tensor("x", X, t), tensor("y", X, t, TENTH)], HALF),
    "add_constant": lambda t: (Add(), [tensor("x", X, t), constant((3,), t)], TENTH),
    "sub": lambda t: (Sub("relu6"), [tensor("x", X, t), tensor("y", X, t, TENTH)], TENTH),
    "sub_broadcast": lambda t: (Sub(), [tensor("x", X, t), tensor("y", (1, 5, 1, 3), t, TENTH)], HALF),
    "mul": lambda t: (Mul("relu_n1_to_1"), [tensor("x", X, t, TENTH), tensor("y", X, t, TENTH)], TENTH),
    "mul_first": lambda t: (Mul(), [tensor("x", (1, 1, 1, 3), t, TENTH), tensor("y", X, t, TENTH)], HALF),
    "mul_constant": lambda t: (Mul(), [constant((1, 5, 6, 1), t), tensor("y", X, t)], HALF),
    "minimum": lambda t: (Minimum(), [tensor("x", X, t), tensor("y", (1, 1, 6, 3), t)], HALF),
    "maximum": lambda t: (Maximum(), [tensor("x", X, t), tensor("y", X, t)], HALF),
}


def close(name: str, found: Array, expected: Array) -> None:
    step = {"int8": 0, "fp32": 1e-6, "fp16": 2e-3, "fp8_143": 0.13}[name]
    if step == 0:
        np.testing.assert_array_equal(found.ravel(), expected.ravel())
    else:
        np.testing.assert_allclose(found.ravel(), expected.ravel(), rtol=step, atol=step * np.abs(expected).max())


def check(build: tuple[str, Library], graph: Graph, big_endian: bool = False) -> None:
    """The device's outputs are the graph's, also where floats follow."""
    name, library = build
    inputs = random_inputs(graph)
    expected = graph.run(inputs)
    file = tmdl_bytes(graph, mdl_type=name, more_layers=True, big_endian=big_endian)
    if name in TYPES:
        for y, again in zip(expected, read_tmdl(file.data).run(inputs), strict=True):
            np.testing.assert_array_equal(again.ravel(), y.ravel())
    model = library.load(file.data)
    assert model.error == r.OK
    if name.startswith("f"):
        mats = [model.inputs[i] for i in range(len(inputs))]
        stored = [x if name == "fp32" else quantized(name, x) for x in inputs]
        assert [(m.h, m.w, m.c) for m in mats] == [(1, 1, 1, *x.shape[1:])[-3:] for x in inputs]
        found = model.run_all(stored, len(expected))
    else:
        found = model.run_all(inputs, len(expected))
        expected = [(y.astype(np.float32) - t.q.z) * t.q.scale for y, t in zip(expected, graph.outputs, strict=True)]
    for y, e in zip(found, expected, strict=True):
        close(name, y, e)


def quantized(name: str, x: Array) -> Array:
    if name == "fp16":
        return x.astype(np.float16)
    spec = next(m.float8 for m in MODEL_TYPES if m.name == name)
    assert spec is not None
    return spec.encode(x)


def dtype_of(build: tuple[str, Library]) -> Type:
    return TYPES["int8" if build[0] == "int8" else "fp32"]


@pytest.mark.parametrize("case", CASES)
def test_operator(build: tuple[str, Library], case: str) -> None:
    op, inputs, q = CASES[case](dtype_of(build))
    shape = op.infer(inputs)[0]
    check(build, one_op(op, inputs, [tensor("out", shape, dtype_of(build), q)]))


def test_quantize(build: tuple[str, Library]) -> None:
    if build[0] != "int8":
        pytest.skip("of integers")
    check(build, one_op(Quantize(), [tensor("x", X, TYPES["int8"])], [tensor("y", X, TYPES["int8"], TENTH)]))


def network(integer: bool) -> Graph:
    """Branches, two inputs and two outputs, and a fully connected layer with an activation."""
    chain = Chain(integer, (1, 8, 8, 2), 4)
    q = chain.end.quantization
    chain.apply(MaxPool2D(), quantization=q)
    kept = chain.end
    chain.conv(2, Conv2D(padding=(1, 1, 1, 1)))
    other = chain.tensor("other", (1, 4, 4, 2))
    added = chain.apply(Add("relu"), [chain.end, other])
    scaled = chain.apply(Mul(), [kept, added], q)
    chain.apply(Concatenation(3), [kept, scaled], q)
    pooled = chain.apply(AveragePool2D((4, 4), (1, 1)), quantization=q)
    chain.reshape((1, 4))
    weights, bias = chain.constants((5, 4), 0)
    dense = chain.apply(FullyConnected("relu6"), [chain.end, weights, bias])
    return Graph(chain.nodes, [chain.input, other], [pooled, dense], "network")


@pytest.mark.parametrize("big_endian", [False, True], ids=["little", "big"])
def test_network(build: tuple[str, Library], big_endian: bool, request: pytest.FixtureRequest) -> None:
    if big_endian and "single" not in request.node.name:
        pytest.skip("needs single-layer mode")
    check(build, network(build[0] == "int8"), big_endian)


def test_several_outputs_of_one_node(build: tuple[str, Library]) -> None:
    dtype = dtype_of(build)
    x = tensor("x", (1, 4, 6, 2), dtype)
    halves = [tensor(f"y{i}", (1, 4, 3, 2), dtype) for i in range(2)]
    check(build, Graph([Node(Split(2, 2), [x], halves, "split")], [x], halves, "split"))


def test_strided_slice(build: tuple[str, Library]) -> None:
    dtype = dtype_of(build)
    x = tensor("x", X, dtype)
    op = StridedSlice((0, 1, 0, 0), (1, 5, 6, 3), (1, 2, 3, 1))
    check(build, one_op(op, [x], [tensor("y", op.infer([x])[0], dtype)]))


def test_version_1_where_it_does() -> None:
    chain = Chain(True, (1, 6, 6, 1))
    chain.conv(3)
    assert tmdl_bytes(chain.graph(), more_layers=True).data == tmdl_bytes(chain.graph()).data


def test_what_cannot_be_said() -> None:
    x = tensor("x", X, TYPES["int8"])
    graph = one_op(Transpose((3, 0, 1, 2)), [x], [tensor("y", (3, 1, 5, 6), TYPES["int8"])])
    with pytest.raises(ModelError, match="batch of 1"):
        tmdl_bytes(graph, more_layers=True)


def test_other_builds_refuse_it(library: Library) -> None:
    assert library.load(tmdl_bytes(network(True), more_layers=True).data).error == r.ERR_UNSUPPORT


def test_stat(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    library = Library(tmp_path, ["-DTM_MORE_LAYERS=1"])
    model = library.load(tmdl_bytes(network(True), more_layers=True).data)
    assert library.c.tm_stat(ctypes.c_void_p(model.file.ctypes.data)) == r.OK
    library.c.fflush(None)
    printed = capfd.readouterr().out
    assert "MaxPool" in printed
    assert "Concat" in printed
