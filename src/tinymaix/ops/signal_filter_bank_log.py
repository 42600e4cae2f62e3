"""SIGNAL_FILTER_BANK_LOG: scaled natural logarithms of uint32, by a table of segments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinymaix.graph import Array, ModelError, Node, Shape, Tensor
from tinymaix.ops.base import array
from tinymaix.ops.emit import Kernel, LayerCode
from tinymaix.ops.move import input_shape
from tinymaix.ops.signal import BIT_LENGTH, Signal, bit_length

SEGMENT_BITS = 7
LN_2 = round(np.log(2.0) * 65536)
CORRECTIONS = np.append(
    np.round((np.log2(1 + np.arange(129) / 128) - np.arange(129) / 128) * 65536), 0
).astype(np.int16)  # fmt: skip
"""log2(1 + x) - x at 128 segments of [0, 1], in Q16, as the reference's table has it."""


@dataclass(frozen=True)
class SignalFilterBankLog(Signal):
    """``bits`` shift the values up before, ``scale`` multiplies their logarithms; 0 for 0 and 1, up to 32767."""

    bits: int
    scale: int

    kind: ClassVar[str] = "SIGNAL_FILTER_BANK_LOG"
    tflite_custom: ClassVar[str] = "SignalFilterBankLog"
    takes: ClassVar[tuple[str, ...]] = ("uint32",)
    gives: ClassVar[tuple[str, ...]] = ("int16",)
    options: ClassVar[dict[str, str]] = {"bits": "input_correction_bits", "scale": "output_scale"}

    def shapes(self, inputs: Sequence[Tensor | None]) -> list[Shape]:
        if not (0 <= self.bits < 32 and 0 <= self.scale < 2**31):
            raise ModelError(f"its options make no sense: {self.bits} bits, scale {self.scale}")
        return [input_shape(inputs)]

    def reference(self, node: Node, inputs: Sequence[Array | None]) -> list[Array]:
        x = (array(inputs[0]) << np.uint32(self.bits)).astype(np.int64)
        whole = np.maximum(bit_length(x) - 1, 0)
        rest = x - (np.int64(1) << whole)
        part = np.where(whole < 16, rest << np.maximum(16 - whole, 0), rest >> np.maximum(whole - 16, 0))
        part = np.maximum(part, 0)
        at = part >> (16 - SEGMENT_BITS)
        low, high = CORRECTIONS[at].astype(np.int64), CORRECTIONS[at + 1].astype(np.int64)
        log2 = (whole << 16) + part + low + ((high - low) * (part & 511) >> 16)
        natural = (LN_2 * log2 + 32768) >> 16
        scaled = ((self.scale * natural + 32768) & 0xFFFFFFFF) >> 16
        return [np.where(x > 1, np.minimum(scaled, 32767), 0).astype(np.int16)]

    def emit(self, node: Node, code: LayerCode) -> None:
        code.call(
            SIGNAL_FILTER_BANK_LOG,
            x=code.input(0),
            y=code.output(),
            corrections=code.constant("corrections", CORRECTIONS),
            n=node.output.elements,
            bits=self.bits,
            scale=self.scale,
        )


SIGNAL_FILTER_BANK_LOG = Kernel(
    "signal_filter_bank_log",
    f"""\
static void signal_filter_bank_log(const uint32_t *x, int16_t *y, const int16_t *corrections, int n, int bits,
                                   uint32_t scale)
{{
    for (int i = 0; i < n; i++) {{
        uint32_t value = x[i] << bits;
        y[i] = 0;
        if (value > 1) {{
            int whole = bit_length(value) - 1;
            uint32_t rest = value - (UINT32_C(1) << whole);
            uint32_t part = whole < 16 ? rest << (16 - whole) : rest >> (whole - 16);
            const int16_t *segment = corrections + (part >> {16 - SEGMENT_BITS});
            int32_t low = FLASH_I16(segment), high = FLASH_I16(segment + 1);
            int32_t between = (high - low) * (int32_t)(part & {(1 << (16 - SEGMENT_BITS)) - 1}) >> 16;
            uint32_t log2 = ((uint32_t)whole << 16) + part + (uint32_t)(low + between);
            uint32_t natural = (uint32_t)(((uint64_t)log2 * {LN_2} + 32768) >> 16);
            uint32_t scaled = (scale * natural + 32768) >> 16;
            y[i] = (int16_t)(scaled < 32767 ? scaled : 32767);
        }}
    }}
}}
""",
    (BIT_LENGTH,),
)
