"""Whether a program can run on a chip, and where it starts: at its vector table (Armv7-M Architecture Reference Manual,
B1.5.3), or at its entry."""

from __future__ import annotations

from dataclasses import dataclass

from tinymaix.chips.chip import Chip
from tinymaix.chips.emulate.attributes import refused
from tinymaix.chips.emulate.elf import ElfError, Program

TABLES = ("__isr_vector", "__vectors", "__Vectors", "g_pfnVectors", "_vectors", "vectors", "vector_table",
          "__vector_table", "_vector_table", "exception_table", "__VECTOR_TABLE", "isr_vector")  # fmt: skip
"""What vector tables are called."""
BEHIND_BOOT = 0x100
"""An RP2040 has its second boot stage before its vector table."""
STACKS = ("__StackTop", "_estack", "__stack_top", "_stack_top", "__stack", "_stack", "__initial_sp", "_sp", "__sp")
"""What the top of the stack is called."""


@dataclass(frozen=True)
class Start:
    """How a program begins."""

    address: int
    stack: int
    """The stack pointer; 0 where the program sets it itself."""
    how: str
    """For the report."""
    vectors: int = 0
    """Address of the vector table of Cortex-M."""


def start_of(program: Program, chip: Chip) -> Start:
    """Find it. Raises ElfError."""
    if program.machine == "arm":
        named = [symbol.address for symbol in program.symbols if symbol.name in TABLES]
        first = sorted(segment.load_address for segment in program.segments if segment.data)
        for table in (*named, *first, *(address + BEHIND_BOOT for address in first)):
            if start := _table(program, table):
                return start
    entry = program.entry & ~1
    if not any(s.executable and s.address <= entry < s.address + s.size for s in program.segments):
        raise ElfError(
            f"{program.path.name} has no start: there is no vector table in it, and its entry, {entry:#x}, is no code."
        )
    if program.machine != "arm":
        return Start(entry, 0, "the entry of the ELF file")
    stack = next((s.address for name in STACKS for s in program.symbols if s.name == name), 0)
    return Start(entry, stack, "the entry of the ELF file, as it has no vector table")


def _table(program: Program, address: int) -> Start | None:
    """A vector table, if one is there: a stack pointer in RAM, and the address of Thumb code."""
    words = program.read(address, 8)
    if words is None:
        return None
    stack, reset = int.from_bytes(words[:4], "little"), int.from_bytes(words[4:], "little")
    in_ram = 0x10000000 <= stack < 0x40000000 or 0x60000000 <= stack < 0xA0000000
    code = any(s.executable and s.address <= reset & ~1 < s.address + s.size for s in program.segments)
    if stack % 4 or not in_ram or not reset & 1 or not code:
        return None
    return Start(reset & ~1, stack, f"the vector table at {address:#x}", address)


def heap_of(program: Program, stack: int, ram: int) -> tuple[int, int]:
    """Between the last variable and the top of the stack."""
    variables = [segment for segment in program.segments if segment.writable]
    if not variables:
        return 0, 0
    last = max(variables, key=lambda segment: segment.address)
    return (last.address + last.size + 7) & -8, stack or (last.address + ram) & -8


def check(program: Program, chip: Chip) -> None:
    """Raises ElfError where the program is for another kind of core than the chip's."""
    family = chip.core.family
    wanted = "arm" if family.startswith("armv") else "avr" if family == "avr" else "riscv"
    if chip.core.emulator not in ("unicorn", "simavr"):
        raise ElfError(
            f"{chip.title} cannot run a whole program here: its core, {chip.core.title}, has no emulator for that. "
            "tinymaix bench measures models on it where QEMU is installed."
        )
    if name := refused(family, chip.core.name, program.architecture):
        raise ElfError(
            f"{program.path.name} was built for {name}, which the {chip.core.title} of the {chip.title} does not run."
        )
    if program.machine != wanted or (wanted == "riscv" and program.bits != chip.core.bits):
        kind = f"{program.bits}-bit " if program.machine == "riscv" else ""
        raise ElfError(
            f"{program.path.name} is a program for {kind}{program.machine.upper()}, and the {chip.title} has a "
            f"{chip.core.title}."
        )
