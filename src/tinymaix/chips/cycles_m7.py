"""Cycles of executed blocks on the Cortex-M7, which starts up to two instructions a cycle, in order.

Its rules as jnk0le measured them ("pipeline cycle test", cortex_m7.md). Of two instructions that start together, the
older and the younger:
- not two stores, two multiplications, a multiplication and a store, two of the FPU's arithmetic, two with a shifted
  operand, or anything with several words;
- bit field, extending and SIMD instructions only as the older one;
- two loads where they go to different banks, which is not known: half of the time.
Plain additions, moves and shifts are done early where their operands are there, and then the younger instruction can
use the result. What is stored is needed last, so it is always there; sums of multiplications follow each other.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from tinymaix.chips.branches import conditional, indirect
from tinymaix.chips.cycles_arm import Step, decode
from tinymaix.chips.trace import Trace
from tinymaix.cores.armv7em.cycles import CORTEX_M7, FLOAT_MACS, MULTIPLY
from tinymaix.cores.costs import DualIssue

EARLY = frozenset({"add", "addw", "sub", "subw", "mov", "movw", "lsl", "lsr", "asr", "ror"})
"""Done early where their operands are there."""
SHIFTER = frozenset({"bfi", "bfc", "sbfx", "ubfx", "rbit", "rev", "rev16", "revsh", "pkhbt", "pkhtb"})
SHIFTER |= {f"{sign}xta{size}" for sign in "su" for size in ("b", "h", "b16")}
"""Share the shifter with shifted operands, and need their own early."""
OLDER = SHIFTER | {f"{sign}xt{size}" for sign in "su" for size in ("b", "h", "b16")} | {"clz", "sel", "ssat", "usat"}
OLDER |= {f"{kind}{what}" for kind in ("s", "u", "q", "sh", "uh", "uq") for what in ("add8", "sub8", "add16", "sub16")}
"""Only as the older one."""
FLOAT = frozenset({"vadd", "vsub", "vmul", "vnmul", "vcvt", "vcmp", *FLOAT_MACS})


class State(NamedTuple):
    """What a block leaves to the next one."""

    older: Step | None
    """What started last and alone, in the cycle that goes on."""
    late: tuple[tuple[int, int], ...]
    """(register, cycles until it can be used), where it cannot yet."""
    early: tuple[tuple[int, int], ...]
    """The same for what needs it early."""


class Run(NamedTuple):
    """One execution of a block."""

    low: int
    high: int
    state: State


NOTHING = State(None, (), ())


def cycles(trace: Trace) -> tuple[float, float]:
    """Cycles of everything that was executed, and how far they may be off either way."""
    total = spread = 0.0
    for (address, size), times in trace.blocks.items():
        code, rest = trace.code.read(address, size), times
        contexts = []
        for before, length, count in trace.before(address):
            count = min(count, rest)
            rest -= count
            left = _run(trace.code.read(before, length), before % 4, NOTHING).state
            contexts.append((count, left if before + length == address else left._replace(older=None)))
        for count, state in (*contexts, (rest, NOTHING)):
            run = _run(code, address % 4, state)
            total, spread = total + count * (run.low + run.high) / 2, spread + count * (run.high - run.low) / 2
        flow, doubt = _flow(CORTEX_M7, trace, address, size)
        total, spread = total + flow, spread + doubt
    return total, spread


def _flow(costs: DualIssue, trace: Trace, address: int, size: int) -> tuple[float, float]:
    """What the branch at the end of a block costs beyond its own cycle in all."""
    last = _decode(trace.code.read(address, size), address % 4)[-1]
    if not last.to_pc:
        return 0.0, 0.0
    if last.conditional:
        falls = trace.falls(address, size)
        return conditional(costs.branches, trace.blocks[address, size] - falls, falls, backward=True, inner=True)
    if last.name in ("b", "bl"):
        return trace.blocks[address, size] * costs.branches.jump, 0.0
    return indirect(costs.branches, costs.branches.indirect, [times for _, times in trace.after(address)]), 0.0


@lru_cache(maxsize=1 << 16)
def _decode(code: bytes, alignment: int) -> list[Step]:
    return decode(code, alignment)


@lru_cache(maxsize=1 << 16)
def _run(code: bytes, alignment: int, state: State) -> Run:
    now, doubt, older = 0, 0, state.older
    late, early = dict(state.late), dict(state.early)
    for step in _decode(code, alignment):
        start = max(now, _ready(step, late, early))
        together = older is not None and start == now and _pair(older, step)
        if not together:
            start = max(now + (older is not None), start)
        _finish(step, start, together, late, early)
        least, most = _length(step)
        if together:
            doubt += bool(older and older.loads and step.loads)
            now, older = start + 1, None
        elif least:
            now, doubt, older = start + least, doubt + most - least, None
        else:
            now, older = start, step
    left = [tuple(sorted((k, at - now) for k, at in ready.items() if at > now)) for ready in (late, early)]
    entered = state.older is not None
    end = now + (older is not None) - entered
    return Run(end, end + doubt, State(older, left[0], left[1]))


def _ready(step: Step, late: dict[int, int], early: dict[int, int]) -> int:
    """The first cycle in which an instruction's operands are there."""
    soon = step.address | (step.early if step.name in SHIFTER else step.inline if step.shifted else frozenset())
    others = step.early | (step.writes if step.name in FLOAT_MACS else frozenset())
    return max(
        (*(early.get(register, 0) for register in soon), *(late.get(register, 0) for register in others)), default=0
    )


def _finish(step: Step, start: int, younger: bool, late: dict[int, int], early: dict[int, int]) -> None:
    """Note when the results can be used."""
    simple = step.name in EARLY and not step.shifted
    shift = step.name in ("lsl", "lsr", "asr", "ror")
    done_early = simple and (shift or not younger) and all(early.get(register, 0) <= start for register in step.early)
    after = CORTEX_M7.late.get(step.name, 1)
    for register in step.writes:
        late[register] = start if done_early else start + after
        early[register] = late[register] + 1
    for register in step.base:
        late[register], early[register] = start, start + 1


def _length(step: Step) -> tuple[int, int]:
    """Cycles of an instruction that nothing starts together with; (0, 0) for others."""
    if step.words and not step.single:
        return (step.words + 1) // 2, (step.words + 1) // 2
    return CORTEX_M7.alone.get(step.name, (0, 0))


def _pair(older: Step, younger: Step) -> bool:
    """Whether two instructions can start together, as far as their operands allow it."""
    if _length(younger)[0] or (older.to_pc and younger.to_pc) or younger.name in OLDER:
        return False
    kinds = [_kind(step) for step in (older, younger)]
    if kinds[0] == kinds[1] != "" and kinds[0] != "load":
        return False
    if set(kinds) == {"multiply", "store"}:
        return False
    return not ((older.shifted or older.name in SHIFTER) and younger.shifted)


def _kind(step: Step) -> str:
    if step.single:
        return "load" if step.loads else "store"
    return "multiply" if step.name in MULTIPLY or step.name == "muls" else "float" if step.name in FLOAT else ""
