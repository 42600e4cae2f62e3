"""TRANSPOSE: the axes in another order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from tinymaix.graph import Array, ModelError, Node, Shape, Tensor
from tinymaix.ops.base import OptionFields, Options, array, constant_ints, int_tensor, positive_axis
from tinymaix.ops.emit import LayerCode
from tinymaix.ops.move import Move, copy_strided, input_shape, strided_problems
from tinymaix.ops.strides import row_steps


@dataclass(frozen=True)
class Transpose(Move):
    """Axis i of the output is axis ``order[i]`` of the input."""

    order: tuple[int, ...]

    kind: ClassVar[str] = "TRANSPOSE"
    tflite: ClassVar[tuple[int, int]] = (39, 26)

    @classmethod
    def from_tflite(cls, options: Options, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor]) -> Transpose:
        return cls(constant_ints(inputs, 1, "the order of the axes"))

    @classmethod
    def tflite_inputs(cls, inputs: Sequence[Tensor | None]) -> Sequence[Tensor | None]:
        return inputs[:1]

    def to_tflite(self, node: Node) -> tuple[OptionFields, list[Tensor | None]]:
        return {}, [*node.inputs, int_tensor("order", self.order)]

    def infer(self, inputs: Sequence[Tensor | None]) -> list[Shape]:
        shape = input_shape(inputs)
        return [tuple(shape[axis] for axis in self._axes(len(shape)))]

    def problems(self, node: Node) -> list[str]:
        return super().problems(node) or strided_problems(node, self._walk(node))

    def reference(self, node: Node, inputs: Sequence[Array | None]) -> list[Array]:
        x = array(inputs[0])
        return [x.transpose(self._axes(x.ndim))]

    def emit(self, node: Node, code: LayerCode) -> None:
        copy_strided(node, code, self._walk(node))

    def _axes(self, rank: int) -> list[int]:
        axes = [positive_axis(axis, rank) for axis in self.order]
        if sorted(axes) != list(range(rank)):
            raise ModelError(f"{list(self.order)} is not an order of {rank} axes")
        return axes

    def _walk(self, node: Node) -> list[tuple[int, int]]:
        shape = node.input(0).shape
        steps = row_steps(shape)
        return [(shape[axis], steps[axis]) for axis in self._axes(len(shape))]
