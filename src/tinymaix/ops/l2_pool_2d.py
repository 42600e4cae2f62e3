"""L2_POOL_2D: the square root of the mean of squares of each window, without its padding; float32."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinymaix.graph import Array, Node
from tinymaix.ops.emit import Kernel
from tinymaix.ops.fixed_point import CLAMP_F32
from tinymaix.ops.float_functions import SQRT_F32
from tinymaix.ops.pooling import Pool2D, pool_kernel


@dataclass(frozen=True)
class L2Pool2D(Pool2D):
    """Input: x NHWC."""

    kind: ClassVar[str] = "L2_POOL_2D"
    tflite: ClassVar[tuple[int, int]] = (12, 5)
    types: ClassVar[tuple[str, ...]] = ("float32",)

    def values(self, node: Node, x: Array) -> Array:
        zeros = np.zeros(node.output.shape, np.float32)
        total: Array = sum((tap * tap for tap in self.taps(node, x, 0)), start=zeros)
        count: Array = sum(
            self.taps(node, np.ones((1, *x.shape[1:3], 1), np.float32), 0), start=np.zeros(1, np.float32)
        )
        return np.sqrt(total / count)

    def kernel(self, dtype: str) -> Kernel:
        return L2_POOL_2D_F32


L2_POOL_2D_F32 = pool_kernel(
    "l2_pool_2d_f32",
    "float",
    "float",
    "Square root of the mean of squares of each window, float.",
    "0.0f",
    "result += value * value;",
    """\
                    float mean = result / (float)((int32_t)(bottom - top) * (right - left));
                    *y++ = clamp_f32(sqrt_f32(mean), low, high);
""",
    CLAMP_F32,
    SQRT_F32,
)
