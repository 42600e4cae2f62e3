"""Small networks with the same random weights as a Keras file and as a PyTorch module. Importing this needs torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from tests.keras_files import Config, archive, layer, old, sequential
from tests.torch_twin import TorchTwin, filled
from tinymaix.graph import Array

RNG_SEED = 5


class TwinNet(NamedTuple):
    """``keras`` is the file; ``example`` an input of the module, in PyTorch's order of axes."""

    keras: bytes
    module: Any
    example: Any


def residual() -> TwinNet:
    """A residual block with a depthwise layer, for three channels, and a dense layer over flattened features."""
    rng = np.random.default_rng(RNG_SEED)
    layers: list[Config] = [layer("InputLayer", "x", batch_input_shape=[None, 14, 10, 3])]
    weights: dict[str, Array] = {}

    def add(kind: str, *sources: str, arrays: Mapping[str, tuple[int, ...]] | None = None, **config: Any) -> str:
        name = f"{kind.lower()}_{len(layers)}"
        calls: list[Any] = [[source, 0, 0, {}] for source in sources or (layers[-1]["config"]["name"],)]
        layers.append({**layer(kind, name, **config), "name": name, "inbound_nodes": [calls]})
        for key, shape in (arrays or {}).items():
            low = 0.5 if key in ("gamma", "moving_variance") else -0.5
            weights[f"{name}/{key}:0"] = rng.uniform(low, low + 1, shape).astype(np.float32)
        return name

    def normalized(kind: str, kernel: tuple[int, ...], channels: int, **config: Any) -> str:
        key = "depthwise_kernel" if kind == "DepthwiseConv2D" else "kernel"
        sizes = {"kernel_size": list(kernel[:2]), "use_bias": False, "activation": "linear", "strides": [1, 1]}
        add(kind, arrays={key: kernel}, **{**sizes, "padding": "same", "filters": channels, **config})
        norm = dict.fromkeys(("gamma", "beta", "moving_mean", "moving_variance"), (channels,))
        return add("BatchNormalization", arrays=norm, axis=[3], epsilon=1e-3)

    normalized("Conv2D", (3, 3, 3, 8), 8, strides=[2, 2])
    first = add("ReLU", max_value=6.0)
    normalized("DepthwiseConv2D", (3, 3, 8, 1), 8, depth_multiplier=1)
    add("ReLU", max_value=6.0)
    add("Add", first, normalized("Conv2D", (1, 1, 8, 8), 8))
    add("Activation", activation="relu")
    add("MaxPooling2D", pool_size=[2, 2], strides=[2, 2], padding="valid")
    add("Flatten")
    add("Dense", arrays={"kernel": (3 * 2 * 8, 5), "bias": (5,)}, units=5, use_bias=True, activation="linear")
    last = add("Activation", activation="softmax")
    config = {"name": "residual", "layers": layers, "input_layers": [["x", 0, 0]], "output_layers": [[last, 0, 0]]}
    h5 = old({"class_name": "Functional", "config": config}, weights)
    module = TorchTwin(h5)
    return TwinNet(h5, module, module.example)


def cnn_1d() -> TwinNet:
    """Two 1-D convolutions, pooled over all steps."""
    rng = np.random.default_rng(RNG_SEED)
    first, second, dense = (rng.uniform(-0.5, 0.5, s).astype(np.float32) for s in ((5, 3, 8), (3, 8, 6), (6, 4)))
    biases = [rng.uniform(-0.5, 0.5, size).astype(np.float32) for size in (8, 6, 4)]
    norm = [rng.uniform(0.5, 1.5, 8).astype(np.float32) for _ in range(4)]
    layers = [
        layer("Conv1D", "c", filters=8, kernel_size=[5], strides=[2], padding="valid", activation="linear"),
        layer("BatchNormalization", "b", axis=-1, epsilon=1e-3),
        layer("ReLU", "r"),
        layer("MaxPooling1D", "m", pool_size=[2], strides=[2], padding="valid"),
        layer("Conv1D", "d", filters=6, kernel_size=[3], strides=[1], padding="same", activation="relu"),
        layer("GlobalAveragePooling1D", "p"),
        layer("Dense", "e", units=4, activation="softmax"),
    ]
    stored = {"conv1d": [first, biases[0]], "batch_normalization": norm, "conv1d_1": [second, biases[1]]}
    module = nn.Sequential(
        filled(nn.Conv1d(3, 8, 5, 2), weight=first.transpose(2, 1, 0), bias=biases[0]),
        filled(
            nn.BatchNorm1d(8, 1e-3), **dict(zip(("weight", "bias", "running_mean", "running_var"), norm, strict=True))
        ),
        nn.ReLU(),
        nn.MaxPool1d(2),
        filled(nn.Conv1d(8, 6, 3, padding=1), weight=second.transpose(2, 1, 0), bias=biases[1]),
        nn.ReLU(),
        nn.AdaptiveAvgPool1d(1),
        nn.Flatten(),
        filled(nn.Linear(6, 4), weight=dense.T, bias=biases[2]),
        nn.Softmax(dim=1),
    )
    file = archive(sequential(*layers, shape=(None, 64, 3)), _variables(**stored, dense=[dense, biases[2]]))
    return TwinNet(file, module.eval(), torch.rand(1, 3, 64))


class _LastState(nn.Module):
    def __init__(self, cell: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.cell, self.head = cell, head

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.head(self.cell(x)[0][:, -1])
        return y


def lstm() -> TwinNet:
    """12 steps of 6 features; the last state is classified. PyTorch has two biases, Keras their sum."""
    kernel, recurrent, bias, dense = _uniform((6, 32), (8, 32), (32,), (8, 3))
    cell = filled(
        nn.LSTM(6, 8, batch_first=True), weight_ih_l0=kernel.T, weight_hh_l0=recurrent.T, bias_ih_l0=bias,
        bias_hh_l0=np.zeros_like(bias),
    )  # fmt: skip
    return _recurrent("LSTM", cell, [kernel, recurrent, bias], dense)


def gru() -> TwinNet:
    """As `lstm`. Keras has the gates in the order z, r, n; PyTorch r, z, n."""
    kernel, recurrent, bias, dense = _uniform((6, 24), (8, 24), (2, 24), (8, 3))
    theirs = [np.concatenate([a[..., 8:16], a[..., :8], a[..., 16:]], -1) for a in (kernel, recurrent, bias)]
    cell = filled(
        nn.GRU(6, 8, batch_first=True), weight_ih_l0=theirs[0].T, weight_hh_l0=theirs[1].T, bias_ih_l0=theirs[2][0],
        bias_hh_l0=theirs[2][1],
    )  # fmt: skip
    return _recurrent("GRU", cell, [kernel, recurrent, bias], dense)


def _uniform(*shapes: tuple[int, ...]) -> list[Array]:
    rng = np.random.default_rng(RNG_SEED)
    return [rng.uniform(-0.5, 0.5, shape).astype(np.float32) for shape in shapes]


def _recurrent(kind: str, cell: nn.Module, variables: list[Array], dense: Array) -> TwinNet:
    config = sequential(
        layer(kind, "l", units=8, activation="tanh", recurrent_activation="sigmoid", reset_after=True),
        layer("Dense", "d", units=3, activation="linear", use_bias=False),
        shape=(None, 12, 6),
    )
    file = archive(config, _variables(**{f"{kind.lower()}/cell": variables}, dense=[dense]))
    module = _LastState(cell, filled(nn.Linear(8, 3, bias=False), weight=dense.T))
    return TwinNet(file, module.eval(), torch.rand(1, 12, 6))


def _variables(**stored: list[Array]) -> dict[str, Array]:
    return {f"layers/{name}/vars/{i}": array for name, arrays in stored.items() for i, array in enumerate(arrays)}


NETS = {"residual": residual, "cnn_1d": cnn_1d, "lstm": lstm, "gru": gru}
