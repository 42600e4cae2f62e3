"""Tiny programs whose figures are known by hand, and a way to build and run them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from tinymaix.chips import ToolError, find_chip
from tinymaix.chips.build import Firmware, build
from tinymaix.chips.emulate import Machine, open_machine

ARM = ("cortex-m0", "cortex-m0plus", "cortex-m3", "cortex-m4", "cortex-m7", "cortex-m33")
RISCV = ("rv32ec", "rv32im", "rv32imc", "rv32imac", "rv32imafc", "rv64gc")
AVR = ("avr5", "avr51", "avr6")
EMULATED = (*ARM, *RISCV, *AVR, "host")

# 2 instructions before the loop, 2 an iteration, 2 after it: 4 + 2 n. The loop runs n = 1000 times.
LOOPS = {
    "arm": """
    .syntax unified\n .thumb\n .text\n .global tm_main\n .type tm_main, %function\n .thumb_func\n
tm_main:
    movs r0, #250
    lsls r0, r0, #2
1:  subs r0, r0, #1
    bne 1b
    movs r0, #7
    bx lr
    .size tm_main, . - tm_main
""",
    "riscv": """
    .text\n .global tm_main\n .type tm_main, @function\n
tm_main:
    li a0, 250
    slli a0, a0, 2
1:  addi a0, a0, -1
    bnez a0, 1b
    li a0, 7
    ret
    .size tm_main, . - tm_main
""",
    # Cycles: ldi 1, ldi 1, 1000 x (sbiw 2 + brne 2) - 1 for the last brne, ldi 1, ldi 1, ret 4 (5 with a 3-byte PC).
    "avr": """
    .text\n .global tm_main\n .type tm_main, @function\n
tm_main:
    ldi r24, lo8(1000)
    ldi r25, hi8(1000)
1:  sbiw r24, 1
    brne 1b
    ldi r24, 7
    ldi r25, 0
    ret
    .size tm_main, . - tm_main
""",
}


def make(text: str, core: str, folder: Path, *, suffix: str = ".c", **options: str) -> Firmware:
    """Build one source for a core or chip; skips where a tool is missing."""
    source = folder / f"program{suffix}"
    source.write_text(text)
    try:
        return build([source], find_chip(core), out_dir=folder / "out", **options)  # type: ignore[arg-type]
    except ToolError as error:
        pytest.skip(str(error))


def power_on(firmware: Firmware) -> Machine:
    """Open a machine; skips where a tool is missing."""
    try:
        return open_machine(firmware)
    except ToolError as error:
        pytest.skip(str(error))


def words(values: Mapping[str, int]) -> dict[str, bytes]:
    """int32_t variables as bytes."""
    return {name: value.to_bytes(4, "little", signed=True) for name, value in values.items()}
