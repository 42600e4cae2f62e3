"""MAX_POOL_2D: the largest value of each window."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinymaix.graph import Array, Node
from tinymaix.ops.emit import Kernel
from tinymaix.ops.fixed_point import CLAMP, CLAMP_F32, FLOAT32_MAX
from tinymaix.ops.pooling import Pool2D, pool_kernel


@dataclass(frozen=True)
class MaxPool2D(Pool2D):
    """Input: x NHWC; its quantization is the output's."""

    kind: ClassVar[str] = "MAX_POOL_2D"
    tflite: ClassVar[tuple[int, int]] = (17, 5)

    def values(self, node: Node, x: Array) -> Array:
        lowest = -128 if x.dtype == np.int8 else -FLOAT32_MAX
        largest = np.full(node.output.shape, lowest, x.dtype)
        for value in self.taps(node, x, lowest):
            largest = np.where(value > largest, value, largest)
        return largest

    def kernel(self, dtype: str) -> Kernel:
        return KERNELS[dtype]


STEP = """if (value > result)
                                result = value;"""

KERNELS = {
    "int8": pool_kernel(
        "max_pool_2d_s8",
        "int8_t",
        "int32_t",
        "Largest value of each window, int8.",
        "-128",
        STEP,
        """\
                    *y++ = (int8_t)clamp(result, low, high);
""",
        CLAMP,
    ),
    "float32": pool_kernel(
        "max_pool_2d_f32",
        "float",
        "float",
        "Largest value of each window, float.",
        "-3.4028235e38f",
        STEP,
        """\
                    *y++ = clamp_f32(result, low, high);
""",
        CLAMP_F32,
    ),
}
