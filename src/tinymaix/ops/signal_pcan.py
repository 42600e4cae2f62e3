"""SIGNAL_PCAN: per-channel normalization of amplitude: a gain that a table gives for the noise, then a soft knee."""

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

TABLE_SIZE = 4 * 32 - 6 + 3
"""The highest of four entries for noise of 32 bits, plus the two of the noise 0 and 1."""
SNR_BITS, OUTPUT_BITS = 12, 6


@dataclass(frozen=True)
class SignalPcan(Signal):
    """Inputs: channels, the estimate of their noise, the table of gains. ``shift`` takes value * gain to SNR_BITS
    fractional bits."""

    shift: int

    kind: ClassVar[str] = "SIGNAL_PCAN"
    tflite_custom: ClassVar[str] = "SignalPCAN"
    takes: ClassVar[tuple[str, ...]] = ("uint32", "uint32", "int16")
    gives: ClassVar[tuple[str, ...]] = ("uint32",)
    constants: ClassVar[int] = 1
    options: ClassVar[dict[str, str]] = {"shift": "snr_shift"}

    def shapes(self, inputs: Sequence[Tensor | None]) -> list[Shape]:
        shape = input_shape(inputs)
        if input_shape(inputs, 1) != shape or input_shape(inputs, 2) != (TABLE_SIZE,) or not 0 <= self.shift < 64:
            raise ModelError(f"channels {list(shape)} need as many estimates and a table of {TABLE_SIZE}")
        return [shape]

    def macs(self, node: Node) -> int:
        return 3 * node.output.elements

    def reference(self, node: Node, inputs: Sequence[Array | None]) -> list[Array]:
        x, noise, table = array(inputs[0]), array(inputs[1]).astype(np.int64), array(inputs[2]).astype(np.int64)
        bits = bit_length(noise)
        at = np.where(noise <= 2, 0, 4 * bits - 6)
        part = np.where(bits < 11, noise << np.maximum(11 - bits, 0), noise >> np.maximum(bits - 11, 0)) & 0x3FF
        curve = ((table[at + 2] * part >> 5) + (table[at + 1] << 5)) * part
        between = (curve + (1 << 14) >> 15) + table[at]
        gain = np.where(noise <= 2, table[np.minimum(noise, 2)], between).astype(np.int16).astype(np.uint32)
        snr = ((x.astype(np.uint64) * gain.astype(np.uint64)) >> np.uint64(self.shift)).astype(np.uint32)
        below = (snr * snr) >> np.uint32(2 + 2 * SNR_BITS - OUTPUT_BITS)
        above = (snr >> np.uint32(SNR_BITS - OUTPUT_BITS)) - np.uint32(1 << OUTPUT_BITS)
        return [np.where(snr < 2 << SNR_BITS, below, above).astype(np.uint32)]

    def overwrites(self, node: Node) -> list[int]:
        return [0, 1]

    def emit(self, node: Node, code: LayerCode) -> None:
        code.call(
            SIGNAL_PCAN,
            x=code.input(0),
            noise=code.input(1),
            table=self.flash(node, code, 2, "gains"),
            y=code.output(),
            n=node.output.elements,
            shift=self.shift,
        )


SIGNAL_PCAN = Kernel(
    "signal_pcan",
    f"""\
/* Four entries of the table are a parabola for noise of as many bits */
static inline uint32_t pcan_gain(uint32_t noise, const int16_t *table)
{{
    if (noise <= 2)
        return (uint32_t)FLASH_I16(table + noise);
    int bits = bit_length(noise);
    int32_t part = (int32_t)((bits < 11 ? noise << (11 - bits) : noise >> (bits - 11)) & 0x3FF);
    table += 4 * bits - 6;
    int32_t curve = ((int32_t)FLASH_I16(table + 2) * part >> 5) + (int32_t)FLASH_I16(table + 1) * 32;
    return (uint32_t)(int16_t)((int32_t)(((int64_t)curve * part + (1 << 14)) >> 15) + FLASH_I16(table));
}}

/* value * gain, then x^2 / 4 below 2 and x - 1 above */
static void signal_pcan(const uint32_t *x, const uint32_t *noise, const int16_t *table, uint32_t *y, int n, int shift)
{{
    for (int i = 0; i < n; i++) {{
        uint32_t snr = (uint32_t)((uint64_t)x[i] * pcan_gain(noise[i], table) >> shift);
        y[i] = snr < {2 << SNR_BITS} ? (snr * snr) >> {2 + 2 * SNR_BITS - OUTPUT_BITS}
            : (snr >> {SNR_BITS - OUTPUT_BITS}) - {1 << OUTPUT_BITS};
    }}
}}
""",
    (BIT_LENGTH,),
)
