"""GATHER: the slices along an axis that a tensor of indices names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinymaix.graph import Array, ModelError, Node, Shape, Tensor
from tinymaix.ops.base import OptionFields, Options, array, positive_axis
from tinymaix.ops.emit import Kernel, LayerCode
from tinymaix.ops.move import Move, elements, input_shape


@dataclass(frozen=True)
class Gather(Move):
    """Inputs: x, int32 indices. The first ``batch_dims`` axes of both run together."""

    axis: int = 0
    batch_dims: int = 0

    kind: ClassVar[str] = "GATHER"
    tflite: ClassVar[tuple[int, int]] = (36, 23)

    @classmethod
    def from_tflite(cls, options: Options, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor]) -> Gather:
        return cls(options.i32(0), options.i32(1))

    def to_tflite(self, node: Node) -> tuple[OptionFields, list[Tensor | None]]:
        return {0: ("i32", self.axis), 1: ("i32", self.batch_dims)}, list(node.inputs)

    def moved(self, node: Node) -> Sequence[Tensor]:
        return [node.input(0)]

    def infer(self, inputs: Sequence[Tensor | None]) -> list[Shape]:
        x, indices = input_shape(inputs), input_shape(inputs, 1)
        axis, batch = self._places(x, indices)
        return [(*x[:axis], *indices[batch:], *x[axis + 1 :])]

    def problems(self, node: Node) -> list[str]:
        indices, size = node.input(1), node.input(0).shape[self._places(node.input(0).shape, node.input(1).shape)[0]]
        if indices.dtype != np.int32:
            return [f"indices '{indices.name}' are {indices.dtype}; int32 is supported"]
        if indices.data is not None and indices.elements and not 0 <= indices.data.min() <= indices.data.max() < size:
            return [f"indices '{indices.name}' leave the axis of size {size}"]
        return super().problems(node)

    def reference(self, node: Node, inputs: Sequence[Array | None]) -> list[Array]:
        """Indices that are computed and outside the axis take its nearest end; TFLM stops with an error there."""
        x, indices = array(inputs[0]), array(inputs[1])
        axis, batch = self._places(x.shape, indices.shape)
        if not batch:
            return [np.take(x, indices, axis, mode="clip")]
        lead = x.shape[:batch]
        pairs = zip(x.reshape(-1, *x.shape[batch:]), indices.reshape(-1, *indices.shape[batch:]), strict=True)
        parts = [np.take(part, index, axis - batch, mode="clip") for part, index in pairs]
        return [np.stack(parts).reshape(*lead, *parts[0].shape)]

    def emit(self, node: Node, code: LayerCode) -> None:
        x, indices = node.input(0).shape, node.input(1).shape
        axis, batch = self._places(x, indices)
        code.call(
            GATHER_ROWS,
            x=code.input(0),
            y=code.output(),
            indices=code.input(1),
            batches=elements(x[:batch]),
            outer=elements(x[batch:axis]),
            size=x[axis],
            count=elements(indices[batch:]),
            bytes=elements(x[axis + 1 :]) * node.output.dtype.itemsize,
        )

    def _places(self, x: Shape, indices: Shape) -> tuple[int, int]:
        """(axis, batch_dims) counted from the front."""
        axis = positive_axis(self.axis, len(x))
        batch = self.batch_dims + (len(indices) if self.batch_dims < 0 else 0)
        if not 0 <= batch <= min(axis, len(indices)) or x[:batch] != indices[:batch] or not x[axis]:
            raise ModelError(f"{self.batch_dims} batch dimensions do not fit x {list(x)} and indices {list(indices)}")
        return axis, batch


GATHER_ROWS = Kernel(
    "gather_rows",
    """\
/* Copies the rows that indices name; an index outside 0 .. size - 1 takes the nearest end. */
static void gather_rows(const void *x, void *y, const int32_t *indices, int batches, int outer, int size, int count,
                        int bytes)
{
    const int8_t *source = (const int8_t *)x;
    int8_t *target = (int8_t *)y;
    for (int b = 0; b < batches; b++, indices += count)
        for (int o = 0; o < outer; o++, source += size * bytes)
            for (int i = 0; i < count; i++, target += bytes) {
                int32_t index = indices[i] < 0 ? 0 : indices[i] >= size ? size - 1 : indices[i];
                memcpy(target, source + (int)index * bytes, (size_t)bytes);
            }
}
""",
)
