"""Cycles of executed blocks on the in-order RV32 cores of cores/rv32/cycles.py.

A block starts with the results outstanding that the block before it left, so a load at the end of a loop makes its
beginning wait.
"""

from __future__ import annotations

from bisect import bisect_left
from functools import lru_cache
from typing import NamedTuple

from tinymaix.chips.branches import conditional, indirect
from tinymaix.chips.riscv import Instruction, decode
from tinymaix.chips.trace import Trace
from tinymaix.cores.costs import Pipeline
from tinymaix.cores.rv32.cycles import CYCLES

Outstanding = tuple[tuple[int, int], ...]
"""(register, cycles until it can be used), of those that are not there yet."""


class Run(NamedTuple):
    """One execution of a block."""

    low: int
    high: int
    outstanding: Outstanding
    begins: tuple[int, ...]
    """When each instruction starts, and the end."""


def cycles(core: str, trace: Trace) -> tuple[float, float]:
    """Cycles of everything that was executed, and how far they may be off either way."""
    costs, total, spread = CYCLES[core], 0.0, 0.0
    loops = sorted(address for address, _ in _loops(trace))
    for (address, size), times in trace.blocks.items():
        code = trace.code.read(address, size)
        rest = times
        for before, length, count in trace.before(address):
            count = min(count, rest)
            rest -= count
            run = _run(core, code, _after(core, trace.code.read(before, length), taken=before + length != address))
            total, spread = total + count * (run.low + run.high) / 2, spread + count * (run.high - run.low) / 2
        run = _run(core, code, ())
        total, spread = total + rest * (run.low + run.high) / 2, spread + rest * (run.high - run.low) / 2
        flow, doubt = _flow(costs, trace, address, size, loops)
        total, spread = total + flow, spread + doubt
    return total, spread


def pace(core: str, trace: Trace, address: int, size: int) -> list[tuple[int, float]]:
    """(bytes, cycles) of each instruction of a block, in order; the branch at its end as if it was not taken."""
    code = trace.code.read(address, size)
    begins = _run(core, code, ()).begins
    return [(step.size, begins[i + 1] - begins[i]) for i, step in enumerate(_decode(code))]


def _flow(costs: Pipeline, trace: Trace, address: int, size: int, loops: list[int]) -> tuple[float, float]:
    """What the branch at the end of a block costs beyond its own cycle in all."""
    last, branches = _decode(trace.code.read(address, size))[-1], costs.branches
    falls = trace.falls(address, size)
    taken = trace.blocks[address, size] - falls
    targets = trace.after(address)
    unaligned = sum(
        times
        for target, times in targets
        if target % 4 and target != address + size and trace.code.read(target, 1)[0] & 3 == 3
    )
    more = branches.unaligned * min(unaligned, taken)
    if last.kind == "branch":
        end = address + size - last.size
        start = min((target for target, _ in targets), default=end)
        inner = bisect_left(loops, start) == bisect_left(loops, end)
        own, doubt = conditional(branches, taken, falls, backward=last.backward, inner=inner)
        return own + more, doubt
    if last.kind == "jump":
        return trace.blocks[address, size] * branches.jump + more, 0.0
    if last.kind == "back":
        return trace.blocks[address, size] * branches.back + more, 0.0
    if last.kind == "indirect":
        return indirect(branches, branches.indirect, [times for _, times in targets]) + more, 0.0
    return 0.0, 0.0


def _loops(trace: Trace) -> list[tuple[int, int]]:
    """(address of the branch, size of its block) of each branch that was taken backward."""
    found = []
    for (address, size), times in trace.blocks.items():
        last = _decode(trace.code.read(address, size))[-1]
        if last.kind == "branch" and last.backward and times > trace.falls(address, size):
            found.append((address + size - last.size, size))
    return found


@lru_cache(maxsize=1 << 16)
def _decode(code: bytes) -> list[Instruction]:
    return decode(code)


@lru_cache(maxsize=1 << 16)
def _after(core: str, code: bytes, taken: bool) -> Outstanding:
    """What a block leaves outstanding for the next one; the refill after a branch that was taken passes meanwhile."""
    costs, last = CYCLES[core], _decode(code)[-1]
    passes = {"branch": costs.branches.taken, "jump": costs.branches.jump}.get(last.kind, costs.branches.back)
    left = _run(core, code, ()).outstanding
    return tuple((register, wait - passes) for register, wait in left if wait > passes) if taken else left


@lru_cache(maxsize=1 << 17)
def _run(core: str, code: bytes, outstanding: Outstanding) -> Run:
    costs, now, extra = CYCLES[core], 0, 0
    ready, begins = dict(outstanding), []
    for step in _decode(code):
        start = max([now, *(ready.get(register, 0) for register in step.reads)])
        if step.stores:
            start = max(start, ready.get(step.stores, 0) - costs.store_late)
        low, high = costs.cycles.get(step.kind, (costs.usual, costs.usual))
        begins.append(start)
        now, extra = start + low, extra + high - low
        if step.writes:
            ready[step.writes] = start + max(low, costs.latency.get(step.kind, 0))
    left = tuple(sorted((register, at - now) for register, at in ready.items() if at > now))
    return Run(now, now + extra, left, (*begins, now))
