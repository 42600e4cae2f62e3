"""MINIMUM: raw values are compared, so int8 tensors must have one quantization."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinymaix.graph import Array, Node
from tinymaix.ops.base import same_quantization
from tinymaix.ops.elementwise import Binary
from tinymaix.ops.emit import Kernel
from tinymaix.ops.maximum import extremum_kernels


@dataclass(frozen=True)
class Minimum(Binary):
    """y = a < b ? a : b."""

    kind: ClassVar[str] = "MINIMUM"
    tflite: ClassVar[tuple[int, int]] = (57, 39)
    types: ClassVar[tuple[str, ...]] = ("int8", "int16", "float32", "int32")

    def problems(self, node: Node) -> list[str]:
        return super().problems(node) or same_quantization(node)

    def values(self, node: Node, a: Array, b: Array) -> Array:
        return np.where(a < b, a, b)

    def kernel(self, dtype: str) -> Kernel:
        return KERNELS[dtype]


KERNELS = extremum_kernels("minimum", "<")
