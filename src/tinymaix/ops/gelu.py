"""GELU, x times the normal distribution's cumulative function, in int8 too, and ERF, of which exporters make it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinymaix.graph import Array, Node, Tensor
from tinymaix.ops.base import OptionFields, Options
from tinymaix.ops.emit import Argument, Kernel
from tinymaix.ops.float_math import EXP_F32
from tinymaix.ops.functions import TableFunction
from tinymaix.ops.lookup import Unary

SQRT_HALF = np.float32(0.70710677)
SQRT_2_BY_PI = np.float32(0.7978846)
CUBIC = np.float32(0.044715)

POLYNOMIAL = (1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592)
SERIES = tuple((-1.0) ** i / math.factorial(i) / (2 * i + 1) for i in range(8))


def erf(x: Array) -> Array:
    """The error function of float32 values within 4e-7, by the steps of the C kernel.

    Abramowitz and Stegun, Handbook of Mathematical Functions, 7.1.26 beyond 0.5 and the series 7.1.5 below, where the
    former would lose digits.
    """
    magnitude = np.abs(x).astype(np.float32)
    t = np.float32(1) / (np.float32(1) + np.float32(0.3275911) * magnitude)
    poly = np.zeros_like(magnitude)
    for coefficient in POLYNOMIAL:
        poly = (poly + np.float32(coefficient)) * t
    with np.errstate(under="ignore"):
        far = np.float32(1) - poly * np.exp(-magnitude * magnitude)
    square = magnitude * magnitude
    near = np.zeros_like(magnitude)
    for coefficient in SERIES[::-1]:
        near = near * square + np.float32(coefficient)
    near = near * magnitude * np.float32(1.1283792)
    return np.copysign(np.where(magnitude < 0.5, near, far), x).astype(np.float32)


ERF_F32 = Kernel(
    "erf_value_f32",
    f"""\
/* The error function: Abramowitz and Stegun 7.1.26, and the series 7.1.5 below 0.5 */
static float erf_value_f32(float x)
{{
    float m = x < 0.0f ? -x : x, s = m * m, y;
    if (m < 0.5f) {{
        y = {SERIES[-1]:.9g}f;
{"".join(f"        y = y * s + {c:.9g}f;{chr(10)}" for c in SERIES[-2:0:-1])}\
        y = (y * s + 1.0f) * m * 1.1283792f;
    }} else {{
        float t = 1.0f / (1.0f + 0.3275911f * m), p = {POLYNOMIAL[0]}f * t;
{"".join(f"        p = (p + {c}f) * t;{chr(10)}" for c in POLYNOMIAL[1:])}\
        y = 1.0f - p * exp_f32(-s);
    }}
    return x < 0.0f ? -y : y;
}}
""",
    (EXP_F32,),
)

ERF_ALL_F32 = Kernel(
    "erf_f32",
    """\
static void erf_f32(const float *x, float *y, int n)
{
    for (int i = 0; i < n; i++)
        y[i] = erf_value_f32(x[i]);
}
""",
    (ERF_F32,),
)

GELU_F32 = Kernel(
    "gelu_f32",
    """\
/* x * (1 + erf(x / sqrt(2))) / 2, or with tanh in place of erf where `approximate` */
static void gelu_f32(const float *x, float *y, int n, int approximate)
{
    for (int i = 0; i < n; i++) {
        float v = x[i], gate;
        if (approximate) {
            float e = exp_f32(-1.5957691f * (v + 0.044715f * v * v * v));
            gate = 2.0f / (1.0f + e);
        } else {
            gate = 1.0f + erf_value_f32(v * 0.70710677f);
        }
        y[i] = 0.5f * v * gate;
    }
}
""",
    (ERF_F32,),
)


@dataclass(frozen=True)
class Erf(Unary):
    types: ClassVar[tuple[str, ...]] = ("float32",)
    kind: ClassVar[str] = "ERF"
    float_kernel: ClassVar[Kernel] = ERF_ALL_F32

    def real(self, x: Array) -> Array:
        return erf(x)


@dataclass(frozen=True)
class Gelu(TableFunction):
    """int8 as a table. ``approximate``: by tanh, Hendrycks and Gimpel 2016 (arXiv 1606.08415)."""

    approximate: bool = False

    kind: ClassVar[str] = "GELU"
    tflite: ClassVar[tuple[int, int]] = (150, 116)
    float_kernel: ClassVar[Kernel] = GELU_F32

    @classmethod
    def from_tflite(cls, options: Options, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor]) -> Gelu:
        return cls(options.flag(0))

    def to_tflite(self, node: Node) -> tuple[OptionFields, list[Tensor | None]]:
        return {0: ("flag", self.approximate)}, list(node.inputs)

    def real(self, x: Array) -> Array:
        if not self.approximate:
            return np.asarray(np.float32(0.5) * x * (np.float32(1) + erf(x * SQRT_HALF)))
        with np.errstate(over="ignore"):
            gate = np.float32(2) / (np.float32(1) + np.exp(np.float32(-2) * SQRT_2_BY_PI * (x + CUBIC * x * x * x)))
        return np.asarray(np.float32(0.5) * x * gate)

    def float_arguments(self) -> dict[str, Argument]:
        return {"approximate": int(self.approximate)}
