"""DIV of floats, or of int32 by constants, and POW of floats."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinymaix.graph import Array, Node
from tinymaix.ops.elementwise import CLAMP_PARAMETERS, Arithmetic, Binary, binary_kernel
from tinymaix.ops.emit import Argument, Kernel
from tinymaix.ops.fixed_point import CLAMP, CLAMP_F32
from tinymaix.ops.float_functions import POW_F32


@dataclass(frozen=True)
class Div(Arithmetic):
    """y = activation(a / b); quotients of int32 are cut to whole numbers."""

    kind: ClassVar[str] = "DIV"
    tflite: ClassVar[tuple[int, int]] = (42, 29)
    types: ClassVar[tuple[str, ...]] = ("float32", "int32")

    def problems(self, node: Node) -> list[str]:
        b = node.input(1)
        if node.output.dtype == np.int32 and (b.data is None or not (b.data > 0).all()):
            return [f"'{b.name}' must be a constant above 0 where int32 is divided by it"]
        return super().problems(node)

    def values(self, node: Node, a: Array, b: Array) -> Array:
        if node.output.dtype == np.int32:
            quotient = np.abs(a.astype(np.int64)) // b
            return self.activate(node, np.where(a < 0, -quotient, quotient))
        with np.errstate(all="ignore"):
            return self.activate(node, a / b)

    def parameters(self, node: Node) -> dict[str, Argument]:
        return self.clamp(node)

    def kernel(self, dtype: str) -> Kernel:
        return DIV_S32 if dtype == "int32" else DIV_F32


@dataclass(frozen=True)
class Pow(Binary):
    """y = a ** b; not a number where a is negative and b not whole."""

    kind: ClassVar[str] = "POW"
    tflite: ClassVar[tuple[int, int]] = (78, 56)
    types: ClassVar[tuple[str, ...]] = ("float32",)

    def values(self, node: Node, a: Array, b: Array) -> Array:
        with np.errstate(all="ignore"):
            return np.power(a, b)

    def kernel(self, dtype: str) -> Kernel:
        return POW_ALL_F32


DIV_F32 = binary_kernel(
    "div_f32",
    "float",
    "y = a / b, float.",
    CLAMP_PARAMETERS["float32"],
    """\
            *y = clamp_f32(*a / *b, low, high);
""",
    CLAMP_F32,
)

DIV_S32 = binary_kernel(
    "div_s32",
    "int32_t",
    "y = a / b, int32.",
    CLAMP_PARAMETERS["int32"],
    """\
            *y = clamp(*a / *b, low, high);
""",
    CLAMP,
)

POW_ALL_F32 = binary_kernel(
    "pow_all_f32",
    "float",
    "y = a ** b, float.",
    "",
    """\
            *y = pow_f32(*a, *b);
""",
    POW_F32,
)
