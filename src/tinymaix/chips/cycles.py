"""Exact block counts -> modelled cycles: the model of the core, and what its flash makes it wait.

For jnk0le's cortexm-AES in assembly the model gives the cycles that its author measured: 1,666 for an encryption with a
key of 128 bits on an STM32F0 (M0), 626 on an STM32F4 (M4), 574 on an RP2350 (M33), and 626 for 627 on an STM32F1 (M3).
Compiled code, less well aligned, is less certain. bench/validate_cycles.py compares with more figures, docs/cycles.md
has the results.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from tinymaix.chips import cycles_arm, cycles_m7, cycles_riscv
from tinymaix.chips.emulate.machine import Emulation, Part
from tinymaix.chips.firmware import Firmware
from tinymaix.chips.flash import Pace, waits
from tinymaix.chips.trace import Code, Trace
from tinymaix.cores.armv7em.cycles import CORTEX_M7
from tinymaix.cores.costs import Costs, DualIssue, Pipeline
from tinymaix.cores.rv32.cycles import CYCLES as RV32

TABLES: dict[str, Costs | Pipeline | DualIssue] = {**cycles_arm.TABLES, "cortex-m7": CORTEX_M7, **RV32}
"""Cycle tables by the name of the core."""


@dataclass(frozen=True)
class Cycles:
    """The modelled cycles of one call of tm_main."""

    cycles: int
    error: float
    """Estimated relative error: 0.1 means that the chip is expected within 10 % either way."""
    source: str
    """Where the costs of the instructions come from."""
    flash: int = 0
    """How many of the cycles are waits for the flash."""
    constants: int = 0
    """How many of those are for constants."""


def estimate(firmware: Firmware, emulation: Emulation | Part) -> Cycles | None:
    """The cycles of an emulation or a part of one; None where its blocks were not counted or the core has no table.

    Raises KeyError where reads of the flash were not followed, ToolError where capstone or pyelftools is missing.
    """
    core = firmware.chip.core.name
    if core not in TABLES or emulation.blocks is None or emulation.edges is None:
        return None
    trace = Trace(Code(firmware.elf), emulation.blocks, emulation.edges)
    pace: Pace | None = None
    if core == "cortex-m7":
        total, spread = cycles_m7.cycles(trace)
    else:
        model = cycles_riscv if core in RV32 else cycles_arm
        (total, spread), pace = model.cycles(core, trace), partial(model.pace, core, trace)
    flash = waits(firmware.chip, trace, total, emulation.missed, pace)
    cycles = total + flash.cycles
    error = TABLES[core].error + (spread + flash.spread) / max(cycles, 1)
    return Cycles(round(cycles), error, TABLES[core].source, round(flash.cycles), round(flash.constants))
