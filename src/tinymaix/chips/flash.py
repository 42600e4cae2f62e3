"""How long a core waits for its flash, from the executed blocks and edges.

Without a cache the flash is read by lines while the core runs through the line before: a line takes as long as its read
or its instructions, whichever is longer, as measured on a CH32V003 (jnk0le, rv003usb issue 5: ten 32-bit instructions
take 20 cycles at one wait state with lines of 4 bytes, ten 16-bit ones 10). The target of a branch that is taken waits
for its read, and half of the time for one more that was under way (the same, ch32v003_(qkv2).md: 4 or 5 cycles for 3).

With a cache, what it misses waits, as the emulator has followed it (see block_counter.c). So do constants that are read
from the flash, past a cache or without one each time; that this also keeps code from being read ahead is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from tinymaix.chips.chip import Chip
from tinymaix.chips.emulate.machine import FlashReads
from tinymaix.chips.trace import Trace

Pace = Callable[[int, int], Sequence[tuple[int, float]]]
"""(bytes, cycles) of each instruction of the block at an address, of so many bytes."""


class Waits(NamedTuple):
    """Waiting for the flash."""

    cycles: float
    spread: float
    """How far they may be off either way."""
    constants: float = 0.0
    """Those of them that are for constants."""


def waits(chip: Chip, trace: Trace, cycles: float, missed: FlashReads, pace: Pace | None = None) -> Waits:
    """What is added to the cycles of the core alone, whose instructions are all equally slow where no pace is given.

    Raises KeyError where reads on the chip's path were not followed.
    """
    path, wait = chip.flash_path, chip.wait_states
    if path is None or wait is None:
        return Waits(0, 0)
    reads = missed[path].values()
    data = wait * sum(read.data for read in reads)
    if path.code:
        cached = wait * sum(read.code for read in reads)
        code = Waits(cached, cached / 2)
    else:
        code = _read_ahead(chip, trace, wait, cycles, pace)
    return Waits(code.cycles + data, code.spread + data / 2, data)


def _read_ahead(chip: Chip, trace: Trace, wait: int, cycles: float, pace: Pace | None) -> Waits:
    """Waits where each line is read while the one before it is executed.

    Cores read ahead by themselves; how far is less certain than where the flash does it.
    """
    blocks = {key: times for key, times in trace.blocks.items() if trace.code.in_flash(key[0])}
    executed = sum(size * times for (_, size), times in trace.blocks.items())
    lines = sum(size * times for (_, size), times in blocks.items()) / chip.flash_line
    even = 2 * cycles / max(executed, 1)
    overlapped, exposed = 0.0, lines * wait
    for (address, size), times in blocks.items():
        steps = pace(address, size) if pace else [(2, even)] * (size // 2)
        overlapped += times * _longer(address, steps, chip.flash_line, (1 + wait) / chip.flash_line)
    doubt = 0.0 if chip.accelerator == "prefetch" else (exposed - overlapped) / 2
    taken = sum(times - trace.falls(*key) for key, times in blocks.items())
    return Waits(overlapped + 1.5 * taken * wait, doubt + taken * wait / 2)


def _longer(address: int, steps: Sequence[tuple[int, float]], line: int, read: float) -> float:
    """How much longer the lines of a block take to read than to execute; `read` is the cycles of reading one byte."""
    passed: dict[int, float] = {}
    size_of: dict[int, int] = {}
    for size, cycles in steps:
        for half in range(address, address + size, 2):
            passed[half // line] = passed.get(half // line, 0.0) + cycles * 2 / size
            size_of[half // line] = size_of.get(half // line, 0) + 2
        address += size
    return sum(max(0.0, size * read - passed[at]) for at, size in size_of.items())
