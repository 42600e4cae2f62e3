"""The reader: originals run bit-exact, every damaged field is a sentence, and mutants raise nothing but ModelError."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import load_reference, model_files
from tests.oracles import FLOAT_TOLERANCE, expect_same
from tests.tmdl_graphs import Chain, classifier, residual
from tinymaix.graph import Graph, ModelError
from tinymaix.ops.tmdl import HEAD_SIZE, LAYER_HEAD_SIZE
from tinymaix.read import read_bytes
from tinymaix.read.tmdl import read_tmdl
from tinymaix.write.tmdl import tmdl_bytes

LARGE = 2**21
"""MACs above which one sample does: the numpy reference takes a while."""

DIMS_IN, DIMS_OUT = 20, 28
SIZE, IN_OFT, OUT_OFT, IN_DIMS, OUT_DIMS, IN_S, IN_ZP, OUT_S, OUT_ZP = 4, 8, 12, 16, 24, 32, 36, 40, 44
BODY = LAYER_HEAD_SIZE


@pytest.mark.parametrize(
    "path",
    [p for p in model_files("tinymaix/tmdl/*.tmdl") if "fp8" not in p.stem and "kws" not in p.stem],
    ids=lambda path: path.stem,
)
def test_outputs_of_the_tflite(path: Path) -> None:
    graph = read_tmdl(path.read_bytes(), path.stem)
    samples = load_reference(path.parent.parent / "tflite" / f"{path.stem.removesuffix('_be')}.tflite")
    for inputs, outputs in samples[-1:] if graph.macs > LARGE else samples:
        tolerance = FLOAT_TOLERANCE if outputs[0].dtype.kind == "f" else 0.0
        found = graph.run([inputs[0].reshape(graph.inputs[0].shape)])
        expect_same(found, [outputs[0].reshape(found[0].shape)], path.stem, tolerance)


@pytest.mark.parametrize("path", model_files("tinymaix/tmdl/kws_q.tmdl"), ids=lambda path: path.stem)
def test_a_model_whose_tflite_is_lost(path: Path) -> None:
    """The original runtime cuts off where it should round, so its probabilities are only near."""
    graph = read_tmdl(path.read_bytes())
    with np.load(path.parents[2] / "refs/tinymaix/tmdl/kws_q.npz") as reference:
        for k in range(3):
            x = (reference[f"u{k}"].astype(np.int16) - 128).astype(np.int8).reshape(graph.inputs[0].shape)
            y = (graph.run([x])[0].reshape(-1).astype(np.float64) + 128) / 256
            assert np.argmax(y) == np.argmax(reference[f"y{k}"])


@pytest.mark.parametrize("path", model_files("tinymaix/tmdl/mnist_fp8_*.tmdl"), ids=lambda path: path.stem)
def test_fp8(path: Path) -> None:
    """With its activations in float32 the model sees the digits that another network for the same digits sees."""
    graph = read_tmdl(path.read_bytes())
    other = read_tmdl(path.with_name("mnist_resnet_f.tmdl").read_bytes())
    with np.load(path.parents[2] / f"refs/tinymaix/tmdl/{path.stem}.npz") as pictures:
        for k in range(4):
            x = (pictures[f"u{k}"] / np.float32(255)).astype(np.float32).reshape(graph.inputs[0].shape)
            assert np.argmax(graph.run([x])[0]) == np.argmax(other.run([x])[0])


def test_notes() -> None:
    assert read_tmdl(tmdl_bytes(classifier(True), out_deq=False).data).notes == []
    assert "raw" in read_tmdl(tmdl_bytes(classifier(True)).data).notes[0]
    assert read_tmdl(tmdl_bytes(classifier(False)).data).notes == []
    assert "fp16" in read_tmdl(tmdl_bytes(classifier(False), mdl_type="fp16").data).notes[1]


def test_the_format_is_recognized() -> None:
    graph = read_bytes(tmdl_bytes(classifier(True)).data, "name")
    assert (graph.name, len(graph.nodes)) == ("name", 8)


def small(integer: bool = True) -> bytes:
    """A convolution, a fully connected layer with one scale, and softmax."""
    chain = Chain(integer, (1, 6, 6, 1))
    chain.conv(4)
    chain.reshape((1, 64))
    chain.dense(3)
    chain.softmax()
    return tmdl_bytes(chain.graph()).data


def at(data: bytes, layer: int) -> int:
    """Where a layer begins in a little-endian file."""
    offset = HEAD_SIZE
    for _ in range(layer):
        offset += int.from_bytes(data[offset + SIZE : offset + SIZE + 4], "little")
    return offset


def damaged(data: bytes, layer: int | None, offset: int, layout: str, *values: float) -> str:
    """The reader's sentence for a file with other values at an offset of a layer, or of the file."""
    raw = bytearray(data)
    struct.pack_into("<" + layout, raw, offset + (0 if layer is None else at(data, layer)), *values)
    with pytest.raises(ModelError) as caught:
        read_tmdl(bytes(raw))
    return str(caught.value)


@pytest.mark.parametrize(
    ("offset", "layout", "values", "sentence"),
    [
        (0, "4s", (b"MAIY",), "does not begin with MAIX"),
        (4, "B", (6,), "model type 6 is not known"),
        (4, "B", (1,), "is not a quantization of int16"),
        (6, "H", (2,), "2 inputs"),
        (8, "H", (0,), "0 outputs"),
        (10, "H", (0,), "no layers"),
        (10, "H", (5,), "the file ends where layer 4 should begin"),
        (10, "H", (3,), "bytes follow the last layer"),
        (12, "I", (48,), "does not fit the buffer of 48"),
        (DIMS_IN, "4H", (3, 6, 6, 2), "but the model's input is [3, 6, 6, 2]"),
        (DIMS_OUT, "4H", (1, 1, 1, 4), "not the output of shape [1, 1, 1, 4]"),
        (63, "B", (1,), "reserved bytes"),
    ],
)
def test_damaged_header(offset: int, layout: str, values: tuple[float, ...], sentence: str) -> None:
    assert sentence in damaged(small(), None, offset, layout, *values)


@pytest.mark.parametrize(
    ("layer", "offset", "layout", "values", "sentence"),
    [
        (0, 0, "H", (7,), "layer 0 has type 7"),
        (0, SIZE, "I", (20,), "layer 0 has a size of 20"),
        (0, SIZE, "I", (0xFFFFFFF8,), "layer 0 has a size of"),
        (0, SIZE, "I", (60,), "multiple of 8"),
        (0, SIZE, "I", (48,), "too few for its parameters"),
        (0, IN_OFT, "I", (0xFFFFFFFF,), "does not fit the buffer"),
        (0, OUT_OFT, "I", (32,), "would overwrite its input 'input'"),
        (1, IN_OFT, "I", (8,), "where no such tensor lies"),
        (1, IN_DIMS, "4H", (3, 4, 2, 8), "where no such tensor lies"),
        (0, IN_DIMS, "H", (4,), "are not dimensions"),
        (1, OUT_DIMS, "4H", (1, 2, 1, 64), "are not dimensions"),
        (1, OUT_DIMS, "4H", (1, 1, 1, 0), "are not dimensions"),
        (1, OUT_DIMS, "4H", (1, 1, 1, 63), "cannot be reshaped"),
        (0, OUT_DIMS, "4H", (3, 4, 3, 4), "it gives [1, 4, 4, 4], but the file says [1, 4, 3, 4]"),
        (0, IN_S, "f", (float("nan"),), "is not a quantization"),
        (0, OUT_S, "f", (0.0,), "is not a quantization"),
        (0, OUT_S, "f", (float("inf"),), "is not a quantization"),
        (0, OUT_ZP, "i", (128,), "is not a quantization"),
        (2, IN_ZP, "i", (100,), "not those that 'reshape_1' was computed with"),
        (3, OUT_ZP, "i", (0,), "SOFTMAX always gives"),
        (3, 2, "H", (0,), "the last layer is not the output"),
        (0, BODY, "B", (0,), "must be positive"),
        (0, BODY, "B", (9,), "do not lie in its"),
        (0, BODY + 2, "B", (0,), "must be positive"),
        (0, BODY + 4, "B", (255,), "does not fit into an input"),
        (0, BODY + 6, "H", (4,), "activation code 4 is not supported"),
        (0, BODY + 8, "B", (255,), "but the file says"),
        (0, BODY + 12, "I", (1,), "depth multiplier 1"),
        (0, 0, "H", (5,), "depth multiplier 0"),
        (0, BODY + 20, "I", (0xFFFFFFFC,), "of weight scales at offset"),
        (0, BODY + 24, "I", (4,), "of weights at offset 4"),
        (0, BODY + 28, "I", (81,), "of biases at offset 81"),
        (0, 80, "f", (-1.0,), "weight scales are negative or not finite"),
        (0, 80, "f", (float("nan"),), "weight scales are negative or not finite"),
        (2, BODY + 8, "I", (0x7FFFFFFF,), "of biases at offset"),
    ],
)
def test_damaged_layer(layer: int, offset: int, layout: str, values: tuple[float, ...], sentence: str) -> None:
    message = damaged(small(), layer, offset, layout, *values)
    assert sentence in message
    assert message.startswith(("layer", "the last layer"))


def test_damaged_float_weights() -> None:
    assert "not finite" in damaged(small(False), 0, 80, "f", float("inf"))


def test_a_bias_beyond_32_bits() -> None:
    data = small()
    bias = int.from_bytes(data[at(data, 0) + BODY + 28 :][:4], "little")
    sentences = {damaged(data, 0, bias, "i", value) for value in (-(2**31), 2**31 - 1)}
    assert any("32 bits" in sentence for sentence in sentences)


@pytest.mark.parametrize("kept_first", [True, False])
def test_damaged_addition(kept_first: bool) -> None:
    data = tmdl_bytes(residual(True, kept_first)).data
    assert "where no such tensor lies" in damaged(data, 2, BODY, "I", 8)
    assert "its scales are not those" in damaged(data, 2, BODY + 4, "f", 0.125)
    assert "its scales are not those" in damaged(data, 2, IN_ZP, "i", 127 if data[at(data, 2) + IN_ZP] != 127 else 126)
    # The kept tensor is overwritten by the layer between.
    assert "would overwrite its input" in damaged(
        data, 1, OUT_OFT, "I", int.from_bytes(data[at(data, 2) + BODY :][:4], "little")
    )


def test_every_truncation() -> None:
    for data in (small(), tmdl_bytes(classifier(False), mdl_type="fp8_143", big_endian=True).data):
        for length in range(len(data)):
            with pytest.raises(ModelError):
                read_tmdl(data[:length])


def graphs_to_mutate() -> list[bytes]:
    files = [tmdl_bytes(residual(True)).data, tmdl_bytes(classifier(True), big_endian=True).data, small(False)]
    return files + [p.read_bytes() for p in model_files("tinymaix/tmdl/mnist_*_q.tmdl") if "resnet" not in p.stem]


@pytest.mark.parametrize("seed", range(4))
def test_mutants(seed: int) -> None:
    """Bytes, words and whole blocks changed at random, mostly in headers: a Graph or a ModelError, nothing else."""
    rng = np.random.default_rng(seed)
    files = graphs_to_mutate()
    read, sentences = 0, []
    for i in range(800):
        raw = bytearray(files[i % len(files)])
        starts = [0, *headers(bytes(raw))]
        for _ in range(rng.integers(1, 4)):
            mutate(raw, rng, starts)
        try:
            graph = read_tmdl(bytes(raw))
        except ModelError as error:
            sentences += error.problems
        else:
            read += 1
            check(graph)
    assert all(sentence and "\n" not in sentence for sentence in sentences)
    assert read > 20  # some changes, as of weights, leave a file that is a model


def headers(data: bytes) -> list[int]:
    """Where the layers of an undamaged file begin."""
    order = "big" if data[6] == 0 else "little"
    starts, offset = [], HEAD_SIZE
    while offset < len(data):
        starts.append(offset)
        offset += int.from_bytes(data[offset + SIZE : offset + SIZE + 4], order)  # type: ignore[arg-type]
    return starts


def mutate(raw: bytearray, rng: np.random.Generator, starts: list[int]) -> None:
    near_header = int(rng.choice(starts)) + int(rng.integers(0, 80))
    offset = near_header if rng.random() < 0.8 else int(rng.integers(0, len(raw)))
    offset = min(offset, len(raw) - 1)
    kind = rng.integers(0, 5)
    if kind == 0:
        raw[offset] = int(rng.integers(0, 256))
    elif kind == 1:
        raw[offset] ^= 1 << int(rng.integers(0, 8))
    elif kind == 2:
        word = int(rng.choice([0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF]))
        raw[offset : offset + 4] = word.to_bytes(4, "little")[: len(raw) - offset]
    elif kind == 3:
        del raw[offset : offset + int(rng.integers(1, 64))]
    else:
        raw[offset:offset] = raw[: int(rng.integers(1, 64))]


def check(graph: Graph) -> None:
    """A graph that was read is whole: it has the shapes that it states, and nothing that cannot be computed."""
    for node in graph.nodes:
        assert node.op.infer(node.inputs) == [node.output.shape]
        assert node.op.problems(node) == []
