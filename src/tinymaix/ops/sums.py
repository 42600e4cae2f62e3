"""What ADD and SUB share in int8 and int16: both operands are brought to a common scale with 20 or 15 more bits, as
TFLM does it."""

from __future__ import annotations

import numpy as np

from tinymaix.graph import Array, Node
from tinymaix.ops.elementwise import binary_kernel
from tinymaix.ops.emit import C_TYPES, Kernel
from tinymaix.ops.fixed_point import CLAMP, REQUANTIZE, quantize_multiplier, requantize

LEFT_SHIFT = {"int8": 20, "int16": 15}
"""Bits that operands gain before they are brought to a common scale, by type."""


def common_scale(node: Node, a: Array, b: Array) -> tuple[Array, Array]:
    """Quantized operands as multiples of twice the larger scale / 2**LEFT_SHIFT."""
    scales, left = sum_scales(node), LEFT_SHIFT[node.output.dtype.name]
    a, b = (
        requantize((x.astype(np.int64) - scales[f"zero_{k}"]) << left, scales[f"multiplier_{k}"], scales[f"shift_{k}"])
        for k, x in (("a", a), ("b", b))
    )
    return a, b


def rescaled_sum(node: Node, total: Array) -> Array:
    """A sum or difference in `common_scale` -> raw outputs, not saturated."""
    scales = sum_scales(node)
    return requantize(total, scales["multiplier_y"], scales["shift_y"]) + scales["zero_y"]


def sum_scales(node: Node) -> dict[str, int]:
    """Zero points, multipliers and shifts of a, b and y in a quantized sum or difference; nothing for other types."""
    left = LEFT_SHIFT.get(node.output.dtype.name)
    if left is None:
        return {}
    a, b, y = node.input(0).q, node.input(1).q, node.output.q
    twice = 2.0 * max(a.s, b.s)
    result = {}
    for name, q, real in (("a", a, a.s / twice), ("b", b, b.s / twice), ("y", y, twice / (2**left * y.s))):
        result[f"zero_{name}"] = q.z
        result[f"multiplier_{name}"], result[f"shift_{name}"] = quantize_multiplier(real)
    return result


SUM_PARAMETERS = """,
    int32_t zero_a, int32_t multiplier_a, int shift_a, int32_t zero_b, int32_t multiplier_b, int shift_b,
    int32_t zero_y, int32_t multiplier_y, int shift_y, int32_t low, int32_t high"""


def sum_kernel(name: str, sign: str, dtype: str) -> Kernel:
    """The kernel of a sum (sign "+") or difference ("-") of a quantized type."""
    left = f"INT32_C({1 << LEFT_SHIFT[dtype]})"
    return binary_kernel(
        name,
        C_TYPES[dtype],
        f"y = a {sign} b, {dtype} with a scale each.",
        SUM_PARAMETERS,
        f"""\
            int32_t scaled_a = requantize((*a - zero_a) * {left}, multiplier_a, shift_a);
            int32_t scaled_b = requantize((*b - zero_b) * {left}, multiplier_b, shift_b);
            int32_t sum = requantize(scaled_a {sign} scaled_b, multiplier_y, shift_y) + zero_y;
            *y = ({C_TYPES[dtype]})clamp(sum, low, high);
""",
        REQUANTIZE,
        CLAMP,
    )
