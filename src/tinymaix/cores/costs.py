"""What instructions cost on an in-order Cortex-M core with memory that answers at once: the form of the cycle tables.

Each family's cycles.py fills it from the core's manual; chips/cycles.py applies it to the blocks that were executed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

Range = tuple[int, int]
"""Lowest and highest cycles, where they depend on data or on what is not known."""


@dataclass(frozen=True)
class Costs:
    """Cycles by kind of instruction. What is not named here takes one cycle."""

    source: str
    """The manual and its table."""
    error: float
    """Relative error of an estimate, for what the table cannot say."""

    direct: int
    """Refill of the pipeline after a taken branch to a constant address, on top of the branch's own cycle."""
    link: int
    """The same for BL."""
    register: int
    """The same for an address from a register: BX, BLX, MOV PC, ADD PC."""
    loaded: int
    """The same for an address from memory: POP {PC}, LDR PC, TBB."""
    unaligned_target: int = 0
    """More for a target that is a 32-bit instruction across two words."""
    system_target: int = 0
    """More for a target at 0x20000000 or above, which is fetched over the system bus."""
    split_run: int = 0
    """At most this much for three or more such instructions in a row; only the error includes it."""

    load: int = 2
    """LDR and its relatives, alone."""
    store: int = 2
    """STR and its relatives with a constant offset."""
    store_indexed: int = 2
    """The same with a register as offset."""
    multiple: Range = (1, 1)
    """Cycles of LDM, STM, PUSH, POP, LDRD, STRD beyond one a word."""
    pipelined: bool = False
    """Whether a load's second cycle is that of a load or store after it whose address does not depend on it."""
    chained: bool = False
    """Whether that holds for one with pre- or post-indexed address, too."""
    store_load: int = 0
    """Wait of a load right after a store."""
    address: int = 0
    """Wait of a load or store for an address from the instruction before it."""
    late: frozenset[str] = frozenset()
    """Instructions whose result the next one can use only a cycle later, but as an integer to store or to accumulate
    to; "shifted" is any with a shifted register as operand."""
    folded_it: bool = False
    """Whether IT after a 16-bit instruction costs nothing."""
    folded_branch: bool = False
    """Whether the same holds for a 16-bit branch; taken on flags of that instruction it costs its cycle."""
    others: Mapping[str, Range] = field(default_factory=dict)
    """Other instructions by capstone's name; "muls" is the 16-bit MUL, "vmov2" a VMOV of two registers."""


@dataclass(frozen=True)
class Branches:
    """Cycles that a change of the flow takes beyond the branch's own."""

    predict: str
    """How conditional branches are foreseen. "never": as not taken; "backward": those backward as taken; "last": the
    one that was last taken backward as taken (Hazard3); "counters": by a table of two-bit counters, and addresses from
    registers as the last time."""
    wrong: int
    """A conditional branch that was not foreseen."""
    taken: int
    """One that was foreseen as taken."""
    jump: int
    """A jump or call to a constant address."""
    indirect: int
    """A jump to an address from a register; where `predict` is "counters", one that was not foreseen."""
    back: int
    """A return."""
    unaligned: int = 0
    """More for a target that is a 32-bit instruction across two words."""


@dataclass(frozen=True)
class Pipeline:
    """An in-order core that starts at most one instruction a cycle, which waits until its operands are there."""

    source: str
    """The document."""
    error: float
    """Relative error of an estimate, for what the document cannot say."""
    branches: Branches
    cycles: Mapping[str, Range] = field(default_factory=dict)
    """From the start of an instruction to that of an independent one, by kind (see chips/riscv.py); else `usual`."""
    latency: Mapping[str, int] = field(default_factory=dict)
    """From the start of an instruction to that of one that uses its result, by kind, where that is longer."""
    store_late: bool = False
    """Whether a store needs its data a cycle later than its address."""
    usual: int = 1


@dataclass(frozen=True)
class DualIssue:
    """An in-order core that starts up to two instructions a cycle (chips/cycles_m7.py has its rules)."""

    source: str
    error: float
    branches: Branches
    late: Mapping[str, int]
    """From the start of an instruction to that of one that uses its result, by capstone's name; else 1. Operands that
    are shifted, multiplied words just loaded and addresses are needed a cycle earlier."""
    alone: Mapping[str, Range]
    """Instructions that nothing starts together with, and their cycles."""
