"""SOFTMAX over the last axis: exp(beta * x) / sum. int8 as TFLM computes it, with a compile-time table of exp."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinymaix.graph import Array, ModelError, Node, Shape, Tensor
from tinymaix.ops import softmax16
from tinymaix.ops.base import Operator, OptionFields, Options, array
from tinymaix.ops.emit import Kernel, LayerCode
from tinymaix.ops.fixed_math import INVERSE_OF_ONE_PLUS, exp_negative, inverse_of_one_plus
from tinymaix.ops.fixed_point import CLAMP, MUL_HIGH, ROUNDING_SHIFT, mul_high, quantize_multiplier, rounding_shift
from tinymaix.ops.float_math import EXP_F32
from tinymaix.ops.move import input_shape
from tinymaix.ops.tmdl import ModelType, Operand, StoredLayer

INPUT_BITS = 5  # x - max is Q5.26
SUM_SHIFT = 12  # the sum of exponentials is Q12.19
NEGLIGIBLE = 1 << (SUM_SHIFT - 1)  # a smaller exp (Q0.31) adds 0 to the sum and gives 0 even in an int16 output
LONGEST_ROW = (1 << 13) - 1  # of ones in Q12.19, summed in 32 bits


@dataclass(frozen=True)
class Softmax(Operator):
    """Input of rank 1 or more. int8 gives int8 (scale 1/256) or int16 (scale 1/65536, zero point -32768), int16 gives
    int16 (scale 1/32768)."""

    beta: float = 1.0

    kind: ClassVar[str] = "SOFTMAX"
    tflite: ClassVar[tuple[int, int]] = (25, 9)
    tmdl = (3, "softmax")
    types: ClassVar[tuple[str, ...]] = ("int8", "int16", "float32")

    @classmethod
    def from_tflite(cls, options: Options, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor]) -> Softmax:
        return cls(options.f32(0))

    def to_tflite(self, node: Node) -> tuple[OptionFields, list[Tensor | None]]:
        return {0: ("f32", self.beta)}, list(node.inputs)

    @classmethod
    def from_tmdl(cls, layer: StoredLayer, x: Tensor, y: Tensor, operand: Operand) -> Node:
        return Node(cls(), [x], [y], layer.name)

    def tmdl_problems(self, node: Node, model: ModelType) -> list[str]:
        return [] if self.beta == 1.0 else [f"its beta is {self.beta:g}; a .tmdl takes 1 only"]

    def infer(self, inputs: Sequence[Tensor | None]) -> list[Shape]:
        shape = input_shape(inputs)
        if not shape:
            raise ModelError("the input of SOFTMAX is a scalar; it needs at least one axis")
        return [shape]

    def problems(self, node: Node) -> list[str]:
        x, y = node.input(0), node.output
        wide = x.dtype == np.int8 and y.dtype == np.int16
        if not wide and (found := super().problems(node)):
            return found
        if x.dtype == np.float32:
            return []
        if x.quantization is None or y.quantization is None or x.q.per_channel or y.q.per_channel:
            return [f"'{x.name}' and '{y.name}' need a per-tensor scale each; quantize the model again"]
        scale, zero_point = (2.0**-16, -32768) if wide else (2.0**-8, -128)
        if x.dtype == np.int16:
            scale, zero_point = 2.0**-15, 0
        problems = []
        if abs(y.q.s - scale) > scale / 1000 or y.q.z != zero_point:
            problems.append(
                f"output '{y.name}' has scale {y.q.s:.7g} and zero point {y.q.z}; {y.dtype} SOFTMAX always gives "
                f"scale {scale:.7g} and zero point {zero_point}; quantize the model again with these"
            )
        if x.dtype == np.int8 and self._scaled_beta(x) <= 1:
            problems.append(
                f"beta {self.beta:.3g} times the scale of '{x.name}' ({x.q.s:.3g}) is too small; "
                "their product must exceed 2^-26"
            )
        longest = LONGEST_ROW if x.dtype == np.int8 else softmax16.LONGEST_ROW
        if x.shape[-1] > longest:
            problems.append(f"'{x.name}' has rows of {x.shape[-1]} values; {x.dtype} SOFTMAX takes up to {longest}")
        return problems

    def reference(self, node: Node, inputs: Sequence[Array | None]) -> list[Array]:
        x = array(inputs[0])
        if x.dtype == np.float32:
            return [self._float(x)]
        if x.dtype == np.int16:
            return [softmax16.softmax16(x, *softmax16.difference_scale(node.input(0).q.s, self.beta))]
        table = self._exps(node.input(0))
        below = x.max(axis=-1, keepdims=True).astype(np.int64) - x
        exps = np.where(below < table.size, table[np.minimum(below, table.size - 1)], 0)
        total = rounding_shift(exps, SUM_SHIFT).sum(axis=-1, keepdims=True)
        headroom = 32 - np.frexp(total.astype(np.float64))[1].astype(np.int64)  # leading zeros of a uint32
        scale = inverse_of_one_plus((total << headroom) - (1 << 31))
        info = np.iinfo(node.output.dtype)
        y = rounding_shift(mul_high(exps, scale), SUM_SHIFT - headroom + 31 - info.bits)
        return [np.minimum(y + info.min, info.max).astype(node.output.dtype)]

    def overwrites(self, node: Node) -> list[int]:
        return [0] if node.input(0).dtype == node.output.dtype else []

    def emit(self, node: Node, code: LayerCode) -> None:
        x, y = node.input(0), node.output
        depth = x.shape[-1]
        shape = {"rows": x.elements // depth, "depth": depth}
        if x.dtype == np.float32:
            code.call(SOFTMAX_F32, x=code.input(0), y=code.output(), beta=self.beta, **shape)
            return
        if x.dtype == np.int16:
            multiplier, shift = softmax16.difference_scale(x.q.s, self.beta)
            code.call(
                softmax16.SOFTMAX_S16,
                x=code.input(0),
                y=code.output(),
                exps=code.constant("exps", softmax16.EXP_TABLE),
                reciprocals=code.constant("reciprocals", softmax16.RECIPROCAL_TABLE),
                multiplier=multiplier,
                shift=shift,
                **shape,
            )
            return
        table = self._exps(x)
        exps = code.constant("exps", table, "int32", "exp(-d * beta * scale) in Q0.31")
        kernel = SOFTMAX_S8 if y.dtype == np.int8 else SOFTMAX_S8_S16
        code.call(kernel, x=code.input(0), y=code.output(), exps=exps, entries=table.size, **shape)

    def _scaled_beta(self, x: Tensor) -> float:
        """Q5.26 units of one step of the input, capped as TFLM does it."""
        return min(float(np.float32(self.beta)) * x.q.s * 2.0 ** (31 - INPUT_BITS), 2.0**31 - 1)

    def _exps(self, x: Tensor) -> Array:
        """exp(-d * beta * scale) in Q0.31 for d = 0, 1, ... up to the last that is not negligible."""
        multiplier, shift = quantize_multiplier(self._scaled_beta(x))
        reach = min(255, ((2**INPUT_BITS - 1) << (31 - INPUT_BITS)) >> shift)  # beyond it x * 2^shift overflows
        steps = -np.arange(reach + 1, dtype=np.int64)
        exps = exp_negative(mul_high(steps << shift, multiplier), INPUT_BITS)
        return exps[: np.count_nonzero(exps >= NEGLIGIBLE)]

    def _float(self, x: Array) -> Array:
        exps = np.exp((x - x.max(axis=-1, keepdims=True)) * np.float32(self.beta))
        total = np.cumsum(exps, axis=-1, dtype=np.float32)[..., -1:]  # in order, as the reference kernel sums
        return np.asarray(exps / total, np.float32)


SOFTMAX_SCALE = Kernel(
    "softmax_scale",
    """\
/* Normalizes a sum of exponentials (Q12.19): 1 / sum = scale (Q0.31) * 2^-bits */
static inline int32_t softmax_scale(uint32_t sum, int *bits)
{
    *bits = 12;
    while (!(sum & UINT32_C(0x80000000))) {
        sum <<= 1;
        --*bits;
    }
    return inverse_of_one_plus((int32_t)(sum - UINT32_C(0x80000000)));
}
""",
    (INVERSE_OF_ONE_PLUS,),
)

SOFTMAX_S8 = Kernel(
    "softmax_s8",
    """\
/* Softmax of each row, int8 -> int8. exps[d] is exp of d steps below the maximum; beyond the table it is 0. */
static void softmax_s8(const int8_t *x, int8_t *y, const int32_t *exps, int entries, int rows, int depth)
{
    for (int r = 0; r < rows; r++, x += depth, y += depth) {
        int max = x[0], bits;
        for (int c = 1; c < depth; c++)
            if (x[c] > max)
                max = x[c];
        uint32_t sum = 0;
        for (int c = 0; c < depth; c++)
            if (max - x[c] < entries)
                sum += (uint32_t)rounding_shift(FLASH_I32(exps + (max - x[c])), 12);
        int32_t scale = softmax_scale(sum, &bits);
        for (int c = 0; c < depth; c++) {
            int32_t p = 0; /* a sum of 512 and more leaves nothing of 8 bits */
            if (max - x[c] < entries && bits <= 8)
                p = rounding_shift(mul_high(FLASH_I32(exps + (max - x[c])), scale), bits + 23);
            y[c] = (int8_t)clamp(p - 128, -128, 127);
        }
    }
}
""",
    (SOFTMAX_SCALE, MUL_HIGH, ROUNDING_SHIFT, CLAMP),
)

SOFTMAX_S8_S16 = Kernel(
    "softmax_s8_s16",
    """\
/* Softmax of each row, int8 -> int16, as softmax_s8 */
static void softmax_s8_s16(const int8_t *x, int16_t *y, const int32_t *exps, int entries, int rows, int depth)
{
    for (int r = 0; r < rows; r++, x += depth, y += depth) {
        int max = x[0], bits;
        for (int c = 1; c < depth; c++)
            if (x[c] > max)
                max = x[c];
        uint32_t sum = 0;
        for (int c = 0; c < depth; c++)
            if (max - x[c] < entries)
                sum += (uint32_t)rounding_shift(FLASH_I32(exps + (max - x[c])), 12);
        int32_t scale = softmax_scale(sum, &bits);
        for (int c = 0; c < depth; c++) {
            int32_t p = 0;
            if (max - x[c] < entries)
                p = rounding_shift(mul_high(FLASH_I32(exps + (max - x[c])), scale), bits + 15);
            y[c] = (int16_t)clamp(p - 32768, -32768, 32767);
        }
    }
}
""",
    (SOFTMAX_SCALE, MUL_HIGH, ROUNDING_SHIFT, CLAMP),
)

SOFTMAX_F32 = Kernel(
    "softmax_f32",
    """\
/* Softmax of each row, float */
static void softmax_f32(const float *x, float *y, float beta, int rows, int depth)
{
    for (int r = 0; r < rows; r++, x += depth, y += depth) {
        float max = x[0], sum = 0.0f;
        for (int c = 1; c < depth; c++)
            if (x[c] > max)
                max = x[c];
        for (int c = 0; c < depth; c++)
            sum += y[c] = exp_f32((x[c] - max) * beta);
        for (int c = 0; c < depth; c++)
            y[c] /= sum;
    }
}
""",
    (EXP_F32,),
)
