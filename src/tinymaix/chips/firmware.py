"""A built program and what its ELF file says: symbols, and the bytes it takes of flash and RAM."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tinymaix.chips.chip import Chip
from tinymaix.chips.tools import package

AVR_DATA = 0x800000
"""avr-gcc's linker places the data space at this address."""


@dataclass(frozen=True)
class Firmware:
    """A linked program for a chip."""

    elf: Path
    chip: Chip
    symbols: Mapping[str, tuple[int, int]] = field(repr=False)
    """Name -> (address, size in bytes); Thumb functions without bit 0, AVR data from 0x800000 on."""
    flash_total: int
    """Bytes of flash: code, constants and the initial values of variables."""
    static_ram: int
    """Bytes of RAM for variables (.data and .bss), without the stack."""

    def symbol_size(self, name: str) -> int:
        """Size of a variable or function in bytes. Raises KeyError where the linker kept none of that name."""
        return self.symbols[name][1]

    def nearest(self, address: int) -> str:
        """The function or variable that holds an address, as "name+offset", for messages."""
        for name, (start, size) in self.symbols.items():
            if start <= address < start + size:
                return f"{name}+{address - start:#x}"
        return "in no function"


def read_firmware(elf: Path, chip: Chip) -> Firmware:
    """Read symbols and sizes of a linked ELF file. Raises ToolError where pyelftools is missing."""
    elffile = package("elftools.elf.elffile")
    with elf.open("rb") as stream:
        image = elffile.ELFFile(stream)
        allocated = [section for section in image.iter_sections() if section["sh_flags"] & 2]
        table = image.get_section_by_name(".symtab")
        moved = [s for s in image.iter_segments("PT_LOAD") if s["p_vaddr"] != s["p_paddr"]]
        symbols: dict[str, tuple[int, int]] = {}
        thumb = image["e_machine"] == "EM_ARM"
        entries = [] if table is None else list(table.iter_symbols())
        for symbol in sorted(entries, key=lambda entry: entry["st_info"]["bind"] != "STB_LOCAL"):
            kind = symbol["st_info"]["type"]
            if not symbol.name or symbol.name.startswith(("$", ".L")) or kind in ("STT_SECTION", "STT_FILE"):
                continue
            address = symbol["st_value"]
            symbols[symbol.name] = (address & ~1 if thumb and kind == "STT_FUNC" else address, symbol["st_size"])

    def in_ram(section: Any) -> bool:
        """Whether start-up code copies it there, as constants may be."""
        return any(0 <= section["sh_addr"] - s["p_vaddr"] < s["p_memsz"] for s in moved)

    return Firmware(
        elf=elf,
        chip=chip,
        symbols=symbols,
        flash_total=sum(section["sh_size"] for section in allocated if section["sh_type"] != "SHT_NOBITS"),
        static_ram=sum(section["sh_size"] for section in allocated if section["sh_flags"] & 1 or in_ram(section)),
    )


def load_image(firmware: Firmware) -> list[tuple[int, bytes]]:
    """(load address, bytes) of every part that is programmed into flash."""
    elffile = package("elftools.elf.elffile")
    with firmware.elf.open("rb") as stream:
        segments = elffile.ELFFile(stream).iter_segments("PT_LOAD")
        return [(segment["p_paddr"], segment.data()) for segment in segments if segment["p_filesz"]]
