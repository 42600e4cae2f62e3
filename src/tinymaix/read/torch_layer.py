"""One ATen operator while it is read: its arguments by name, with types checked and defaults filled in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinymaix.graph import ModelError, Tensor
from tinymaix.read.channels_first import Builder
from tinymaix.read.window_layers import Geometry


@dataclass
class TorchLayer:
    """What the functions of `tinymaix.read.torch_layers` are given."""

    b: Builder
    kind: str
    arguments: dict[str, Any]
    read: list[bool]  # for each output, whether anything reads it

    @property
    def x(self) -> Tensor:
        """The first tensor, which ATen calls self or input."""
        value = self.arguments.get("self", self.arguments.get("input"))
        if not isinstance(value, Tensor):
            raise ModelError("its input is missing")
        return value

    @property
    def rank(self) -> int:
        return len(self.x.shape)

    def is_read(self, output: int) -> bool:
        """Whether anything reads that output."""
        return output < len(self.read) and self.read[output]

    def tensor(self, name: str) -> Tensor:
        """A tensor; a number becomes a constant of the input's type."""
        value = self.arguments.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return self.b.constant(value, dtype=np.float32 if isinstance(value, float) else self.x.dtype)
        if not isinstance(value, Tensor):
            raise ModelError(f"its argument {name} is missing")
        return value

    def optional(self, name: str) -> Tensor | None:
        value = self.arguments.get(name)
        return value if isinstance(value, Tensor) else None

    def tensors(self, name: str) -> list[Tensor]:
        value = self.arguments.get(name)
        if not isinstance(value, list) or not value or any(not isinstance(t, Tensor) for t in value):
            raise ModelError(f"its argument {name} must be tensors")
        return value

    def integer(self, name: str, default: int) -> int:
        value = self.arguments.get(name)
        if value is None:
            return default
        if not isinstance(value, int):
            raise ModelError(f"its argument {name} must be an integer")
        return value

    def number(self, name: str, default: float) -> float:
        value = self.arguments.get(name)
        if value is None:
            return default
        if not isinstance(value, int | float):
            raise ModelError(f"its argument {name} must be a number")
        return float(value)

    def flag(self, name: str, default: bool = False) -> bool:
        value = self.arguments.get(name)
        return default if value is None else bool(value)

    def text(self, name: str, default: str) -> str:
        value = self.arguments.get(name)
        return value if isinstance(value, str) else default

    def integers(self, name: str) -> list[int]:
        """A list of integers; empty where it is absent, and one number is a list of it."""
        value = self.arguments.get(name)
        if value is None:
            return []
        if isinstance(value, int):
            return [value]
        if not isinstance(value, list) or any(not isinstance(v, int) for v in value):
            raise ModelError(f"its argument {name} must be integers")
        return value

    def numbers(self, name: str) -> list[float]:
        value = self.arguments.get(name)
        if value is None:
            return []
        if not isinstance(value, list) or any(not isinstance(v, int | float) for v in value):
            raise ModelError(f"its argument {name} must be numbers")
        return [float(v) for v in value]

    def window(self, kernel: Sequence[int]) -> Geometry:
        """Kernel, stride, dilation and padding; a single number serves all axes, and no stride is the kernel's size."""
        same = self.arguments.get("padding") == "same"
        if isinstance(self.arguments.get("padding"), str):
            self.arguments["padding"] = [0]
        axes = self.rank - 2
        each = {
            name: tuple(given * axes if len(given) == 1 else given)
            for name, given in (
                ("kernel", list(kernel)),
                ("stride", self.integers("stride") or ([1] if "conv" in self.kind else list(kernel))),
                ("dilation", self.integers("dilation") or [1]),
                ("padding", self.integers("padding") or [0]),
            )
        }
        if axes < 1 or any(len(values) != axes for values in each.values()):
            raise ModelError(f"its kernel, stride, dilation and padding do not fit an input of {self.rank} axes")
        before = after = each["padding"]
        if same:
            total = [d * (size - 1) for d, size in zip(each["dilation"], each["kernel"], strict=True)]
            before, after = tuple(t // 2 for t in total), tuple(t - t // 2 for t in total)
        return Geometry(each["kernel"], each["stride"], each["dilation"], before, after)
