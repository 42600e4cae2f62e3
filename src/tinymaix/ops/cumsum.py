"""CUMSUM along an axis and ADD_N: sums of floats or of int32, which wrap."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinymaix.graph import Array, ModelError, Node, Shape, Tensor
from tinymaix.ops.base import Operator, OptionFields, Options, array, int_tensor, positive_axis
from tinymaix.ops.emit import C_TYPES, Kernel, LayerCode
from tinymaix.ops.expand_dims import single_axis
from tinymaix.ops.move import elements, input_shape


@dataclass(frozen=True)
class Cumsum(Operator):
    """y[i] is the sum of x[0] to x[i]; without x[i] where ``exclusive``, from the end where ``reverse``."""

    axis: int
    exclusive: bool = False
    reverse: bool = False

    kind: ClassVar[str] = "CUMSUM"
    tflite: ClassVar[tuple[int, int]] = (128, 102)
    types: ClassVar[tuple[str, ...]] = ("float32", "int32")

    @classmethod
    def from_tflite(cls, options: Options, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor]) -> Cumsum:
        return cls(single_axis(inputs, 1), options.flag(0), options.flag(1))

    @classmethod
    def tflite_inputs(cls, inputs: Sequence[Tensor | None]) -> Sequence[Tensor | None]:
        return inputs[:1]

    def to_tflite(self, node: Node) -> tuple[OptionFields, list[Tensor | None]]:
        fields: OptionFields = {0: ("flag", self.exclusive), 1: ("flag", self.reverse)}
        return fields, [node.input(0), int_tensor("axis", self.axis)]

    def infer(self, inputs: Sequence[Tensor | None]) -> list[Shape]:
        positive_axis(self.axis, len(input_shape(inputs)))
        return [input_shape(inputs)]

    def reference(self, node: Node, inputs: Sequence[Array | None]) -> list[Array]:
        x = array(inputs[0])
        axis = positive_axis(self.axis, x.ndim)
        x = np.flip(x, axis) if self.reverse else x
        sums = np.add.accumulate(x, axis=axis, dtype=x.dtype)
        if self.exclusive and x.shape[axis]:
            first = np.zeros_like(np.take(sums, [0], axis))
            sums = np.concatenate([first, np.take(sums, range(x.shape[axis] - 1), axis)], axis)
        return [np.flip(sums, axis) if self.reverse else sums]

    def emit(self, node: Node, code: LayerCode) -> None:
        shape = node.output.shape
        axis = positive_axis(self.axis, len(shape))
        code.call(
            CUMSUM[node.output.dtype.name],
            x=code.input(0),
            y=code.output(),
            outer=elements(shape[:axis]),
            size=shape[axis],
            inner=elements(shape[axis + 1 :]),
            exclusive=int(self.exclusive),
            reverse=int(self.reverse),
        )


@dataclass(frozen=True)
class AddN(Operator):
    """The sum of one or more inputs of one shape, in their order."""

    kind: ClassVar[str] = "ADD_N"
    tflite: ClassVar[tuple[int, int]] = (106, 82)
    types: ClassVar[tuple[str, ...]] = ("float32", "int32")

    def infer(self, inputs: Sequence[Tensor | None]) -> list[Shape]:
        shapes = {input_shape(inputs, i) for i in range(len(inputs))}
        if len(shapes) != 1:
            raise ModelError(f"its inputs have shapes {sorted(shapes)}; they must be one")
        return list(shapes)

    def problems(self, node: Node) -> list[str]:
        wrong = [t for t in node.present if t.dtype != node.output.dtype]
        return super().problems(node) or [f"'{t.name}' is {t.dtype}, not {node.output.dtype}" for t in wrong]

    def reference(self, node: Node, inputs: Sequence[Array | None]) -> list[Array]:
        total = array(inputs[0]).copy()
        for x in inputs[1:]:
            total += array(x)
        return [total]

    def emit(self, node: Node, code: LayerCode) -> None:
        kernel, n = ADD_TO[node.output.dtype.name], node.output.elements
        for i in range(len(node.inputs)):
            code.call(kernel, x=code.input(i), y=code.output(), n=n, first=int(i == 0))


def _cumsum(dtype: str, plus: str) -> Kernel:
    name, kind = f"cumsum_{dtype}", C_TYPES[dtype]
    return Kernel(
        name,
        f"""\
/* Running sums along the middle axis of x[outer][size][inner] */
static void {name}(const {kind} *x, {kind} *y, int outer, int size, int inner, int exclusive, int reverse)
{{
    int step = reverse ? -inner : inner;
    for (int o = 0; o < outer; o++)
        for (int i = 0; i < inner; i++) {{
            int at = o * size * inner + i + (reverse ? (size - 1) * inner : 0);
            {kind} sum = 0;
            for (int k = 0; k < size; k++, at += step) {{
                {kind} before = sum;
                sum = {plus.format(a="sum", b="x[at]")};
                y[at] = exclusive ? before : sum;
            }}
        }}
}}
""",
    )


def _add_to(dtype: str, plus: str) -> Kernel:
    name, kind = f"add_to_{dtype}", C_TYPES[dtype]
    return Kernel(
        name,
        f"""\
static void {name}(const {kind} *x, {kind} *y, int n, int first)
{{
    for (int i = 0; i < n; i++)
        y[i] = first ? x[i] : {plus.format(a="y[i]", b="x[i]")};
}}
""",
    )


_PLUS = {"float32": "{a} + {b}", "int32": "(int32_t)((uint32_t){a} + (uint32_t){b})"}
CUMSUM = {dtype: _cumsum(dtype, plus) for dtype, plus in _PLUS.items()}
ADD_TO = {dtype: _add_to(dtype, plus) for dtype, plus in _PLUS.items()}
