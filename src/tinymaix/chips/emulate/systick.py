"""SysTick, the timer of Cortex-M itself: an instruction is a cycle (Armv7-M Architecture Reference Manual, B3.3)."""

from __future__ import annotations

CONTROL, RELOAD, VALUE = 0xE000E010, 0xE000E014, 0xE000E018
ENABLE, INTERRUPT, COUNTED = 1, 2, 1 << 16


class SysTick:
    """Counts from the reload value to 0, again and again, while it is enabled."""

    def __init__(self) -> None:
        self._control, self._reload = 0, 0
        self._begin = self._seen = 0
        """Instructions at which it began to count, and was last asked whether it had counted to 0."""

    def write(self, address: int, value: int, executed: int) -> bool:
        """Whether that is one of its registers, which then is set."""
        if address == CONTROL:
            if value & ENABLE and not self._control & ENABLE:
                self._begin = self._seen = executed
            self._control = value & 7
        elif address == RELOAD:
            self._reload = value & 0xFFFFFF
        elif address == VALUE:
            self._begin = self._seen = executed
        else:
            return False
        return True

    def read(self, address: int, executed: int) -> int | None:
        """What a register of it reads as; None for any other one."""
        if address == CONTROL:
            counted = self._control & ENABLE and self._wraps(executed) > self._wraps(self._seen)
            self._seen = executed
            return self._control | (COUNTED if counted else 0)
        if address == RELOAD:
            return self._reload
        if address == VALUE:
            return -(executed - self._begin) % (self._reload + 1) if self._control & ENABLE else 0
        return None

    def next(self, executed: int) -> int | None:
        """Instructions at which it interrupts next; None where it does not."""
        if self._control & (ENABLE | INTERRUPT) != ENABLE | INTERRUPT or not self._reload:
            return None
        return self._begin + (self._wraps(executed) + 1) * (self._reload + 1)

    def elapse(self, executed: int) -> None:
        """The time until it is 0 has passed in sleep."""
        self._begin = self._seen = executed

    def _wraps(self, executed: int) -> int:
        return (executed - self._begin) // (self._reload + 1)
