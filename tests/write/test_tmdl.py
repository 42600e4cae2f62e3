"""The writer against the original converter's files, which it must match byte for byte, and against its own reader."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import MODELS, model_files
from tests.tmdl_graphs import Chain, classifier, residual
from tinymaix.graph import Graph, ModelError, Node, Quantization
from tinymaix.ops.add import Add
from tinymaix.ops.average_pool_2d import AveragePool2D
from tinymaix.ops.conv_2d import Conv2D
from tinymaix.ops.fully_connected import FullyConnected
from tinymaix.ops.mean import Mean
from tinymaix.ops.pad import Pad
from tinymaix.ops.relu import Relu
from tinymaix.ops.softmax import Softmax
from tinymaix.ops.tmdl import MODEL_TYPES, Float8
from tinymaix.read.tflite import read_tflite
from tinymaix.read.tmdl import read_tmdl
from tinymaix.rewrite import simplify
from tinymaix.write.header import header_text
from tinymaix.write.tmdl import Tmdl, tmdl_bytes, write_tmdl

ORIGINALS = model_files("tinymaix/tmdl/*.tmdl")
TYPES = {model.code: model.name for model in MODEL_TYPES}


def source(original: Path) -> Path:
    """The .tflite that the original converter made the file from."""
    return original.parent.parent / "tflite" / f"{original.stem.removesuffix('_be')}.tflite"


def convert(original: Path) -> Tmdl:
    graph = read_tflite(source(original).read_bytes(), original.stem)
    return tmdl_bytes(graph, big_endian=original.stem.endswith("_be"))


PAIRS = pytest.mark.parametrize("original", [p for p in ORIGINALS if source(p).is_file()], ids=lambda p: p.stem)


@PAIRS
def test_the_originals_bytes(original: Path) -> None:
    expected = original.read_bytes()
    assert convert(original).data == expected
    simplified = simplify(read_tflite(source(original).read_bytes()))
    assert tmdl_bytes(simplified, big_endian=original.stem.endswith("_be")).data == expected


@pytest.mark.parametrize("original", ORIGINALS, ids=lambda p: p.stem)
def test_reading_and_writing_keeps_every_byte(original: Path) -> None:
    expected = original.read_bytes()
    graph = read_tmdl(expected)
    big_endian = original.stem.endswith("_be")
    assert tmdl_bytes(graph, big_endian=big_endian, mdl_type=TYPES[expected[4]]).data == expected


@PAIRS
def test_the_originals_buffer_lengths(original: Path) -> None:
    tmdl = convert(original)
    info = json.loads((original.parent / "tmdl_info.json").read_text())[original.stem]
    kept = next((7 * 7 * 24 * tmdl.model_type.unit for layer in tmdl.layers if layer.kind == "ADD"), 0)
    assert macros(header_text(tmdl)) == {"MDL_BUF_LEN": info["MDL_BUF_LEN"] + kept, "LBUF_LEN": info["LBUF_LEN"]}
    assert tmdl.head.buf_size == info["MDL_BUF_LEN"] + kept


def macros(header: str) -> dict[str, int]:
    return {name: int(value) for name, value in re.findall(r"#define (\w+LEN) \((\d+)\)", header)}


def test_the_log_of_the_readme(shared: Path) -> None:
    readme = (shared / "reference" / "tinymaix-readme.txt").read_text().splitlines()
    begin = readme.index("================ pack model head ================")
    end = readme.index("Saved to tmdl/mnist_q.tmdl, tmdl/mnist_q.h")
    tmdl = tmdl_bytes(read_tflite((MODELS / "tinymaix/tflite/mnist_valid_q.tflite").read_bytes()))
    assert tmdl.log("tmdl/mnist_q.tmdl").splitlines() == readme[begin : end + 1]


@pytest.mark.parametrize("integer", [True, False])
def test_header(integer: bool) -> None:
    tmdl = tmdl_bytes(residual(integer))
    text = header_text(tmdl)
    size, array = re.findall(r"const uint8_t mdl_data\[(\d+)\] = \{(.*?)\};", text, re.DOTALL)[0]
    assert int(size) == len(tmdl.data)
    assert bytes(int(value, 16) for value in re.findall(r"0x(\w\w),", array)) == tmdl.data
    assert macros(text) == {"MDL_BUF_LEN": tmdl.head.buf_size, "LBUF_LEN": tmdl.layer_buffer}
    assert tmdl.layer_buffer == 64 + max(layer.head.size for layer in tmdl.layers)


def test_the_buffer_holds_the_kept_part() -> None:
    tmdl = tmdl_bytes(residual(True), out_deq=False)
    kept = math.ceil(4 * 4 * 5 / 8) * 8
    assert tmdl.head.buf_size == 2 * kept + kept
    assert tmdl.layers[0].head.out_oft == tmdl.layers[1].head.in_oft == 2 * kept


def test_files(tmp_path: Path) -> None:
    tmdl = write_tmdl(classifier(True), tmp_path / "model.tmdl")
    assert (tmp_path / "model.tmdl").read_bytes() == tmdl.data
    assert (tmp_path / "model.h").read_text() == header_text(tmdl)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.h", "model.tmdl"]
    with pytest.raises(ModelError, match="C header"):
        write_tmdl(classifier(True), tmp_path / "model.h")
    assert tmdl.log("a/model.tmdl").endswith("Saved to a/model.tmdl, a/model.h")
    figures = json.loads(json.dumps(tmdl.as_dict()))
    assert figures["model_size"] == len(tmdl.data)
    assert len(figures["layers"]) == len(tmdl.layers)


@given(
    integer=st.booleans(),
    seed=st.integers(0, 1000),
    out_deq=st.booleans(),
    big_endian=st.booleans(),
    kept_first=st.booleans(),
    blocks=st.integers(0, 3),
)
def test_round_trip(integer: bool, seed: int, out_deq: bool, big_endian: bool, kept_first: bool, blocks: int) -> None:
    graph = residual(integer, kept_first, blocks) if blocks else classifier(integer, seed)
    tmdl = tmdl_bytes(graph, out_deq=out_deq, big_endian=big_endian)
    read = read_tmdl(tmdl.data)
    assert tmdl_bytes(read, out_deq=out_deq, big_endian=big_endian).data == tmdl.data
    x = random_input(graph, seed)
    np.testing.assert_array_equal(read.run([x])[0], graph.run([x])[0])


def random_input(graph: Graph, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    x = graph.inputs[0]
    if x.dtype == np.int8:
        return rng.integers(-128, 128, x.shape, np.int8)
    return rng.uniform(-1, 1, x.shape).astype(np.float32)


@pytest.mark.parametrize("name", ["fp32", "fp16", "fp8_143", "fp8_152"])
def test_float_types(name: str) -> None:
    graph = classifier(False)
    data = tmdl_bytes(graph, mdl_type=name, out_deq=False).data
    read = read_tmdl(data)
    assert tmdl_bytes(read, mdl_type=name, out_deq=False).data == data
    for node, again in zip(graph.nodes, read.nodes, strict=True):
        for constant, found in zip(node.inputs[1:], again.inputs[1:], strict=True):
            assert constant is not None
            assert found is not None
            assert found.data is not None
            values = np.asarray(constant.data, np.float64)
            step = {"fp32": 0.0, "fp16": 2.0**-11, "fp8_143": 2.0**-4, "fp8_152": 2.0**-3}[name]
            smallest = {"fp32": 0.0, "fp16": 2.0**-14, "fp8_143": 2.0**-8, "fp8_152": 2.0**-14}[name]
            assert np.all(np.abs(values - found.data) <= step * np.maximum(np.abs(values), smallest) + smallest)


@pytest.mark.parametrize("spec", [Float8(4, 3, 9), Float8(5, 2, 15)])
def test_float8(spec: Float8) -> None:
    codes = np.arange(256).astype(np.uint8)
    values = spec.decode(codes)
    assert values[0] == values[0x80] == 0
    for code in codes[1:128]:
        e, m = int(code) >> spec.mantissa, int(code) % (1 << spec.mantissa)
        assert values[code] == 2.0 ** (e - spec.bias) * (1 + m / (1 << spec.mantissa)) == -values[code + 128]
    np.testing.assert_array_equal(spec.encode(values), codes)
    between = (values[8:127].astype(np.float64) + values[9:128]) / 2  # halves go up, away from zero
    np.testing.assert_array_equal(spec.encode(between), codes[9:128])
    np.testing.assert_array_equal(spec.encode(np.nextafter(between.astype(np.float32), np.float32(0))), codes[8:127])
    np.testing.assert_array_equal(spec.encode(-between), codes[9 + 128 :])


def test_a_pad_is_part_of_its_convolution() -> None:
    chain = Chain(True, (1, 6, 6, 2))
    chain.apply(Pad(((0, 0), (0, 1), (2, 0), (0, 0))), quantization=chain.input.quantization)
    chain.conv(3, Conv2D(stride=(2, 2)))
    graph = chain.graph()
    tmdl = tmdl_bytes(graph)
    assert [layer.kind for layer in tmdl.layers] == ["CONV_2D"]
    assert tmdl.layers[0].padding == "[0, 1, 2, 0]"
    x = random_input(graph)
    np.testing.assert_array_equal(read_tmdl(tmdl.data).run([x])[0], graph.run([x])[0])


def test_an_activation_that_the_range_does_already_is_dropped() -> None:
    chain = Chain(True, (1, 6))
    weights, bias = chain.constants((4, 6), 0)
    chain.apply(FullyConnected("relu"), [chain.end, weights, bias], Quantization.of(0.05, -128))
    graph = chain.graph()
    x = random_input(graph)
    np.testing.assert_array_equal(read_tmdl(tmdl_bytes(graph).data).run([x])[0], graph.run([x])[0])


def test_global_average_pools() -> None:
    chain = Chain(False, (1, 4, 4, 3))
    chain.apply(AveragePool2D((4, 4), (4, 4)))
    graph = chain.graph()
    x = random_input(graph)
    np.testing.assert_array_equal(read_tmdl(tmdl_bytes(graph).data).run([x])[0], graph.run([x])[0])


def refused(graph: Graph, **options: str) -> list[str]:
    with pytest.raises(ModelError) as caught:
        tmdl_bytes(graph, mdl_type=options.get("mdl_type"))
    return caught.value.problems


def test_all_problems_at_once() -> None:
    chain = Chain(True, (1, 8, 8, 4))
    weights, bias = chain.constants((4, 3, 3, 2), 0)
    chain.apply(Conv2D(), [chain.end, weights, bias])
    chain.apply(Relu(), quantization=chain.end.quantization)
    chain.apply(AveragePool2D((2, 2), (2, 2)), quantization=chain.end.quantization)
    chain.apply(Mean((3,), keep_dims=True))
    chain.reshape((3, 3))
    weights, bias = chain.constants((2, 3), 0)
    chain.apply(FullyConnected("relu6"), [chain.end, weights, bias])
    chain.apply(Softmax(beta=2.0), quantization=Quantization.of(1 / 256, -128))
    problems = "\n".join(refused(chain.graph()))
    for sentence in (
        "CONV_2D 'conv_2d_0': it is a grouped convolution",
        "RELU 'relu_1': a .tmdl has no such layer",
        "AVERAGE_POOL_2D 'average_pool_2d_2': a window of (2, 2)",
        "MEAN 'mean_3': it takes the mean over axes [3]",
        "RESHAPE 'reshape_4': 'reshape_4' has shape [3, 3]",
        "FULLY_CONNECTED 'fully_connected_5': it fuses relu6",
        "FULLY_CONNECTED 'fully_connected_5': it takes 3 rows",
        "SOFTMAX 'softmax_6': its beta is 2",
    ):
        assert sentence in problems


def test_branches_are_refused() -> None:
    chain = Chain(True, (1, 6, 6, 4))
    first = chain.conv(4, Conv2D(padding=(1, 1, 1, 1)))
    second = chain.conv(4, Conv2D(padding=(1, 1, 1, 1)))
    chain.conv(4, Conv2D(padding=(1, 1, 1, 1)))
    chain.apply(Add(), [chain.end, second])
    chain.apply(Add(), [chain.end, first])
    assert "'conv_2d_0' and 'conv_2d_1' would have to be kept at the same time" in refused(chain.graph())[0]


def test_a_projected_shortcut_is_refused() -> None:
    chain = Chain(True, (1, 6, 6, 4))
    first = chain.conv(4, Conv2D(padding=(1, 1, 1, 1)))
    second = chain.conv(3, kernel=(1, 1))
    weights, bias = chain.constants((3, 1, 1, 4), 0)
    third = chain.apply(Conv2D(), [first, weights, bias])
    chain.apply(Add(), [third, second])
    assert "CONV_2D 'conv_2d_2' reads 'conv_2d_0', but not 'conv_2d_1'" in refused(chain.graph())[0]


def test_the_models_input_cannot_be_kept() -> None:
    chain = Chain(True, (1, 6, 6, 4))
    chain.conv(4, Conv2D(padding=(1, 1, 1, 1)))
    chain.apply(Add(), [chain.input, chain.end])
    assert "'input', the input of the model, is read again" in refused(chain.graph())[0]


def test_a_broadcast_is_refused() -> None:
    chain = Chain(True, (1, 6))
    kept = chain.dense(6)
    chain.dense(1)
    chain.apply(Add(), [kept, chain.end])
    assert "it adds [1, 6] and [1, 1]" in refused(chain.graph())[0]


def test_types() -> None:
    assert "cannot be written as fp16" in refused(classifier(True), mdl_type="fp16")[0]
    assert "cannot be written as int8" in refused(classifier(False), mdl_type="int8")[0]
    assert "cannot be written as int16" in refused(classifier(True), mdl_type="int16")[0]
    x = Chain(True, (1, 4)).input
    assert "int32" in refused(Graph([], [replace(x, dtype=np.dtype("int32"))], [x]))[0]
    assert "1 to 65535 layers" in refused(Graph([], [x], [x]))[0]


def test_two_inputs_are_refused() -> None:
    a, b = Chain(True, (1, 4)).input, Chain(True, (1, 4), seed=1).input
    y = Chain(True, (1, 4), seed=2).input
    assert "2 inputs" in refused(Graph([Node(Add(), [a, b], [y], "add")], [a, b], [y]))[0]


def test_values_beyond_fp16() -> None:
    chain = Chain(False, (1, 3))
    chain.dense(2)
    weights = chain.nodes[0].input(1)
    assert weights.data is not None
    weights.data[0, 0] = 1e5
    assert "beyond the 65504 that fp16 reaches" in refused(chain.graph(), mdl_type="fp16")[0]
    weights.data[0, 0] = np.inf
    assert "not finite" in refused(chain.graph())[0]
