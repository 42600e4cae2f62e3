"""Keras models read from the file alone give what Keras gives, and compile to the C of the same network's .tflite."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import model_files, model_id
from tests.keras_files import DENSE, KERNEL, archive, layer, old, sequential
from tests.keras_nets import NETS, as_array, build, require_keras
from tests.keras_nets import inputs as random_inputs
from tests.oracles import check_compiled
from tests.read.fixtures import channels_last
from tinymaix.api import read
from tinymaix.chips import find_chip
from tinymaix.cli import main
from tinymaix.compile.project import compile_graph, golden_inputs
from tinymaix.cores import find
from tinymaix.deploy import Deployment
from tinymaix.graph import Array, Graph
from tinymaix.read import read_bytes
from tinymaix.rewrite import simplify

DATA = Path(__file__).parents[1] / "data"
TOLERANCE = 1e-5
FROM_KERAS = 1e-4
"""Of the largest value, for models with many layers."""


def fixture(name: str) -> tuple[dict[str, bytes], list[Array], list[Array]]:
    """Files by suffix, inputs and outputs of a network that Keras saved (tests/data/make_keras.py)."""
    with zipfile.ZipFile(DATA / f"keras_{name}.zip") as archive:
        files = {suffix: archive.read(f"model.{suffix}") for suffix in ("h5", "keras")}
        vectors = np.load(io.BytesIO(archive.read("vectors.npz")))
    given, expected = ([vectors[k] for k in sorted(vectors) if k[0] == side] for side in "xy")
    return files, given, expected


def expect_close(graph: Graph, given: Sequence[Array], expected: Sequence[Array], tolerance: float) -> None:
    found = graph.run([channels_last(x, t) for x, t in zip(given, graph.inputs, strict=True)])
    expected = [channels_last(y, t) for y, t in zip(expected, graph.outputs, strict=True)]
    assert [a.shape for a in found] == [b.shape for b in expected]
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * max(1.0, float(np.abs(b).max())))


@pytest.mark.parametrize("name", NETS)
def test_saved_networks(name: str) -> None:
    files, given, expected = fixture(name)
    for data in files.values():
        graph = read_bytes(data)
        expect_close(graph, given, expected, TOLERANCE)
        expect_close(simplify(graph), given, expected, TOLERANCE)


def test_saved_networks_compiled() -> None:
    cases = []
    for name in NETS:
        files, given, _ = fixture(name)
        graph = simplify(read_bytes(files["keras"]))
        cases.append((graph, [[channels_last(x, t) for x, t in zip(given, graph.inputs, strict=True)]]))
    check_compiled(cases, tolerance=1e-5)


@pytest.mark.parametrize("name", ["cnn_1d", "recurrent"])
def test_saved_networks_on_a_chip(name: str) -> None:
    files, given, expected = fixture(name)
    deployment = Deployment(simplify(read_bytes(files["h5"])), find_chip("cortex-m4"))
    outputs, _ = deployment.run(given)
    np.testing.assert_allclose(outputs[0], expected[0], rtol=0, atol=TOLERANCE)


def test_networks_of_the_keras_that_is_installed(tmp_path: Path) -> None:
    require_keras()
    for name in NETS:
        model = build(name)
        given = random_inputs(model)
        outputs = model(given if len(given) > 1 else given[0], training=False)
        expected = [as_array(y) for y in (outputs if isinstance(outputs, list | tuple) else [outputs])]
        for suffix in ("h5", "keras"):
            path = tmp_path / f"{name}.{suffix}"
            model.save(path)
            expect_close(read(path), given, expected, TOLERANCE)


def pairs() -> list[tuple[Path, Path]]:
    """Models that are there as .h5 and as float .tflite."""
    found = []
    for path in model_files("tinymaix/h5/*.h5"):
        twin = path.parents[1] / "tflite" / f"{path.stem}_f.tflite"
        if twin.is_file():
            found.append((path, twin))
    return found


@pytest.mark.parametrize("path", model_files("**/*.h5"), ids=model_id)
def test_shared_models_are_read(path: Path) -> None:
    graph = read(path)
    kinds = {node.op.kind for node in graph.nodes}
    assert not kinds & {"MUL", "RELU", "RELU6", "PAD"}, "batch norm, activations and padding are not fused"


@pytest.mark.parametrize(("path", "twin"), pairs(), ids=lambda p: p.stem)
def test_same_c_as_from_tflite(path: Path, twin: Path) -> None:
    """The same nodes with weights that differ by the rounding of batch norm, and the same C but for those."""
    graph, other = read(path), read(twin)
    given = golden_inputs(graph)
    expect_close(graph, given, other.run(given), FROM_KERAS)
    for a, b in zip(graph.constants, other.constants, strict=True):
        assert a.data is not None
        assert b.data is not None
        np.testing.assert_allclose(a.data, b.data, rtol=0, atol=1e-5 * max(1.0, float(np.abs(b.data).max())))
    texts = [compile_graph(g, find("cortex-m4"), name="net").files["model.c"] for g in (graph, other)]
    assert without_values(texts[0]) == without_values(texts[1])


def without_values(source: str) -> list[str]:
    """The C without comments and without the values of constants."""
    text = re.sub(r"/\*.*?\*/", "", source, flags=re.S)
    return re.sub(r"= \{[^}]*\}", "= {}", text).split("\n")


def test_files_in_both_layouts() -> None:
    x = np.arange(4, dtype=np.float32)[None]
    for data in (
        archive(sequential(DENSE), KERNEL),
        old(sequential(DENSE), {"dense/dense/kernel:0": np.ones((4, 3)), "dense/dense/bias:0": np.ones(3)}),
    ):
        np.testing.assert_array_equal(read_bytes(data).run([x])[0], np.full((1, 3), 7.0))


def test_the_first_keras_stores_a_list_of_layers() -> None:
    dense = layer("Dense", "dense", units=3, batch_input_shape=[None, 4])
    weights = {"dense/dense/kernel:0": np.ones((4, 3)), "dense/dense/bias:0": np.ones(3)}
    graph = read_bytes(old({"class_name": "Sequential", "config": [dense]}, weights))
    assert graph.outputs[0].shape == (1, 3)


def test_hard_sigmoid_is_that_of_its_keras() -> None:
    config = sequential(layer("Activation", "a", activation="hard_sigmoid"))
    x = np.array([[-2.8, -1.0, 1.0, 2.7]], np.float32)
    new = read_bytes(archive(config, {"layers/x/vars/0": 0})).run([x])[0]
    np.testing.assert_allclose(new, np.clip(x + 3, 0, 6) / 6, atol=1e-6)
    before = read_bytes(old(config, {"a/none": 0})).run([x])[0]
    np.testing.assert_allclose(before, np.clip(0.2 * x + 0.5, 0, 1), atol=1e-6)


def test_inputs_of_other_types() -> None:
    first = {"class_name": "InputLayer", "config": {"name": "x", "batch_shape": [None, 3], "dtype": "uint8"}}
    config = sequential(layer("Rescaling", "r", scale=0.5, offset=-1.0))
    config["config"]["layers"][0] = first
    graph = read_bytes(archive(config, {"layers/rescaling/vars/0": 0}))
    found = graph.run([np.array([[0, 2, 255]], np.uint8)])[0]
    np.testing.assert_array_equal(found, np.array([[-1, 0, 126.5]], np.float32))
    table = np.arange(6.0).reshape(3, 2)
    config = sequential(layer("Embedding", "e", input_dim=3, output_dim=2), shape=(None, 3))
    graph = read_bytes(archive(config, {"layers/embedding/vars/0": table}))
    found = graph.run([np.array([[2, 0, 1]], np.float32)])[0]
    np.testing.assert_array_equal(found, table[None, [2, 0, 1]])


def test_command(tmp_path: Path) -> None:
    (tmp_path / "net.keras").write_bytes(fixture("cnn_1d")[0]["keras"])
    _, given, expected = fixture("cnn_1d")
    np.save(tmp_path / "x.npy", given[0])
    files = ["--input", str(tmp_path / "x.npy"), "--output", str(tmp_path / "y.npy")]
    assert main(["run", str(tmp_path / "net.keras"), *files]) == 0
    np.testing.assert_allclose(np.load(tmp_path / "y.npy"), expected[0], atol=TOLERANCE)
    assert main(["compile", str(tmp_path / "net.keras"), "--chip", "cortex-m4", "-o", str(tmp_path / "c")]) == 0
    assert (tmp_path / "c" / "model.c").is_file()


def test_functions_of_tensorflow() -> None:
    """x * relu6(x + 3) / 6 as Keras 2 stores it: each function a layer, numbers among the keywords."""
    first = layer("InputLayer", "x", batch_shape=[None, 3])
    layers = [{**first, "name": "x", "inbound_nodes": []}]
    for name, function, call in (
        ("plus", "__operators__.add", ["x", 0, 0, {"y": 3.0, "name": None}]),
        ("six", "nn.relu6", ["plus", 0, 0, {}]),
        ("times", "math.multiply", ["six", 0, 0, {"y": 0.16666667}]),
        ("all", "math.multiply", ["x", 0, 0, {"y": ["times", 0, 0], "name": None}]),
    ):
        layers.append({**layer("TFOpLambda", name, function=function), "name": name, "inbound_nodes": [call]})
    ends = {"input_layers": [["x", 0, 0]], "output_layers": [["all", 0, 0]]}
    graph = read_bytes(old({"class_name": "Functional", "config": {"layers": layers, **ends}}, {"x/none": 0}))
    x = np.array([[-2.0, 0.5, 4.0]], np.float32)
    np.testing.assert_allclose(graph.run([x])[0], x * np.clip(x + 3, 0, 6) / 6, atol=1e-6)
    assert [node.op.kind for node in simplify(graph).nodes] == ["HARD_SWISH"]


def test_more_functions_of_tensorflow() -> None:
    """Arguments by name, a product of two tensors, slices without their class."""
    first = layer("InputLayer", "x", batch_shape=[None, 3, 4])
    layers = [{**first, "name": "x", "inbound_nodes": []}]
    whole = {"start": None, "stop": None, "step": None}
    for name, function, call in (
        ("soft", "nn.softmax", ["x", 0, 0, {"axis": 1}]),
        ("mean", "math.reduce_mean", ["soft", 0, 0, {"axis": [1], "keepdims": True}]),
        ("product", "linalg.matmul", ["x", 0, 0, {"b": ["mean", 0, 0], "transpose_b": True}]),
        ("turned", "transpose", ["product", 0, 0, {"perm": [0, 2, 1]}]),
        ("cut", "__operators__.getitem", ["x", 0, 0, {"slice_spec": [whole, 1, {**whole, "start": 1}]}]),
        ("parts", "split", ["x", 0, 0, {"num_or_size_splits": [1, 2], "axis": 1}]),
        ("part", "reshape", ["parts", 0, 1, {"shape": [1, 8]}]),
        ("flat", "reshape", ["turned", 0, 0, {"shape": [-1, 3]}]),
        ("all", "concat", [["flat", 0, 0, {"axis": -1}], ["cut", 0, 0, {"axis": -1}], ["part", 0, 0, {"axis": -1}]]),
    ):
        kind = "SlicingOpLambda" if "getitem" in function else "TFOpLambda"
        layers.append({**layer(kind, name, function=function), "name": name, "inbound_nodes": [call]})
    ends = {"input_layers": [["x", 0, 0]], "output_layers": [["all", 0, 0]]}
    graph = read_bytes(old({"class_name": "Functional", "config": {"layers": layers, **ends}}, {"x/none": 0}))
    x = np.random.default_rng(1).normal(size=(1, 3, 4)).astype(np.float32)
    soft = np.exp(x) / np.exp(x).sum(axis=1, keepdims=True)
    product = x[0] @ soft.mean(axis=1)[0]
    np.testing.assert_allclose(
        graph.run([x])[0][0], [*product, *x[0, 1, 1:], *x[0, 1:].reshape(-1)], rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize(("kind", "gates"), [("LSTM", 4), ("GRU", 3), ("SimpleRNN", 1)])
def test_stateful_layers_go_on_from_run_to_run(kind: str, gates: int) -> None:
    """A layer that sees a step a run gives what one that sees the whole sequence gives."""
    rng = np.random.default_rng(5)
    shapes = [(3, gates * 4), (4, gates * 4), (gates * 4,)]
    weights = {
        f"layers/{kind.lower() if kind != 'SimpleRNN' else 'simple_rnn'}/cell/vars/{i}": rng.uniform(-1, 1, shape)
        for i, shape in enumerate(shapes)
    }
    x = rng.uniform(-1, 1, (1, 5, 3)).astype(np.float32)
    whole = layer(kind, "r", units=4, return_sequences=True)
    step = layer(kind, "r", units=4, return_sequences=True, stateful=True)
    expected = read_bytes(archive(sequential(whole, shape=(None, 5, 3)), weights)).run([x])[0]
    graph = simplify(read_bytes(archive(sequential(step, shape=(1, 1, 3)), weights)))
    found = [y for (y,) in graph.run_sequence([[x[:, t : t + 1]] for t in range(5)])]
    np.testing.assert_allclose(np.concatenate(found, axis=1), expected, atol=1e-6)
    assert "reset" in compile_graph(graph, find("cortex-m4"), name="net").files["model.h"]
