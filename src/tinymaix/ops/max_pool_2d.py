"""MAX_POOL_2D: the largest value of each window."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinymaix.graph import Array, Node
from tinymaix.ops.emit import C_TYPES, Kernel
from tinymaix.ops.fixed_point import CLAMP, CLAMP_F32, FLOAT32_MAX
from tinymaix.ops.pooling import Pool2D, pool_kernel


@dataclass(frozen=True)
class MaxPool2D(Pool2D):
    """Input: x NHWC; its quantization is the output's."""

    kind: ClassVar[str] = "MAX_POOL_2D"
    tflite: ClassVar[tuple[int, int]] = (17, 5)

    def values(self, node: Node, x: Array) -> Array:
        lowest = -FLOAT32_MAX if x.dtype == np.float32 else int(np.iinfo(x.dtype).min)
        largest = np.full(node.output.shape, lowest, x.dtype)
        for value in self.taps(node, x, lowest):
            largest = np.where(value > largest, value, largest)
        return largest

    def kernel(self, dtype: str) -> Kernel:
        return KERNELS[dtype]


STEP = """if (value > result)
                                result = value;"""


def _integers(name: str, dtype: str) -> Kernel:
    return pool_kernel(
        name,
        C_TYPES[dtype],
        "int32_t",
        f"Largest value of each window, {dtype}.",
        str(np.iinfo(dtype).min),
        STEP,
        f"""\
                    *y++ = ({C_TYPES[dtype]})clamp(result, low, high);
""",
        CLAMP,
    )


KERNELS = {
    "int8": _integers("max_pool_2d_s8", "int8"),
    "int16": _integers("max_pool_2d_s16", "int16"),
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
