"""What was executed, as the cycle models ask for it: blocks with their code, and which block came after which."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

from tinymaix.chips.tools import package


class Code:
    """The program's bytes by address."""

    def __init__(self, elf: Path) -> None:
        """Raises ToolError where pyelftools is missing."""
        with elf.open("rb") as stream:
            segments = package("elftools.elf.elffile").ELFFile(stream).iter_segments("PT_LOAD")
            self._parts = [(part["p_vaddr"], part["p_vaddr"] == part["p_paddr"], part.data()) for part in segments]

    def read(self, address: int, size: int) -> bytes:
        """Raises ValueError where the program has no such bytes."""
        for start, _, data in self._parts:
            if start <= address < start + len(data):
                return bytes(data[address - start : address - start + size])
        raise ValueError(f"The firmware holds no code at {address:#x}.")

    @property
    def flash(self) -> list[tuple[int, int]]:
        """(begin, end) of what stays where it was programmed: what was loaded elsewhere was copied to RAM."""
        return [(start, start + len(data)) for start, stays, data in self._parts if stays and data]

    def in_flash(self, address: int) -> bool:
        """Whether code runs where it was programmed."""
        return any(begin <= address < end for begin, end in self.flash)


class Trace:
    """Blocks and edges of an emulation or a part of one."""

    def __init__(self, code: Code, blocks: Mapping[tuple[int, int], int], edges: Mapping[tuple[int, int], int]) -> None:
        self.code = code
        self.blocks = blocks
        self.edges = Counter({edge: times for edge, times in edges.items() if edge[0]})
        self._sizes: dict[int, int] = {}
        for (address, size), times in blocks.items():
            if times >= blocks.get((address, self._sizes.get(address, 0)), 0):
                self._sizes[address] = size
        self._into: defaultdict[int, list[tuple[int, int]]] = defaultdict(list)
        self._out_of: defaultdict[int, list[tuple[int, int]]] = defaultdict(list)
        for (before, address), times in self.edges.items():
            self._into[address].append((before, times))
            self._out_of[before].append((address, times))

    def falls(self, address: int, size: int) -> int:
        """How often the next block was the one behind."""
        return min(self.blocks[address, size], self.edges[address, address + size])

    def before(self, address: int) -> Iterator[tuple[int, int, int]]:
        """(address, size, times) of each block that was executed right before the one at an address."""
        for before, times in self._into[address]:
            if before in self._sizes:
                yield before, self._sizes[before], times

    def after(self, address: int) -> list[tuple[int, int]]:
        """(address, times) of each block that was executed right after the one at an address."""
        return self._out_of[address]
