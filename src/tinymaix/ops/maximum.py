"""MAXIMUM and what it shares with MINIMUM: raw values are compared, so quantized tensors must have one quantization."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinymaix.graph import Array, Node
from tinymaix.ops.base import same_quantization
from tinymaix.ops.elementwise import Binary, binary_kernel
from tinymaix.ops.emit import C_TYPES, Kernel


@dataclass(frozen=True)
class Maximum(Binary):
    """y = a > b ? a : b."""

    kind: ClassVar[str] = "MAXIMUM"
    tflite: ClassVar[tuple[int, int]] = (55, 39)
    types: ClassVar[tuple[str, ...]] = ("int8", "int16", "float32", "int32")

    def problems(self, node: Node) -> list[str]:
        return super().problems(node) or same_quantization(node)

    def values(self, node: Node, a: Array, b: Array) -> Array:
        return np.where(a > b, a, b)

    def kernel(self, dtype: str) -> Kernel:
        return KERNELS[dtype]


def extremum_kernels(name: str, comparison: str) -> dict[str, Kernel]:
    """The kernels that keep ``a`` where ``a comparison b`` holds, by type."""
    return {
        dtype: binary_kernel(
            f"{name}_{suffix}",
            C_TYPES[dtype],
            f"y = a {comparison} b ? a : b, {dtype}.",
            "",
            f"""\
            *y = *a {comparison} *b ? *a : *b;
""",
        )
        for dtype, suffix in (("int8", "s8"), ("int16", "s16"), ("float32", "f32"), ("int32", "s32"))
    }


KERNELS = extremum_kernels("maximum", ">")
