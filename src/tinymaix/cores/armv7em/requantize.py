"""The proven fast requantization in C and as tables: one SMLAL, one SSAT with its shift in the instruction.

A table has three words a channel {multiplier, constant low, constant high}, with the bias in the constant, or, where
a constant depends on the sign of the sum, five {bias, multiplier, constant low, constant high, sign}.
"""

from __future__ import annotations

import numpy as np

from tinymaix.cores.exact_requantize import FastRequant
from tinymaix.graph import Array
from tinymaix.ops.emit import Kernel

SHIFTS = (4, 2, 0, 6, 8, 1, 3, 5, 7)
"""In the order of preference: the first serves most layers, and each more costs a copy of a kernel."""


def table(fast: FastRequant, bias: Array) -> Array:
    """int32 (channels, 3), or (channels, 5) where ``fast.signed``."""
    if fast.signed:
        low, high = _halves(fast.constant)
        return np.stack(
            [bias.astype(np.int32), fast.multiplier.astype(np.int32), low, high, fast.sign.astype(np.int32)], 1
        )
    low, high = _halves(fast.folded(bias))
    return np.stack([fast.multiplier.astype(np.int32), low, high], axis=1)


def _halves(constant: Array) -> tuple[Array, Array]:
    """The low and the high words of 64-bit constants, as int32."""
    words = np.ascontiguousarray(constant, "<i8").view("<i4").reshape(-1, 2)
    return words[:, 0], words[:, 1]


def saturate_shifted(shift: int) -> Kernel:
    """int8 saturation of x >> shift in one instruction."""
    asr = f", asr #{shift}" if shift else ""
    return Kernel(
        f"saturate_shifted_{shift}",
        f"""\
/* x >> {shift}, saturated to int8 */
static inline int32_t saturate_shifted_{shift}(int32_t x)
{{
#if defined(__ARM_FEATURE_DSP)
    __asm__("ssat %0, #8, %1{asr}" : "=r"(x) : "r"(x));
    return x;
#else
    x >>= {shift};
    return x < -128 ? -128 : x > 127 ? 127 : x;
#endif
}}
""",
    )


def requantize_fast(fast: FastRequant) -> Kernel:
    """``requantize_fast_<shift>(sum, row)``, or ``requantize_signed_<shift>``: ``row`` is the channel's in the table.

    In the signed form ``sum`` includes the bias, row[0]; in the other it does not.
    """
    if fast.signed:
        name, at, sign = (
            f"requantize_signed_{fast.shift}",
            1,
            "\n    total += (int64_t)(sum >> 31) * FLASH_I32(row + 4);",
        )
    else:
        name, at, sign = f"requantize_fast_{fast.shift}", 0, ""
    return Kernel(
        name,
        f"""\
/* Both roundings, the zero point and the clamp at once: proven equal to TFLM's for every sum that can occur */
static inline int32_t {name}(int32_t sum, const int32_t *row)
{{
    uint32_t low = (uint32_t)FLASH_I32(row + {at + 1}), high = (uint32_t)FLASH_I32(row + {at + 2});
    int64_t total = (int64_t)((uint64_t)high << 32 | low);
    total += (int64_t)sum * FLASH_I32(row + {at});{sign}
    return saturate_shifted_{fast.shift}((int32_t)(total >> 32));
}}
""",
        (saturate_shifted(fast.shift),),
    )
