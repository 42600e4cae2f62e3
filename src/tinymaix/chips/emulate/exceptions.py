"""The exceptions of Cortex-M that a program raises itself or by SysTick, one at a time, on the main stack.

Armv7-M Architecture Reference Manual: entry and return B1.5.6 to B1.5.8, SysTick B3.3. A cycle of SysTick is an
instruction here. While one exception is handled no other one is taken, and interrupts of peripherals do not come.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tinymaix.chips.emulate.board import Board

CALL, PENDED, TICK = 11, 14, 15
"""SVCall, PendSV, SysTick."""
ICSR, VTOR, SYST_CSR, SYST_RVR = 0xE000ED04, 0xE000ED08, 0xE000E010, 0xE000E014
SET_PENDED, SET_TICK = 1 << 28, 1 << 26
ENABLED_AND_INTERRUPTING = 3
TO_THREAD = 0xFFFFFFF9
"""EXC_RETURN: to the main stack, without registers of the FPU."""
RETURNS = 0xFFFFFF00
"""Addresses from here on are values of EXC_RETURN."""
SAVED = ("R0", "R1", "R2", "R3", "R12", "LR")
ALIGNED = 1 << 9
"""The bit of the saved xPSR that says that the stack was aligned."""
AGAIN = 64
"""Instructions after which to look again whether interrupts are allowed."""


class Exceptions:
    """What is pending, and when SysTick comes next."""

    def __init__(self, board: Board, vectors: int) -> None:
        self._board, self._vectors = board, vectors
        self._pending: set[int] = set()
        self._reload = 0
        self._ticking = False
        self._next: int | None = None
        """Instructions at which to look at what is pending."""
        self._kept: list[tuple[str, int]] | None = None
        """The registers of the FPU, while an exception is handled."""

    @property
    def active(self) -> bool:
        """Whether one is handled."""
        return self._kept is not None

    @property
    def due(self) -> int | None:
        """Instructions at which the program must stop for an exception."""
        return None if self.active else self._next

    def restart(self, executed: int) -> None:
        """Instructions are counted from 0 again."""
        self._next = None if self._next is None else max(0, self._next - executed)

    def write(self, address: int, value: int, executed: int) -> bool:
        """Whether that is a register of these, which then is set."""
        if address == VTOR:
            self._vectors = value
        elif address == SYST_RVR:
            self._reload = value & 0xFFFFFF
        elif address == SYST_CSR:
            self._ticking = value & ENABLED_AND_INTERRUPTING == ENABLED_AND_INTERRUPTING
            self._next = executed + self._reload + 1 if self._ticking else None
        elif address == ICSR:
            self._pending |= {PENDED} if value & SET_PENDED else set()
            self._pending |= {TICK} if value & SET_TICK else set()
            self._next = executed if self._pending else self._next
        else:
            return False
        return True

    def sleep(self) -> bool:
        """Whether an exception ends a wait for one."""
        if self._ticking and not self.active:
            self._pending.add(TICK)
            return True
        return False

    def take(self, executed: int) -> None:
        """Where the program stopped at `due`: go to a handler, if interrupts are allowed."""
        if self._ticking and self._next is not None and not self._pending:
            self._pending.add(TICK)
        if self._board.read("PRIMASK") & 1:
            self._next = executed + AGAIN
            return
        self._next = executed + self._reload + 1 if self._ticking else None
        if self._pending:
            number = max(self._pending)
            self._pending.discard(number)
            self.enter(number, self._board.read("PC") & ~1)

    def enter(self, number: int, back: int) -> None:
        """Save what a handler may change, and go to it."""
        board = self._board
        stack, status = board.read("SP"), board.read("XPSR")
        aligned = stack & 4
        stack -= aligned + 4 * (len(SAVED) + 2)
        words = [*(board.read(name) for name in SAVED), back, status & ~ALIGNED | (ALIGNED if aligned else 0)]
        board.store(stack, b"".join((word & 0xFFFFFFFF).to_bytes(4, "little") for word in words))
        names = [*(f"D{i}" for i in range(16)), "FPSCR"] if "fpu" in board.chip.core.features else []
        self._kept = [(name, board.read(name)) for name in names]
        board.write("SP", stack)
        board.write("LR", TO_THREAD)
        board.write("PC", int.from_bytes(board.load(self._vectors + 4 * number, 4), "little") | 1)

    def leave(self) -> None:
        """Back to what was interrupted."""
        board, stack = self._board, self._board.read("SP")
        words = board.load(stack, 4 * (len(SAVED) + 2))
        *values, back, status = (int.from_bytes(words[at : at + 4], "little") for at in range(0, len(words), 4))
        for name, value in [*zip(SAVED, values, strict=True), *(self._kept or [])]:
            board.write(name, value)
        self._kept = None
        board.write("SP", stack + len(words) + (4 if status & ALIGNED else 0))
        board.write("XPSR", status & ~ALIGNED)
        board.write("PC", back | 1)
