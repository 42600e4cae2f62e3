"""Files of Keras 1, made in its layout, give what its layers are documented to compute."""

from __future__ import annotations

import io
import json
from typing import Any

import h5py
import numpy as np
import pytest

from tests.read.test_fuzz_tflite import limits, mutant
from tinymaix.graph import Array, ModelError
from tinymaix.read import read_bytes
from tinymaix.rewrite import simplify

RNG = np.random.default_rng(4)
Weights = dict[str, dict[str, Array]]


def entry(kind: str, name: str, **config: Any) -> dict[str, Any]:
    return {"class_name": kind, "config": {"name": name, "trainable": True, **config}}


def saved(config: dict[str, Any], weights: Weights, version: str | None = "1.2.2", backend: str | None = None) -> bytes:
    """model.save() of Keras 1: a group a layer, datasets named after the layer."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file.attrs["model_config"] = json.dumps(config).encode()
        if version:
            file.attrs["keras_version"] = version.encode()
        group = file.create_group("model_weights")
        group.attrs["layer_names"] = [name.encode() for name in weights]
        if backend:
            group.attrs["backend"] = backend.encode()
        for layer, arrays in weights.items():
            inner = group.create_group(layer)
            inner.attrs["weight_names"] = [name.encode() for name in arrays]
            for name, array in arrays.items():
                inner[name] = array
    return buffer.getvalue()


def sequential(*layers: dict[str, Any], shape: tuple[int, ...]) -> dict[str, Any]:
    first = {
        **layers[0],
        "config": {**layers[0]["config"], "batch_input_shape": [None, *shape], "input_dtype": "float32"},
    }
    return {"class_name": "Sequential", "config": [first, *layers[1:]]}


def uniform(*shape: int) -> Array:
    return RNG.uniform(-0.5, 0.5, shape).astype(np.float32)


def convolved(x: Array, kernel: Array, bias: Array, stride: int = 1) -> Array:
    """Cross-correlation, valid, of (height, width, in) with (height, width, in, out)."""
    rows, columns = ((n - k) // stride + 1 for n, k in zip(x.shape, kernel.shape[:2], strict=False))
    y = np.zeros((rows, columns, kernel.shape[3]))
    for i in range(rows):
        for j in range(columns):
            part = x[i * stride : i * stride + kernel.shape[0], j * stride : j * stride + kernel.shape[1]]
            y[i, j] = np.tensordot(part, kernel, 3) + bias
    return y


CONVOLUTION = {"nb_filter": 4, "nb_row": 3, "nb_col": 2, "border_mode": "valid", "subsample": [2, 2], "bias": True}


@pytest.mark.parametrize("version", ["1.2.2", "1.0.3", None])
def test_convolutions_of_tensorflow(version: str | None) -> None:
    w, b, dense, last = uniform(3, 2, 3, 4), uniform(4), uniform(12, 5), uniform(5)
    config = sequential(
        entry("Convolution2D", "convolution2d_1", activation="relu", dim_ordering="tf", **CONVOLUTION),
        entry(
            "MaxPooling2D", "maxpooling2d_1", pool_size=[1, 1], strides=[1, 1], border_mode="valid", dim_ordering="tf"
        ),
        entry("Dropout", "dropout_1", p=0.5),
        entry("Flatten", "flatten_1"),
        entry("Dense", "dense_1", output_dim=5, activation="linear", bias=True, input_dim=None, W_regularizer=None),
        shape=(7, 3, 3),
    )
    weights = {
        "convolution2d_1": {"convolution2d_1_W:0": w, "convolution2d_1_b:0": b},
        "dense_1": {"dense_1_W:0": dense, "dense_1_b:0": last},
    }
    x = uniform(1, 7, 3, 3)
    expected = np.maximum(convolved(x[0], w, b, 2), 0).reshape(1, -1) @ dense + last
    graph = read_bytes(saved(config, weights, version))
    np.testing.assert_allclose(graph.run([x])[0], expected, atol=1e-5)


@pytest.mark.parametrize(("backend", "turned"), [(None, True), ("theano", True), ("tensorflow", False)])
def test_convolutions_of_theano(backend: str | None, turned: bool) -> None:
    """Channels first, kernels (filters, stack, rows, columns), which Theano applies from their end."""
    w, b, scale = uniform(4, 3, 3, 2), uniform(4), uniform(12, 2)
    statistics = {name: np.abs(uniform(4)) + 0.5 for name in ("gamma", "beta", "running_mean", "running_std")}
    config = sequential(
        entry("ZeroPadding2D", "zeropadding2d_1", padding=[1, 0], dim_ordering="th"),
        entry("Convolution2D", "convolution2d_1", activation="linear", dim_ordering="th", **CONVOLUTION),
        entry("BatchNormalization", "batchnormalization_1", mode=0, axis=1, epsilon=1e-3),
        entry("Flatten", "flatten_1"),
        entry("Dense", "dense_1", output_dim=2, activation="linear", bias=False),
        shape=(3, 5, 3),
    )
    weights = {
        "convolution2d_1": {"convolution2d_1_W": w, "convolution2d_1_b": b},
        "batchnormalization_1": {f"batchnormalization_1_{name}": value for name, value in statistics.items()},
        "dense_1": {"dense_1_W": scale},
    }
    x = uniform(1, 5, 3, 3)
    kernel = w.transpose(2, 3, 1, 0)[:: -1 if turned else 1, :: -1 if turned else 1]
    y = convolved(np.pad(x[0], ((1, 1), (0, 0), (0, 0))), kernel, b, 2)
    gamma, beta, mean, variance = statistics.values()
    y = gamma * (y - mean) / np.sqrt(variance + 1e-3) + beta
    expected = y.transpose(2, 0, 1).reshape(1, -1) @ scale
    graph = simplify(read_bytes(saved(config, weights, backend=backend)))
    assert [node.op.kind for node in graph.nodes] == ["CONV_2D", "RESHAPE", "FULLY_CONNECTED"]
    assert any("does not name its backend" in note for note in graph.notes) == (backend is None)
    np.testing.assert_allclose(graph.run([x])[0], expected, atol=1e-5)


@pytest.mark.parametrize("stored", [(0, 1, 2, 3), (3, 2, 0, 1)])
def test_one_dimension(stored: tuple[int, ...]) -> None:
    """Kernels (length, 1, in, out), before Keras 1.2 (out, in, length, 1)."""
    w, b = uniform(3, 1, 2, 4), uniform(4)
    config = sequential(
        entry(
            "AtrousConvolution1D", "a", nb_filter=4, filter_length=3, border_mode="valid", subsample_length=1,
            atrous_rate=2, activation="tanh", bias=True,
        ),
        entry("MaxPooling1D", "m", pool_length=2, stride=2, border_mode="valid"),
        shape=(8, 2),
    )  # fmt: skip
    x = uniform(1, 8, 2)
    wide = np.zeros((5, 1, 2, 4), np.float32)
    wide[::2] = w
    expected = np.tanh(convolved(x.reshape(8, 1, 2), wide, b)[:, 0]).reshape(2, 2, 4).max(axis=1)
    graph = read_bytes(saved(config, {"a": {"a_W": w.transpose(stored), "a_b": b}}))
    np.testing.assert_allclose(graph.run([x])[0][0], expected, atol=1e-5)


def test_functional_models_merge() -> None:
    layers = []
    for name, kind, inputs, config in (
        ("input_1", "InputLayer", [], {"batch_input_shape": [None, 4], "input_dtype": "float32", "sparse": False}),
        ("dense_1", "Dense", ["input_1"], {"output_dim": 4, "activation": "relu", "bias": True}),
        ("merge_1", "Merge", ["input_1", "dense_1"], {"mode": "sum", "mode_type": "raw", "concat_axis": -1}),
        ("merge_2", "Merge", ["merge_1", "dense_1"], {"mode": "concat", "mode_type": "raw", "concat_axis": 1}),
        ("merge_3", "Merge", ["merge_2", "merge_2"], {"mode": "mul", "mode_type": "raw", "concat_axis": -1}),
    ):
        calls = [[[source, 0, 0] for source in inputs]] if inputs else []
        layers.append({**entry(kind, name, **config), "name": name, "inbound_nodes": calls})
    ends = {"input_layers": [["input_1", 0, 0]], "output_layers": [["merge_3", 0, 0]]}
    w, b, x = uniform(4, 4), uniform(4), uniform(1, 4)
    graph = read_bytes(
        saved(
            {"class_name": "Model", "config": {"layers": layers, **ends}}, {"dense_1": {"dense_1_W": w, "dense_1_b": b}}
        )
    )
    y = np.maximum(x @ w + b, 0)
    np.testing.assert_allclose(graph.run([x])[0], np.concatenate([x + y, y], axis=1) ** 2, atol=1e-6)


def sigmoid(x: Array) -> Array:
    return np.asarray(np.clip(0.2 * x + 0.5, 0, 1))  # the gates of Keras 1 are hard


@pytest.mark.parametrize("apart", [True, False])
def test_recurrent_layers(apart: bool) -> None:
    """Gates stored apart, or side by side (consume_less="gpu")."""
    lstm = {gate: (uniform(3, 2), uniform(2, 2), uniform(2)) for gate in "ifco"}
    gru = {gate: (uniform(2, 2), uniform(2, 2), uniform(2)) for gate in "zrh"}
    weights: Weights = {}
    for name, gates in (("lstm_1", lstm), ("gru_1", gru)):
        weights[name] = {}
        for i, kind in enumerate("WUb"):
            if apart:
                weights[name].update({f"{name}_{kind}_{gate}": gates[gate][i] for gate in gates})
            else:
                weights[name][f"{name}_{kind}"] = np.concatenate([values[i] for values in gates.values()], axis=-1)
    common = {"output_dim": 2, "activation": "tanh", "inner_activation": "hard_sigmoid", "consume_less": "cpu"}
    config = sequential(
        entry("LSTM", "lstm_1", return_sequences=True, **common),
        entry("GRU", "gru_1", return_sequences=False, **common),
        shape=(5, 3),
    )
    x = uniform(1, 5, 3)
    h, c, state = np.zeros(2), np.zeros(2), np.zeros(2)
    for step in x[0]:
        i, f, g, o = (step @ w + h @ u + b for w, u, b in (lstm[gate] for gate in "ifco"))
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        z, r = (sigmoid(h @ w + state @ u + b) for w, u, b in (gru[gate] for gate in "zr"))
        w, u, b = gru["h"]
        state = z * state + (1 - z) * np.tanh(h @ w + (r * state) @ u + b)
    graph = read_bytes(saved(config, weights))
    np.testing.assert_allclose(graph.run([x])[0][0], state, atol=1e-5)


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        (entry("MaxoutDense", "m", output_dim=3), r"layer 'm' \(MaxoutDense\): it is custom or not supported"),
        (entry("Merge", "m", mode="cos", mode_type="raw"), "Merge of mode 'cos'"),
        (entry("Merge", "m", mode="code", mode_type="lambda"), "it holds Python code, which is never executed"),
        (entry("Merge", "m", mode="sum", layers=[{}]), "with several branches, which is not supported"),
        (entry("BatchNormalization", "b", mode=2, axis=-1), "statistics of each batch"),
        (entry("Dense", "d", output_dim=3, bias=False), "the file holds 0 weights called 'W' for it"),
        (entry("Convolution2D", "c", dim_ordering="th", **CONVOLUTION), "4 dimensions"),
    ],
)
def test_refused(config: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ModelError, match=sentence):
        read_bytes(saved(sequential(config, shape=(4,)), {"other": {}}))


def test_a_config_without_end() -> None:
    config: Any = {}
    for _ in range(400):
        config = {"class_name": "Sequential", "config": [config]}
    with pytest.raises(ModelError, match="nested more than 100 deep"):
        read_bytes(saved(config, {"other": {}}))


def test_mutants() -> None:
    """Changed bytes of a file, and changed characters of its config, are read or refused, and nothing else."""
    convolution = entry("Convolution2D", "c", activation="linear", dim_ordering="th", **CONVOLUTION)
    merge = entry("Merge", "m", mode="dot", mode_type="raw", dot_axes=[[1], [2, "x"]])
    config = sequential(convolution, entry("ZeroPadding2D", "z", padding={"top_pad": 1}), merge, shape=(3, 5, 3))
    text = json.dumps(config)
    data = saved(config, {"c": {"c_W": uniform(4, 3, 3, 2), "c_b": uniform(4)}})
    for i in range(100):
        rng = np.random.default_rng(i)
        changed = mutant(data, data, rng)
        at, with_what = int(rng.integers(len(text))), str(rng.choice(list('[]{}",:0-9nullx')))
        for form in (changed, data.replace(text.encode(), (text[:at] + with_what + text[at + 1 :]).encode())):
            try:
                with limits():
                    read_bytes(form)
            except ModelError:
                continue
