"""Everything at a chip's addresses that is not memory: UARTs whose text is kept, counters of cycles, and unknown ones.

An unknown register reads as 0 with answers "zeros", as all ones with "ones". With "poll" it reads as what was written
to it, until the same one was read so often in a row that the program is taken to wait for it. Then its answer changes:
to all ones, to 0, and to patterns in which a field of two or three bits comes to every value, so that a wait for a bit
to be set or cleared, and one for a clock to be switched, come to an end. What ended a wait is the answer from then on.
"""

from __future__ import annotations

from collections import Counter
from typing import Protocol

from tinymaix.chips.chip import Chip
from tinymaix.chips.emulate.uarts import Layout, uarts_of

ANSWERS = ("poll", "zeros", "ones")
PATIENCE = 1000
"""Reads of one register in a row after which "poll" changes its answer."""
CHANGES = (
    0xFFFFFFFF,
    0,
    0xAAAAAAAA,
    0x55555555,
    0xDB6DB6DB,
    0xB6DB6DB6,
    0x6DB6DB6D,
    0x92492492,
    0x24924924,
    0x49249249,
)
"""What it changes to, in turn."""
MOST_TEXT = 1 << 20
"""Bytes of text that are kept."""
MOST_DMA = 1 << 16
CYCCNT = 0xE0001004
"""The cycle counter of Cortex-M's debug unit."""
CORE = range(0xE000E000, 0xE000F000)
"""Registers of the core itself, such as CPACR and the interrupt controller's: they read as what was written."""
ITM_READY = {0xE0000000: 1, 0xE0000E00: 1, 0xE0000E80: 1}
"""Stimulus port 0, Trace Enable Register, Trace Control Register: the trace macrocell takes text."""
MICROSECONDS = {"rp2040": (0x40054028, 0x4005400C), "rp2350": (0x400B0028, 0x400B000C)}
"""Timers that count microseconds from reset on, by chip."""


class Surroundings(Protocol):
    """What peripherals see of the rest of a chip."""

    def executed(self) -> int:
        """Instructions so far, which stand for cycles."""

    def load(self, address: int, size: int) -> bytes:
        """Bytes of memory."""

    def read_core(self, address: int, size: int) -> int | None:
        """What a register of the core's own reads as; None where it does nothing."""

    def write_core(self, address: int, size: int, value: int) -> bool:
        """Whether the core takes a value that is written to one of its own registers."""


class Peripherals:
    """Registers and what was written to them."""

    def __init__(self, chip: Chip, answers: str, around: Surroundings) -> None:
        if answers not in ANSWERS:
            raise ValueError(f'peripherals is "{answers}"; it must be one of {", ".join(ANSWERS)}.')
        self.text = bytearray()
        self.unknown: Counter[int] = Counter()
        """Accesses by address of a register that is not known."""
        self._ones, self._poll = answers == "ones", answers == "poll"
        self._around = around
        self._mhz = chip.mhz or 1.0
        self._timers = {address for name, of in MICROSECONDS.items() if chip.name.startswith(name) for address in of}
        self._data: set[int] = {0xE0000000}
        self._ready: dict[int, int] = dict(ITM_READY)
        self._transfers: dict[int, tuple[int, Layout]] = {}
        self._settings: dict[int, int] = {}
        self._blocks: list[range] = [CORE]
        for base, layout in uarts_of(chip.name):
            self._data.add(base + layout.data)
            self._blocks.append(range(base, base + layout.size))
            self._ready |= {base + offset: value for offset, value in layout.ready.items()}
            if layout.dma:
                self._transfers[base + layout.dma[0]] = (base, layout)
        self._counted_from = 0
        self._last, self._times = 0, 0
        self._changes: dict[int, int] = {}
        """How often the answer of an unknown register has changed."""

    def read(self, address: int, size: int) -> int:
        """What a load of `size` bytes sees."""
        if address in self._ready:
            return self._ready[address]
        if address == CYCCNT:
            return (self._around.executed() - self._counted_from) & 0xFFFFFFFF
        if address in self._timers:
            return int(self._around.executed() / self._mhz) & 0xFFFFFFFF
        if (value := self._around.read_core(address, size)) is not None:
            return value
        if self._is_known(address):
            return self._settings.get(address, 0)
        return self._unknown_read(address, size)

    def _is_known(self, address: int) -> bool:
        return any(address in block for block in self._blocks)

    def write(self, address: int, size: int, value: int) -> None:
        """A store of `size` bytes."""
        known = self._around.write_core(address, size, value)
        if address in self._data:
            self.print(bytes([value & 0xFF]))
        elif address == CYCCNT:
            self._counted_from = self._around.executed() - value
        elif address in self._transfers:
            self._transfer(*self._transfers[address])
        elif self._is_known(address):
            self._settings[address] = value
        elif not known:
            self.unknown[address] += 1
            self._settings[address] = value
            self._changes.pop(address, None)

    def print(self, data: bytes) -> None:
        """Keep text that the program sends somewhere."""
        self.text += data[: MOST_TEXT - len(self.text)]

    def _transfer(self, base: int, layout: Layout) -> None:
        assert layout.dma is not None
        _, address, length = (base + offset for offset in layout.dma)
        size = min(self._settings.get(length, 0), MOST_DMA)
        self.print(self._around.load(self._settings.get(address, 0), size) if size else b"")

    def _unknown_read(self, address: int, size: int) -> int:
        self.unknown[address] += 1
        mask = (1 << 8 * size) - 1
        if not self._poll:
            return mask if self._ones else 0
        self._times = self._times + 1 if address == self._last else 0
        self._last = address
        if self._times and self._times % PATIENCE == 0:
            self._changes[address] = self._changes.get(address, 0) + 1
        changes = self._changes.get(address, 0) % (len(CHANGES) + 1)
        return (CHANGES[changes - 1] if changes else self._settings.get(address, 0)) & mask
