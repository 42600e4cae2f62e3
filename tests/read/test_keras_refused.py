"""What a Keras file may not be: each is a sentence, nothing is executed, time and memory are bounded."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from typing import Any

import h5py
import numpy as np
import pytest

from tests.keras_files import DENSE, KERNEL, Config, archive, layer, sequential
from tests.read.test_fuzz_tflite import limits, mutant
from tests.read.test_keras import fixture
from tinymaix.graph import Graph, ModelError
from tinymaix.read import read_bytes

MUTANTS_OF_EACH = 50

LAYERS_THAT_ARE_REFUSED: dict[str, tuple[Config, str]] = {
    "lambda": (
        layer("Lambda", "trick", function=["code"]),
        r"layer 'trick' \(Lambda\): it holds Python code, which is ne",
    ),
    "custom": (layer("MyPackage>Swirl", "own"), r"layer 'own' \(MyPackage>Swirl\): it is custom or not supported"),
    "pruned": (layer("PruneLowMagnitude", "p"), "strip_pruning"),
    "quantized": (layer("QuantizeWrapperV2", "q"), "integer .tflite"),
    "activation": (
        layer("Activation", "a", activation="sine"),
        "activation 'sine' is not supported; supported are linear",
    ),
    "units": (layer("Dense", "dense", units=-3), "its 'units' is -3; it must be a positive whole number"),
    "many units": (layer("Dense", "dense", units=10**12), "its config asks for"),
    "another shape": (layer("Dense", "dense", units=5), r"its kernel has shape \[4, 3\]; its config asks for \[4, 5\]"),
    "no weights": (layer("PReLU", "none"), "is not stored in the file"),
    "rank": (layer("Conv2D", "dense", filters=3, kernel_size=[2, 2]), "it takes 4 dimensions, the batch included"),
    "reshape": (layer("Reshape", "r", target_shape=[3]), "cannot be reshaped"),
    "reshape to what": (layer("Reshape", "r", target_shape="x"), "it must be a list of sizes"),
    "axis": (layer("Softmax", "s", axis=0), "its 'axis' is 0; it must be axes behind the batch"),
    "mask": (layer("Masking", "m", mask_value=0.0), "masks are not supported; give sequences of one length"),
    "config": ({"class_name": "Dense"}, "the config of a layer of class Dense is missing"),
    "class": ({"config": {}}, "lacks its class_name"),
}


@pytest.mark.parametrize("case", LAYERS_THAT_ARE_REFUSED)
def test_layers(case: str) -> None:
    refused, sentence = LAYERS_THAT_ARE_REFUSED[case]
    with pytest.raises(ModelError, match=sentence):
        read_bytes(archive(sequential(refused), KERNEL))


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_steps_before_the_batch(kind: str) -> None:
    with pytest.raises(ModelError, match="time_major"):
        read_bytes(archive(sequential(layer(kind, "r", units=2, time_major=True), shape=(None, 5, 3)), KERNEL))


@pytest.mark.parametrize(
    ("shape", "sentence"),
    [
        ((None, None, 3), "open shape"),
        ((None, 2**20, 2**20), "larger than any chip's memory"),
        ((None, 10**30), "larger than any chip's memory"),
        ((None, -4), "makes no sense"),
        ((None, "4"), "makes no sense"),
        ((None,) + (1,) * 9, "makes no sense"),
    ],
)
def test_shapes(shape: tuple[Any, ...], sentence: str) -> None:
    with limits(), pytest.raises(ModelError, match=sentence):
        read_bytes(archive(sequential(DENSE, shape=shape), KERNEL))


def call(name: str, number: int = 0, output: int = 0) -> Config:
    return {"class_name": "__keras_tensor__", "config": {"keras_history": [name, number, output]}}


def functional(*calls: tuple[str, list[Any]], output: str) -> Config:
    """Dense layers by name with what each is called with."""
    layers: list[Config] = [{**layer("InputLayer", "x", batch_shape=[None, 4]), "name": "x", "inbound_nodes": []}]
    layers += [
        {**layer("Activation", name, activation="relu"), "name": name, "inbound_nodes": [{"args": given, "kwargs": {}}]}
        for name, given in calls
    ]
    return {
        "class_name": "Functional",
        "config": {"layers": layers, "input_layers": ["x", 0, 0], "output_layers": [output, 0, 0]},
    }


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        (functional(("a", [call("b")]), ("b", [call("a")]), output="a"), "in a circle"),
        (functional(("a", [call("a")]), output="a"), "in a circle"),
        (functional(("a", [call("c")]), output="a"), "call 0 of layer 'c', which is not there"),
        (functional(("a", [call("x", 3)]), output="a"), "call 3 of layer 'x'"),
        (functional(("a", [call("x", 0, 7)]), output="a"), "output 7 of layer 'x', which has 1"),
        (functional(("a", [call("x")]), output="z"), "layer 'z', which is not there"),
        (functional(("a", [call("x"), call("x")]), output="a"), "called with 2 inputs"),
        (functional(("a", []), output="a"), "called with 0 inputs"),
        ({"class_name": "Functional", "config": {"layers": []}}, "holds no layers"),
        ({"class_name": "MyModel", "config": {}}, "only its own Python code"),
        ([], "lacks its class_name"),
    ],
)
def test_topologies(config: Any, sentence: str) -> None:
    with pytest.raises(ModelError, match=sentence):
        read_bytes(archive(config, KERNEL))


def called(kind: str, *operands: Any, config: Config | None = None, **keywords: Any) -> Config:
    """A layer called once, as Keras 3 stores it."""
    layers: list[Config] = [{**layer("InputLayer", "x", batch_shape=[None, 5, 3]), "inbound_nodes": []}]
    node = {"args": [call("x"), *operands], "kwargs": keywords}
    layers.append({**layer(kind, "a", **(config or {})), "inbound_nodes": [node]})
    ends = {"input_layers": ["x", 0, 0], "output_layers": ["a", 0, 0]}
    return {"class_name": "Functional", "config": {"layers": layers, **ends}}


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        (called("Dropout", training=True), "called with training=True, which computes what a chip does not"),
        (called("LSTM", mask=call("x"), config={"units": 2}), "called with a mask, which is not supported"),
        (called("LSTM", constants=call("x"), config={"units": 2}), "a sequence and initial_state are taken"),
        (called("MultiHeadAttention", config={"num_heads": 2, "key_dim": 3}), "called with query; query, value"),
        (called("MultiHeadAttention", call("x"), config={"num_heads": 2, "key_dim": 3, "use_gate": True}), "use_gate"),
        (called("EinsumDense", config={"equation": "abc"}), "weight 0"),
        (called("Dot", call("x"), config={"axes": [1, 7]}), "axis 7 is outside a tensor of rank 3"),
        (called("RNN", config={"cell": layer("ConvCell", "c")}), "its cell is a ConvCell; SimpleRNNCell, LSTMCell"),
    ],
)
def test_calls(config: Config, sentence: str) -> None:
    with pytest.raises(ModelError, match=sentence):
        read_bytes(archive(config, KERNEL))


def test_functions_on_tensors() -> None:
    config = called("Fft")
    config["config"]["layers"][1]["module"] = "keras.src.ops.math"
    with pytest.raises(ModelError, match=r"layer 'a' \(keras.ops.Fft\): this function on tensors is not supported"):
        read_bytes(archive(config, KERNEL))


def test_models_within_models_end() -> None:
    config = sequential(DENSE)
    for _ in range(40):
        config = sequential(config)
    with limits(), pytest.raises(ModelError, match="nested more than 16 deep"):
        read_bytes(archive(config, KERNEL))


def test_models_that_multiply_end() -> None:
    """Each model calls the one inside it twenty times."""
    inner = functional(("a", [call("x")]), output="a")
    for _ in range(8):
        layers: list[Config] = [{**layer("InputLayer", "x", batch_shape=[None, 4]), "inbound_nodes": []}]
        calls = [{"args": [call("x") if i == 0 else call("m", i - 1)], "kwargs": {}} for i in range(20)]
        layers.append({**inner, "name": "m", "inbound_nodes": calls})
        inner = {
            "class_name": "Functional",
            "config": {"name": "m", "layers": layers, "input_layers": ["x", 0, 0], "output_layers": ["m", 19, 0]},
        }
    with limits(), pytest.raises(ModelError, match=r"more than \d+ operators"):
        read_bytes(archive(inner, KERNEL))


def test_bombs() -> None:
    with limits(), pytest.raises(ModelError, match=r"config.json unpacks to more than 8 MB"):
        read_bytes(archive({}, {}, config__json=b" " * (9 << 20)))
    with limits(), pytest.raises(ModelError, match=r"config.json is not JSON"):
        read_bytes(archive({}, {}, config__json=b"[" * 10**6))
    with limits(), pytest.raises(ModelError, match=r"config.json is not JSON"):
        read_bytes(archive({}, {}, config__json=b'{"a": ' + b"9" * 10**6 + b"}"))


def test_weights_that_are_no_floats() -> None:
    with pytest.raises(ModelError, match="does not hold floats; save the model before quantizing"):
        read_bytes(archive(sequential(DENSE), {**KERNEL, "layers/dense/vars/0": np.ones((4, 3), np.int8)}))


def test_files_that_lack_something() -> None:
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file["dense/kernel:0"] = np.ones(3, np.float32)
    with pytest.raises(ModelError, match="it has only weights"):
        read_bytes(buffer.getvalue())
    empty = io.BytesIO()
    with zipfile.ZipFile(empty, "w") as packed:
        packed.writestr("config.json", "{}")
    with pytest.raises(ModelError, match=r"holds no metadata.json"):
        read_bytes(empty.getvalue())


def reads(data: bytes) -> Graph:
    with limits():
        return read_bytes(data)


def recompressed(data: bytes, change: Callable[[str, bytes], bytes]) -> bytes:
    """A .keras file whose members were changed before they were packed, so that their checksums are right."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old_file, zipfile.ZipFile(buffer, "w") as new_file:
        for name in old_file.namelist():
            new_file.writestr(name, change(name, old_file.read(name)))
    return buffer.getvalue()


@pytest.mark.parametrize("name", ["recurrent", "cnn_2d"])
@pytest.mark.parametrize("what", ["h5", "keras", "config.json", "model.weights.h5"])
def test_mutants(name: str, what: str) -> None:
    data = fixture(name)[0]["h5" if what == "h5" else "keras"]
    for i in range(MUTANTS_OF_EACH):

        def change(key: str, old_data: bytes, i: int = i) -> bytes:
            return mutant(old_data, old_data, np.random.default_rng((len(what), i))) if key == what else old_data

        rng = np.random.default_rng((len(what), i))
        changed = mutant(data, data, rng) if what in ("h5", "keras") else recompressed(data, change)
        try:
            reads(changed)
        except ModelError:
            continue
        except Exception as error:
            raise AssertionError(f"mutant {i}: {type(error).__name__}: {error}") from error
