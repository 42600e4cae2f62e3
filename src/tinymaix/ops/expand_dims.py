"""EXPAND_DIMS: one more axis of size 1. A view."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from tinymaix.graph import Array, ModelError, Node, Shape, Tensor
from tinymaix.ops.base import OptionFields, Options, array, constant_ints, int_tensor, positive_axis
from tinymaix.ops.move import View, input_shape


@dataclass(frozen=True)
class ExpandDims(View):
    """``axis`` is the place of the new axis in the output; negative counts from its end."""

    axis: int

    kind: ClassVar[str] = "EXPAND_DIMS"
    tflite: ClassVar[tuple[int, int]] = (70, 52)

    @classmethod
    def from_tflite(cls, options: Options, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor]) -> ExpandDims:
        return cls(single_axis(inputs, 1))

    @classmethod
    def tflite_inputs(cls, inputs: Sequence[Tensor | None]) -> Sequence[Tensor | None]:
        return inputs[:1]

    def to_tflite(self, node: Node) -> tuple[OptionFields, list[Tensor | None]]:
        return {}, [*node.inputs, int_tensor("axis", self.axis)]

    def infer(self, inputs: Sequence[Tensor | None]) -> list[Shape]:
        shape = input_shape(inputs)
        axis = positive_axis(self.axis, len(shape) + 1)
        return [(*shape[:axis], 1, *shape[axis:])]

    def reference(self, node: Node, inputs: Sequence[Array | None]) -> list[Array]:
        return [array(inputs[0]).reshape(node.output.shape)]


def single_axis(inputs: Sequence[Tensor | None], index: int) -> int:
    """The axis that a constant input holds. Raises ModelError where it is not one integer."""
    values = constant_ints(inputs, index, "the axis")
    if len(values) != 1:
        raise ModelError(f"the axis (input {index}) must be one integer, not {len(values)}")
    return values[0]
