"""AVERAGE_POOL_2D: the mean of each window without its padding, rounded half away from zero in int8."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinymaix.graph import Array, Node
from tinymaix.ops.emit import C_TYPES, Kernel
from tinymaix.ops.fixed_point import CLAMP, CLAMP_F32
from tinymaix.ops.mean import Mean
from tinymaix.ops.pooling import Pool2D, pool_kernel
from tinymaix.ops.tmdl import ModelType, activation_problems


@dataclass(frozen=True)
class AveragePool2D(Pool2D):
    """Input: x NHWC; its quantization is the output's."""

    kind: ClassVar[str] = "AVERAGE_POOL_2D"
    tflite: ClassVar[tuple[int, int]] = (1, 5)
    tmdl = Mean.tmdl
    types: ClassVar[tuple[str, ...]] = ("int8", "uint8", "int16", "float32")

    def tmdl_problems(self, node: Node, model: ModelType) -> list[str]:
        shape = node.input(0).shape
        problems = activation_problems(node, self.activation)
        if self.pool != shape[1:3] or any(self.padding):
            problems.append(f"a window of {self.pool} on {list(shape)} is not global, and a .tmdl has no other pooling")
        if model.is_integer and self.pool != (1, 1):
            problems.append(
                "int8 AVERAGE_POOL_2D does not round as the global average pool of a .tmdl does, which is MEAN; "
                "build the model with GlobalAveragePooling2D"
            )
        return problems

    def values(self, node: Node, x: Array) -> Array:
        # Both sums run in the kernel's order, since float32 sums depend on it.
        sums = np.float32 if x.dtype == np.float32 else np.int64
        total: Array = sum(self.taps(node, x.astype(sums), 0), start=np.zeros(node.output.shape, sums))
        count: Array = sum(self.taps(node, np.ones((1, *x.shape[1:3], 1), sums), 0), start=np.zeros(1, sums))
        if x.dtype != np.float32:
            return np.asarray(np.sign(total) * ((np.abs(total) + count // 2) // count))
        return np.asarray(total / count)

    def kernel(self, dtype: str) -> Kernel:
        return KERNELS[dtype]


def _integers(name: str, dtype: str) -> Kernel:
    return pool_kernel(
        name,
        C_TYPES[dtype],
        "int32_t",
        f"Mean of each window, {dtype}, rounded half away from zero.",
        "0",
        "result += value;",
        f"""\
                    int32_t count = (int32_t)(bottom - top) * (right - left), half = count / 2;
                    *y++ = ({C_TYPES[dtype]})clamp((result > 0 ? result + half : result - half) / count, low, high);
""",
        CLAMP,
    )


KERNELS = {
    "int8": _integers("average_pool_2d_s8", "int8"),
    "int16": _integers("average_pool_2d_s16", "int16"),
    "uint8": _integers("average_pool_2d_u8", "uint8"),
    "float32": pool_kernel(
        "average_pool_2d_f32",
        "float",
        "float",
        "Mean of each window, float.",
        "0.0f",
        "result += value;",
        """\
                    *y++ = clamp_f32(result / (float)((int32_t)(bottom - top) * (right - left)), low, high);
""",
        CLAMP_F32,
    ),
}
