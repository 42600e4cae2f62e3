"""ELF files that anyone may have made: what of them is loaded where, and their symbols; everything is checked.

The format: "System V Application Binary Interface", chapters 4 and 5 (Tool Interface Standard, ELF 1.2).
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from dataclasses import dataclass, field
from pathlib import Path

from tinymaix.chips.emulate.attributes import architecture

MACHINES = {40: "arm", 83: "avr", 243: "riscv"}
"""e_machine of what can be run."""
OTHERS = {3: "x86", 8: "MIPS", 62: "x86-64", 94: "Xtensa", 183: "64-bit Arm", 252: "C-SKY"}
"""e_machine of what people may try."""
MOST_FILE = 256 << 20
MOST_MEMORY = 64 << 20
"""Bytes that a program may take in memory: more than any microcontroller has."""
MOST_SEGMENTS = 256
EXECUTABLE, ALLOCATED = 2, 2
LOAD, SYMTAB, NOBITS = 1, 2, 8
FUNCTION, OBJECT, NO_TYPE = 2, 1, 0
ABSOLUTE = 0xFFF1
ATTRIBUTES = 0x70000003


class ElfError(ValueError):
    """The file is no program that can be run; a sentence says why."""


@dataclass(frozen=True)
class Segment:
    """A part of memory that the program occupies when it starts."""

    address: int
    """Where the program uses it."""
    load_address: int
    """Where it is programmed to: in flash, for what start-up code copies to RAM."""
    data: bytes = field(repr=False)
    size: int
    """Bytes in memory; those beyond `data` are zero."""
    writable: bool
    executable: bool


@dataclass(frozen=True)
class Symbol:
    """A name of the program's symbol table."""

    name: str
    address: int
    size: int
    function: bool
    absolute: bool = False
    """Whether it is a number of the linker's rather than a place in the program."""


@dataclass(frozen=True)
class Program:
    """A linked program."""

    path: Path
    machine: str
    """One of MACHINES' values."""
    bits: int
    entry: int
    segments: tuple[Segment, ...]
    symbols: tuple[Symbol, ...] = field(repr=False)
    """Sorted by address; Thumb functions without bit 0."""
    flash: int
    """Bytes that are programmed: code, constants and the initial values of variables."""
    static_ram: int
    """Bytes of variables."""
    architecture: int | None = None
    """Of Arm, as attributes.py has it; None where it is not told."""

    def place(self, name: str) -> int:
        """The address of a symbol, or the one that stands there as 0x... . Raises ElfError."""
        if name.lower().startswith("0x"):
            try:
                return int(name, 16) & ~1
            except ValueError:
                raise ElfError(f'"{name}" is no address in hexadecimal.') from None
        return self.find(name).address

    def find(self, name: str) -> Symbol:
        """The symbol called so, functions first. Raises ElfError."""
        found = [symbol for symbol in self.symbols if symbol.name == name]
        if not found:
            raise ElfError(
                f'{self.path.name} has no symbol "{name}".'
                + (" Its symbol table is stripped." if not self.symbols else "")
            )
        return max(found, key=lambda symbol: symbol.function)

    def read(self, address: int, size: int) -> bytes | None:
        """Bytes of the file by the address that they are used at."""
        for segment in self.segments:
            offset = address - segment.address
            if offset >= 0 and offset + size <= len(segment.data):
                return segment.data[offset : offset + size]
        return None


class Functions:
    """The functions of a program by address: of what is written in assembly without sizes, from label to label."""

    def __init__(self, program: Program) -> None:
        self._code = [s for s in program.segments if s.executable]
        labels = [s for s in program.symbols if not s.size and not s.absolute and self._is_code(s.address)]
        named = [*(s for s in program.symbols if s.function), *labels]
        best: dict[int, Symbol] = {}
        for symbol in named:
            known = best.get(symbol.address)
            if known is None or (symbol.function, symbol.size) > (known.function, known.size):
                best[symbol.address] = symbol
        self._symbols = [best[address] for address in sorted(best)]
        self._starts = [symbol.address for symbol in self._symbols]

    def _is_code(self, address: int) -> bool:
        return any(segment.address <= address < segment.address + segment.size for segment in self._code)

    def starts_at(self, address: int) -> bool:
        """Whether a function begins there."""
        index = bisect_right(self._starts, address) - 1
        return index >= 0 and self._starts[index] == address

    def at(self, address: int) -> str:
        """The name of the function that an address belongs to; its place in hexadecimal where that is not known."""
        index = bisect_right(self._starts, address) - 1
        while index >= 0:
            symbol = self._symbols[index]
            if symbol.size == 0 or address < symbol.address + symbol.size:
                return symbol.name
            if symbol.function:
                break
            index -= 1
        return f"code at {address & ~0xFFF:#x}"


def read_elf(path: Path) -> Program:
    """Read and check a linked ELF file. Raises ElfError, or OSError where the file cannot be read."""
    if path.stat().st_size > MOST_FILE:
        raise ElfError(f"{path.name} has {path.stat().st_size:,} bytes, which no microcontroller's program has.")
    data = path.read_bytes()
    try:
        return _program(path, data)
    except struct.error:
        raise ElfError(f"{path.name} is damaged: a table of it lies outside of the file.") from None


def _program(path: Path, data: bytes) -> Program:
    name = path.name
    if data[:4] != b"\x7fELF":
        advice = " Give the .elf file that the linker wrote." if name.endswith((".bin", ".hex", ".uf2")) else ""
        raise ElfError(f"{name} is not an ELF file.{advice}")
    if len(data) < 52 or data[4] not in (1, 2) or data[5] != 1:
        raise ElfError(f"{name} is not a little-endian ELF file of 32 or 64 bits.")
    bits = 32 * data[4]
    word = "I" if bits == 32 else "Q"
    kind, machine, _, entry, programs, sections, _, _, program_size, number, section_size, section_number, _ = (
        struct.unpack_from(f"<HHI{word}{word}{word}IHHHHHH", data, 16)
    )
    if machine not in MACHINES:
        what = OTHERS.get(machine, f"machine {machine}")
        raise ElfError(f"{name} is for {what}. Programs for Arm Cortex-M, RISC-V and AVR can be emulated.")
    if MACHINES[machine] != "riscv" and bits == 64:
        raise ElfError(f"{name} claims to be a 64-bit program for {MACHINES[machine]}, which there is not.")
    if kind != EXECUTABLE:
        raise ElfError(f"{name} is not linked: it is an object file or a library. Give the program that is flashed.")
    segments: list[Segment] = []
    for i in range(number):
        segment = _segment(name, data, bits, programs + i * program_size)
        segments += [] if segment is None else [segment]
        if sum(segment.size for segment in segments) > MOST_MEMORY or len(segments) > MOST_SEGMENTS:
            raise ElfError(f"{name} takes more than {MOST_MEMORY >> 20} MB of memory, which no microcontroller has.")
    if not segments:
        raise ElfError(f"{name} loads nothing into memory.")
    headers = [_section(data, bits, sections + i * section_size) for i in range(section_number if sections else 0)]
    allocated = [header for header in headers if header.flags & ALLOCATED]
    thumb = MACHINES[machine] == "arm"
    return Program(
        path=path,
        machine=MACHINES[machine],
        bits=bits,
        entry=entry,
        segments=tuple(segments),
        symbols=_symbols(data, bits, headers, thumb),
        flash=sum(header.size for header in allocated if header.type != NOBITS)
        or sum(len(segment.data) for segment in segments),
        static_ram=sum(header.size for header in allocated if header.flags & 1),
        architecture=next(
            (architecture(data[h.offset : h.offset + h.size]) for h in headers if thumb and h.type == ATTRIBUTES), None
        ),
    )


def _segment(name: str, data: bytes, bits: int, at: int) -> Segment | None:
    """A program header; None for what is not loaded."""
    if bits == 32:
        kind, offset, address, load, in_file, size, flags = struct.unpack_from("<7I", data, at)
    else:
        kind, flags, offset, address, load, in_file, size = struct.unpack_from("<II5Q", data, at)
    if kind != LOAD or not size:
        return None
    if in_file > size or offset + in_file > len(data):
        raise ElfError(f"{name} is damaged: the part for {address:#x} lies outside of the file.")
    if address + size > 1 << 32 or load + size > 1 << 32:
        raise ElfError(f"{name} has a part at {max(address, load):#x}, beyond the 4 GB that a chip can address.")
    return Segment(address, load, data[offset : offset + in_file], size, bool(flags & 2), bool(flags & 1))


@dataclass(frozen=True)
class _Section:
    type: int
    flags: int
    offset: int
    size: int
    link: int
    entry_size: int


def _section(data: bytes, bits: int, at: int) -> _Section:
    word = "I" if bits == 32 else "Q"
    _, kind, flags, _, offset, size, link, _, _, entry = struct.unpack_from(f"<II4{word}II2{word}", data, at)
    return _Section(kind, flags, offset, size, link, entry)


def _symbols(data: bytes, bits: int, headers: list[_Section], thumb: bool) -> tuple[Symbol, ...]:
    """The names that a profile can use: no mapping symbols, sections or files."""
    table = next((header for header in headers if header.type == SYMTAB), None)
    if table is None or table.link >= len(headers):
        return ()
    strings = headers[table.link]
    text = data[strings.offset : strings.offset + strings.size]
    form, size = ("<IIIBBH", 16) if bits == 32 else ("<IBBHQQ", 24)
    found = []
    for at in range(table.offset, min(table.offset + table.size, len(data)) - size + 1, size):
        fields = struct.unpack_from(form, data, at)
        label, value, length, info = fields[:4] if bits == 32 else (fields[0], fields[4], fields[5], fields[1])
        kind, place = info & 15, fields[5] if bits == 32 else fields[3]
        end = text.find(b"\0", label)
        name = text[label : end if end >= 0 else None].decode("utf-8", "replace")
        if not name or name[0] == "$" or name.startswith(".L") or kind not in (NO_TYPE, OBJECT, FUNCTION) or not place:
            continue
        function = kind == FUNCTION
        found.append(Symbol(name, value & ~1 if thumb and function else value, length, function, place == ABSOLUTE))
    return tuple(sorted(found, key=lambda symbol: (symbol.address, symbol.name)))
