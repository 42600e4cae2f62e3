"""GATHER_ND and REVERSE_SEQUENCE: moves that indices or lengths of a tensor decide, of every type."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinymaix.graph import Array, ModelError, Node, Shape, Tensor
from tinymaix.ops.base import OptionFields, Options, array, positive_axis
from tinymaix.ops.emit import C_TYPES, Kernel, LayerCode
from tinymaix.ops.move import Move, elements, input_shape
from tinymaix.ops.strides import row_steps


@dataclass(frozen=True)
class GatherNd(Move):
    """Inputs: x, int32 indices (..., k): each names an element or slice of x by its first k axes."""

    kind: ClassVar[str] = "GATHER_ND"
    tflite: ClassVar[tuple[int, int]] = (107, 83)

    def moved(self, node: Node) -> Sequence[Tensor]:
        return [node.input(0)]

    def infer(self, inputs: Sequence[Tensor | None]) -> list[Shape]:
        x, indices = input_shape(inputs), input_shape(inputs, 1)
        if not indices or not 0 < indices[-1] <= len(x):
            raise ModelError(f"indices {list(indices)} do not name elements of {list(x)}")
        return [(*indices[:-1], *x[indices[-1] :])]

    def problems(self, node: Node) -> list[str]:
        indices, x = node.input(1), node.input(0).shape
        if indices.dtype != np.int32:
            return [f"indices '{indices.name}' are {indices.dtype}; int32 is supported"]
        limits = np.asarray(x[: indices.shape[-1]])
        if indices.data is not None and ((indices.data < 0) | (indices.data >= limits)).any():
            return [f"indices '{indices.name}' leave the shape {list(x)}"]
        if not node.input(0).elements:
            return [f"'{node.input(0).name}' is empty"]
        return super().problems(node)

    def reference(self, node: Node, inputs: Sequence[Array | None]) -> list[Array]:
        """Indices that are computed and outside an axis take its nearest end; TFLM stops with an error there."""
        x, indices = array(inputs[0]), array(inputs[1])
        limits = np.asarray(x.shape[: indices.shape[-1]]) - 1
        inside = np.clip(indices, 0, limits)
        return [x[tuple(np.moveaxis(inside, -1, 0))]]

    def emit(self, node: Node, code: LayerCode) -> None:
        x, depth = node.input(0).shape, node.input(1).shape[-1]
        code.call(
            GATHER_ND,
            x=code.input(0),
            y=code.output(),
            indices=code.input(1),
            sizes=code.constant("sizes", x[:depth], "int32"),
            steps=code.constant("steps", row_steps(x)[:depth], "int32"),
            rows=elements(node.input(1).shape[:-1]),
            depth=depth,
            slice=elements(x[depth:]),
            bytes=node.output.dtype.itemsize,
        )


@dataclass(frozen=True)
class ReverseSequence(Move):
    """Inputs: x, lengths (int32 or int64, one for each index of ``batch_axis``): the first ``length`` elements along
    ``axis`` go backwards. Lengths outside the axis count as its nearest end."""

    axis: int
    batch_axis: int = 0

    kind: ClassVar[str] = "REVERSE_SEQUENCE"
    tflite: ClassVar[tuple[int, int]] = (112, 87)

    @classmethod
    def from_tflite(
        cls, options: Options, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor]
    ) -> ReverseSequence:
        return cls(options.i32(0), options.i32(1))

    def to_tflite(self, node: Node) -> tuple[OptionFields, list[Tensor | None]]:
        return {0: ("i32", self.axis), 1: ("i32", self.batch_axis)}, list(node.inputs)

    def moved(self, node: Node) -> Sequence[Tensor]:
        return [node.input(0)]

    def infer(self, inputs: Sequence[Tensor | None]) -> list[Shape]:
        x, lengths = input_shape(inputs), input_shape(inputs, 1)
        axis, batch = self._axes(len(x))
        if lengths != (x[batch],) or axis == batch:
            raise ModelError(f"lengths {list(lengths)} are not one for each of axis {batch} of {list(x)}")
        return [x]

    def _axes(self, rank: int) -> tuple[int, int]:
        return positive_axis(self.axis, rank), positive_axis(self.batch_axis, rank)

    def problems(self, node: Node) -> list[str]:
        if node.input(1).dtype.name not in ("int32", "int64"):
            return [f"lengths '{node.input(1).name}' are {node.input(1).dtype}; int32 and int64 are supported"]
        return super().problems(node)

    def reference(self, node: Node, inputs: Sequence[Array | None]) -> list[Array]:
        x, lengths = array(inputs[0]), array(inputs[1])
        axis, batch = self._axes(x.ndim)
        moved = np.moveaxis(x, (batch, axis), (0, 1)).copy()
        for part, length in zip(moved, np.clip(lengths, 0, x.shape[axis]), strict=True):
            part[:length] = part[:length][::-1].copy()
        return [np.ascontiguousarray(np.moveaxis(moved, (0, 1), (batch, axis)))]

    def emit(self, node: Node, code: LayerCode) -> None:
        shape, lengths = node.output.shape, node.input(1).dtype.name
        axis, batch = self._axes(len(shape))
        first, second = sorted((axis, batch))
        code.call(
            REVERSE_SEQUENCE[lengths],
            x=code.input(0),
            y=code.output(),
            lengths=code.input(1),
            outer=elements(shape[:first]),
            first=shape[first],
            middle=elements(shape[first + 1 : second]),
            second=shape[second],
            bytes=elements(shape[second + 1 :]) * node.output.dtype.itemsize,
            batch_first=int(batch < axis),
        )


GATHER_ND = Kernel(
    "gather_nd",
    """\
/* y[row] is the slice of x at the `depth` indices of the row, each kept inside its axis */
static void gather_nd(const void *x, void *y, const int32_t *indices, const int32_t *sizes, const int32_t *steps,
                      int rows, int depth, int slice, int bytes)
{
    int8_t *target = (int8_t *)y;
    for (int row = 0; row < rows; row++, target += slice * bytes) {
        int32_t at = 0;
        for (int k = 0; k < depth; k++) {
            int32_t index = *indices++, last = FLASH_I32(sizes + k) - 1;
            at += (index < 0 ? 0 : index > last ? last : index) * FLASH_I32(steps + k);
        }
        memcpy(target, (const int8_t *)x + at * bytes, (size_t)(slice * bytes));
    }
}
""",
)


def _reverse_sequence(lengths: str) -> Kernel:
    name = f"reverse_sequence_{lengths}"
    return Kernel(
        name,
        f"""\
/* x[outer][first][middle][second] of `bytes`: along one of first and second the elements go backwards up to the length
 * that the other one has */
static void {name}(const void *x, void *y, const {C_TYPES[lengths]} *lengths, int outer, int first, int middle,
    int second, int bytes, int batch_first)
{{
    const int8_t *source = (const int8_t *)x;
    int8_t *target = (int8_t *)y;
    for (int o = 0; o < outer; o++, source += first * middle * second * bytes)
        for (int i = 0; i < first; i++)
            for (int m = 0; m < middle; m++)
                for (int j = 0; j < second; j++, target += bytes) {{
                    {C_TYPES[lengths]} length = lengths[batch_first ? i : j];
                    int size = batch_first ? second : first, at = batch_first ? j : i;
                    int end = length < 0 ? 0 : length > size ? size : (int)length;
                    if (at < end)
                        at = end - 1 - at;
                    int row = batch_first ? i : at, column = batch_first ? at : j;
                    memcpy(target, source + ((row * middle + m) * second + column) * bytes, (size_t)bytes);
                }}
}}
""",
    )


REVERSE_SEQUENCE = {lengths: _reverse_sequence(lengths) for lengths in ("int32", "int64")}
