"""The address space of a board: flash as the program was programmed, RAM where it is touched, and peripherals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any

from tinymaix.chips.emulate.elf import Program
from tinymaix.chips.emulate.peripherals import Peripherals
from tinymaix.chips.emulate.traps import with_breaks
from tinymaix.chips.tools import package

PAGE = 4096
SPACES = {
    "arm": ((0x00800000, 0x00810000), (0x0FF00000, 0x10002000), (0x1FF00000, 0x20000000), (0x40000000, 0x60000000),
            (0xA0000000, 0xE0100000)),
    "riscv": ((0x02000000, 0x0E000000), (0x10000000, 0x20000000), (0x38000000, 0x70000000), (0xE0000000, 0xFFFFF000)),
}  # fmt: skip
"""Where peripherals are, and factory data, which nobody here knows either."""
BITS = range(0x22000000, 0x24000000)
"""Where each word of a Cortex-M3 or M4 is a bit of the RAM from 0x20000000 on (Arm 100166, 3.4.3)."""
BITS_OF, BIT_CORES = 0x20000000, ("cortex-m3", "cortex-m4")
STRETCH = 1 << 18
"""Bytes of RAM that are mapped together at most."""
MOST_AT_ONCE = 1 << 20
"""Bytes that a program can hand over at once."""


class NoMemoryError(RuntimeError):
    """A place that a program hands over is no memory; the message is a part of a sentence."""


class Memory:
    """Maps pages of a unicorn engine as the program reaches them."""

    def __init__(
        self,
        engine: Any,
        program: Program,
        core: str,
        ram: Sequence[tuple[int, int]],
        stack: Callable[[], tuple[int, int]],
    ) -> None:
        """core: its name. ram: (begin, end) of each stretch. stack: where the stack may be by now."""
        self.problem = ""
        """A part of a sentence about the access that stopped the program."""
        self.peripherals: Peripherals | None = None
        self._unicorn = package("unicorn")
        self._engine, self._ram, self._stack, self._spaces = engine, ram, stack, SPACES[program.machine]
        self._pages: set[int] = set()
        self._bits = core in BIT_CORES
        self._program(program)
        engine.hook_add(self._unicorn.UC_HOOK_MEM_INVALID, self._invalid)

    def load(self, address: int, size: int) -> bytes:
        """Bytes of memory. Raises NoMemoryError."""
        self._reach(address, size)
        try:
            return bytes(self._engine.mem_read(address, size))
        except self._unicorn.UcError:
            raise NoMemoryError(f"hands over {size} bytes at {address:#x}, where no memory is,") from None

    def store(self, address: int, data: bytes) -> None:
        """Put bytes into memory. Raises NoMemoryError."""
        self._reach(address, len(data))
        try:
            self._engine.mem_write(address, data)
        except self._unicorn.UcError:
            raise NoMemoryError(f"wants {len(data)} bytes at {address:#x}, where no memory is,") from None

    def _program(self, program: Program) -> None:
        """What the program occupies, programmed to where it is loaded from; start-up code copies and clears."""
        unicorn = self._unicorn
        readable = unicorn.UC_PROT_READ | unicorn.UC_PROT_EXEC
        pages: dict[int, int] = {}
        for segment in program.segments:
            own = unicorn.UC_PROT_ALL if segment.writable else readable
            places = ((segment.address, segment.size, own), (segment.load_address, len(segment.data), readable))
            for start, size, allowed in places:
                for page in range(start & -PAGE, start + size, PAGE):
                    pages[page] = pages.get(page, 0) | allowed
        numbered = enumerate(sorted(pages))
        for (_, allowed), run in groupby(numbered, key=lambda place: (place[1] - PAGE * place[0], pages[place[1]])):
            stretch = [page for _, page in run]
            self._engine.mem_map(stretch[0], len(stretch) * PAGE, allowed)
        self._pages.update(pages)
        for segment in program.segments:
            code = segment.executable and program.machine == "riscv"
            self._engine.mem_write(segment.load_address, with_breaks(program, segment) if code else segment.data)

    def _invalid(self, engine: Any, access: int, address: int, size: int, value: int, data: Any) -> bool:
        """Unicorn asks for memory where there is none: RAM, peripherals, or a fault."""
        unicorn = self._unicorn
        if access in (unicorn.UC_MEM_READ_UNMAPPED, unicorn.UC_MEM_WRITE_UNMAPPED):
            second = max(address, (address + size - 1) & -PAGE)  # of an access across pages this may be the one missing
            for byte in (second, address):
                if byte & -PAGE not in self._pages and self._map(byte):
                    return True
        self.problem = {
            unicorn.UC_MEM_FETCH_UNMAPPED: f"went to {address:#x}, where no code is,",
            unicorn.UC_MEM_WRITE_PROT: f"wrote {size} bytes to {address:#x}, which is flash,",
        }.get(access, f"accessed {size} bytes at {address:#x}, where neither memory nor a peripheral is known,")
        return False

    def _reach(self, address: int, size: int) -> None:
        """RAM that the program has not touched yet is there, too."""
        for page in range(address & -PAGE, min(address + size, address + MOST_AT_ONCE), PAGE):
            byte = max(page, address)
            if page not in self._pages and self._is_ram(byte):
                self._map(byte)

    def _is_ram(self, byte: int) -> bool:
        return any(start <= byte < end for start, end in (*self._ram, self._stack()))

    def _map(self, byte: int) -> bool:
        """Whether there is RAM or a peripheral at an address; its page is mapped then."""
        page = byte & -PAGE
        if self._is_ram(byte):
            end = page + PAGE  # more pages at once: each stretch makes unicorn slower
            while end < page + STRETCH and end not in self._pages and self._is_ram(end):
                end += PAGE
            self._engine.mem_map(page, end - page)
            self._pages.update(range(page, end, PAGE))
            return True
        if any(start <= byte < end for start, end in self._spaces) or (self._bits and byte in BITS):
            self._engine.mmio_map(page, PAGE, self._read, page, self._write, page)
            self._pages.add(page)
            return True
        return False

    def _bit(self, address: int) -> tuple[int, int]:
        """The byte of RAM, and the bit of it, that a word of BITS is."""
        place = address - BITS.start >> 2
        return BITS_OF + place // 8, place % 8

    def _read(self, engine: Any, offset: int, size: int, page: int) -> int:
        if self._bits and page in BITS:
            byte, bit = self._bit(page + offset)
            return self.load(byte, 1)[0] >> bit & 1
        return self.peripherals.read(page + offset, size) if self.peripherals else 0

    def _write(self, engine: Any, offset: int, size: int, value: int, page: int) -> None:
        if self._bits and page in BITS:
            byte, bit = self._bit(page + offset)
            self.store(byte, bytes([self.load(byte, 1)[0] & ~(1 << bit) | (value & 1) << bit]))
        elif self.peripherals:
            self.peripherals.write(page + offset, size, value)
