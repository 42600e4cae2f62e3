"""What MEAN, SUM and the REDUCE operators share: the axes that go, and the walk over what stays and what goes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from tinymaix.graph import Array, ModelError, Node, Shape, Tensor
from tinymaix.ops.base import Operator, OptionFields, Options, constant_ints, int_tensor, positive_axis
from tinymaix.ops.emit import C_TYPES, Argument, Kernel, LayerCode
from tinymaix.ops.fixed_point import CLAMP, REQUANTIZE
from tinymaix.ops.strides import ROW_OFFSET, Axis, Walk, row_steps

Self = TypeVar("Self", bound="Reduction")


@dataclass(frozen=True)
class Reduction(Operator):
    """Input: x of any rank. ``axes`` may count from the end; ``keep_dims`` leaves them in the output with size 1."""

    axes: tuple[int, ...] = ()
    keep_dims: bool = False

    @classmethod
    def from_tflite(
        cls: type[Self], options: Options, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor]
    ) -> Self:
        return cls(constant_ints(inputs, 1, f"the axes of {cls.kind}"), options.flag(0))

    @classmethod
    def tflite_inputs(cls, inputs: Sequence[Tensor | None]) -> Sequence[Tensor | None]:
        return inputs[:1]

    def to_tflite(self, node: Node) -> tuple[OptionFields, list[Tensor | None]]:
        axes = int_tensor(f"{node.output.name}_axes", self.axes)
        return {0: ("flag", self.keep_dims)}, [node.input(0), axes]

    def reduced(self, rank: int) -> tuple[int, ...]:
        """The axes that go, counted from the front, in order."""
        return tuple(sorted({positive_axis(axis, rank) for axis in self.axes}))

    def infer(self, inputs: Sequence[Tensor | None]) -> list[Shape]:
        if not inputs or inputs[0] is None:
            raise ModelError("the input is missing")
        shape = inputs[0].shape
        reduced = self.reduced(len(shape))
        if self.keep_dims:
            return [tuple(1 if axis in reduced else size for axis, size in enumerate(shape))]
        return [tuple(size for axis, size in enumerate(shape) if axis not in reduced)]

    def count(self, node: Node) -> int:
        """Elements that go into one output."""
        shape = node.input(0).shape
        return int(np.prod([shape[axis] for axis in self.reduced(len(shape))], dtype=np.int64))

    def problems(self, node: Node) -> list[str]:
        if self.count(node) == 0:
            return [f"'{node.input(0).name}' {list(node.input(0).shape)} has nothing to reduce"]
        return super().problems(node)

    def overwrites(self, node: Node) -> list[int]:
        """Output o is written after its inputs were read, and later outputs read only behind element o."""
        return [0]

    def rows(self, node: Node, x: Array) -> Array:
        """(outputs, elements of each), in the kernel's order."""
        reduced = self.reduced(x.ndim)
        kept = [axis for axis in range(x.ndim) if axis not in reduced]
        return x.transpose(*kept, *reduced).reshape(node.output.elements, self.count(node))

    def call(self, node: Node, code: LayerCode, kernel: Kernel, **more: Argument) -> None:
        """Call a kernel made by `reduction_kernel`."""
        shape = node.input(0).shape
        axes: list[Axis] = [(size, (step,)) for size, step in zip(shape, row_steps(shape), strict=True)]
        reduced = self.reduced(len(shape))
        inner = Walk.over([axes[axis] for axis in reduced])
        kept = Walk.over([(1, (0,)), *(a for axis, a in enumerate(axes) if axis not in reduced)])
        code.call(
            kernel,
            x=code.input(0),
            y=code.output(),
            sizes=kept.sizes(code, "sizes"),
            steps=kept.steps(code, "steps", 0),
            inner_sizes=inner.sizes(code, "inner_sizes"),
            inner_steps=inner.steps(code, "inner_steps", 0),
            rank=len(kept.outer),
            rows=kept.rows,
            columns=kept.inner[0],
            column_step=kept.inner[1][0],
            inner_rank=len(inner.outer),
            inner_rows=inner.rows,
            count=inner.inner[0],
            step=inner.inner[1][0],
            **more,
        )


def reduction_kernel(
    name: str, c_type: str, comment: str, start: str, step: str, finish: str, parameters: str = "", *needs: Kernel
) -> Kernel:
    """A C kernel: ``start`` declares ``result``, ``step`` takes in ``*element``, ``finish`` is the output's value."""
    return Kernel(
        name,
        f"""\
/* {comment} Outputs are `rows` of `columns`; each takes in `inner_rows` of `count` elements. */
static void {name}(const {c_type} *x, {c_type} *y, const int32_t *sizes, const int32_t *steps,
    const int32_t *inner_sizes, const int32_t *inner_steps, int rank, int rows, int columns,
    int column_step, int inner_rank, int inner_rows, int count, int step{parameters})
{{
    for (int row = 0; row < rows; row++) {{
        const {c_type} *first = x + row_offset(sizes, steps, rank, row);
        for (int column = 0; column < columns; column++, first += column_step) {{
            {start}
            for (int inner = 0; inner < inner_rows; inner++) {{
                const {c_type} *element = first + row_offset(inner_sizes, inner_steps, inner_rank, inner);
                for (int i = 0; i < count; i++, element += step)
                    {step}
            }}
            *y++ = {finish};
        }}
    }}
}}
""",
        (ROW_OFFSET, *needs),
    )


def sum_kernel(name: str, dtype: str, comment: str, more: str = "") -> Kernel:
    """The kernel of a quantized sum, or of a mean by its multiplier."""
    info = np.iinfo(dtype)
    return reduction_kernel(
        name,
        C_TYPES[dtype],
        f"{comment}, {dtype}. zero_sum is zero_x times the elements of one sum{more}.",
        "int32_t result = -zero_sum;",
        "result += *element;",
        f"({C_TYPES[dtype]})clamp(requantize(result, multiplier, shift) + zero_y, {info.min}, {info.max})",
        ",\n    int32_t zero_sum, int32_t multiplier, int shift, int32_t zero_y",
        REQUANTIZE,
        CLAMP,
    )
