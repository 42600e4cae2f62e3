"""How long a core waits for its flash, from the executed blocks and edges.

Without a cache the flash is read by lines while the core runs through the line before: a line takes as long as its read
or its instructions, whichever is longer, as measured on a CH32V003 (jnk0le, rv003usb issue 5: ten 32-bit instructions
take 20 cycles at one wait state with lines of 4 bytes, ten 16-bit ones 10). The target of a branch that is taken waits
for its read, and half of the time for one more that was under way (the same, ch32v003_(qkv2).md: 4 or 5 cycles for 3).

With a cache, only misses wait. What stays in it is a working set: blocks grow together along the edges that are passed
most often as long as they fit; a set that is entered anew is read anew. What the run before left there is still there.

Constants that are read from the flash are not in the counts. Their waits are left out, and the error says so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from tinymaix.chips.chip import Chip
from tinymaix.chips.trace import Trace

CACHED = ("cache", "xip-cache")
CONSTANTS = 0.01
"""Relative error for each wait state, up to ten, for constants that are read past a cache or through a small one."""
LARGE = 1024
"""Bytes of a cache for constants that is not small."""


Pace = Callable[[int, int], Sequence[tuple[int, float]]]
"""(bytes, cycles) of each instruction of the block at an address, of so many bytes."""


class Waits(NamedTuple):
    """Waiting for the flash."""

    cycles: float
    spread: float
    """How far they may be off either way."""


def waits(chip: Chip, trace: Trace, cycles: float, pace: Pace | None = None) -> Waits:
    """What is added to the cycles of the core alone, whose instructions are all equally slow where no pace is given."""
    if not chip.wait_states or chip.accelerator == "tcm":
        return Waits(0, 0)
    blocks = {key: times for key, times in trace.blocks.items() if trace.code.in_flash(key[0])}
    if chip.accelerator in CACHED:
        missed = _missed(trace, blocks, chip.flash_line, max(chip.cache // chip.flash_line, 1)) * chip.wait_states
        code = Waits(missed, missed / 2)
    else:
        code = _read_ahead(chip, trace, blocks, cycles, pace)
    cache = chip.cache if chip.data_cache is None else chip.data_cache
    constants = 0.0 if chip.accelerator in CACHED and cache >= LARGE else CONSTANTS * min(chip.wait_states, 10)
    return Waits(code.cycles, code.spread + constants * cycles)


def _read_ahead(
    chip: Chip, trace: Trace, blocks: dict[tuple[int, int], int], cycles: float, pace: Pace | None
) -> Waits:
    """Waits where each line is read while the one before it is executed.

    Cores read ahead by themselves; how far is less certain than where the flash does it.
    """
    wait = chip.wait_states or 0
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


def _missed(trace: Trace, blocks: dict[tuple[int, int], int], line: int, room: int) -> float:
    """Lines that a cache with room for so many has to read."""
    owner = {address: address for address, _ in blocks}
    lines: dict[int, set[int]] = {address: set() for address, _ in blocks}
    runs = dict.fromkeys(lines, 0)
    for (address, size), times in blocks.items():
        touched = range(address // line, (address + size - 1) // line + 1)
        lines[address].update(touched)
        runs[address] += times * len(touched)

    def set_of(address: int) -> int:
        while owner[address] != address:
            owner[address] = address = owner[owner[address]]
        return address

    edges = [(times, edge) for edge, times in trace.edges.items() if edge[0] in owner and edge[1] in owner]
    for _, (before, address) in sorted(edges, reverse=True):
        one, other = set_of(before), set_of(address)
        if one != other and len(lines[one] | lines[other]) <= room:
            owner[other] = one
            lines[one] |= lines.pop(other)
            runs[one] += runs.pop(other)
    entries = dict.fromkeys(lines, 0)
    for times, (before, address) in edges:
        if set_of(before) != set_of(address):
            entries[set_of(address)] += times
    return sum(min(entries[each] * len(lines[each]), runs[each]) for each in lines)
