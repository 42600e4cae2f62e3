"""DIV and POW of floats."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinymaix.graph import Array, Node
from tinymaix.ops.elementwise import CLAMP_PARAMETERS, Arithmetic, Binary, binary_kernel
from tinymaix.ops.emit import Argument, Kernel
from tinymaix.ops.fixed_point import CLAMP_F32
from tinymaix.ops.float_functions import POW_F32


@dataclass(frozen=True)
class Div(Arithmetic):
    """y = activation(a / b)."""

    kind: ClassVar[str] = "DIV"
    tflite: ClassVar[tuple[int, int]] = (42, 29)
    types: ClassVar[tuple[str, ...]] = ("float32",)

    def values(self, node: Node, a: Array, b: Array) -> Array:
        with np.errstate(all="ignore"):
            return self.activate(node, a / b)

    def parameters(self, node: Node) -> dict[str, Argument]:
        return self.clamp(node)

    def kernel(self, dtype: str) -> Kernel:
        return DIV_F32


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
