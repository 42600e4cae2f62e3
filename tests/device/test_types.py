"""Every model type, all of them in one program: int16 bit for bit as TFLM, floats as the numpy reference with the
outputs of each layer rounded as they are stored."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.device import runtime as r
from tests.device.runtime import ADD, CONV2D, DWCONV2D, FC, GAP, OK, SOFTMAX, Layer, Library, align8, tmdl
from tests.oracles import one_op, random_inputs, tflm
from tests.tmdl_graphs import classifier, residual
from tinymaix.graph import Array, Graph, Node, Quantization, Tensor
from tinymaix.ops.add import Add
from tinymaix.ops.base import Operator
from tinymaix.ops.conv_2d import Conv2D
from tinymaix.ops.depthwise_conv_2d import DepthwiseConv2D
from tinymaix.ops.fully_connected import FullyConnected
from tinymaix.ops.mean import Mean
from tinymaix.ops.softmax import Softmax
from tinymaix.ops.tmdl import MODEL_TYPES
from tinymaix.read.tmdl import read_tmdl
from tinymaix.write.tmdl import tmdl_bytes

Build = Callable[[str], Library]
FLOATS = ["fp32", "fp16", "fp8_143", "fp8_152"]
INT16, INT8 = np.dtype("int16"), np.dtype("int8")


@pytest.fixture(scope="module", params=["TM_OPT0", "TM_OPT1"])
def build(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Build:
    """One shared library that holds the builds for all types, and fp16 once more without the compiler's own."""
    folder = tmp_path_factory.mktemp("types")
    variants = {name: [f"-DTM_MDL_TYPE={code}"] for code, name in enumerate(r.TYPES)}
    variants["soft_fp16"] = ["-DTM_MDL_TYPE=3", "-DTM_NATIVE_FP16=0"]
    variants["fp16"].append("-mf16c")
    objects = []
    for name, options in variants.items():
        for source in r.SOURCES[:2]:
            objects.append(folder / f"{name}_{source.stem}.o")
            flags = ["-std=c99", "-O1", "-fPIC", *r.STRICT, f"-DTM_OPT_LEVEL={request.param}", f"-DTM_PREFIX={name}_"]
            r.compile_c([*flags, *options, "-c", source, "-o", objects[-1]])
    r.compile_c(["-shared", *objects, "-o", folder / "all.so"])

    def open_build(name: str) -> Library:
        library = Library.__new__(Library)
        library.open(folder / "all.so", name.removeprefix("soft_"), f"{name}_")
        return library

    return open_build


def stored_values(name: str) -> Array:
    """All numbers of a fp8 type, ascending."""
    spec = next(model for model in MODEL_TYPES if model.name == name).float8
    assert spec is not None
    return np.unique(spec.decode(np.arange(256, dtype=np.uint8)))


def rounded(name: str, x: Array) -> Array:
    """The nearest number of the type; of two, the one farther from zero."""
    if not name.startswith("fp8"):
        return x.astype(r.TYPES[name]).astype(np.float32)
    values = stored_values(name)
    above = np.clip(np.searchsorted(values, x), 1, len(values) - 1)
    low, high = values[above - 1], values[above]
    return np.where((x - low < high - x) | ((x - low == high - x) & (x < 0)), low, high)


def decoded(name: str, x: Array) -> Array:
    spec = next(model for model in MODEL_TYPES if model.name == name).float8
    return spec.decode(x) if spec else x.astype(np.float32)


def run_rounded(name: str, graph: Graph, x: Array) -> Iterator[Array]:
    """The outputs of the layers, each rounded before the next one reads it."""
    values = {id(graph.inputs[0]): rounded(name, x)}
    for _, results in graph.steps(values):
        values.update({key: rounded(name, value) for key, value in results.items()})
    yield values[id(graph.outputs[0])]


@pytest.mark.parametrize("name", [*FLOATS, "soft_fp16"])
@pytest.mark.parametrize("graph", [classifier(False), residual(False)], ids=["classifier", "residual"])
def test_floats(build: Build, name: str, graph: Graph) -> None:
    kind = name.removeprefix("soft_")
    library = build(name)
    data = tmdl_bytes(graph, mdl_type=kind, out_deq=True).data
    model = library.load(data)
    assert model.error == OK
    x = np.random.default_rng(3).uniform(-1, 1, graph.inputs[0].shape).astype(np.float32)
    error, stored = model.preprocess(1, x[0])
    assert error == OK
    np.testing.assert_array_equal(decoded(kind, stored), rounded(kind, x[0]))
    found = model.run(stored)
    expected = next(run_rounded(kind, read_tmdl(data), x))
    # A sum in another order can round to the neighbour, here and in the layers before.
    step = {"fp32": 2.0**-20, "fp16": 2.0**-9, "fp8_143": 0.3, "fp8_152": 0.6}[kind]
    np.testing.assert_allclose(found.ravel(), expected.ravel(), rtol=step, atol=step * np.abs(expected).max())


@pytest.mark.parametrize("name", ["fp16", "soft_fp16", "fp8_143", "fp8_152"])
def test_conversions(build: Build, name: str) -> None:
    """To the stored type and back: every number, those around it, halves between, huge ones and infinity."""
    kind = name.removeprefix("soft_")
    if kind == "fp16":
        every = np.arange(0x7C01, dtype=np.uint16).view(np.float16).astype(np.float32)
    else:
        every = stored_values(kind)
    between = (every[1:] / 2 + every[:-1] / 2).astype(np.float32)
    edges = [np.nextafter(between, np.float32(side)) for side in (-np.inf, np.inf)]
    x = np.concatenate([every, between, *edges, [1e-9, 300.0, 65519.0, 65520.0, 1e30, np.inf]]).astype(np.float32)
    x = np.concatenate([x, -x])
    x = x[np.isfinite(x)]
    n = min(len(x), 0x8000)
    library = build(name)
    for part in np.array_split(x, -(-len(x) // n)):
        layer = Layer(r.RESHAPE, (1, 1, len(part)), (1, 1, len(part)), 0, 0, (1.0, 0), (1.0, 0))
        size = align8(len(part) * library.dtype.itemsize)
        data = tmdl([layer], size + 4 * len(part), 1, list(r.TYPES).index(kind))
        model = library.load(data)
        assert model.error == OK
        _, stored = model.preprocess(1, part.reshape(1, 1, -1))
        with np.errstate(over="ignore"):
            np.testing.assert_array_equal(model.run(stored).ravel(), rounded(kind, part))


def int16_layer(library: Library, layer: Layer, x: Array) -> Array:
    n = x.size + int(np.prod(layer.out_dims))
    model = library.load(tmdl([layer], align8(2 * n), mdl_type=1))
    assert model.error == OK
    return model.run(x)


SCALE = st.floats(2**-16, 2**-10, width=32)


@settings(max_examples=30)
@given(SCALE, SCALE, st.booleans(), st.integers(0, 3), st.integers(0, 2**32 - 1))
def test_int16_convolution(build: Build, s: float, t: float, depthwise: bool, act: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    cin, cout = 3, 6
    x = rng.integers(-32768, 32768, (1, 5, 6, cin), np.int16)
    scales = rng.uniform(0.001, 0.05, cout).astype(np.float32)
    bias = rng.integers(-(2**20), 2**20, cout, np.int64)
    weights = rng.integers(-127, 128, (1, 3, 2, cout) if depthwise else (cout, 3, 2, cin), np.int8)
    activation = ("none", "relu", "relu_n1_to_1", "relu6")[act]
    op: Operator = (DepthwiseConv2D if depthwise else Conv2D)((2, 1), (1, 1), (0, 0, 0, 0), activation)
    inputs = [
        Tensor("x", x.shape, INT16, Quantization.of(s)),
        Tensor("w", weights.shape, INT8, Quantization.of(scales, 0, 3 if depthwise else 0), weights),
        Tensor("b", (cout,), np.dtype("int64"), Quantization.of(scales * np.float32(s)), bias),
    ]
    shape = op.infer(inputs)[0]
    expected = tflm(one_op(op, inputs, [Tensor("y", shape, INT16, Quantization.of(t))]), [x])[0]
    layer = Layer(
        DWCONV2D if depthwise else CONV2D,
        (5, 6, cin),
        (shape[1], shape[2], cout),
        0,
        2 * x.size,
        (s, 0),
        (t, 0),
        (3, 2),
        (2, 1),
        act=act,
        scales=scales,
        weights=np.ascontiguousarray(weights[0].transpose(2, 0, 1) if depthwise else weights.transpose(0, 3, 1, 2)),
        bias=bias.astype(np.int32),
    )
    np.testing.assert_array_equal(int16_layer(build("int16"), layer, x), expected[0])


@given(SCALE, SCALE, st.integers(0, 2**32 - 1))
def test_int16_fully_connected(build: Build, s: float, t: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = rng.integers(-32768, 32768, (1, 40), np.int16)
    scale, weights = rng.uniform(0.001, 0.05, 1).astype(np.float32), rng.integers(-127, 128, (7, 40), np.int8)
    bias = rng.integers(-(2**20), 2**20, 7, np.int64)
    inputs = [
        Tensor("x", x.shape, INT16, Quantization.of(s)),
        Tensor("w", weights.shape, INT8, Quantization.of(scale), weights),
        Tensor("b", (7,), np.dtype("int64"), Quantization.of(scale * np.float32(s)), bias),
    ]
    expected = tflm(one_op(FullyConnected(), inputs, [Tensor("y", (1, 7), INT16, Quantization.of(t))]), [x])[0]
    stored = np.zeros(7, np.float32)
    stored[0] = scale[0]
    layer = Layer(FC, (1, 1, 40), (1, 1, 7), 0, 80, (s, 0), (t, 0), scales=stored, weights=weights)
    layer.bias = bias.astype(np.int32)
    np.testing.assert_array_equal(int16_layer(build("int16"), layer, x).ravel(), expected[0])


@given(SCALE, SCALE, SCALE, st.integers(0, 2**32 - 1))
def test_int16_add(build: Build, a: float, b: float, t: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = rng.integers(-32768, 32768, (1, 2, 3, 4), np.int16)
    p, q = (Tensor(name, x.shape, INT16, Quantization.of(s)) for name, s in (("p", a), ("q", b)))
    expected = tflm(one_op(Add(), [p, q], [Tensor("y", x.shape, INT16, Quantization.of(t))]), [x, x])[0]
    layer = Layer(ADD, (2, 3, 4), (2, 3, 4), 0, 48, (a, 0), (t, 0), in1=(0, b, 0))
    np.testing.assert_array_equal(int16_layer(build("int16"), layer, x), expected[0])


@given(SCALE, SCALE, st.integers(1, 9), st.integers(1, 9), st.integers(0, 2**32 - 1))
def test_int16_mean(build: Build, s: float, t: float, h: int, w: int, seed: int) -> None:
    x = np.random.default_rng(seed).integers(-32768, 32768, (1, h, w, 5), np.int16)
    tensor = Tensor("x", x.shape, INT16, Quantization.of(s))
    expected = tflm(one_op(Mean((1, 2)), [tensor], [Tensor("y", (1, 5), INT16, Quantization.of(t))]), [x])[0]
    layer = Layer(GAP, (h, w, 5), (1, 1, 5), 0, 2 * x.size, (s, 0), (t, 0))
    np.testing.assert_array_equal(int16_layer(build("int16"), layer, x).ravel(), expected.ravel())


@given(st.floats(2**-20, 0.25, width=32), st.integers(1, 100), st.integers(0, 2**32 - 1))
def test_int16_softmax(build: Build, s: float, n: int, seed: int) -> None:
    x = np.random.default_rng(seed).integers(-32768, 32768, (2, n), np.int16)
    tensor = Tensor("x", x.shape, INT16, Quantization.of(s))
    out = Tensor("y", x.shape, INT16, Quantization.of(1 / 32768))
    expected = tflm(one_op(Softmax(), [tensor], [out]), [x])[0]
    layer = Layer(SOFTMAX, (2, 1, n), (2, 1, n), 0, 4 * n, (s, 0), (1 / 32768, 0))
    np.testing.assert_array_equal(int16_layer(build("int16"), layer, x)[:, 0], expected)


def test_int16_input(build: Build) -> None:
    model = build("int16").load(tmdl([Layer(r.RESHAPE, (1, 1, 256), (1, 1, 256), 0, 0, (2.0**-8, 0))], 512, mdl_type=1))
    u8 = np.arange(256, dtype=np.uint8).reshape(1, 1, -1)
    np.testing.assert_array_equal(model.preprocess(2, u8)[1].ravel(), (np.arange(256) - 128) * 256)
    real = np.linspace(-200, 200, 256, dtype=np.float32).reshape(1, 1, -1)
    expected = np.clip(np.trunc(real * 256 + np.copysign(0.5, real)), -32768, 32767)
    np.testing.assert_array_equal(model.preprocess(1, real)[1], expected)


@pytest.mark.parametrize("options", [[], ["-DTM_OPT_LEVEL=TM_OPT1"]], ids=["small", "fast"])
@pytest.mark.parametrize(
    ("name", "flags"),
    [("gcc", ["-std=c99"]), ("g++", ["-x", "c++", "-std=c++11"]), ("avr-gcc", ["-std=c99", "-mmcu=atmega328p"])],
    ids=["c99", "c++", "avr"],
)
@pytest.mark.parametrize("kind", range(1, 6), ids=list(r.TYPES)[1:])
def test_strict_build(name: str, flags: list[str], kind: int, options: list[str]) -> None:
    for source in r.SOURCES[:2]:
        command: list[str | Path] = [*flags, "-fsyntax-only", *r.STRICT, *options, f"-DTM_MDL_TYPE={kind}", source]
        r.compile_c(command, name)


def test_int16_model(build: Build) -> None:
    """A graph of 16-bit activations, written, read again and run."""
    rng = np.random.default_rng(2)
    x = Tensor("x", (1, 6, 7, 2), INT16, Quantization.of(2.0**-12))
    scales = rng.uniform(0.001, 0.01, 4).astype(np.float32)
    kernel = Tensor("w", (4, 3, 3, 2), INT8, Quantization.of(scales), rng.integers(-127, 128, (4, 3, 3, 2), np.int8))
    bias = rng.integers(-(2**16), 2**16, 4, np.int64)
    biases = Tensor("b", (4,), np.dtype("int64"), Quantization.of(scales * np.float32(2.0**-12)), bias)
    y = Tensor("y", (1, 4, 5, 4), INT16, Quantization.of(2.0**-13))
    z = Tensor("z", (1, 4), INT16, Quantization.of(2.0**-13))
    p = Tensor("p", (1, 4), INT16, Quantization.of(2.0**-15))
    nodes = [
        Node(Conv2D(activation="relu"), [x, kernel, biases], [y], "conv"),
        Node(Mean((1, 2)), [y], [z], "mean"),
        Node(Softmax(), [z], [p], "softmax"),
    ]
    graph = Graph(nodes, [x], [p], "int16")
    inputs = random_inputs(graph)
    expected = graph.run(inputs)[0]
    data = tmdl_bytes(graph, out_deq=False).data
    np.testing.assert_array_equal(read_tmdl(data).run(inputs)[0], expected)
    np.testing.assert_array_equal(build("int16").load(data).run(inputs[0]).ravel(), expected.ravel())
