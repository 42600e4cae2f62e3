"""Keras files made without Keras, in its layouts, to say what Keras itself would not."""

from __future__ import annotations

import io
import json
import zipfile
from typing import Any

import h5py
import numpy as np

Config = dict[str, Any]


def layer(kind: str, name: str, **config: Any) -> Config:
    return {"class_name": kind, "config": {"name": name, **config}, "registered_name": None}


def sequential(*layers: Config, shape: Any = (None, 4)) -> Config:
    return {
        "class_name": "Sequential",
        "config": {"name": "model", "layers": [layer("InputLayer", "x", batch_shape=list(shape)), *layers]},
    }


DENSE = layer("Dense", "dense", units=3, activation="linear", use_bias=True)
KERNEL = {"layers/dense/vars/0": np.ones((4, 3)), "layers/dense/vars/1": np.ones(3)}


def archive(config: Any, weights: dict[str, Any], **members: bytes) -> bytes:
    """A .keras file in the layout of Keras 3."""
    stored = io.BytesIO()
    with h5py.File(stored, "w") as file:
        for path, values in weights.items():
            file[path] = np.asarray(values, getattr(values, "dtype", np.float32))
    files = {
        "metadata.json": b'{"keras_version": "3.4.0"}',
        "config.json": json.dumps(config).encode(),
        "model.weights.h5": stored.getvalue(),
    }
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in {**files, **{key.replace("__", "."): data for key, data in members.items()}}.items():
            file.writestr(name, data)
    return buffer.getvalue()


def old(config: Any, weights: dict[str, Any], version: str = "2.9.0") -> bytes:
    """A .h5 file in the layout of Keras 2; weights by "layer/path"."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file.attrs["model_config"] = json.dumps(config)
        file.attrs["keras_version"] = version
        for path, values in weights.items():
            file[f"model_weights/{path.split('/')[0]}/{path}"] = np.asarray(values, np.float32)
        for name in {path.split("/")[0] for path in weights}:
            names = [path.encode() for path in weights if path.startswith(f"{name}/")]
            file[f"model_weights/{name}"].attrs["weight_names"] = names
    return buffer.getvalue()
