"""A Keras model -> Graph, straight from the file, without Keras: .h5 (Keras 1, 2 and 3) and .keras (Keras 3).

The model is described by JSON, its weights are HDF5. Nothing in the file is executed: Lambda and custom layers are
refused by name.
"""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from typing import Any

from tinymaix.graph import Graph, ModelError
from tinymaix.read.hdf5 import Object
from tinymaix.read.keras_1 import MARKS, FirstModel, upgraded
from tinymaix.read.keras_model import read_graph
from tinymaix.read.keras_weights import MAX_WEIGHT_BYTES, NamedModel, NumberedWeights, Store

MAX_CONFIG_BYTES = 2**23


def read_h5(data: bytes, name: str = "model") -> Graph:
    """Read a whole model that was saved as .h5.

    Args:
        data: the whole file.
        name: what to call the graph.

    Raises:
        ModelError: one sentence for everything that is damaged or not supported.
    """
    store = Store(data)
    config = _text(store.root, "model_config")
    if config is None:
        raise ModelError("the .h5 holds no model_config: it has only weights; save the model with model.save()")
    weights = store.root.member("model_weights")
    if weights is None:
        raise ModelError("the .h5 holds no model_weights; save the whole model with model.save()")
    stated = _text(weights, "keras_version") or _text(store.root, "keras_version")
    backend = _text(weights, "backend") or _text(store.root, "backend")
    theano = None if backend is None else backend == "theano"
    parsed = _json(config, "model_config")
    if _major(stated) == 1 or (stated is None and any(mark in config for mark in MARKS)):
        return read_graph(upgraded(parsed), FirstModel(store, weights), name, 1, theano)
    return read_graph(parsed, NamedModel(store, weights), name, max(_major(stated), 2), theano)


def read_keras(data: bytes, name: str = "model") -> Graph:
    """Read a .keras file, a ZIP archive with config.json and model.weights.h5. Arguments and errors as `read_h5`."""
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError, LookupError) as error:
        raise ModelError(f"the .keras archive is damaged ({error})") from None
    config = _unzip(archive, "config.json", MAX_CONFIG_BYTES)
    metadata = _json(_unzip(archive, "metadata.json", MAX_CONFIG_BYTES), "metadata.json")
    version = metadata.get("keras_version") if isinstance(metadata, dict) else None
    store = Store(_unzip(archive, "model.weights.h5", MAX_WEIGHT_BYTES))
    return read_graph(_json(config, "config.json"), NumberedWeights(store, store.root), name, _major(version))


def is_keras(data: bytes) -> bool:
    """Whether a ZIP archive is a .keras file."""
    try:
        return "config.json" in zipfile.ZipFile(io.BytesIO(data)).namelist()
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError, LookupError):
        return False


def _unzip(archive: zipfile.ZipFile, name: str, limit: int) -> bytes:
    """A member of the archive, however large it claims to be read only up to the limit."""
    try:
        with archive.open(name) as file:
            data = file.read(limit + 1)
    except KeyError:
        raise ModelError(f"the .keras archive holds no {name}; save the whole model with model.save()") from None
    except (zipfile.BadZipFile, zlib.error, OSError, RuntimeError, ValueError, EOFError) as error:
        raise ModelError(f"{name} in the .keras archive is damaged ({error})") from None
    if len(data) > limit:
        raise ModelError(f"{name} unpacks to more than {limit >> 20} MB, too large for a model of a microcontroller")
    return data


def _text(group: Object, name: str) -> str | None:
    """A text among the attributes of a group, None where it is absent."""
    return next(iter(group.texts(name) or []), None)


def _json(text: str | bytes, what: str) -> Any:
    if len(text) > MAX_CONFIG_BYTES:
        raise ModelError(f"{what} has more than {MAX_CONFIG_BYTES >> 20} MB; the file is damaged")
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{what} is not JSON ({error})") from None


def _major(version: object) -> int:
    """The major version in "2.9.0"; 2 where it is not stated."""
    number = str(version or "2").split(".")[0]
    return int(number) if number.isdecimal() and len(number) < 5 else 2
