"""Exceptions that a program raises on purpose: semihosting, system calls, and registers that unicorn does not know."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tinymaix.chips.emulate.elf import Program, Segment
from tinymaix.chips.emulate.nvic import CALL

if TYPE_CHECKING:
    from tinymaix.chips.emulate.board import Board

SUPERVISOR, BREAKPOINT = 2, 7
"""Unicorn's numbers for exceptions of Arm."""
SEMIHOSTING = b"\xab\xbe"
"""bkpt 0xab"""
ILLEGAL, CALLS = 2, (8, 11)
"""mcause of RISC-V (privileged specification, 3.1.15)."""
EBREAK = bytes.fromhex("73001000")
AROUND = (bytes.fromhex("1310f001"), bytes.fromhex("13507040"))
"""slli x0, x0, 31 before an ebreak and srai x0, x0, 7 behind it make it a call of semihosting."""
WAIT = bytes.fromhex("73005010")
SYSTEM, READ_SET = 0x73, 2
UPPER = 0x80
COUNTERS = {base + i + upper for base in (0xB00, 0xC00) for i in (0, 1, 2) for upper in (0, UPPER)} - {0xB01, 0xB81}
"""mcycle and minstret, cycle, time and instret, and their upper halves: all of them count instructions here."""
CLOSE, SEEK, WRITE, EXIT, EXIT_GROUP, BREAK = 57, 62, 64, 93, 94, 214
"""System calls of newlib's libgloss for RISC-V."""
NOT_THERE = -38


def arm_trap(board: Board, number: int) -> bool:
    """Whether the exception was dealt with, and the program goes on behind it or has ended."""
    at = board.read("PC") & ~1
    if number == BREAKPOINT:
        if board.load(at, 2) != SEMIHOSTING:
            board.end("came to a breakpoint")
            return True
        board.write("R0", board.host.call(board.read("R0"), board.read("R1")) & 0xFFFFFFFF)
        board.write("PC", (at + 2) | 1)
        if board.host.status is not None:
            board.end(f"exited with status {board.host.status}")
        return True
    if number == SUPERVISOR:
        board.exceptions.enter(CALL, at)
        return True
    return False


def riscv_trap(board: Board, at: int, number: int | None = None) -> bool:
    """The same; unicorn leaves `at` behind the instruction for exceptions that it numbers, and at a breakpoint."""
    if number is None:
        return _breakpoint(board, at)
    if number in CALLS:
        _system_call(board)
        return True
    word = int.from_bytes(board.load(at - 4, 4), "little")
    if number == ILLEGAL and word & 0x7F == SYSTEM and word >> 12 & 3:  # a control register of the vendor's own: 0
        if register := word >> 7 & 31:
            board.write(f"X{register}", 0)
        return True
    return False


def with_breaks(program: Program, segment: Segment) -> bytes:
    """RISC-V code with ebreak where it waits, in whose midst unicorn leaves a block that it has counted as a whole, and
    where its functions read counters, which in unicorn are those of the computer."""
    code, result = segment.data, bytearray(segment.data)
    at = code.find(WAIT)
    while at >= 0:
        if at % 2 == 0:
            result[at : at + 4] = EBREAK
        at = code.find(WAIT, at + 1)
    for symbol in program.symbols:
        begin = symbol.address - segment.address
        if symbol.function and begin >= 0:
            for at in range(begin, min(begin + symbol.size, len(code)) - 3, 2):
                if _counter(code[at : at + 4]) is not None:
                    result[at : at + 4] = EBREAK
    return bytes(result)


def _counter(code: bytes) -> tuple[int, bool] | None:
    """The register that an instruction reads a counter into, and whether its upper half; None for any other one."""
    word = int.from_bytes(code, "little")
    if word & 0x7F != SYSTEM or word >> 12 & 7 != READ_SET or word >> 15 & 31 or word >> 20 not in COUNTERS:
        return None
    return word >> 7 & 31, bool(word >> 20 & UPPER)


def _breakpoint(board: Board, at: int) -> bool:
    original = board.program.read(at, 4) or b""
    if original == WAIT:
        board.write("PC", at + 4)
        board.wait(at)
        return True
    if (read := _counter(original)) is not None:
        register, upper = read
        value = board.executed() >> (32 if upper else 0)
        if register:
            board.write(f"X{register}", value & (1 << board.program.bits) - 1)
        board.write("PC", at + 4)
        return True
    short = board.load(at, 2) == b"\x02\x90"
    if not short and board.load(at, 4) != EBREAK:
        return False
    if short or (board.load(at - 4, 4), board.load(at + 4, 4)) != AROUND:
        board.end("came to a breakpoint")
        return True
    board.write("A0", board.host.call(board.read("A0"), board.read("A1")))
    board.write("PC", at + 4)
    if board.host.status is not None:
        board.end(f"exited with status {board.host.status}")
    return True


def _system_call(board: Board) -> None:
    call, arguments = board.read("A7"), [board.read(f"A{i}") for i in range(3)]
    result = NOT_THERE
    if call == WRITE:
        board.print(board.load(arguments[1], min(arguments[2], 1 << 16)))
        result = arguments[2]
    elif call in (EXIT, EXIT_GROUP):
        board.host.status = arguments[0] & 0xFF
        board.end(f"exited with status {board.host.status}")
    elif call == BREAK:
        end = next((s.address for s in board.program.symbols if s.name in ("_end", "end")), 0)
        result = arguments[0] or end
    elif call in (CLOSE, SEEK):
        result = 0
    board.write("A0", result)
