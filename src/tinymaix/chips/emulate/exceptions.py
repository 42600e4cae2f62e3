"""The exceptions of Cortex-M: calls of the supervisor, PendSV, SysTick, and interrupts that a program pends itself.

Armv7-M Architecture Reference Manual: priorities B1.5.4, entry and return B1.5.6 to B1.5.8. The registers of the FPU
are saved at once where they are in use, never later ("lazily"), which a program cannot tell. Entry and return take no
cycles.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tinymaix.chips.emulate.nvic import TICK, Nvic
from tinymaix.chips.emulate.systick import SysTick

if TYPE_CHECKING:
    from tinymaix.chips.emulate.board import Board

VTOR = 0xE000ED08
PRIVILEGE, PROCESS, FLOAT = 1, 2, 4
"""Bits of CONTROL: unprivileged, the stack is the process's, the FPU is in use."""
RETURNS = 0xFFFFFF00
"""Addresses from here on are values of EXC_RETURN."""
TO_HANDLER, TO_PROCESS, TO_THREAD, NO_FLOAT = 0xFFFFFFE1, 4, 8, 0x10
"""EXC_RETURN: its other bits, and those that say what is returned to."""
SAVED = ("R0", "R1", "R2", "R3", "R12", "LR")
FLOATS = tuple(f"S{i}" for i in range(16))
NUMBER, ALIGNED, THUMB, REPEATED = 0x1FF, 1 << 9, 1 << 24, 0x0600FC00
"""Of xPSR: the exception, that the stack was aligned for it, that code is Thumb, and where in an IT block it was."""
PATIENCE, SELDOM = 64, 4096
"""Blocks after which to look less often whether interrupts are allowed, and instructions between two looks at most."""
LOWEST = 0x100


class Exceptions:
    """What is pending and what is handled."""

    def __init__(self, board: Board, vectors: int) -> None:
        self._board, self._vectors = board, vectors
        self._nvic, self._tick = Nvic(board.chip), SysTick()
        self._handled: list[int] = []
        self._next: int | None = None
        """Instructions at which SysTick comes to 0."""
        self._look: int | None = None
        """Instructions at which to look at what is pending."""
        self._looks = 0

    @property
    def active(self) -> bool:
        """Whether one is handled."""
        return bool(self._handled)

    @property
    def due(self) -> int | None:
        """Instructions at which the program must stop for an exception."""
        return min((at for at in (self._next, self._look) if at is not None), default=None)

    def write(self, address: int, size: int, value: int) -> bool:
        """Whether that is a register of these, which then is set."""
        executed = self._board.executed()
        if address == VTOR:
            self._vectors = value
            return False  # it reads as what was written
        if self._tick.write(address, value, executed):
            self._next = self._tick.next(executed)
            return True
        if self._nvic.write(address, size, value):
            self._again()
            return True
        return False

    def read(self, address: int, size: int) -> int | None:
        """What a register of these reads as; None for any other one."""
        value = self._tick.read(address, self._board.executed())
        return self._nvic.read(address, size, self._handled) if value is None else value

    def sleep(self) -> bool:
        """Whether an exception ends a wait for one."""
        executed = self._board.executed()
        if self._nvic.urgent() is None and self._next is not None:
            self._nvic.pending.add(TICK)
            self._tick.elapse(executed)
            self._next = self._tick.next(executed)
        return self._nvic.urgent() is not None

    def take(self) -> bool:
        """Where the program stopped at `due` or waits: whether it goes to the handler of what is most urgent now."""
        executed = self._board.executed()
        if self._next is not None and self._next <= executed:
            self._nvic.pending.add(TICK)
            self._next = self._tick.next(executed)
        self._look = None
        number = self._nvic.urgent()
        if number is None or self._nvic.priority(number) >= self._priority():
            return False  # leave() looks again
        if self._nvic.priority(number) >= self._allowed():
            self._looks += 1
            self._look = executed + min(max(self._looks - PATIENCE, 0), SELDOM)
            return False
        self._nvic.pending.discard(number)
        self.enter(number, self._board.read("PC") & ~1)
        self._again()
        return True

    def _again(self) -> None:
        self._looks = 0
        self._look = self._board.executed() if self._nvic.urgent() is not None else None

    def _priority(self) -> int:
        """Of what is handled now."""
        return min((self._nvic.priority(number) for number in self._handled), default=LOWEST)

    def _allowed(self) -> int:
        """The priority from which on the program holds interrupts back."""
        board = self._board
        if board.read("PRIMASK") & 1:
            return 0
        if board.chip.core.family == "armv6m":
            return LOWEST
        return 0 if board.read("FAULTMASK") & 1 else board.read("BASEPRI") or LOWEST

    def enter(self, number: int, back: int) -> None:
        """Save what a handler may change, and go to it, on the main stack."""
        board = self._board
        stack, status, control = board.read("SP"), board.read("XPSR"), board.read("CONTROL")
        floats = "fpu" in board.chip.core.features and bool(control & FLOAT)
        words = [*(board.read(name) for name in SAVED), back, status & ~ALIGNED | (ALIGNED if stack & 4 else 0)]
        words += [*(board.read(name) for name in FLOATS), board.read("FPSCR"), 0] if floats else []
        stack -= (stack & 4) + 4 * len(words)
        board.store(stack, b"".join((word & 0xFFFFFFFF).to_bytes(4, "little") for word in words))
        back_to = TO_HANDLER | (0 if floats else NO_FLOAT)
        back_to |= 0 if self._handled else TO_THREAD | (TO_PROCESS if control & PROCESS else 0)
        board.write("SP", stack)
        board.write("CONTROL", control & PRIVILEGE)  # from here on SP is the main stack's
        board.write("XPSR", status & ~(NUMBER | REPEATED) | number | THUMB)
        board.write("LR", back_to)
        board.write("PC", int.from_bytes(board.load(self._vectors + 4 * number, 4), "little") | 1)
        self._handled.append(number)

    def leave(self, back_to: int) -> None:
        """Back to what was interrupted, by a value of EXC_RETURN."""
        board = self._board
        self._handled.pop()
        number = 0 if back_to & TO_THREAD or not self._handled else self._handled[-1]
        floats = "fpu" in board.chip.core.features and not back_to & NO_FLOAT
        board.write("XPSR", THUMB | number)
        control = board.read("CONTROL") & PRIVILEGE | (FLOAT if floats else 0)
        board.write("CONTROL", control | (PROCESS if back_to & TO_PROCESS and not number else 0))
        stack = board.read("SP")
        size = 4 * (len(SAVED) + 2 + (len(FLOATS) + 2 if floats else 0))
        data = board.load(stack, size)
        *values, back, status = (int.from_bytes(data[at : at + 4], "little") for at in range(0, 4 * len(SAVED) + 8, 4))
        names = [*SAVED]
        if floats:
            names += [*FLOATS, "FPSCR"]
            values += [int.from_bytes(data[at : at + 4], "little") for at in range(4 * len(SAVED) + 8, size - 4, 4)]
        for name, value in zip(names, values, strict=True):
            board.write(name, value)
        board.write("SP", stack + size + (4 if status & ALIGNED else 0))
        board.write("XPSR", status & ~(NUMBER | ALIGNED) | number | THUMB)
        board.write("PC", back | 1)
        self._again()
