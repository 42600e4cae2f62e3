"""LAYER_NORM: (x - mean) / sqrt(variance + epsilon) over the last axes, times gamma, plus beta; float32.

Ba et al. 2016 (arXiv 1607.06450). The variance is the mean of squared distances from the mean: unlike the mean of
squares less the squared mean, it loses no digits where the mean is large.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinymaix.graph import Array, ModelError, Node, Shape, Tensor
from tinymaix.ops.base import Operator, array
from tinymaix.ops.emit import Argument, Kernel, LayerCode
from tinymaix.ops.float_functions import SQRT_F32
from tinymaix.ops.move import input_shape

PARAMETERS = ("gamma", "beta")


@dataclass(frozen=True)
class LayerNorm(Operator):
    """Inputs: x, and optionally gamma and beta, constants of the shape of x's ``last`` axes."""

    last: int = 1
    epsilon: float = 1e-5

    kind: ClassVar[str] = "LAYER_NORM"
    types: ClassVar[tuple[str, ...]] = ("float32",)

    def infer(self, inputs: Sequence[Tensor | None]) -> list[Shape]:
        shape = input_shape(inputs)
        if not 1 <= self.last <= len(shape):
            raise ModelError(f"it normalizes the last {self.last} axes of {list(shape)}; there are {len(shape)}")
        for name, t in zip(PARAMETERS, inputs[1:], strict=False):
            if t is not None and t.shape != shape[-self.last :]:
                wanted = list(shape[-self.last :])
                raise ModelError(f"{name} '{t.name}' has the shape {list(t.shape)}; its last axes are {wanted}")
        return [shape]

    def problems(self, node: Node) -> list[str]:
        if found := super().problems(node):
            return found
        if not 0 <= self.epsilon < math.inf:
            return [f"its epsilon is {self.epsilon}; it must be 0 or a positive number"]
        if math.prod(node.input(0).shape) == 0:
            return [f"'{node.input(0).name}' {list(node.input(0).shape)} has nothing to normalize"]
        return [
            f"'{t.name}' must be a float32 constant, not {t.dtype}{'' if t.is_constant else ' computed at run time'}"
            for t in node.inputs[1:]
            if t is not None and (t.dtype != np.float32 or not t.is_constant)
        ]

    def reference(self, node: Node, inputs: Sequence[Array | None]) -> list[Array]:
        x = array(inputs[0])
        depth = np.float32(self._depth(node))
        rows = x.reshape(-1, self._depth(node))
        with np.errstate(all="ignore"):
            # accumulate adds one by one in order, as the kernel does; sum does not.
            centred = rows - np.add.accumulate(rows, axis=1)[:, -1:] / depth
            variance = np.add.accumulate(centred * centred, axis=1)[:, -1:] / depth
            y = centred * (np.float32(1) / np.sqrt(variance + np.float32(self.epsilon)))
            gamma, beta = (*inputs[1:], None, None)[:2]
            y = y if gamma is None else y * gamma.reshape(-1)
            y = y if beta is None else y + beta.reshape(-1)
        return [np.asarray(y, np.float32).reshape(x.shape)]

    def overwrites(self, node: Node) -> list[int]:
        return [0]

    def emit(self, node: Node, code: LayerCode) -> None:
        pointers: dict[str, Argument] = {}
        for index, name in enumerate(PARAMETERS, 1):
            tensor = node.optional(index)
            there = tensor is not None and tensor.data is not None
            pointers[name] = code.constant(name, tensor.data.reshape(-1)) if there else "NULL"  # type: ignore[union-attr]
        depth = self._depth(node)
        code.call(
            LAYER_NORM_F32,
            x=code.input(0),
            y=code.output(),
            **pointers,
            epsilon=self.epsilon,
            rows=node.output.elements // depth,
            depth=depth,
        )

    def _depth(self, node: Node) -> int:
        """Elements that are normalized together."""
        return math.prod(node.input(0).shape[-self.last :])


LAYER_NORM_F32 = Kernel(
    "layer_norm_f32",
    """\
/* (x - mean) / sqrt(variance + epsilon) of each row, times gamma and plus beta where they are not NULL */
static void layer_norm_f32(const float *x, float *y, const float *gamma, const float *beta, float epsilon, int rows,
    int depth)
{
    for (int r = 0; r < rows; r++, x += depth, y += depth) {
        float sum = 0.0f, squares = 0.0f;
        for (int c = 0; c < depth; c++)
            sum += x[c];
        float mean = sum / (float)depth;
        for (int c = 0; c < depth; c++)
            squares += (x[c] - mean) * (x[c] - mean);
        float scale = 1.0f / sqrt_f32(squares / (float)depth + epsilon);
        for (int c = 0; c < depth; c++) {
            float value = (x[c] - mean) * scale;
            if (gamma)
                value *= FLASH_F32(gamma + c);
            if (beta)
                value += FLASH_F32(beta + c);
            y[c] = value;
        }
    }
}
""",
    (SQRT_F32,),
)
