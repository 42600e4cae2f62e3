"""One ONNX operator while it is read: its inputs as tensors, and its attributes with types and defaults checked."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tinymaix.graph import Array, ModelError, Tensor
from tinymaix.read.channels_first import Builder, constant_data
from tinymaix.read.onnx_file import OnnxNode
from tinymaix.read.window_layers import Geometry


@dataclass
class OnnxLayer:
    """What the functions of `tinymaix.read.onnx_layers` are given."""

    b: Builder
    node: OnnxNode
    inputs: list[Tensor | None]
    opset: int

    @property
    def kind(self) -> str:
        return self.node.kind

    @property
    def x(self) -> Tensor:
        return self.input(0)

    def input(self, index: int) -> Tensor:
        tensor = self.optional(index)
        if tensor is None:
            raise ModelError(f"its input {index} is missing")
        return tensor

    def optional(self, index: int) -> Tensor | None:
        return self.inputs[index] if index < len(self.inputs) else None

    def constant(self, index: int, what: str) -> Array:
        return constant_data(self.optional(index), what)

    def integer(self, name: str, default: int) -> int:
        value = self.node.attributes.get(name, default)
        if not isinstance(value, int):
            raise ModelError(f"its attribute {name} must be an integer")
        return value

    def number(self, name: str, default: float) -> float:
        value = self.node.attributes.get(name, default)
        if not isinstance(value, int | float):
            raise ModelError(f"its attribute {name} must be a number")
        return float(value)

    def text(self, name: str, default: str) -> str:
        value = self.node.attributes.get(name, default)
        if not isinstance(value, str):
            raise ModelError(f"its attribute {name} must be a text")
        return value

    def integers(self, name: str) -> list[int] | None:
        """A list of integers, None where the attribute is absent."""
        value = self.node.attributes.get(name)
        if value is not None and (not isinstance(value, list) or any(not isinstance(v, int) for v in value)):
            raise ModelError(f"its attribute {name} must be integers")
        return value

    def numbers(self, name: str) -> list[float] | None:
        value = self.node.attributes.get(name)
        if value is not None and (not isinstance(value, list) or any(not isinstance(v, int | float) for v in value)):
            raise ModelError(f"its attribute {name} must be numbers")
        return value

    def integers_or_input(self, name: str, index: int) -> list[int] | None:
        """What was an attribute in older opsets and is a constant input now; None where it is neither."""
        if self.optional(index) is not None:
            return [int(v) for v in self.constant(index, name).reshape(-1)]
        return self.integers(name)

    def window(self, kernel: tuple[int, ...]) -> Geometry:
        """Kernel, strides, dilations and pads over the spatial axes of input 0."""
        axes = len(self.x.shape) - 2
        ones = [1] * axes
        stride, dilation = self.integers("strides") or ones, self.integers("dilations") or ones
        pads = self.integers("pads") or [0] * 2 * axes
        if not len(kernel) == len(stride) == len(dilation) == axes or len(pads) != 2 * axes or axes < 1:
            raise ModelError(f"its kernel, strides, dilations and pads do not fit an input of {axes + 2} axes")
        auto = self.text("auto_pad", "NOTSET")
        before, after = tuple(pads[:axes]), tuple(pads[axes:])
        if auto in ("SAME_UPPER", "SAME_LOWER"):
            before, after = self._same(kernel, stride, dilation, lower=auto == "SAME_LOWER")
        elif auto == "VALID":
            before = after = (0,) * axes
        elif auto != "NOTSET":
            raise ModelError(f"its auto_pad '{auto}' does not exist")
        return Geometry(kernel, tuple(stride), tuple(dilation), before, after)

    def _same(
        self, kernel: tuple[int, ...], stride: list[int], dilation: list[int], lower: bool
    ) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Padding before and after each axis so that the output has ceil(size / stride) elements."""
        before, after = [], []
        for size, k, s, d in zip(self.x.shape[2:], kernel, stride, dilation, strict=True):
            total = max(0, (-(-size // s) - 1) * s + d * (k - 1) + 1 - size)
            small, large = total // 2, total - total // 2
            before.append(large if lower else small)
            after.append(small if lower else large)
        return tuple(before), tuple(after)

    def zeros(self, index: int, what: str) -> None:
        """Check that an optional input is absent or a constant of zeros."""
        tensor = self.optional(index)
        if tensor is not None and (tensor.data is None or np.any(tensor.data)):
            raise ModelError(f"{what} '{tensor.name}' is not zero; only a start from zero is supported")
