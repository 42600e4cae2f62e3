"""Operators that only move bytes: what they share, for every type, and the C kernels that do it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tinymaix.graph import ModelError, Node, Shape, Tensor
from tinymaix.ops.base import Operator
from tinymaix.ops.emit import C_TYPES, Kernel, LayerCode
from tinymaix.ops.strides import Axis, merge

LOOPS = 5
"""Loops of `COPY_STRIDED` around its contiguous run of bytes."""


class Move(Operator):
    """The outputs hold elements of the inputs as they are; their quantization plays no part."""

    types = tuple(C_TYPES)

    def moved(self, node: Node) -> Sequence[Tensor]:
        """The inputs whose elements go to the outputs."""
        return node.present

    def problems(self, node: Node) -> list[str]:
        tensors = [*self.moved(node), *node.outputs]
        names = ", ".join(f"'{t.name}' is {t.dtype}" for t in tensors)
        if any(t.dtype.name not in self.types for t in tensors):
            return [f"{names}; supported are {', '.join(self.types)}"]
        if len({t.dtype for t in tensors}) > 1:
            return [f"{names}; {self.kind} gives the type that it takes"]
        return []


class View(Move):
    """The output is the input's bytes under another shape."""

    is_view = True


def input_shape(inputs: Sequence[Tensor | None], index: int = 0) -> Shape:
    """Shape of an input. Raises ModelError where it is missing."""
    tensor = inputs[index] if index < len(inputs) else None
    if tensor is None:
        raise ModelError(f"input {index} is missing")
    return tensor.shape


def elements(shape: Sequence[int]) -> int:
    return int(np.prod(shape, dtype=np.int64))


def strided(axes: Sequence[tuple[int, int]], itemsize: int) -> tuple[list[Axis], int]:
    """(loops, run): a walk over an input by (size, step in elements) as few loops in bytes around runs of bytes."""
    merged = merge([(size, (step * itemsize,)) for size, step in axes] or [(1, (itemsize,))])
    size, (step,) = merged[-1]
    if step == itemsize:
        return merged[:-1], size * itemsize
    return (merged, itemsize) if size > 1 else ([], itemsize)


def strided_problems(node: Node, axes: Sequence[tuple[int, int]]) -> list[str]:
    """A sentence where `copy_strided` has too few loops."""
    loops, _ = strided(axes, node.output.dtype.itemsize)
    if len(loops) <= LOOPS:
        return []
    return [f"{node.op.kind} of '{node.input(0).name}' moves {len(loops)} axes apart; up to {LOOPS} are supported"]


def copy_strided(node: Node, code: LayerCode, axes: Sequence[tuple[int, int]], start: int = 0) -> None:
    """Call the copy of input 0, from element ``start`` by (size, step in elements) of each output axis, to output 0."""
    itemsize = node.output.dtype.itemsize
    if not node.output.elements:
        return
    loops, run = strided(axes, itemsize)
    sizes = [1] * (LOOPS - len(loops)) + [size for size, _ in loops]
    steps = [0] * (LOOPS - len(loops)) + [step for _, (step,) in loops]
    code.call(
        COPY_STRIDED,
        x=code.input(0),
        y=code.output(),
        start=start * itemsize,
        bytes=run,
        **{f"n{i}": size for i, size in enumerate(sizes)},
        **{f"s{i}": step for i, step in enumerate(steps)},
    )


def split_rows(node: Node, code: LayerCode, axis: int, sizes: Sequence[int]) -> None:
    """Call the copies of consecutive slices of ``sizes`` along ``axis`` of input 0 to the outputs."""
    x = node.input(0)
    source = code.input(0)
    inner = elements(x.shape[axis + 1 :]) * x.dtype.itemsize
    starts = np.cumsum([0, *sizes]).tolist()
    for i, (start, size) in enumerate(zip(starts, sizes, strict=False)):
        code.call(
            COPY_ROWS,
            x=source,
            y=code.output(i),
            rows=elements(x.shape[:axis]),
            bytes=size * inner,
            x_start=start * inner,
            x_step=x.shape[axis] * inner,
            y_start=0,
            y_step=size * inner,
        )


COPY_STRIDED = Kernel(
    "copy_strided",
    """\
/* Fills y with runs of x: s0 to s4 are the bytes from one run to the next along each axis, and may be negative. */
static void copy_strided(const void *x, void *y, int start, int bytes, int n0, int n1, int n2, int n3, int n4,
                         int s0, int s1, int s2, int s3, int s4)
{
    const int8_t *source = (const int8_t *)x + start;
    int8_t *target = (int8_t *)y;
    for (int i0 = 0; i0 < n0; i0++)
        for (int i1 = 0; i1 < n1; i1++)
            for (int i2 = 0; i2 < n2; i2++)
                for (int i3 = 0; i3 < n3; i3++) {
                    const int8_t *row = source + (i0 * s0 + i1 * s1 + i2 * s2 + i3 * s3);
                    for (int i4 = 0; i4 < n4; i4++, target += bytes)
                        if (bytes == 1)
                            *target = row[i4 * s4];
                        else
                            memcpy(target, row + i4 * s4, (size_t)bytes);
                }
}
""",
)

COPY_ROWS = Kernel(
    "copy_rows",
    """\
/* Copies rows of bytes from one matrix into another. */
static void copy_rows(const void *x, void *y, int rows, int bytes, int x_start, int x_step, int y_start, int y_step)
{
    const int8_t *source = (const int8_t *)x + x_start;
    int8_t *target = (int8_t *)y + y_start;
    for (int r = 0; r < rows; r++, source += x_step, target += y_step)
        memcpy(target, source, (size_t)bytes);
}
""",
)
