"""Walks that one contiguous loop cannot do, such as broadcasts and reductions: axes with a step for each operand."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tinymaix.graph import Shape
from tinymaix.ops.emit import Argument, Kernel, LayerCode

Axis = tuple[int, tuple[int, ...]]
"""Size of an axis, and the elements from one index to the next in each operand (0 where the operand is broadcast)."""


def row_steps(shape: Shape) -> tuple[int, ...]:
    """Elements from one index to the next along each axis of a dense row-major tensor."""
    return tuple(int(np.prod(shape[axis + 1 :], dtype=np.int64)) for axis in range(len(shape)))


def broadcast_steps(shape: Shape, rank: int) -> tuple[int, ...]:
    """`row_steps` of a tensor that is broadcast to ``rank`` axes: 0 along axes of size 1 and axes that it lacks."""
    steps = tuple(0 if size == 1 else step for size, step in zip(shape, row_steps(shape), strict=True))
    return (0,) * (rank - len(shape)) + steps


def merge(axes: list[Axis]) -> list[Axis]:
    """The same walk in as few axes as possible, at least one."""
    merged: list[Axis] = []
    for size, steps in axes:
        if size == 1:
            continue
        if merged and merged[-1][1] == tuple(size * step for step in steps):
            merged[-1] = merged[-1][0] * size, steps
        else:
            merged.append((size, steps))
    operands = len(axes[0][1]) if axes else 1
    return merged or [(1, (0,) * operands)]


@dataclass(frozen=True)
class Walk:
    """Rows of ``inner`` elements; the axes around them are read from tables in flash."""

    outer: list[Axis]
    inner: Axis

    @staticmethod
    def over(axes: list[Axis]) -> Walk:
        merged = merge(axes)
        return Walk(merged[:-1], merged[-1])

    @property
    def rows(self) -> int:
        return int(np.prod([size for size, _ in self.outer], dtype=np.int64))

    def sizes(self, code: LayerCode, role: str) -> Argument:
        """C pointer to the sizes of the outer axes; none is needed where there are no outer axes."""
        return code.constant(role, [size for size, _ in self.outer], "int32") if self.outer else "NULL"

    def steps(self, code: LayerCode, role: str, operand: int) -> Argument:
        """C pointer to the steps of one operand along the outer axes."""
        return code.constant(role, [steps[operand] for _, steps in self.outer], "int32") if self.outer else "NULL"


ROW_OFFSET = Kernel(
    "row_offset",
    """\
/* Elements from an operand's start to its part of row `row`, for rows counted over `rank` axes in row-major order. */
static int32_t row_offset(const int32_t *sizes, const int32_t *steps, int rank, int row)
{
    int32_t offset = 0;
    while (rank-- > 0) {
        int size = (int)FLASH_I32(sizes + rank);
        offset += FLASH_I32(steps + rank) * (row % size);
        row /= size;
    }
    return offset;
}
""",
)
