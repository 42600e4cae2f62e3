"""SIGNAL_FILTER_BANK_SQUARE_ROOT: rounded square roots of uint64, shifted down."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isqrt
from typing import ClassVar

import numpy as np

from tinymaix.graph import Array, Node
from tinymaix.ops.base import array
from tinymaix.ops.emit import Kernel, LayerCode
from tinymaix.ops.signal import Signal


@dataclass(frozen=True)
class SignalFilterBankSquareRoot(Signal):
    """Inputs: the values; by how many bits the roots are shifted down."""

    kind: ClassVar[str] = "SIGNAL_FILTER_BANK_SQUARE_ROOT"
    tflite_custom: ClassVar[str] = "SignalFilterBankSquareRoot"
    takes: ClassVar[tuple[str, ...]] = ("uint64", "int32")
    gives: ClassVar[tuple[str, ...]] = ("uint32",)

    def reference(self, node: Node, inputs: Sequence[Array | None]) -> list[Array]:
        values, bits = array(inputs[0]), int(array(inputs[1]).reshape(-1)[0]) & 31
        roots = [rounded_root(int(value)) >> bits for value in values.reshape(-1)]
        return [np.array(roots, np.uint32).reshape(values.shape)]

    def emit(self, node: Node, code: LayerCode) -> None:
        code.call(
            SIGNAL_FILTER_BANK_SQUARE_ROOT,
            x=code.input(0),
            bits=code.input(1),
            y=code.output(),
            n=node.output.elements,
        )


def rounded_root(value: int) -> int:
    """The nearest integer to the root, but no more bits than half of the value's 32 or 64."""
    root = isqrt(value)
    top = 0xFFFF if value < 1 << 32 else 0xFFFFFFFF
    return root + 1 if value - root * root > root and root != top else root


ROUNDED_ROOT = Kernel(
    "rounded_root",
    """\
/* The nearest integer to the root, two bits of x at a time; no more bits than half of the 32 or 64 of x */
static uint32_t rounded_root(uint64_t x)
{
    uint64_t rest = x, root = 0;
    for (uint64_t bit = UINT64_C(1) << (x >> 32 ? 62 : 30); bit; bit >>= 2) {
        uint64_t trial = root + bit;
        root >>= 1;
        if (rest >= trial) {
            rest -= trial;
            root += bit;
        }
    }
    return (uint32_t)(root + (rest > root && root != (x >> 32 ? 0xFFFFFFFF : 0xFFFF)));
}
""",
)

SIGNAL_FILTER_BANK_SQUARE_ROOT = Kernel(
    "signal_filter_bank_square_root",
    """\
static void signal_filter_bank_square_root(const uint64_t *x, const int32_t *bits, uint32_t *y, int n)
{
    for (int i = 0; i < n; i++)
        y[i] = rounded_root(x[i]) >> (*bits & 31);
}
""",
    (ROUNDED_ROOT,),
)
