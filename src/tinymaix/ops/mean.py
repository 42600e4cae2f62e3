"""MEAN over any axes: int8 requantized by a multiplier that holds 1 / count, as TFLM does it, or float32."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinymaix.graph import Array, ModelError, Node, Shape, Tensor
from tinymaix.ops.base import Operator, OptionFields, Options, array, constant_ints, int_tensor, positive_axis
from tinymaix.ops.emit import Argument, Kernel, LayerCode
from tinymaix.ops.fixed_point import CLAMP, REQUANTIZE, quantize_multiplier, requantize, saturate
from tinymaix.ops.strides import ROW_OFFSET, Axis, Walk, row_steps
from tinymaix.ops.tmdl import ModelType, Operand, StoredLayer


@dataclass(frozen=True)
class Mean(Operator):
    """Input: x of any rank. ``axes`` may count from the end; ``keep_dims`` leaves them in the output with size 1."""

    axes: tuple[int, ...] = ()
    keep_dims: bool = False

    kind: ClassVar[str] = "MEAN"
    tflite: ClassVar[tuple[int, int]] = (40, 27)
    tmdl = (1, "global average pool")

    @classmethod
    def from_tflite(cls, options: Options, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor]) -> Mean:
        return cls(constant_ints(inputs, 1, "the axes of MEAN"), options.flag(0))

    @classmethod
    def tflite_inputs(cls, inputs: Sequence[Tensor | None]) -> Sequence[Tensor | None]:
        return inputs[:1]

    def to_tflite(self, node: Node) -> tuple[OptionFields, list[Tensor | None]]:
        axes = int_tensor(f"{node.output.name}_axes", self.axes)
        return {0: ("flag", self.keep_dims)}, [node.input(0), axes]

    @classmethod
    def from_tmdl(cls, layer: StoredLayer, x: Tensor, y: Tensor, operand: Operand) -> Node:
        return Node(cls((1, 2), keep_dims=len(y.shape) == 4), [x], [y], layer.name)

    def tmdl_problems(self, node: Node, model: ModelType) -> list[str]:
        shape = list(node.input(0).shape)
        if len(shape) == 4 and sorted(axis % 4 for axis in self.axes) == [1, 2]:
            return []
        return [
            f"it takes the mean over axes {list(self.axes)} of {shape}; a .tmdl takes it over height and width only"
        ]

    def reduced(self, rank: int) -> tuple[int, ...]:
        """The axes that are averaged, counted from the front, in order."""
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
            return [f"'{node.input(0).name}' {list(node.input(0).shape)} has nothing to average"]
        return super().problems(node)

    def overwrites(self, node: Node) -> list[int]:
        """Output o is written after its inputs were read, and later outputs read only behind element o."""
        return [0]

    def reference(self, node: Node, inputs: Sequence[Array | None]) -> list[Array]:
        x, output = array(inputs[0]), node.output
        reduced = self.reduced(x.ndim)
        kept = [axis for axis in range(x.ndim) if axis not in reduced]
        rows = x.transpose(*kept, *reduced).reshape(output.elements, self.count(node))
        if x.dtype == np.float32:
            # accumulate adds one by one in order, as the kernel does; sum does not.
            total = np.add.accumulate(rows, axis=1)[:, -1]
            return [(total / np.float32(self.count(node))).reshape(output.shape)]
        zero_sum, multiplier, shift = self.scales(node)
        y = requantize(rows.sum(axis=1, dtype=np.int64) - zero_sum, multiplier, shift) + output.q.z
        return [saturate(y, output.dtype).reshape(output.shape)]

    def scales(self, node: Node) -> tuple[int, int, int]:
        """(zero_x * count, multiplier, shift): the multiplier holds scale_x / scale_y / count."""
        x, y, count = node.input(0).q, node.output.q, self.count(node)
        multiplier, shift = quantize_multiplier(x.s / y.s)
        # 1 / count keeps the multiplier's bits where the shift has room, see QuantizedMeanOrSum in TFLite's reduce.h.
        more = min(count.bit_length() - 1, 32, 31 + shift)
        return x.z * count, (multiplier << more) // count, shift - more

    def emit(self, node: Node, code: LayerCode) -> None:
        shape = node.input(0).shape
        axes: list[Axis] = [(size, (step,)) for size, step in zip(shape, row_steps(shape), strict=True)]
        reduced = self.reduced(len(shape))
        inner = Walk.over([axes[axis] for axis in reduced])
        kept = Walk.over([(1, (0,)), *(a for axis, a in enumerate(axes) if axis not in reduced)])
        arguments: dict[str, Argument] = {
            "sizes": kept.sizes(code, "sizes"),
            "steps": kept.steps(code, "steps", 0),
            "inner_sizes": inner.sizes(code, "inner_sizes"),
            "inner_steps": inner.steps(code, "inner_steps", 0),
            "rank": len(kept.outer),
            "rows": kept.rows,
            "columns": kept.inner[0],
            "column_step": kept.inner[1][0],
            "inner_rank": len(inner.outer),
            "inner_rows": inner.rows,
            "count": inner.inner[0],
            "step": inner.inner[1][0],
        }
        if node.output.dtype == np.float32:
            code.call(MEAN_F32, x=code.input(0), y=code.output(), **arguments, divisor=float(self.count(node)))
            return
        zero_sum, multiplier, shift = self.scales(node)
        code.call(
            MEAN_S8,
            x=code.input(0),
            y=code.output(),
            **arguments,
            zero_sum=zero_sum,
            multiplier=multiplier,
            shift=shift,
            zero_y=node.output.q.z,
        )


MEAN_S8 = Kernel(
    "mean_s8",
    """\
/* Mean, int8. Outputs are `rows` of `columns`; each sums `inner_rows` of `count` elements. zero_sum is zero_x times the
 * elements of one sum, and the multiplier divides by their number. */
static void mean_s8(const int8_t *x, int8_t *y, const int32_t *sizes, const int32_t *steps,
                    const int32_t *inner_sizes, const int32_t *inner_steps, int rank, int rows, int columns,
                    int column_step, int inner_rank, int inner_rows, int count, int step,
                    int32_t zero_sum, int32_t multiplier, int shift, int32_t zero_y)
{
    for (int row = 0; row < rows; row++) {
        const int8_t *first = x + row_offset(sizes, steps, rank, row);
        for (int column = 0; column < columns; column++, first += column_step) {
            int32_t sum = -zero_sum;
            for (int inner = 0; inner < inner_rows; inner++) {
                const int8_t *element = first + row_offset(inner_sizes, inner_steps, inner_rank, inner);
                for (int i = 0; i < count; i++, element += step)
                    sum += *element;
            }
            *y++ = (int8_t)clamp(requantize(sum, multiplier, shift) + zero_y, -128, 127);
        }
    }
}
""",
    (ROW_OFFSET, REQUANTIZE, CLAMP),
)

MEAN_F32 = Kernel(
    "mean_f32",
    """\
/* Mean, float. Outputs are `rows` of `columns`; each sums `inner_rows` of `count` elements. */
static void mean_f32(const float *x, float *y, const int32_t *sizes, const int32_t *steps,
                     const int32_t *inner_sizes, const int32_t *inner_steps, int rank, int rows, int columns,
                     int column_step, int inner_rank, int inner_rows, int count, int step, float divisor)
{
    for (int row = 0; row < rows; row++) {
        const float *first = x + row_offset(sizes, steps, rank, row);
        for (int column = 0; column < columns; column++, first += column_step) {
            float sum = 0.0f;
            for (int inner = 0; inner < inner_rows; inner++) {
                const float *element = first + row_offset(inner_sizes, inner_steps, inner_rank, inner);
                for (int i = 0; i < count; i++, element += step)
                    sum += *element;
            }
            *y++ = sum / divisor;
        }
    }
}
""",
    (ROW_OFFSET,),
)
