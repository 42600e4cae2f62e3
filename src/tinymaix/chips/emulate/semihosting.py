"""Semihosting: what a program asks of the computer that debugs it; here it can print, see the time, and end.

"Semihosting for AArch32 and AArch64" (Arm, 2.0), whose operations RISC-V shares ("RISC-V Semihosting", 0.4).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

OPEN, CLOSE, WRITEC, WRITE0, WRITE, READ, READC = 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07
ISERROR, ISTTY, SEEK, FLEN, CLOCK, TIME, ERRNO = 0x08, 0x09, 0x0A, 0x0C, 0x10, 0x11, 0x13
GET_CMDLINE, HEAPINFO, EXIT, EXIT_EXTENDED, ELAPSED, TICKFREQ = 0x15, 0x16, 0x18, 0x20, 0x30, 0x31
APPLICATION_EXIT = 0x20026
TERMINAL = b":tt"
MOST = 1 << 16
"""Bytes that one call may print."""


class Memory(Protocol):
    """The program's memory, and where it prints to."""

    def load(self, address: int, size: int) -> bytes: ...

    def store(self, address: int, data: bytes) -> None: ...

    def print(self, data: bytes) -> None: ...


class Semihosting:
    """Answers calls. Files other than the terminal cannot be opened."""

    def __init__(
        self, memory: Memory, word: int, heap: tuple[int, int], executed: Callable[[], int], mhz: float
    ) -> None:
        """word: bytes of a field in a block of parameters. heap: its begin and end, at which the stack begins.
        executed: instructions so far, which stand for cycles."""
        self._memory, self._word, self._heap = memory, word, heap
        self._executed, self._hz = executed, mhz * 1e6
        self.status: int | None = None
        """The program's exit status, once it has ended itself."""

    def call(self, operation: int, argument: int) -> int:
        """Do what is asked; the value for the result register."""
        if operation in (EXIT, EXIT_EXTENDED):
            self._exit(operation, argument)
            return 0
        if operation == WRITEC:
            self._memory.print(self._memory.load(argument, 1))
        elif operation == WRITE0:
            self._memory.print(self._text(argument))
        elif operation == WRITE:
            _, address, length = self._fields(argument, 3)
            self._memory.print(self._memory.load(address, min(length, MOST)))
        elif operation == READ:
            return self._fields(argument, 3)[2]  # nothing could be read
        elif operation == HEAPINFO:  # of heap and stack, each from where it grows
            low, high = self._heap
            values = b"".join(value.to_bytes(self._word, "little") for value in (low, high, high, low))
            self._memory.store(self._fields(argument, 1)[0], values)
        elif operation == GET_CMDLINE:
            return self._command_line(argument)
        elif operation == ELAPSED:
            self._memory.store(argument, self._executed().to_bytes(8, "little"))
        return self._plain(operation, argument)

    def _plain(self, operation: int, argument: int) -> int:
        """The results of calls that change nothing, and of those above that have none."""
        if operation == OPEN:
            name, _, length = self._fields(argument, 3)
            return 1 if self._memory.load(name, min(length, 8)) == TERMINAL else -1
        if operation == ISTTY:
            return 1
        if operation == CLOCK:
            return int(self._executed() / self._hz * 100)
        if operation == TICKFREQ:
            return int(self._hz)
        if operation in (READC, SEEK):
            return -1
        known = (CLOSE, WRITEC, WRITE0, WRITE, ISERROR, FLEN, TIME, ERRNO, HEAPINFO, ELAPSED)
        return 0 if operation in known else -1

    def _exit(self, operation: int, argument: int) -> None:
        reason, status = argument, 0
        if operation == EXIT_EXTENDED or self._word == 8:
            reason, status = self._fields(argument, 2)
        self.status = status if reason == APPLICATION_EXIT else 1

    def _command_line(self, argument: int) -> int:
        address, room = self._fields(argument, 2)
        if room:
            self._memory.store(address, b"\0")
            self._memory.store(argument + self._word, bytes(self._word))
        return 0

    def _fields(self, address: int, number: int) -> list[int]:
        data = self._memory.load(address, number * self._word)
        return [int.from_bytes(data[at : at + self._word], "little") for at in range(0, len(data), self._word)]

    def _text(self, address: int) -> bytes:
        """A string of C."""
        text = bytearray()
        while len(text) < MOST and (byte := self._memory.load(address + len(text), 1)) != b"\0":
            text += byte
        return bytes(text)
