"""The network of a .h5 file as a PyTorch module with the same weights, as its author would have written it there.

Importing this module needs torch.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any

import h5py
import numpy as np
import torch
from torch import Tensor, nn

from tinymaix.graph import Array

Weights = dict[str, Array]


class TorchTwin(nn.Module):
    """Channels first, `padding` of the convolution where it is symmetric, else `ZeroPad2d`, dense layers in CHW order.

    Attributes:
        example: an input, batch of 1.
    """

    def __init__(self, h5: bytes) -> None:
        super().__init__()
        with h5py.File(io.BytesIO(h5)) as file:
            layers = json.loads(str(file.attrs["model_config"]))["config"]["layers"]
            weights = {layer["config"]["name"]: _weights(file, layer["config"]["name"]) for layer in layers}
        config = layers[0]["config"]
        self.example = torch.rand(1, *_first(config.get("batch_input_shape") or config["batch_shape"]))
        self.sources: list[list[int]] = []
        self.layers = nn.ModuleList()
        self.flattened: tuple[int, ...] = ()
        names = [layer["config"]["name"] for layer in layers]
        values = [self.example]
        for at, layer in enumerate(layers[1:], start=1):
            found = [names.index(name) for name in _sources(layer.get("inbound_nodes") or [])]
            self.sources.append(found or [at - 1])
            x = values[self.sources[-1][0]]
            self.layers.append(self._layer(layer["class_name"], layer["config"], weights[names[at]], x))
            self.layers.eval()
            values.append(self._step(at - 1, values))
        self.eval()

    def _layer(self, kind: str, config: dict[str, Any], weights: Weights, x: Tensor) -> nn.Module:
        if kind in ("Conv2D", "DepthwiseConv2D"):
            return _convolution(config, weights, x)
        if kind == "Dense":
            kernel = weights["kernel"]
            if self.flattened:
                channels, height, width = self.flattened
                kernel = kernel.reshape(height, width, channels, -1).transpose(2, 0, 1, 3).reshape(kernel.shape)
            return filled(nn.Linear(*kernel.shape), weight=kernel.T, bias=weights["bias"])
        if kind == "BatchNormalization":
            norm = nn.BatchNorm2d(x.shape[1], config["epsilon"])
            mean, variance = weights["moving_mean"], weights["moving_variance"]
            return filled(norm, weight=weights["gamma"], bias=weights["beta"], running_mean=mean, running_var=variance)
        if kind == "Flatten":
            self.flattened = tuple(x.shape[1:])
            return nn.Flatten()
        if kind == "ReLU":
            return nn.ReLU6() if config.get("max_value") == 6 else nn.ReLU()
        if kind == "Activation":
            return nn.ReLU() if config["activation"] == "relu" else nn.Softmax(dim=1)
        if kind == "MaxPooling2D":
            return nn.MaxPool2d(config["pool_size"])
        if kind == "GlobalAveragePooling2D":
            return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        others = {"Dropout": nn.Dropout(), "Softmax": nn.Softmax(dim=1), "Add": nn.Identity()}
        return others["Add" if "add" in config["name"] else kind]  # Keras 2 names the operator + in the layer's name

    def _step(self, at: int, values: list[Tensor]) -> Tensor:
        inputs = [values[i] for i in self.sources[at]]
        y: Tensor = self.layers[at](inputs[0] if len(inputs) == 1 else inputs[0] + inputs[1])
        return y

    def forward(self, x: Tensor) -> Tensor:
        values = [x]
        for at in range(len(self.layers)):
            values.append(self._step(at, values))
        return values[-1]


def _weights(file: Any, layer: str) -> Weights:
    """Arrays of a layer by the last part of their names."""
    found: Weights = {}

    def visit(path: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            found[path.split("/")[-1].removesuffix(":0")] = item[()]

    if layer in file["model_weights"]:
        file["model_weights"][layer].visititems(visit)
    return found


def _sources(value: Any) -> Iterator[str]:
    """Names of the layers that inbound_nodes of Keras 2 mention."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        if value and isinstance(value[0], str):
            yield value[0]
        for item in value:
            yield from _sources(item)


def _first(shape: list[int | None]) -> list[int]:
    """CHW of a shape of Keras with its batch."""
    sizes = [size for size in shape[1:] if size is not None]
    return [sizes[-1], *sizes[:-1]]


def filled(module: nn.Module, **arrays: Array) -> nn.Module:
    """The module with these parameters."""
    state = {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()}
    module.load_state_dict({**module.state_dict(), **state})
    return module


def _convolution(config: dict[str, Any], weights: Weights, x: Tensor) -> nn.Module:
    channels = x.shape[1]
    depthwise = weights.get("depthwise_kernel")
    if depthwise is None:
        groups, kernel = 1, weights["kernel"].transpose(3, 2, 0, 1)
    else:
        groups, kernel = channels, depthwise.transpose(2, 3, 0, 1).reshape(-1, 1, *depthwise.shape[:2])
    pads = [0, 0, 0, 0]  # left, right, top, bottom: what TensorFlow calls SAME
    if config["padding"] == "same":
        for axis in (0, 1):
            size, window, stride = x.shape[2 + axis], kernel.shape[2 + axis], config["strides"][axis]
            total = max((-(-size // stride) - 1) * stride + window - size, 0)
            pads[2 - 2 * axis : 4 - 2 * axis] = total // 2, total - total // 2
    even = pads[0] == pads[1] and pads[2] == pads[3]
    made = nn.Conv2d(
        channels, len(kernel), kernel.shape[2:], tuple(config["strides"]), (pads[2], pads[0]) if even else 0,
        groups=groups, bias="bias" in weights,
    )  # fmt: skip
    layer = filled(made, weight=kernel, **({"bias": weights["bias"]} if "bias" in weights else {}))
    return layer if even else nn.Sequential(nn.ZeroPad2d((pads[0], pads[1], pads[2], pads[3])), layer)
