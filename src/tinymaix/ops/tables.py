"""Moves whose source is a sum of one offset for each output axis: the offsets are tables made at compile time.

Where an offset is negative, the output element is filled with a real zero.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import reduce

import numpy as np

from tinymaix.graph import Array, ModelError, Node, Shape, Tensor
from tinymaix.ops.base import array, same_quantization
from tinymaix.ops.emit import Argument, Kernel, LayerCode
from tinymaix.ops.move import Move
from tinymaix.ops.strides import row_steps

LOOPS = 4
LARGEST = 1 << 28
"""The most elements that the output of a move to a larger tensor may have."""


class TableMove(Move):
    """Output element (i, j, ...) is element ``tables[0][i] + tables[1][j] + ...`` of the first input."""

    def tables(self, node: Node) -> list[Array]:
        """Offsets in elements for each index of each output axis; negative ones fill."""
        raise NotImplementedError

    def moved(self, node: Node) -> Sequence[Tensor]:
        return [node.input(0)]

    def problems(self, node: Node) -> list[str]:
        return super().problems(node) or same_quantization(node)

    def reference(self, node: Node, inputs: Sequence[Array | None]) -> list[Array]:
        flat = array(inputs[0]).reshape(-1)
        source = reduce(_outer, self.tables(node), np.zeros((), np.int64))
        value = self._fill(node)
        if not flat.size:
            return [np.full(node.output.shape, value, flat.dtype)]
        return [np.where(source < 0, flat.dtype.type(value), flat[np.maximum(source, 0)]).reshape(node.output.shape)]

    def emit(self, node: Node, code: LayerCode) -> None:
        if not node.output.elements:
            return
        itemsize = node.output.dtype.itemsize
        tables, run = _with_run(self.tables(node))
        while len(tables) > LOOPS:
            at = min(range(len(tables) - 1), key=lambda i: tables[i].size * tables[i + 1].size)
            tables[at : at + 2] = [_outer(tables[at], tables[at + 1]).reshape(-1)]
        tables = [np.zeros(1, np.int64)] * (LOOPS - len(tables)) + tables
        pointers: dict[str, Argument] = {
            f"t{i}": code.constant(f"offsets{i}", np.where(table < 0, -1, table * itemsize), "int32")
            for i, table in enumerate(tables)
        }
        code.call(
            COPY_BY_TABLES,
            x=code.input(0),
            y=code.output(),
            **pointers,
            **{f"n{i}": table.size for i, table in enumerate(tables)},
            bytes=run * itemsize,
            fill=self._fill(node) & 255,
        )

    def _fill(self, node: Node) -> int:
        """A real zero: raw values other than 0 have a type of one byte."""
        y = node.output
        return y.q.z if y.dtype.kind in "iu" and y.dtype.itemsize == 1 and y.quantization is not None else 0


def _outer(a: Array, b: Array) -> Array:
    """Sums of all pairs, negative where one of them is."""
    first, second = a[..., None], np.asarray(b, np.int64)
    return np.where((first < 0) | (second < 0), -1, first + second)


def _with_run(tables: list[Array]) -> tuple[list[Array], int]:
    """The outer tables and how many elements each of their sums copies: inner axes that follow each other in x."""
    run, tables = 1, list(tables)
    while tables and (tables[-1] == np.arange(tables[-1].size) * run).all():
        run *= tables.pop().size
    return [table for table in tables if table.size > 1 or table[0] != 0], run


def plain_tables(shape: Sequence[int]) -> list[Array]:
    """Tables that copy a tensor as it is."""
    return [np.arange(size) * step for size, step in zip(shape, row_steps(tuple(shape)), strict=True)]


class OneInputMove(TableMove):
    """The inputs behind the first one are attributes."""

    @classmethod
    def tflite_inputs(cls, inputs: Sequence[Tensor | None]) -> Sequence[Tensor | None]:
        return inputs[:1]


def limited(shape: Shape) -> Shape:
    """The shape of an output, where it is not absurd."""
    if math.prod(shape) > LARGEST:
        raise ModelError(f"an output of shape {list(shape)} is larger than any chip's memory")
    return shape


def pairs_tensor(name: str, pairs: Sequence[tuple[int, int]]) -> Tensor:
    """Pairs of sizes as a .tflite has them."""
    data = np.asarray(pairs, np.int32).reshape(-1, 2)
    return Tensor(name, data.shape, data.dtype, None, data)


COPY_BY_TABLES = Kernel(
    "copy_by_tables",
    """\
/* Fills y with runs of x that begin at the sum of one offset in bytes from each table, or with `fill` where one of them
 * is negative. */
static void copy_by_tables(const void *x, void *y, const int32_t *t0, const int32_t *t1, const int32_t *t2,
                           const int32_t *t3, int n0, int n1, int n2, int n3, int bytes, int fill)
{
    const int8_t *source = (const int8_t *)x;
    int8_t *target = (int8_t *)y;
    for (int i0 = 0; i0 < n0; i0++)
        for (int i1 = 0; i1 < n1; i1++)
            for (int i2 = 0; i2 < n2; i2++)
                for (int i3 = 0; i3 < n3; i3++, target += bytes) {
                    int32_t a = FLASH_I32(t0 + i0), b = FLASH_I32(t1 + i1);
                    int32_t c = FLASH_I32(t2 + i2), d = FLASH_I32(t3 + i3);
                    if (a < 0 || b < 0 || c < 0 || d < 0)
                        memset(target, fill, (size_t)bytes);
                    else
                        memcpy(target, source + a + b + c + d, (size_t)bytes);
                }
}
""",
)
