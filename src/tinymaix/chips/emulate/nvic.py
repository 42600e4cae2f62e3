"""Which exceptions of a Cortex-M are enabled and pending, and their priorities: its interrupt controller's registers.

Armv7-M Architecture Reference Manual, B3.2 and B3.4. Interrupts of peripherals come only where the program pends them.
"""

from __future__ import annotations

from tinymaix.chips.chip import Chip

CALL, PENDED, TICK, INTERRUPTS = 11, 14, 15, 16
"""SVCall, PendSV, SysTick, and the first interrupt of a peripheral."""
CPUID, ICSR, STIR = 0xE000ED00, 0xE000ED04, 0xE000EF00
SET_PENDED, CLEAR_PENDED, SET_TICK, CLEAR_TICK = 1 << 28, 1 << 27, 1 << 26, 1 << 25
ENABLE, DISABLE, PEND, UNPEND, ACTIVE, END = 0xE000E100, 0xE000E180, 0xE000E200, 0xE000E280, 0xE000E300, 0xE000E380
"""Registers with a bit an interrupt; each range ends where the next one begins."""
PRIORITIES = ((0xE000E400, 496, INTERRUPTS), (0xE000ED18, 12, 4))
"""(address, bytes, exception of the first byte): a byte an exception."""
PRIORITY_BITS = {"nrf52": 3, "samd5": 3, "same5": 3, "lpc55": 3, "tm4c": 3, "msp432": 3}
"""Bits of a priority of chips that do not have 2 (Armv6-M) or 4."""
IDENTITIES = {"cortex-m0": 0x410CC200, "cortex-m0plus": 0x410CC601, "cortex-m3": 0x412FC231, "cortex-m4": 0x410FC241,
              "cortex-m7": 0x411FC272, "cortex-m33": 0x410FD213}  # fmt: skip
"""CPUID, from the technical reference manuals."""


class Nvic:
    """What is enabled and pending."""

    def __init__(self, chip: Chip) -> None:
        bits = 2 if chip.core.family == "armv6m" else 4
        bits = next((own for start, own in PRIORITY_BITS.items() if chip.name.startswith(start)), bits)
        self._implemented = 0xFF << 8 - bits & 0xFF
        self._identity = IDENTITIES.get(chip.core.name, 0)
        self._enabled: set[int] = set()
        self._priorities: dict[int, int] = {}
        self.pending: set[int] = set()

    def priority(self, number: int) -> int:
        """The lower, the more urgent."""
        return self._priorities.get(number, 0)

    def urgent(self) -> int | None:
        """The enabled exception that is pending and comes first."""
        ready = (n for n in self.pending if n < INTERRUPTS or n in self._enabled)
        return min(ready, key=lambda n: (self.priority(n), n), default=None)

    def write(self, address: int, size: int, value: int) -> bool:
        """Whether that is a register of these, which then is set."""
        if address == ICSR:
            for bit, number in ((SET_PENDED, PENDED), (SET_TICK, TICK)):
                self.pending |= {number} if value & bit else set()
            for bit, number in ((CLEAR_PENDED, PENDED), (CLEAR_TICK, TICK)):
                self.pending -= {number} if value & bit else set()
        elif address == STIR:
            self.pending.add(INTERRUPTS + (value & 0x1FF))
        elif ENABLE <= address < END:
            numbers = {INTERRUPTS + 8 * (address & 0x7F) + bit for bit in range(8 * size) if value >> bit & 1}
            if address < DISABLE:
                self._enabled |= numbers
            elif address < PEND:
                self._enabled -= numbers
            elif address < UNPEND:
                self.pending |= numbers
            elif address < ACTIVE:
                self.pending -= numbers
        elif (first := _exception(address)) is not None:
            for i in range(size):
                self._priorities[first + i] = value >> 8 * i & self._implemented
        else:
            return False
        return True

    def read(self, address: int, size: int, active: list[int]) -> int | None:
        """What a register of these reads as; None for any other one. active: the exceptions that are handled."""
        if address == CPUID:
            return self._identity
        if address == ICSR:
            value = (active[-1] if active else 0) | (self.urgent() or 0) << 12
            return value | (SET_PENDED if PENDED in self.pending else 0) | (SET_TICK if TICK in self.pending else 0)
        if ENABLE <= address < END:
            of = self._enabled if address < PEND else self.pending if address < ACTIVE else active
            first = INTERRUPTS + 8 * (address & 0x7F)
            return sum(1 << bit for bit in range(8 * size) if first + bit in of)
        if (number := _exception(address)) is not None:
            return sum(self.priority(number + i) << 8 * i for i in range(size))
        return None


def _exception(address: int) -> int | None:
    """The exception whose priority is at an address."""
    return next((first + address - at for at, size, first in PRIORITIES if at <= address < at + size), None)
