"""Functions of one float: ABS, NEG, SQRT, RSQRT, SQUARE, EXP, LOG, SIN, COS, FLOOR, CEIL, ROUND, SIGN, ELU."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from tinymaix.graph import Array, Node
from tinymaix.ops.emit import Kernel, LayerCode
from tinymaix.ops.fixed_point import CLAMP, REQUANTIZE, quantize_multiplier, requantize, saturate
from tinymaix.ops.float_functions import FLOOR_F32, LOG_F32, ROUND_EVEN_F32, SIN_F32, SQRT_F32
from tinymaix.ops.float_math import EXP_F32
from tinymaix.ops.inverse_root import inverse_root
from tinymaix.ops.lookup import Unary


def _kernel(name: str, expression: str, *needs: Kernel) -> Kernel:
    """A C kernel that computes ``expression`` of each ``v``."""
    return Kernel(
        name,
        f"""\
static void {name}(const float *x, float *y, int n)
{{
    for (int i = 0; i < n; i++) {{
        float v = x[i];
        y[i] = {expression};
    }}
}}
""",
        needs,
    )


class FloatFunction(Unary):
    """A function that is there for float32."""

    types: ClassVar[tuple[str, ...]] = ("float32",)
    function: ClassVar[Any]
    """The numpy function of one array."""

    def real(self, x: Array) -> Array:
        with np.errstate(all="ignore"):
            return np.asarray(type(self).function(x), np.float32)


@dataclass(frozen=True)
class Neg(FloatFunction):
    kind: ClassVar[str] = "NEG"
    tflite: ClassVar[tuple[int, int]] = (59, 42)
    function = np.negative
    float_kernel: ClassVar[Kernel] = _kernel("neg_f32", "-v")


@dataclass(frozen=True)
class Sqrt(FloatFunction):
    kind: ClassVar[str] = "SQRT"
    tflite: ClassVar[tuple[int, int]] = (75, 0)
    function = np.sqrt
    float_kernel: ClassVar[Kernel] = _kernel("sqrt_all_f32", "sqrt_f32(v)", SQRT_F32)


@dataclass(frozen=True)
class Rsqrt(FloatFunction):
    """int8 too, whose inputs must not be negative: its zero point is -128."""

    types: ClassVar[tuple[str, ...]] = ("int8", "float32")
    kind: ClassVar[str] = "RSQRT"
    tflite: ClassVar[tuple[int, int]] = (76, 0)
    float_kernel: ClassVar[Kernel] = _kernel("rsqrt_all_f32", "1.0f / sqrt_f32(v)", SQRT_F32)

    def real(self, x: Array) -> Array:
        with np.errstate(all="ignore"):
            return np.asarray(np.float32(1) / np.sqrt(x))

    def problems(self, node: Node) -> list[str]:
        found = super().problems(node)
        if found or node.output.dtype != np.int8 or node.input(0).q.z == -128:
            return found
        return [f"'{node.input(0).name}' has zero point {node.input(0).q.z}; int8 RSQRT takes -128, nothing negative"]

    def raw(self, node: Node, q: Array) -> Array:
        x, y = node.input(0).q, node.output.q
        multiplier, shift = quantize_multiplier(float(np.float32(1 / (np.sqrt(np.float32(x.s)) * np.float32(y.s)))))
        left = 20  # bits that the root gains to keep its fraction
        result = np.full(q.shape, 127, np.int64)
        for i, value in enumerate((q - x.z).tolist()):
            if value:
                root, root_shift = inverse_root(value)
                data = requantize(np.ones((), np.int64), root, root_shift + left)
                result[i] = requantize(data, multiplier, shift - left) + y.z
        return saturate(result, node.output.dtype)


@dataclass(frozen=True)
class Square(FloatFunction):
    kind: ClassVar[str] = "SQUARE"
    tflite: ClassVar[tuple[int, int]] = (92, 66)
    function = np.square
    float_kernel: ClassVar[Kernel] = _kernel("square_f32", "v * v")


@dataclass(frozen=True)
class Exp(FloatFunction):
    kind: ClassVar[str] = "EXP"
    tflite: ClassVar[tuple[int, int]] = (47, 33)
    function = np.exp
    float_kernel: ClassVar[Kernel] = _kernel("exp_all_f32", "exp_f32(v)", EXP_F32)


@dataclass(frozen=True)
class Log(FloatFunction):
    kind: ClassVar[str] = "LOG"
    tflite: ClassVar[tuple[int, int]] = (73, 0)
    function = np.log
    float_kernel: ClassVar[Kernel] = _kernel("log_all_f32", "log_f32(v)", LOG_F32)


@dataclass(frozen=True)
class Sin(FloatFunction):
    kind: ClassVar[str] = "SIN"
    tflite: ClassVar[tuple[int, int]] = (66, 0)
    function = np.sin
    float_kernel: ClassVar[Kernel] = _kernel("sin_all_f32", "sin_f32(v, 0)", SIN_F32)


@dataclass(frozen=True)
class Cos(FloatFunction):
    kind: ClassVar[str] = "COS"
    tflite: ClassVar[tuple[int, int]] = (108, 84)
    function = np.cos
    float_kernel: ClassVar[Kernel] = _kernel("cos_all_f32", "sin_f32(v, 1)", SIN_F32)


@dataclass(frozen=True)
class Floor(FloatFunction):
    kind: ClassVar[str] = "FLOOR"
    tflite: ClassVar[tuple[int, int]] = (8, 0)
    function = np.floor
    float_kernel: ClassVar[Kernel] = _kernel("floor_all_f32", "floor_f32(v)", FLOOR_F32)


@dataclass(frozen=True)
class Ceil(FloatFunction):
    kind: ClassVar[str] = "CEIL"
    tflite: ClassVar[tuple[int, int]] = (104, 0)
    function = np.ceil
    float_kernel: ClassVar[Kernel] = _kernel("ceil_all_f32", "-floor_f32(-v)", FLOOR_F32)


@dataclass(frozen=True)
class Round(FloatFunction):
    """Halves go to the even neighbour."""

    kind: ClassVar[str] = "ROUND"
    tflite: ClassVar[tuple[int, int]] = (116, 0)
    function = np.rint
    float_kernel: ClassVar[Kernel] = _kernel("round_all_f32", "round_even_f32(v)", ROUND_EVEN_F32)


@dataclass(frozen=True)
class Sign(FloatFunction):
    kind: ClassVar[str] = "SIGN"
    tflite: ClassVar[tuple[int, int]] = (158, 123)
    function = np.sign
    float_kernel: ClassVar[Kernel] = _kernel("sign_f32", "v > 0.0f ? 1.0f : v < 0.0f ? -1.0f : v")


@dataclass(frozen=True)
class Abs(FloatFunction):
    """int8 and int16 too, with a scale of their own."""

    kind: ClassVar[str] = "ABS"
    tflite: ClassVar[tuple[int, int]] = (101, 78)
    types: ClassVar[tuple[str, ...]] = ("int8", "int16", "float32")
    function = np.abs
    float_kernel: ClassVar[Kernel] = _kernel("abs_f32", "v < 0.0f ? -v : v")

    def raw(self, node: Node, q: Array) -> Array:
        x, y = node.input(0).q, node.output.q
        magnitude = np.abs(q - x.z)
        if x.s != y.s:
            magnitude = requantize(magnitude, *quantize_multiplier(x.s / y.s))
        return saturate(magnitude + y.z, node.output.dtype)

    def emit_int16(self, node: Node, code: LayerCode) -> None:
        x, y = node.input(0).q, node.output.q
        multiplier, shift = quantize_multiplier(x.s / y.s) if x.s != y.s else (1 << 30, 1)
        code.call(
            ABS_S16,
            x=code.input(0),
            y=code.output(),
            n=node.output.elements,
            zero_x=x.z,
            zero_y=y.z,
            multiplier=multiplier,
            shift=shift,
        )


class TableFunction(FloatFunction):
    """int8 as a table of the float function, as TFLM makes it."""

    types: ClassVar[tuple[str, ...]] = ("int8", "float32")

    def raw(self, node: Node, q: Array) -> Array:
        x, y = node.input(0).q, node.output.q
        real = self.real(x.scale[0] * (q - x.z).astype(np.float32))
        steps = (real * (np.float32(1) / y.scale[0])).astype(np.float64)
        return saturate(np.trunc(steps + np.copysign(0.5, steps)).astype(np.int64) + y.z, node.output.dtype)


@dataclass(frozen=True)
class Elu(TableFunction):
    """x where x > 0, else exp(x) - 1."""

    kind: ClassVar[str] = "ELU"
    tflite: ClassVar[tuple[int, int]] = (111, 0)
    float_kernel: ClassVar[Kernel] = _kernel(
        "elu_f32", "v > 0.0f ? v : v > -1e-3f ? v + 0.5f * v * v : exp_f32(v) - 1.0f", EXP_F32
    )

    def real(self, x: Array) -> Array:
        return np.where(x < 0, np.expm1(np.minimum(x, 0)), x)


ABS_S16 = Kernel(
    "abs_s16",
    """\
static void abs_s16(const int16_t *x, int16_t *y, int n, int32_t zero_x, int32_t zero_y, int32_t multiplier, int shift)
{
    for (int i = 0; i < n; i++) {
        int32_t value = x[i] - zero_x;
        value = requantize(value < 0 ? -value : value, multiplier, shift);
        y[i] = (int16_t)clamp(value + zero_y, -32768, 32767);
    }
}
""",
    (REQUANTIZE, CLAMP),
)
