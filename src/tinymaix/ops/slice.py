"""SLICE: a box of the input: from begin, size elements along each axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from tinymaix.graph import Array, ModelError, Node, Shape, Tensor
from tinymaix.ops.base import OptionFields, Options, array, constant_ints, int_tensor
from tinymaix.ops.emit import LayerCode
from tinymaix.ops.move import Move, copy_strided, input_shape, strided_problems
from tinymaix.ops.strides import row_steps


@dataclass(frozen=True)
class Slice(Move):
    """A size of -1 reaches to the end of the axis."""

    begin: tuple[int, ...]
    size: tuple[int, ...]

    kind: ClassVar[str] = "SLICE"
    tflite: ClassVar[tuple[int, int]] = (65, 48)

    @classmethod
    def from_tflite(cls, options: Options, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor]) -> Slice:
        return cls(constant_ints(inputs, 1, "begin"), constant_ints(inputs, 2, "size"))

    @classmethod
    def tflite_inputs(cls, inputs: Sequence[Tensor | None]) -> Sequence[Tensor | None]:
        return inputs[:1]

    def to_tflite(self, node: Node) -> tuple[OptionFields, list[Tensor | None]]:
        return {}, [*node.inputs, int_tensor("begin", self.begin), int_tensor("size", self.size)]

    def infer(self, inputs: Sequence[Tensor | None]) -> list[Shape]:
        shape = input_shape(inputs)
        if not len(self.begin) == len(self.size) == len(shape):
            raise ModelError(f"begin {self.begin} and size {self.size} do not fit {list(shape)}")
        bounds = zip(shape, self.begin, self.size, strict=True)
        output = tuple(full - start if size == -1 else size for full, start, size in bounds)
        for full, start, size in zip(shape, self.begin, output, strict=True):
            if start < 0 or size < 0 or start + size > full:
                raise ModelError(f"a slice from {list(self.begin)} of size {list(self.size)} leaves {list(shape)}")
        return [output]

    def problems(self, node: Node) -> list[str]:
        return super().problems(node) or strided_problems(node, self._walk(node)[0])

    def reference(self, node: Node, inputs: Sequence[Array | None]) -> list[Array]:
        box = zip(self.begin, node.output.shape, strict=True)
        return [array(inputs[0])[tuple(slice(start, start + size) for start, size in box)]]

    def emit(self, node: Node, code: LayerCode) -> None:
        copy_strided(node, code, *self._walk(node))

    def _walk(self, node: Node) -> tuple[list[tuple[int, int]], int]:
        """((size, step in elements) of each axis, first element)."""
        steps = row_steps(node.input(0).shape)
        start = sum(first * step for first, step in zip(self.begin, steps, strict=True))
        return list(zip(node.output.shape, steps, strict=True)), start
