"""One layer of a Keras model while it becomes nodes: its config, checked as it is read, its weights and the graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from tinymaix.graph import Array, ModelError, Node, Tensor
from tinymaix.ops import OPERATORS
from tinymaix.read.keras_weights import Weights

FLOAT = np.dtype("float32")
MAX_NODES = 2_000
MAX_TENSOR_BYTES = 2**30


@dataclass
class Builder:
    """The nodes so far."""

    nodes: list[Node] = field(default_factory=list)

    def op(
        self, kind: str, inputs: Sequence[Tensor | None], name: str, dtype: str | None = None, **attributes: Any
    ) -> Tensor:
        """Append a node of one output, whose type is that of the inputs where none is given.

        Raises:
            ModelError: the operator does not take the inputs, or the model grows beyond all bounds.
        """
        if len(self.nodes) >= MAX_NODES:
            raise ModelError(f"the model has more than {MAX_NODES} operators")
        operator = OPERATORS.get(kind)
        if operator is None:
            raise ModelError(f"it needs the operator {kind}, which is not there")
        op = operator(**attributes)
        shape = tuple(int(size) for size in op.infer(inputs)[0])
        same = next(t.dtype for t in inputs if t is not None and (not t.is_constant or t is inputs[0]))
        output = Tensor(name, shape, np.dtype(dtype) if dtype else same)
        if output.nbytes > MAX_TENSOR_BYTES:
            raise ModelError(f"its output of shape {list(shape)} is larger than any chip's memory")
        node = Node(op, list(inputs), [output], name)
        problems = op.problems(node)
        if problems:
            raise ModelError(problems)
        self.nodes.append(node)
        return output


@dataclass(frozen=True)
class Layer:
    """A layer with its config. Readers of the config raise ModelError where a value makes no sense."""

    kind: str
    name: str
    config: Mapping[str, Any]
    weights: Weights
    builder: Builder
    keras: int  # the major version that wrote the file

    def inside(self, kind: str, config: Mapping[str, Any], weights: Weights) -> Layer:
        """A layer that this one wraps."""
        return replace(self, kind=kind, config=config, weights=weights)

    def op(self, kind: str, *inputs: Tensor | None, **attributes: Any) -> Tensor:
        """Append an operator of that kind, named after the layer; gives its output."""
        return self.builder.op(kind, inputs, self.name, **attributes)

    def cast(self, x: Tensor, dtype: str) -> Tensor:
        return x if x.dtype == dtype else self.op("CAST", x, dtype=dtype)

    def constant(self, role: str, data: Array | float) -> Tensor:
        """A float32 constant; a number has the shape (1,)."""
        data = np.ascontiguousarray(data, FLOAT)
        return Tensor(f"{self.name}/{role}", data.shape, FLOAT, None, data)

    def reshape(self, x: Tensor, shape: Sequence[int]) -> Tensor:
        return x if x.shape == tuple(shape) else self.op("RESHAPE", x, shape=tuple(shape))

    def number(self, key: str, default: float) -> float:
        value = self.config.get(key)
        if value is None:
            return default
        value = self._list(value)[0] if isinstance(value, list | dict) else value  # numpy scalars are wrapped
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e30:
            raise self.wrong(key, "a number")
        return float(value)

    def size(self, key: str, default: int = 0) -> int:
        """A positive number of something."""
        return self.sizes(key, 1, default)[0]

    def sizes(self, key: str, count: int, default: int = 0) -> tuple[int, ...]:
        """``count`` positive numbers; one number stands for all."""
        value = self.config.get(key)
        values = self._list(default if value is None else value)
        values = values * count if len(values) == 1 else values
        if len(values) != count or any(isinstance(v, bool) or not isinstance(v, int) or v < 1 for v in values):
            raise self.wrong(key, f"{count} positive whole numbers" if count > 1 else "a positive whole number")
        return tuple(values)

    def whole(self, key: str, default: int) -> int:
        """A whole number; a list of one counts as its number."""
        value = self.config.get(key)
        values = self._list(default if value is None else value)
        if len(values) != 1 or isinstance(values[0], bool) or not isinstance(values[0], int):
            raise self.wrong(key, "a whole number")
        return int(values[0])

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
        values = self._list(value)
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

    def channels_last(self) -> None:
        """Raises ModelError where the layer has its channels first."""
        if self.text("data_format", "channels_last") != "channels_last":
            raise ModelError("its data_format is channels_first; build the model with channels_last")

    def wrapped(self, key: str) -> tuple[str, dict[str, Any]]:
        """(class, config) of a layer that this one holds under ``key``."""
        value = self.config.get(key)
        if not isinstance(value, dict) or not isinstance(value.get("config"), dict):
            raise self.wrong(key, "a layer")
        return str(value.get("class_name")), value["config"]

    def wrong(self, key: str, expected: str) -> ModelError:
        return ModelError(f"its '{key}' is {str(self.config.get(key))[:80]}; it must be {expected}")

    @staticmethod
    def _list(value: Any) -> list[Any]:
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
