"""STRIDED_SLICE: x[begin:end:stride, ...] as numpy means it, and masks for its :, ..., newaxis and i."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinymaix.graph import Array, ModelError, Node, Shape, Tensor
from tinymaix.ops.base import OptionFields, Options, array, constant_ints, int_tensor
from tinymaix.ops.emit import LayerCode
from tinymaix.ops.move import Move, copy_strided, input_shape, strided_problems
from tinymaix.ops.strides import row_steps


@dataclass(frozen=True)
class StridedSlice(Move):
    """Bit i of a mask speaks of entry i of begin, end and strides; with ``offset``, ends count from begins."""

    begin: tuple[int, ...]
    end: tuple[int, ...]
    strides: tuple[int, ...]
    begin_mask: int = 0
    end_mask: int = 0
    ellipsis_mask: int = 0
    new_axis_mask: int = 0
    shrink_axis_mask: int = 0
    offset: bool = False

    kind: ClassVar[str] = "STRIDED_SLICE"
    tflite: ClassVar[tuple[int, int]] = (45, 32)

    @classmethod
    def from_tflite(cls, options: Options, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor]) -> StridedSlice:
        begin, end, strides = (constant_ints(inputs, i, what) for i, what in ((1, "begin"), (2, "end"), (3, "strides")))
        masks = options.i32(0), options.i32(1), options.i32(2), options.i32(3), options.i32(4)
        return cls(begin, end, strides, *masks, options.flag(5))

    @classmethod
    def tflite_inputs(cls, inputs: Sequence[Tensor | None]) -> Sequence[Tensor | None]:
        return inputs[:1]

    def to_tflite(self, node: Node) -> tuple[OptionFields, list[Tensor | None]]:
        masks = (self.begin_mask, self.end_mask, self.ellipsis_mask, self.new_axis_mask, self.shrink_axis_mask)
        fields: OptionFields = {slot: ("i32", mask) for slot, mask in enumerate(masks)}
        fields[5] = ("flag", self.offset)
        bounds = {"begin": self.begin, "end": self.end, "strides": self.strides}
        return fields, [*node.inputs, *(int_tensor(name, values) for name, values in bounds.items())]

    def infer(self, inputs: Sequence[Tensor | None]) -> list[Shape]:
        return [self._resolve(input_shape(inputs))[1]]

    def problems(self, node: Node) -> list[str]:
        return super().problems(node) or strided_problems(node, self._walk(node)[0])

    def reference(self, node: Node, inputs: Sequence[Array | None]) -> list[Array]:
        x = array(inputs[0])
        ranges, shape = self._resolve(x.shape)
        return [x[np.ix_(*ranges)].reshape(shape)]

    def emit(self, node: Node, code: LayerCode) -> None:
        copy_strided(node, code, *self._walk(node))

    def _walk(self, node: Node) -> tuple[list[tuple[int, int]], int]:
        """((size, step in elements) of each axis, first element)."""
        shape = node.input(0).shape
        ranges, _ = self._resolve(shape)
        steps = row_steps(shape)
        axes = [(len(r), r.step * step) for r, step in zip(ranges, steps, strict=True)]
        return axes, sum(r.start * step for r, step in zip(ranges, steps, strict=True) if r)

    def _resolve(self, shape: Shape) -> tuple[list[range], Shape]:
        """Indices along each axis of the input, and the shape of the output."""
        entries = range(len(self.begin))
        if not len(self.begin) == len(self.end) == len(self.strides):
            raise ModelError(f"begin {self.begin}, end {self.end} and strides {self.strides} differ in length")
        ellipses = [i for i in entries if _bit(self.ellipsis_mask, i)]
        named = sum(not _bit(self.ellipsis_mask | self.new_axis_mask, i) for i in entries)
        if named > len(shape) or len(ellipses) > 1:
            raise ModelError(f"a slice of {named} axes with {len(ellipses)} ellipses does not fit {list(shape)}")
        ranges: list[range] = []
        output: list[int] = []
        for i in entries:
            if i in ellipses:
                whole = [range(size) for size in shape[len(ranges) : len(ranges) + len(shape) - named]]
                ranges += whole
                output += [len(r) for r in whole]
            elif _bit(self.new_axis_mask, i):
                output.append(1)
            else:
                ranges.append(self._range(i, shape[len(ranges)]))
                output += [] if _bit(self.shrink_axis_mask, i) else [len(ranges[-1])]
        rest = [range(size) for size in shape[len(ranges) :]]
        return ranges + rest, (*output, *(len(r) for r in rest))

    def _range(self, i: int, size: int) -> range:
        """Entry i over an axis of ``size``."""
        begin = None if _bit(self.begin_mask, i) else self.begin[i]
        stride = self.strides[i]
        if not stride:
            raise ModelError(f"stride {i} of a slice is 0")
        start = slice(begin, None, stride).indices(size)[0]
        if _bit(self.shrink_axis_mask, i):
            if not size or (begin is not None and not -size <= begin < size):
                raise ModelError(f"index {self.begin[i]} is outside an axis of size {size}")
            return range(start, start + 1)
        end = None if _bit(self.end_mask, i) else self.end[i] + (start if self.offset else 0)
        return range(*slice(begin, end, stride).indices(size))


def _bit(mask: int, index: int) -> bool:
    return bool(mask >> index & 1)
