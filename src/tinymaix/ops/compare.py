"""EQUAL, NOT_EQUAL, LESS, LESS_EQUAL, GREATER, GREATER_EQUAL, LOGICAL_AND, LOGICAL_OR, LOGICAL_NOT: bool outputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from tinymaix.graph import Array, Node, Shape, Tensor
from tinymaix.ops.base import Operator, array
from tinymaix.ops.elementwise import Binary, binary_kernel
from tinymaix.ops.emit import C_TYPES, Kernel, LayerCode
from tinymaix.ops.move import input_shape

NUMBERS = ("int8", "int32", "int64", "float32")


class _Truth(Binary):
    """y = whether something holds of a and b, which have one type and, where quantized, one scale and zero point."""

    function: ClassVar[Any]
    """The numpy function of two arrays."""

    kernels: ClassVar[dict[str, Kernel]]

    def problems(self, node: Node) -> list[str]:
        a, b, y = node.input(0), node.input(1), node.output
        if a.dtype != b.dtype or a.dtype.name not in self.types or y.dtype != np.bool_:
            return [
                f"'{a.name}' is {a.dtype}, '{b.name}' is {b.dtype} and '{y.name}' is {y.dtype}; two of "
                f"{' or '.join(self.types)} give a bool"
            ]
        if a.dtype == np.int8 and (a.q.s, a.q.z) != (b.q.s, b.q.z):
            return [f"'{a.name}' and '{b.name}' have different scales or zero points; quantize both to one of them"]
        return []

    def values(self, node: Node, a: Array, b: Array) -> Array:
        return np.asarray(type(self).function(a, b))

    def kernel(self, dtype: str) -> Kernel:
        return self.kernels[dtype]


def _kernels(name: str, sign: str, types: Sequence[str]) -> dict[str, Kernel]:
    return {
        dtype: binary_kernel(
            f"{name}_{dtype}",
            C_TYPES[dtype],
            f"y = a {sign} b, {dtype}.",
            "",
            f"""\
            *y = *a {sign} *b;
""",
            y_type="uint8_t",
        )
        for dtype in types
    }


@dataclass(frozen=True)
class Equal(_Truth):
    kind: ClassVar[str] = "EQUAL"
    tflite: ClassVar[tuple[int, int]] = (71, 53)
    types: ClassVar[tuple[str, ...]] = (*NUMBERS, "bool")
    function = np.equal
    kernels = _kernels("equal", "==", types)


@dataclass(frozen=True)
class NotEqual(_Truth):
    kind: ClassVar[str] = "NOT_EQUAL"
    tflite: ClassVar[tuple[int, int]] = (72, 54)
    types: ClassVar[tuple[str, ...]] = (*NUMBERS, "bool")
    function = np.not_equal
    kernels = _kernels("not_equal", "!=", types)


@dataclass(frozen=True)
class Less(_Truth):
    kind: ClassVar[str] = "LESS"
    tflite: ClassVar[tuple[int, int]] = (58, 41)
    types: ClassVar[tuple[str, ...]] = NUMBERS
    function = np.less
    kernels = _kernels("less", "<", types)


@dataclass(frozen=True)
class LessEqual(_Truth):
    kind: ClassVar[str] = "LESS_EQUAL"
    tflite: ClassVar[tuple[int, int]] = (63, 46)
    types: ClassVar[tuple[str, ...]] = NUMBERS
    function = np.less_equal
    kernels = _kernels("less_equal", "<=", types)


@dataclass(frozen=True)
class Greater(_Truth):
    kind: ClassVar[str] = "GREATER"
    tflite: ClassVar[tuple[int, int]] = (61, 44)
    types: ClassVar[tuple[str, ...]] = NUMBERS
    function = np.greater
    kernels = _kernels("greater", ">", types)


@dataclass(frozen=True)
class GreaterEqual(_Truth):
    kind: ClassVar[str] = "GREATER_EQUAL"
    tflite: ClassVar[tuple[int, int]] = (62, 45)
    types: ClassVar[tuple[str, ...]] = NUMBERS
    function = np.greater_equal
    kernels = _kernels("greater_equal", ">=", types)


@dataclass(frozen=True)
class LogicalAnd(_Truth):
    kind: ClassVar[str] = "LOGICAL_AND"
    tflite: ClassVar[tuple[int, int]] = (86, 62)
    types: ClassVar[tuple[str, ...]] = ("bool",)
    function = np.logical_and
    kernels = _kernels("logical_and", "&", types)


@dataclass(frozen=True)
class LogicalOr(_Truth):
    kind: ClassVar[str] = "LOGICAL_OR"
    tflite: ClassVar[tuple[int, int]] = (84, 60)
    types: ClassVar[tuple[str, ...]] = ("bool",)
    function = np.logical_or
    kernels = _kernels("logical_or", "|", types)


@dataclass(frozen=True)
class LogicalNot(Operator):
    kind: ClassVar[str] = "LOGICAL_NOT"
    tflite: ClassVar[tuple[int, int]] = (87, 63)
    types: ClassVar[tuple[str, ...]] = ("bool",)

    def infer(self, inputs: Sequence[Tensor | None]) -> list[Shape]:
        return [input_shape(inputs)]

    def reference(self, node: Node, inputs: Sequence[Array | None]) -> list[Array]:
        return [np.logical_not(array(inputs[0]))]

    def overwrites(self, node: Node) -> list[int]:
        return [0]

    def emit(self, node: Node, code: LayerCode) -> None:
        code.call(LOGICAL_NOT, x=code.input(0), y=code.output(), n=node.output.elements)


LOGICAL_NOT = Kernel(
    "logical_not",
    """\
static void logical_not(const uint8_t *x, uint8_t *y, int n)
{
    for (int i = 0; i < n; i++)
        y[i] = !x[i];
}
""",
)
