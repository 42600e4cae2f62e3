"""Cycles of executed blocks on in-order Cortex-M cores that start one instruction at a time.

Each executed block is disassembled once. A block costs the sum of its instructions, whose neighbours decide which of
their cycles overlap; the branch at its end costs more as often as the edges say that it was taken. What overlaps across
the border of two blocks is not counted as overlapping. A conditional instruction counts as executed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

from tinymaix.chips.tools import package
from tinymaix.chips.trace import Trace
from tinymaix.cores.armv6m.cycles import CYCLES as ARMV6M
from tinymaix.cores.armv7em.cycles import CYCLES as ARMV7EM
from tinymaix.cores.armv7m.cycles import CYCLES as ARMV7M
from tinymaix.cores.costs import Costs

TABLES = {**ARMV6M, **ARMV7M, **ARMV7EM}
"""Cycle tables by the name of the core."""

LOADS = {"ldr", "ldrb", "ldrh", "ldrsb", "ldrsh", "vldr"}
STORES = {"str", "strb", "strh", "vstr"}
LISTS = {"ldm", "ldmdb", "stm", "stmdb", "vldmia", "vldmdb", "vstmia", "vstmdb"}
"""Several words, the base register first."""
STACK = {"push", "pop", "vpush", "vpop"}
PAIRS = {"ldrd", "strd"}
MULTIPLE = LISTS | STACK | PAIRS
INTO_CORE = {"ldm", "ldmdb", "pop", "vldmia", "vldmdb", "vpop", "ldrd"}
"""Those of several words that load."""
LONG = {"smull", "umull", "smlal", "umlal", "umaal", "smlalbb", "smlalbt", "smlaltb", "smlaltt"}
LONG |= {"smlald", "smlaldx", "smlsld", "smlsldx"}
"""Multiplications with two results; others of four registers accumulate to the last."""
SYSTEM = 0x20000000
"""From here on code is fetched over the system bus (Armv7-M Architecture Reference Manual, B3.1)."""
PLAIN_SHIFTS = {"mov", "lsl", "lsr", "asr", "ror", "rrx"}
PLAIN_SHIFTS |= {f"{sign}xt{size}" for sign in "su" for size in ("b", "h", "b16")}
"""Instructions that do nothing but shift or extend."""


def cycles(core: str, trace: Trace) -> tuple[float, float]:
    """Cycles of everything that was executed, and how far they may be off either way."""
    costs, code = TABLES[core], trace.code
    total = spread = 0.0
    fallen: dict[tuple[int, int], int] = {}
    for (address, size), times in trace.blocks.items():
        block = _block(core, code.read(address, size), address % 4)
        falls = 0 if block.always else trace.falls(address, size)
        fallen[address, address + size] = falls
        total += times * block.cycles + (times - falls) * block.taken
        spread += times * block.spread
    for edge, times in trace.edges.items():
        more = costs.system_target if edge[1] >= SYSTEM else 0
        if costs.unaligned_target and edge[1] % 4 and _wide(code.read(edge[1], 2)):
            more += costs.unaligned_target
        total += more * (times - fallen.get(edge, 0))
    return total, spread


@dataclass(frozen=True)
class _Block:
    """Cycles of one execution of a block."""

    cycles: float
    """With the branch at its end not taken, where it may be."""
    spread: float
    """How far the cycles may be off either way."""
    taken: float
    """More cycles where the next block is another than the one behind it."""
    always: bool
    """Whether it is always taken, even to the block behind it."""


def _wide(half: bytes) -> bool:
    """Whether a Thumb instruction that starts so has 32 bits (Armv7-M Architecture Reference Manual, A5.1)."""
    return half[1] >= 0xE8


@dataclass(frozen=True)
class Step:
    """What a cycle table asks of one instruction."""

    name: str
    size: int
    words: int
    """Words that are loaded or stored; 0 for what does neither."""
    loads: bool
    address: frozenset[int]
    """Registers that its address depends on."""
    indexed: bool
    """Whether one of them is an offset."""
    base: frozenset[int]
    """The base register that it changes."""
    early: frozenset[int]
    """Registers that it needs at its start; not those that it stores or accumulates to."""
    writes: frozenset[int]
    shifted: bool
    """Whether a register is shifted before it is used."""
    inline: frozenset[int]
    """The registers that are shifted."""
    flags: bool
    """Whether it sets the flags."""
    to_pc: bool
    conditional: bool

    @property
    def single(self) -> bool:
        """Whether it loads or stores one register."""
        return self.words == 1 and self.name not in MULTIPLE


@cache
def _disassembler() -> tuple[Any, Any]:
    capstone, arm = package("capstone"), package("capstone.arm")
    engine = capstone.Cs(capstone.CS_ARCH_ARM, capstone.CS_MODE_THUMB | capstone.CS_MODE_MCLASS | capstone.CS_MODE_V8)
    engine.detail = True
    return engine, arm


def decode(code: bytes, alignment: int) -> list[Step]:
    """The instructions of a block. Raises ValueError where capstone does not know one."""
    engine, _ = _disassembler()
    steps = [_step(instruction) for instruction in engine.disasm(code, alignment)]
    if sum(step.size for step in steps) != len(code):
        raise ValueError(f"capstone cannot decode the code {code.hex()}.")
    return steps


@lru_cache(maxsize=1 << 16)
def _block(core: str, code: bytes, alignment: int) -> _Block:
    """The costs of a block on a core; `alignment` is its address modulo 4."""
    steps = decode(code, alignment)
    costs = TABLES[core]
    ranges = _ranges(costs, steps)
    low, high = sum(least for least, _ in ranges), sum(most for _, most in ranges)
    taken, last = 0.0, steps[-1]
    if last.to_pc:
        taken = _refill(costs, last)
        if len(steps) > 1 and last.conditional and steps[-2].flags and _folds(costs, steps[-2], last):
            taken += 1
        if last.conditional:  # not taken, it is one cycle whatever it would load
            own = _own(costs, last)
            low, high, taken = low - own[0] + 1, high - own[1] + 1, taken + sum(own) / 2 - 1
    spread = (high - low) / 2 + costs.split_run * _split_runs(steps, alignment)
    return _Block((low + high) / 2, spread, taken, last.to_pc and not last.conditional)


def pace(core: str, trace: Trace, address: int, size: int) -> list[tuple[int, float]]:
    """(bytes, cycles) of each instruction of a block, in order; the branch at its end as if it was not taken."""
    steps = decode(trace.code.read(address, size), address % 4)
    ranges = _ranges(TABLES[core], steps)
    return [(step.size, sum(span) / 2) for step, span in zip(steps, ranges, strict=True)]


def _ranges(costs: Costs, steps: Sequence[Step]) -> list[tuple[int, int]]:
    """Lowest and highest cycles of each instruction, which the one before it decides as well."""
    ranges = []
    for before, step in zip([None, *steps], steps, strict=False):
        least, most = _own(costs, step)
        wait = _wait(costs, before, step) if before else 0
        ranges.append((least + wait, most + wait))
    return ranges


def _split_runs(steps: Sequence[Step], address: int) -> int:
    """How often three or more 32-bit instructions in a row lie across two words each."""
    runs = length = 0
    for step in steps:
        length = length + 1 if step.size == 4 and address % 4 else 0
        runs += length == 3
        address += step.size
    return runs


def _own(costs: Costs, step: Step) -> tuple[int, int]:
    """Lowest and highest cycles of an instruction between two that have nothing to do with it."""
    if step.single:
        store = costs.store_indexed if step.indexed else costs.store
        return (costs.load, costs.load) if step.loads else (store, store)
    if step.words:
        return step.words + costs.multiple[0], step.words + costs.multiple[1]
    return costs.others.get(step.name, (1, 1))


def _wait(costs: Costs, before: Step, step: Step) -> int:
    """Cycles that an instruction takes more (or less) because of the one before it."""
    wait = -1 if _folds(costs, before, step) else 0
    if before.name in costs.late or (before.shifted and "shifted" in costs.late):
        wait += bool(before.writes & (step.early | step.address))
    if not step.words:
        return wait
    if before.single and not before.loads:
        wait += costs.address if before.base & step.address else 0
        wait += costs.store_load if step.loads and not before.indexed else 0
    elif not before.words and before.writes & step.address:
        wait += costs.address
    if costs.pipelined and before.single and before.loads and step.single:
        dependent = (before.writes | before.base) & step.address
        if not dependent and (costs.chained or not step.base):
            wait -= 1
    return wait


def _folds(costs: Costs, before: Step, step: Step) -> bool:
    """Whether an instruction issues together with the one before it."""
    if before.size != 2 or step.size != 2:
        return False
    return costs.folded_it if step.name == "it" else costs.folded_branch and step.to_pc and not step.words


def _refill(costs: Costs, step: Step) -> int:
    if step.name == "bl":
        return costs.link
    if step.name in ("b", "cbz", "cbnz"):
        return costs.direct
    return costs.loaded if step.words or step.name in ("tbb", "tbh") else costs.register


def _step(instruction: Any) -> Step:
    _, arm = _disassembler()
    name, operands = instruction.insn_name(), instruction.operands
    named = [operand for operand in operands if operand.type == arm.ARM_OP_REG]
    writes = {operand.reg for operand in named if operand.access & 2}
    early = {operand.reg for operand in named[: 3 if name not in LONG else 4] if operand.access != 2}
    moved: list[int] = []
    if name in LOADS | STORES | MULTIPLE:
        moved = [operand.reg for operand in named][name in LISTS :]
        writes, early = (set(moved), set()) if name in LOADS | INTO_CORE else (set(), set())
        early |= set(moved) if name == "vstr" else set()
    memory = next((operand.mem for operand in operands if operand.type == arm.ARM_OP_MEM), None)
    index = memory.index if memory is not None else 0
    bases = {memory.base} - {arm.ARM_REG_PC} if memory is not None else set()
    bases |= {arm.ARM_REG_SP} if name in STACK else {named[0].reg} if name in LISTS else set()
    branch = name in ("b", "bl", "bx", "blx", "cbz", "cbnz", "tbb", "tbh")
    return Step(
        name=name + "s" * (name == "mul" and instruction.size == 2) + "2" * (name == "vmov" and len(named) > 2),
        size=instruction.size,
        words=sum(2 if arm.ARM_REG_D0 <= register <= arm.ARM_REG_D31 else 1 for register in moved),
        loads=name in LOADS | INTO_CORE,
        address=frozenset(bases | {index} - {0}),
        indexed=index != 0,
        base=frozenset(bases if instruction.writeback or name in STACK else ()),
        early=frozenset(early),
        writes=frozenset(writes),
        shifted=not moved and name not in PLAIN_SHIFTS and any(operand.shift.type for operand in operands),
        inline=frozenset(operand.reg for operand in named if operand.shift.type),
        flags=bool(instruction.update_flags),
        to_pc=branch or arm.ARM_REG_PC in writes,
        conditional=instruction.cc not in (arm.ARM_CC_AL, arm.ARM_CC_INVALID) or name in ("cbz", "cbnz"),
    )
