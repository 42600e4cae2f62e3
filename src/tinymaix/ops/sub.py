"""SUB: int8 or int16 with a scale for each tensor, float32 or int32 (wrapping), with a fused activation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinymaix.graph import Array, Node
from tinymaix.ops.elementwise import CLAMP_PARAMETERS, Arithmetic, binary_kernel
from tinymaix.ops.emit import Argument, Kernel
from tinymaix.ops.fixed_point import CLAMP, CLAMP_F32, wrap32
from tinymaix.ops.sums import LEFT_SHIFT, common_scale, rescaled_sum, sum_kernel, sum_scales


@dataclass(frozen=True)
class Sub(Arithmetic):
    """y = activation(a - b)."""

    kind: ClassVar[str] = "SUB"
    tflite: ClassVar[tuple[int, int]] = (41, 28)
    types: ClassVar[tuple[str, ...]] = ("int8", "int16", "float32", "int32")

    def values(self, node: Node, a: Array, b: Array) -> Array:
        if node.output.dtype.name in LEFT_SHIFT:
            a, b = common_scale(node, a, b)
            return self.activate(node, rescaled_sum(node, a - b))
        if node.output.dtype == np.int32:
            return self.activate(node, wrap32(a.astype(np.int64) - b))
        return self.activate(node, a - b)

    def parameters(self, node: Node) -> dict[str, Argument]:
        return {**sum_scales(node), **self.clamp(node)}

    def kernel(self, dtype: str) -> Kernel:
        return KERNELS[dtype]


KERNELS = {
    "int8": sum_kernel("sub_s8", "-", "int8"),
    "int16": sum_kernel("sub_s16", "-", "int16"),
    "float32": binary_kernel(
        "sub_f32",
        "float",
        "y = a - b, float.",
        CLAMP_PARAMETERS["float32"],
        """\
            *y = clamp_f32(*a - *b, low, high);
""",
        CLAMP_F32,
    ),
    "int32": binary_kernel(
        "sub_s32",
        "int32_t",
        "y = a - b, wrapping int32.",
        CLAMP_PARAMETERS["int32"],
        """\
            *y = clamp((int32_t)((uint32_t)*a - (uint32_t)*b), low, high);
""",
        CLAMP,
    ),
}
