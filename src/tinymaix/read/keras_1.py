"""Files of Keras 1 -> what Keras 2 would have stored: names of layers, of their settings and of their weights.

What changed is described in the release notes of Keras 2.0. A file of Keras 1 does not say which backend it is of:
layers with dim_ordering "th" are taken as Theano computes them, whose convolutions turn the kernel around.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tinymaix.graph import Array, ModelError
from tinymaix.read.keras_weights import NamedModel, NamedWeights, Weights, texts

MAX_DEPTH = 100
MARKS = ('"border_mode"', '"W_regularizer"', '"dim_ordering"')
"""Settings in the config of Keras 1 only, for files that do not state their version."""

CLASSES = {
    "Convolution1D": "Conv1D", "Convolution2D": "Conv2D", "AtrousConvolution1D": "Conv1D",
    "AtrousConvolution2D": "Conv2D", "Deconvolution2D": "Conv2DTranspose", "SeparableConvolution2D": "SeparableConv2D",
    "TimeDistributedDense": "Dense",
}  # fmt: skip
MERGES = {
    "sum": "Add", "mul": "Multiply", "ave": "Average", "max": "Maximum", "concat": "Concatenate", "dot": "Dot",
}  # fmt: skip
SETTINGS = {
    "nb_filter": "filters", "filter_length": "kernel_size", "subsample": "strides", "subsample_length": "strides",
    "border_mode": "padding", "bias": "use_bias", "atrous_rate": "dilation_rate", "pool_length": "pool_size",
    "stride": "strides", "length": "size", "inner_activation": "recurrent_activation", "input_dtype": "dtype",
    "concat_axis": "axis", "dot_axes": "axes",
}  # fmt: skip
ORDERINGS = {"tf": "channels_last", "th": "channels_first"}
WEIGHTS = {
    "kernel": "W", "recurrent_kernel": "U", "bias": "b", "embeddings": "W", "moving_mean": "running_mean",
    "moving_variance": "running_std", "alpha": "alphas",
}  # fmt: skip
"""Keras 2 -> Keras 1. What that calls the standard deviation is the variance."""
GATES = (("i", "f", "c", "o"), ("z", "r", "h"))
"""Suffixes of the weights of an LSTM and a GRU that are stored gate by gate, in the order of Keras 2."""


def upgraded(value: Any, depth: int = 0) -> Any:
    """The config with the classes and settings of Keras 2, in models and wrappers too.

    Raises:
        ModelError: it is nested beyond all bounds, or holds what Keras 2 has no layer for.
    """
    if depth > MAX_DEPTH:
        raise ModelError(f"its config is nested more than {MAX_DEPTH} deep")
    if isinstance(value, list):
        return [upgraded(item, depth + 1) for item in value]
    if not isinstance(value, dict):
        return value
    value = {key: upgraded(item, depth + 1) for key, item in value.items()}
    if isinstance(value.get("class_name"), str) and isinstance(value.get("config"), dict):
        kind, config = value["class_name"], value["config"]
        return {**value, "class_name": _class(kind, config), "config": _settings(kind, config)}
    return value


def _class(kind: str, config: dict[str, Any]) -> str:
    if kind != "Merge":
        return CLASSES.get(kind, kind)
    if config.get("layers"):
        raise ModelError(
            f"layer '{config.get('name')}' (Merge) begins a Sequential model with several branches, which is not "
            "supported; build it as a functional model"
        )
    mode = str(config.get("mode"))
    return (
        "Lambda" if config.get("mode_type") not in (None, "raw") else MERGES.get(mode, f"Merge of mode '{mode[:40]}'")
    )


def _settings(kind: str, config: dict[str, Any]) -> dict[str, Any]:
    settings = {SETTINGS.get(key, key): item for key, item in config.items()}
    if "nb_row" in config and "nb_col" in config:
        settings["kernel_size"] = [config["nb_row"], config["nb_col"]]
    if "output_dim" in config and kind != "Embedding":
        settings["units"] = config["output_dim"]
    if "dim_ordering" in config:
        settings["data_format"] = ORDERINGS.get(str(config["dim_ordering"]), "channels_last")
    if kind == "ZeroPadding2D":
        settings["padding"] = _padding(config.get("padding"))
    if kind == "Merge" and isinstance(config.get("dot_axes"), list):
        settings["axes"] = [
            axis for part in config["dot_axes"] for axis in (part if isinstance(part, list) else [part])
        ]
    return settings


def _padding(value: Any) -> Any:
    """(top, bottom, left, right), also by name, as a pair an axis."""
    if isinstance(value, dict):
        value = [value.get(f"{side}_pad", 0) for side in ("top", "bottom", "left", "right")]
    return [value[:2], value[2:]] if isinstance(value, list) and len(value) == 4 else value


def kernel(kind: str, channels_first: bool, stored: Array) -> Array:
    """The kernel of a convolution in the order of Keras 2: (height, width, in, out); transposed ones (.., out, in)."""
    if stored.ndim != 4 or kind not in ("Conv1D", "Conv2D", "Conv2DTranspose"):
        return stored
    if kind == "Conv1D":  # (length, 1, in, out), before Keras 1.2 (out, in, length, 1)
        return stored.transpose(2, 3, 1, 0)[:, 0] if stored.shape[1] != 1 else stored[:, 0]
    if kind == "Conv2D":
        return stored.transpose(2, 3, 1, 0) if channels_first else stored
    return stored.transpose(2, 3, 0, 1) if channels_first else stored.transpose(0, 1, 3, 2)


class FirstModel(NamedModel):
    """The weights of the whole model of a .h5 of Keras 1."""

    def _layer(self, name: str) -> Weights:
        group = self.group.member(name)
        return FirstWeights(self.store, group, () if group is None else tuple(texts(group, "weight_names")))


@dataclass(frozen=True)
class FirstWeights(NamedWeights):
    """Weights by paths such as "dense_1_W" and "lstm_1_W_i"."""

    def _one(self, wanted: str) -> Array:
        names = [WEIGHTS.get(name, name) for name in wanted.split("|")]
        for gates in GATES:
            parts = [self._ending(f"{names[0]}_{gate}") for gate in gates]
            if all(len(part) == 1 for part in parts):
                return np.concatenate([self._read(path) for (path,) in parts], axis=-1)
        found = [path for name in names for path in self._ending(name)]
        if len(found) != 1:
            raise ModelError(
                f"the file holds {len(found)} weights called '{names[0]}' for it, where there should be one"
            )
        return self._read(found[0])

    def _ending(self, suffix: str) -> list[str]:
        return [path for path in self.names if path.split(":")[0].endswith(f"_{suffix}")]

    def _read(self, path: str) -> Array:
        return self.store.read(self._find(path), f"weight '{path}'")

    def layers(self, layers: Sequence[tuple[str, str]]) -> list[Weights]:
        return [
            replace(self, names=tuple(path for path in self.names if path.startswith(f"{name}_"))) for _, name in layers
        ]
