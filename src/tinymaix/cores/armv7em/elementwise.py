"""Additions and subtractions of int8 by two multiply-accumulates an element; tables of 256 for what has one operand."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from tinymaix.cores.armv7em.assembly import ASSEMBLY, NAKED, assembly
from tinymaix.cores.armv7em.pointwise import LOAD_4
from tinymaix.cores.armv7em.requantize import SATURATED_S8, WEIGHTED
from tinymaix.cores.core import Core
from tinymaix.cores.exact_linear import LinearRequant, prove_linear
from tinymaix.cores.finish import clamped
from tinymaix.graph import Array, Node
from tinymaix.ops.add import Add
from tinymaix.ops.elementwise import Arithmetic, Binary
from tinymaix.ops.emit import Implementation, Kernel, LayerCode
from tinymaix.ops.fixed_point import quantized_range
from tinymaix.ops.lookup import LOOKUP_S8
from tinymaix.ops.sub import Sub

BELOW = 8
"""Operands are bytes in the high half of halfwords, of whose products SMLAWB drops 16 bits."""
SHIFTS = (20, 22, 16)
_INT8 = np.arange(-128, 128)


def choose_sum(node: Node, core: Core, optimize: str) -> Sequence[Implementation]:
    """The kernels for ADD and SUB, none where the portable one serves."""
    op = node.op
    assert isinstance(op, (Add, Sub))
    if node.output.dtype != np.int8 or optimize == "flash":
        return ()
    if node.input(0).shape != node.input(1).shape:
        return choose_with_constant(node, core, optimize)
    fast = prove_sum(node, op)
    if fast is None:
        return ()
    limits = quantized_range(op.activation, node.output)
    reason = "two products an element, exact for all 65,536 pairs"
    return [clamped(Implementation(partial(_emit_sum, node, fast), reason=reason), node, fast.clamp, limits)]


def prove_sum(node: Node, op: Arithmetic) -> LinearRequant | None:
    """One multiplier an operand and an offset that give the node's output for all pairs of int8."""
    a, b, y = node.input(0).q, node.input(1).q, node.output.q
    first, second = _INT8[:, None], _INT8[None, :]
    wanted = op.values(node, first, second).astype(np.int64)
    gains = a.s / y.s, (b.s if isinstance(op, Add) else -b.s) / y.s
    return prove_linear(wanted, quantized_range(op.activation, node.output), (first, second), gains, BELOW, SHIFTS)


def _emit_sum(node: Node, fast: LinearRequant, code: LayerCode) -> None:
    multiplier_a, multiplier_b = fast.multipliers
    code.call(
        weighted_sum(fast.shift),
        a=code.input(0),
        b=code.input(1),
        y=code.output(),
        n=node.output.elements,
        multiplier_a=multiplier_a,
        multiplier_b=multiplier_b,
        offset=fast.offset,
    )


def weighted_sum(shift: int) -> Kernel:
    """The kernel: weighted_sum_s8_20(a, b, y, n, multiplier_a, multiplier_b, offset)."""
    ssat = [f"ssat {x}, #8, {x}, asr #{shift}" for x in ("lr", "r10", "r12", "r9")]
    code = [
        "push {r4-r11, lr}",
        "ldrd r4, r5, [sp, #36]",
        "ldr.w r6, [sp, #44]",  # wide, so that the loop begins at a word
        "mov.w r7, #0xff00ff00",
        "and r11, r3, #3",
        "subs r3, r3, r11",
        "beq 2f",
        "add r3, r3, r2",
        "1:",
        "ldr r8, [r0], #4",
        "ldr r9, [r1], #4",
        *("and r10, r7, r8, lsl #8", "and r12, r7, r9, lsl #8", "and r8, r7, r8", "and r9, r7, r9"),
        *("smlawb lr, r5, r12, r6", "smlawt r12, r5, r12, r6", "smlawb lr, r4, r10, lr", "smlawt r12, r4, r10, r12"),
        *("smlawb r10, r5, r9, r6", "smlawt r9, r5, r9, r6", "smlawb r10, r4, r8, r10", "smlawt r9, r4, r8, r9"),
        *ssat,
        *("strb r10, [r2, #1]", "strb r12, [r2, #2]", "strb r9, [r2, #3]", "strb lr, [r2], #4"),
        "cmp r2, r3",
        "bne 1b",
        "2:",
        "adds r3, r2, r11",
        "b 4f",
        "3:",
        *("ldrsb r8, [r0], #1", "ldrsb r9, [r1], #1", "lsl r8, r8, #8", "lsl r9, r9, #8"),
        *("smlawb lr, r5, r9, r6", "smlawb lr, r4, r8, lr", ssat[0], "strb lr, [r2], #1"),
        "4:",
        "cmp r2, r3",
        "bne 3b",
        "pop {r4-r11, pc}",
    ]
    name = f"weighted_sum_s8_{shift}"
    return Kernel(
        name,
        f"""\
/* y = a times a multiplier + b times a multiplier + offset, int8, in 32 bits of which {shift} stand below the point */
#if defined(__ARM_FEATURE_DSP)
{NAKED} void {name}(
    const int8_t *a, const int8_t *b, int8_t *y, int n, int32_t multiplier_a, int32_t multiplier_b, int32_t offset)
{{
    __asm__ volatile(
{assembly(code)});
}}
#else
static void {name}(
    const int8_t *a, const int8_t *b, int8_t *y, int n, int32_t multiplier_a, int32_t multiplier_b, int32_t offset)
{{
    for (int i = 0; i < n; i++)
        y[i] = saturated_s8(weighted(256 * a[i], multiplier_a, weighted(256 * b[i], multiplier_b, offset)), {shift});
}}
#endif
""",
        (ASSEMBLY, WEIGHTED, SATURATED_S8),
    )


def choose_with_constant(node: Node, core: Core, optimize: str) -> Sequence[Implementation]:
    """A table for an operator of two operands of which one is a single constant."""
    op = node.op
    assert isinstance(op, Binary)
    data = [t.data for t in node.present]
    which = next((i for i, value in enumerate(data) if value is not None and value.size == 1), None)
    if node.output.dtype != np.int8 or optimize == "flash" or which is None:
        return ()
    operand = node.input(1 - which)
    if operand.data is not None or operand.elements != node.output.elements:
        return ()
    values = [_INT8.astype(np.int8), _INT8.astype(np.int8)]
    constant = data[which]
    assert constant is not None
    values[which] = constant.reshape(1)
    return [lookup(node, 1 - which, op.values(node, *values))]


def lookup(node: Node, operand: int, results: Array) -> Implementation:
    """``results`` for the operand's values -128 to 127."""

    def emit(code: LayerCode) -> None:
        table = code.constant("table", np.roll(results, 128))
        code.call(LOOKUP_S8, x=code.input(operand), y=code.output(), table=table, n=node.output.elements)

    return Implementation(emit, reason="a table of all 256 results")


LOOKUP_QUADS = Kernel(
    LOOKUP_S8.name,
    """\
/* y = table[x]: the table stands in the order of the input's byte, 0 to 127 and then -128 to -1 */
static __attribute__((noinline)) void lookup_s8(const int8_t *x, int8_t *y, const int8_t *table, int n)
{
    for (; n >= 4; n -= 4, x += 4, y += 4) {
        uint32_t word = load_4(x);
        int8_t y0 = table[word & 255], y1 = table[word >> 8 & 255], y2 = table[word >> 16 & 255];
        int8_t y3 = table[word >> 24];
        y[0] = y0;
        y[1] = y1;
        y[2] = y2;
        y[3] = y3;
    }
    for (int i = 0; i < n; i++)
        y[i] = table[(uint8_t)x[i]];
}
""",
    (LOAD_4,),
)
"""In place of the portable function, and alike."""
