"""A whole program on an emulated board, from its reset on: its own start-up code, its own memory map, its own printing.

Cortex-M starts at its vector table, RISC-V at the ELF file's entry. Of interrupts there are those of exceptions.py;
semihosting, the system calls of newlib and the registers of peripherals.py are there, too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tinymaix.chips.chip import Chip
from tinymaix.chips.emulate import rtt
from tinymaix.chips.emulate.counter import ENDLESS, PAST_LIMIT, UNALIGNED, BlockCounter
from tinymaix.chips.emulate.elf import Functions, Program
from tinymaix.chips.emulate.exceptions import RETURNS, Exceptions
from tinymaix.chips.emulate.machine import EmulationError, FlashReads
from tinymaix.chips.emulate.memory import Memory, NoMemoryError
from tinymaix.chips.emulate.peripherals import Peripherals
from tinymaix.chips.emulate.semihosting import Semihosting
from tinymaix.chips.emulate.start import heap_of, start_of
from tinymaix.chips.emulate.traps import arm_trap, riscv_trap
from tinymaix.chips.tools import package
from tinymaix.chips.trace import Code

NEVER = 0xFFFFFFFE
"""An address that no program reaches."""
SRAM = 0x20000000
"""Where Cortex-M has its RAM, unless more is known (Armv7-M Architecture Reference Manual, B3.1)."""
RAM_OF_ANY = 16 << 20
"""Bytes of RAM of a chip whose RAM is not known."""
WAIT_FOR_EVENT, YIELD = b"\x20\xbf", b"\x10\xbf"
NO_INSTRUCTION = "came to an instruction that it does not have"
EXCEPTIONS = {
    "arm": {1: NO_INSTRUCTION, 2: "called its supervisor (svc), which is not emulated,", 4: UNALIGNED,
            8: "returned from an exception, and none is emulated,"},
    "riscv": {2: NO_INSTRUCTION},
}  # fmt: skip
"""By unicorn's numbers."""
MOST_WAITS = 100
"""Times that a program may wait for an interrupt at one place before it is taken to do nothing else."""


@dataclass(frozen=True)
class Run:
    """What a program did between two points."""

    end: str
    """Why it ended: a part of a sentence."""
    finished: bool
    """Whether it ended by itself or where it was asked to, and not at its limit."""
    status: int | None
    """The exit status it gave, if it gave one."""
    instructions: int
    cycles: int | None
    """Exact cycles, where the emulator knows them."""
    blocks: dict[tuple[int, int], int] = field(repr=False)
    edges: dict[tuple[int, int], int] = field(repr=False)
    missed: FlashReads = field(repr=False)
    lengths: dict[tuple[int, int], int] = field(repr=False)
    """The instructions of each block."""
    top: int
    """The stack pointer at the beginning; 0 where it was never set."""
    stacks: dict[tuple[int, int], int] = field(repr=False)
    """The lowest stack pointer at the start of each block."""
    text: str = field(repr=False)
    unknown: Counter[int] = field(repr=False)
    """Accesses by address to what is no memory and not known."""


class Board:
    """A chip with a program in its flash, at reset."""

    def __init__(
        self, program: Program, chip: Chip, *, answers: str = "poll", ram: Sequence[tuple[int, int]] = ()
    ) -> None:
        """answers: one of peripherals.ANSWERS. ram: (address, bytes) of memory beside what can be told.

        Raises EmulationError, ElfError, ToolError, ValueError.
        """
        self.program, self.chip = program, chip
        self._arm = program.machine == "arm"
        self._unicorn = package("unicorn")
        self._constants = package("unicorn.arm_const" if self._arm else "unicorn.riscv_const")
        self._functions = Functions(program)
        self.start = start_of(program, chip)
        self._engine = self._power_on()
        size = chip.ram or RAM_OF_ANY
        stretches = [(at, at + length) for at, length in ram]
        stretches += [(bank.address, bank.address + bank.size) for bank in chip.banks if bank.address is not None]
        stretches += [(segment.address, segment.address + size) for segment in program.segments if segment.writable]
        stretches += [(SRAM, SRAM + size)] if self._arm and not stretches else []
        self.memory = Memory(
            self._engine, program, chip.core.name, stretches, lambda: (self._top() - size, self._top())
        )
        self._engine.hook_add(self._unicorn.UC_HOOK_INTR, self._interrupted)
        self._counter = BlockCounter(self._engine, thumb=self._arm, strict="unaligned" not in chip.core.features)
        self._counter.watch_stack(self._register("SP"))
        path = chip.flash_path
        self._counter.watch_flash(Code(program.path).flash, [path] if path else [])
        self.exceptions = Exceptions(self, self.start.vectors)
        self._limit: int | None = None
        self._before = 0
        self._peripherals = Peripherals(chip, answers, self)
        self.memory.peripherals = self._peripherals
        heap = heap_of(program, self.start.stack, size)
        self.host = Semihosting(self, program.bits // 8, heap, self.executed, chip.mhz or 1.0)
        self._problem = self._ended = ""
        self._waits: Counter[int] = Counter()
        self._hint = (0, 0)
        """Where the last wfe or yield was, and the instructions until then."""
        self.write("SP", self.start.stack)

    # ---- what traps and semihosting use

    def load(self, address: int, size: int) -> bytes:
        """See Memory."""
        return self.memory.load(address, size)

    def store(self, address: int, data: bytes) -> None:
        """See Memory."""
        self.memory.store(address, data)

    def executed(self) -> int:
        """Instructions since reset."""
        return self._before + self._counter.executed

    def read(self, register: str) -> int:
        """The value of a register."""
        return int(self._engine.reg_read(self._register(register)))

    def write(self, register: str, value: int) -> None:
        """Set a register."""
        self._engine.reg_write(self._register(register), value)

    def print(self, data: bytes) -> None:
        """Keep text of the program."""
        self._peripherals.print(data)

    def end(self, why: str) -> None:
        """Stop the program here."""
        self._ended = why
        self._engine.emu_stop()

    def wait(self, at: int) -> None:
        """The program waits for an interrupt: where none ends that, go on, but not for ever."""
        if self._arm and self.exceptions.sleep():
            entered = self.exceptions.take()
            self._counter.go_on(self._stop_at(), progress=not entered)
            return
        self._waits[at] += 1
        if self._waits[at] > MOST_WAITS:
            self.end("waits for an interrupt, and none is emulated,")

    # ---- running

    def run(
        self, *, begin: int | None = None, until: int | None = None, call: bool = False, limit: int | None = None
    ) -> Run:
        """From reset, or once an address is reached, to the end of the program or until another address is reached.

        call: until the function at `begin` returns. limit: most instructions, before `begin` and again after it.
        Raises EmulationError for a fault.
        """
        at, self._limit = self.start.address, limit
        self._counter.start(limit)
        if begin is not None:
            at = self._go(at, begin)
            if at != begin:
                return self._figures(at, limit, missed=f", and never came to {self._place(begin)}")
            self._before = self._counter.executed
            self._counter.start(self._stop_at())
        if call:
            return self._call(at, limit)
        at = self._go(at, until)
        return self._figures(at, limit, reached="came to" if until is not None and at == until else "")

    def _call(self, at: int, limit: int | None) -> Run:
        """Until the function at `at` returns: to its caller, with the stack pointer that it was called with."""
        back, stack = self.read("LR" if self._arm else "RA") & ~1, self.read("SP")
        at = self._go(at, back)
        while at == back and self.read("SP") < stack:  # only an inner call of the function has returned
            at = self._go(self._step(at), back)
        return self._figures(at, limit, reached="returned to" if at == back else "")

    def _step(self, at: int) -> int:
        self._engine.emu_start(at | self._arm, NEVER, count=1)
        return self._at()

    def _stop_at(self) -> int | None:
        """Instructions at which the counter must stop: at the limit, or earlier for an exception."""
        due = None if self.exceptions.due is None else max(0, self.exceptions.due - self._before)
        return min((stop for stop in (self._limit, due) if stop is not None), default=None)

    def read_core(self, address: int, size: int) -> int | None:
        """What a register of the core's own reads as, if it is one that does anything."""
        return self.exceptions.read(address, size) if self._arm else None

    def write_core(self, address: int, size: int, value: int) -> bool:
        """Whether it is one that is written, which then is set."""
        if not self._arm or not self.exceptions.write(address, size, value):
            return False
        self._counter.go_on(self._stop_at())
        return True

    def _resumed(self, at: int) -> bool:
        """Whether the program was only stopped for an exception, or has returned from one, and goes on."""
        if self._arm and at >= RETURNS and self.exceptions.active:
            self.exceptions.leave(at)
            progress = False
        elif self._counter.error == PAST_LIMIT and self.exceptions.due is not None and self._stop_at() != self._limit:
            progress = not self.exceptions.take()
        else:
            return False
        self._counter.go_on(self._stop_at(), progress=progress)
        return True

    def _go(self, at: int, until: int | None) -> int:
        """Run on; where it ended. Raises EmulationError."""
        try:
            return self._run_on(at, until)
        except NoMemoryError as error:
            raise self._fault(str(error), self._at()) from None

    def _run_on(self, at: int, until: int | None) -> int:
        while True:
            self._problem = self.memory.problem = self._ended = ""
            failed = None
            try:
                self._engine.emu_start(at | self._arm, NEVER if until is None else until)
            except self._unicorn.UcError as error:
                failed = error
            at = self._at()
            if self._resumed(at):
                at = self._at()
                continue
            if self._ended or self._counter.error in (PAST_LIMIT, ENDLESS) or (until is not None and at == until):
                return at
            problem = self._problem or self.memory.problem or self._counter.problem
            if failed is None and not problem:
                self.wait(at)
            elif failed is not None and not problem and self._arm and self._hinted(at):
                pass
            elif problem or self._arm or not riscv_trap(self, at):
                unknown = failed is not None and failed.errno == self._unicorn.UC_ERR_INSN_INVALID
                raise self._fault(problem or (NO_INSTRUCTION if unknown else f"stopped ({failed})"), at)
            at = self._at()
            if self._ended:
                return at

    def _hinted(self, at: int) -> bool:
        """Whether what stopped unicorn, right before an address, is a wfe or a yield, which it does not know."""
        hint = self.program.read(at - 2, 2)
        last, self._hint = self._hint, (at, self.executed())
        if hint not in (WAIT_FOR_EVENT, YIELD) or (last[0] == at and self.executed() <= last[1] + 1):
            return False  # the instruction behind a hint that was passed is the unknown one
        if hint == WAIT_FOR_EVENT:
            self.wait(at)
        return True

    def _fault(self, problem: str, at: int) -> EmulationError:
        return EmulationError(f"The emulated {self.chip.title} {problem} at {self._place(at)}.")

    def _figures(self, at: int, limit: int | None, *, reached: str = "", missed: str = "") -> Run:
        whole, _ = self._counter.figures()
        top, stacks = self._counter.stacks()
        past = self._counter.error == PAST_LIMIT
        end = f"was stopped past {limit:,} instructions" if past else self._ended or self._counter.problem
        return Run(
            end=f"{f'{end} at' if end else reached} {self._place(at)}{missed}",
            finished=not past and not missed,
            status=self.host.status,
            instructions=whole.instructions,
            cycles=None,
            blocks=whole.blocks or {},
            edges=whole.edges or {},
            missed=whole.missed,
            lengths=self._counter.lengths(),
            top=top,
            stacks=stacks,
            text=(self._peripherals.text + self._rtt()).decode("utf-8", "replace"),
            unknown=self._peripherals.unknown,
        )

    def _rtt(self) -> bytes:
        """What the program has printed by SEGGER's RTT."""
        block = next((symbol.address for symbol in self.program.symbols if symbol.name == rtt.SYMBOL), None)
        try:
            return b"" if block is None else rtt.printed(block, self.load)
        except NoMemoryError:
            return b""

    def _top(self) -> int:
        """Where the stack begins: RISC-V programs set that themselves."""
        return self.start.stack or self._counter.top or self.read("SP")

    def _at(self) -> int:
        return self.read("PC") & ~1

    def _place(self, at: int) -> str:
        return f"{at:#x} (in {self._functions.at(at)})"

    def _register(self, name: str) -> int:
        return int(getattr(self._constants, f"UC_{'ARM' if self._arm else 'RISCV'}_REG_{name}"))

    def _power_on(self) -> Any:
        unicorn = self._unicorn
        if self._arm:
            architecture, mode = unicorn.UC_ARCH_ARM, unicorn.UC_MODE_THUMB  # see UnicornMachine
        else:
            architecture = unicorn.UC_ARCH_RISCV
            mode = unicorn.UC_MODE_RISCV64 if self.program.bits == 64 else unicorn.UC_MODE_RISCV32
        return unicorn.Uc(architecture, mode, getattr(self._constants, self.chip.core.model or ""))

    def _interrupted(self, engine: Any, number: int, data: Any) -> None:
        try:
            handled = arm_trap(self, number) if self._arm else riscv_trap(self, self._at(), number)
        except NoMemoryError as error:
            handled, self._problem = False, str(error)
        if not handled:
            self._problem = self._problem or EXCEPTIONS[self.program.machine].get(
                number, f"raised exception {number}, which is not emulated,"
            )
            engine.emu_stop()
