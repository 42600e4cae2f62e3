"""MUL of int8: the product of two halfwords, requantized by the high word of one more (see cores/exact_high.py).

The second operand may be one row that goes with each row of the first, as where channels are weighted.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from tinymaix.cores.armv7em.elementwise import choose_with_constant
from tinymaix.cores.armv7em.pointwise import LOAD_4
from tinymaix.cores.core import Core
from tinymaix.cores.exact_high import HighRequant, prove_high
from tinymaix.cores.finish import FINISHED_S8, clamped
from tinymaix.graph import Node
from tinymaix.ops.emit import Implementation, Kernel, LayerCode
from tinymaix.ops.fixed_point import quantized_range
from tinymaix.ops.mul import Mul

BITS = 12
"""Products gain so many bits, which one addition with a shifted operand does, so that roundings fit below the point."""


def choose_mul(node: Node, core: Core, optimize: str) -> Sequence[Implementation]:
    """The kernels for MUL, none where the portable one serves."""
    op = node.op
    assert isinstance(op, Mul)
    if node.output.dtype != np.int8 or optimize == "flash":
        return ()
    if served := choose_with_constant(node, core, optimize):
        return served
    order = next((order for order in ((0, 1), (1, 0)) if _goes_with_rows(node, *order)), None)
    fast = None if order is None else prove_mul(node, op)
    if order is None or fast is None:
        return ()
    emit = partial(_emit, node, order, fast)
    reason = "two products an element, the second of which requantizes"
    return [clamped(Implementation(emit, reason=reason), node, fast.clamp, quantized_range(op.activation, node.output))]


def _goes_with_rows(node: Node, first: int, second: int) -> bool:
    """Whether ``second`` is of the output's shape, or of its last axes' and broadcast along the others."""
    row = node.input(second).shape
    while row and row[0] == 1:
        row = row[1:]
    shape = node.output.shape
    return node.input(first).shape == shape and (not row or row == shape[len(shape) - len(row) :])


def prove_mul(node: Node, op: Mul) -> HighRequant | None:
    """The fast form of a product of raw values less their zero points."""
    zero_a, zero_b = node.input(0).q.z, node.input(1).q.z
    ends = np.array([(a - zero_a) * (b - zero_b) for a in (-128, 127) for b in (-128, 127)])
    given = op.parameters(node)
    multiplier, shift = np.array([given["multiplier"]]), np.array([given["shift"]])
    interval = ends.min(keepdims=True), ends.max(keepdims=True)
    limits = quantized_range(op.activation, node.output)
    return prove_high(multiplier, shift, node.output.q.z, *limits, *interval, np.zeros(1, np.int64), scale=1 << BITS)


def _emit(node: Node, order: tuple[int, int], fast: HighRequant, code: LayerCode) -> None:
    first, second = order
    a, b = node.input(first), node.input(second)
    code.call(
        mul_kernel(fast.shift),
        a=code.input(first),
        b=code.input(second),
        y=code.output(),
        rows=a.elements // b.elements,
        count=b.elements,
        zeros_a=(a.q.z & 0xFFFF) * 0x10001,
        zeros_b=(b.q.z & 0xFFFF) * 0x10001,
        multiplier=int(fast.multiplier[0]),
        offset=int(fast.start[0]),
        sign=int(fast.sign[0]),
        center=fast.center,
    )


def mul_kernel(shift: int) -> Kernel:
    """The kernel: mul_s8_12(a, b, y, rows, count, zeros_a, zeros_b, multiplier, offset, sign, center)."""
    name = f"mul_s8_{shift}"
    finish = Kernel(
        f"multiplied_{shift}",
        f"""\
/* A product to int8; the constants are those of cores/exact_high.py. */
static inline int8_t multiplied_{shift}(
    int32_t product, int32_t multiplier, int32_t offset, int32_t sign, int32_t center)
{{
    int32_t total = product * {1 << BITS} + offset;
#if defined(__ARM_FEATURE_DSP)
    total -= total >> 31 & sign;
    __asm__("smmla %0, %0, %1, %2\\n\\tssat %0, #8, %0, asr #{shift}" : "+r"(total) : "r"(multiplier), "r"(center));
    return (int8_t)total;
#else
    return finished_s8((uint32_t)total, multiplier, sign, 0, center, {shift});
#endif
}}
""",
        (FINISHED_S8,),
    )
    return Kernel(
        name,
        f"""\
/* y = a * b, int8, `rows` rows of a with one of b; zero points are given twice in a word. */
static __attribute__((noinline)) void {name}(
    const int8_t *a, const int8_t *b, int8_t *y, int rows, int count, uint32_t zeros_a, uint32_t zeros_b,
    int32_t multiplier, int32_t offset, int32_t sign, int32_t center)
{{
    for (int row = 0; row < rows; row++) {{
        const int8_t *factor = b, *end = b + count;
        for (; end - factor >= 4; factor += 4, a += 4, y += 4) {{
            uint32_t word_a = load_4(a), word_b = load_4(factor);
            uint32_t a02 = bytes_less(word_a, zeros_a), a13 = odd_bytes_less(word_a, zeros_a);
            uint32_t b02 = bytes_less(word_b, zeros_b), b13 = odd_bytes_less(word_b, zeros_b);
            y[0] = multiplied_{shift}(lower_product(a02, b02), multiplier, offset, sign, center);
            y[1] = multiplied_{shift}(lower_product(a13, b13), multiplier, offset, sign, center);
            y[2] = multiplied_{shift}(upper_product(a02, b02), multiplier, offset, sign, center);
            y[3] = multiplied_{shift}(upper_product(a13, b13), multiplier, offset, sign, center);
        }}
        for (; factor != end; factor++, a++, y++) {{
            int32_t product = (*a - (int16_t)zeros_a) * (*factor - (int16_t)zeros_b);
            *y = multiplied_{shift}(product, multiplier, offset, sign, center);
        }}
    }}
}}
""",
        (LOAD_4, *PAIRS, finish),
    )


def _pair(name: str, comment: str, result: str, parameters: str, assembly: str, twin: str) -> Kernel:
    """A function of one or two instructions on pairs of halfwords, with a portable twin."""
    names = [parameter.split()[-1] for parameter in parameters.split(", ")]
    operands = ", ".join(f'"r"({operand})' for operand in names)
    return Kernel(
        name,
        f"""\
/* {comment} */
static inline {result} {name}({parameters})
{{
#if defined(__ARM_FEATURE_DSP)
    {result} y;
    __asm__("{assembly}" : "=&r"(y) : {operands});
    return y;
#else
    {twin}
#endif
}}
""",
    )


_LESS = "return (uint16_t)((int8_t)({0}) - zeros) | (uint32_t)(uint16_t)((int8_t)({1}) - (zeros >> 16)) << 16;"
PAIRS = (
    _pair(
        "bytes_less",
        "The first and the third byte, less two zero points, as halfwords",
        "uint32_t",
        "uint32_t word, uint32_t zeros",
        "sxtb16 %0, %1\\n\\tssub16 %0, %0, %2",
        _LESS.format("word", "word >> 16"),
    ),
    _pair(
        "odd_bytes_less",
        "The second and the fourth byte, less two zero points, as halfwords",
        "uint32_t",
        "uint32_t word, uint32_t zeros",
        "sxtb16 %0, %1, ror #8\\n\\tssub16 %0, %0, %2",
        _LESS.format("word >> 8", "word >> 24"),
    ),
    _pair(
        "lower_product",
        "The product of the lower halves",
        "int32_t",
        "uint32_t a, uint32_t b",
        "smulbb %0, %1, %2",
        "return (int16_t)a * (int16_t)b;",
    ),
    _pair(
        "upper_product",
        "The product of the upper halves",
        "int32_t",
        "uint32_t a, uint32_t b",
        "smultt %0, %1, %2",
        "return (int16_t)(a >> 16) * (int16_t)(b >> 16);",
    ),
)
