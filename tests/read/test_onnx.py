"""Whole .onnx files: fixtures against onnxruntime and PyTorch, and all that is refused with a sentence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import tinymaix
from tests.read import onnx_writer as onnx
from tests.read.fixtures import DATA, check_fixture
from tinymaix.graph import ModelError
from tinymaix.read import read_bytes, read_model
from tinymaix.read.onnx import looks_like_onnx, read_onnx
from tinymaix.rewrite import simplify

X = onnx.value("x", (1, 2, 4, 4))
WEIGHTS = np.ones((3, 2, 3, 3), np.float32)
FLOATS = ("cnn_1d", "lstm", "gru", "transformer", "small")


@pytest.mark.parametrize("name", FLOATS)
def test_float_networks(name: str) -> None:
    graph = check_fixture(f"onnx_{name}.onnx", 1e-4)
    if name != "transformer":  # whose heads are transposed by design
        assert [node for node in graph.nodes if node.op.kind == "TRANSPOSE"] == []


@pytest.mark.parametrize("name", ["small_qdq", "small_qlinear"])
def test_quantized_networks_become_integer_graphs(name: str) -> None:
    graph = check_fixture(f"onnx_{name}.onnx", 1.01)
    assert {t.dtype.name for t in graph.tensors} == {"int8", "int32"}
    assert any("takes int8: round(real / " in note for note in graph.notes)


def test_both_spellings_of_a_quantized_network_are_one() -> None:
    qdq, qlinear = (simplify(read_model(DATA / f"onnx_small_{name}.onnx")) for name in ("qdq", "qlinear"))
    kinds = [node.op.kind for node in qdq.nodes]
    assert kinds == [node.op.kind for node in qlinear.nodes]
    assert kinds.count("QUANTIZE") == 0


def test_an_integer_graph_runs_on_a_cortex_m4() -> None:
    graph = tinymaix.read(DATA / "onnx_small_qdq.onnx")
    x = np.random.default_rng(0).integers(-128, 128, graph.inputs[0].shape).astype(np.int8)
    np.testing.assert_array_equal(tinymaix.run(graph, x, on="cortex-m4")[0], graph.run([x])[0])


def _conv(**changes: object) -> bytes:
    settings = {
        "nodes": [onnx.node("Conv", ["x", "w"], ["y"])],
        "inputs": [X],
        "outputs": ["y"],
        "constants": {"w": WEIGHTS},
    }
    return onnx.model(**{**settings, **changes})  # type: ignore[arg-type]


def test_the_input_and_output_of_a_convolution_are_channels_last() -> None:
    graph = read_onnx(_conv())
    assert graph.inputs[0].shape == (1, 4, 4, 2)
    assert graph.outputs[0].shape == (1, 2, 2, 3)
    assert graph.notes[0] == "input 'x' is channels-last: [1, 4, 4, 2], not [1, 2, 4, 4]"


def test_an_input_that_no_layer_with_channels_meets_stays_as_it_is() -> None:
    nodes = [onnx.node("Transpose", ["x"], ["t"], perm=[0, 2, 3, 1]), onnx.node("Relu", ["t"], ["y"])]
    graph = read_onnx(onnx.model(nodes, [X], ["y"]))
    assert graph.inputs[0].shape == (1, 2, 4, 4)


def test_an_embedding_of_computed_indices() -> None:
    table = np.arange(12, dtype=np.float32).reshape(4, 3)
    nodes = [onnx.node("Gather", ["table", "x"], ["g"]), onnx.node("Relu", ["g"], ["y"])]
    graph = read_onnx(onnx.model(nodes, [onnx.value("x", ("batch", 2), "int64")], ["y"], {"table": table}))
    assert graph.inputs[0].dtype == np.int32
    np.testing.assert_array_equal(graph.run([np.array([[3, 1]], np.int32)])[0], table[[[3, 1]]])


def test_an_empty_slice_of_a_list_of_sizes() -> None:
    nodes = [
        onnx.node("Shape", ["x"], ["s"]),
        onnx.node("Slice", ["s", "four", "four"], ["none"]),
        onnx.node("Concat", ["none", "s"], ["t"], axis=0),
        onnx.node("Reshape", ["x", "t"], ["y"]),
    ]
    graph = read_onnx(onnx.model(nodes, [X], ["y"], {"four": np.array([4], np.int64)}))
    assert graph.outputs[0].shape == (1, 2, 4, 4)


@pytest.mark.parametrize("opset", [7, 13, 22])
def test_opsets(opset: int) -> None:
    assert read_onnx(_conv(opset=opset)).outputs[0].shape == (1, 2, 2, 3)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (_conv(opset=6), "the .onnx uses opset 6; opsets 7 to"),
        (_conv(opset=99), "opset 99"),
        (_conv(nodes=[onnx.node("Conv", ["x", "v"], ["y"])]), "reads 'v', which nothing before it defines"),
        (_conv(nodes=[onnx.node("NonZero", ["x"], ["y"])]), "NonZero 'the NonZero' is not supported"),
        (_conv(nodes=[onnx.node("Relu", ["x"], ["y"], domain="mine")]), "of domain 'mine' is not supported"),
        (_conv(outputs=["z"]), "output 'z' of the model is never computed"),
        (_conv(nodes=[onnx.node("Relu", ["x"], ["x"])]), "writes 'x', which something before it defines"),
        (_conv(constants={"w": WEIGHTS[:, :1]}), "do not fit an input of shape"),
        (_conv(nodes=[onnx.node("Conv", ["x", "w"], ["y"], strides=[0, 1])]), "must be positive"),
        (_conv(nodes=[onnx.node("Conv", ["x", "w"], ["y"], strides="no")]), "attribute strides must be integers"),
        (_conv(inputs=[onnx.value("x", (1, 2, 4, 1 << 40))]), "larger than any chip's memory"),
        (_conv(inputs=[onnx.value("x", (1,) * 9)]), "9 dimensions; at most 8"),
        (_conv(nodes=[onnx.node("Conv", ["x", "x"], ["y"])]), "is computed at run time; only a constant"),
        (
            _conv(nodes=[onnx.node("ConstantOfShape", ["w"], ["y"], value=np.ones(1, np.float32))]),
            "larger than any",
        ),
        (_conv(nodes=[onnx.node("Identity", ["w"], ["y"])]), "output 'w' is the same for every input"),
        (b"\x08\x08\x3a\x04\x0a\xff\xff\xff\xff", "damaged file"),
        (_conv()[:-30], "damaged file"),
        (b"\x80\x02}q\x00.", "can run any code"),
        (b"no model at all", "not a model that can be read"),
    ],
)
def test_refuses(data: bytes, sentence: str) -> None:
    with pytest.raises(ModelError, match=sentence):
        read_bytes(data)


def test_all_problems_at_once() -> None:
    nodes = [onnx.node("NonZero", ["x"], ["a"]), onnx.node("Einsum", ["x"], ["b"], equation="ij->ji")]
    with pytest.raises(ModelError) as caught:
        read_onnx(onnx.model(nodes, [X], ["a"]))
    assert [p.split("'")[0] for p in caught.value.problems[:2]] == ["NonZero ", "Einsum "]
    assert caught.value.problems[-1].startswith("supported operators are: Abs, Add")


class TestExternalData:
    def _write(self, folder: Path, location: str, **more: str) -> Path:
        stored = onnx.tensor("w", WEIGHTS, {"location": location, **more})
        path = folder / "model.onnx"
        path.write_bytes(_conv(constants={}, initializers=[stored]))
        return path

    def test_in_the_folder(self, tmp_path: Path) -> None:
        (tmp_path / "w.bin").write_bytes(b"four" + WEIGHTS.tobytes())
        graph = read_model(self._write(tmp_path, "w.bin", offset="4", length=str(WEIGHTS.nbytes)))
        x = np.ones((1, 4, 4, 2), np.float32)
        np.testing.assert_array_equal(graph.run([x])[0], np.full((1, 2, 2, 3), 18))

    @pytest.mark.parametrize("location", ["../w.bin", "/etc/passwd", "", "sub/../../w.bin", "link.bin"])
    def test_outside_the_folder(self, tmp_path: Path, location: str) -> None:
        folder = tmp_path / "inner"
        folder.mkdir()
        (tmp_path / "w.bin").write_bytes(WEIGHTS.tobytes())
        (folder / "link.bin").symlink_to(tmp_path / "w.bin")
        with pytest.raises(ModelError, match="outside the model's folder"):
            read_model(self._write(folder, location))

    @pytest.mark.parametrize(
        ("more", "sentence"),
        [
            ({"offset": "9999"}, "which has 216"),
            ({"offset": "-1"}, "needs bytes -1"),
            ({"length": "many"}, "is not a number"),
            ({"length": "8"}, "needs 216 bytes of data, but the file has 8"),
        ],
    )
    def test_bad_ranges(self, tmp_path: Path, more: dict[str, str], sentence: str) -> None:
        (tmp_path / "w.bin").write_bytes(WEIGHTS.tobytes())
        with pytest.raises(ModelError, match=sentence):
            read_model(self._write(tmp_path, "w.bin", **more))

    def test_missing(self, tmp_path: Path) -> None:
        with pytest.raises(ModelError, match="cannot be read"):
            read_model(self._write(tmp_path, "w.bin"))

    def test_without_a_folder(self) -> None:
        data = _conv(constants={}, initializers=[onnx.tensor("w", WEIGHTS, {"location": "w.bin"})])
        with pytest.raises(ModelError, match="read the model from its folder"):
            read_bytes(data)


def test_looks_like_onnx() -> None:
    assert looks_like_onnx(_conv())
    assert not looks_like_onnx(b"\x08")
