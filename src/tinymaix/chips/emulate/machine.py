"""What every emulator offers: a machine that calls tm_main, and the figures of that call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from tinymaix.chips.chip import FlashPath
from tinymaix.chips.firmware import Firmware


class EmulationError(RuntimeError):
    """The emulated program did something a chip would not survive, or ran past its limit."""


@dataclass(frozen=True)
class Parts:
    """Which part of the work each instruction of one function is for, and so what it calls. Part 0 is the rest."""

    begin: int
    """Address of the function."""
    of: tuple[int, ...]
    """The part, below 65536, of each two bytes of it."""


class Missed(NamedTuple):
    """Reads of a block that had to wait for the flash."""

    code: int
    data: int


FlashReads = Mapping[FlashPath, Mapping[tuple[int, int], Missed]]
"""What blocks missed, by their (address, size), on each path that was followed; those without are left out."""


@dataclass(frozen=True)
class Part:
    """The figures of one part of the work, as those of an Emulation."""

    instructions: int = 0
    cycles: int | None = None
    blocks: dict[tuple[int, int], int] | None = field(default=None, repr=False)
    edges: dict[tuple[int, int], int] | None = field(default=None, repr=False)
    missed: FlashReads = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Emulation:
    """The figures of one call of tm_main, from its first instruction to its return; None where not known."""

    instructions: int | None
    """Instructions executed; a Thumb instruction that its IT condition skips counts as one."""
    cycles: int | None
    """Exact cycles, where the emulator knows them."""
    stack: int | None
    """High-water mark of the stack in bytes, below the stack pointer at the call."""
    result: int
    """What tm_main returned."""
    memory: dict[str, bytes] = field(repr=False)
    """The bytes that were asked for, by the same keys."""
    blocks: dict[tuple[int, int], int] | None = field(default=None, repr=False)
    """(address, size in bytes) of a basic block -> times executed."""
    edges: dict[tuple[int, int], int] | None = field(default=None, repr=False)
    """(address of a block, address of the block after it) -> times; the first block's predecessor is 0."""
    missed: FlashReads = field(default_factory=dict, repr=False)
    parts: dict[int, Part] = field(default_factory=dict, repr=False)
    """The same figures for each part of the work, where they were asked for; they add up to the whole."""


class Machine(Protocol):
    """A chip that is emulated, with its memory."""

    def run(
        self,
        writes: Mapping[str, bytes],
        reads: Mapping[str, int],
        *,
        count: bool = True,
        limit: int | None = None,
        parts: Parts | None = None,
        paths: Sequence[FlashPath] | None = None,
    ) -> Emulation:
        """Call tm_main once, on the memory that the last call left.

        writes: "symbol" or "symbol+offset" -> bytes stored before the call. reads: the same -> number of bytes
        read after it. count: whether instructions are counted (slower). limit: most instructions of the call.
        parts: what to count apart. paths: on which reads of the flash are followed; the chip's own if left out.
        Raises EmulationError for a fault, a passed limit or a place outside a symbol.
        """

    def reset(self) -> None:
        """Start again: memory as after power-on and initialisation."""


def locate(firmware: Firmware, place: str, size: int) -> int:
    """Address of "symbol" or "symbol+offset", checked to have `size` bytes there. Raises EmulationError."""
    name, _, offset_text = place.partition("+")
    if name not in firmware.symbols:
        raise EmulationError(f'The firmware has no symbol "{name}" (is it unused, or dropped by the linker?).')
    try:
        offset = int(offset_text or "0", 0)
    except ValueError:
        raise EmulationError(f'"{place}" is not of the form symbol+offset.') from None
    address, room = firmware.symbols[name]
    if offset < 0 or offset + size > room:
        raise EmulationError(f'"{place}" with {size} bytes lies outside of {name}, which has {room} bytes.')
    return address + offset


def check_entry(firmware: Firmware) -> None:
    """Raises EmulationError where the firmware has no tm_main."""
    if "tm_main" not in firmware.symbols:
        raise EmulationError(f"{firmware.elf.name} defines no tm_main, so there is nothing to run.")
