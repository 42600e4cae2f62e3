"""Which line of a function each of its instructions comes from, by the debugging information of the program.

An instruction of a function that was inlined comes from the line of the call, however deep it was inlined.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tinymaix.chips.firmware import Firmware
from tinymaix.chips.tools import package


def lines_of(firmware: Firmware, function: str) -> list[int]:
    """The line, counted from 1, of each two bytes of a function; 0 where none is known.

    Raises:
        KeyError: the program has no such function.
        ToolError: pyelftools is missing.
    """
    begin, size = firmware.symbols[function]
    lines = [0] * (size // 2)
    with firmware.elf.open("rb") as stream:
        image = package("elftools.elf.elffile").ELFFile(stream)
        if not image.has_dwarf_info():
            return lines
        dwarf = image.get_dwarf_info()
        for unit in dwarf.iter_CUs():
            rows = list(_rows(dwarf, unit))
            if not any(low <= begin < high for low, high, _ in rows):
                continue
            for low, high, line in (*rows, *_inlined_into(begin, dwarf, unit)):
                first, last = max(low - begin, 0) // 2, min(high - begin, size) // 2
                lines[first:last] = [line] * (last - first)
            break
    return lines


def _inlined_into(begin: int, dwarf: Any, unit: Any) -> Iterator[tuple[int, int, int]]:
    """What was inlined into the function at an address; clang leaves out the entries of functions without any."""
    for entry in unit.get_top_DIE().iter_children():
        if entry.tag == "DW_TAG_subprogram" and any(low == begin for low, _ in _ranges(entry, dwarf)):
            yield from _inlined(entry, dwarf)


def _rows(dwarf: Any, unit: Any) -> Iterator[tuple[int, int, int]]:
    """(first address, last address + 1, line) of each row of the line table."""
    program, before = dwarf.line_program_for_CU(unit), None
    for entry in program.get_entries() if program else ():
        if entry.state is None:
            continue
        if before is not None and before.address < entry.state.address:
            yield before.address, entry.state.address, before.line
        before = None if entry.state.end_sequence else entry.state


def _inlined(entry: Any, dwarf: Any) -> Iterator[tuple[int, int, int]]:
    """(first address, last address + 1, line of the call) of each function that was inlined straight into another."""
    for child in entry.iter_children():
        if child.tag != "DW_TAG_inlined_subroutine":
            yield from _inlined(child, dwarf)
        elif "DW_AT_call_line" in child.attributes:
            for low, high in _ranges(child, dwarf):
                yield low, high, child.attributes["DW_AT_call_line"].value


def _ranges(entry: Any, dwarf: Any) -> Iterator[tuple[int, int]]:
    """(first address, last address + 1) of each piece of code of an entry (DWARF 4 and 5, section 2.17)."""
    given = entry.attributes
    if "DW_AT_low_pc" in given and "DW_AT_high_pc" in given:
        low, high = given["DW_AT_low_pc"].value, given["DW_AT_high_pc"]
        yield low, high.value if high.form == "DW_FORM_addr" else low + high.value
    elif "DW_AT_ranges" in given:
        unit_base = entry.cu.get_top_DIE().attributes.get("DW_AT_low_pc")
        base = unit_base.value if unit_base else 0
        section = dwarf.range_lists()
        for piece in section.get_range_list_at_offset(given["DW_AT_ranges"].value, entry.cu) if section else ():
            if hasattr(piece, "base_address"):
                base = piece.base_address
            else:
                start = 0 if getattr(piece, "is_absolute", False) else base
                yield start + piece.begin_offset, start + piece.end_offset
