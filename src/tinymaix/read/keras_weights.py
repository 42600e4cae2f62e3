"""Weights of a Keras model out of HDF5: by name in a .h5, by position in a .keras."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol

from tinymaix.graph import Array, ModelError
from tinymaix.read.hdf5 import Hdf5, Object

MAX_WEIGHT_BYTES = 2**28
"""The most bytes of weights in one file, as they are stored."""


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

    def children(self, attribute: str, layers: Sequence[tuple[str, str]]) -> list[Weights]:
        """What each of the layers has stored that this one holds in a list."""
        ...


class Store:
    """An HDF5 file of which only so many bytes of weights are read."""

    def __init__(self, data: bytes) -> None:
        self.root = Hdf5(data).root
        self.left = MAX_WEIGHT_BYTES

    def read(self, dataset: Object | None, what: str) -> Array:
        """A dataset of floats as float32.

        Raises:
            ModelError: it is something else, absent, or too large.
        """
        if dataset is None:
            raise ModelError(f"{what} is not stored in the file")
        size = dataset.float_bytes
        if size is None:
            raise ModelError(
                f"{what} does not hold floats; save the model before quantizing it, or convert it to .tflite"
            )
        self.left -= math.prod(dataset.shape) * size
        if self.left < 0:
            raise ModelError(
                f"its weights are larger than {MAX_WEIGHT_BYTES >> 20} MB, too large for a microcontroller"
            )
        return dataset.floats()

    @cached_property
    def named_groups(self) -> dict[str, Object]:
        """The group of each layer of a .keras by the layer's name, which Keras stores since 3.6."""
        found: dict[str, Object] = {}
        waiting = [(self.root, 0)]
        for _ in range(MAX_GROUPS):  # links may make one group many
            if not waiting:
                break
            group, depth = waiting.pop()
            own = group.members.get("vars")
            if own is not None:
                found.setdefault((own.texts("name") or [""])[0], group)
            inner = [member for key, member in group.members.items() if key != "vars"]
            waiting += [(member, depth + 1) for member in inner if depth < MAX_GROUP_DEPTH]
        return found


def texts(group: Object, attribute: str) -> list[str]:
    """An attribute that lists names; long lists are split into attribute0, attribute1, ..."""
    values = group.texts(attribute)
    if values is not None:
        return values
    found: list[str] = []
    part = 0
    while (values := group.texts(f"{attribute}{part}")) is not None:
        found += values
        part += 1
    return found


@dataclass(frozen=True)
class NamedWeights:
    """Weights of a .h5: datasets by path, such as "lstm/lstm_cell/kernel:0"."""

    store: Store
    group: Object | None
    names: tuple[str, ...]

    def take(self, *names: str) -> list[Array]:
        return [self._one(name) for name in names]

    def _one(self, wanted: str) -> Array:
        paths = [n for n in self.names if n.split("/")[-1].split(":")[0] in wanted.split("|")]
        if len(paths) != 1:
            raise ModelError(
                f"the file holds {len(paths)} weights called '{wanted.split('|')[0]}' for it, where there should be one"
            )
        return self.store.read(self._find(paths[0]), f"weight '{paths[0]}'")

    def child(self, attribute: str, prefix: str = "") -> NamedWeights:
        if not prefix:
            return self
        return self._below(f"/{prefix}")

    def layers(self, layers: Sequence[tuple[str, str]]) -> list[Weights]:
        return [self._below(f"/{name}/") for _, name in layers]

    def children(self, attribute: str, layers: Sequence[tuple[str, str]]) -> list[Weights]:
        return self.layers(layers)

    def _find(self, path: str) -> Object | None:
        return None if self.group is None else self.group.member(path)

    def _below(self, part: str) -> NamedWeights:
        """The weights with that part in their path."""
        return replace(self, names=tuple(path for path in self.names if part in f"/{path}"))


@dataclass(frozen=True)
class NamedModel:
    """The weights of the whole model of a .h5: a group a layer."""

    store: Store
    group: Object

    def take(self, *names: str) -> list[Array]:
        raise ModelError("a model has no weights of its own")

    def child(self, attribute: str, prefix: str = "") -> Weights:
        raise ModelError("a model has no weights of its own")

    def children(self, attribute: str, layers: Sequence[tuple[str, str]]) -> list[Weights]:
        raise ModelError("a model has no weights of its own")

    def layers(self, layers: Sequence[tuple[str, str]]) -> list[Weights]:
        return [self._layer(name) for _, name in layers]

    def _layer(self, name: str) -> Weights:
        group = self.group.member(name)
        return NamedWeights(self.store, group, () if group is None else tuple(texts(group, "weight_names")))


@dataclass(frozen=True)
class NumberedWeights:
    """Weights of a .keras: datasets vars/0, vars/1, ... of the layer's group, which may be absent."""

    store: Store
    group: Object | None

    def take(self, *names: str) -> list[Array]:
        return [
            self.store.read(self._find(f"vars/{i}"), f"weight {i} ({name.split('|')[0]})")
            for i, name in enumerate(names)
        ]

    def child(self, attribute: str, prefix: str = "") -> NumberedWeights:
        return NumberedWeights(self.store, self._find(attribute))

    def layers(self, layers: Sequence[tuple[str, str]]) -> list[Weights]:
        container = self._find("layers") or self._find("_layer_checkpoint_dependencies")
        return self._numbered(container, layers)

    def children(self, attribute: str, layers: Sequence[tuple[str, str]]) -> list[Weights]:
        return self._numbered(self._find(attribute), layers)

    def _numbered(self, container: Object | None, layers: Sequence[tuple[str, str]]) -> list[Weights]:
        """Groups are numbered within each class. A layer that several models share is stored in the first of them."""
        seen: dict[str, int] = {}
        found: list[Weights] = []
        for kind, name in layers:
            key = snake_case(kind)
            number = seen[key] = seen.get(key, -1) + 1
            group = container.member(f"{key}_{number}" if number else key) if container else None
            if group is None or not group.members:
                group = self.store.named_groups.get(name)
            found.append(NumberedWeights(self.store, group))
        return found

    def _find(self, path: str) -> Object | None:
        return None if self.group is None else self.group.member(path)


def snake_case(kind: str) -> str:
    """The name of a class as Keras writes it: Conv2D is conv2d, ReLU is re_lu, BatchNormalization has one _."""
    words = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", re.sub(r"\W+", "", kind))
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", words).lower()
