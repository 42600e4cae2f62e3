"""What operators of two inputs share: numpy broadcasting at any rank, fused activations, and the loops in C."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

import numpy as np

from tinymaix.graph import Array, ModelError, Node, Shape, Tensor
from tinymaix.ops.base import Operator, OptionFields, Options, array
from tinymaix.ops.conv_2d import fused_activation
from tinymaix.ops.emit import Argument, Kernel, LayerCode
from tinymaix.ops.fixed_point import ACTIVATIONS, float_range, integer_range, quantized_range, saturate
from tinymaix.ops.strides import ROW_OFFSET, Walk, broadcast_steps

Self = TypeVar("Self", bound="Arithmetic")


class Binary(Operator):
    """y = f(a, b), broadcast as numpy does; either input may be a constant."""

    types: ClassVar[tuple[str, ...]] = ("int8", "float32", "int32")

    def values(self, node: Node, a: Array, b: Array) -> Array:
        """Raw outputs of raw inputs that broadcast."""
        raise NotImplementedError

    def kernel(self, dtype: str) -> Kernel:
        """The C kernel for a type, made by `binary_kernel`."""
        raise NotImplementedError

    def parameters(self, node: Node) -> dict[str, Argument]:
        """What the C kernel takes beside the operands and the walk over them."""
        return {}

    def infer(self, inputs: Sequence[Tensor | None]) -> list[Shape]:
        if len(inputs) != 2 or inputs[0] is None or inputs[1] is None:
            raise ModelError(f"{self.kind} takes two inputs")
        a, b = inputs[0], inputs[1]
        try:
            return [np.broadcast_shapes(a.shape, b.shape)]
        except ValueError:
            raise ModelError(
                f"'{a.name}' {list(a.shape)} and '{b.name}' {list(b.shape)} do not broadcast to one shape"
            ) from None

    def problems(self, node: Node) -> list[str]:
        dtype = node.output.dtype
        return super().problems(node) or [
            f"constant '{t.name}' is {t.dtype}{' without one scale and zero point' if t.dtype == dtype else ''}; "
            f"{self.kind} needs a constant that is quantized as its other input"
            for t in node.present
            if t.dtype != dtype
            or (dtype.name in ("int8", "int16") and (t.quantization is None or t.quantization.per_channel))
        ]

    def reference(self, node: Node, inputs: Sequence[Array | None]) -> list[Array]:
        return [self.values(node, array(inputs[0]), array(inputs[1]))]

    def overwrites(self, node: Node) -> list[int]:
        return [i for i, t in enumerate(node.present) if not t.is_constant and t.elements == node.output.elements]

    def emit(self, node: Node, code: LayerCode) -> None:
        rank = len(node.output.shape)
        steps = [broadcast_steps(t.shape, rank) for t in node.present]
        walk = Walk.over(list(zip(node.output.shape, zip(*steps, strict=True), strict=True)))
        code.call(
            self.kernel(node.input(0).dtype.name),
            a=code.input(0),
            b=code.input(1),
            y=code.output(),
            sizes=walk.sizes(code, "sizes"),
            steps_a=walk.steps(code, "steps_a", 0),
            steps_b=walk.steps(code, "steps_b", 1),
            rank=len(walk.outer),
            rows=walk.rows,
            count=walk.inner[0],
            step_a=walk.inner[1][0],
            step_b=walk.inner[1][1],
            **self.parameters(node),
        )


@dataclass(frozen=True)
class Arithmetic(Binary):
    """A `Binary` with a fused activation."""

    activation: str = "none"

    @classmethod
    def from_tflite(
        cls: type[Self], options: Options, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor]
    ) -> Self:
        return cls(fused_activation(options.i8(0)))

    def to_tflite(self, node: Node) -> tuple[OptionFields, list[Tensor | None]]:
        return {0: ("i8", ACTIVATIONS.index(self.activation))}, list(node.inputs)

    def clamp(self, node: Node) -> dict[str, Argument]:
        """The bounds of the fused activation as arguments of a kernel."""
        low, high = self._bounds(node.output)
        return {"low": low, "high": high}

    def _bounds(self, output: Tensor) -> tuple[Any, Any]:
        if output.dtype == np.float32:
            return float_range(self.activation)
        if output.dtype == np.int32:
            return integer_range(self.activation)
        return quantized_range(self.activation, output)

    def activate(self, node: Node, values: Array) -> Array:
        """Values, wider than the output or not, -> the output's type within the bounds."""
        low, high = self._bounds(node.output)
        if node.output.dtype == np.float32:
            return np.clip(values, np.float32(low), np.float32(high))
        return saturate(values, node.output.dtype, low, high)


CLAMP_PARAMETERS = {"float32": ", float low, float high", "int32": ", int32_t low, int32_t high"}
"""The parameters of `Arithmetic.clamp` in a prototype, by type."""


def binary_kernel(
    name: str, c_type: str, comment: str, parameters: str, body: str, *needs: Kernel, y_type: str = ""
) -> Kernel:
    """A C kernel that runs ``body`` for each element: it sets ``*y`` from ``*a`` and ``*b``.

    ``y_type`` is the output's C type where it is not that of the inputs.
    """
    return Kernel(
        name,
        f"""\
/* {comment} Rows of `count` elements; `step` is 0 where an operand is broadcast along a row, and the rows start where
 * `rank` outer axes lead. */
static void {name}(const {c_type} *a, const {c_type} *b, {y_type or c_type} *y,
    const int32_t *sizes, const int32_t *steps_a, const int32_t *steps_b, int rank, int rows, int count,
    int step_a, int step_b{parameters})
{{
    const {c_type} *start_a = a, *start_b = b;
    for (int row = 0; row < rows; row++) {{
        a = start_a + row_offset(sizes, steps_a, rank, row);
        b = start_b + row_offset(sizes, steps_b, rank, row);
        for (int i = 0; i < count; i++, a += step_a, b += step_b, y++) {{
{body}\
        }}
    }}
}}
""",
        (ROW_OFFSET, *needs),
    )
