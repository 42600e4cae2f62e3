"""One layer of a Keras model while it becomes nodes: its config, checked as it is read, its weights and the graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from tinymaix.graph import Array, ModelError, Tensor
from tinymaix.ops.base import positive_axis
from tinymaix.read import channels_first
from tinymaix.read.keras_config import Call
from tinymaix.read.keras_weights import Weights

FLOAT = np.dtype("float32")
MAX_NODES = 2_000


@dataclass
class Builder(channels_first.Builder):
    """The graph so far. Keras is channels-last, but for layers whose data_format says otherwise."""

    keras: int = 3  # the major version that wrote the file
    theano: bool | None = None  # whether its backend was Theano, which convolves from the end of the kernel

    def ops(
        self, kind: str, *inputs: Tensor | None, dtype: npt.DTypeLike | None = None, **attributes: Any
    ) -> list[Tensor]:
        """As there; an operator that does not take its inputs, or a model that grows beyond all bounds, is refused."""
        count = len(self.nodes)
        if count >= MAX_NODES:
            raise ModelError(f"the model has more than {MAX_NODES} operators")
        outputs = super().ops(kind, *inputs, dtype=dtype, **attributes)
        problems = self.nodes[-1].op.problems(self.nodes[-1]) if len(self.nodes) > count else []
        if problems:
            raise ModelError(problems)
        return outputs


@dataclass(frozen=True)
class Layer:
    """A layer with its config. Readers of the config raise ModelError where a value makes no sense."""

    kind: str
    name: str
    config: Mapping[str, Any]
    weights: Weights
    b: Builder
    call: Call

    @property
    def keras(self) -> int:
        """The major version that wrote the file."""
        return self.b.keras

    def inside(self, kind: str, config: Mapping[str, Any], weights: Weights) -> Layer:
        """A layer that this one wraps."""
        return replace(self, kind=kind, config=config, weights=weights)

    def op(self, kind: str, *inputs: Tensor | None, **attributes: Any) -> Tensor:
        """Append an operator of that kind, named after the layer; gives its output."""
        return self.b.op(kind, *inputs, **attributes)

    def cast(self, x: Tensor, dtype: str) -> Tensor:
        return x if x.dtype == dtype else self.op("CAST", x, dtype=dtype)

    def constant(self, role: str, data: Array | float) -> Tensor:
        """A float32 constant; a number has the shape (1,)."""
        data = np.ascontiguousarray(data, FLOAT)
        return Tensor(f"{self.name}/{role}", data.shape, FLOAT, None, data)

    def reshape(self, x: Tensor, shape: Sequence[int]) -> Tensor:
        return self.b.reshape(x, shape)

    def number(self, key: str, default: float) -> float:
        value = self.config.get(key)
        if value is None:
            return default
        value = self.listed(value)[0] if isinstance(value, list | dict) else value  # numpy scalars are wrapped
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e30:
            raise self.wrong(key, "a number")
        return float(value)

    def size(self, key: str, default: int = 0) -> int:
        """A positive number of something."""
        return self.sizes(key, 1, default)[0]

    def sizes(self, key: str, count: int, default: int = 0) -> tuple[int, ...]:
        """``count`` positive numbers; one number stands for all."""
        value = self.config.get(key)
        values = self.listed(default if value is None else value)
        values = values * count if len(values) == 1 else values
        if len(values) != count or any(isinstance(v, bool) or not isinstance(v, int) or v < 1 for v in values):
            raise self.wrong(key, f"{count} positive whole numbers" if count > 1 else "a positive whole number")
        return tuple(values)

    def whole(self, key: str, default: int) -> int:
        """A whole number; a list of one counts as its number."""
        value = self.config.get(key)
        values = self.listed(default if value is None else value)
        if len(values) != 1 or isinstance(values[0], bool) or not isinstance(values[0], int):
            raise self.wrong(key, "a whole number")
        return int(values[0])

    def axes(self, key: str, rank: int, default: Sequence[int] = (-1,)) -> tuple[int, ...]:
        """Axes of a tensor of that rank, ascending, none of them the batch."""
        value = self.config.get(key)
        found = tuple(sorted(positive_axis(axis, rank) for axis in self.listed(default if value is None else value)))
        if not found or found[0] == 0 or len(set(found)) < len(found):
            raise self.wrong(key, "axes behind the batch")
        return found

    def flag(self, key: str, default: bool) -> bool:
        value = self.config.get(key, default)
        if value not in (True, False):
            raise self.wrong(key, "true or false")
        return bool(value)

    def text(self, key: str, default: str) -> str:
        value = self.config.get(key)
        if value is None:
            return default
        if not isinstance(value, str):
            raise self.wrong(key, "a word")
        return value

    def choice(self, key: str, choices: Sequence[str]) -> str:
        """A word among those; the first is the default."""
        value = self.text(key, choices[0])
        if value not in choices:
            raise self.wrong(key, " or ".join(f"'{choice}'" for choice in choices))
        return value

    def pairs(self, key: str, count: int, default: int = 1) -> tuple[tuple[int, int], ...]:
        """``count`` pairs of sizes before and after, as of padding: one number, one an axis, or a pair an axis."""
        value = self.config.get(key, default)
        values = self.listed(value)
        if count == 1 and len(values) == 2 and all(isinstance(v, int) for v in values):
            values = [values]
        values = values * count if len(values) == 1 else values
        found = [tuple(v) if isinstance(v, list | tuple) else (v, v) for v in values]
        if len(found) != count or any(
            len(p) != 2 or any(isinstance(v, bool) or not isinstance(v, int) or not 0 <= v < 2**20 for v in p)
            for p in found
        ):
            raise self.wrong(key, f"{count} pairs of whole numbers")
        return tuple((p[0], p[1]) for p in found)

    def channels_first(self) -> bool:
        """Whether the layer has its channels behind the batch."""
        return self.choice("data_format", ("channels_last", "channels_first")) == "channels_first"

    def wrapped(self, key: str) -> tuple[str, dict[str, Any]]:
        """(class, config) of a layer that this one holds under ``key``."""
        value = self.config.get(key)
        if not isinstance(value, dict) or not isinstance(value.get("config"), dict):
            raise self.wrong(key, "a layer")
        return str(value.get("class_name")), value["config"]

    def wrong(self, key: str, expected: str) -> ModelError:
        return ModelError(f"its '{key}' is {str(self.config.get(key))[:80]}; it must be {expected}")

    @staticmethod
    def listed(value: Any) -> list[Any]:
        """Numbers that Keras wrote as one, as a list, or as a serialized tuple or numpy value."""
        if isinstance(value, dict):
            inner = value.get("config", value.get("items"))
            value = inner.get("value", inner) if isinstance(inner, dict) else inner
        return list(value) if isinstance(value, list | tuple) else [value]


def rank(x: Tensor, expected: int) -> None:
    """Raises ModelError where a tensor has not as many dimensions, the batch included."""
    if len(x.shape) != expected:
        raise ModelError(f"its input has shape {list(x.shape)}; it takes {expected} dimensions, the batch included")


def weight_shape(array: Array, shape: Sequence[int], what: str) -> Array:
    """The array. Raises ModelError where its shape is another."""
    if array.shape != tuple(shape):
        raise ModelError(f"its {what} has shape {list(array.shape)}; its config asks for {list(shape)}")
    return array
