"""SQUEEZE: without the named axes of size 1, or without all of them. A view."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from tinymaix.graph import Array, ModelError, Node, Shape, Tensor
from tinymaix.ops.base import OptionFields, Options, array, positive_axis
from tinymaix.ops.move import View, input_shape


@dataclass(frozen=True)
class Squeeze(View):
    """No ``axes``: every axis of size 1."""

    axes: tuple[int, ...] = ()

    kind: ClassVar[str] = "SQUEEZE"
    tflite: ClassVar[tuple[int, int]] = (43, 30)

    @classmethod
    def from_tflite(cls, options: Options, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor]) -> Squeeze:
        return cls(tuple(options.ints(0)))

    def to_tflite(self, node: Node) -> tuple[OptionFields, list[Tensor | None]]:
        return {0: ("ints", self.axes)}, list(node.inputs)

    def infer(self, inputs: Sequence[Tensor | None]) -> list[Shape]:
        shape = input_shape(inputs)
        named = {positive_axis(axis, len(shape)) for axis in self.axes}
        for axis in named:
            if shape[axis] != 1:
                raise ModelError(f"axis {axis} of {list(shape)} is not of size 1 and cannot be squeezed")
        dropped = named or {axis for axis, size in enumerate(shape) if size == 1}
        return [tuple(size for axis, size in enumerate(shape) if axis not in dropped)]

    def reference(self, node: Node, inputs: Sequence[Array | None]) -> list[Array]:
        return [array(inputs[0]).reshape(node.output.shape)]
