"""Somebody's own firmware on a chip that is not at hand: how long it takes, how deep its stack is, where time goes.

tinymaix emulate FIRMWARE.elf --chip CHIP
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from tinymaix.chips import Chip
from tinymaix.chips.cycles import Cycles, estimate
from tinymaix.chips.emulate.board import Board, Run
from tinymaix.chips.emulate.elf import Functions, Program, read_elf
from tinymaix.chips.emulate.machine import Part
from tinymaix.chips.emulate.prologue import deepest
from tinymaix.chips.emulate.simavr_board import run_avr
from tinymaix.chips.emulate.start import check
from tinymaix.chips.firmware import Firmware

LIMIT = 2_000_000_000
"""Instructions at most, unless something else is asked for."""


@dataclass(frozen=True)
class FunctionCost:
    """What one function costs by itself, without what it calls."""

    name: str
    calls: int
    instructions: int
    cycles: int | None
    """Modelled ones are estimated for each function and scaled to the whole, in which caches are shared."""


@dataclass(frozen=True)
class Emulated:
    """What a program did and took, from its reset or between two points."""

    firmware: str
    chip: str
    start: str
    """Where it starts, and how that was found."""
    end: str
    """How it ended: the rest of a sentence that begins with "it"."""
    finished: bool
    """Whether it came to an end, or to where it was to stop."""
    status: int | None
    """The exit status that it gave, if it gave one."""
    instructions: int
    cycles: int | None
    """Exact, else modelled, else None."""
    cycles_exact: bool
    cycles_error: float | None
    """Estimated relative error of the model."""
    cycles_source: str
    """Where the costs of instructions are from, or why there are none."""
    milliseconds: float | None
    millijoules: float | None
    stack: int | None
    """Bytes of stack at its deepest, below the stack pointer at the start of the count."""
    other_stacks: dict[str, int]
    """Bytes of stacks of its own, by the variable that holds each."""
    flash: int
    static_ram: int
    functions: list[FunctionCost] = field(repr=False)
    """The dearest first."""
    unknown: dict[str, int]
    """Accesses by address to registers that nothing here knows."""
    text: str

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def emulate(
    elf: Path,
    chip: Chip,
    *,
    begin: str | None = None,
    until: str | None = None,
    function: str | None = None,
    limit: int = LIMIT,
    answers: str = "poll",
    ram: Sequence[tuple[int, int]] = (),
) -> Emulated:
    """Run a linked program.

    Args:
        begin, until: symbols or addresses ("0x...") between which is counted; else from reset and to the end.
        function: counts one call of it, from its first instruction to its return, instead.
        limit: most instructions, before and again after `begin`.
        answers: what registers read as that nothing here knows: "zeros", "ones" or "poll" (see chips/emulate).
        ram: (address, bytes) of memory beside what chip and program tell.

    Raises:
        ElfError: the file is no program for the chip, or lacks a symbol.
        EmulationError: the program faults.
        ToolError: an emulator is missing.
        ValueError: the options contradict each other.
    """
    if function is not None and (begin is not None or until is not None):
        raise ValueError("Count one function's call or from one symbol until another, not both.")
    program = read_elf(elf)
    check(program, chip)
    first = function if function is not None else begin
    points = [None if name is None else program.place(name) for name in (first, until)]
    if program.machine == "avr":
        run, places, stack = run_avr(
            program, chip, begin=points[0], until=points[1], call=function is not None, limit=limit
        )
        costs = _avr_costs(program, places)
        return _result(program, chip, run, Cycles(run.cycles or 0, 0.0, "counted by simavr"), costs, stack, {}, "reset")
    board = Board(program, chip, answers=answers, ram=ram)
    run = board.run(begin=points[0], until=points[1], call=function is not None, limit=limit)
    stack, others = _stacks(program, run)
    firmware = _firmware(program, chip)
    total: Cycles | str | None
    try:
        total = estimate(firmware, Part(run.instructions, None, run.blocks, run.edges, run.missed))
    except ValueError as error:  # code that the file does not hold, or that cannot be decoded
        total = str(error)
    costs = _costs(program, firmware, run, total.cycles if isinstance(total, Cycles) else None)
    return _result(program, chip, run, total, costs, stack, others, board.start.how)


def _result(
    program: Program,
    chip: Chip,
    run: Run,
    total: Cycles | str | None,
    costs: list[FunctionCost],
    stack: int | None,
    others: dict[str, int],
    start: str,
) -> Emulated:
    known = total if isinstance(total, Cycles) else None
    milliseconds = known.cycles / chip.mhz / 1000 if known and chip.mhz else None
    none = total if isinstance(total, str) else f"no cycles of the {chip.core.title} are known"
    return Emulated(
        firmware=program.path.name,
        chip=chip.name,
        start=start,
        end=run.end,
        finished=run.finished,
        status=run.status,
        instructions=run.instructions,
        cycles=known.cycles if known else None,
        cycles_exact=run.cycles is not None,
        cycles_error=known.error if known else None,
        cycles_source=known.source if known else none,
        milliseconds=milliseconds,
        millijoules=chip.millijoules(milliseconds),
        stack=stack,
        other_stacks=others,
        flash=program.flash,
        static_ram=program.static_ram,
        functions=costs,
        unknown={f"{address:#x}": times for address, times in sorted(run.unknown.items())},
        text=run.text,
    )


def _firmware(program: Program, chip: Chip) -> Firmware:
    symbols = {symbol.name: (symbol.address, symbol.size) for symbol in program.symbols}
    return Firmware(program.path, chip, symbols, program.flash, program.static_ram)


def _costs(program: Program, firmware: Firmware, run: Run, cycles: int | None) -> list[FunctionCost]:
    """What the blocks and edges of each function cost, out of the cycles of all."""
    functions = Functions(program)
    names = {address: functions.at(address) for address, _ in run.blocks}
    blocks: defaultdict[str, dict[tuple[int, int], int]] = defaultdict(dict)
    edges: defaultdict[str, dict[tuple[int, int], int]] = defaultdict(dict)
    calls: Counter[str] = Counter()
    for block, times in run.blocks.items():
        blocks[names[block[0]]][block] = times
    for (before, after), times in run.edges.items():
        edges[names.get(before, names[after])][before, after] = times
        if functions.starts_at(after) and names.get(before) != names[after]:
            calls[names[after]] += times
    costs = []
    for name, own in blocks.items():
        instructions = sum(times * run.lengths[block] for block, times in own.items())
        missed = {path: {block: n for block, n in reads.items() if block in own} for path, reads in run.missed.items()}
        part = Part(instructions, None, own, edges[name], missed)
        model = None if cycles is None else estimate(firmware, part)
        costs.append(FunctionCost(name, calls[name], instructions, model.cycles if model else None))
    if cycles is not None:
        costs = _scaled(costs, cycles)
    return sorted(costs, key=lambda cost: (-(cost.cycles or cost.instructions), cost.name))


def _scaled(costs: list[FunctionCost], cycles: int) -> list[FunctionCost]:
    """With cycles that add up to those of all: each is rounded with what the ones before it lost."""
    alone, before = max(1, sum(cost.cycles or 0 for cost in costs)), 0
    result = []
    for cost in costs:
        after = before + (cost.cycles or 0)
        own = round(after * cycles / alone) - round(before * cycles / alone)
        result.append(replace(cost, cycles=own))
        before = after
    return result


def _avr_costs(program: Program, places: Mapping[int, tuple[int, int]]) -> list[FunctionCost]:
    functions = Functions(program)
    instructions: Counter[str] = Counter()
    cycles: Counter[str] = Counter()
    calls: Counter[str] = Counter()
    for place, (times, own) in places.items():
        name = functions.at(place)
        instructions[name] += times
        cycles[name] += own
        calls[name] += times if functions.starts_at(place) else 0
    costs = [FunctionCost(name, calls[name], instructions[name], cycles[name]) for name in instructions]
    return sorted(costs, key=lambda cost: (-(cost.cycles or 0), cost.name))


def _stacks(program: Program, run: Run) -> tuple[int | None, dict[str, int]]:
    """Bytes of the stack that the count began with, and of those that lie in variables."""
    lowest = run.top
    others: dict[str, int] = {}
    arrays = [symbol for symbol in program.symbols if not symbol.function and symbol.size]
    for (address, size), pointer in run.stacks.items():
        code = program.read(address, size) or b""
        deep = pointer - deepest(program.machine, program.bits, code)
        holder = next((s for s in arrays if s.address < pointer <= s.address + s.size), None)
        if holder is not None and not holder.address < run.top <= holder.address + holder.size:
            others[holder.name] = max(others.get(holder.name, 0), holder.address + holder.size - deep)
        elif pointer <= run.top:
            lowest = min(lowest, deep)
    return (run.top - lowest if run.top else None), others
