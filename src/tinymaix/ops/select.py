"""SELECT and SELECT_V2: y = condition ? a : b, of every type."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinymaix.graph import Array, ModelError, Node, Shape, Tensor
from tinymaix.ops.base import array, same_quantization
from tinymaix.ops.emit import Kernel, LayerCode
from tinymaix.ops.move import Move, input_shape
from tinymaix.ops.strides import ROW_OFFSET, Walk, broadcast_steps


@dataclass(frozen=True)
class SelectV2(Move):
    """Inputs: condition (bool), a, b, broadcast as numpy does it."""

    kind: ClassVar[str] = "SELECT_V2"
    tflite: ClassVar[tuple[int, int]] = (123, 98)

    def moved(self, node: Node) -> Sequence[Tensor]:
        return [node.input(1), node.input(2)]

    def infer(self, inputs: Sequence[Tensor | None]) -> list[Shape]:
        shapes = [self._condition(inputs), input_shape(inputs, 1), input_shape(inputs, 2)]
        try:
            return [np.broadcast_shapes(*shapes)]
        except ValueError:
            raise ModelError(f"{', '.join(str(list(s)) for s in shapes)} do not broadcast to one shape") from None

    def _condition(self, inputs: Sequence[Tensor | None]) -> Shape:
        """The condition's shape as it is broadcast."""
        return input_shape(inputs)

    def problems(self, node: Node) -> list[str]:
        if node.input(0).dtype != np.bool_:
            return [f"the condition '{node.input(0).name}' is {node.input(0).dtype}; it must be bool"]
        return super().problems(node) or same_quantization(node)

    def reference(self, node: Node, inputs: Sequence[Array | None]) -> list[Array]:
        condition = array(inputs[0]).reshape(self._condition(node.inputs))
        return [np.where(condition, array(inputs[1]), array(inputs[2]))]

    def emit(self, node: Node, code: LayerCode) -> None:
        shape = node.output.shape
        sources = (self._condition(node.inputs), node.input(1).shape, node.input(2).shape)
        steps = [broadcast_steps(s, len(shape)) for s in sources]
        walk = Walk.over(list(zip(shape, zip(*steps, strict=True), strict=True)))
        code.call(
            SELECT,
            condition=code.input(0), a=code.input(1), b=code.input(2), y=code.output(),
            sizes=walk.sizes(code, "sizes"), steps_c=walk.steps(code, "steps_c", 0),
            steps_a=walk.steps(code, "steps_a", 1), steps_b=walk.steps(code, "steps_b", 2), rank=len(walk.outer),
            rows=walk.rows, count=walk.inner[0], step_c=walk.inner[1][0], step_a=walk.inner[1][1],
            step_b=walk.inner[1][2], bytes=node.output.dtype.itemsize,
        )  # fmt: skip


@dataclass(frozen=True)
class Select(SelectV2):
    """A condition of one axis speaks for whole slices of a and b."""

    kind: ClassVar[str] = "SELECT"
    tflite: ClassVar[tuple[int, int]] = (64, 47)

    def _condition(self, inputs: Sequence[Tensor | None]) -> Shape:
        condition, a = input_shape(inputs), input_shape(inputs, 1)
        slices = len(condition) == 1 < len(a) and condition[0] == a[0]
        return (*condition, *[1] * (len(a) - 1)) if slices else condition

    def infer(self, inputs: Sequence[Tensor | None]) -> list[Shape]:
        if input_shape(inputs, 1) != input_shape(inputs, 2):
            raise ModelError(f"{input_shape(inputs, 1)} and {input_shape(inputs, 2)} must be one shape")
        return super().infer(inputs)


SELECT = Kernel(
    "select_elements",
    """\
/* y = condition ? a : b. Rows of `count` elements of `bytes`; steps are 0 where an operand is broadcast. */
static void select_elements(const uint8_t *condition, const void *a, const void *b, void *y, const int32_t *sizes,
                            const int32_t *steps_c, const int32_t *steps_a, const int32_t *steps_b, int rank, int rows,
                            int count, int step_c, int step_a, int step_b, int bytes)
{
    int8_t *target = (int8_t *)y;
    for (int row = 0; row < rows; row++) {
        const uint8_t *c = condition + row_offset(sizes, steps_c, rank, row);
        const int8_t *first = (const int8_t *)a + row_offset(sizes, steps_a, rank, row) * bytes;
        const int8_t *second = (const int8_t *)b + row_offset(sizes, steps_b, rank, row) * bytes;
        for (int i = 0; i < count; i++, target += bytes)
            memcpy(target, c[i * step_c] ? first + i * step_a * bytes : second + i * step_b * bytes, (size_t)bytes);
    }
}
""",
    (ROW_OFFSET,),
)
