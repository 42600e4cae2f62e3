"""Weights of a Keras model out of HDF5: by name in a .h5, by position in a .keras.

Nothing outside the file is opened: links to other files, external and virtual data are refused, and sizes are checked
before anything is read.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import count
from typing import Any, Protocol

import h5py
import numpy as np

from tinymaix.graph import Array, ModelError

MAX_WEIGHT_BYTES = 2**28
"""The most bytes of weights in one file, as they are stored."""


_NUMBERS = count()
MAX_GROUPS, MAX_GROUP_DEPTH = 10_000, 32


class Weights(Protocol):
    """What a layer, or a model and all its layers, has stored."""

    def take(self, *names: str) -> list[Array]:
        """The weights of these names, in the order in which Keras makes them; "a|b" where versions differ."""
        ...

    def child(self, attribute: str, prefix: str = "") -> Weights:
        """What a layer inside has stored: Keras holds it in ``attribute`` and begins its name with ``prefix``."""
        ...

    def layers(self, layers: Sequence[tuple[str, str]]) -> list[Weights]:
        """What each layer of a model, given as (class, name), has stored."""
        ...


class Store:
    """An open HDF5 file of which only so many bytes are read."""

    def __init__(self, data: bytes) -> None:
        with damaged_file():
            access = h5py.h5p.create(h5py.h5p.FILE_ACCESS)
            access.set_fapl_core(backing_store=False)
            access.set_file_image(data)
            # HDF5 takes two files that are open under one name for the same file.
            name = f"tinymaix-{next(_NUMBERS)}".encode()
            self.file = h5py.File(h5py.h5f.open(name, h5py.h5f.ACC_RDONLY, fapl=access))
        self.left = MAX_WEIGHT_BYTES

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    def read(self, dataset: Any, what: str) -> Array:
        """A dataset of floats as float32.

        Raises:
            ModelError: it is something else, lies outside the file, or is too large.
        """
        if not isinstance(dataset, h5py.Dataset) or dataset.is_virtual or dataset.external:
            raise ModelError(f"{what} is not stored in the file")
        if dataset.dtype.kind != "f" or dataset.dtype.itemsize > 8:
            raise ModelError(
                f"{what} is {dataset.dtype}; floats are read: save the model before quantizing it, or convert it to "
                ".tflite"
            )
        size = math.prod(dataset.shape or ()) * dataset.dtype.itemsize
        self.left -= size
        if self.left < 0:
            raise ModelError(
                f"its weights are larger than {MAX_WEIGHT_BYTES >> 20} MB, too large for a microcontroller"
            )
        with damaged_file():
            return np.asarray(dataset[()], np.float32)

    @cached_property
    def named_groups(self) -> dict[str, Any]:
        """The group of each layer of a .keras by the layer's name, which Keras stores since 3.6."""
        found: dict[str, Any] = {}
        waiting = [(self.file["/"], 0)]
        for _ in range(MAX_GROUPS):  # links may make one group many
            if not waiting:
                break
            group, depth = waiting.pop()
            with damaged_file():
                own = member(group, "vars")
                if own is not None:
                    found.setdefault(str(own.attrs.get("name", "")), group)
                inner = [member(group, key) for key in group if key != "vars"]
            waiting += [(g, depth + 1) for g in inner if isinstance(g, h5py.Group) and depth < MAX_GROUP_DEPTH]
        return found


@contextmanager
def damaged_file() -> Iterator[None]:
    """Turn what h5py raises for a damaged file into a sentence."""
    try:
        yield
    except ModelError:
        raise
    except (OSError, RuntimeError, LookupError, ValueError, TypeError, ArithmeticError, AttributeError) as error:
        first = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise ModelError(f"the HDF5 data is damaged ({first})") from None


def member(group: Any, path: str) -> Any:
    """What stands at a path below a group; None where there is nothing or only a link that leaves the file."""
    with damaged_file():
        for part in path.split("/"):
            if not part or part == "." or not isinstance(group, h5py.Group) or part not in group:
                return None
            if not isinstance(group.get(part, getlink=True), h5py.HardLink):
                raise ModelError(f"'{path}' is a link; only what stands in the file itself is read")
            group = group[part]
    return group


def texts(group: Any, attribute: str) -> list[str]:
    """An attribute that lists names; long lists are split into attribute0, attribute1, ..."""
    with damaged_file():
        values: list[Any] = []
        if attribute in group.attrs:
            values = list(np.asarray(group.attrs[attribute]).reshape(-1))
        else:
            part = 0
            while f"{attribute}{part}" in group.attrs:
                values += list(np.asarray(group.attrs[f"{attribute}{part}"]).reshape(-1))
                part += 1
        return [value.decode() if isinstance(value, bytes) else str(value) for value in values]


@dataclass(frozen=True)
class NamedWeights:
    """Weights of a .h5: datasets by path, such as "lstm/lstm_cell/kernel:0"."""

    store: Store
    group: Any
    names: tuple[str, ...]

    def take(self, *names: str) -> list[Array]:
        return [self._one(name) for name in names]

    def _one(self, wanted: str) -> Array:
        paths = [n for n in self.names if n.split("/")[-1].split(":")[0] in wanted.split("|")]
        if len(paths) != 1:
            raise ModelError(
                f"the file holds {len(paths)} weights called '{wanted.split('|')[0]}' for it, where there should be one"
            )
        return self.store.read(member(self.group, paths[0]), f"weight '{paths[0]}'")

    def child(self, attribute: str, prefix: str = "") -> NamedWeights:
        if not prefix:
            return self
        return self._where(lambda path: f"/{prefix}" in f"/{path}")

    def layers(self, layers: Sequence[tuple[str, str]]) -> list[Weights]:
        return [self._where(lambda path, name=name: f"/{name}/" in f"/{path}") for _, name in layers]

    def _where(self, fits: Any) -> NamedWeights:
        return NamedWeights(self.store, self.group, tuple(path for path in self.names if fits(path)))


@dataclass(frozen=True)
class NamedModel:
    """The weights of the whole model of a .h5: a group a layer."""

    store: Store
    group: Any

    def take(self, *names: str) -> list[Array]:
        raise ModelError("a model has no weights of its own")

    def child(self, attribute: str, prefix: str = "") -> Weights:
        raise ModelError("a model has no weights of its own")

    def layers(self, layers: Sequence[tuple[str, str]]) -> list[Weights]:
        return [self._layer(name) for _, name in layers]

    def _layer(self, name: str) -> Weights:
        group = member(self.group, name)
        return NamedWeights(self.store, group, () if group is None else tuple(texts(group, "weight_names")))


@dataclass(frozen=True)
class NumberedWeights:
    """Weights of a .keras: datasets vars/0, vars/1, ... of the layer's group, which may be absent."""

    store: Store
    group: Any

    def take(self, *names: str) -> list[Array]:
        return [
            self.store.read(member(self.group, f"vars/{i}"), f"weight {i} ({name.split('|')[0]})")
            for i, name in enumerate(names)
        ]

    def child(self, attribute: str, prefix: str = "") -> NumberedWeights:
        return NumberedWeights(self.store, member(self.group, attribute))

    def layers(self, layers: Sequence[tuple[str, str]]) -> list[Weights]:
        """Groups are numbered within each class. A layer that several models share is stored in the first of them."""
        container = member(self.group, "layers") or member(self.group, "_layer_checkpoint_dependencies")
        seen: dict[str, int] = {}
        found: list[Weights] = []
        for kind, name in layers:
            key = snake_case(kind)
            number = seen[key] = seen.get(key, -1) + 1
            group = member(container, f"{key}_{number}" if number else key)
            if member(group, "vars") is None:
                group = self.store.named_groups.get(name)
            found.append(NumberedWeights(self.store, group))
        return found


def snake_case(kind: str) -> str:
    """The name of a class as Keras writes it: Conv2D is conv2d, ReLU is re_lu, BatchNormalization has one _."""
    words = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", re.sub(r"\W+", "", kind))
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", words).lower()
